//! `fetch_messages`.

use parlance_testkit::client::Client;
use serde_json::{Value, json};

use super::support::{fill, ids, is_timestamp, join, room, shared, unlimited};

async fn fetch(client: &mut Client, mut anchor: Value) -> Value {
    anchor["action"] = json!("fetch_messages");
    client.send(anchor).await;
    client.expect("messages_fetched").await
}

#[tokio::test]
async fn a_row_tells_everything_about_a_message() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let sent = ann.say("Previous message", "mine").await;
    let mut bob = join(&server, &room, "bob").await;
    let page = fetch(&mut bob, json!({})).await;
    let row = &page["messages"][0];
    assert!(is_timestamp(&row["sent_at"]));
    assert_eq!(row["sent_at"], sent["message"]["timestamp"]);
    let expected = json!({"type": "messages_fetched", "conversation_id": room, "has_more": false,
        "messages": [{"id": "1", "sender_id": "ann", "content": "Previous message",
            "sent_at": row["sent_at"], "is_edited": false, "is_deleted": false,
            "status": row["status"], "position": "1"}]});
    assert_eq!(page, expected);
    let own = fetch(&mut ann, json!({})).await;
    assert_eq!(
        own["messages"][0]["local_id"], "mine",
        "of the reader's own messages alone"
    );
}

#[tokio::test]
async fn an_empty_conversation_has_an_empty_page() {
    let server = shared();
    let mut ann = join(&server, &room(), "ann").await;
    let page = fetch(&mut ann, json!({"limit": 100})).await;
    assert_eq!((ids(&page).len(), &page["has_more"]), (0, &json!(false)));
}

#[tokio::test]
async fn pages_are_newest_first_and_adjacent_to_their_anchor() {
    let server = shared();
    let mut ann = join(&server, &room(), "ann").await;
    fill(&mut ann, 9).await;
    let cases = [
        (json!({"limit": 3}), vec!["9", "8", "7"], true),
        (
            json!({"before_id": "7", "limit": 3}),
            vec!["6", "5", "4"],
            true,
        ),
        (
            json!({"before_id": 4, "limit": 3}),
            vec!["3", "2", "1"],
            false,
        ),
        (json!({"before_id": "3", "limit": 3}), vec!["2", "1"], false),
        (json!({"before_id": "1"}), vec![], false),
        (json!({"before_id": "0"}), vec![], false),
        (
            json!({"before_id": "1000"}),
            vec!["9", "8", "7", "6", "5", "4", "3", "2", "1"],
            false,
        ),
        (
            json!({"after_id": "2", "limit": 3}),
            vec!["5", "4", "3"],
            true,
        ),
        (
            json!({"after_id": "6", "limit": 3}),
            vec!["9", "8", "7"],
            false,
        ),
        (json!({"after_id": "0", "limit": 2}), vec!["2", "1"], true),
        (json!({"after_id": "9"}), vec![], false),
        (json!({"after_id": "1000"}), vec![], false),
    ];
    for (anchor, expected, has_more) in cases {
        let page = fetch(&mut ann, anchor.clone()).await;
        assert_eq!(ids(&page), expected, "{anchor}");
        assert_eq!(page["has_more"], has_more, "{anchor}");
    }
}

#[tokio::test]
async fn around_gives_the_message_and_both_sides() {
    let server = shared();
    let mut ann = join(&server, &room(), "ann").await;
    fill(&mut ann, 9).await;
    let cases = [
        (
            json!({"around_id": "5", "limit": 5}),
            vec!["7", "6", "5", "4", "3"],
            true,
            true,
        ),
        (
            json!({"around_id": "5", "limit": 4}),
            vec!["6", "5", "4", "3"],
            true,
            true,
        ),
        (json!({"around_id": "5", "limit": 1}), vec!["5"], true, true),
        (
            json!({"around_id": "8", "limit": 5}),
            vec!["9", "8", "7", "6"],
            true,
            false,
        ),
        (
            json!({"around_id": "1", "limit": 5}),
            vec!["3", "2", "1"],
            false,
            true,
        ),
    ];
    for (anchor, expected, has_more, has_more_after) in cases {
        let page = fetch(&mut ann, anchor.clone()).await;
        assert_eq!(ids(&page), expected, "{anchor}");
        assert_eq!(page["has_more"], has_more, "{anchor}");
        assert_eq!(page["has_more_after"], has_more_after, "{anchor}");
    }
}

#[tokio::test]
async fn the_limit_is_20_by_default_and_clamped_to_1_to_100() {
    let server = unlimited();
    let mut ann = join(&server, "limit", "ann").await;
    fill(&mut ann, 105).await;
    let cases = [
        (json!({}), 20),
        (json!({"limit": 0}), 1),
        (json!({"limit": -5}), 1),
        (json!({"limit": 100}), 100),
        (json!({"limit": 101}), 100),
        (json!({"limit": 1_000_000}), 100),
    ];
    for (anchor, rows) in cases {
        let page = fetch(&mut ann, anchor.clone()).await;
        assert_eq!(ids(&page).len(), rows, "{anchor}");
    }
}

#[tokio::test]
async fn a_request_id_is_echoed_as_it_came() {
    let server = shared();
    let mut ann = join(&server, &room(), "ann").await;
    for request_id in [json!("r 1"), json!(17)] {
        let page = fetch(&mut ann, json!({"request_id": request_id})).await;
        assert_eq!(page["request_id"], request_id);
    }
    assert!(fetch(&mut ann, json!({})).await.get("request_id").is_none());
}

#[tokio::test]
async fn more_than_one_anchor_and_wrong_types_are_refused() {
    let server = shared();
    let mut ann = join(&server, &room(), "ann").await;
    for anchor in [
        json!({"before_id": "1", "after_id": "1"}),
        json!({"around_id": "1", "after_id": "1"}),
        json!({"before_id": "x"}),
        json!({"after_id": "007"}),
        json!({"limit": "many"}),
    ] {
        let mut action = anchor.clone();
        action["action"] = json!("fetch_messages");
        ann.send(action).await;
        let error = ann.expect("error").await;
        assert_eq!(
            (&error["code"], &error["action"]),
            (&json!("invalid_field"), &json!("fetch_messages")),
            "{anchor}"
        );
    }
}

#[tokio::test]
async fn a_page_goes_to_the_socket_that_asked_alone() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let mut other = join(&server, &room, "ann").await;
    fetch(&mut ann, json!({})).await;
    assert!(!super::support::any(
        &other.fence().await,
        "messages_fetched"
    ));
}
