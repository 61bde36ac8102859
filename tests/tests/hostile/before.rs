//! What is sent before anybody is a member: requests, origins and tokens.

use parlance_testkit::{
    frames::Frame,
    server::Parlance,
    tokens::{Claims, unix_now},
};
use serde_json::{Value, json};

use super::{Answer, Case, Sent};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

pub(crate) fn cases(server: &Parlance) -> Vec<Case> {
    let good = server.mint(&Claims::of("hostile"));
    let mut cases = requests(&good);
    cases.extend(streams(&good));
    cases.extend(origins(&good));
    cases.extend(tokens(server, &good));
    cases
}

fn request(line: &str, headers: &[&str]) -> Sent {
    Sent::Request(format!("{line}\r\n{}\r\n\r\n", headers.join("\r\n")).into_bytes())
}

fn requests(token: &str) -> Vec<Case> {
    let proper = [
        "Host: x",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        KEY,
    ];
    let path = format!("/conversations/h/?token={token}");
    let line = format!("GET {path} HTTP/1.1");
    let mut cases = vec![];
    let mut add = |name: String, sent, answer| cases.push(Case::new(name, sent, answer));
    for (path, status) in [
        ("/", 404),
        ("/conversations", 404),
        ("/conversations/", 404),
        ("/conversations//", 404),
        ("/conversations/a/b", 404),
        ("/conversations/a//", 404),
        ("/Conversations/a/", 404),
        ("/x/conversations/a/", 404),
        ("/../conversations/a/", 404),
        ("/?conversations/a/", 404),
    ] {
        let sent = request(&format!("GET {path} HTTP/1.1"), &proper);
        add(format!("path {path}"), sent, Answer::Status(status));
    }
    for id in [
        "a%20b", "%00", "a%2Fb", "%FF", "a%", "..%2F", "%C3%A9", "a@b",
    ] {
        let line = format!("GET /conversations/{id}/?token={token} HTTP/1.1");
        add(
            format!("id {id}"),
            request(&line, &proper),
            Answer::Close(4004),
        );
    }
    for (at, name) in ["Host", "Connection", "Upgrade", "Version", "Key"]
        .iter()
        .enumerate()
    {
        let mut less = proper.to_vec();
        less.remove(at);
        let status = if matches!(at, 0 | 4) { 400 } else { 426 };
        add(
            format!("without {name}"),
            request(&line, &less),
            Answer::Status(status),
        );
    }
    for header in [
        "Host: y",
        KEY,
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Version: 8",
        "Content-Length: 5",
        "Content-Length: -1",
        "Content-Length: x",
        "Transfer-Encoding: chunked",
        "no colon",
        " : empty name",
        "Bad Name: x",
        "Sec-WebSocket-Protocol: bearer.x",
        "Sec-WebSocket-Protocol: parlance.v1, bearer.x, bearer.x",
        "Authorization: Bearer another",
    ] {
        let more = [&proper[..], &[header]].concat();
        add(
            format!("besides {header}"),
            request(&line, &more),
            Answer::Status(400),
        );
    }
    for (version, status) in [
        ("0", 426),
        ("12", 426),
        ("14", 426),
        ("", 426),
        ("13, 8", 426),
    ] {
        let version = format!("Sec-WebSocket-Version: {version}");
        let headers = [&proper[..3], &[&version, KEY]].concat();
        add(
            version.clone(),
            request(&line, &headers),
            Answer::Status(status),
        );
    }
    for key in [
        "",
        "AAAA",
        "!!!!",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZVE=",
    ] {
        let key = format!("Sec-WebSocket-Key: {key}");
        let headers = [&proper[..4], &[&key]].concat();
        add(key.clone(), request(&line, &headers), Answer::Status(400));
    }
    let huge = format!("X: {}", "x".repeat(20_000));
    let more = [&proper[..], &[&huge]].concat();
    add(
        "huge header".into(),
        request(&line, &more),
        Answer::Status(431),
    );
    let old = request(&format!("GET {path} HTTP/1.0"), &proper);
    add("HTTP/1.0".into(), old, Answer::Status(426));
    for value in ["0", "2", "", "01", "true", "1%00"] {
        let line = format!("GET {path}&v={value} HTTP/1.1");
        add(format!("v={value}"), request(&line, &proper), Answer::Lives);
    }
    cases
}

