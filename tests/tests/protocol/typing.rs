//! Who types.

use std::time::{Duration, Instant};

use parlance_testkit::client::Client;
use serde_json::{Value, json};

use super::support::{any, join, room, shared};

/// Who says nothing for so long does not type any more.
const RUNS_OUT: Duration = Duration::from_secs(6);

async fn set(client: &Client, is_typing: bool) {
    client
        .send(json!({"action": "typing", "is_typing": is_typing}))
        .await;
}

fn frame(user: &str, is_typing: bool) -> Value {
    json!({"type": "typing", "user_id": user, "username": user, "is_typing": is_typing})
}

/// Whether somebody who types since then may have stopped by saying nothing: on a machine that stands
/// still nobody can tell why they stopped.
fn may_have_run_out(since: Instant) -> bool {
    since.elapsed() >= RUNS_OUT
}

#[tokio::test]
async fn a_change_goes_to_the_other_users_at_once() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let mut ann_elsewhere = join(&server, &room, "ann").await;
    let mut bob = join(&server, &room, "bob").await;
    set(&ann, true).await;
    assert_eq!(bob.expect("typing").await, frame("ann", true));
    set(&ann, false).await;
    assert_eq!(bob.expect("typing").await, frame("ann", false));
    for own in [&mut ann, &mut ann_elsewhere] {
        assert!(
            !any(&own.fence().await, "typing"),
            "nobody is told of oneself"
        );
    }
}

#[tokio::test]
async fn a_repeated_true_only_renews() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let mut bob = join(&server, &room, "bob").await;
    let began = Instant::now();
    for _ in 0..3 {
        set(&ann, true).await;
    }
    ann.fence().await;
    assert_eq!(bob.expect("typing").await, frame("ann", true));
    let is_told = any(&bob.fence().await, "typing");
    assert!(!is_told || may_have_run_out(began));
}

#[tokio::test]
async fn a_user_types_if_any_of_their_devices_does() {
    let server = shared();
    let room = room();
    let mut phone = join(&server, &room, "ann").await;
    let mut laptop = join(&server, &room, "ann").await;
    let mut bob = join(&server, &room, "bob").await;
    let began = Instant::now();
    set(&phone, true).await;
    bob.expect("typing").await;
    set(&laptop, true).await;
    set(&phone, false).await;
    laptop.fence().await;
    phone.fence().await;
    if any(&bob.fence().await, "typing") {
        assert!(may_have_run_out(began), "the laptop goes on");
        return;
    }
    set(&laptop, false).await;
    assert_eq!(bob.expect("typing").await, frame("ann", false));
}

#[tokio::test]
async fn typing_ends_by_itself_after_6_s() {
    let server = shared();
    let room = room();
    let ann = join(&server, &room, "ann").await;
    let mut bob = join(&server, &room, "bob").await;
    let began = Instant::now();
    set(&ann, true).await;
    bob.expect("typing").await;
    assert_eq!(bob.expect("typing").await, frame("ann", false));
    let lasted = began.elapsed();
    assert!(lasted >= RUNS_OUT / 2, "{lasted:?}");
}

#[tokio::test]
async fn typing_ends_when_the_user_sends_and_when_the_connection_ends() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let mut bob = join(&server, &room, "bob").await;
    set(&ann, true).await;
    bob.expect("typing").await;
    ann.say("done", "a").await;
    assert_eq!(bob.expect("typing").await, frame("ann", false));
    set(&ann, true).await;
    assert_eq!(bob.expect("typing").await, frame("ann", true));
    ann.cut();
    assert_eq!(bob.expect("typing").await, frame("ann", false));
}

#[tokio::test]
async fn a_joiner_is_told_who_types() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    set(&ann, true).await;
    ann.fence().await;
    let mut bob = server.dial(&room, "bob").connect().await;
    assert_eq!(bob.expect("typing").await, frame("ann", true));
}

#[tokio::test]
async fn typing_over_its_rate_has_no_answer() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    for turn in 0..30 {
        set(&ann, turn % 2 == 0).await;
    }
    assert!(!any(&ann.fence().await, "error"));
}
