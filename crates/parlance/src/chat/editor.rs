//! A one-line editor: keys in, what follows out.
//!
//! Knows the keys that shells have taught everybody, and no more.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use unicode_width::UnicodeWidthChar;

/// What a key led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Edited {
    Nothing,
    /// The line is another now.
    Changed,
    Entered(String),
    /// Ctrl-C, or Ctrl-D on an empty line.
    Leave,
    /// The terminal has another size.
    Resized,
}

/// The line that is being typed.
#[derive(Debug, Default)]
pub(crate) struct Editor {
    line: Vec<char>,
    /// Index into `line`.
    cursor: usize,
    history: Vec<String>,
    /// How many lines back in the history; 0: the line itself.
    back: usize,
}

impl Editor {
    pub(crate) fn text(&self) -> String {
        self.line.iter().collect()
    }

    /// The part of the line around the cursor that fits, and the cursor's column in it.
    pub(crate) fn view(&self, columns: usize) -> (String, usize) {
        let widths = |range: &[char]| -> usize { range.iter().map(|c| width(*c)).sum() };
        let mut from = 0;
        while from < self.cursor && widths(&self.line[from..self.cursor]) + 1 > columns {
            from += 1;
        }
        let mut to = self.cursor;
        while to < self.line.len() && widths(&self.line[from..=to]) < columns {
            to += 1;
        }
        let shown = self.line[from..to].iter().collect();
        (shown, widths(&self.line[from..self.cursor]))
    }

    pub(crate) fn on_event(&mut self, event: &Event) -> Edited {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.on_key(*key),
            Event::Paste(text) => {
                for character in text.chars() {
                    self.insert(if character.is_control() {
                        ' '
                    } else {
                        character
                    });
                }
                Edited::Changed
            }
            Event::Resize(..) => Edited::Resized,
            Event::Key(_) | Event::Mouse(_) | Event::FocusGained | Event::FocusLost => {
                Edited::Nothing
            }
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a keyboard has more keys than an editor has uses for"
    )]
    fn on_key(&mut self, key: KeyEvent) -> Edited {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return self.on_control(key.code);
        }
        match key.code {
            KeyCode::Enter => return self.enter(),
            KeyCode::Char(character) => self.insert(character),
            KeyCode::Backspace if self.cursor > 0 => {
                self.cursor -= 1;
                self.line.remove(self.cursor);
            }
            KeyCode::Delete if self.cursor < self.line.len() => {
                self.line.remove(self.cursor);
            }
            KeyCode::Left => self.cursor = self.cursor.saturating_sub(1),
            KeyCode::Right => self.cursor = (self.cursor + 1).min(self.line.len()),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.line.len(),
            KeyCode::Up => self.recall(self.back + 1),
            KeyCode::Down => self.recall(self.back.saturating_sub(1)),
            _ => return Edited::Nothing,
        }
        Edited::Changed
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a keyboard has more keys than an editor has uses for"
    )]
    fn on_control(&mut self, code: KeyCode) -> Edited {
        match code {
            KeyCode::Char('c') => return Edited::Leave,
            KeyCode::Char('d') if self.line.is_empty() => return Edited::Leave,
            KeyCode::Char('l') => return Edited::Resized,
            KeyCode::Char('a') => self.cursor = 0,
            KeyCode::Char('e') => self.cursor = self.line.len(),
            KeyCode::Char('k') => self.line.truncate(self.cursor),
            KeyCode::Char('u') => {
                self.line.drain(..self.cursor);
                self.cursor = 0;
            }
            KeyCode::Char('w') => self.cut_word(),
            _ => return Edited::Nothing,
        }
        Edited::Changed
    }

    fn insert(&mut self, character: char) {
        self.line.insert(self.cursor, character);
        self.cursor += 1;
    }

    fn cut_word(&mut self) {
        let before = &self.line[..self.cursor];
        let word_end = before.iter().rposition(|c| !c.is_whitespace());
        let word_start = word_end.and_then(|end| {
            let gap = before[..end].iter().rposition(|c| c.is_whitespace());
            gap.map(|gap| gap + 1)
        });
        let from = word_start.unwrap_or(0);
        self.line.drain(from..self.cursor);
        self.cursor = from;
    }

    fn enter(&mut self) -> Edited {
        let line = self.text();
        self.line.clear();
        self.cursor = 0;
        self.back = 0;
        if !line.is_empty() {
            self.history.push(line.clone());
        }
        Edited::Entered(line)
    }

    fn recall(&mut self, back: usize) {
        let back = back.min(self.history.len());
        let recalled = match back {
            0 => "",
            back => &self.history[self.history.len() - back],
        };
        self.line = recalled.chars().collect();
        self.cursor = self.line.len();
        self.back = back;
    }
}

fn width(character: char) -> usize {
    character.width().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(editor: &mut Editor, code: KeyCode) -> Edited {
        editor.on_event(&Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    fn control(editor: &mut Editor, key: char) -> Edited {
        let event = KeyEvent::new(KeyCode::Char(key), KeyModifiers::CONTROL);
        editor.on_event(&Event::Key(event))
    }

    fn typed(text: &str) -> Editor {
        let mut editor = Editor::default();
        for character in text.chars() {
            press(&mut editor, KeyCode::Char(character));
        }
        editor
    }

    #[test]
    fn characters_go_in_at_the_cursor_and_out_before_it() {
        let mut editor = typed("helo");
        press(&mut editor, KeyCode::Left);
        press(&mut editor, KeyCode::Char('l'));
        assert_eq!(editor.text(), "hello");
        press(&mut editor, KeyCode::Home);
        press(&mut editor, KeyCode::Delete);
        press(&mut editor, KeyCode::Backspace);
        assert_eq!(editor.text(), "ello");
    }

    #[test]
    fn a_word_is_cut_with_the_blanks_after_it() {
        let mut editor = typed("one two  ");
        control(&mut editor, 'w');
        assert_eq!(editor.text(), "one ");
        control(&mut editor, 'w');
        assert_eq!(editor.text(), "");
    }

    #[test]
    fn entered_lines_come_back() {
        let mut editor = typed("first");
        let entered = press(&mut editor, KeyCode::Enter);
        assert_eq!(entered, Edited::Entered("first".to_owned()));
        press(&mut editor, KeyCode::Up);
        press(&mut editor, KeyCode::Up);
        assert_eq!(editor.text(), "first");
        press(&mut editor, KeyCode::Down);
        assert_eq!(editor.text(), "");
    }

    #[test]
    fn end_of_input_leaves_only_an_empty_line() {
        assert_eq!(control(&mut typed("x"), 'd'), Edited::Nothing);
        assert_eq!(control(&mut typed(""), 'd'), Edited::Leave);
        assert_eq!(control(&mut typed("x"), 'c'), Edited::Leave);
    }

    #[test]
    fn the_view_follows_the_cursor_by_width() {
        let mut editor = typed("日本語text");
        assert_eq!(editor.view(6), ("text".to_owned(), 4));
        press(&mut editor, KeyCode::Home);
        assert_eq!(editor.view(6).1, 0);
        assert!(editor.view(6).0.starts_with("日本"));
    }

    #[test]
    fn a_paste_is_one_line() {
        let mut editor = Editor::default();
        editor.on_event(&Event::Paste("a\nb\x1bc".to_owned()));
        assert_eq!(editor.text(), "a b c");
    }
}