/// Requests that are judged together with what stands around them.
fn streams(token: &str) -> Vec<Case> {
    let path = format!("/conversations/s/?token={token}");
    let headers = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let proper = format!("GET {path} HTTP/1.1\r\n{headers}\r\n");
    let mut cases = vec![];
    let mut add = |name: String, bytes, answer| {
        let name = format!("stream: {name}");
        cases.push(Case::new(name, Sent::Request(bytes), answer));
    };
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"] {
        let bytes = format!("{method} {path} HTTP/1.1\r\n{headers}\r\n").into_bytes();
        add(format!("method {method}"), bytes, Answer::Status(405));
    }
    for line in ["get", "G@T", "G\0T", "", "GET GET"] {
        let bytes = format!("{line} {path} HTTP/1.1\r\n{headers}\r\n").into_bytes();
        let status = if line == "get" { 405 } else { 400 };
        add(format!("method {line:?}"), bytes, Answer::Status(status));
    }
    for (count, answer) in [(60, Answer::Lives), (120, Answer::Status(431))] {
        let more: String = (0..count).map(|n| format!("X-{n}: y\r\n")).collect();
        let bytes = format!("GET {path} HTTP/1.1\r\n{headers}{more}\r\n").into_bytes();
        add(format!("{count} more headers"), bytes, answer);
    }
    for (name, header, body) in [
        ("of five bytes", "Content-Length: 5", "hello".to_owned()),
        (
            "in chunks",
            "Transfer-Encoding: chunked",
            "5\r\nhello\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "that is a request",
            &format!("Content-Length: {}", proper.len()),
            proper.clone(),
        ),
        (
            "announced twice",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "0\r\n\r\nhello".to_owned(),
        ),
    ] {
        let bytes = format!("GET {path} HTTP/1.1\r\n{headers}{header}\r\n\r\n{body}").into_bytes();
        add(format!("a body {name}"), bytes, Answer::Status(400));
    }
    let with = |more: &[u8]| [proper.as_bytes(), more].concat();
    let second = with(proper.as_bytes());
    add("a second request".into(), second, Answer::Close(1002));
    let heartbeat = Frame::text(r#"{"action":"heartbeat"}"#);
    let frames = [
        ("a heartbeat", heartbeat.masked(), Answer::Lives),
        (
            "an unmasked heartbeat",
            heartbeat.unmasked(),
            Answer::Close(1002),
        ),
        (
            "a close",
            Frame::close(1000, "").masked(),
            Answer::Close(1000),
        ),
        (
            "no JSON",
            Frame::text("x").masked(),
            Answer::Refused("invalid_json"),
        ),
    ];
    for (name, bytes, answer) in frames {
        add(format!("behind the request, {name}"), with(&bytes), answer);
    }
    cases
}

fn origins(token: &str) -> Vec<Case> {
    let foreign = [
        "",
        "null",
        "file://",
        "*",
        "https://evil.example",
        "http://chat.example",
        "https://CHAT.example",
        "https://chat.example/",
        "https://chat.example:443",
        "https://chat.example.evil.example",
        "https://evil.chat.example",
        "https://chat.example, https://chat.example",
        "chat.example",
    ];
    let refused = foreign.map(|origin| (origin, Answer::Status(403)));
    let all = refused
        .into_iter()
        .chain([("https://chat.example", Answer::Lives)]);
    all.map(|(origin, answer)| {
        let line = format!("GET /conversations/o/?token={token} HTTP/1.1");
        let origin = format!("Origin: {origin}");
        let headers = [
            "Host: x",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            KEY,
            &origin,
        ];
        Case::new(origin.clone(), request(&line, &headers), answer)
    })
    .collect()
}

