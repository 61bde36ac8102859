//! What has to hold for any upgrade request, called by the target in `fuzz/` and, with its committed
//! corpus, by the test below. Not part of a build.
//!
//! A line that is a method and a target, then lines that are headers. HTTP itself is hyper's affair.

use std::net::{IpAddr, Ipv4Addr};

use http_body_util::Empty;
use hyper::{Request, body::Bytes};

use super::handshake::{self, Ask};
use crate::config::Origins;

/// A request is refused, or all that joining needs is there: hyper's side can upgrade it, and nothing
/// that was asked for is empty.
pub fn handshake(data: &[u8]) {
    let Some(mut request) = request(data) else {
        return;
    };
    let origins = Origins {
        allowed: vec!["https://chat.example".to_owned()],
        any_from_loopback: false,
    };
    let stranger = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let is_admitted = origins.admit(request.headers(), stranger);
    let mut given = request.headers().get_all("origin").iter();
    let allowed = given.all(|origin| origin == "https://chat.example");
    assert!(allowed || !is_admitted, "a foreign origin is admitted");
    for base_path in ["", "/api"] {
        match handshake::read(&request, base_path) {
            Ok(ask) => check(&ask),
            Err(refusal) => assert!(refusal.answer().status().as_u16() >= 400),
        }
    }
    if handshake::read(&request, "").is_ok() {
        assert!(fastwebsockets::upgrade::upgrade(&mut request).is_ok());
    }
}

fn check(ask: &Ask<'_>) {
    assert!(!ask.conversation.is_empty());
    assert!(ask.token.as_deref() != Some("") && ask.since.as_deref() != Some(""));
    assert!(ask.extended || !ask.subprotocol);
}

fn request(data: &[u8]) -> Option<Request<Empty<Bytes>>> {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut head = lines.next()?.splitn(2, |byte| *byte == b' ');
    let (method, target) = (head.next()?, head.next()?);
    let mut request = Request::builder().method(method).uri(target);
    for line in lines {
        let at = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&line[..at], line[at + 1..].trim_ascii());
        request = request.header(name, value);
    }
    request.body(Empty::new()).ok()
}

#[cfg(test)]
mod tests {
    use parlance_testkit::corpus::replay;

    #[test]
    fn what_fuzzing_began_with_holds() {
        replay("handshake", super::handshake);
    }
}
