//! Which tokens open a conversation, and what they say about their user.

use parlance_testkit::{
    client::Incoming,
    dial::{DEADLINE, Dial, TokenPlace},
    server::Parlance,
    tokens::{Claims, unix_now},
};
use serde_json::{Value, json};

use super::support::{join, join_as, room, setup, shared};

/// The outcome of a dial with this token: `None` when it was let in.
async fn close_code(server: &Parlance, token: &str) -> Option<u16> {
    let dial = Dial::new(server.address(), "tokens").token(token, TokenPlace::Query);
    let mut client = dial.connect().await;
    client
        .send(json!({"action": "fetch_messages", "limit": 1}))
        .await;
    loop {
        let seen = client.next(DEADLINE).await.expect("an answer");
        match seen.what {
            Incoming::Close(code, _) => return Some(code),
            Incoming::Json(frame) if frame["type"] == "messages_fetched" => return None,
            Incoming::Json(_) | Incoming::Ping(_) | Incoming::Pong(_) | Incoming::End => {}
        }
    }
}

#[tokio::test]
async fn a_missing_or_broken_token_is_upgraded_and_closed_with_4003() {
    let server = shared();
    let none = Dial::new(server.address(), "tokens");
    none.connect().await.expect_close(4003).await;
    let good = server.mint(&Claims::of("ann"));
    let foreign = Claims::of("ann").sign("another secret, also long enough to sign with");
    let unsigned = format!("{}.", good.rsplit_once('.').unwrap().0);
    for token in ["", "x", "a.b.c", &foreign, &unsigned] {
        assert_eq!(close_code(&server, token).await, Some(4003), "{token}");
    }
}

#[tokio::test]
async fn claims_that_are_missing_or_of_another_type_are_4003() {
    let server = shared();
    let exp = unix_now() + 600;
    let too_far = 1_u64 << 53;
    let long = "u".repeat(129);
    let cases: &[(&str, Value)] = &[
        ("sub", Value::Null),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", json!(long)),
        ("sub", json!("a\u{7}b")),
        ("exp", Value::Null),
        ("exp", json!(exp.to_string())),
        ("exp", json!(-1)),
        ("exp", json!(too_far)),
        ("exp", json!(unix_now() - 40)),
        ("nbf", json!(unix_now() + 600)),
        ("nbf", json!("now")),
        ("nbf", json!(-1)),
        ("iat", json!([1])),
        ("iat", json!(-1)),
        ("iat", json!(too_far)),
    ];
    for (claim, value) in cases {
        let token = server.mint(&Claims::of("ann").with(claim, value.clone()));
        assert_eq!(
            close_code(&server, &token).await,
            Some(4003),
            "{claim}: {value}"
        );
    }
}

#[tokio::test]
async fn claims_within_the_rules_are_let_in() {
    let server = shared();
    let longest = "u".repeat(128);
    let cases: &[(&str, Value)] = &[
        ("sub", json!(longest)),
        ("sub", json!("zoë 🦉")),
        ("exp", json!(unix_now() - 15)),
        ("exp", json!(unix_now() as f64 + 60.75)),
        ("nbf", json!(unix_now() + 15)),
        ("nbf", json!(0)),
        ("iat", json!(0.5)),
    ];
    for (claim, value) in cases {
        let token = server.mint(&Claims::of("ann").with(claim, value.clone()));
        assert_eq!(close_code(&server, &token).await, None, "{claim}: {value}");
    }
}

#[tokio::test]
async fn every_hmac_algorithm_fits_the_secret_and_nothing_else_does() {
    let server = shared();
    for (algorithm, outcome) in [
        ("HS256", None),
        ("HS384", None),
        ("HS512", None),
        ("none", Some(4003)),
        ("RS256", Some(4003)),
        ("hs256", Some(4003)),
    ] {
        let token = server.mint(&Claims::of("ann").with_header("alg", algorithm));
        assert_eq!(close_code(&server, &token).await, outcome, "{algorithm}");
    }
}

#[tokio::test]
async fn critical_headers_are_refused_and_a_kid_is_ignored() {
    let server = shared();
    let critical = Claims::of("ann").with_header("crit", vec!["exp"]);
    assert_eq!(
        close_code(&server, &server.mint(&critical)).await,
        Some(4003)
    );
    let named = Claims::of("ann").with_header("kid", "whichever");
    assert_eq!(close_code(&server, &server.mint(&named)).await, None);
}

#[tokio::test]
async fn algorithms_can_be_narrowed() {
    let server = setup().set("auth.algorithms", "HS512").start();
    let with = |algorithm: &str| server.mint(&Claims::of("ann").with_header("alg", algorithm));
    assert_eq!(close_code(&server, &with("HS256")).await, Some(4003));
    assert_eq!(close_code(&server, &with("HS512")).await, None);
}

