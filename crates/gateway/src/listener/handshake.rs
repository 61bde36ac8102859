//! What a request asks for, and whether it is a proper WebSocket upgrade. Pure: looks at the
//! request only. What it does not do: judge the token or whether the conversation may be seen.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};
use fastwebsockets::upgrade::is_upgrade_request;
use hyper::{
    HeaderMap, Method, Request, Version,
    body::Body,
    header::{
        AsHeaderName, HOST, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
        TRANSFER_ENCODING,
    },
};
use percent_encoding::percent_decode_str;

use super::{
    refusal::Refusal,
    token::{offered, only_token},
};

/// A proper upgrade of a conversation's path. Nothing in it is checked further than its form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ask<'r> {
    /// Percent-decoded once; may be no valid id.
    pub(super) conversation: Cow<'r, str>,
    /// Not empty.
    pub(super) token: Option<Cow<'r, str>>,
    /// Not empty.
    pub(super) since: Option<Cow<'r, str>>,
    /// The extended layer is asked for.
    pub(super) extended: bool,
    /// `parlance.v1` is offered and to be selected.
    pub(super) subprotocol: bool,
}

/// Reads an upgrade request. The path is judged first, then the method, then the rest.
pub(super) fn read<'r, B: Body>(
    request: &'r Request<B>,
    base_path: &str,
) -> Result<Ask<'r>, Refusal> {
    let id = conversation_segment(request.uri().path(), base_path).ok_or(Refusal::NotFound)?;
    check_upgrade(request)?;
    let offered = offered(request.headers())?;
    let query = Query::read(request.uri().query().unwrap_or_default());
    let token = only_token(request.headers(), &offered, query.tokens)?;
    Ok(Ask {
        conversation: decoded(id),
        token,
        since: query.since.filter(|since| !since.is_empty()),
        extended: query.version.as_deref() == Some("1") || offered.subprotocol,
        subprotocol: offered.subprotocol,
    })
}

/// `{id}` of `{base_path}/conversations/{id}/`, as it stands there; the last slash may be missing.
fn conversation_segment<'r>(path: &'r str, base_path: &str) -> Option<&'r str> {
    let segment = path
        .strip_prefix(base_path)?
        .strip_prefix("/conversations/")?;
    let segment = segment.strip_suffix('/').unwrap_or(segment);
    (!segment.is_empty() && !segment.contains('/')).then_some(segment)
}

fn check_upgrade<B: Body>(request: &Request<B>) -> Result<(), Refusal> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(Refusal::MethodNotAllowed);
    }
    let host = at_most_one(headers, HOST, "Host twice")?;
    let key = at_most_one(headers, SEC_WEBSOCKET_KEY, "Sec-WebSocket-Key twice")?;
    let version = at_most_one(
        headers,
        SEC_WEBSOCKET_VERSION,
        "Sec-WebSocket-Version twice",
    )?;
    if request.version() < Version::HTTP_11 || !is_upgrade_request(request) {
        return Err(Refusal::UpgradeRequired);
    }
    if version.is_none_or(|version| version != "13") {
        return Err(Refusal::UpgradeRequired);
    }
    if host.is_none() {
        return Err(Refusal::Malformed("no Host"));
    }
    if !key.is_some_and(is_nonce) {
        return Err(Refusal::Malformed(
            "Sec-WebSocket-Key is not 16 bytes in base64",
        ));
    }
    if headers.contains_key(TRANSFER_ENCODING) || !request.body().is_end_stream() {
        return Err(Refusal::Malformed("an upgrade has no body"));
    }
    Ok(())
}

fn at_most_one<'r>(
    headers: &'r HeaderMap,
    name: impl AsHeaderName,
    twice: &'static str,
) -> Result<Option<&'r HeaderValue>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    match values.next() {
        Some(_) => Err(Refusal::Malformed(twice)),
        None => Ok(first),
    }
}

fn is_nonce(key: &HeaderValue) -> bool {
    BASE64_STANDARD
        .decode(key.as_bytes())
        .is_ok_and(|nonce| nonce.len() == 16)
}

/// The known parameters. One that is given twice counts by its first occurrence, except `token`,
/// where all count, because two different ones are refused.
#[derive(Debug, Default)]
struct Query<'r> {
    tokens: Vec<Cow<'r, str>>,
    since: Option<Cow<'r, str>>,
    version: Option<Cow<'r, str>>,
}

impl<'r> Query<'r> {
    fn read(query: &'r str) -> Self {
        let mut known = Self::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "token" => known.tokens.push(decoded(value)),
                "since" => known.since = known.since.or_else(|| Some(decoded(value))),
                "v" => known.version = known.version.or_else(|| Some(decoded(value))),
                _ => {}
            }
        }
        known
    }
}

/// Percent-decoded once. What does not decode to UTF-8 becomes a character that neither an id, a
/// token nor a position may hold, and is refused where those are judged.
fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_one_segment_with_or_without_a_last_slash() {
        for (path, segment) in [
            ("/conversations/c1/", Some("c1")),
            ("/conversations/c1", Some("c1")),
            ("/conversations/a%2Fb/", Some("a%2Fb")),
            ("/conversations/", None),
            ("/conversations//", None),
            ("/conversations", None),
            ("/conversations/c1//", None),
            ("/conversations/c1/x", None),
            ("/Conversations/c1/", None),
            ("/x/conversations/c1/", None),
            ("conversations/c1/", None),
            ("/", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(conversation_segment(path, ""), segment, "{path}");
        }
    }

    #[test]
    fn the_base_path_stands_before_it_and_is_needed() {
        let segment = |path| conversation_segment(path, "/api/v2");
        assert_eq!(segment("/api/v2/conversations/c1/"), Some("c1"));
        assert_eq!(segment("/conversations/c1/"), None);
        assert_eq!(segment("/api/v2conversations/c1/"), None);
    }

    #[test]
    fn parameters_are_decoded_once_and_the_first_of_a_name_counts() {
        let query = Query::read("x=9&since=4%2D1&v=1&since=5&token=a%252Eb&v=2&token=c");
        assert_eq!(query.since.as_deref(), Some("4-1"));
        assert_eq!(query.version.as_deref(), Some("1"));
        assert_eq!(query.tokens, ["a%2Eb", "c"]);
    }

    #[test]
    fn a_nonce_is_sixteen_bytes_in_padded_base64() {
        for (key, good) in [
            ("dGhlIHNhbXBsZSBub25jZQ==", true),
            ("dGhlIHNhbXBsZSBub25jZQ", false),
            ("dGhlIHNhbXBsZSBub25jZQ== ", false),
            ("dGhlIHNhbXBsZSBub25jZVE=", false),
            ("AAAA", false),
            ("", false),
            ("!!!!IHNhbXBsZSBub25jZQ==", false),
        ] {
            assert_eq!(is_nonce(&HeaderValue::from_static(key)), good, "{key}");
        }
    }
}
