//! The extended layer: the greeting, `live`, `stored`.

use serde_json::{Value, json};

use super::support::{any, fill, join, join_extended, room, shared};

#[tokio::test]
async fn the_greeting_is_first_and_one_reading() {
    let server = shared();
    let room = room();
    let (mut ann, _) = join_extended(&server, &room, "ann").await;
    fill(&mut ann, 3).await;
    if server.has_store() {
        let up_to = |frame: &Value| frame["up_to_id"] == "3";
        ann.expect_where("all of it to be stored", up_to).await;
    }
    ann.send(json!({"action": "read", "message_ids": ["2"]}))
        .await;
    ann.expect("read").await;
    let mut bob = join(&server, &room, "bob").await;
    bob.send(json!({"action": "read", "message_ids": ["1"]}))
        .await;
    bob.expect("read").await;
    let (_, hello) = join_extended(&server, &room, "bob").await;
    assert!(!hello["connection_id"].as_str().unwrap().is_empty());
    let stored_id = if server.has_store() { "3" } else { "0" };
    let expected = json!({"type": "hello", "conversation_id": room, "user_id": "bob",
        "connection_id": hello["connection_id"], "epoch": 0, "head_id": "3",
        "stored_id": stored_id, "read_id": "1", "unread": 2, "resumed": false,
        "durable": server.has_store(),
        "heartbeat_ms": 25_000, "limits": {"frame_bytes": 65_536, "content_bytes": 16_384,
            "local_id_bytes": 128, "read_ids": 500, "page": 100, "actions_per_second": 20,
            "actions_burst": 40, "resume_events": 5_000}});
    assert_eq!(hello, expected);
}

#[tokio::test]
async fn every_connection_has_an_id_of_its_own() {
    let server = shared();
    let room = room();
    let (_first, first) = join_extended(&server, &room, "ann").await;
    let (_second, second) = join_extended(&server, &room, "ann").await;
    assert_ne!(first["connection_id"], second["connection_id"]);
}

#[tokio::test]
async fn live_names_the_position_from_which_everything_follows() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let mut early = server.dial(&room, "bob").extended().connect().await;
    assert_eq!(early.expect("live").await["position"], "0");
    fill(&mut ann, 2).await;
    ann.send(json!({"action": "edit_message", "message_id": "1", "content": "new"}))
        .await;
    ann.expect("message.edited").await;
    // The node of both devices has heard of it.
    early.expect("message.edited").await;
    let mut late = server.dial(&room, "bob").extended().connect().await;
    assert_eq!(late.expect("live").await["position"], "2-1");
    ann.say("next", "n").await;
    assert_eq!(late.expect("chat_message").await["position"], "3");
}

#[tokio::test]
async fn a_sender_hears_what_is_stored() {
    let server = shared();
    let room = room();
    let (mut ann, _) = join_extended(&server, &room, "ann").await;
    let (mut bob, _) = join_extended(&server, &room, "bob").await;
    ann.say("text", "a").await;
    if server.has_store() {
        let stored = ann.expect("stored").await;
        let expected = json!({"type": "stored", "epoch": 0, "up_to_id": "1"});
        assert_eq!(stored, expected);
    } else {
        assert!(!any(&ann.fence().await, "stored"), "there is no store");
    }
    assert!(!any(&bob.fence().await, "stored"), "bob waits for nothing");
}

#[tokio::test]
async fn a_base_client_never_sees_a_frame_of_the_extended_layer() {
    let server = shared();
    let room = room();
    let mut base = join(&server, &room, "ann").await;
    let (mut extended, _) = join_extended(&server, &room, "bob").await;
    base.say("one", "a").await;
    extended.say("two", "b").await;
    extended
        .send(json!({"action": "read", "message_ids": ["1"]}))
        .await;
    extended.expect("receipts").await;
    base.fence().await;
    let known = [
        "chat_message",
        "message.failed",
        "typing",
        "read",
        "messages_fetched",
        "message.status",
        "user_status",
        "heartbeat",
        "message.edited",
        "message.deleted",
        "error",
        "auth_ok",
    ];
    for frame in base.seen.iter().filter_map(|seen| seen.json()) {
        assert!(known.contains(&frame["type"].as_str().unwrap()), "{frame}");
    }
}
