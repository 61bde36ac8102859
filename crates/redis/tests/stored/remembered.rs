//! What the store remembers when Redis has forgotten it: names and cursors.

use std::sync::Arc;

use parlance_core::{
    entry::{Draft, Event},
    ingest::Ingest,
    ports::{Appended, Cursor, Log, Receipts},
    store::Store,
};
use parlance_protocol::{UnixMicros, UserId};

use crate::house::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_redis_forgot_is_known_for_ever() {
    let house = House::new();
    house.say("first").await;
    house.say("second").await;
    house.move_all().await;
    house.server.cmd(&["FLUSHALL"]);

    let event = || Event::Message {
        content: "first".into(),
    };
    let again = house.send("first", event(), true).await;
    assert_eq!(again, Appended::Duplicate(at(1, 0)));
    let other = Event::Message {
        content: "something else".into(),
    };
    assert_eq!(house.send("second", other, true).await, Appended::Conflict);
    assert_eq!(house.contents().await, ["first", "second"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_young_epoch_repeats_need_not_say_so() {
    let house = House::new();
    house.say("first").await;
    house.move_all().await;
    house.server.cmd(&["FLUSHALL"]);
    // Redis knows ann again, and not the name.
    house.say("second").await;

    let event = Event::Message {
        content: "first".into(),
    };
    let again = house.send("first", event, false).await;
    assert_eq!(again, Appended::Duplicate(at(1, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_restored_by_its_place_is_restored_once_for_ever() {
    let house = House::new();
    house.say("1").await;
    let restored = Draft {
        sender: ann(),
        local_id: None,
        retry: true,
        event: Event::Message {
            content: "without a name".into(),
        },
        at: UnixMicros(now()),
        restores: Some(at(2, 0)),
        trace: None,
    };
    let restore = async || house.handle.append(&room(), restored.clone()).await;
    let first = again_until_done(restore).await;
    assert!(matches!(first, Appended::New(_)), "{first:?}");
    house.move_all().await;
    house.server.cmd(&["FLUSHALL"]);

    let again = again_until_done(restore).await;
    assert_eq!(again, Appended::Duplicate(at(2, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_are_stored_once_and_recalled_when_redis_forgot_them() {
    let house = House::new();
    let bob = UserId::new("bob").unwrap();
    let cursor = |delivered, read| Cursor {
        delivered: message(delivered),
        read: message(read),
    };
    let advance = |user: &UserId, cursor| {
        let listed = Arc::from([]);
        house
            .handle
            .advance(&room(), user, cursor, UnixMicros(now()), listed);
    };
    let read = async |user: &UserId| {
        again_until_done(async || house.handle.cursor(&room(), user).await).await
    };
    advance(&ann(), cursor(5, 5));
    advance(&bob, cursor(4, 2));
    // What is asked after it is answered after it.
    assert_eq!(read(&bob).await, cursor(4, 2));
    house.mover.move_cursors(PARTITION).await;
    let mut stored = house.store.cursors(&room()).await.unwrap();
    stored.sort_by(|(one, _), (other, _)| one.cmp(other));
    assert_eq!(stored, [(ann(), cursor(5, 5)), (bob.clone(), cursor(4, 2))]);
    let ingest = house.backend.ingest();
    let waiting = ingest.moved_cursors(PARTITION, 10).await;
    assert_eq!(waiting, Ok(Vec::new()));

    // One that moves on while it is being stored waits again.
    advance(&ann(), cursor(6, 5));
    assert_eq!(read(&ann()).await, cursor(6, 5));
    let moved = ingest.moved_cursors(PARTITION, 10).await.unwrap();
    advance(&ann(), cursor(6, 6));
    assert_eq!(read(&ann()).await, cursor(6, 6));
    ingest.stored_cursors(PARTITION, moved).await.unwrap();
    house.mover.move_cursors(PARTITION).await;

    house.server.cmd(&["FLUSHALL"]);
    advance(&bob, cursor(3, 3));
    let all = again_until_done(async || house.handle.cursors(&room(), 10).await).await;
    assert_eq!(all, [(ann(), cursor(6, 6)), (bob.clone(), cursor(4, 3))]);
}
