//! `since`: what was missed, in order, once.

use parlance_testkit::{client::Client, server::Parlance};
use serde_json::{Value, json};

use super::support::{any, fill, join, room, setup, shared, start, unlimited};

/// Five messages; the first edited after the third, the second deleted at the end.
async fn history(server: &Parlance, room: &str) -> Client {
    let mut ann = join(server, room, "ann").await;
    fill(&mut ann, 3).await;
    ann.send(json!({"action": "edit_message", "message_id": "1", "content": "edited"}))
        .await;
    ann.expect("message.edited").await;
    ann.say("m4", "four").await;
    ann.say("m5", "five").await;
    ann.send(json!({"action": "delete_message", "message_id": "2"}))
        .await;
    ann.expect("message.deleted").await;
    ann
}

/// (position, content) of the durable events among `frames`.
fn durable(frames: &[Value]) -> Vec<(String, String)> {
    let event = |frame: &Value| {
        let position = frame["position"].as_str()?.to_owned();
        let content = match frame["type"].as_str()? {
            "chat_message" => frame["message"]["content"].as_str()?.to_owned(),
            "message.edited" => format!("edit: {}", frame["content"].as_str()?),
            "message.deleted" => "delete".to_owned(),
            _ => return None,
        };
        Some((position, content))
    };
    frames.iter().filter_map(event).collect()
}

/// The first `count` durable events, and whatever else came before the answer to a fetch that was
/// asked after them.
async fn replayed(client: &mut Client, count: usize) -> Vec<(String, String)> {
    for _ in 0..count {
        client
            .expect_where("a durable event", |frame| frame["position"].is_string())
            .await;
    }
    client.fence().await;
    durable(&client.frames())
}

fn events(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned =
        |(position, content): &(&str, &str)| ((*position).to_owned(), (*content).to_owned());
    expected.iter().map(owned).collect()
}

const ALL: [(&str, &str); 7] = [
    ("1", "edited"),
    ("2", ""),
    ("3", "m3"),
    ("3-1", "edit: edited"),
    ("4", "m4"),
    ("5", "m5"),
    ("5-1", "delete"),
];

#[tokio::test]
async fn everything_after_the_position_is_replayed_in_place_then_live() {
    let server = shared();
    let room = room();
    let mut ann = history(&server, &room).await;
    for (since, missed) in [
        ("0", 0),
        ("1", 1),
        ("3", 3),
        ("3-1", 4),
        ("3-9", 4),
        ("4", 5),
        ("5", 6),
        ("5-1", 7),
    ] {
        let mut bob = server
            .dial(&room, "bob")
            .extended()
            .since(since)
            .connect()
            .await;
        assert_eq!(bob.next_json().await["resumed"], true, "{since}");
        assert_eq!(bob.expect("live").await["position"], "5-1", "{since}");
        let frames: Vec<Value> = bob.frames();
        assert_eq!(durable(&frames), events(&ALL[missed..]), "{since}");
        let mut base = server.dial(&room, "bob").since(since).connect().await;
        let expected = events(&ALL[missed..]);
        assert_eq!(
            replayed(&mut base, expected.len()).await,
            expected,
            "base {since}"
        );
    }
    let mut bob = server.dial(&room, "bob").since("5-1").connect().await;
    bob.fence().await;
    ann.say("m6", "six").await;
    assert_eq!(bob.expect("chat_message").await["position"], "6");
}

#[tokio::test]
async fn without_since_or_with_an_empty_one_nothing_is_replayed() {
    let server = shared();
    let room = room();
    let _ann = history(&server, &room).await;
    let none = server.dial(&room, "bob").extended().connect().await;
    let empty = server
        .dial(&room, "bob")
        .extended()
        .since("")
        .connect()
        .await;
    for mut bob in [none, empty] {
        assert_eq!(
            bob.next_json().await["resumed"],
            false,
            "nothing was asked for"
        );
        bob.expect("live").await;
        let frames: Vec<Value> = bob.frames();
        assert_eq!(durable(&frames), []);
        assert!(!any(&frames, "resync"));
    }
}

#[tokio::test]
async fn a_position_that_cannot_be_is_lost_and_the_stream_goes_on() {
    let server = shared();
    let room = room();
    let mut ann = history(&server, &room).await;
    let impossible = [
        "6",
        "5-2",
        "x",
        "05",
        "5-0",
        "-1",
        "1-",
        "9007199254740992",
        "10000000001",
    ];
    let mut clients = Vec::new();
    for since in impossible {
        let mut extended = server
            .dial(&room, "bob")
            .extended()
            .since(since)
            .connect()
            .await;
        assert_eq!(extended.next_json().await["resumed"], false, "{since}");
        let resync = extended.expect("resync").await;
        assert_eq!(resync["epoch"], 0, "{since}");
        assert!(resync["lost_after"].is_string(), "{since}");
        extended.expect("live").await;
        let mut base = server.dial(&room, "bob").since(since).connect().await;
        let error = base.expect("error").await;
        assert_eq!(error["code"], "resume_lost", "{since}");
        assert_eq!(error["retryable"], false, "{since}");
        base.fence().await;
        clients.extend([(since, extended), (since, base)]);
    }
    let next = ann.say("next", "next").await;
    for (since, client) in &mut clients {
        let heard = client
            .expect_where("the next message", |frame| frame["position"] == "6")
            .await;
        assert_eq!(heard, next, "{since}");
    }
}

