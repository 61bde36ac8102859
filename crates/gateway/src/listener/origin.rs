//! Whether a browser page may connect. Not a replacement for the token: it keeps foreign pages from
//! using what a browser sends by itself.

use std::net::IpAddr;

use hyper::{HeaderMap, header::ORIGIN};

use crate::config::Origins;

impl Origins {
    /// Whether the request's `Origin` is on the list, or there is none. Two of them are foreign, as
    /// is an empty one and `null` (unless somebody lists it).
    pub(super) fn admit(&self, headers: &HeaderMap, peer: IpAddr) -> bool {
        let mut given = headers.get_all(ORIGIN).iter();
        let Some(origin) = given.next() else {
            return true;
        };
        if self.any_from_loopback && peer.to_canonical().is_loopback() {
            return true;
        }
        let listed = |allowed: &String| !allowed.is_empty() && allowed.as_bytes() == origin;
        given.next().is_none() && self.allowed.iter().any(listed)
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    const FAR: &str = "192.0.2.1";

    fn admits(origins: &Origins, given: &[&'static str], peer: &str) -> bool {
        let mut headers = HeaderMap::new();
        for origin in given {
            headers.append(ORIGIN, HeaderValue::from_static(origin));
        }
        origins.admit(&headers, peer.parse().unwrap())
    }

    fn only(allowed: &[&str]) -> Origins {
        Origins {
            allowed: allowed.iter().map(|&origin| origin.to_owned()).collect(),
            any_from_loopback: false,
        }
    }

    #[test]
    fn an_origin_passes_only_if_it_is_exactly_on_the_list() {
        let origins = only(&["https://chat.example.com", "https://other.example"]);
        assert!(admits(&origins, &["https://chat.example.com"], FAR));
        assert!(admits(&origins, &["https://other.example"], FAR));
        for foreign in [
            "",
            "null",
            "file://",
            "*",
            "https://evil.example",
            "http://chat.example.com",
            "https://CHAT.example.com",
            "https://chat.example.com/",
            "https://chat.example.com:8443",
            "https://chat.example.com.evil.example",
            "https://evil.chat.example.com",
            "https://example.com",
        ] {
            assert!(!admits(&origins, &[foreign], FAR), "{foreign:?}");
            assert!(!admits(&origins, &[foreign], "127.0.0.1"), "{foreign:?}");
        }
        let twice = ["https://chat.example.com", "https://chat.example.com"];
        assert!(!admits(&origins, &twice, FAR));
    }

    #[test]
    fn without_an_origin_everybody_passes() {
        assert!(admits(&only(&[]), &[], FAR));
    }

    #[test]
    fn an_empty_origin_stays_foreign_even_if_the_list_holds_an_empty_text() {
        assert!(!admits(&only(&[""]), &[""], FAR));
    }

    #[test]
    fn the_development_switch_admits_any_origin_but_only_from_loopback() {
        let origins = Origins {
            allowed: Vec::new(),
            any_from_loopback: true,
        };
        for near in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(admits(&origins, &["http://localhost:5173"], near), "{near}");
        }
        assert!(!admits(&origins, &["http://localhost:5173"], FAR));
    }
}
