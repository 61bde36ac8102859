//! Settings that are words: web origins, and choices from a list.

use serde_json::{Value, json};

use super::value::{Raw, Setting, quoted, wrong};

/// The `Origin` of a web page: scheme, host, and port unless it is the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OriginHeader(String);

impl OriginHeader {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for OriginHeader {
    fn parse(raw: &Raw) -> Result<Self, String> {
        const EXPECTED: &str = "an origin as browsers send it, like \"https://chat.example.com\"";
        let text = raw.text(EXPECTED)?;
        let host = text.split_once("://").map_or("", |(_, host)| host);
        let plain = text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase());
        if host.is_empty() || host.contains(['/', '*', '?', '#', '@']) || !plain {
            return Err(wrong(text, EXPECTED));
        }
        Ok(Self(text.to_owned()))
    }

    fn to_toml(&self) -> String {
        quoted(&self.0)
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[a-z][a-z0-9+.-]*://[^/*?#@A-Z]+$" })
    }
}

/// A setting that has one word of a list.
macro_rules! word {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl Setting for $name {
            fn parse(raw: &Raw) -> Result<Self, String> {
                let expected = [$(concat!("\"", $text, "\"")),+].join(" or ");
                match raw.text(&expected)? {
                    $($text => Ok(Self::$variant),)+
                    other => Err(wrong(other, &expected)),
                }
            }

            fn to_toml(&self) -> String {
                match self {
                    $(Self::$variant => quoted($text),)+
                }
            }

            fn schema() -> Value {
                json!({ "enum": [$($text),+] })
            }
        }
    };
}

word! {
    /// What decides who may enter a conversation.
    AccessMode {
        /// The token's own list.
        Claims = "claims",
    }
}

word! {
    /// Where events become durable.
    LogKind {
        /// In the data directory of this process.
        Embedded = "embedded",
        /// In Redis, which several gateways share.
        Redis = "redis",
    }
}

word! {
    /// When an event in Redis counts as durable.
    RedisDurability {
        /// When its master has it.
        Local = "local",
        /// When a replica of that has it too.
        Replicated = "replicated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Result<OriginHeader, String> {
        OriginHeader::parse(&Raw::Untyped(text.into()))
    }

    #[test]
    fn an_origin_with_a_path_a_pattern_or_capitals_is_refused() {
        assert!(origin("https://chat.example.com:8443").is_ok());
        for text in [
            "https://a.example/",
            "https://*.a.example",
            "a.example",
            "https://A.example",
        ] {
            assert!(origin(text).is_err(), "{text:?} was taken");
        }
    }
}
