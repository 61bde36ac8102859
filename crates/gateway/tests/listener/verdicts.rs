//! Connections that are upgraded only to be told why they are closed.

use std::time::Duration;

use parlance_testkit::{
    client::Client,
    dial::{Dial, TokenPlace},
    tokens::{Claims, unix_now},
};

use crate::harness::{SECRET, start, token};

async fn closed(mut client: Client, code: u16) -> String {
    let reason = client.expect_close(code).await;
    client.expect_end().await;
    reason
}

#[tokio::test]
async fn bad_tokens_are_upgraded_and_then_closed_with_4003_and_the_same_words() {
    let gateway = start(|_| {}).await;
    let dial = || Dial::new(gateway.address(), "c1");
    let bad = |token: &str| dial().token(token, TokenPlace::Query);
    for dial in [
        dial(),
        dial().query("token="),
        bad("not-a-token"),
        bad("%ff%fe"),
        bad(&Claims::of("u1").with("exp", unix_now() - 100).sign(SECRET)),
        bad(&Claims::of("u1").sign("another secret that is long enough as well")),
        dial().header("Authorization", "Basic dTpw"),
    ] {
        assert_eq!(closed(dial.connect().await, 4003).await, "unauthorized");
    }
}

#[tokio::test]
async fn a_conversation_one_may_not_see_is_4004_in_the_same_words_whatever_the_reason() {
    let gateway = start(|_| {}).await;
    let only_c1 = Claims::of("u1")
        .with("conversations", vec!["c1"])
        .sign(SECRET);
    let too_long = "x".repeat(129);
    for id in [
        "c2",
        "nobody",
        "a%2Fb",
        "a%20b",
        "%zz",
        "%ff",
        "c%2531",
        too_long.as_str(),
    ] {
        let dial = Dial::new(gateway.address(), id).token(&only_c1, TokenPlace::Query);
        assert_eq!(
            closed(dial.connect().await, 4004).await,
            "access denied",
            "{id}"
        );
    }
    let nothing = Claims::of("u1").with("conversations", 1).sign(SECRET);
    let dial = Dial::new(gateway.address(), "c1").token(&nothing, TokenPlace::Header);
    closed(dial.connect().await, 4004).await;
}

#[tokio::test]
async fn the_token_is_judged_before_the_conversation() {
    let gateway = start(|_| {}).await;
    closed(Dial::new(gateway.address(), "a%2Fb").connect().await, 4003).await;
}

#[tokio::test]
async fn the_subprotocol_is_selected_alone_and_also_for_those_that_are_closed() {
    let gateway = start(|_| {}).await;
    for sent in [token("u1"), "bad".to_owned()] {
        let dial = Dial::new(gateway.address(), "c1").token(&sent, TokenPlace::Subprotocol);
        let (_client, answer) = dial.open().await.unwrap();
        assert_eq!(answer.header("sec-websocket-protocol"), Some("parlance.v1"));
        assert!(!format!("{answer:?}").contains("bearer"), "{answer:?}");
    }
    let (_client, answer) = gateway.dial("u1", "c1").open().await.unwrap();
    assert_eq!(answer.header("sec-websocket-protocol"), None);
    assert_eq!(answer.header("sec-websocket-extensions"), None);
}

#[tokio::test]
async fn a_refused_client_that_does_not_end_is_cut() {
    let gateway = start(|config| config.deadlines.linger = Duration::from_millis(50)).await;
    let mut client = Dial::new(gateway.address(), "c1").connect().await;
    client.set_polite(false);
    client.expect_close(4003).await;
    client.expect_end().await;
    let (mut pre_auth_is_free, mut tries) = (false, 0);
    while !pre_auth_is_free && tries < 200 {
        let report = gateway.ask_admin("GET /readyz?verbose").await;
        pre_auth_is_free = report.status == 200;
        tries += 1;
    }
    assert!(pre_auth_is_free);
}
