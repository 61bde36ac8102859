//! One order, no gaps, no doubles.

use std::sync::Arc;

use parlance_core::{
    entry::Entry,
    ports::{Appended, Backend, Head, History, Log},
};
use parlance_protocol::{Anchor, MessageId, Position, UnixMicros};

use super::{Subject, append, check_chain, conversation, delete, draft, edit, id, message, run};

/// More than any adapter lets one sender name in a day.
const TOO_MANY: usize = 20_001;

pub async fn calls_on_one_handle_stand_in_their_order<S: Subject>() {
    let subject = S::fresh().await;
    let (log, _feed) = subject.backend().attach();
    let room = conversation("room");

    let calls: Vec<_> = (0..300_u64)
        .map(|n| {
            let event = match n % 3 {
                0 => message(&n.to_string()),
                1 => edit(1, &n.to_string()),
                _ => delete(1),
            };
            log.append(&room, draft("ann", Some(&n.to_string()), event))
        })
        .collect();
    let mut entries = Vec::new();
    // The answers are awaited from the last to the first: polling decides nothing.
    for call in calls.into_iter().rev() {
        entries.push(new(call.await));
    }
    entries.reverse();

    check_chain(&entries);
    let local_ids: Vec<_> = entries.iter().map(|e| e.local_id.clone()).collect();
    let called: Vec<_> = (0..300)
        .map(|n| draft("ann", Some(&format!("{n}")), delete(1)).local_id)
        .collect();
    assert_eq!(local_ids, called);
}

pub async fn handles_on_several_threads_share_one_gapless_order<S: Subject>()
where
    S::Backend: Sync,
{
    let subject = S::fresh().await;
    let room = conversation("room");

    let mut entries = on_threads(&subject, |log, thread| {
        let room = room.clone();
        async move {
            let mut appended: Vec<Entry> = Vec::new();
            for n in 0..100 {
                let event = if n % 4 == 3 {
                    edit(1, "x")
                } else {
                    message("m")
                };
                let local_id = format!("{thread}-{n}");
                let entry = append(&log, &room, draft("ann", Some(&local_id), event)).await;
                assert!(
                    appended
                        .last()
                        .is_none_or(|last| last.position < entry.position)
                );
                appended.push(entry);
            }
            appended
        }
    });

    entries.sort_by_key(|entry| entry.position);
    assert_eq!(entries.len(), 400);
    check_chain(&entries);
    let messages = entries
        .iter()
        .filter(|entry| entry.event.target().is_none());
    let n: Vec<_> = messages.map(|entry| entry.position.id.n()).collect();
    assert_eq!(n, (1..=300).collect::<Vec<_>>());
}

pub async fn edits_and_deletes_stand_after_the_newest_message<S: Subject>() {
    let subject = S::fresh().await;
    let (log, _feed) = subject.backend().attach();
    let room = conversation("room");

    let mut positions = Vec::new();
    for event in [
        message("1"),
        message("2"),
        edit(1, "x"),
        delete(2),
        message("3"),
        edit(3, "y"),
    ] {
        positions.push(
            append(&log, &room, draft("ann", None, event))
                .await
                .position
                .to_string(),
        );
    }

    assert_eq!(positions, ["1", "2", "2-1", "2-2", "3", "3-1"]);
}

pub async fn time_never_stands_still_or_goes_back<S: Subject>() {
    let subject = S::fresh().await;
    let (log, _feed) = subject.backend().attach();
    let room = conversation("room");

    let mut times = Vec::new();
    for at in [5_000, 5_000, 4_000, 9_000] {
        let mut draft = draft("ann", None, message("m"));
        draft.at = UnixMicros(at);
        times.push(append(&log, &room, draft).await.t.0);
    }

    assert_eq!(times, [5_000, 5_001, 5_002, 9_000]);
}

pub async fn a_repeated_local_id_is_the_same_event<S: Subject>() {
    let subject = S::fresh().await;
    let (log, _feed) = subject.backend().attach();
    let room = conversation("room");
    for (n, event) in [message("a"), edit(1, "b"), delete(1)]
        .into_iter()
        .enumerate()
    {
        let draft = draft("ann", Some(&n.to_string()), event);
        let first = append(&log, &room, draft.clone()).await;
        let mut retry = draft.clone();
        retry.retry = true;
        retry.at = UnixMicros(99_000_000);

        let again = log.append(&room, draft).await;
        let retried = log.append(&room, retry).await;

        assert_eq!(again, Ok(Appended::Duplicate(first.position)));
        assert_eq!(retried, Ok(Appended::Duplicate(first.position)));
    }
    let head = log.head(&room).await.expect("a head");
    assert_eq!(head.lineage.head().to_string(), "1-2");
}

