//! `read` and the reader's cursor.

use parlance_testkit::{client::Client, server::Parlance};
use serde_json::{Value, json};

use super::support::{any, fill, join, join_extended, room, shared, told};

async fn read(client: &Client, ids: &[&str]) {
    client
        .send(json!({"action": "read", "message_ids": ids}))
        .await;
}

/// The reader's cursor, as a greeting tells it.
async fn cursor(server: &Parlance, room: &str, user: &str) -> (Value, Value) {
    let (_, mut hello) = join_extended(server, room, user).await;
    (hello["read_id"].take(), hello["unread"].take())
}

#[tokio::test]
async fn everyone_gets_the_listed_ids_that_the_cursor_moved_past() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let mut bob = join(&server, &room, "bob").await;
    let mut cid = join(&server, &room, "cid").await;
    fill(&mut ann, 4).await;
    told(&mut bob, "m4").await;
    read(&bob, &["1", "3"]).await;
    let expected = json!({"type": "read", "user_id": "bob", "message_ids": ["1", "3"]});
    for client in [&mut ann, &mut bob, &mut cid] {
        assert_eq!(client.expect("read").await, expected);
    }
    read(&bob, &["2", "4"]).await;
    assert_eq!(ann.expect("read").await["message_ids"], json!(["4"]));
    assert_eq!(cursor(&server, &room, "bob").await, (json!("4"), json!(0)));
}

#[tokio::test]
async fn the_cursor_moves_to_the_highest_listed_id_and_never_back() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let mut bob = join(&server, &room, "bob").await;
    fill(&mut ann, 5).await;
    told(&mut bob, "m5").await;
    assert_eq!(cursor(&server, &room, "bob").await, (json!("0"), json!(5)));
    read(&bob, &["3", "2"]).await;
    ann.expect("read").await;
    assert_eq!(cursor(&server, &room, "bob").await, (json!("3"), json!(2)));
    read(&bob, &["1", "2"]).await;
    bob.expect_where("the list back", |frame| {
        frame["type"] == "read" && frame["message_ids"] == json!(["1", "2"])
    })
    .await;
    assert!(
        !any(&ann.fence().await, "read"),
        "nothing moved, so nobody else is told"
    );
    assert_eq!(cursor(&server, &room, "bob").await, (json!("3"), json!(2)));
}

#[tokio::test]
async fn one_unknown_id_is_an_error_and_nothing_moves() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let mut bob = join(&server, &room, "bob").await;
    fill(&mut ann, 2).await;
    told(&mut bob, "m2").await;
    for unknown in ["3", "0", "10000000001"] {
        read(&bob, &["1", unknown]).await;
        let error = bob.expect("error").await;
        assert_eq!(
            (&error["code"], &error["action"]),
            (&json!("unknown_message"), &json!("read")),
            "{unknown}"
        );
    }
    assert!(!any(&ann.fence().await, "read"));
    assert_eq!(cursor(&server, &room, "bob").await.0, "0");
}

#[tokio::test]
async fn a_send_by_someone_who_had_read_everything_moves_their_cursor_without_a_frame() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let mut bob = join(&server, &room, "bob").await;
    ann.say("first", "a").await;
    told(&mut bob, "first").await;
    assert_eq!(cursor(&server, &room, "ann").await, (json!("1"), json!(0)));
    bob.say("unread before", "b").await;
    assert_eq!(cursor(&server, &room, "bob").await, (json!("0"), json!(2)));
    assert!(!any(&ann.fence().await, "read"));
}

#[tokio::test]
async fn a_read_lists_1_to_500_ids() {
    let server = shared();
    let mut ann = join(&server, &room(), "ann").await;
    ann.say("text", "a").await;
    let too_many: Vec<&str> = ["1"].repeat(501);
    for ids in [
        json!([]),
        json!(too_many),
        json!("1"),
        json!(["x"]),
        json!([null]),
    ] {
        ann.send(json!({"action": "read", "message_ids": ids}))
            .await;
        assert_eq!(ann.expect("error").await["code"], "invalid_field");
    }
    read(&ann, &["1"].repeat(500)).await;
    ann.expect("read").await;
}
