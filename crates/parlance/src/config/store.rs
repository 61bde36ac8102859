//! The settings of the store that are more than a text.

use std::fmt;

use serde_json::{Value, json};

use super::value::{REDACTED, Raw, Setting, quoted, wrong};

/// The port that CQL is spoken at where none is given.
const USUAL_PORT: u16 = 9042;

/// A contact point of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreNode(String);

impl StoreNode {
    /// `host:port`
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for StoreNode {
    fn parse(raw: &Raw) -> Result<Self, String> {
        const EXPECTED: &str = "a host and port, like \"10.0.0.1:9042\" or \"scylla-0\"";
        let text = raw.text(EXPECTED)?;
        let (host, port) = split(text).ok_or_else(|| wrong(text, EXPECTED))?;
        Ok(Self(format!("{host}:{port}")))
    }

    fn to_toml(&self) -> String {
        quoted(&self.0)
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

/// An address of IPv6 stands in brackets.
fn split(text: &str) -> Option<(&str, u16)> {
    let is_plain = |host: &str| {
        !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/@?#".contains(c))
    };
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, port.parse().ok()?),
        Some(_) | None => (text, USUAL_PORT),
    };
    let is_whole = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
    (is_plain(host) && is_whole && port > 0).then_some((host, port))
}

/// The name of a keyspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keyspace(String);

impl Keyspace {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for Keyspace {
    fn parse(raw: &Raw) -> Result<Self, String> {
        const EXPECTED: &str = "1 to 48 letters, digits or underscores, like \"parlance\"";
        let text = raw.text(EXPECTED)?;
        let is_plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_plain || text.len() > 48 {
            return Err(wrong(text, EXPECTED));
        }
        Ok(Self(text.to_owned()))
    }

    fn to_toml(&self) -> String {
        quoted(&self.0)
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[A-Za-z0-9_]{1,48}$" })
    }
}

/// A password. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password(String);

impl Password {
    /// For the one who has to say it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Setting for Password {
    const SECRET: bool = true;

    fn parse(raw: &Raw) -> Result<Self, String> {
        raw.text("a string").map(|text| Self(text.to_owned()))
    }

    fn to_toml(&self) -> String {
        quoted(REDACTED)
    }

    fn sample(text: &str) -> String {
        quoted(text)
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn untyped<T: Setting>(text: &str) -> Result<T, String> {
        T::parse(&Raw::Untyped(text.into()))
    }

    #[test]
    fn a_contact_point_has_the_usual_port_unless_it_names_one() {
        for (text, node) in [
            ("scylla-0", "scylla-0:9042"),
            ("10.0.0.1:19042", "10.0.0.1:19042"),
            ("[::1]", "[::1]:9042"),
            ("[::1]:99", "[::1]:99"),
        ] {
            assert_eq!(untyped::<StoreNode>(text).unwrap().as_str(), node);
        }
        for text in [
            "", ":9042", "::1", "a:b", "a:0", "a:70000", "cql://a", "a b",
        ] {
            assert!(untyped::<StoreNode>(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn a_keyspace_is_a_plain_name() {
        assert!(untyped::<Keyspace>("chat_2").is_ok());
        assert!(untyped::<Keyspace>("chat-2").is_err());
        assert!(untyped::<Keyspace>(&"a".repeat(49)).is_err());
    }

    #[test]
    fn a_password_is_never_shown() {
        let password = untyped::<Password>("xyzzy").unwrap();
        let shown = format!("{password:?}{}", password.to_toml());
        assert!(!shown.contains("xyzzy"), "{shown}");
    }
}