pub async fn a_local_id_of_another_content_or_kind_is_a_conflict<S: Subject>() {
    let subject = S::fresh().await;
    let (log, _feed) = subject.backend().attach();
    let room = conversation("room");
    append(&log, &room, draft("ann", Some("first"), message("a"))).await;
    append(&log, &room, draft("ann", Some("second"), edit(1, "b"))).await;

    for (name, event) in [
        ("first", message("b")),
        ("first", edit(1, "a")),
        ("first", delete(1)),
        ("second", edit(1, "c")),
        ("second", edit(2, "b")),
        ("second", message("b")),
        ("second", delete(1)),
    ] {
        let answer = log
            .append(&room, draft("ann", Some(name), event.clone()))
            .await;
        assert_eq!(answer, Ok(Appended::Conflict), "{name} as {event:?}");
    }
}

pub async fn a_local_id_belongs_to_its_sender_and_conversation<S: Subject>() {
    let subject = S::fresh().await;
    let (log, _feed) = subject.backend().attach();
    let (room, other) = (conversation("room"), conversation("room2"));

    append(&log, &room, draft("ann", Some("1"), message("a"))).await;
    append(&log, &room, draft("bob", Some("1"), message("b"))).await;
    append(&log, &other, draft("ann", Some("1"), message("c"))).await;
}

pub async fn without_a_local_id_nothing_is_a_repeat<S: Subject>() {
    let subject = S::fresh().await;
    let (log, _feed) = subject.backend().attach();
    let room = conversation("room");

    let first = append(&log, &room, draft("ann", None, message("a"))).await;
    let second = append(&log, &room, draft("ann", None, message("a"))).await;

    assert!(first.position < second.position);
}

pub async fn a_thousand_racing_retries_give_one_message<S: Subject>()
where
    S::Backend: Sync,
{
    let subject = S::fresh().await;
    let room = conversation("room");

    let answers = on_threads(&subject, |log, _| {
        let room = room.clone();
        async move {
            let calls: Vec<_> = (0..250)
                .map(|_| log.append(&room, draft("ann", Some("same"), message("a"))))
                .collect();
            let mut answers = Vec::new();
            for call in calls {
                answers.push(call.await.expect("the log should answer"));
            }
            answers
        }
    });

    let first = Position::of(id(1));
    let new = answers
        .iter()
        .filter(|a| matches!(a, Appended::New(e) if e.position == first));
    let repeats = answers.iter().filter(|a| **a == Appended::Duplicate(first));
    assert_eq!((new.count(), repeats.count()), (1, 999));
    let (log, _feed) = subject.backend().attach();
    let head = log.head(&room).await.expect("a head");
    assert_eq!(head.lineage.head(), first);
}

pub async fn the_head_is_the_last_entry<S: Subject>() {
    let subject = S::fresh().await;
    let (log, _feed) = subject.backend().attach();
    let room = conversation("room");
    let head = || async { log.head(&room).await.expect("a head") };

    let empty = head().await;
    assert_eq!(empty.lineage.head(), Position::ZERO);
    assert_eq!(empty.stored, Position::ZERO);

    for event in [
        message("a"),
        message("b"),
        edit(1, "c"),
        message("d"),
        delete(2),
    ] {
        let entry = append(&log, &room, draft("ann", None, event)).await;
        let Head {
            epoch,
            lineage,
            stored,
            stored_at_ack,
            ..
        } = head().await;
        assert_eq!(lineage.head(), entry.position);
        assert_eq!(lineage.ordinal(entry.position.id), entry.ordinal);
        assert!(lineage.contains(entry.position.id));
        assert!(stored <= entry.position);
        assert!(!stored_at_ack || stored == entry.position);
        let replay = log.replay(&room, entry.position, 1).await;
        let replay = replay.expect("a replay");
        assert_eq!((replay.epoch, replay.head), (epoch, entry.position));
        let page = log.page(&room, Anchor::Newest, 1).await.expect("a page");
        assert_eq!(page.epoch, epoch);
    }
}

pub async fn an_answer_that_nobody_waits_for_changes_nothing<S: Subject>() {
    let subject = S::fresh().await;
    let (log, _feed) = subject.backend().attach();
    let room = conversation("room");

    drop(log.append(&room, draft("ann", Some("1"), message("a"))));
    let second = append(&log, &room, draft("ann", Some("2"), message("b"))).await;

    assert_eq!(second.position, Position::of(id(2)));
}

