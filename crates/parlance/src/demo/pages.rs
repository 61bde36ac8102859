//! The pages of `serve --dev` under `/demo`: two phones, each a document of its own, for two users
//! whose tokens are written into them.
//!
//! `serve` hands this to the gateway, which asks it about what is no conversation. The pages come
//! from `clients/demo`, whose build leaves them in `assets/demo`; here they are only served. The
//! tokens are in the documents because then the socket is all that a page asks the server for. So a
//! document with a token is only for whoever is certainly at this machine: the peer has a loopback
//! address, and `Host` names one, since a name of somebody else's that leads to 127.0.0.1 would let
//! their page read ours.

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HOST, HeaderName,
        HeaderValue, IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    },
    http::{request, uri::Authority},
};
use parlance_auth::MintError;
use parlance_gateway::{Answer, PageHandler};
use serde::Serialize;

use super::assets::{self, Asset, Document};
use crate::commands::token::Asked;

/// The conversation of the pages, which is also that of the commands that the banner shows.
pub(crate) const CONVERSATION: &str = "lobby";
/// Where the pages begin.
pub(crate) const PATH: &str = "/demo";
/// A page that is open for longer has to be loaded anew.
const TOKEN_LIFE: Duration = Duration::from_hours(12);
/// Stands in the phone's document for what its script is told.
const MARKER: &str = "{{phone}}";

/// Who has a phone: the last part of its path, the name, and whom they talk with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Person {
    Alice,
    Bob,
}

/// What a path under `/demo` stands for.
enum Page {
    Phones,
    Phone(Person),
    Asset(&'static Asset),
}

/// What the script of a phone is told.
#[derive(Debug, Serialize)]
struct Phone<'a> {
    user: &'a str,
    name: &'a str,
    peer: &'a str,
    peer_name: &'a str,
    conversation: &'a str,
    token: &'a str,
    token_life_ms: u128,
}

/// Serves them. `sign` makes the tokens that are asked for.
pub(crate) fn handler<S>(sign: S) -> PageHandler
where
    S: Fn(&Asked) -> Result<String, MintError> + Send + Sync + 'static,
{
    Box::new(move |head, peer| {
        let page = page(head.uri.path())?;
        if head.method != Method::GET && head.method != Method::HEAD {
            return Some(method_not_allowed());
        }
        Some(match page {
            Page::Asset(asset) => file(asset, &head.headers),
            Page::Phones => match here(head, peer) {
                Some(host) => document(assets::text(Document::Phones).to_owned(), &host),
                None => elsewhere(),
            },
            Page::Phone(person) => match here(head, peer) {
                Some(host) => phone(person, &host, &sign),
                None => elsewhere(),
            },
        })
    })
}

fn page(path: &str) -> Option<Page> {
    Some(match path.strip_prefix(PATH)? {
        "" | "/" => Page::Phones,
        "/alice" => Page::Phone(Person::Alice),
        "/bob" => Page::Phone(Person::Bob),
        rest => Page::Asset(assets::find(rest.strip_prefix('/')?)?),
    })
}

/// The `Host` of a request that certainly comes from this machine, as it may stand in a policy.
fn here(head: &request::Parts, peer: IpAddr) -> Option<String> {
    if peer.to_canonical().is_loopback() {
        loopback_host(&head.headers)
    } else {
        None
    }
}

fn loopback_host(headers: &HeaderMap) -> Option<String> {
    let mut given = headers.get_all(HOST).iter();
    let (Some(host), None) = (given.next(), given.next()) else {
        return None;
    };
    let authority: Authority = host.to_str().ok()?.parse().ok()?;
    let name = authority.host();
    if authority.as_str().contains('@') || !is_loopback(name) {
        return None;
    }
    Some(match authority.port_u16() {
        Some(port) => format!("{name}:{port}"),
        None => name.to_owned(),
    })
}

