//! What a commit lets go, and who may commit.

use std::time::Duration;

use parlance_core::{
    ingest::{Ingest, IngestError, PersisterId},
    ports::{Backend, Bus, Feed, Heard},
};
use parlance_testkit::redis;

use crate::house::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_comes_late_moves_nothing_back() {
    let house = House::new();
    for name in names(1..=9) {
        house.say(&name).await;
    }
    let token = house.mover.hold(PARTITION).await;
    let ingest = house.backend.ingest();
    let early = ingest.read(PARTITION, token, 3).await.unwrap();
    let durable = house.mover.store(&early).await;
    house.move_all().await;

    let late = house.mover.commit(PARTITION, token, &early, durable).await;

    assert_eq!(late, Ok(()));
    assert_eq!(house.head().await.stored, at(9, 0));
    house.say("10").await;
    assert_eq!(house.move_all().await, 1);
    assert_eq!(house.contents().await, names(1..=10));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_stored_as_a_whole_expires() {
    let house = House::new();
    let ttl = |kind: &str| {
        let key = format!("{{p9b}}:{kind}:room");
        house.server.cmd(&["TTL", &key]).integer()
    };
    house.say("1").await;
    house.edit(1, "one").await;
    assert_eq!((ttl("l"), ttl("m"), ttl("x")), (-1, -1, -1));

    house.move_all().await;
    let hours = |kind: &str| (ttl(kind) + 60) / 3600;
    assert_eq!((hours("l"), hours("m")), (24, 720));
    assert_eq!(hours("x"), 25, "changes outlive the messages they are of");

    house.say("2").await;
    assert_eq!((ttl("l"), ttl("m"), ttl("x")), (-1, -1, -1));

    // A commit that leaves something behind sets nothing.
    house.say("3").await;
    house.move_some(1).await;
    assert_eq!((ttl("l"), ttl("m"), ttl("x")), (-1, -1, -1));

    house.move_all().await;
    // The mark of a new epoch is not stored yet, though everything before it is.
    house.server.cmd(&["DEL", "{p9b}:e"]);
    house.head().await;
    assert_eq!((ttl("l"), ttl("m")), (-1, -1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_has_one_owner_whose_number_grows() {
    let house = House::new();
    let ingest = house.backend.ingest();
    let (one, other) = (PersisterId("one".into()), PersisterId("other".into()));
    let lease = Duration::from_secs(60);
    house.say("1").await;

    let first = ingest.hold(PARTITION, &one, lease).await.unwrap().unwrap();
    assert_eq!(ingest.hold(PARTITION, &other, lease).await, Ok(None));
    let again = ingest.hold(PARTITION, &one, lease).await;
    assert_eq!(again, Ok(Some(first)), "it is kept under the same number");
    let batch = ingest.read(PARTITION, first, 10).await.unwrap();

    ingest.release(PARTITION, first).await.unwrap();
    let second = ingest
        .hold(PARTITION, &other, lease)
        .await
        .unwrap()
        .unwrap();
    assert!(second > first);
    // The first one was paused, and goes on.
    assert_eq!(
        ingest.read(PARTITION, first, 10).await,
        Err(IngestError::NotOwner)
    );
    let durable = house.mover.store(&batch).await;
    let late = house.mover.commit(PARTITION, first, &batch, durable).await;
    assert_eq!(late, Err(IngestError::NotOwner));
    ingest.release(PARTITION, first).await.unwrap();
    let same = ingest.read(PARTITION, second, 10).await.unwrap();
    assert_eq!(same.pieces, batch.pieces);
}

#[tokio::test(flavor = "multi_thread")]
async fn living_persisters_know_each_other() {
    let house = House::new();
    let ingest = house.backend.ingest();
    let (one, other) = (PersisterId("one".into()), PersisterId("other".into()));
    let lease = Duration::from_secs(60);

    let alone = ingest.attend(&one, lease).await.unwrap();
    assert_eq!(alone, std::slice::from_ref(&one));
    let mut both = ingest.attend(&other, lease).await.unwrap();
    both.sort();
    assert_eq!(both, [one.clone(), other.clone()]);
    ingest.depart(&one).await.unwrap();
    // A lease that runs out at once: the clock of the server judges.
    ingest.attend(&one, Duration::ZERO).await.unwrap();
    while ingest.attend(&other, lease).await.unwrap().len() > 1 {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_never_rests_is_trimmed_all_the_same() {
    let house = House::new();
    let (listener, mut feed) = house.backend.attach();
    listener.subscribe(&room()).await.unwrap();
    for name in names(1..=100) {
        house.say(&name).await;
    }
    for _ in 0..3 {
        house.move_some(30).await;
    }
    assert_eq!(
        house.length(),
        12,
        "the tail of two, and what is not stored"
    );
    house.move_all().await;

    let mut told = Vec::new();
    while told.last() != Some(&100) {
        let heard = tokio::time::timeout(Duration::from_secs(10), feed.next()).await;
        if let (_, Heard::Stored { up_to, .. }) = heard.unwrap().unwrap() {
            told.push(up_to.id.get());
        }
    }
    assert_eq!(told, [30, 60, 90, 100]);
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_its_memory_nothing_is_appended_until_something_is_stored() {
    let server = redis::Redis::start();
    let limit = server.memory_used() + 2_000_000;
    let house = House::with(server, |options| options.memory_limit_bytes = Some(limit));
    let (sent, refused) = house.fill().await;
    assert!(sent > 10, "{sent} were taken before: {refused}");
    assert!(refused.to_string().contains("more memory"), "{refused}");

    assert_eq!(house.move_all().await, sent);
    house.say("again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_is_emptied_all_the_same() {
    let limit = "maxmemory 4mb";
    let house = House::with(redis::Redis::setup().config(limit).start(), |options| {
        options.memory_limit_bytes = Some(u64::MAX);
    });
    let (sent, refused) = house.fill().await;
    assert!(refused.to_string().contains("OOM"), "{refused}");

    assert_eq!(house.move_all().await, sent);
    house.say("again").await;
}