#[tokio::test]
async fn issuer_and_audience_are_judged_when_configured() {
    let server = setup();
    let server = server
        .set("auth.issuer", "https://id.example")
        .set("auth.audience", "chat")
        .start();
    let claims =
        |iss: Value, aud: Value| server.mint(&Claims::of("ann").with("iss", iss).with("aud", aud));
    let issuer = || json!("https://id.example");
    for (token, outcome) in [
        (claims(issuer(), json!("chat")), None),
        (claims(issuer(), json!(["mail", "chat"])), None),
        (claims(issuer(), json!("mail")), Some(4003)),
        (claims(issuer(), Value::Null), Some(4003)),
        (
            claims(json!("https://other.example"), json!("chat")),
            Some(4003),
        ),
        (claims(Value::Null, json!("chat")), Some(4003)),
    ] {
        assert_eq!(close_code(&server, &token).await, outcome, "{token}");
    }
}

#[tokio::test]
async fn a_conversation_that_is_not_named_is_4004() {
    let server = shared();
    let cases: &[(Value, Option<u16>)] = &[
        (json!("*"), None),
        (json!(["other", "tokens"]), None),
        (json!(["other"]), Some(4004)),
        (json!([]), Some(4004)),
        (Value::Null, Some(4004)),
        (json!("tokens"), Some(4004)),
        (json!(7), Some(4004)),
        (json!({"tokens": true}), Some(4004)),
    ];
    for (claim, outcome) in cases {
        let token = server.mint(&Claims::of("ann").with("conversations", claim.clone()));
        assert_eq!(close_code(&server, &token).await, *outcome, "{claim}");
    }
}

#[tokio::test]
async fn the_token_is_judged_before_the_conversation() {
    let server = shared();
    let dial = Dial::new(server.address(), "x").path("/conversations/a%20b/");
    dial.token("bad", TokenPlace::Query)
        .connect()
        .await
        .expect_close(4003)
        .await;
}

#[tokio::test]
async fn the_name_in_typing_is_the_first_of_four_claims_cut_to_64_characters() {
    let server = shared();
    let long = "é".repeat(70);
    let cut = "é".repeat(64);
    let all = Claims::of("sub-1")
        .with("name", "N")
        .with("preferred_username", "P")
        .with("username", long);
    let cases = [
        (all.clone(), cut.as_str()),
        (all.clone().with("username", Value::Null), "P"),
        (
            all.with("username", Value::Null)
                .with("preferred_username", Value::Null),
            "N",
        ),
        (Claims::of("sub-1"), "sub-1"),
    ];
    for (claims, name) in cases {
        let room = room();
        let mut watcher = join(&server, &room, "bob").await;
        let typist = join_as(&server, &room, &claims).await;
        typist
            .send(json!({"action": "typing", "is_typing": true}))
            .await;
        let typing = watcher.expect("typing").await;
        assert_eq!(
            (&typing["user_id"], &typing["username"]),
            (&json!("sub-1"), &json!(name))
        );
    }
}

/// The `exp` of a token that is good for 15 s more: long enough to be let in by a machine that stands
/// still meanwhile.
fn ends_soon() -> u64 {
    unix_now() - 15
}

#[tokio::test]
async fn either_layer_is_closed_30_s_after_the_token_expired() {
    let server = shared();
    let exp = ends_soon();
    let soon = Claims::of("ann").with("exp", exp);
    let mut base = server.dial_with(&room(), &soon).connect().await;
    let mut extended = server.dial_with(&room(), &soon).extended().connect().await;
    let expiring = extended.expect("auth_expiring").await;
    assert!(super::support::is_timestamp(&expiring["expires_at"]));
    base.expect_close_within(4003, 2 * DEADLINE).await;
    assert!(unix_now() >= exp + 30, "{exp} {}", unix_now());
    extended.expect_close(4003).await;
}

#[tokio::test]
async fn a_new_token_prolongs_the_connection() {
    let server = shared();
    let room = room();
    let soon = Claims::of("ann").with("exp", ends_soon());
    let mut base = server.dial_with(&room, &soon).connect().await;
    let mut extended = server.dial_with(&room, &soon).extended().connect().await;
    extended.expect("auth_expiring").await;
    let fresh = server.mint(&Claims::of("ann"));
    for client in [&mut base, &mut extended] {
        client.send(json!({"action": "auth", "token": fresh})).await;
        let ok = client.expect("auth_ok").await;
        assert!(super::support::is_timestamp(&ok["expires_at"]));
    }
    let mut unrenewed = server.dial_with(&room, &soon).connect().await;
    unrenewed.expect_close_within(4003, 2 * DEADLINE).await;
    base.fence().await;
    extended.fence().await;
}

#[tokio::test]
async fn a_bad_token_another_user_or_lost_access_ends_the_connection() {
    let server = shared();
    let room = room();
    let expired = Claims::of("ann").with("exp", unix_now() - 60);
    let elsewhere = Claims::of("ann").with("conversations", vec!["elsewhere"]);
    for (claims, code) in [
        (Claims::of("bob"), 4003),
        (expired, 4003),
        (elsewhere, 4004),
    ] {
        let mut client = server.dial(&room, "ann").extended().connect().await;
        client.expect("live").await;
        client
            .send(json!({"action": "auth", "token": server.mint(&claims)}))
            .await;
        if code == 4004 {
            assert!(client.expect("access_revoked").await["reason"].is_string());
        }
        client.expect_close(code).await;
    }
}