fn is_loopback(name: &str) -> bool {
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    let address = bare.parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

// === Answers ===

fn phone(person: Person, host: &str, sign: impl Fn(&Asked) -> Result<String, MintError>) -> Answer {
    let asked = Asked {
        sub: person.id().to_owned(),
        name: Some(person.name().to_owned()),
        conversations: vec![CONVERSATION.to_owned()],
        role: None,
        ttl: TOKEN_LIFE,
    };
    let told = sign(&asked).map_err(anyhow::Error::from);
    let told = told.and_then(|token| {
        Ok(serde_json::to_string(&Phone {
            user: person.id(),
            name: person.name(),
            peer: person.peer().id(),
            peer_name: person.peer().name(),
            conversation: CONVERSATION,
            token: &token,
            token_life_ms: TOKEN_LIFE.as_millis(),
        })?)
    });
    match told {
        Ok(told) => {
            let text = assets::text(Document::Phone).replace(MARKER, &escaped(&told));
            document(text, host)
        }
        Err(error) => {
            tracing::error!(%error, "no token could be made for the demo");
            answer(
                StatusCode::INTERNAL_SERVER_ERROR,
                "no token could be made\n".into(),
            )
        }
    }
}

/// As the value of an attribute between double quotes.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// A document for this machine: it may hold tokens, so nobody keeps it.
fn document(text: String, host: &str) -> Answer {
    // An IPv6 address cannot stand in a policy. For a name, not every browser takes 'self' for the
    // socket's scheme as well.
    let socket = if host.starts_with('[') {
        String::new()
    } else {
        format!(" ws://{host}")
    };
    html(StatusCode::OK, text, &format!("'self'{socket}"))
}

/// Says why the demo is not shown.
fn elsewhere() -> Answer {
    let text = assets::text(Document::Elsewhere).to_owned();
    html(StatusCode::FORBIDDEN, text, "'none'")
}

fn html(status: StatusCode, text: String, connect: &str) -> Answer {
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src {connect}; frame-src 'self'; frame-ancestors 'self'; base-uri 'none'; \
         form-action 'none'"
    );
    let mut answer = answer(status, text.into());
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_str(&policy).expect("a host that was parsed is plain ASCII"),
    );
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// A file, or that it has not changed.
fn file(asset: &'static Asset, asked: &HeaderMap) -> Answer {
    let tag = asset.entity_tag.as_str();
    let mut answer = if is_known(tag, asked) {
        answer(StatusCode::NOT_MODIFIED, Bytes::new())
    } else {
        answer(StatusCode::OK, Bytes::from_static(asset.bytes))
    };
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(
        ETAG,
        HeaderValue::from_str(tag).expect("a tag is hexadecimal"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

fn is_known(tag: &str, asked: &HeaderMap) -> bool {
    let lists = asked.get_all(IF_NONE_MATCH).iter();
    lists
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn method_not_allowed() -> Answer {
    let mut answer = answer(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".into());
    let headers = answer.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    answer
}

/// Plain text until somebody says otherwise, with what all answers say.
fn answer(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Answer::new(body.into());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

// === impl Person ===

impl Person {
    const fn id(self) -> &'static str {
        match self {
            Self::Alice => "alice",
            Self::Bob => "bob",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Alice => "Alice",
            Self::Bob => "Bob",
        }
    }

    const fn peer(self) -> Self {
        match self {
            Self::Alice => Self::Bob,
            Self::Bob => Self::Alice,
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use hyper::Request;
    use tokio::runtime::Builder;

    use super::*;

    fn head(method: &str, path: &str, headers: &[(&'static str, &str)]) -> request::Parts {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn ask(head: &request::Parts, peer: &str) -> Option<Answer> {
        let sign = |asked: &Asked| Ok(format!("<{}> {:?}", asked.sub, asked.conversations));
        handler(sign)(head, peer.parse().unwrap())
    }

    fn get(path: &str, host: &str, peer: &str) -> Answer {
        ask(&head("GET", path, &[("host", host)]), peer).unwrap()
    }

    fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
        answer.headers()[name].to_str().unwrap()
    }

    fn text(answer: Answer) -> String {
        let runtime = Builder::new_current_thread().build().unwrap();
        let body = runtime.block_on(answer.into_body().collect()).unwrap();
        String::from_utf8(body.to_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_phone_is_told_its_user_and_a_token_that_opens_one_conversation() {
        let answer = get("/demo/alice", "127.0.0.1:8080", "127.0.0.1");
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(header(&answer, "cache-control"), "no-store");

        let page = text(answer);

        assert!(
            page.contains(r"&quot;user&quot;:&quot;alice&quot;"),
            "{page}"
        );
        assert!(page.contains(r"&quot;peer&quot;:&quot;bob&quot;"), "{page}");
        assert!(!page.contains(MARKER));
        let token = r"&quot;token&quot;:&quot;&lt;alice&gt; [\&quot;lobby\&quot;]&quot;";
        assert!(page.contains(token), "{page}");
    }

    #[test]
    fn who_is_not_certainly_at_this_machine_gets_no_token() {
        for (host, peer) in [
            ("127.0.0.1:8080", "192.0.2.1"),
            ("evil.example:8080", "127.0.0.1"),
            ("localhost.evil.example", "127.0.0.1"),
            ("127.0.0.1.evil.example", "127.0.0.1"),
            ("127.0.0.1@evil.example", "127.0.0.1"),
            ("evil@127.0.0.1", "127.0.0.1"),
            ("0.0.0.0:8080", "127.0.0.1"),
            ("192.0.2.1", "127.0.0.1"),
            ("[::]", "::1"),
            ("", "127.0.0.1"),
        ] {
            for path in ["/demo", "/demo/", "/demo/alice", "/demo/bob"] {
                let answer = get(path, host, peer);
                assert_eq!(
                    answer.status(),
                    StatusCode::FORBIDDEN,
                    "{host} {peer} {path}"
                );
                assert!(header(&answer, "content-security-policy").contains("connect-src 'none'"));
                assert!(!text(answer).contains("token&quot;"));
            }
        }
        let twice = [("host", "127.0.0.1"), ("host", "127.0.0.1")];
        for hosts in [&[][..], &twice] {
            let answer = ask(&head("GET", "/demo/alice", hosts), "127.0.0.1").unwrap();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{hosts:?}");
        }
    }

    #[test]
    fn every_name_of_this_machine_will_do_and_the_policy_names_its_socket() {
        for (host, peer, connect) in [
            ("localhost:8080", "127.0.0.1", "'self' ws://localhost:8080;"),
            ("LocalHost", "::ffff:127.0.0.1", "'self' ws://LocalHost;"),
            ("127.0.0.1:9", "127.0.0.1", "'self' ws://127.0.0.1:9;"),
            ("127.1.2.3", "127.1.2.3", "'self' ws://127.1.2.3;"),
            ("[::1]:8080", "::1", "'self';"),
        ] {
            for path in ["/demo", "/demo/bob"] {
                let answer = get(path, host, peer);
                assert_eq!(answer.status(), StatusCode::OK, "{host}");
                let policy = header(&answer, "content-security-policy");
                assert!(
                    policy.contains(&format!("connect-src {connect}")),
                    "{policy}"
                );
                assert!(!policy.contains("unsafe"), "{policy}");
            }
        }
    }

    #[test]
    fn a_file_that_is_known_is_not_sent_again() {
        let first = get("/demo/phone.js", "example", "192.0.2.1");
        let tag = header(&first, "etag").to_owned();
        assert!(tag.starts_with('"') && tag.len() > 20, "{tag}");
        assert_eq!(
            header(&first, "content-type"),
            "text/javascript; charset=utf-8"
        );

        for (known, status) in [
            (tag.clone(), 304),
            (format!("W/{tag}"), 304),
            (format!("\"other\", {tag}"), 304),
            ("*".to_owned(), 304),
            ("\"other\"".to_owned(), 200),
            (tag.trim_matches('"').to_owned(), 200),
        ] {
            let head = head("GET", "/demo/phone.js", &[("if-none-match", &known)]);
            let answer = ask(&head, "127.0.0.1").unwrap();
            assert_eq!(answer.status(), status, "{known}");
            assert_eq!(header(&answer, "etag"), tag);
        }
    }

    #[test]
    fn other_paths_are_left_to_the_gateway_and_other_methods_refused() {
        for path in [
            "/",
            "/demos",
            "/demo/x",
            "/demo//",
            "/demo/alice/",
            "/demo/../demo",
            "*",
        ] {
            assert!(
                ask(&head("GET", path, &[]), "127.0.0.1").is_none(),
                "{path}"
            );
        }
        for path in ["/demo", "/demo/alice", "/demo/phone.js"] {
            let refused = ask(&head("POST", path, &[]), "127.0.0.1").unwrap();
            assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(header(&refused, "allow"), "GET, HEAD");
        }
    }

    #[test]
    fn every_answer_says_what_browsers_may_not_do_with_it() {
        for path in ["/demo", "/demo/alice", "/demo/phone.js", "/demo/phone.css"] {
            for peer in ["127.0.0.1", "192.0.2.1"] {
                let answer = get(path, "localhost", peer);
                assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
                assert_eq!(header(&answer, "referrer-policy"), "no-referrer");
                assert_eq!(
                    header(&answer, "cross-origin-resource-policy"),
                    "same-origin"
                );
            }
        }
    }

    #[test]
    fn what_a_script_is_told_cannot_leave_its_attribute() {
        assert_eq!(
            escaped(r#"<a href="x">&"#),
            "&lt;a href=&quot;x&quot;&gt;&amp;"
        );
    }
}
