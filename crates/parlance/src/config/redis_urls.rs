//! The setting `redis.urls`.

use std::fmt;

use parlance_redis::topology::Topology;
use serde_json::{Value, json};

use super::value::{REDACTED, Raw, Setting, quoted};

const EXPECTED: &str = "URLs like redis://127.0.0.1:6379";

/// URLs that describe a deployment of Redis. Never shown.
#[derive(Clone)]
pub(crate) struct RedisUrls {
    urls: Vec<String>,
    topology: Topology,
}

impl RedisUrls {
    /// What they describe.
    pub(crate) fn topology(&self) -> Topology {
        self.topology.clone()
    }
}

impl PartialEq for RedisUrls {
    fn eq(&self, other: &Self) -> bool {
        self.urls == other.urls
    }
}

impl fmt::Debug for RedisUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisUrls(..)")
    }
}

impl Setting for RedisUrls {
    const SECRET: bool = true;

    fn parse(raw: &Raw) -> Result<Self, String> {
        let urls = match raw {
            Raw::Untyped(text) => split(text),
            Raw::List(list) => list
                .iter()
                .map(|item| item.text(EXPECTED).map(str::to_owned))
                .collect::<Result<_, _>>()?,
            Raw::Text(_) | Raw::Integer(_) | Raw::Boolean(_) | Raw::Other(_) => {
                return Err(format!(
                    "is {}; expected an array of {EXPECTED}",
                    raw.kind()
                ));
            }
        };
        let topology = Topology::parse(&urls);
        let topology = topology.map_err(|error| format!("is not usable: {error}"))?;
        Ok(Self { urls, topology })
    }

    fn to_toml(&self) -> String {
        let hidden = vec![quoted(REDACTED); self.urls.len()];
        format!("[{}]", hidden.join(", "))
    }

    fn sample(text: &str) -> String {
        let urls: Vec<_> = split(text).iter().map(|url| quoted(url)).collect();
        format!("[{}]", urls.join(", "))
    }

    fn schema() -> Value {
        let url = json!({
            "type": "string",
            "pattern": "^rediss?([+]sentinel|[+]cluster)?://",
        });
        json!({ "type": "array", "items": url, "minItems": 1 })
    }
}

/// URLs apart from each other by commas or blanks. What has no scheme is another host of the URL
/// before it.
fn split(text: &str) -> Vec<String> {
    let mut urls: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        for piece in word.trim_matches(',').split(',') {
            match urls.last_mut() {
                Some(url) if !piece.contains("://") => {
                    url.push(',');
                    url.push_str(piece);
                }
                Some(_) | None => urls.push(piece.to_owned()),
            }
        }
    }
    urls
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Result<RedisUrls, String> {
        RedisUrls::parse(&Raw::Untyped(text.into()))
    }

    #[test]
    fn urls_are_split_where_one_begins_and_not_at_the_commas_between_hosts() {
        for (text, urls) in [
            ("redis://a, redis://b", &["redis://a", "redis://b"][..]),
            ("redis://a,redis://b\n", &["redis://a", "redis://b"]),
            ("redis://a\nredis://b\n", &["redis://a", "redis://b"]),
            ("redis+cluster://u:p@a,b:1", &["redis+cluster://u:p@a,b:1"]),
            ("redis+sentinel://a,b/s,t", &["redis+sentinel://a,b/s,t"]),
        ] {
            assert_eq!(given(text).unwrap().urls, urls, "{text:?}");
        }
        assert!(given("").is_err());
        assert!(given("redis+cluster://a,,b").is_err());
    }

    #[test]
    fn a_password_in_a_url_is_never_shown() {
        let urls = given("redis://chat:xyzzy@a redis://chat:xyzzy@b").unwrap();
        assert_eq!(urls.to_toml(), "[\"<redacted>\", \"<redacted>\"]");
        assert!(!format!("{urls:?}").contains("xyzzy"));
        let error = given("redis://chat:xyzzy@a/7").unwrap_err();
        assert!(!error.contains("xyzzy"), "{error}");
    }
}
