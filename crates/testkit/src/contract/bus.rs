//! What a shard hears of the others, and what it is told when it could not hear.

use parlance_core::{
    entry::Entry,
    ports::{Backend, Bus, Ephemeral, Feed, Heard, History},
};
use parlance_protocol::Position;

use super::{
    Subject, append, check_chain, conversation, draft, edit, heard, heard_until_marker, marker,
    message, user,
};

/// More than any feed holds.
const FLOOD: usize = 200_000;

pub async fn others_hear_what_was_appended_in_order<S: Subject>() {
    let subject = S::fresh().await;
    let (log, _own) = subject.backend().attach();
    let (other, mut feed) = subject.backend().attach();
    let room = conversation("room");
    other.subscribe(&room).await.expect("a subscription");

    let mut appended = Vec::new();
    for n in 0..20 {
        let event = if n % 3 == 2 {
            edit(1, "x")
        } else {
            message("m")
        };
        appended.push(append(&log, &room, draft("ann", None, event)).await);
    }
    log.publish(&room, marker());

    let mut entries: Vec<Entry> = heard_until_marker(&mut feed)
        .await
        .into_iter()
        .map(|piece| {
            let Heard::Entry(entry) = piece else {
                panic!("expected an entry, got {piece:?}");
            };
            (*entry).clone()
        })
        .collect();
    entries.dedup();
    check_chain(&entries);
    assert_eq!(entries, appended);
}

pub async fn who_did_not_subscribe_or_unsubscribed_hears_nothing<S: Subject>() {
    let subject = S::fresh().await;
    let (log, _own) = subject.backend().attach();
    let (other, mut feed) = subject.backend().attach();
    let (room, left, marked) = (
        conversation("room"),
        conversation("left"),
        conversation("marked"),
    );
    other.subscribe(&left).await.expect("a subscription");
    other.subscribe(&marked).await.expect("a subscription");
    other.unsubscribe(&left);

    append(&log, &room, draft("ann", None, message("a"))).await;
    append(&log, &left, draft("ann", None, message("a"))).await;
    log.publish(&left, marker());
    log.publish(&marked, marker());

    let (heard_of, _) = heard(&mut feed).await;
    assert_eq!(heard_of, marked);
    assert_eq!(feed.try_next(), None);
}

pub async fn ephemerals_are_heard_by_all_and_the_own_feed<S: Subject>() {
    let subject = S::fresh().await;
    let (a, mut feed_of_a) = subject.backend().attach();
    let (b, mut feed_of_b) = subject.backend().attach();
    let room = conversation("room");
    a.subscribe(&room).await.expect("a subscription");
    b.subscribe(&room).await.expect("a subscription");
    let typing = Ephemeral::Typing {
        user: user("ann"),
        username: "Ann".into(),
        is_typing: true,
    };

    a.publish(&room, typing.clone());

    for feed in [&mut feed_of_a, &mut feed_of_b] {
        let piece = heard(feed).await;
        assert_eq!(piece, (room.clone(), Heard::Ephemeral(typing.clone())));
    }
}

pub async fn what_a_full_feed_lost_it_is_told_as_a_doubt<S: Subject>() {
    let subject = S::fresh().await;
    let (a, _own) = subject.backend().attach();
    let (b, mut feed) = subject.backend().attach();
    let (room, quiet) = (conversation("room"), conversation("quiet"));
    b.subscribe(&room).await.expect("a subscription");
    b.subscribe(&quiet).await.expect("a subscription");

    for _ in 0..FLOOD {
        a.publish(&room, marker());
    }

    let (mut pieces, mut doubts) = (0, 0);
    while doubts == 0 && pieces < FLOOD {
        match heard(&mut feed).await {
            (of, Heard::Doubt) => {
                assert_eq!(of, room, "a conversation that lost nothing");
                doubts += 1;
            }
            (_, Heard::Ephemeral(_)) => pieces += 1,
            other => panic!("expected a marker or a doubt, got {other:?}"),
        }
    }
    while feed.try_next().is_some() {}
    // What was under way of the flood may still come, or crowd this one out, and is told then too.
    a.publish(&quiet, marker());
    loop {
        match heard(&mut feed).await {
            (of, _) if of == room => {}
            (_, Heard::Doubt) => a.publish(&quiet, marker()),
            (_, heard) => {
                assert_eq!(heard, Heard::Ephemeral(marker()), "the feed should go on");
                return;
            }
        }
    }
}

pub async fn a_doubt_comes_after_what_it_speaks_of_can_be_read<S: Subject>() {
    let subject = S::fresh().await;
    let (a, _own) = subject.backend().attach();
    let (b, mut feed) = subject.backend().attach();
    let room = conversation("room");
    b.subscribe(&room).await.expect("a subscription");

    for _ in 0..FLOOD {
        a.publish(&room, marker());
    }
    let entry = append(&a, &room, draft("ann", None, message("lost?"))).await;

    // Whatever was dropped: the first doubt or the entry itself leads to the entry.
    loop {
        match heard(&mut feed).await.1 {
            Heard::Doubt => {
                let replay = b.replay(&room, Position::ZERO, 10).await.expect("a replay");
                assert_eq!(replay.events[0].entry, entry);
                return;
            }
            Heard::Entry(told) => {
                assert_eq!(*told, entry);
                return;
            }
            Heard::Ephemeral(_) | Heard::Stored { .. } => {}
        }
    }
}
