//! What a shard is given.

use std::io::Read;

use parlance_testkit::{
    dial::{Dial, TokenPlace, exchange},
    frames::Frame,
    tokens::Claims,
};

use crate::harness::{SECRET, soon, start, token};

#[tokio::test]
async fn a_shard_gets_the_socket_the_claims_and_the_wishes() {
    let mut gateway = start(|_| {}).await;
    let token = Claims::of("u1")
        .with("name", "Uma")
        .with("role", "moderator")
        .sign(SECRET);
    let dial = Dial::new(gateway.address(), "team%3A1~x").token(&token, TokenPlace::Header);
    let _client = dial.extended().since("45%2D2").connect().await;
    let member = gateway.member().await;
    assert_eq!(member.conversation.as_str(), "team:1~x");
    let joiner = &member.joiner;
    assert_eq!(joiner.identity.user.as_str(), "u1");
    assert_eq!(&*joiner.identity.username, "Uma");
    assert!(joiner.identity.moderator && joiner.extended);
    assert_eq!(joiner.since.as_deref(), Some("45-2"));
    assert!(member.buffered.is_empty());
    assert!(member.socket.nodelay().unwrap());
    let error = (&member.socket).read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn the_base_layer_is_what_everybody_gets_that_does_not_ask_for_more() {
    let mut gateway = start(|_| {}).await;
    for (query, extended) in [
        ("x=1", false),
        ("v=1", true),
        ("v=2", false),
        ("v=", false),
        ("V=1", false),
    ] {
        let _client = gateway
            .dial("u1", "c1")
            .query(query)
            .query("since=")
            .connect()
            .await;
        let joiner = gateway.member().await.joiner;
        assert_eq!((joiner.extended, joiner.since), (extended, None), "{query}");
    }
    let dial = Dial::new(gateway.address(), "c1").token(&token("u1"), TokenPlace::Subprotocol);
    let _client = dial.connect().await;
    assert!(gateway.member().await.joiner.extended);
}

#[tokio::test]
async fn frames_sent_right_behind_the_handshake_are_not_lost() {
    let mut gateway = start(|_| {}).await;
    let frame = Frame::text("early").masked();
    let mut bytes = format!(
        "GET /conversations/c1?token={} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        token("u1")
    )
    .into_bytes();
    bytes.extend_from_slice(&frame);
    let (_stream, answer) = exchange(gateway.address(), &bytes).await;
    assert_eq!(answer.status, 101);
    assert_eq!(gateway.member().await.buffered, frame);
}

#[tokio::test]
async fn connections_have_ids_of_their_own_and_those_of_one_user_share_a_quota() {
    let mut gateway = start(|_| {}).await;
    let _clients = [
        gateway.dial("u1", "c1").connect().await,
        gateway.dial("u1", "c2").connect().await,
    ];
    let (first, second) = (gateway.member().await.joiner, gateway.member().await.joiner);
    assert_ne!(first.connection_id, second.connection_id);
    assert!(std::sync::Arc::ptr_eq(&first.quota, &second.quota));
}

#[tokio::test]
async fn a_member_refused_by_a_full_or_ended_shard_is_closed_with_1013() {
    let mut gateway = start(|_| {}).await;
    gateway.inbox.receiver.close();
    let mut client = gateway.dial("u1", "c1").connect().await;
    let reason = soon(client.expect_close(1013)).await;
    assert!(reason.starts_with("{\"retry_after_ms\":"), "{reason}");
    client.expect_end().await;
}
