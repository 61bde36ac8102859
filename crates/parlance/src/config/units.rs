//! Numbers and durations as settings.

use std::{fmt, time::Duration};

use serde_json::{Value, json};

use super::value::{Raw, Setting, quoted, wrong};

/// A whole number of this range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Whole<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Whole<MIN, MAX> {
    pub(crate) fn get(self) -> u64 {
        self.0
    }

    pub(crate) fn as_usize(self) -> usize {
        usize::try_from(self.0).expect("ranges of settings fit every platform")
    }

    pub(crate) fn as_u32(self) -> u32 {
        u32::try_from(self.0).expect("only asked of ranges below 2^32")
    }
}

impl<const MIN: u64, const MAX: u64> Setting for Whole<MIN, MAX> {
    fn parse(raw: &Raw) -> Result<Self, String> {
        let expected = format!("a whole number from {MIN} to {MAX}");
        let digits = match raw {
            Raw::Untyped(digits) | Raw::Integer(digits) => digits,
            Raw::Text(text) => return Err(wrong(text, &format!("{expected}, without quotes"))),
            Raw::Boolean(_) | Raw::List(_) | Raw::Other(_) => {
                return Err(format!("is {}; expected {expected}", raw.kind()));
            }
        };
        let number = digits.parse().ok().filter(|n| (MIN..=MAX).contains(n));
        number
            .map(Self)
            .ok_or_else(|| format!("is {digits}; expected {expected}"))
    }

    fn to_toml(&self) -> String {
        self.0.to_string()
    }

    fn schema() -> Value {
        json!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// A duration in whole milliseconds, written with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Millis(u64);

/// A unit and how many milliseconds it has, the longest first.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];
const DURATION: &str = "a duration with its unit (ms, s, m, h, d), like \"30s\" or \"500ms\"";

impl Millis {
    pub(crate) fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, millis): &&(&str, u64)| self.0 != 0 && self.0.is_multiple_of(*millis);
        let (unit, millis) = UNITS.iter().find(whole).unwrap_or(&("s", 1_000));
        write!(f, "{}{unit}", self.0 / millis)
    }
}

impl Setting for Millis {
    fn parse(raw: &Raw) -> Result<Self, String> {
        let text = match raw {
            Raw::Integer(digits) => return Err(format!("is {digits}; expected {DURATION}")),
            Raw::Untyped(_) | Raw::Text(_) | Raw::Boolean(_) | Raw::List(_) | Raw::Other(_) => {
                raw.text(DURATION)?
            }
        };
        parse_duration(text)
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" })
    }
}

/// A whole number with its unit.
///
/// # Errors
/// What would be right.
pub(crate) fn parse_duration(text: &str) -> Result<Millis, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    let parsed = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .and_then(|(_, millis)| digits.parse::<u64>().ok()?.checked_mul(*millis));
    parsed.map(Millis).ok_or_else(|| wrong(text, DURATION))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_its_unit_and_is_shown_in_the_longest_that_fits() {
        for (text, millis, shown) in [
            ("0s", 0, "0s"),
            ("500ms", 500, "500ms"),
            ("1500ms", 1_500, "1500ms"),
            ("60s", 60_000, "1m"),
            ("48h", 172_800_000, "2d"),
        ] {
            let parsed = parse_duration(text).unwrap();
            assert_eq!((parsed.0, parsed.to_string().as_str()), (millis, shown));
        }
        for text in [
            "",
            "30",
            "s",
            "-1s",
            "1.5s",
            "30 s",
            "30S",
            "99999999999999999999d",
        ] {
            assert!(parse_duration(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn a_number_in_quotes_is_told_to_lose_them() {
        let error = Whole::<0, 9>::parse(&Raw::Text("5".into())).unwrap_err();
        assert_eq!(
            error,
            "is \"5\"; expected a whole number from 0 to 9, without quotes"
        );
    }
}
