//! What is read after Redis lost something that the store has.

use parlance_core::{
    entry::Event,
    ingest::{Ingest, IngestError},
    ports::{Appended, History},
};
use parlance_protocol::{Anchor, Position};

use crate::house::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_store_kept_of_a_lost_log_is_in_its_place() {
    let house = House::new();
    for name in names(1..=9) {
        house.say(&name).await;
    }
    house.move_all().await;
    for name in names(10..=12) {
        house.say(&name).await;
    }
    // 10 to 12 are lost.
    house.server.cmd(&["FLUSHALL"]);
    assert_eq!(house.say("new").await, at(E + 1, 0));
    house.edit(4, "edited").await;

    let mut expected = names(1..=9);
    expected[3] = "edited".to_owned();
    expected.push("new".to_owned());
    assert_eq!(house.contents().await, expected);
    house.move_all().await;
    assert_eq!(house.contents().await, expected);
    let replays = house.replay_all().await;
    let events = replays.iter().flat_map(|part| &part.events);
    let prevs: Vec<_> = events.map(|event| event.entry.prev).collect();
    assert_eq!(prevs.len(), 11);
    assert_eq!(prevs[9], at(E, 0), "the mark's place");
    let head = house.head().await;
    assert_eq!(head.lineage.ordinal(message(E + 1)), 10);
    assert_eq!(head.stored, at(E + 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_write_of_what_was_lost_is_never_seen() {
    let house = House::new();
    for name in names(1..=4) {
        house.say(&name).await;
    }
    // A persister reads, and is stopped before it writes.
    let token = house.mover.hold(PARTITION).await;
    let ingest = house.backend.ingest();
    let late = ingest.read(PARTITION, token, 100).await.unwrap();
    house.server.cmd(&["FLUSHALL"]);
    assert_eq!(house.say("new").await, at(E + 1, 0));
    house.move_all().await;

    let durable = house.mover.store(&late).await;
    let token = house.mover.hold(PARTITION).await;
    let committed = house.mover.commit(PARTITION, token, &late, durable).await;

    assert_eq!(committed, Err(IngestError::OtherEpoch));
    assert_eq!(house.store.everything(&room()).len(), 5, "it was written");
    assert_eq!(house.contents().await, ["new"]);
    // Whoever comes next does not take it for the head, either.
    house.server.cmd(&["FLUSHALL"]);
    assert_eq!(house.say("newer").await, at(2 * E + 1, 0));
    assert_eq!(house.contents().await, ["new", "newer"]);
    let again = house
        .send(
            "2",
            Event::Message {
                content: "2".into(),
            },
            true,
        )
        .await;
    let Appended::New(entry) = again else {
        panic!("what was lost is no duplicate: {again:?}")
    };
    assert_eq!(entry.position, at(2 * E + 2, 0));
}

/// All that history says, in both directions and one by one.
async fn check_history(house: &House, expected: &[String]) {
    assert_eq!(house.contents().await, expected);
    let replays = house.replay_all().await;
    let events = replays.iter().flat_map(|part| &part.events);
    let rows: Vec<_> = events.filter_map(|event| event.row.as_ref()).collect();
    let contents: Vec<_> = rows.iter().map(|row| row.content.to_string()).collect();
    assert_eq!(contents, expected);
    for row in rows {
        let found = house.handle.at(&room(), Position::of(row.id)).await;
        assert_eq!(found.unwrap().unwrap().row, *row);
    }
    let mut paged = Vec::new();
    let mut anchor = Anchor::Newest;
    loop {
        let page = house.page(anchor, 2).await;
        let Some(last) = page.rows.last() else { break };
        anchor = Anchor::Before(last.id);
        paged.extend(page.rows.iter().map(|row| row.content.to_string()));
        if !page.has_more {
            break;
        }
    }
    paged.reverse();
    assert_eq!(paged, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_fell_behind_the_store_is_filled_from_it() {
    let house = House::new();
    for name in names(1..=7) {
        house.say(&name).await;
    }
    house.move_all().await;
    house.fall_behind();
    for name in names(8..=10) {
        house.say(&name).await;
    }
    house.edit(7, "seven").await;
    house.move_all().await;
    house.fail_over();
    assert_eq!(house.say("new").await, at(E + 1, 0));

    let mut expected = names(1..=10);
    expected[6] = "seven".to_owned();
    expected.push("new".to_owned());
    check_history(&house, &expected).await;
    house.move_all().await;
    check_history(&house, &expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_copy_brings_back_is_not_seen_again() {
    let house = House::new();
    for name in names(1..=7) {
        house.say(&name).await;
    }
    house.move_all().await;
    // Not stored, and lost with the log; so is an edit of something that is stored.
    house.say("ghost").await;
    house.edit(7, "ghost's edit").await;
    house.fall_behind();
    for key in KEYS.iter().chain(&["{p9b}:e"]) {
        house.server.cmd(&["DEL", key]);
    }
    assert_eq!(house.say("first").await, at(E + 1, 0));
    house.move_all().await;
    house.fail_over();
    assert_eq!(house.say("second").await, at(2 * E + 1, 0));

    let mut expected = names(1..=7);
    expected.extend(["first".to_owned(), "second".to_owned()]);
    check_history(&house, &expected).await;
    // The ghosts are stored now, too, in their places that do not exist.
    house.move_all().await;
    assert_eq!(house.store.everything(&room()).len(), 11);
    check_history(&house, &expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_redis_forgot_goes_on_at_the_next_id() {
    let house = House::new();
    for name in names(1..=5) {
        house.say(&name).await;
    }
    house.move_all().await;
    for kind in ["l", "m", "x"] {
        house.server.cmd(&["DEL", &format!("{{p9b}}:{kind}:room")]);
    }

    assert_eq!(house.say("6").await, at(6, 0));
    assert_eq!(house.contents().await, names(1..=6));
    let unread = house.head().await.lineage.ordinal(message(6));
    assert_eq!(unread, 6);
}
