//! `edit_message` and `delete_message`.

use parlance_testkit::{client::Client, tokens::Claims};
use serde_json::{Value, json};

use super::support::{any, is_timestamp, join, join_as, room, shared};

async fn edit(client: &Client, id: &str, content: &str, local_id: &str) {
    client.send(json!({"action": "edit_message", "message_id": id, "content": content, "local_id": local_id})).await;
}

async fn delete(client: &Client, id: &str, local_id: &str) {
    client
        .send(json!({"action": "delete_message", "message_id": id, "local_id": local_id}))
        .await;
}

async fn newest(client: &mut Client) -> Value {
    client
        .send(json!({"action": "fetch_messages", "limit": 1}))
        .await;
    client.expect("messages_fetched").await["messages"][0].take()
}

#[tokio::test]
async fn an_edit_goes_to_everyone_with_a_position_after_the_last_message() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let mut bob = join(&server, &room, "bob").await;
    ann.say("one", "a").await;
    ann.say("two", "b").await;
    edit(&ann, "1", "uno", "e").await;
    let edited = ann.expect("message.edited").await;
    assert!(is_timestamp(&edited["timestamp"]));
    let expected = json!({"type": "message.edited", "message_id": "1", "content": "uno",
        "edited_by": "ann", "timestamp": edited["timestamp"], "position": "2-1", "local_id": "e"});
    assert_eq!(edited, expected);
    assert_eq!(bob.expect("message.edited").await, expected);
    delete(&ann, "2", "d").await;
    let deleted = bob.expect("message.deleted").await;
    let expected = json!({"type": "message.deleted", "message_id": "2", "deleted_by": "ann",
        "timestamp": deleted["timestamp"], "position": "2-2", "local_id": "d"});
    assert_eq!(deleted, expected);
    assert_eq!(ann.expect("message.deleted").await, expected);
    assert_eq!(ann.say("three", "c").await["position"], "3");
}

#[tokio::test]
async fn history_shows_the_present_content_and_who_changed_it_where() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    ann.say("before", "a").await;
    edit(&ann, "1", "after", "e").await;
    ann.expect("message.edited").await;
    let row = newest(&mut ann).await;
    assert_eq!(
        [
            &row["content"],
            &row["is_edited"],
            &row["is_deleted"],
            &row["position"],
            &row["edited_by"]
        ],
        [
            &json!("after"),
            &json!(true),
            &json!(false),
            &json!("1-1"),
            &json!("ann")
        ]
    );
    delete(&ann, "1", "d").await;
    ann.expect("message.deleted").await;
    let row = newest(&mut ann).await;
    assert_eq!(
        [&row["content"], &row["is_deleted"], &row["position"]],
        [&json!(""), &json!(true), &json!("1-2")]
    );
}

#[tokio::test]
async fn the_same_content_again_is_an_event_all_the_same() {
    let server = shared();
    let mut ann = join(&server, &room(), "ann").await;
    ann.say("same", "a").await;
    edit(&ann, "1", "same", "e").await;
    assert_eq!(ann.expect("message.edited").await["position"], "1-1");
    edit(&ann, "1", "same", "f").await;
    assert_eq!(ann.expect("message.edited").await["position"], "1-2");
}

#[tokio::test]
async fn a_repeated_edit_is_answered_with_its_event_to_that_socket_alone() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let mut bob = join(&server, &room, "bob").await;
    ann.say("text", "a").await;
    edit(&ann, "1", "new", "e").await;
    let first = ann.expect("message.edited").await;
    bob.expect("message.edited").await;
    edit(&ann, "1", "new", "e").await;
    assert_eq!(ann.expect("message.edited").await, first);
    assert!(!any(&bob.fence().await, "message.edited"));
}

