//! Where a token may stand in a request, and that there is only one.

use std::borrow::Cow;

use hyper::{
    HeaderMap,
    header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL},
};

use super::refusal::Refusal;

/// The only subprotocol that is ever selected.
pub(super) const SUBPROTOCOL: &str = "parlance.v1";
const BEARER_ENTRY: &str = "bearer.";

/// What the list of offered subprotocols says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Offered<'r> {
    /// [`SUBPROTOCOL`] is offered, and so selected.
    pub(super) subprotocol: bool,
    /// The token of the `bearer.` entry.
    pub(super) bearer: Option<&'r str>,
}

/// Reads `Sec-WebSocket-Protocol`. Entries that nobody here knows are passed over.
pub(super) fn offered(headers: &HeaderMap) -> Result<Offered<'_>, Refusal> {
    let mut offered = Offered::default();
    for value in headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
        let value = value
            .to_str()
            .map_err(|_| Refusal::Malformed("Sec-WebSocket-Protocol is not plain ASCII"))?;
        for entry in value.split(',').map(str::trim) {
            if entry == SUBPROTOCOL {
                offered.subprotocol = true;
            } else if let Some(token) = entry.strip_prefix(BEARER_ENTRY)
                && offered.bearer.replace(token).is_some()
            {
                return Err(Refusal::Malformed("two bearer entries in the subprotocols"));
            }
        }
    }
    if offered.bearer.is_some() && !offered.subprotocol {
        return Err(Refusal::Malformed(
            "a bearer entry in the subprotocols needs parlance.v1 beside it",
        ));
    }
    Ok(offered)
}

/// The one token of a request; empty ones are none.
pub(super) fn only_token<'r>(
    headers: &'r HeaderMap,
    offered: &Offered<'r>,
    in_query: Vec<Cow<'r, str>>,
) -> Result<Option<Cow<'r, str>>, Refusal> {
    let in_headers = authorization(headers)?.into_iter().chain(offered.bearer);
    let mut tokens = in_headers
        .map(Cow::Borrowed)
        .chain(in_query)
        .filter(|token| !token.is_empty());
    let first = tokens.next();
    if tokens.any(|other| Some(other) != first) {
        return Err(Refusal::Malformed("two different tokens"));
    }
    Ok(first)
}

/// The tokens of `Authorization: Bearer`. Other schemes are for whoever stands in between.
fn authorization(headers: &HeaderMap) -> Result<Vec<&str>, Refusal> {
    let mut tokens = Vec::new();
    for value in headers.get_all(AUTHORIZATION) {
        let value = value
            .to_str()
            .map_err(|_| Refusal::Malformed("Authorization is not plain ASCII"))?;
        if let Some((scheme, token)) = value.split_once(' ')
            && scheme.eq_ignore_ascii_case("bearer")
        {
            tokens.push(token.trim());
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn protocols(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(value));
        }
        headers
    }

    fn token(authorization: &'static str, query: &[&'static str]) -> Result<String, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static(authorization));
        let query = query.iter().map(|&token| token.into()).collect();
        only_token(&headers, &Offered::default(), query)
            .map(|token| token.unwrap_or("none".into()).into_owned())
    }

    #[test]
    fn the_bearer_entry_is_found_in_one_list_or_in_several_headers() {
        for headers in [
            &["parlance.v1, bearer.a.b.c"][..],
            &["bearer.a.b.c", "other ,parlance.v1"],
        ] {
            let both = Offered {
                subprotocol: true,
                bearer: Some("a.b.c"),
            };
            assert_eq!(offered(&protocols(headers)), Ok(both));
        }
    }

    #[test]
    fn a_bearer_entry_alone_or_twice_is_malformed() {
        assert!(offered(&protocols(&["bearer.a"])).is_err());
        assert!(offered(&protocols(&["parlance.v1, bearer.a, bearer.a"])).is_err());
        assert!(offered(&protocols(&["parlance.v1, bearer.a", "bearer.b"])).is_err());
    }

    #[test]
    fn strange_subprotocols_are_passed_over() {
        let none = Offered::default();
        assert_eq!(
            offered(&protocols(&["chat, parlance.v2, PARLANCE.V1"])),
            Ok(none)
        );
    }

    #[test]
    fn the_same_token_in_several_places_is_one_and_two_different_are_malformed() {
        assert_eq!(token("Bearer abc", &[]).unwrap(), "abc");
        assert_eq!(token("bearer  abc", &["abc", "abc"]).unwrap(), "abc");
        assert_eq!(token("Bearer abc", &[""]).unwrap(), "abc");
        assert_eq!(token("Basic abc", &["def"]).unwrap(), "def");
        assert_eq!(token("Bearer ", &[]).unwrap(), "none");
        assert!(token("Bearer abc", &["abd"]).is_err());
        assert!(token("Basic abc", &["abc", "ABC"]).is_err());
    }
}
