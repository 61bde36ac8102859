//! What a room begins with is what the single readings give, and nothing falls between it and the feed.

use parlance_core::ports::{
    Backend, Bus, Cursor, Ephemeral, Feed, Heard, Log, Opening, Presence, Receipts,
};
use parlance_protocol::{ConversationId, UnixMicros, UserId};

use super::{
    Subject, append, conversation, draft, heard, heard_until_marker, id, marker, message, user,
};

fn sorted<T>(mut all: Vec<(UserId, T)>) -> Vec<(UserId, T)> {
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    all
}

/// Opens, and compares with the single readings.
async fn open<H>(handle: &H, room: &ConversationId, cursors: usize)
where
    H: Log + Presence + Receipts + Opening,
{
    let opened = handle.open(room, cursors).await.expect("an opening");
    let head = handle.head(room).await.expect("a head");
    assert_eq!(opened.head.lineage.head(), head.lineage.head());
    assert_eq!(opened.head.epoch, head.epoch);
    assert_eq!(opened.head.stored, head.stored);
    let present = handle.present(room).await.expect("who is present");
    let alone = |users: Vec<UserId>| sorted(users.into_iter().map(|user| (user, ())).collect());
    assert_eq!(alone(opened.present), alone(present));
    let named = handle.cursors(room, cursors).await.expect("cursors");
    assert_eq!(sorted(opened.cursors), sorted(named));
}

pub async fn a_room_begins_with_what_single_readings_give<S: Subject>() {
    let subject = S::fresh().await;
    let (a, mut feed) = subject.backend().attach();
    let (b, _feed_of_b) = subject.backend().attach();
    let (room, unused) = (conversation("room"), conversation("unused"));
    a.subscribe(&room).await.expect("a subscription");
    open(&b, &unused, 50).await;

    let last = append(&a, &room, draft("ann", None, message("one"))).await;
    Presence::join(&b, &room, &user("ann"), UnixMicros(1));
    Presence::join(&a, &room, &user("bob"), UnixMicros(1));
    for n in 1..=4 {
        let cursor = Cursor {
            delivered: id(n),
            read: id(n / 2),
        };
        let reader = user(&format!("reader-{n}"));
        a.advance(&room, &reader, cursor, UnixMicros(1), [].into());
    }
    a.publish(&room, marker());
    heard_until_marker(&mut feed).await;

    open(&b, &room, 50).await;
    open(&b, &room, 3).await;
    open(&b, &unused, 50).await;
    let opened = b.open(&room, 50).await.expect("an opening");
    assert_eq!(opened.head.lineage.head(), last.position);
    assert_eq!((opened.present.len(), opened.cursors.len()), (2, 4));
}

pub async fn many_rooms_that_open_at_once_get_each_their_own<S: Subject>() {
    let subject = S::fresh().await;
    let (a, _feed_of_a) = subject.backend().attach();
    let (b, mut feed) = subject.backend().attach();
    let rooms: Vec<_> = (0..70).map(|n| conversation(&format!("r{n}"))).collect();
    let mut heads = Vec::new();
    for (n, room) in rooms.iter().enumerate() {
        let mut head = None;
        for _ in 0..n % 3 {
            head = Some(
                append(&a, room, draft("ann", None, message("one")))
                    .await
                    .position,
            );
        }
        heads.push(head);
        Presence::join(&a, room, &user(&format!("u{n}")), UnixMicros(1));
    }

    let openings: Vec<_> = rooms.iter().map(|room| b.open(room, 50)).collect();
    for ((n, opening), head) in openings.into_iter().enumerate().zip(heads) {
        let opened = opening.await.expect("an opening");
        if let Some(head) = head {
            assert_eq!(opened.head.lineage.head(), head, "of room {n}");
        }
        assert_eq!(opened.present, [user(&format!("u{n}"))], "of room {n}");
    }
    // All of them are heard from now on. Marks of rooms that are new may still come.
    for room in &rooms {
        a.publish(room, marker());
    }
    let mut missing = rooms.len();
    while missing > 0 {
        let (_, piece) = heard(&mut feed).await;
        missing -= usize::from(piece == Heard::Ephemeral(marker()));
    }
    assert!(feed.try_next().is_none());
}

pub async fn who_comes_while_a_room_opens_is_read_or_heard<S: Subject>() {
    let subject = S::fresh().await;
    let (a, _feed_of_a) = subject.backend().attach();
    let (b, mut feed) = subject.backend().attach();
    let room = conversation("room");
    let opening = b.open(&room, 50);
    Presence::join(&a, &room, &user("ann"), UnixMicros(1));
    let opened = opening.await.expect("an opening");
    a.present(&room).await.expect("who is present");
    a.publish(&room, marker());
    let told = heard_until_marker(&mut feed).await;
    let is_ann = |piece: &Heard| matches!(piece, Heard::Ephemeral(Ephemeral::Online { user: who, .. }) if *who == user("ann"));
    assert!(opened.present.contains(&user("ann")) || told.iter().any(is_ann));
}
