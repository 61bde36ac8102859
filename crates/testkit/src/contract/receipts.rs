//! Cursors only move up, everybody hears where to, and they last.

use parlance_core::ports::{Backend, Bus, Cursor, Ephemeral, Heard, Receipts};
use parlance_protocol::UnixMicros;

use super::{
    Subject, append, conversation, draft, heard, heard_until_marker, id, marker, message, user,
};

fn cursor(delivered: u64, read: u64) -> Cursor {
    Cursor {
        delivered: id(delivered),
        read: id(read),
    }
}

pub async fn cursors_only_move_up<S: Subject>() {
    let subject = S::fresh().await;
    let (a, mut feed) = subject.backend().attach();
    let (b, _feed_of_b) = subject.backend().attach();
    let (room, ann) = (conversation("room"), user("ann"));
    a.subscribe(&room).await.expect("a subscription");
    assert_eq!(a.cursor(&room, &ann).await, Ok(Cursor::default()));

    for (handle, given, expected) in [
        (&a, cursor(5, 0), cursor(5, 0)),
        (&b, cursor(3, 2), cursor(5, 2)),
        (&a, cursor(0, 9), cursor(9, 9)),
        (&b, cursor(12, 1), cursor(12, 9)),
    ] {
        handle.advance(&room, &ann, given, UnixMicros(1), [].into());
        heard(&mut feed).await;
        assert_eq!(
            a.cursor(&room, &ann).await,
            Ok(expected),
            "{given:?} by one"
        );
        assert_eq!(
            b.cursor(&room, &ann).await,
            Ok(expected),
            "{given:?} by the other"
        );
    }
    assert_eq!(a.cursor(&room, &user("bob")).await, Ok(Cursor::default()));
    assert_eq!(
        a.cursor(&conversation("other"), &ann).await,
        Ok(Cursor::default())
    );
}

pub async fn an_advance_is_heard_with_its_result<S: Subject>() {
    let subject = S::fresh().await;
    let (a, mut feed_of_a) = subject.backend().attach();
    let (b, mut feed_of_b) = subject.backend().attach();
    let (room, ann) = (conversation("room"), user("ann"));
    a.subscribe(&room).await.expect("a subscription");
    b.subscribe(&room).await.expect("a subscription");

    a.advance(&room, &ann, cursor(7, 0), UnixMicros(1), [].into());
    a.advance(
        &room,
        &ann,
        cursor(0, 4),
        UnixMicros(2),
        [id(3), id(4)].into(),
    );
    a.publish(&room, marker());

    let moved = |cursor, at, listed: &[_]| {
        Heard::Ephemeral(Ephemeral::Cursor {
            user: ann.clone(),
            cursor,
            at: UnixMicros(at),
            listed: listed.into(),
        })
    };
    let told = [
        moved(cursor(7, 0), 1, &[]),
        moved(cursor(7, 4), 2, &[id(3), id(4)]),
    ];
    assert_eq!(heard_until_marker(&mut feed_of_a).await, told);
    assert_eq!(heard_until_marker(&mut feed_of_b).await, told);
}

pub async fn an_advance_that_moves_nothing_is_not_heard<S: Subject>() {
    let subject = S::fresh().await;
    let (a, mut feed) = subject.backend().attach();
    let (room, ann) = (conversation("room"), user("ann"));
    a.subscribe(&room).await.expect("a subscription");

    for given in [cursor(0, 5), cursor(5, 5), cursor(4, 3), cursor(0, 0)] {
        a.advance(&room, &ann, given, UnixMicros(1), [].into());
    }
    a.publish(&room, marker());

    assert_eq!(heard_until_marker(&mut feed).await.len(), 1);
}

pub async fn the_highest_cursors_come_first<S: Subject>() {
    let subject = S::fresh().await;
    let (a, mut feed) = subject.backend().attach();
    let room = conversation("room");
    a.subscribe(&room).await.expect("a subscription");
    for n in 1..=20 {
        let reader = user(&format!("reader-{n:02}"));
        a.advance(&room, &reader, cursor(0, n), UnixMicros(1), [].into());
    }
    for (name, delivered) in [("far", 50), ("farther", 60)] {
        a.advance(
            &room,
            &user(name),
            cursor(delivered, 0),
            UnixMicros(1),
            [].into(),
        );
    }
    a.publish(&room, marker());
    heard_until_marker(&mut feed).await;

    let some = a.cursors(&room, 6).await.expect("cursors");
    let all = a.cursors(&room, 100).await.expect("cursors");

    assert_eq!(some.len(), 6);
    assert!(some.is_sorted_by(|(_, a), (_, b)| a.read >= b.read));
    assert_eq!(some[0], (user("reader-20"), cursor(20, 20)));
    assert_eq!(some[1], (user("reader-19"), cursor(19, 19)));
    assert!(some.contains(&(user("far"), cursor(50, 0))));
    assert!(some.contains(&(user("farther"), cursor(60, 0))));
    assert_eq!(all.len(), 22);
}

pub async fn all_readings_agree_while_cursors_are_written<S: Subject>() {
    let subject = S::fresh().await;
    let (a, mut feed) = subject.backend().attach();
    let (room, ann) = (conversation("room"), user("ann"));
    a.subscribe(&room).await.expect("a subscription");

    for n in 1..=20 {
        a.advance(&room, &ann, cursor(n + 1, n), UnixMicros(1), [].into());
        heard(&mut feed).await;
        assert_eq!(a.cursor(&room, &ann).await, Ok(cursor(n + 1, n)));
        let all = a.cursors(&room, 10).await;
        assert_eq!(all, Ok(vec![(ann.clone(), cursor(n + 1, n))]));
        // Whatever an adapter writes along with an append, or after it, is written now and then.
        append(&a, &room, draft("bob", None, message("m"))).await;
        assert_eq!(a.cursor(&room, &ann).await, Ok(cursor(n + 1, n)));
    }
}

pub async fn cursors_are_there_after_opening_again<S: Subject>() {
    let subject = S::fresh().await;
    let (room, ann) = (conversation("room"), user("ann"));
    let (a, mut feed) = subject.backend().attach();
    a.subscribe(&room).await.expect("a subscription");
    a.advance(&room, &ann, cursor(9, 7), UnixMicros(1), [].into());
    heard(&mut feed).await;
    drop((a, feed));

    let subject = subject.reopened().await;

    let (a, _feed) = subject.backend().attach();
    assert_eq!(a.cursor(&room, &ann).await, Ok(cursor(9, 7)));
    assert_eq!(a.cursors(&room, 10).await, Ok(vec![(ann, cursor(9, 7))]));
}
