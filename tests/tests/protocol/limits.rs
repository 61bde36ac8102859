//! How much is too much.

use std::time::Duration;

use parlance_testkit::frames::Frame;
use serde_json::json;

use super::support::{any, join, join_extended, room, setup, shared};

/// Sent as one, so that they come together even where a machine stands still: a rate goes on counting
/// then.
fn together(actions: impl IntoIterator<Item = String>) -> Vec<u8> {
    let frames = actions.into_iter().map(|text| Frame::text(&text).masked());
    frames.collect::<Vec<_>>().concat()
}

#[tokio::test]
async fn a_burst_over_the_rate_is_refused_with_the_time_to_wait() {
    let server = shared();
    let mut ann = join(&server, &room(), "burst").await;
    let sends = (0..60).map(|number| {
        json!({"action": "send_message", "content": "x", "local_id": number.to_string()})
            .to_string()
    });
    ann.send_bytes(&together(sends)).await;
    let (mut acknowledged, mut refused) = (0, Vec::new());
    while acknowledged + refused.len() < 60 {
        let frame = ann.next_json().await;
        match frame["type"].as_str().unwrap() {
            "chat_message" => acknowledged += 1,
            "message.failed" => refused.push(frame),
            _ => {}
        }
    }
    assert!(
        (38..60).contains(&acknowledged),
        "{acknowledged} of a burst of 40"
    );
    let failed = &refused[0];
    assert_eq!(failed["code"], "rate_limited");
    assert_eq!(failed["retryable"], true);
    let retry_after = Duration::from_millis(failed["retry_after_ms"].as_u64().unwrap());
    assert!(
        retry_after > Duration::ZERO && retry_after <= Duration::from_secs(5),
        "{retry_after:?}"
    );
}

#[tokio::test]
async fn a_hundred_refusals_in_10_s_are_4201() {
    let server = shared();
    let mut ann = join(&server, &room(), "hundred").await;
    let send = json!({"action": "send_message", "content": "x"}).to_string();
    ann.send_bytes(&together(vec![send; 200])).await;
    ann.expect_close(4201).await;
    let refused = ann.seen.iter().filter_map(|seen| seen.json());
    let refused = refused
        .filter(|frame| frame["code"] == "rate_limited")
        .count();
    assert!((99..=100).contains(&refused), "{refused}");
}

#[tokio::test]
async fn the_rate_of_a_user_counts_all_of_their_connections() {
    let setup = setup().set("limits.actions_per_second", "0");
    let server = setup.set("limits.user_actions_per_second", "5").start();
    let phone = join(&server, "a", "ann").await;
    let mut laptop = join(&server, "b", "ann").await;
    for number in 0..40 {
        phone
            .send(
                json!({"action": "send_message", "content": "x", "local_id": format!("p{number}")}),
            )
            .await;
        laptop
            .send(
                json!({"action": "send_message", "content": "x", "local_id": format!("l{number}")}),
            )
            .await;
    }
    assert_eq!(
        laptop.expect("message.failed").await["code"],
        "rate_limited"
    );
    let mut bob = join(&server, "a", "bob").await;
    bob.say("other users are not concerned", "b").await;
}

#[tokio::test]
async fn the_20th_malformed_action_in_10_s_is_answered_and_4400() {
    let server = shared();
    let mut ann = join(&server, &room(), "malformed").await;
    let malformed = ["{", r#"{"action":"dance"}"#, r#"{"action":"typing"}"#];
    let malformed = malformed.iter().cycle().take(20);
    let malformed = malformed.map(|text| (*text).to_owned());
    ann.send_bytes(&together(malformed)).await;
    ann.expect_close(4400).await;
    let errors = ann.seen.iter().filter_map(|seen| seen.json());
    assert_eq!(errors.filter(|frame| frame["type"] == "error").count(), 20);
}

#[tokio::test]
async fn refusals_of_well_formed_actions_do_not_count_as_malformed() {
    let server = shared();
    let mut ann = join(&server, &room(), "well-formed").await;
    for _ in 0..25 {
        ann.send(json!({"action": "read", "message_ids": ["999"]}))
            .await;
    }
    for _ in 0..25 {
        assert_eq!(ann.expect("error").await["code"], "unknown_message");
    }
    ann.fence().await;
}

#[tokio::test]
async fn configured_limits_hold_and_are_told() {
    let setup = setup().set("limits.content_bytes", "10");
    let server = setup.set("limits.frame_bytes", "4096").start();
    let (mut ann, hello) = join_extended(&server, "small", "ann").await;
    assert_eq!(
        (
            &hello["limits"]["content_bytes"],
            &hello["limits"]["frame_bytes"]
        ),
        (&json!(10), &json!(4_096))
    );
    ann.say("0123456789", "a").await;
    ann.send(json!({"action": "send_message", "content": "0123456789a", "local_id": "b"}))
        .await;
    assert_eq!(
        ann.expect("message.failed").await["code"],
        "content_too_long"
    );
    ann.send_text(&"x".repeat(4_097)).await;
    ann.expect_close(1009).await;
}

#[tokio::test]
async fn others_are_not_slowed_by_who_is_refused() {
    let server = shared();
    let room = room();
    let loud = join(&server, &room, "loud").await;
    let mut calm = join(&server, &room, "calm").await;
    for _ in 0..80 {
        loud.send(json!({"action": "send_message", "content": "x"}))
            .await;
    }
    calm.say("hello", "a").await;
    assert!(!any(&calm.fence().await, "message.failed"));
}
