//! Who is here.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use parlance_testkit::client::Client;
use serde_json::{Value, json};

use super::support::{any, is_timestamp, join, join_extended, room, shared, told, unlimited};

/// A lost connection is held for so long.
const HOLD: Duration = Duration::from_secs(5);

async fn status_of(client: &mut Client, user: &str) -> Value {
    client
        .expect_where(&format!("user_status of {user}"), |frame| {
            frame["type"] == "user_status" && frame["user_id"] == user
        })
        .await
}

/// The next that anybody went.
async fn offline(client: &mut Client) -> Value {
    client
        .expect_where("somebody offline", |frame| {
            frame["type"] == "user_status" && frame["status"] == "offline"
        })
        .await
}

#[tokio::test]
async fn a_joiner_is_told_who_is_here_and_they_of_the_joiner() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let _ann_elsewhere = join(&server, &room, "ann").await;
    let mut bob = server.dial(&room, "bob").connect().await;
    let told = bob.fence().await;
    let online: Vec<&Value> = told
        .iter()
        .filter(|frame| frame["type"] == "user_status")
        .collect();
    assert_eq!(
        online.len(),
        1,
        "one per user, none about oneself: {told:?}"
    );
    assert!(is_timestamp(&online[0]["timestamp"]));
    assert_eq!(
        (&online[0]["user_id"], &online[0]["status"]),
        (&json!("ann"), &json!("online"))
    );
    let bob_came = status_of(&mut ann, "bob").await;
    assert_eq!(bob_came["status"], "online");
}

#[tokio::test]
async fn further_devices_are_no_change() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let mut bob = join(&server, &room, "bob").await;
    status_of(&mut ann, "bob").await;
    let bobs_phone = join(&server, &room, "bob").await;
    assert!(!any(&ann.fence().await, "user_status"));
    assert!(
        !any(&bob.fence().await, "user_status"),
        "never about oneself"
    );
    bobs_phone.close(1000).await;
    bob.fence().await;
    assert!(!any(&ann.fence().await, "user_status"));
}

#[tokio::test]
async fn a_normal_close_is_offline_at_once() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let lost = join(&server, &room, "lost").await;
    let bob = join(&server, &room, "bob").await;
    let typing = json!({"action": "typing", "is_typing": true});
    lost.send(typing).await;
    ann.expect("typing").await;
    lost.cut();
    // Who is gone types no more: its node has noticed.
    ann.expect("typing").await;
    bob.close(1000).await;
    let first = offline(&mut ann).await;
    assert_eq!(first["user_id"], "bob", "before one that is held");
    assert_eq!(offline(&mut ann).await["user_id"], "lost");
}

#[tokio::test]
async fn a_lost_connection_is_offline_after_5_s() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let bob = join(&server, &room, "bob").await;
    status_of(&mut ann, "bob").await;
    let began = Instant::now();
    bob.cut();
    assert_eq!(status_of(&mut ann, "bob").await["status"], "offline");
    let held = began.elapsed();
    assert!(held >= HOLD / 2, "{held:?}");
}

#[tokio::test]
async fn a_reconnect_within_5_s_is_no_change() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let mut cid = join(&server, &room, "cid").await;
    let bob = join(&server, &room, "bob").await;
    let began = Instant::now();
    bob.cut();
    let mut bob = join(&server, &room, "bob").await;
    // Not on a machine that stood still meanwhile.
    let is_in_time = began.elapsed() < HOLD;
    // Somebody who left at the same moment without coming back marks the end of the 5 s.
    cid.say("about to go", "x").await;
    cid.cut();
    let before = ann.seen.len();
    while status_of(&mut ann, "cid").await["status"] != "offline" {}
    let about_bob = ann.seen[before..].iter().filter_map(|seen| seen.json());
    let offline = about_bob
        .filter(|frame| frame["user_id"] == "bob" && frame["status"] == "offline")
        .count();
    assert!(offline == 0 || !is_in_time, "{offline}");
    bob.fence().await;
}

#[tokio::test]
async fn at_most_50_are_named_and_those_who_wrote_last_first() {
    let server = unlimited();
    let mut others = Vec::new();
    for number in 0..60 {
        others.push(join(&server, "many", &format!("user-{number}")).await);
    }
    let mut earlier = join(&server, "many", "late").await;
    for number in [7, 31] {
        let content = format!("of {number}");
        others[number].say(&content, &content).await;
    }
    // So the node that the late one comes to has heard of both.
    told(&mut earlier, "of 31").await;
    let mut late = server.dial("many", "late").connect().await;
    let company = late.fence().await;
    let named: Vec<&str> = company
        .iter()
        .filter(|frame| frame["type"] == "user_status")
        .map(|frame| frame["user_id"].as_str().unwrap())
        .collect();
    assert_eq!(named.len(), 50);
    assert_eq!(named.iter().collect::<BTreeSet<_>>().len(), 50);
    assert_eq!(&named[..2], ["user-31", "user-7"], "{named:?}");
}

#[tokio::test]
async fn above_200_users_changes_go_to_extended_clients_as_a_count() {
    let server = unlimited();
    let mut base = join(&server, "crowd", "base").await;
    let (mut extended, _) = join_extended(&server, "crowd", "extended").await;
    let mut others = Vec::new();
    for number in 0..200 {
        others.push(join(&server, "crowd", &format!("user-{number}")).await);
    }
    let presence = extended
        .expect_where("a count of everybody", |frame| {
            frame["type"] == "presence" && frame["count"] == 202
        })
        .await;
    let sample = presence["sample"].as_array().unwrap();
    assert!(
        !sample.is_empty() && sample.iter().all(Value::is_string),
        "{presence}"
    );
    base.fence().await;
    let last = join(&server, "crowd", "one too many").await;
    drop(last);
    let told = base.fence().await;
    assert!(
        !any(&told, "presence") && !any(&told, "user_status"),
        "{told:?}"
    );
}
