//! Where a conversation is, and what an upgrade must look like.

use std::time::{Duration, Instant};

use parlance_testkit::{
    dial::{DEADLINE, Dial, TokenPlace, exchange},
    tokens::Claims,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::support::{join, room, setup, shared};

#[tokio::test]
async fn the_last_slash_may_be_missing() {
    let server = shared();
    let room = room();
    let mut with = join(&server, &room, "ann").await;
    let without = server
        .dial(&room, "bob")
        .path(&format!("/conversations/{room}"));
    let mut without = without.connect().await;
    without.say("hello", "a").await;
    assert_eq!(
        with.expect("chat_message").await["message"]["content"],
        "hello"
    );
}

#[tokio::test]
async fn other_paths_and_an_empty_id_are_not_found() {
    let server = shared();
    for path in [
        "/",
        "/nowhere",
        "/conversations",
        "/conversations/",
        "/conversations//",
        "/conversations/a/b",
    ] {
        let answer = server.dial("x", "ann").path(path).refused().await;
        assert_eq!(answer.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_plain_get_of_a_conversation_wants_an_upgrade() {
    let server = shared();
    let dial = server
        .dial("plain", "ann")
        .without("Upgrade")
        .without("Connection");
    let answer = dial.header("Connection", "close").refused().await;
    assert_eq!(answer.status, 426);
    assert_eq!(answer.header("sec-websocket-version"), Some("13"));
}

#[tokio::test]
async fn a_wrong_or_missing_version_names_the_right_one() {
    let server = shared();
    let without = || {
        server
            .dial("version", "ann")
            .without("Sec-WebSocket-Version")
    };
    for dial in [without(), without().header("Sec-WebSocket-Version", "12")] {
        let answer = dial.refused().await;
        assert_eq!(answer.status, 426);
        assert_eq!(answer.header("sec-websocket-version"), Some("13"));
    }
}

#[tokio::test]
async fn a_malformed_upgrade_is_a_bad_request() {
    let server = shared();
    let dial = || server.dial("malformed", "ann");
    let host = server.address().to_string();
    let malformed = [
        dial().header("Host", &host),
        dial().header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        dial().header("Sec-WebSocket-Version", "13"),
        dial().header("Content-Length", "5"),
        dial().without("Sec-WebSocket-Key"),
    ];
    for (case, dial) in malformed.into_iter().enumerate() {
        assert_eq!(dial.refused().await.status, 400, "case {case}");
    }
}

#[tokio::test]
async fn headers_over_16_kib_are_too_large() {
    let server = shared();
    let dial = server
        .dial("large", "ann")
        .header("X-Filler", &"x".repeat(17 * 1024));
    assert_eq!(dial.refused().await.status, 431);
}

#[tokio::test]
async fn an_id_is_percent_decoded_once() {
    let server = shared();
    let mut plain = join(&server, "room:once~", "ann").await;
    let encoded = server
        .dial("x", "bob")
        .path("/conversations/r%6fom%3Aonce%7E/");
    encoded.connect().await.say("same", "a").await;
    assert_eq!(
        plain.expect("chat_message").await["message"]["content"],
        "same"
    );
    let twice = server
        .dial("x", "bob")
        .path("/conversations/r%256fom%3Aonce%7E/");
    twice.connect().await.expect_close(4004).await;
}

#[tokio::test]
async fn an_id_that_cannot_be_is_answered_like_one_that_may_not_be_seen() {
    let server = shared();
    let longest = "i".repeat(128);
    join(&server, &longest, "ann").await;
    let too_long = "i".repeat(129);
    let paths = [too_long.as_str(), "a%20b", "a%2Fb", "%C3%A4", "a!b", "%zz"];
    let elsewhere = Claims::of("ann").with("conversations", vec!["elsewhere"]);
    let hidden = server
        .dial_with("hidden", &elsewhere)
        .connect()
        .await
        .expect_close(4004)
        .await;
    for id in paths {
        let dial = server
            .dial("x", "ann")
            .path(&format!("/conversations/{id}/"));
        assert_eq!(
            dial.connect().await.expect_close(4004).await,
            hidden,
            "{id}"
        );
    }
}

#[tokio::test]
async fn a_token_is_taken_from_three_places() {
    let server = shared();
    let room = room();
    let token = server.mint(&Claims::of("ann"));
    for place in [
        TokenPlace::Query,
        TokenPlace::Header,
        TokenPlace::Subprotocol,
    ] {
        let dial = Dial::new(server.address(), &room).token(&token, place);
        let (mut client, answer) = dial.open().await.unwrap();
        client.fence().await;
        let selected = (place == TokenPlace::Subprotocol).then_some("parlance.v1");
        assert_eq!(
            answer.header("sec-websocket-protocol"),
            selected,
            "{place:?}"
        );
    }
}

#[tokio::test]
async fn the_subprotocol_means_the_extended_layer() {
    let server = shared();
    let token = server.mint(&Claims::of("ann"));
    let dial = Dial::new(server.address(), &room()).token(&token, TokenPlace::Subprotocol);
    assert_eq!(dial.connect().await.next_json().await["type"], "hello");
    let dial = Dial::new(server.address(), &room()).token(&token, TokenPlace::Header);
    let dial = dial.header("Sec-WebSocket-Protocol", "parlance.v1");
    assert_eq!(dial.connect().await.next_json().await["type"], "hello");
}

#[tokio::test]
async fn only_v_1_means_the_extended_layer() {
    let server = shared();
    for pair in ["v=0", "v=2", "v=", "v=01", "v=true", "V=1"] {
        let mut client = server.dial(&room(), "ann").query(pair).connect().await;
        assert_eq!(client.fence().await, [] as [serde_json::Value; 0], "{pair}");
    }
}

#[tokio::test]
async fn a_token_that_is_given_unclearly_is_a_bad_request() {
    let server = shared();
    let token = server.mint(&Claims::of("ann"));
    let other = server.mint(&Claims::of("bob"));
    let dial = || Dial::new(server.address(), "unclear");
    let offer = |offer: &str| dial().header("Sec-WebSocket-Protocol", offer);
    let unclear = [
        offer(&format!("bearer.{token}")),
        offer(&format!("parlance.v1, bearer.{token}, bearer.{other}")),
        offer(&format!("parlance.v1, bearer.{token}, bearer.{token}")),
        dial()
            .token(&token, TokenPlace::Query)
            .token(&other, TokenPlace::Header),
        dial()
            .token(&token, TokenPlace::Query)
            .token(&other, TokenPlace::Query),
    ];
    for (case, dial) in unclear.into_iter().enumerate() {
        assert_eq!(dial.refused().await.status, 400, "case {case}");
    }
    let same_twice = dial()
        .token(&token, TokenPlace::Query)
        .token(&token, TokenPlace::Header);
    same_twice.connect().await.fence().await;
}

#[tokio::test]
async fn no_extension_is_accepted() {
    let server = shared();
    let dial = server.dial("deflate", "ann");
    let offer = dial.header(
        "Sec-WebSocket-Extensions",
        "permessage-deflate; client_max_window_bits",
    );
    let (_client, answer) = offer.open().await.unwrap();
    assert_eq!(answer.header("sec-websocket-extensions"), None);
}

#[tokio::test]
async fn only_listed_origins_may_connect_and_are_judged_before_the_token() {
    let server = setup()
        .set("origins", "https://chat.example,https://b.example:8443")
        .start();
    let dial = |token: &str, origin: &str| {
        let dial = Dial::new(server.address(), "origins").token(token, TokenPlace::Query);
        dial.header("Origin", origin)
    };
    let token = server.mint(&Claims::of("ann"));
    for foreign in [
        "https://evil.example",
        "https://CHAT.example",
        "http://chat.example",
        "https://chat.example:443",
        "",
        "null",
    ] {
        assert_eq!(
            dial(&token, foreign).refused().await.status,
            403,
            "{foreign}"
        );
        assert_eq!(
            dial("bad", foreign).refused().await.status,
            403,
            "{foreign}"
        );
    }
    for own in ["https://chat.example", "https://b.example:8443"] {
        dial(&token, own).connect().await.fence().await;
    }
    join(&server, "origins", "ann").await;
}

#[tokio::test]
async fn a_full_node_says_when_to_come_back() {
    let server = setup().one_node().set("limits.connections", "2").start();
    let first = join(&server, "full", "ann").await;
    let _second = join(&server, "full", "bob").await;
    let answer = server.dial("full", "cid").refused().await;
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").unwrap().parse::<u32>().is_ok());
    first.close(1000).await;
    let freed = async {
        while server.dial("full", "cid").open().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, freed).await.unwrap();
}

#[tokio::test]
async fn a_user_with_too_many_connections_is_upgraded_and_told() {
    let server = setup().set("limits.connections_per_user", "2").start();
    let _first = join(&server, "a", "ann").await;
    let _second = join(&server, "b", "ann").await;
    server
        .dial("c", "ann")
        .connect()
        .await
        .expect_close(4201)
        .await;
    join(&server, "c", "bob").await;
}

#[tokio::test]
async fn a_connection_that_does_not_finish_its_upgrade_is_cut_after_5_s() {
    let server = shared();
    for beginning in ["", "GET /conversations/slow/ HTTP/1.1\r\nHost: x\r\n"] {
        let started = Instant::now();
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let end = timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
        assert!(end.is_ok(), "still open; begun with {beginning:?}");
        let lasted = started.elapsed();
        assert!(lasted >= Duration::from_millis(2_500), "{lasted:?}");
    }
}

#[tokio::test]
async fn a_pipelined_first_frame_is_not_lost() {
    let server = shared();
    let room = room();
    let mut other = join(&server, &room, "bob").await;
    let token = server.mint(&Claims::of("ann"));
    let frame = parlance_testkit::frames::Frame::text(
        r#"{"action":"send_message","content":"early","local_id":"e"}"#,
    );
    let mut request = format!(
        "GET /conversations/{room}/?token={token} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes();
    request.extend(frame.masked());
    let (_stream, answer) = exchange(server.address(), &request).await;
    assert_eq!(answer.status, 101);
    assert_eq!(
        other.expect("chat_message").await["message"]["content"],
        "early"
    );
}