fn tokens(server: &Parlance, good: &str) -> Vec<Case> {
    let far = 1_u64 << 53;
    let now = unix_now();
    let claims: Vec<(&str, Value)> = vec![
        ("sub", Value::Null),
        ("sub", json!("")),
        ("sub", json!(1)),
        ("sub", json!([])),
        ("sub", json!({})),
        ("sub", json!(true)),
        ("sub", json!("u".repeat(129))),
        ("sub", json!("a\u{0}b")),
        ("sub", json!("a\nb")),
        ("sub", json!("\u{7f}")),
        ("exp", Value::Null),
        ("exp", json!("9999999999")),
        ("exp", json!(-1)),
        ("exp", json!(far)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(1e300)),
        ("exp", json!([])),
        ("exp", json!({})),
        ("exp", json!(true)),
        ("exp", json!(0)),
        ("exp", json!(now - 60)),
        ("nbf", json!("0")),
        ("nbf", json!(-1)),
        ("nbf", json!(far)),
        ("nbf", json!([])),
        ("nbf", json!(false)),
        ("nbf", json!(now + 600)),
        ("iat", json!("0")),
        ("iat", json!(-1)),
        ("iat", json!(far)),
        ("iat", json!({})),
        ("iat", json!(now + 600)),
    ];
    let mut made: Vec<(String, String)> = claims
        .into_iter()
        .enumerate()
        .map(|(at, (name, value))| {
            let shown: String = value.to_string().chars().take(20).collect();
            let token = server.mint(&Claims::of("hostile").with(name, value));
            (format!("{at} {name} {shown}"), token)
        })
        .collect();
    for alg in [
        "none", "None", "NONE", "RS256", "ES256", "EdDSA", "PS256", "hs256", "", "HS1",
    ] {
        let token = server.mint(&Claims::of("hostile").with_header("alg", alg));
        made.push((format!("alg {alg:?}"), token));
    }
    for crit in [json!(["exp"]), json!([]), json!("exp")] {
        let name = format!("crit {crit}");
        made.push((
            name,
            server.mint(&Claims::of("hostile").with_header("crit", crit)),
        ));
    }
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, body) = signed.split_once('.').unwrap();
    for (name, token) in [
        ("unsigned", format!("{signed}.")),
        ("two parts", signed.to_owned()),
        ("four parts", format!("{good}.x")),
        ("five parts", format!("{good}.x.y")),
        ("no header", format!(".{body}.{signature}")),
        ("no body", format!("{header}..{signature}")),
        ("parts swapped", format!("{body}.{header}.{signature}")),
        ("only dots", "..".to_owned()),
        ("a word", "x".to_owned()),
        ("cut", good[..good.len() - 2].to_owned()),
        ("huge", "a".repeat(12_000)),
        (
            "another secret",
            Claims::of("a").sign("another secret, also long enough to sign with"),
        ),
    ] {
        made.push((name.to_owned(), token));
    }
    let refused = made.into_iter();
    let mut cases: Vec<Case> = refused
        .map(|(name, token)| {
            Case::new(
                format!("token: {name}"),
                Sent::Token(token),
                Answer::Close(4003),
            )
        })
        .collect();
    for kid in ["x", "../../etc/passwd", "' OR 1=1 --", "http://127.0.0.1/"] {
        let token = server.mint(&Claims::of("hostile").with_header("kid", kid));
        let name = format!("token: ignored kid {kid}");
        cases.push(Case::new(name, Sent::Token(token), Answer::Lives));
    }
    for access in [
        Value::Null,
        json!([]),
        json!("all"),
        json!(1),
        json!({}),
        json!(["other"]),
    ] {
        let name = format!("token: conversations {access}");
        let token = server.mint(&Claims::of("hostile").with("conversations", access));
        cases.push(Case::new(name, Sent::Token(token), Answer::Close(4004)));
    }
    cases
}