#[tokio::test]
async fn edits_deletes_and_messages_share_the_name_space_of_local_ids() {
    let server = shared();
    let mut ann = join(&server, &room(), "ann").await;
    ann.say("text", "a").await;
    edit(&ann, "1", "new", "a").await;
    let error = ann.expect("error").await;
    assert_eq!(
        (&error["code"], &error["action"]),
        (&json!("local_id_conflict"), &json!("edit_message"))
    );
    edit(&ann, "1", "new", "e").await;
    ann.expect("message.edited").await;
    ann.send(json!({"action": "send_message", "content": "x", "local_id": "e"}))
        .await;
    assert_eq!(
        ann.expect("message.failed").await["code"],
        "local_id_conflict"
    );
    delete(&ann, "1", "e").await;
    assert_eq!(ann.expect("error").await["code"], "local_id_conflict");
}

#[tokio::test]
async fn a_second_delete_is_answered_to_the_asker_alone() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let mut bob = join(&server, &room, "bob").await;
    ann.say("text", "a").await;
    delete(&ann, "1", "d").await;
    let first = ann.expect("message.deleted").await;
    bob.expect("message.deleted").await;
    delete(&ann, "1", "again").await;
    let second = ann.expect("message.deleted").await;
    assert_eq!(second["position"], first["position"]);
    assert!(!any(&bob.fence().await, "message.deleted"));
}

#[tokio::test]
async fn deleted_and_unknown_messages_cannot_be_edited() {
    let server = shared();
    let mut ann = join(&server, &room(), "ann").await;
    ann.say("text", "a").await;
    delete(&ann, "1", "d").await;
    ann.expect("message.deleted").await;
    for id in ["1", "2", "0", "10000000001"] {
        edit(&ann, id, "new", "e").await;
        let error = ann.expect("error").await;
        assert_eq!(
            (&error["code"], &error["action"]),
            (&json!("unknown_message"), &json!("edit_message")),
            "{id}"
        );
    }
    delete(&ann, "2", "x").await;
    assert_eq!(ann.expect("error").await["code"], "unknown_message");
}

#[tokio::test]
async fn only_the_author_may_change_a_message_and_a_moderator_may_delete_it() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let mut bob = join(&server, &room, "bob").await;
    let moderator = Claims::of("mod").with("role", "moderator");
    let mut moderator = join_as(&server, &room, &moderator).await;
    ann.say("text", "a").await;
    for client in [&mut bob, &mut moderator] {
        edit(client, "1", "mine", "e").await;
        assert_eq!(client.expect("error").await["code"], "not_author");
    }
    delete(&bob, "1", "d").await;
    assert_eq!(bob.expect("error").await["code"], "not_author");
    delete(&moderator, "1", "d").await;
    assert_eq!(ann.expect("message.deleted").await["deleted_by"], "mod");
}

#[tokio::test]
async fn ids_may_be_integers_and_nothing_else() {
    let server = shared();
    let mut ann = join(&server, &room(), "ann").await;
    ann.say("text", "a").await;
    ann.send(json!({"action": "edit_message", "message_id": 1, "content": "new"}))
        .await;
    assert_eq!(ann.expect("message.edited").await["message_id"], "1");
    for id in [
        json!("01"),
        json!("+1"),
        json!("1.0"),
        json!(1.5),
        json!(-1),
        json!(""),
        json!("9007199254740992"),
        json!(9_007_199_254_740_992_u64),
        json!(null),
        json!(["1"]),
    ] {
        ann.send(json!({"action": "edit_message", "message_id": id, "content": "new"}))
            .await;
        assert_eq!(ann.expect("error").await["code"], "invalid_field", "{id}");
    }
}

#[tokio::test]
async fn an_edits_content_has_the_limits_of_a_message() {
    let server = shared();
    let mut ann = join(&server, &room(), "ann").await;
    ann.say("text", "a").await;
    for (content, code) in [
        (String::new(), "invalid_content"),
        ("x".repeat(16_385), "content_too_long"),
    ] {
        edit(&ann, "1", &content, "e").await;
        assert_eq!(ann.expect("error").await["code"], code);
    }
}