/// In an epoch of which nothing is known.
const UNKNOWN: &str = "70000000003";

#[tokio::test]
async fn who_knows_an_epoch_that_left_no_trace_begins_anew() {
    let server = shared();
    let room = room();
    let _ann = history(&server, &room).await;
    let dial = server.dial(&room, "bob").since(UNKNOWN);
    let mut extended = dial.extended().connect().await;
    assert_eq!(extended.next_json().await["resumed"], false);
    assert_eq!(extended.expect("resync").await["lost_after"], "0");
    extended.expect("live").await;
    assert_eq!(durable(&extended.frames()), events(&ALL));
    let mut base = server.dial(&room, "bob").since(UNKNOWN).connect().await;
    assert_eq!(base.expect("error").await["code"], "resume_lost");
    assert_eq!(replayed(&mut base, ALL.len()).await, events(&ALL));
}

#[tokio::test]
async fn too_much_is_left_out_and_announced() {
    let setup = setup().set("limits.resume_events", "120");
    let server = setup
        .set("limits.actions_per_second", "0")
        .set("limits.user_actions_per_second", "0")
        .start();
    let mut ann = join(&server, "gap", "ann").await;
    fill(&mut ann, 150).await;
    let mut extended = server
        .dial("gap", "bob")
        .extended()
        .since("10")
        .connect()
        .await;
    assert_eq!(
        extended.next_json().await["resumed"],
        false,
        "something is left out"
    );
    let gap = extended.expect("gap").await;
    assert_eq!(gap, json!({"type": "gap", "from": "11", "to": "50"}));
    extended.expect("live").await;
    let mut base = server.dial("gap", "bob").since("10").connect().await;
    assert_eq!(base.expect("error").await["code"], "resume_too_old");
    replayed(&mut base, 100).await;
    // As much is left out for whom nothing is known to be there.
    let dial = server.dial("gap", "bob").since(UNKNOWN);
    let mut lost = dial.extended().connect().await;
    assert_eq!(lost.expect("resync").await["lost_after"], "0");
    let gap = lost.expect("gap").await;
    assert_eq!(gap, json!({"type": "gap", "from": "1", "to": "50"}));
    lost.expect("live").await;
    for client in [&extended, &base, &lost] {
        let frames: Vec<Value> = client.frames();
        let positions: Vec<String> = durable(&frames)
            .into_iter()
            .map(|(position, _)| position)
            .collect();
        let newest: Vec<String> = (51..=150).map(|id: u32| id.to_string()).collect();
        assert_eq!(positions, newest);
    }
    let mut all = server
        .dial("gap", "bob")
        .extended()
        .since("30")
        .connect()
        .await;
    assert_eq!(
        all.next_json().await["resumed"],
        true,
        "120 events are replayed"
    );
    all.expect("live").await;
    let replayed = all.frames();
    assert_eq!(durable(&replayed).len(), 120);
}

#[tokio::test]
async fn who_resumes_while_others_write_misses_and_repeats_nothing() {
    let server = unlimited();
    let mut ann = join(&server, "busy", "ann").await;
    fill(&mut ann, 300).await;
    let writer = tokio::spawn(async move {
        for number in 0..300 {
            ann.say("more", &format!("more-{number}")).await;
        }
        ann
    });
    let mut readers = Vec::new();
    for number in 0..10_u32 {
        let since = (number * 25).to_string();
        let dial = server.dial("busy", "bob").since(&since);
        let dial = if number % 2 == 0 {
            dial.extended()
        } else {
            dial
        };
        readers.push((number * 25, dial.connect().await));
    }
    for (since, reader) in &mut readers {
        for id in *since + 1..=600 {
            let message = reader.expect("chat_message").await;
            assert_eq!(message["position"], id.to_string(), "since {since}");
        }
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn ids_and_positions_survive_a_kill() {
    let mut server = start();
    let ann = history(&server, "survivor").await;
    drop(ann);
    server.kill();
    server.restart();
    let mut bob = server
        .dial("survivor", "bob")
        .extended()
        .since("0")
        .connect()
        .await;
    let hello = bob.next_json().await;
    assert_eq!(
        (&hello["epoch"], &hello["resumed"], &hello["head_id"]),
        (&json!(0), &json!(true), &json!("5"))
    );
    bob.expect("live").await;
    let frames: Vec<Value> = bob.frames();
    assert_eq!(durable(&frames), events(&ALL));
    let mut ann = join(&server, "survivor", "ann").await;
    ann.send(json!({"action": "send_message", "content": "m5", "local_id": "five"}))
        .await;
    assert_eq!(
        ann.expect("chat_message").await["message"]["id"],
        "5",
        "still the same message"
    );
    assert_eq!(ann.say("m6", "six").await["message"]["id"], "6");
}
