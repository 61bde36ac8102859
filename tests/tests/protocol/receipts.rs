//! `message.status`: what is known to have arrived, and what was read.

use parlance_testkit::{
    client::Client,
    frames::{Frame, opcode},
};
use serde_json::{Value, json};

use super::support::{any, fill, is_timestamp, join, join_extended, room, shared, unlimited};

async fn status(client: &mut Client, id: &str) -> Value {
    client
        .expect_where(&format!("a status of {id}"), |frame| {
            frame["type"] == "message.status" && frame["message_id"] == id
        })
        .await
}

async fn read(client: &Client, id: &str) {
    client
        .send(json!({"action": "read", "message_ids": [id]}))
        .await;
}

async fn newest(client: &mut Client) -> Value {
    client.send(json!({"action": "fetch_messages"})).await;
    client.expect("messages_fetched").await
}

#[tokio::test]
async fn a_pong_proves_delivery_without_any_client_code() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let mut bob = join(&server, &room, "bob").await;
    ann.say("text", "a").await;
    assert!(!bob.expect_ping().await.is_empty(), "a nonce");
    let delivered = status(&mut ann, "1").await;
    assert!(is_timestamp(&delivered["timestamp"]));
    assert_eq!(delivered["status"], "delivered");
    assert!(
        !any(&bob.fence().await, "message.status"),
        "for the author alone"
    );
}

#[tokio::test]
async fn neither_a_fetch_nor_another_pong_proves_anything() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let mut bob = join(&server, &room, "bob").await;
    bob.set_polite(false);
    ann.say("text", "a").await;
    let nonce = bob.expect_ping().await;
    bob.send_frame(&Frame::new(opcode::PONG, *b"")).await;
    bob.send_frame(&Frame::new(opcode::PONG, *b"a wrong nonce"))
        .await;
    bob.fence().await;
    assert!(!any(&ann.fence().await, "message.status"));
    bob.send_frame(&Frame::new(opcode::PONG, nonce)).await;
    assert_eq!(status(&mut ann, "1").await["status"], "delivered");
}

#[tokio::test]
async fn a_device_that_came_later_proves_nothing_of_what_was_there_before() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    ann.say("before", "a").await;
    let mut bob = join(&server, &room, "bob").await;
    ann.send(json!({"action": "typing", "is_typing": true}))
        .await;
    bob.expect("typing").await;
    bob.fence().await;
    assert!(!any(&ann.fence().await, "message.status"));
    ann.say("after", "b").await;
    assert_eq!(status(&mut ann, "2").await["status"], "delivered");
}

#[tokio::test]
async fn an_own_device_proves_nothing() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let mut ann_elsewhere = join(&server, &room, "ann").await;
    ann.say("text", "a").await;
    ann_elsewhere.expect("chat_message").await;
    read(&ann_elsewhere, "1").await;
    ann_elsewhere.expect("read").await;
    assert!(!any(&ann.fence().await, "message.status"));
}

#[tokio::test]
async fn reading_implies_delivery_and_is_final() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let mut bob = join(&server, &room, "bob").await;
    bob.set_polite(false);
    ann.say("text", "a").await;
    let nonce = bob.expect_ping().await;
    read(&bob, "1").await;
    assert_eq!(status(&mut ann, "1").await["status"], "read");
    bob.send_frame(&Frame::new(opcode::PONG, nonce)).await;
    bob.fence().await;
    assert!(!any(&ann.fence().await, "message.status"), "never back");
}

#[tokio::test]
async fn a_status_goes_to_every_connection_of_the_author() {
    let server = shared();
    let room = room();
    let mut phone = join(&server, &room, "ann").await;
    let mut laptop = join(&server, &room, "ann").await;
    let _bob = join(&server, &room, "bob").await;
    phone.say("text", "a").await;
    assert_eq!(status(&mut phone, "1").await["status"], "delivered");
    assert_eq!(status(&mut laptop, "1").await["status"], "delivered");
}

#[tokio::test]
async fn an_author_who_was_away_reads_the_status_from_history() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    fill(&mut ann, 2).await;
    ann.close(1000).await;
    let mut bob = join(&server, &room, "bob").await;
    read(&bob, "1").await;
    bob.expect("read").await;
    let mut ann = join(&server, &room, "ann").await;
    let mut page = newest(&mut ann).await;
    if page["messages"][1]["status"] == "sent" {
        // Her node hears of it a little later than the reader's.
        status(&mut ann, "1").await;
        page = newest(&mut ann).await;
    }
    let statuses: Vec<&Value> = page["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["status"])
        .collect();
    assert_eq!(
        statuses,
        ["sent", "read"],
        "a fetch is no proof of delivery"
    );
}

#[tokio::test]
async fn on_a_jump_the_author_is_told_of_the_newest_50() {
    let server = unlimited();
    let mut ann = join(&server, "jump", "ann").await;
    fill(&mut ann, 60).await;
    let bob = join(&server, "jump", "bob").await;
    read(&bob, "60").await;
    status(&mut ann, "60").await;
    let more = ann.fence().await;
    let of_read = |frame: &Value| {
        let read = frame["type"] == "message.status" && frame["status"] == "read";
        read.then(|| frame["message_id"].as_str()?.parse().ok())
            .flatten()
    };
    let mut told: Vec<u32> = ann.frames().iter().filter_map(of_read).collect();
    told.sort_unstable();
    assert_eq!(told, (11..=60).collect::<Vec<u32>>(), "{more:?}");
}

#[tokio::test]
async fn extended_clients_get_cursors_as_well() {
    let server = shared();
    let room = room();
    let mut bob = join(&server, &room, "bob").await;
    let (mut ann, _) = join_extended(&server, &room, "ann").await;
    ann.say("text", "a").await;
    ann.expect_where("bob's delivery", |frame| {
        frame["type"] == "receipts" && frame["delivered"]["bob"] == "1"
    })
    .await;
    read(&bob, "1").await;
    bob.expect("read").await;
    ann.expect_where("bob's reading", |frame| {
        frame["type"] == "receipts" && frame["read"]["bob"] == "1"
    })
    .await;
    let (_, _) = join_extended(&server, &room, "cid").await;
    let mut late = server.dial(&room, "dan").extended().connect().await;
    late.expect("live").await;
    let snapshot = late.expect("receipts").await;
    assert_eq!(snapshot["read"]["bob"], "1", "{snapshot}");
}

#[tokio::test]
async fn above_50_users_a_read_goes_to_the_reader_and_the_authors_alone() {
    let server = unlimited();
    let mut ann = join(&server, "fifty", "ann").await;
    let mut bob = join(&server, "fifty", "bob").await;
    let (mut extended, _) = join_extended(&server, "fifty", "extended").await;
    let mut others = Vec::new();
    for number in 0..50 {
        others.push(join(&server, "fifty", &format!("user-{number}")).await);
    }
    ann.say("text", "a").await;
    for other in &mut others {
        other.expect("chat_message").await;
    }
    read(&bob, "1").await;
    bob.expect("read").await;
    ann.expect("read").await;
    assert!(!any(&others[0].fence().await, "read"));
    extended
        .expect_where("bob's reading", |frame| {
            assert_ne!(frame["type"], "read", "receipts replace it");
            frame["type"] == "receipts" && frame["read"]["bob"] == "1"
        })
        .await;
}
