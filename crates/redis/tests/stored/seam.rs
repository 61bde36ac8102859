//! Readings that cross from the log into the store.

use parlance_core::{
    entry::Event,
    ingest::{Durable, Ingest, Piece},
    ports::{History, Log},
    store::Archive,
};
use parlance_protocol::{Anchor, ConversationId, Position};

use crate::house::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_let_go_and_still_read() {
    let house = House::new();
    for name in names(1..=20) {
        house.say(&name).await;
    }
    assert_eq!(house.move_all().await, 20);
    for name in names(21..=23) {
        house.say(&name).await;
    }

    assert_eq!(
        house.length(),
        5,
        "two of the stored ones, and what is not stored"
    );
    assert_eq!(house.head().await.stored, at(20, 0));
    assert_eq!(house.contents().await, names(1..=23));
    let events: usize = house
        .replay_all()
        .await
        .iter()
        .map(|part| part.events.len())
        .sum();
    assert_eq!(events, 23);
    let around = house.page(Anchor::Around(message(19)), 5).await;
    assert_eq!(contents(&around), names(17..=21));
    let after = house.page(Anchor::After(message(16)), 4).await;
    assert_eq!((contents(&after), after.has_more), (names(17..=20), true));
    let found = house.handle.at(&room(), at(2, 0)).await.unwrap().unwrap();
    assert_eq!(&*found.row.content, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_an_old_message_is_seen_before_and_after_it_is_stored() {
    let house = House::new();
    for name in names(1..=9) {
        house.say(&name).await;
    }
    house.move_all().await;
    let edited = house.edit(3, "edited").await;
    assert_eq!(edited, at(9, 1));
    let seen = |contents: &[String]| contents[2].clone();
    assert_eq!(
        seen(&house.contents().await),
        "edited",
        "only the log has it"
    );

    house.move_all().await;
    assert_eq!(seen(&house.contents().await), "edited", "both have it");

    for name in names(10..=14) {
        house.say(&name).await;
    }
    house.move_all().await;
    assert_eq!(
        seen(&house.contents().await),
        "edited",
        "only the store has it"
    );
    let changes = house.server.cmd(&["HLEN", "{p9b}:x:room"]).integer();
    assert_eq!(changes, 0, "the log forgets changes of what it has not");
    let found = house.handle.at(&room(), edited).await.unwrap().unwrap();
    assert_eq!((found.row.id, found.entry.position), (message(3), edited));
    let replayed = house.replay_all().await;
    let events: Vec<_> = replayed.iter().flat_map(|part| &part.events).collect();
    assert_eq!(events.len(), 15);
    assert_eq!(&*events[2].row.as_ref().unwrap().content, "edited");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_knows_an_edit_until_it_is_stored_or_its_message_goes() {
    let house = House::new();
    for name in names(1..=80) {
        house.say(&name).await;
    }
    house.edit(3, "unstored").await;
    house.move_some(80).await;
    assert_eq!(house.length(), 3, "3 is not in the log, its edit is");
    assert_eq!(house.contents().await.len(), 80);
    let third = house.handle.at(&room(), at(3, 0)).await.unwrap().unwrap();
    assert_eq!(&*third.row.content, "unstored");

    house.edit(80, "edited").await;
    house.move_all().await;
    assert_eq!(house.length(), 2, "two edits");
    house.say("81").await;
    house.edit(81, "eighty-one").await;
    house.move_all().await;
    let newest = house.page(Anchor::Newest, 2).await;
    assert_eq!(contents(&newest), ["edited", "eighty-one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_lacks_is_unavailable_and_never_left_out() {
    let house = House::new();
    for name in names(1..=9) {
        house.say(&name).await;
    }
    let token = house.mover.hold(PARTITION).await;
    let mut batch = house
        .backend
        .ingest()
        .read(PARTITION, token, 9)
        .await
        .unwrap();
    let mut newest = batch.clone();
    newest.pieces.drain(..6);
    let durable = house.mover.store(&newest).await;
    // 5 and 6 are missing.
    batch.pieces.truncate(4);
    house.mover.store(&batch).await;
    let committed = house.mover.commit(PARTITION, token, &newest, durable);
    committed.await.unwrap();

    let replay = house
        .handle
        .replay(&room(), Position::ZERO, 9)
        .await
        .unwrap();
    assert_eq!((replay.events.len(), replay.remaining), (4, 5));
    assert!(house.handle.replay(&room(), at(4, 0), 9).await.is_err());
    let page = house.handle.page(&room(), Anchor::Newest, 9).await;
    assert!(page.is_err(), "{page:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_down_who_is_known_goes_on_and_old_pages_are_refused() {
    let house = House::new();
    for name in names(1..=9) {
        house.say(&name).await;
    }
    house.move_all().await;
    house.store.set_down(true);

    assert_eq!(house.say("10").await, at(10, 0));
    assert_eq!(house.head().await.lineage.head(), at(10, 0));
    let newest = house.handle.page(&room(), Anchor::Newest, 2).await.unwrap();
    assert_eq!((contents(&newest), newest.has_more), (names(9..=10), true));
    assert!(
        house
            .handle
            .page(&room(), Anchor::Newest, 20)
            .await
            .is_err()
    );
    assert!(
        house
            .handle
            .replay(&room(), Position::ZERO, 5)
            .await
            .is_err()
    );
    let elsewhere = ConversationId::new("elsewhere").unwrap();
    assert!(house.handle.head(&elsewhere).await.is_err());

    house.store.set_down(false);
    assert_eq!(house.contents().await, names(1..=10));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_the_store_refused_has_no_effect() {
    let house = House::new();
    for name in names(1..=3) {
        house.say(&name).await;
    }
    house.move_all().await;
    house.edit(2, "never taken").await;
    let token = house.mover.hold(PARTITION).await;
    let ingest = house.backend.ingest();
    let batch = ingest.read(PARTITION, token, 10).await.unwrap();
    let Piece::Event { event, .. } = &batch.pieces[0].piece else {
        panic!("an edit waits: {batch:?}")
    };
    let placed = house.store.put_placeholder(&room(), event).await;
    placed.unwrap();
    let durable = Durable {
        conversation: room(),
        up_to: at(3, 1),
        count: 4,
        senders: Vec::new(),
    };
    let committed = house.mover.commit(PARTITION, token, &batch, vec![durable]);
    committed.await.unwrap();
    for name in names(4..=6) {
        house.say(&name).await;
    }
    house.move_all().await;

    assert_eq!(house.contents().await, names(1..=6));
    let replays = house.replay_all().await;
    let events: Vec<_> = replays.iter().flat_map(|part| &part.events).collect();
    let Event::Edit { content, .. } = &events[3].entry.event else {
        panic!("the edit keeps its place: {events:?}")
    };
    assert_eq!(&**content, "2");
    let found = house.handle.at(&room(), at(3, 1)).await.unwrap().unwrap();
    assert_eq!(&*found.row.content, "2");
}
