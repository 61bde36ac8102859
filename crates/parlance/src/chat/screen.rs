//! The lower end of a terminal as a function of what should be there.
//!
//! Rows are printed once and scroll up like any output, so the terminal's own scrollback holds the
//! conversation. A row that changes while it is on the screen (a tick, an edit) is printed again
//! together with all below it; one that has scrolled away stays as it was.

use std::fmt::Write;

/// What was printed last.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    rows: Vec<String>,
}

impl Screen {
    /// The bytes that turn what was printed into `rows`, with the cursor in `column` of the last.
    pub(crate) fn update(&mut self, rows: Vec<String>, height: usize, column: usize) -> String {
        let same = self
            .rows
            .iter()
            .zip(&rows)
            .take_while(|(old, new)| old == new);
        let on_screen_from = self.rows.len().saturating_sub(height.max(1));
        let from = same
            .count()
            .max(on_screen_from)
            .min(rows.len().saturating_sub(1));
        let mut out = String::from("\r");
        let up = self.rows.len().saturating_sub(from + 1);
        if from < self.rows.len() {
            if up > 0 {
                push(&mut out, format_args!("\x1b[{up}A"));
            }
        } else if !self.rows.is_empty() {
            out.push_str("\r\n");
        }
        out.push_str("\x1b[J");
        out.push_str(&rows[from..].join("\r\n"));
        out.push('\r');
        if column > 0 {
            push(&mut out, format_args!("\x1b[{column}C"));
        }
        self.rows = rows;
        out
    }

    /// Forgets what was printed and clears the screen: the next update prints what fits.
    pub(crate) fn clear(&mut self) -> String {
        self.rows.clear();
        "\x1b[H\x1b[2J".to_owned()
    }
}

fn push(out: &mut String, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&str]) -> Vec<String> {
        rows.iter().map(|row| (*row).to_owned()).collect()
    }

    #[test]
    fn a_new_row_is_printed_over_the_prompt_and_the_prompt_below_it() {
        let mut screen = Screen::default();
        assert_eq!(
            screen.update(rows(&["a", "> "]), 24, 2),
            "\r\x1b[Ja\r\n> \r\x1b[2C"
        );
        assert_eq!(
            screen.update(rows(&["a", "b", "> "]), 24, 2),
            "\r\x1b[Jb\r\n> \r\x1b[2C"
        );
    }

    #[test]
    fn a_changed_row_on_the_screen_is_printed_again_with_all_below() {
        let mut screen = Screen::default();
        screen.update(rows(&["a", "b", "c", "> "]), 24, 0);
        assert_eq!(
            screen.update(rows(&["a", "B", "c", "> "]), 24, 0),
            "\r\x1b[2A\x1b[JB\r\nc\r\n> \r"
        );
    }

    #[test]
    fn a_changed_row_that_scrolled_away_is_left_alone() {
        let mut screen = Screen::default();
        screen.update(rows(&["a", "b", "c", "> "]), 2, 0);
        assert_eq!(
            screen.update(rows(&["A", "b", "c", "> "]), 2, 0),
            "\r\x1b[1A\x1b[Jc\r\n> \r"
        );
    }

    #[test]
    fn fewer_rows_leave_nothing_behind() {
        let mut screen = Screen::default();
        screen.update(rows(&["a", "b", "> "]), 24, 0);
        assert_eq!(
            screen.update(rows(&["a", "> "]), 24, 0),
            "\r\x1b[1A\x1b[J> \r"
        );
    }
}
