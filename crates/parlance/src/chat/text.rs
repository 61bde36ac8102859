//! Text as it may reach a terminal: styled spans of harmless characters.
//!
//! Names and contents are written by others. Whatever could move the cursor, change colours or turn
//! the reading direction of what follows is made visible instead of being obeyed.

use unicode_width::UnicodeWidthChar;

/// How a piece of a line is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Dim,
    Own,
    Other,
    Alert,
}

impl Style {
    /// The SGR sequence that switches it on; empty for plain text.
    fn sgr(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Dim => "\x1b[2m",
            Self::Own => "\x1b[32m",
            Self::Other => "\x1b[36m",
            Self::Alert => "\x1b[33m",
        }
    }
}

/// A piece of a line. The text is neutral by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    style: Style,
    text: String,
}

impl Span {
    pub(crate) fn new(style: Style, text: &str) -> Self {
        let text = neutral(text);
        Self { style, text }
    }
}

/// One line of a transcript, of any width.
pub(crate) type Line = Vec<Span>;

/// The line without styles.
pub(crate) fn plain(line: &Line) -> String {
    line.iter().map(|span| span.text.as_str()).collect()
}

/// The line cut into rows of at most `columns`, with SGR sequences when `coloured`.
pub(crate) fn rows(line: &Line, columns: usize, coloured: bool) -> Vec<String> {
    let mut rows = vec![String::new()];
    let mut used = 0;
    for span in line {
        let sgr = if coloured { span.style.sgr() } else { "" };
        let end = if sgr.is_empty() { "" } else { "\x1b[0m" };
        rows.last_mut().expect("never empty").push_str(sgr);
        for character in span.text.chars() {
            let width = character.width().unwrap_or(0);
            if used + width > columns {
                rows.last_mut().expect("never empty").push_str(end);
                rows.push(sgr.to_owned());
                used = 0;
            }
            used += width;
            rows.last_mut().expect("never empty").push(character);
        }
        rows.last_mut().expect("never empty").push_str(end);
    }
    rows
}

/// `text` without anything that a terminal would obey.
pub(crate) fn neutral(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' => '↵',
            '\t' => ' ',
            control if control.is_control() || is_bidi(control) => '\u{fffd}',
            harmless => harmless,
        })
        .collect()
}

/// Marks, embeddings, overrides and isolates; line and paragraph separators.
fn is_bidi(character: char) -> bool {
    matches!(
        character,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_survives() {
        let hostile = "a\x1b[2Jb\x07\u{9b}31mc\u{202e}d\re\nf\tg\x7f";
        assert_eq!(
            neutral(hostile),
            "a\u{fffd}[2Jb\u{fffd}\u{fffd}31mc\u{fffd}d\u{fffd}e↵f g\u{fffd}"
        );
    }

    #[test]
    fn a_long_line_is_cut_by_width_and_every_row_closes_its_colour() {
        let line = vec![
            Span::new(Style::Own, "you: "),
            Span::new(Style::Plain, "日本語"),
        ];
        assert_eq!(rows(&line, 7, false), ["you: 日", "本語"]);
        assert_eq!(
            rows(&vec![Span::new(Style::Dim, "abc")], 2, true),
            ["\x1b[2mab\x1b[0m", "\x1b[2mc\x1b[0m"]
        );
    }
}
