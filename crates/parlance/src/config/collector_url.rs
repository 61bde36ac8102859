//! The setting `traces.endpoint`.

use hyper::Uri;
use serde_json::{Value, json};

use super::value::{Raw, Setting, quoted, wrong};

const EXPECTED: &str = "a URL like http://otel-collector:4318/v1/traces";

/// Where a collector takes traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CollectorUrl(String);

impl CollectorUrl {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for CollectorUrl {
    fn parse(raw: &Raw) -> Result<Self, String> {
        let text = raw.text(EXPECTED)?;
        let url: Uri = text.parse().map_err(|_| wrong(text, EXPECTED))?;
        let authority = url.authority().map(hyper::http::uri::Authority::as_str);
        // It is shown, and the client would not send a login.
        if authority.is_some_and(|authority| authority.contains('@')) {
            return Err("has a login, which is not sent; give it as a header by \
                        OTEL_EXPORTER_OTLP_HEADERS"
                .to_owned());
        }
        if !matches!(url.scheme_str(), Some("http" | "https")) || authority.is_none() {
            return Err(wrong(text, EXPECTED));
        }
        if url.path() == "/" {
            return Err(format!(
                "is {text:?}, which has no path; collectors take traces at /v1/traces"
            ));
        }
        Ok(Self(text.to_owned()))
    }

    fn to_toml(&self) -> String {
        quoted(&self.0)
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^https?://[^@/]+/.+" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Result<CollectorUrl, String> {
        CollectorUrl::parse(&Raw::Untyped(text.into()))
    }

    #[test]
    fn a_url_has_a_scheme_a_host_and_a_path() {
        for text in [
            "http://127.0.0.1:4318/v1/traces",
            "https://collector.example/otlp/v1/traces",
            "http://[::1]:4318/v1/traces",
        ] {
            assert_eq!(given(text).unwrap().as_str(), text);
        }
        for (text, what) in [
            ("", "is empty"),
            ("otel-collector:4318", "expected a URL"),
            ("/v1/traces", "expected a URL"),
            ("grpc://otel-collector:4317/v1/traces", "expected a URL"),
            ("http://a b/v1/traces", "expected a URL"),
            ("http://otel-collector:4318", "/v1/traces"),
            ("http://otel-collector:4318/", "/v1/traces"),
        ] {
            let error = given(text).unwrap_err();
            assert!(error.contains(what), "{text:?}: {error}");
        }
        let error = given("http://user:secret@host/v1/traces").unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }
}
