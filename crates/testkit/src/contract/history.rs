//! Pages, replays and look-ups agree with a plain list of what was appended.

use parlance_core::ports::{Backend, Found, History, Log, Page, Replay};
use parlance_protocol::{Anchor, Position};

use super::{
    Dice, Subject, append, check_chain, conversation, delete, draft, edit, id, message,
    model::Model,
};

const SENDERS: [&str; 3] = ["ann", "bob", "cyd"];

pub async fn pages_are_what_a_list_of_all_messages_gives<S: Subject>() {
    let subject = S::fresh().await;
    let (handle, _feed) = subject.backend().attach();
    for seed in 0..3 {
        let room = conversation(&format!("room-{seed}"));
        let model = fill(&handle, &room, seed, 120).await;
        check_pages(&handle, &room, &model).await;
    }
}

pub async fn replays_are_what_a_list_of_all_events_gives<S: Subject>() {
    let subject = S::fresh().await;
    let (handle, _feed) = subject.backend().attach();
    for seed in 10..13 {
        let room = conversation(&format!("room-{seed}"));
        let model = fill(&handle, &room, seed, 120).await;
        check_replays(&handle, &room, &model).await;
    }
}

pub async fn every_position_is_found_and_no_other<S: Subject>() {
    let subject = S::fresh().await;
    let (handle, _feed) = subject.backend().attach();
    let room = conversation("room");
    let model = fill(&handle, &room, 20, 120).await;
    let rows = model.rows();

    for n in 0..=rows.len() as u64 + 1 {
        for k in 0..40 {
            let position = Position { id: id(n), k };
            let entry = model
                .entries
                .iter()
                .find(|entry| entry.position == position);
            let expected = entry.map(|entry| {
                let about = entry.event.target().unwrap_or(position.id);
                let row = rows.iter().find(|row| row.id == about);
                Found {
                    entry: entry.clone(),
                    row: row.expect("edits speak of messages").clone(),
                }
            });
            let found = handle.at(&room, position).await;
            assert_eq!(found, Ok(expected), "at {position}");
        }
    }
}

pub async fn history_reads_the_same_after_opening_again<S: Subject>() {
    let subject = S::fresh().await;
    let room = conversation("room");
    let (handle, feed) = subject.backend().attach();
    let model = fill(&handle, &room, 30, 120).await;
    drop((handle, feed));

    let subject = subject.reopened().await;

    let (handle, _feed) = subject.backend().attach();
    check_pages(&handle, &room, &model).await;
    check_replays(&handle, &room, &model).await;
}

pub async fn an_unknown_conversation_is_empty<S: Subject>() {
    let subject = S::fresh().await;
    let (handle, _feed) = subject.backend().attach();
    let room = conversation("nobody-was-here");

    for anchor in [
        Anchor::Newest,
        Anchor::Before(id(5)),
        Anchor::After(id(0)),
        Anchor::Around(id(3)),
    ] {
        assert_eq!(
            handle.page(&room, anchor, 10).await,
            Ok(Page::default()),
            "{anchor:?}"
        );
    }
    assert_eq!(
        handle.replay(&room, Position::ZERO, 10).await,
        Ok(Replay::default())
    );
    assert_eq!(handle.at(&room, Position::of(id(1))).await, Ok(None));
}

pub async fn conversations_with_names_that_begin_alike_are_apart<S: Subject>() {
    let subject = S::fresh().await;
    let (handle, _feed) = subject.backend().attach();
    let names = ["r", "r-", "r-1", "r.", "r0", "r~", "rr", "R"];
    for name in names {
        for n in 0..3 {
            let content = format!("{name} {n}");
            append(
                &handle,
                &conversation(name),
                draft("ann", None, message(&content)),
            )
            .await;
        }
    }

    for name in names {
        let room = conversation(name);
        let page = handle
            .page(&room, Anchor::Newest, 100)
            .await
            .expect("a page");
        let contents: Vec<_> = page
            .rows
            .iter()
            .map(|row| row.content.to_string())
            .collect();
        assert_eq!(contents, [2, 1, 0].map(|n| format!("{name} {n}")));
        assert!(!page.has_more);
    }
}

/// Appends `count` random events: mostly messages, edits and deletes of old and new ones, some
/// bursts of edits.
async fn fill<H: Log>(
    handle: &H,
    room: &parlance_protocol::ConversationId,
    seed: u64,
    count: u64,
) -> Model {
    let mut dice = Dice(seed);
    let mut model = Model::default();
    let mut newest = 0;
    for n in 0..count {
        let sender = SENDERS[dice.roll(3) as usize];
        let local_id = format!("{n}");
        let target = |dice: &mut Dice| 1 + dice.roll(newest.max(1));
        let event = match dice.roll(10) {
            _ if newest == 0 => message("the first"),
            0..6 => message(&format!("message {n}")),
            6..9 => edit(target(&mut dice), &format!("edit {n}")),
            _ => delete(target(&mut dice)),
        };
        newest += u64::from(event.target().is_none());
        let local_id = (dice.roll(2) == 0).then_some(&*local_id);
        let entry = append(handle, room, draft(sender, local_id, event)).await;
        model.entries.push(entry);
    }
    check_chain(&model.entries);
    model
}

async fn check_pages<H: History>(
    handle: &H,
    room: &parlance_protocol::ConversationId,
    model: &Model,
) {
    let count = model.rows().len() as u64;
    for limit in [1, 2, 3, 7, 100] {
        let mut anchors = vec![Anchor::Newest];
        for n in 0..=count + 2 {
            anchors.extend([
                Anchor::Before(id(n)),
                Anchor::After(id(n)),
                Anchor::Around(id(n)),
            ]);
        }
        for anchor in anchors {
            let page = handle.page(room, anchor, limit).await;
            assert_eq!(
                page,
                Ok(model.page(anchor, limit)),
                "{anchor:?}, limit {limit}"
            );
        }
    }
    for author in SENDERS.map(super::user) {
        for (above, up_to, limit) in [(0, count, 100), (0, count, 3), (5, 20, 5), (20, 20, 5)] {
            let found = handle
                .authored(room, &author, id(above), id(up_to), limit)
                .await;
            let expected = model.authored(&author, id(above), id(up_to), limit);
            assert_eq!(
                found,
                Ok(expected),
                "of {author}, {above} to {up_to}, {limit}"
            );
        }
    }
}

async fn check_replays<H: History>(
    handle: &H,
    room: &parlance_protocol::ConversationId,
    model: &Model,
) {
    let mut places = vec![Position::ZERO, Position { id: id(3), k: 99 }];
    places.extend(model.entries.iter().map(|entry| entry.position));
    for after in places {
        for limit in [1, 2, 10, 1_000] {
            let replay = handle.replay(room, after, limit).await;
            let replay = replay.expect("nothing is in the way");
            // It may end where the next event is kept elsewhere.
            let expected = model.replay(after, limit);
            let length = match expected.events.len() {
                0 => 0,
                most => replay.events.len().clamp(1, most),
            };
            let expected = model.replay(after, length);
            assert_eq!(replay, expected, "after {after}, limit {limit}");
        }
    }
}