pub async fn everything_is_there_after_opening_again<S: Subject>() {
    let mut subject = S::fresh().await;
    let room = conversation("room");
    let mut entries: Vec<Entry> = Vec::new();

    for round in 0..3 {
        let (log, feed) = subject.backend().attach();
        for n in 0..50 {
            let local_id = format!("{round}-{n}");
            let event = if n % 5 == 4 {
                edit(1, &local_id)
            } else {
                message(&local_id)
            };
            entries.push(append(&log, &room, draft("ann", Some(&local_id), event)).await);
        }
        drop((log, feed));
        subject = subject.reopened().await;
    }

    check_chain(&entries);
    let (log, _feed) = subject.backend().attach();
    let mut replayed: Vec<Entry> = Vec::new();
    loop {
        let after = replayed.last().map_or(Position::ZERO, |last| last.position);
        let replay = log.replay(&room, after, 1_000).await.expect("a replay");
        replayed.extend(replay.events.into_iter().map(|event| event.entry));
        if replay.remaining == 0 {
            break;
        }
    }
    assert_eq!(replayed, entries);
    for entry in entries {
        let local_id = entry.local_id.as_ref().map(|name| name.as_str().to_owned());
        let repeat = draft("ann", local_id.as_deref(), entry.event);
        let answer = log.append(&room, repeat).await;
        assert_eq!(answer, Ok(Appended::Duplicate(entry.position)));
    }
}

pub async fn a_sender_with_too_many_local_ids_is_refused<S: Subject>() {
    let subject = S::fresh().await;
    let (log, _feed) = subject.backend().attach();
    let room = conversation("room");

    let mut refused = 0;
    let names: Vec<_> = (0..TOO_MANY).collect();
    for names in names.chunks(1_000) {
        let calls: Vec<_> = names
            .iter()
            .map(|n| log.append(&room, draft("ann", Some(&n.to_string()), message("m"))))
            .collect();
        for call in calls {
            refused += usize::from(call.await == Ok(Appended::TooMany));
        }
    }

    assert_eq!(refused, 1);
    let first = log
        .append(&room, draft("ann", Some("0"), message("m")))
        .await;
    assert_eq!(first, Ok(Appended::Duplicate(Position::of(id(1)))));
    append(&log, &room, draft("bob", Some("1"), message("m"))).await;
    append(&log, &room, draft("ann", None, message("m"))).await;
    let mut next_day = draft("ann", Some("next day"), message("m"));
    next_day.at = UnixMicros(1_000_000 + 25 * 60 * 60 * 1_000_000);
    let last = append(&log, &room, next_day).await;
    assert_eq!(
        last.position.id,
        MessageId::new(20_003).expect("a small id")
    );
}

pub async fn local_ids_of_the_day_before_are_known_when_many_begin_the_next<S: Subject>() {
    let subject = S::fresh().await;
    let (log, _feed) = subject.backend().attach();
    let room = conversation("room");
    let of_day = |local_id: &str, day: u64| {
        let mut draft = draft("ann", Some(local_id), message(local_id));
        draft.at = UnixMicros(1_000_000 + day * 25 * 60 * 60 * 1_000_000);
        draft
    };
    let before = append(&log, &room, of_day("before", 0)).await;

    // What comes while an append is under way goes on together.
    let mut calls = vec![log.append(&room, draft("bob", Some("busy"), message("m")))];
    let names: Vec<_> = (0..20).map(|n| n.to_string()).collect();
    calls.extend(names.iter().map(|n| log.append(&room, of_day(n, 1))));
    let mut entries = Vec::new();
    for call in calls {
        entries.push(new(call.await));
    }

    let again = log.append(&room, of_day("before", 1)).await;
    assert_eq!(again, Ok(Appended::Duplicate(before.position)));
    for (name, entry) in names.iter().zip(&entries[1..]) {
        let again = log.append(&room, of_day(name, 1)).await;
        assert_eq!(again, Ok(Appended::Duplicate(entry.position)));
    }
}

/// Runs `work` on four threads at once, each with a handle and a runtime of its own.
fn on_threads<S, T, F, W>(subject: &S, work: W) -> Vec<T>
where
    S: Subject,
    T: Send,
    F: Future<Output = Vec<T>>,
    W: Fn(<S::Backend as Backend>::Handle, usize) -> F + Sync,
{
    let backend = subject.backend();
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                scope.spawn(move || {
                    let mut results = Vec::new();
                    run(async {
                        let (log, _feed) = backend.attach();
                        results = work(log, thread).await;
                    });
                    results
                })
            })
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined
            .flat_map(|results| results.expect("no thread should panic"))
            .collect()
    })
}

fn new(answer: Result<Appended, parlance_core::ports::Unavailable>) -> Entry {
    match answer {
        Ok(Appended::New(entry)) => Arc::unwrap_or_clone(entry),
        other => panic!("expected a new entry, got {other:?}"),
    }
}
