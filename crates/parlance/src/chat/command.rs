//! What a person may type: text to say, or a command behind a slash.

/// A line that was entered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    Nothing,
    Say(&'a str),
    /// The arguments; whether they begin with a message number depends on what is known.
    Edit(&'a str),
    Delete(&'a str),
    Who,
    More,
    Help,
    Quit,
    Unknown(&'a str),
}

pub(crate) const HELP: &str = "/edit [N] TEXT changes your message N (or your last), \
    /delete [N] takes it back, /more shows older messages, /who tells who is here, /quit leaves; \
    a second slash in front says a text that begins with a slash";

pub(crate) fn parse(line: &str) -> Command<'_> {
    let line = line.trim_end_matches(['\r', '\n']);
    if line.trim().is_empty() {
        return Command::Nothing;
    }
    let Some(command) = line.strip_prefix('/') else {
        return Command::Say(line);
    };
    if command.starts_with('/') {
        return Command::Say(command);
    }
    let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
    match name {
        "edit" => Command::Edit(rest.trim()),
        "delete" => Command::Delete(rest.trim()),
        "who" => Command::Who,
        "more" => Command::More,
        "help" => Command::Help,
        "quit" => Command::Quit,
        unknown => Command::Unknown(unknown),
    }
}

/// Splits a leading message number off: `"12 text"` or `"#12 text"`.
pub(crate) fn leading_number(arguments: &str) -> Option<(&str, &str)> {
    let (first, rest) = arguments.split_once(' ').unwrap_or((arguments, ""));
    let digits = first.strip_prefix('#').unwrap_or(first);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some((digits, rest.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        assert_eq!(parse(" \n"), Command::Nothing);
        assert_eq!(parse("  hello "), Command::Say("  hello "));
        assert_eq!(parse("//etc/hosts"), Command::Say("/etc/hosts"));
        assert_eq!(parse("/edit 3 new text"), Command::Edit("3 new text"));
        assert_eq!(parse("/delete"), Command::Delete(""));
        assert_eq!(parse("/quit\r"), Command::Quit);
        assert_eq!(parse("/dance now"), Command::Unknown("dance"));
    }

    #[test]
    fn a_number_may_carry_a_hash() {
        assert_eq!(leading_number("#12 new text"), Some(("12", "new text")));
        assert_eq!(leading_number("12"), Some(("12", "")));
        assert_eq!(leading_number("two apples"), None);
        assert_eq!(leading_number("# x"), None);
    }
}
