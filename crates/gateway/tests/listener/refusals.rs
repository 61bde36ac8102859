//! Requests that are answered by HTTP alone.

use parlance_gateway::Answer;
use parlance_testkit::dial::{Dial, HttpAnswer};

use crate::harness::{Gateway, start, start_with_pages, token};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const HOST: &str = "Host: chat.example\r\n";
const UPGRADE: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";

fn request(line: &str, headers: &[&str]) -> String {
    format!("{line}\r\n{}\r\n", headers.concat())
}

async fn status(gateway: &Gateway, line: &str, headers: &[&str]) -> u16 {
    let answer = gateway.ask(&request(line, headers)).await;
    assert_plain(&answer);
    answer.status
}

fn assert_plain(answer: &HttpAnswer) {
    assert_eq!(
        answer.header("x-content-type-options"),
        Some("nosniff"),
        "{answer:?}"
    );
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(answer.header("server"), None);
    assert!(
        answer.body.ends_with('\n') && answer.body.len() > 10,
        "{answer:?}"
    );
}

#[tokio::test]
async fn whatever_is_no_conversation_is_not_found_even_as_a_proper_upgrade() {
    let gateway = start(|_| {}).await;
    for path in [
        "/",
        "/conversations",
        "/conversations/",
        "/conversations//",
        "/conversations/a/b",
        "/chat",
        "/metrics",
        "/livez",
    ] {
        for headers in [&[HOST][..], &[HOST, UPGRADE, VERSION, KEY]] {
            let line = format!("GET {path} HTTP/1.1");
            assert_eq!(status(&gateway, &line, headers).await, 404, "{path}");
        }
    }
    assert_eq!(status(&gateway, "POST /x HTTP/1.1", &[HOST]).await, 404);
}

#[tokio::test]
async fn other_methods_on_a_conversation_are_not_allowed() {
    let gateway = start(|_| {}).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let line = format!("{method} /conversations/c1/ HTTP/1.1");
        let answer = gateway
            .ask(&request(&line, &[HOST, UPGRADE, VERSION, KEY]))
            .await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("GET")),
            "{method}"
        );
    }
}

#[tokio::test]
async fn what_is_no_upgrade_to_version_13_is_told_what_is_spoken_here() {
    let gateway = start(|_| {}).await;
    let line = "GET /conversations/c1/?token=x HTTP/1.1";
    for headers in [
        &[HOST][..],
        &[HOST, UPGRADE, KEY],
        &[HOST, UPGRADE, "Sec-WebSocket-Version: 8\r\n", KEY],
        &[HOST, UPGRADE, "Sec-WebSocket-Version: 13, 8\r\n", KEY],
        &[HOST, UPGRADE, "Sec-WebSocket-Version: 013\r\n", KEY],
        &[HOST, "Connection: Upgrade\r\n", VERSION, KEY],
        &[HOST, "Upgrade: websocket\r\n", VERSION, KEY],
        &[
            HOST,
            "Connection: Upgrade\r\nUpgrade: h2c\r\n",
            VERSION,
            KEY,
        ],
    ] {
        let answer = gateway.ask(&request(line, headers)).await;
        assert_plain(&answer);
        assert_eq!(answer.status, 426, "{headers:?}");
        assert_eq!(answer.header("sec-websocket-version"), Some("13"));
        assert_eq!(answer.header("upgrade"), Some("websocket"));
    }
    let old = "GET /conversations/c1 HTTP/1.0";
    assert_eq!(
        status(&gateway, old, &[HOST, UPGRADE, VERSION, KEY]).await,
        426
    );
}

#[tokio::test]
async fn malformed_requests_are_bad_requests() {
    let gateway = start(|_| {}).await;
    let line = "GET /conversations/c1/?token=x HTTP/1.1";
    for headers in [
        &[UPGRADE, VERSION, KEY][..],
        &[HOST, HOST, UPGRADE, VERSION, KEY],
        &[HOST, UPGRADE, VERSION, VERSION, KEY],
        &[HOST, UPGRADE, VERSION, KEY, KEY],
        &[HOST, UPGRADE, VERSION],
        &[HOST, UPGRADE, VERSION, "Sec-WebSocket-Key: short\r\n"],
        &[
            HOST,
            UPGRADE,
            VERSION,
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZVE=\r\n",
        ],
        &[HOST, UPGRADE, VERSION, KEY, "Content-Length: 3\r\n"],
        &[
            HOST,
            UPGRADE,
            VERSION,
            KEY,
            "Transfer-Encoding: chunked\r\n",
        ],
        &[
            HOST,
            UPGRADE,
            VERSION,
            KEY,
            "Authorization: Bearer other\r\n",
        ],
        &[
            HOST,
            UPGRADE,
            VERSION,
            KEY,
            "Sec-WebSocket-Protocol: bearer.x\r\n",
        ],
        &[
            HOST,
            UPGRADE,
            VERSION,
            KEY,
            "Sec-WebSocket-Protocol: parlance.v1, bearer.x, bearer.x\r\n",
        ],
        &[
            HOST,
            UPGRADE,
            VERSION,
            KEY,
            "Sec-WebSocket-Protocol: parlance.v1, bearer.y\r\n",
        ],
    ] {
        assert_eq!(status(&gateway, line, headers).await, 400, "{headers:?}");
    }
    let two_tokens = "GET /conversations/c1/?token=x&token=y HTTP/1.1";
    assert_eq!(
        status(&gateway, two_tokens, &[HOST, UPGRADE, VERSION, KEY]).await,
        400
    );
    let garbage = gateway.ask("\u{1}\u{2}\u{3}\r\n\r\n").await;
    assert_eq!(garbage.status, 400);
}

