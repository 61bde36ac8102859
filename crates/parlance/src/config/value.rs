//! What a setting's type can do, and the plain types: read from text or TOML, shown as TOML.
//! Numbers and durations are in [`super::units`], lists of words in [`super::words`].

use std::{net::SocketAddr, path::PathBuf};

use parlance_auth::{Algorithm, HmacSecret};
use serde_json::{Value, json};

/// A value as a layer gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Raw {
    /// From the environment, a flag or a file of a secret: it has no type.
    Untyped(String),
    /// A string of TOML.
    Text(String),
    /// An integer of TOML, in decimal.
    Integer(String),
    /// A boolean of TOML.
    Boolean(bool),
    /// An array of TOML.
    List(Vec<Raw>),
    /// Any other TOML, by the name of its type.
    Other(&'static str),
}

/// A type that a setting can have.
pub(crate) trait Setting: Sized {
    /// Whether it must never be shown.
    const SECRET: bool = false;

    /// # Errors
    /// What is wrong and what would be right; without the value if it is secret.
    fn parse(raw: &Raw) -> Result<Self, String>;

    /// As it would be written in the file; a secret redacted.
    fn to_toml(&self) -> String;

    /// The text of a default or example, as in a variable, as it would be written in the file.
    fn sample(text: &str) -> String {
        let value = Self::parse(&Raw::Untyped(text.to_owned()));
        value.expect("defaults and examples are valid").to_toml()
    }

    /// The JSON Schema of a value in the file.
    fn schema() -> Value;
}

/// What a secret is shown as.
pub(crate) const REDACTED: &str = "<redacted>";

impl Raw {
    /// The text of a value that is a string in TOML.
    pub(super) fn text(&self, expected: &str) -> Result<&str, String> {
        match self {
            Self::Untyped(text) | Self::Text(text) if text.is_empty() => {
                Err(format!("is empty; expected {expected}"))
            }
            Self::Untyped(text) | Self::Text(text) => Ok(text),
            Self::Integer(_) | Self::Boolean(_) | Self::List(_) | Self::Other(_) => {
                Err(format!("is {}; expected {expected}", self.kind()))
            }
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Untyped(_) | Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "a boolean",
            Self::List(_) => "an array",
            Self::Other(kind) => kind,
        }
    }
}

/// Parses a string by `FromStr`, and says what would be right.
fn from_str<T: std::str::FromStr>(raw: &Raw, expected: &str) -> Result<T, String> {
    let text = raw.text(expected)?;
    text.parse().map_err(|_| wrong(text, expected))
}

pub(super) fn wrong(text: &str, expected: &str) -> String {
    format!("is {text:?}; expected {expected}")
}

/// A string of TOML.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

// === impl Setting for the plain types ===

impl Setting for SocketAddr {
    fn parse(raw: &Raw) -> Result<Self, String> {
        from_str(
            raw,
            "an IP address and port, like \"127.0.0.1:8080\" or \"[::]:8080\"",
        )
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^.+:[0-9]{1,5}$" })
    }
}

impl Setting for PathBuf {
    fn parse(raw: &Raw) -> Result<Self, String> {
        raw.text("a path").map(Self::from)
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string_lossy())
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

impl Setting for String {
    fn parse(raw: &Raw) -> Result<Self, String> {
        raw.text("a string").map(Self::from)
    }

    fn to_toml(&self) -> String {
        quoted(self)
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

impl Setting for HmacSecret {
    const SECRET: bool = true;

    fn parse(raw: &Raw) -> Result<Self, String> {
        let text = raw.text("a string of at least 32 bytes")?;
        Self::new(text).map_err(|error| format!("is no usable secret: {error}"))
    }

    fn to_toml(&self) -> String {
        quoted(REDACTED)
    }

    /// No example is long enough to be taken.
    fn sample(text: &str) -> String {
        quoted(text)
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 32 })
    }
}

impl Setting for Algorithm {
    fn parse(raw: &Raw) -> Result<Self, String> {
        let names: Vec<_> = Self::ALL.iter().map(|one| one.as_str()).collect();
        from_str(raw, &format!("one of {}", names.join(", ")))
    }

    fn to_toml(&self) -> String {
        quoted(self.as_str())
    }

    fn schema() -> Value {
        json!({ "enum": Self::ALL.map(Self::as_str) })
    }
}

impl Setting for bool {
    fn parse(raw: &Raw) -> Result<Self, String> {
        const EXPECTED: &str = "true or false";
        match raw {
            Raw::Boolean(value) => Ok(*value),
            Raw::Untyped(_) => from_str(raw, EXPECTED),
            Raw::Text(text) => Err(wrong(text, &format!("{EXPECTED}, without quotes"))),
            Raw::Integer(_) | Raw::List(_) | Raw::Other(_) => {
                Err(format!("is {}; expected {EXPECTED}", raw.kind()))
            }
        }
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }

    fn schema() -> Value {
        json!({ "type": "boolean" })
    }
}

/// An array in TOML, separated by commas elsewhere. Blanks around the commas do not count.
impl<T: Setting> Setting for Vec<T> {
    fn parse(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Untyped(text) => items(text).map(|item| T::parse(&item)).collect(),
            Raw::List(list) => list.iter().map(T::parse).collect(),
            Raw::Text(_) | Raw::Integer(_) | Raw::Boolean(_) | Raw::Other(_) => {
                Err(format!("is {}; expected an array", raw.kind()))
            }
        }
    }

    fn to_toml(&self) -> String {
        let items: Vec<_> = self.iter().map(T::to_toml).collect();
        format!("[{}]", items.join(", "))
    }

    fn schema() -> Value {
        json!({ "type": "array", "items": T::schema() })
    }
}

fn items(text: &str) -> impl Iterator<Item = Raw> {
    text.split(',')
        .map(|item| Raw::Untyped(item.trim().to_owned()))
        .filter(|_| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn untyped<T: Setting>(text: &str) -> Result<T, String> {
        T::parse(&Raw::Untyped(text.into()))
    }

    #[test]
    fn a_list_is_split_at_commas_outside_of_the_file() {
        let list = untyped::<Vec<String>>("a, b").unwrap();
        assert_eq!(list, ["a", "b"]);
        assert_eq!(untyped::<Vec<String>>("").unwrap(), [""; 0]);
        assert!(untyped::<Vec<String>>("a,,b").is_err());
    }

    #[test]
    fn a_secret_is_never_shown() {
        let text = "0123456789abcdef0123456789abcdef";
        let secret = untyped::<HmacSecret>(text).unwrap();
        assert!(!format!("{secret:?}{}", secret.to_toml()).contains("0123"));
        let error = untyped::<HmacSecret>("hunter2").unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
