//! What is told of how far a conversation is stored.

use std::time::Duration;

use parlance_core::{
    ingest::Ingest,
    ports::{Backend, Bus, Feed, Heard},
};
use parlance_protocol::Position;

use crate::house::*;

#[tokio::test(flavor = "multi_thread")]
async fn readers_hear_how_far_it_is_stored() {
    let house = House::new();
    let (listener, mut feed) = house.backend.attach();
    listener.subscribe(&room()).await.unwrap();
    house.say("1").await;
    house.say("2").await;
    house.move_all().await;

    assert_eq!(next_stored(&mut feed).await, (0, at(2, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_hear_how_far_it_is_stored_while_more_waits() {
    let house = House::new();
    let (listener, mut feed) = house.backend.attach();
    listener.subscribe(&room()).await.unwrap();
    house.say("1").await;
    let token = house.mover.hold(PARTITION).await;
    let ingest = house.backend.ingest();
    let batch = ingest.read(PARTITION, token, 100).await.unwrap();
    house.say("2").await;
    let durable = house.mover.store(&batch).await;
    let committed = house.mover.commit(PARTITION, token, &batch, durable).await;
    committed.unwrap();

    assert_eq!(next_stored(&mut feed).await, (0, at(1, 0)));
}

/// The next news of the store: the epoch, and how far it is stored.
async fn next_stored(feed: &mut impl Feed) -> (u32, Position) {
    let stored = async {
        loop {
            if let (_, Heard::Stored { epoch, up_to }) = feed.next().await.unwrap() {
                return (epoch, up_to);
            }
        }
    };
    let stored = tokio::time::timeout(Duration::from_secs(10), stored).await;
    stored.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_in_an_earlier_epoch_is_not_told() {
    let house = House::new();
    for name in names(1..=70) {
        house.say(&name).await;
    }
    house.server.cmd(&["DEL", "{p9b}:e"]);
    let (listener, mut feed) = house.backend.attach();
    listener.subscribe(&room()).await.unwrap();
    assert_eq!(house.say("71").await, at(E + 1, 0));
    // The messages of the epoch before, then the mark and the rest.
    house.move_some(70).await;
    house.move_all().await;

    let mut told = Vec::new();
    while told.last() != Some(&at(E + 1, 0)) {
        let heard = tokio::time::timeout(Duration::from_secs(10), feed.next()).await;
        if let (_, Heard::Stored { epoch, up_to }) = heard.unwrap().unwrap() {
            assert_eq!(epoch, 1);
            told.push(up_to);
        }
    }
    assert!(told.iter().all(|up_to| *up_to >= at(E, 0)), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hears_of_more_stored_than_was_heard_reads_again() {
    let house = House::new();
    let (listener, mut feed) = house.backend.attach();
    listener.subscribe(&room()).await.unwrap();
    house.server.cmd(&["PUBLISH", "{p9b}:c:room", "S0 7-0"]);

    let doubted = async { while feed.next().await.unwrap().1 != Heard::Doubt {} };
    let doubted = tokio::time::timeout(Duration::from_secs(10), doubted).await;
    assert!(doubted.is_ok(), "what is stored was published before");
}