#[tokio::test]
async fn an_upgrade_with_content_length_zero_has_no_body_and_is_fine() {
    let gateway = start(|_| {}).await;
    let dial = gateway.dial("u1", "c1").header("Content-Length", "0");
    assert!(dial.open().await.is_ok());
}

#[tokio::test]
async fn a_head_over_16_kib_is_too_large_and_one_of_16_kib_is_not() {
    let gateway = start(|_| {}).await;
    let head = |bytes: usize| {
        let bare = request("GET / HTTP/1.1", &[HOST, "X: \r\n"]);
        let filler = format!("X: {}\r\n", "x".repeat(bytes - bare.len()));
        request("GET / HTTP/1.1", &[HOST, &filler])
    };
    assert_eq!(head(16 * 1024).len(), 16 * 1024);
    assert_eq!(gateway.ask(&head(16 * 1024)).await.status, 404);
    for bytes in [16 * 1024 + 1, 20_000, 64_000, 400_000] {
        assert_eq!(gateway.ask(&head(bytes)).await.status, 431, "{bytes}");
    }
    let long_line = format!("GET /{} HTTP/1.1", "x".repeat(17_000));
    assert_eq!(gateway.ask(&request(&long_line, &[HOST])).await.status, 431);
    let many: String = (0..200).map(|n| format!("X-{n}: 1\r\n")).collect();
    assert_eq!(
        gateway
            .ask(&request("GET / HTTP/1.1", &[HOST, &many]))
            .await
            .status,
        431
    );
}

#[tokio::test]
async fn a_foreign_origin_is_forbidden_before_the_token_is_judged() {
    let gateway =
        start(|config| config.origins.allowed = vec!["https://chat.example".into()]).await;
    let dial = |origin| Dial::new(gateway.address(), "c1").header("Origin", origin);
    for foreign in ["https://evil.example", "null", "", "https://CHAT.example"] {
        let answer = dial(foreign).refused().await;
        assert_plain(&answer);
        assert_eq!(answer.status, 403, "{foreign:?}");
    }
    dial("https://chat.example")
        .connect()
        .await
        .expect_close(4003)
        .await;
    Dial::new(gateway.address(), "c1")
        .connect()
        .await
        .expect_close(4003)
        .await;
}

#[tokio::test]
async fn in_development_any_origin_may_connect_from_loopback() {
    let gateway = start(|config| config.origins.any_from_loopback = true).await;
    let dial = gateway
        .dial("u1", "c1")
        .header("Origin", "http://localhost:5173");
    assert!(dial.open().await.is_ok());
}

#[tokio::test]
async fn conversations_are_under_the_base_path_only() {
    let gateway = start(|config| config.base_path = "/chat".into()).await;
    assert_eq!(gateway.dial("u1", "c1").refused().await.status, 404);
    let under = gateway.dial("u1", "c1").path("/chat/conversations/c1");
    assert!(under.open().await.is_ok());
}

#[tokio::test]
async fn a_refusal_never_repeats_the_token() {
    let gateway = start(|_| {}).await;
    let secret = token("u1");
    let line = format!("GET /conversations/c1/?token={secret} HTTP/1.1");
    let answer = gateway.ask(&request(&line, &[HOST])).await;
    assert!(!format!("{answer:?}").contains(&secret));
}

#[tokio::test]
async fn what_is_no_conversation_may_be_a_page() {
    let gateway = start_with_pages(|head, peer| {
        let known = head.uri.path() == "/page";
        known.then(|| Answer::new(format!("{} from {peer}\n", head.method).into()))
    })
    .await;

    let page = gateway.ask(&request("PUT /page?x HTTP/1.1", &[HOST])).await;

    assert_eq!((page.status, &*page.body), (200, "PUT from 127.0.0.1\n"));
    assert_eq!(page.header("connection"), Some("close"));
    assert_eq!(status(&gateway, "GET /other HTTP/1.1", &[HOST]).await, 404);
    let conversation = "GET /conversations/page HTTP/1.1";
    assert_eq!(status(&gateway, conversation, &[HOST]).await, 426);
}
