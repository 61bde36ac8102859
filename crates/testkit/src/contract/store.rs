//! What every store promises: the ports `Store` and `Archive`, as tests over a [`StoreSubject`].
//!
//! A store gets one test per promise by one line in its own tests:
//!
//! ```text
//! parlance_testkit::store_contract_tests!(MySubject);
//! ```
//!
//! Stores are slow to set up, so subjects may share one: each test has conversations and partitions
//! of its own.

use std::{collections::BTreeSet, future::Future};

use futures_util::future::join_all;
use parlance_core::{
    entry::{Entry, Event},
    ports::Cursor,
    store::{
        Archive, ContentDigest, EpochRow, NameDigest, Named, Partition, RANGE_MAX, Store,
        StoredEvent,
    },
};
use parlance_protocol::{ConversationId, LocalId, MessageId, Position, UnixMicros, UserId};

use super::user;

/// A store under test.
pub trait StoreSubject: Sized {
    /// The store.
    type Store: Store + Archive;

    /// One that holds nothing of the conversations that [`StoreSubject::prefix`] begins, and of no
    /// partition.
    fn fresh() -> impl Future<Output = Self>;

    /// The store.
    fn store(&self) -> &Self::Store;

    /// What the names of its conversations begin with.
    fn prefix(&self) -> &str {
        ""
    }
}

/// One `#[test]` per promise for a [`StoreSubject`].
#[macro_export]
macro_rules! store_contract_tests {
    ($subject:ty) => {
        $crate::store_contract_tests! { $subject:
            a_partitions_first_epoch_is_zero_and_each_next_one_more,
            partitions_count_their_epochs_apart,
            an_epoch_is_above_all_that_the_log_has_seen,
            a_hundred_who_open_an_epoch_at_once_get_a_hundred_numbers,
            nothing_is_known_of_a_conversation_that_was_never_written,
            events_are_read_back_exactly,
            contents_of_all_of_unicode_are_kept,
            the_longest_ids_and_the_highest_numbers_are_kept,
            conversations_with_names_that_begin_alike_are_apart_in_the_store,
            messages_come_with_their_revisions_the_oldest_first,
            a_message_has_all_of_very_many_revisions,
            an_edit_that_was_written_before_its_message_is_its_revision,
            messages_are_those_of_the_range_and_no_others,
            events_are_those_of_the_range_in_order,
            pages_of_events_put_together_are_all_events,
            ranges_cross_the_borders_of_buckets,
            a_change_of_a_message_in_another_bucket_stands_in_both_places,
            epochs_of_a_conversation_are_apart,
            what_is_not_stored_is_left_out,
            what_is_written_twice_is_there_once,
            a_late_row_of_a_lost_epoch_overwrites_nothing,
            a_placeholder_keeps_the_place_of_a_message,
            a_placeholder_keeps_the_place_of_a_change_without_effect,
            the_event_itself_takes_its_placeholders_place,
            a_placeholder_never_takes_the_place_of_its_event,
            heads_are_read_back_the_oldest_epoch_first,
            an_older_head_never_takes_the_place_of_a_newer_one,
            where_the_epoch_before_ended_stays_as_it_was_written,
            every_event_of_a_name_is_found_in_any_epoch,
            a_name_belongs_to_its_sender_and_conversation,
            cursors_merge_upwards_each_by_each,
            cursors_of_many_users_are_all_found,
        }
    };
    ($subject:ty: $($promise:ident,)*) => {
        $(
            #[test]
            fn $promise() {
                $crate::contract::run($crate::contract::store::$promise::<$subject>());
            }
        )*
    };
}

const ANSWERS: &str = "the store should answer";
const TAKES: &str = "the store should take it";

/// A moment of which clocks tell today.
const BEGIN_MICROS: u64 = 1_700_000_000_000_000;

/// Makes the events of a conversation as a log would.
#[derive(Debug, Clone)]
struct Chain {
    last: Position,
    t: u64,
    ordinal: u64,
    count: u64,
    /// Everything so far, in order.
    all: Vec<StoredEvent>,
}

impl Chain {
    /// The first message will be the `n`-th of `epoch`.
    fn before(epoch: u32, n: u64) -> Self {
        let last = MessageId::of_epoch(epoch, n - 1).expect("the tests' ids exist");
        Self {
            last: Position::of(last),
            t: BEGIN_MICROS + u64::from(epoch) * 1_000_000_000 + n,
            ordinal: n - 1,
            count: n - 1,
            all: Vec::new(),
        }
    }

    fn add(&mut self, position: Position, event: Event) -> StoredEvent {
        self.t += 1_000;
        self.count += 1;
        self.ordinal += u64::from(event.target().is_none());
        let local_id = LocalId::new(&format!("local {}", self.count));
        let event = StoredEvent {
            entry: Entry {
                position,
                prev: self.last,
                t: UnixMicros(self.t),
                ordinal: self.ordinal,
                sender: user(if self.count.is_multiple_of(3) {
                    "ben"
                } else {
                    "ann"
                }),
                local_id: local_id.ok().filter(|_| self.count.is_multiple_of(2)),
                event,
                trace: None,
            },
            count: self.count,
            revisions: Vec::new(),
        };
        self.last = position;
        self.all.push(event.clone());
        event
    }

    fn message(&mut self, content: &str) -> StoredEvent {
        let id = MessageId::new(self.last.id.get() + 1).expect("the tests' ids exist");
        let content = content.into();
        self.add(Position::of(id), Event::Message { content })
    }

    fn messages(&mut self, how_many: u64) {
        for n in 0..how_many {
            self.message(&format!("message {n}"));
        }
    }

    fn behind(&self) -> Position {
        Position {
            k: self.last.k + 1,
            ..self.last
        }
    }

    fn edit(&mut self, message: &StoredEvent, content: &str) -> StoredEvent {
        let message_id = message.entry.position.id;
        let content = content.into();
        let event = Event::Edit {
            message_id,
            content,
        };
        self.add(self.behind(), event)
    }

    fn delete(&mut self, message: &StoredEvent) -> StoredEvent {
        let message_id = message.entry.position.id;
        self.add(self.behind(), Event::Delete { message_id })
    }

    /// All events as they are read: messages with their revisions.
    fn as_read(&self) -> Vec<StoredEvent> {
        let mut all = self.all.clone();
        for event in all.iter_mut().filter(|event| is_message(event)) {
            let id = event.entry.position.id;
            let changes = self.all.iter().map(|event| &event.entry);
            let own = changes.filter(|entry| entry.event.target() == Some(id));
            event.revisions = own.cloned().collect();
        }
        all
    }

    fn messages_as_read(&self) -> Vec<StoredEvent> {
        let mut all = self.as_read();
        all.retain(is_message);
        all
    }
}

fn is_message(event: &StoredEvent) -> bool {
    event.entry.event.target().is_none()
}

fn conversation<S: StoreSubject>(subject: &S, name: &str) -> ConversationId {
    super::conversation(&format!("{}{name}", subject.prefix()))
}

fn at(epoch: u32, n: u64) -> MessageId {
    MessageId::of_epoch(epoch, n).expect("the tests' ids exist")
}

fn place(epoch: u32, n: u64, k: u32) -> Position {
    let id = at(epoch, n);
    Position { id, k }
}

fn end_of(epoch: u32) -> Position {
    Position::of(at(epoch, 30_000))
}

async fn put(store: &impl Archive, conversation: &ConversationId, events: &[StoredEvent]) {
    store.put_events(conversation, events).await.expect(TAKES);
}

/// All events of an epoch, page by page.
async fn all_events(
    store: &impl Store,
    conversation: &ConversationId,
    epoch: u32,
) -> Vec<StoredEvent> {
    let mut all: Vec<StoredEvent> = Vec::new();
    let mut after = match epoch {
        0 => Position::ZERO,
        epoch => place(epoch, 0, 0),
    };
    loop {
        let page = store
            .events(conversation, after, end_of(epoch), RANGE_MAX)
            .await
            .expect(ANSWERS);
        let is_last = page.len() < RANGE_MAX;
        after = page.last().map_or(after, |event| event.entry.position);
        all.extend(page);
        if is_last {
            return all;
        }
    }
}

/// # Panics
/// When the promise is broken; so everywhere here.
pub async fn a_partitions_first_epoch_is_zero_and_each_next_one_more<S: StoreSubject>() {
    let subject = S::fresh().await;
    for expected in 0..4 {
        let opened = subject.store().open_epoch(Partition(1), None).await;
        assert_eq!(opened, Ok(expected));
    }
}

/// See its name.
pub async fn an_epoch_is_above_all_that_the_log_has_seen<S: StoreSubject>() {
    let subject = S::fresh().await;
    let open = async |above| subject.store().open_epoch(Partition(9), above).await;
    assert_eq!(open(Some(7_926)).await, Ok(7_927), "the first one");
    assert_eq!(
        open(Some(3)).await,
        Ok(7_928),
        "the store knows higher ones"
    );
    assert_eq!(open(Some(7_928)).await, Ok(7_929));
    assert_eq!(open(Some(8_000)).await, Ok(8_001));
}

/// See its name.
pub async fn partitions_count_their_epochs_apart<S: StoreSubject>() {
    let subject = S::fresh().await;
    let open = async |partition| subject.store().open_epoch(Partition(partition), None).await;
    assert_eq!(open(2).await, Ok(0));
    assert_eq!(open(2).await, Ok(1));
    assert_eq!(open(255).await, Ok(0));
    assert_eq!(open(2).await, Ok(2));
}

/// A call may fail, and skip a number; it is made again then.
pub async fn a_hundred_who_open_an_epoch_at_once_get_a_hundred_numbers<S: StoreSubject>() {
    let subject = S::fresh().await;
    let open = || async {
        loop {
            if let Ok(epoch) = subject.store().open_epoch(Partition(3), None).await {
                return epoch;
            }
        }
    };
    let opened = join_all((0..100).map(|_| open())).await;
    let distinct: BTreeSet<_> = opened.iter().collect();
    assert_eq!(distinct.len(), 100, "{opened:?}");
}

/// See its name.
pub async fn nothing_is_known_of_a_conversation_that_was_never_written<S: StoreSubject>() {
    let subject = S::fresh().await;
    let (store, unknown) = (subject.store(), conversation(&subject, "unknown"));
    assert_eq!(store.epochs(&unknown).await, Ok(vec![]));
    let name = NameDigest([0; 12]);
    let found = store.look_up(&unknown, &user("ann"), name).await;
    assert_eq!(found, Ok(vec![]));
    let messages = store.messages(&unknown, at(0, 1), at(0, 512)).await;
    assert_eq!(messages, Ok(vec![]));
    let all = (Position::ZERO, Position::of(at(0, 512)));
    assert_eq!(store.events(&unknown, all.0, all.1, 512).await, Ok(vec![]));
    assert_eq!(store.cursors(&unknown).await, Ok(vec![]));
}

/// See its name.
pub async fn events_are_read_back_exactly<S: StoreSubject>() {
    let subject = S::fresh().await;
    let (store, room) = (subject.store(), conversation(&subject, "exactly"));
    let mut chain = Chain::before(0, 1);
    let first = chain.message("one");
    let second = chain.message("two");
    chain.edit(&first, "one, edited");
    chain.delete(&second);
    chain.message("");
    chain.edit(&first, "");
    put(store, &room, &chain.all).await;

    assert_eq!(all_events(store, &room, 0).await, chain.as_read());
    let messages = store.messages(&room, at(0, 1), at(0, 9)).await;
    assert_eq!(messages, Ok(chain.messages_as_read()));
}

/// See its name.
pub async fn contents_of_all_of_unicode_are_kept<S: StoreSubject>() {
    let subject = S::fresh().await;
    let (store, room) = (subject.store(), conversation(&subject, "unicode"));
    let all: String = ('\0'..=char::MAX).collect();
    let mut chain = Chain::before(0, 1);
    // 16 KiB each, as the longest message: cut between characters.
    let mut rest = &*all;
    while !rest.is_empty() {
        let end = rest.floor_char_boundary(16_384);
        let (part, behind) = rest.split_at(end);
        chain.message(part);
        rest = behind;
    }
    let first = chain.all[0].clone();
    chain.edit(&first, "\u{feff}\u{202e}'; DROP TABLE messages; --\r\n\0");
    chain.all[1].entry.local_id = LocalId::new("\0 ' \u{10ffff}").ok();
    put(store, &room, &chain.all).await;

    let found = all_events(store, &room, 0).await;
    assert!(found == chain.as_read(), "some content was changed");
}

/// See its name.
pub async fn the_longest_ids_and_the_highest_numbers_are_kept<S: StoreSubject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    let free = 128 - subject.prefix().len();
    let room = conversation(&subject, &"~".repeat(free));
    let last = MessageId::new((1 << 53) - 1).expect("it exists");
    let longest = user(&"ü".repeat(64));
    let mut chain = Chain::before(0, 1);
    chain.message("the last of all");
    let message = &mut chain.all[0];
    message.entry.position = Position::of(last);
    message.entry.prev = Position {
        id: MessageId::new((1 << 53) - 2).expect("it exists"),
        k: u32::MAX,
    };
    message.entry.sender = longest.clone();
    message.entry.local_id = LocalId::new(&"\0".repeat(128)).ok();
    message.entry.ordinal = i64::MAX as u64;
    message.count = i64::MAX as u64;
    chain.add(
        Position {
            id: last,
            k: u32::MAX,
        },
        Event::Delete { message_id: last },
    );
    put(store, &room, &chain.all).await;
    let name = NameDigest([0xff; 12]);
    let named = Named {
        position: Position {
            id: last,
            k: u32::MAX,
        },
        content: ContentDigest([0xff; 4]),
    };
    store
        .put_names(&room, &longest, &[(name, named)])
        .await
        .expect(TAKES);
    let row = EpochRow {
        epoch: last.epoch(),
        broke_at: Some(named.position),
        head: named.position,
        t: UnixMicros(i64::MAX as u64),
        ordinal: i64::MAX as u64,
        count: i64::MAX as u64,
    };
    store.put_epoch(&room, row).await.expect(TAKES);
    let cursor = Cursor {
        delivered: last,
        read: last,
    };
    let cursors = vec![(longest.clone(), cursor)];
    store.put_cursors(&room, &cursors).await.expect(TAKES);

    let before = Position::of(MessageId::new((1 << 53) - 3).expect("it exists"));
    let found = store.events(&room, before, named.position, 512).await;
    assert_eq!(found, Ok(chain.as_read()));
    let messages = store.messages(&room, before.id, last).await;
    assert_eq!(messages, Ok(chain.messages_as_read()));
    let found = store.look_up(&room, &longest, name).await;
    assert_eq!(found, Ok(vec![named]));
    assert_eq!(store.epochs(&room).await, Ok(vec![row]));
    assert_eq!(store.cursors(&room).await, Ok(cursors));
}

/// See its name.
pub async fn conversations_with_names_that_begin_alike_are_apart_in_the_store<S: StoreSubject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    for (name, content) in [("alike", "a"), ("alike:", "b"), ("alike:1", "c")] {
        let mut chain = Chain::before(0, 1);
        chain.message(content);
        put(store, &conversation(&subject, name), &chain.all).await;
    }
    for (name, content) in [("alike", "a"), ("alike:", "b"), ("alike:1", "c")] {
        let found = all_events(store, &conversation(&subject, name), 0).await;
        let mut chain = Chain::before(0, 1);
        chain.message(content);
        assert_eq!(found, chain.all, "{name}");
    }
}

/// See its name.
pub async fn messages_come_with_their_revisions_the_oldest_first<S: StoreSubject>() {
    let subject = S::fresh().await;
    let (store, room) = (subject.store(), conversation(&subject, "revisions"));
    let mut chain = Chain::before(0, 1);
    let first = chain.message("one");
    let second = chain.message("two");
    let a = chain.edit(&first, "a");
    chain.message("three");
    let b = chain.delete(&second);
    let c = chain.edit(&first, "c");
    put(store, &room, &chain.all).await;
    // An edit of another epoch is a revision too.
    let mut later = Chain::before(7, 1);
    let d = later.edit(&first, "d");
    put(store, &room, &later.all).await;

    let found = store
        .messages(&room, at(0, 1), at(0, 2))
        .await
        .expect(ANSWERS);
    let revisions = |message: usize| found[message].revisions.clone();
    assert_eq!(found.len(), 2);
    assert_eq!(revisions(0), [a.entry, c.entry, d.entry]);
    assert_eq!(revisions(1), [b.entry]);
    let events = store.events(&room, Position::ZERO, place(0, 1, 0), 5).await;
    assert_eq!(events.expect(ANSWERS)[0].revisions.len(), 3);
    assert_eq!(all_events(store, &room, 7).await, later.as_read());
}

/// More of them than any page of rows, and messages on both sides.
pub async fn a_message_has_all_of_very_many_revisions<S: StoreSubject>() {
    let subject = S::fresh().await;
    let (store, room) = (subject.store(), conversation(&subject, "many-revisions"));
    let mut chain = Chain::before(0, 1);
    chain.message("before");
    let often = chain.message("often edited");
    for n in 0..700 {
        chain.edit(&often, &format!("edit {n}"));
    }
    chain.message("after");
    put(store, &room, &chain.all).await;

    let messages = store
        .messages(&room, at(0, 1), at(0, 3))
        .await
        .expect(ANSWERS);
    let revisions: Vec<_> = messages.iter().map(|m| m.revisions.len()).collect();
    assert_eq!(revisions, [0, 700, 0]);
    assert!(messages == chain.messages_as_read());
    let up_to = place(0, 2, 0);
    let events = store.events(&room, Position::ZERO, up_to, 2).await;
    assert!(events.expect(ANSWERS) == chain.as_read()[..2]);
    assert!(all_events(store, &room, 0).await == chain.as_read());
}

/// See its name.
pub async fn an_edit_that_was_written_before_its_message_is_its_revision<S: StoreSubject>() {
    let subject = S::fresh().await;
    let (store, room) = (subject.store(), conversation(&subject, "edit-first"));
    let mut chain = Chain::before(0, 1);
    let message = chain.message("one");
    let edit = chain.edit(&message, "two");
    put(store, &room, std::slice::from_ref(&edit)).await;

    let range = (at(0, 1), at(0, 9));
    assert_eq!(store.messages(&room, range.0, range.1).await, Ok(vec![]));
    assert_eq!(all_events(store, &room, 0).await, [edit]);
    put(store, &room, &[message]).await;
    let messages = store.messages(&room, range.0, range.1).await;
    assert_eq!(messages, Ok(chain.messages_as_read()));
}

/// See its name.
pub async fn messages_are_those_of_the_range_and_no_others<S: StoreSubject>() {
    let subject = S::fresh().await;
    let (store, room) = (subject.store(), conversation(&subject, "range"));
    let mut chain = Chain::before(3, 1);
    chain.messages(520);
    let fifth = chain.all[4].clone();
    chain.edit(&fifth, "edited at the end");
    put(store, &room, &chain.all).await;
    let all = chain.messages_as_read();

    for (from, to) in [(1, 512), (5, 5), (3, 7), (519, 900), (600, 700), (7, 3)] {
        let found = store
            .messages(&room, at(3, from), at(3, to))
            .await
            .expect(ANSWERS);
        let ids = from..=to;
        let mut expected = all.clone();
        expected.retain(|event| ids.contains(&event.entry.position.id.n()));
        assert!(found == expected, "{from} to {to}");
    }
}

/// See its name.
pub async fn events_are_those_of_the_range_in_order<S: StoreSubject>() {
    let subject = S::fresh().await;
    let (store, room) = (subject.store(), conversation(&subject, "events"));
    let mut chain = Chain::before(0, 1);
    let first = chain.message("1");
    chain.edit(&first, "1-1");
    chain.edit(&first, "1-2");
    chain.message("2");
    chain.message("3");
    chain.delete(&first);
    put(store, &room, &chain.all).await;
    let all = chain.as_read();

    let places: Vec<_> = all.iter().map(|event| event.entry.position).collect();
    let beyond = place(0, 4, 0);
    for after in [Position::ZERO].iter().chain(&places) {
        for up_to in places.iter().chain([&beyond]) {
            for limit in [1, 2, 3, 512] {
                let found = store
                    .events(&room, *after, *up_to, limit)
                    .await
                    .expect(ANSWERS);
                let mut expected = all.clone();
                expected.retain(|event| {
                    event.entry.position > *after && event.entry.position <= *up_to
                });
                expected.truncate(limit);
                assert_eq!(found, expected, "({after}, {up_to}], {limit}");
            }
        }
    }
}

/// See its name.
pub async fn pages_of_events_put_together_are_all_events<S: StoreSubject>() {
    let subject = S::fresh().await;
    let (store, room) = (subject.store(), conversation(&subject, "pages"));
    let mut chain = Chain::before(0, 1);
    chain.edit(&sample(), "before any message");
    for n in 0..300 {
        let message = chain.message(&format!("message {n}"));
        for k in 0..n % 4 {
            chain.edit(&message, &format!("edit {k}"));
        }
    }
    put(store, &room, &chain.all).await;
    let all = chain.as_read();

    for limit in [7, 64, 512] {
        let mut found: Vec<StoredEvent> = Vec::new();
        loop {
            let after = found.last().map(|event| event.entry.position);
            let after = after.unwrap_or(Position::ZERO);
            let page = store
                .events(&room, after, end_of(0), limit)
                .await
                .expect(ANSWERS);
            let is_last = page.len() < limit;
            found.extend(page);
            if is_last {
                break;
            }
        }
        assert!(found == all, "by {limit}: {} of {}", found.len(), all.len());
    }
}

/// A message that was never stored.
fn sample() -> StoredEvent {
    Chain::before(0, 29_000).message("never stored")
}

/// See its name.
pub async fn ranges_cross_the_borders_of_buckets<S: StoreSubject>() {
    let subject = S::fresh().await;
    let (store, room) = (subject.store(), conversation(&subject, "buckets"));
    for epoch in [0, 2] {
        let mut chain = Chain::before(epoch, 9_990);
        for _ in 0..25 {
            let message = chain.message("near the border");
            chain.edit(&message, "edited");
        }
        put(store, &room, &chain.all).await;
        let all = chain.as_read();

        let messages = store.messages(&room, at(epoch, 9_999), at(epoch, 10_001));
        let found = messages.await.expect(ANSWERS);
        let ids: Vec<_> = found.iter().map(|m| m.entry.position.id.n()).collect();
        assert_eq!(ids, [9_999, 10_000, 10_001]);
        assert!(found.iter().all(|message| message.revisions.len() == 1));
        let whole = store.messages(&room, at(epoch, 9_600), at(epoch, 10_111));
        assert_eq!(whole.await, Ok(chain.messages_as_read()));
        for (after, limit) in [(9_500, 512), (9_998, 5), (9_999, 2), (10_000, 100)] {
            let after = place(epoch, after, 1);
            let found = store.events(&room, after, end_of(epoch), limit).await;
            let mut expected = all.clone();
            expected.retain(|event| event.entry.position > after);
            expected.truncate(limit);
            assert_eq!(found, Ok(expected), "after {after}");
        }
    }
    // Far from where the range begins.
    let mut far = Chain::before(0, 29_999);
    far.message("far");
    put(store, &room, &far.all).await;
    let found = store.events(&room, place(0, 10_020, 0), end_of(0), 512);
    assert_eq!(found.await, Ok(far.all));
}

/// See its name.
pub async fn a_change_of_a_message_in_another_bucket_stands_in_both_places<S: StoreSubject>() {
    let subject = S::fresh().await;
    let (store, room) = (subject.store(), conversation(&subject, "far-change"));
    let mut chain = Chain::before(0, 5);
    let old = chain.message("old");
    put(store, &room, &chain.all).await;
    let mut later = Chain::before(0, 20_001);
    later.message("new");
    let edit = later.edit(&old, "edited later");
    put(store, &room, &later.all).await;

    let found = store
        .messages(&room, at(0, 1), at(0, 9))
        .await
        .expect(ANSWERS);
    assert_eq!(found[0].revisions, [edit.entry]);
    let after = Position::of(at(0, 20_000));
    let found = store.events(&room, after, end_of(0), 9).await;
    assert_eq!(found, Ok(later.all));
}

/// See its name.
pub async fn epochs_of_a_conversation_are_apart<S: StoreSubject>() {
    let subject = S::fresh().await;
    let (store, room) = (subject.store(), conversation(&subject, "epochs"));
    let chains = [0, 1, 900].map(|epoch| {
        let mut chain = Chain::before(epoch, 1);
        chain.edit(&sample(), "behind the mark");
        let message = chain.message("of this epoch");
        chain.edit(&message, "edited");
        chain
    });
    for chain in &chains {
        put(store, &room, &chain.all).await;
    }
    for (chain, epoch) in chains.iter().zip([0, 1, 900]) {
        assert_eq!(all_events(store, &room, epoch).await, chain.as_read());
        let found = store.messages(&room, at(epoch, 1), at(epoch, 512)).await;
        assert_eq!(found, Ok(chain.messages_as_read()));
    }
}

/// See its name.
pub async fn what_is_not_stored_is_left_out<S: StoreSubject>() {
    let subject = S::fresh().await;
    let (store, room) = (subject.store(), conversation(&subject, "holes"));
    let mut chain = Chain::before(0, 1);
    chain.messages(30);
    let last = chain.all[29].clone();
    chain.edit(&last, "edited");
    let mut stored = chain.all.clone();
    stored.retain(|event| event.count.is_multiple_of(3) || event.count > 30);
    put(store, &room, &stored).await;

    let mut expected = chain.as_read();
    expected.retain(|event| event.count.is_multiple_of(3) || event.count > 30);
    assert_eq!(all_events(store, &room, 0).await, expected);
    expected.retain(is_message);
    let found = store.messages(&room, at(0, 1), at(0, 512)).await;
    assert_eq!(found, Ok(expected));
}

/// See its name.
pub async fn what_is_written_twice_is_there_once<S: StoreSubject>() {
    let subject = S::fresh().await;
    let (store, room) = (subject.store(), conversation(&subject, "twice"));
    let mut chain = Chain::before(0, 1);
    let message = chain.message("one");
    chain.edit(&message, "two");
    chain.messages(20);
    put(store, &room, &chain.all).await;
    put(store, &room, &chain.all[3..9]).await;
    let backwards: Vec<_> = chain.all.iter().rev().cloned().collect();
    for event in &backwards {
        put(store, &room, std::slice::from_ref(event)).await;
    }

    assert_eq!(all_events(store, &room, 0).await, chain.as_read());
    let messages = store.messages(&room, at(0, 1), at(0, 99)).await;
    assert_eq!(messages, Ok(chain.messages_as_read()));
}

/// What an epoch lost may be written when the next one has long gone on, under another position.
pub async fn a_late_row_of_a_lost_epoch_overwrites_nothing<S: StoreSubject>() {
    let subject = S::fresh().await;
    let (store, room) = (subject.store(), conversation(&subject, "late"));
    let mut old = Chain::before(0, 1);
    let shared = old.message("in both");
    put(store, &room, &old.all).await;
    let lost = old.message("lost");
    let lost_edit = old.edit(&shared, "lost edit");
    let mut new = Chain::before(1, 1);
    new.message("in its place");
    let kept_edit = new.edit(&shared, "kept edit");
    put(store, &room, &new.all).await;

    put(store, &room, &[lost.clone(), lost_edit.clone()]).await;

    assert_eq!(all_events(store, &room, 1).await, new.as_read());
    let found = all_events(store, &room, 0).await;
    let shown: Vec<_> = found.iter().map(|event| event.entry.clone()).collect();
    let expected = [&shared, &lost, &lost_edit].map(|event| event.entry.clone());
    assert_eq!(shown, expected);
    assert_eq!(found[0].revisions, [lost_edit.entry, kept_edit.entry]);
}

/// See its name.
pub async fn a_placeholder_keeps_the_place_of_a_message<S: StoreSubject>() {
    let subject = S::fresh().await;
    let (store, room) = (subject.store(), conversation(&subject, "placeholder"));
    let mut chain = Chain::before(0, 1);
    chain.message("one");
    let refused = chain.message("refused");
    let edit = chain.edit(&refused, "edited");
    let written = [chain.all[0].clone(), edit.clone()];
    put(store, &room, &written).await;
    store.put_placeholder(&room, &refused).await.expect(TAKES);

    let found = store
        .messages(&room, at(0, 1), at(0, 9))
        .await
        .expect(ANSWERS);
    assert_eq!(found.len(), 2);
    check_placeholder(&found[1], &refused);
    assert_eq!(found[1].revisions[1..], [edit.entry]);
    let events = all_events(store, &room, 0).await;
    assert_eq!(events.len(), 3);
    check_placeholder(&events[1], &refused);
}

/// It says all of the message but its content, and that its author deleted it before anything else
/// happened to it.
fn check_placeholder(found: &StoredEvent, refused: &StoredEvent) {
    let content = "".into();
    let empty = StoredEvent {
        entry: Entry {
            event: Event::Message { content },
            ..refused.entry.clone()
        },
        revisions: found.revisions.clone(),
        count: refused.count,
    };
    assert_eq!(found, &empty);
    let message_id = refused.entry.position.id;
    let delete = &found.revisions[0];
    assert_eq!(delete.event, Event::Delete { message_id });
    assert_eq!(delete.sender, refused.entry.sender);
    assert!(delete.position > refused.entry.position);
    assert!(found.revisions.is_sorted_by_key(|entry| entry.position));
}

/// See its name.
pub async fn a_placeholder_keeps_the_place_of_a_change_without_effect<S: StoreSubject>() {
    let subject = S::fresh().await;
    let (store, room) = (subject.store(), conversation(&subject, "no-effect"));
    let mut chain = Chain::before(0, 1);
    let message = chain.message("one");
    let edit = chain.edit(&message, "refused");
    let delete = chain.delete(&message);
    put(store, &room, &[message]).await;
    for refused in [&edit, &delete] {
        store.put_placeholder(&room, refused).await.expect(TAKES);
    }

    let found = all_events(store, &room, 0).await;
    let places: Vec<_> = found.iter().map(|event| event.entry.position).collect();
    assert_eq!(places, [place(0, 1, 0), place(0, 1, 1), place(0, 1, 2)]);
    assert_eq!(found[0].revisions, []);
    let prevs: Vec<_> = found.iter().map(|event| event.entry.prev).collect();
    assert_eq!(prevs, [Position::ZERO, place(0, 1, 0), place(0, 1, 1)]);
    let messages = store
        .messages(&room, at(0, 1), at(0, 1))
        .await
        .expect(ANSWERS);
    assert_eq!(messages[0].revisions, []);
}

/// See its name.
pub async fn the_event_itself_takes_its_placeholders_place<S: StoreSubject>() {
    let subject = S::fresh().await;
    let (store, room) = (subject.store(), conversation(&subject, "recovered"));
    let chain = changed_message();
    for event in &chain.all {
        store.put_placeholder(&room, event).await.expect(TAKES);
    }
    put(store, &room, &chain.all).await;

    assert_eq!(all_events(store, &room, 0).await, chain.as_read());
}

/// See its name.
pub async fn a_placeholder_never_takes_the_place_of_its_event<S: StoreSubject>() {
    let subject = S::fresh().await;
    let (store, room) = (subject.store(), conversation(&subject, "not-again"));
    let chain = changed_message();
    put(store, &room, &chain.all).await;
    for event in &chain.all {
        store.put_placeholder(&room, event).await.expect(TAKES);
    }

    assert_eq!(all_events(store, &room, 0).await, chain.as_read());
}

fn changed_message() -> Chain {
    let mut chain = Chain::before(0, 1);
    let message = chain.message("one");
    chain.edit(&message, "two");
    chain.delete(&message);
    chain
}

fn head(epoch: u32, n: u64, k: u32) -> EpochRow {
    EpochRow {
        epoch,
        broke_at: None,
        head: place(epoch, n, k),
        t: UnixMicros(BEGIN_MICROS + u64::from(epoch) * 1_000_000 + n * 100 + u64::from(k)),
        ordinal: n,
        count: n + u64::from(k),
    }
}

fn broken(row: EpochRow, at: Position) -> EpochRow {
    EpochRow {
        broke_at: Some(at),
        ..row
    }
}

/// See its name.
pub async fn heads_are_read_back_the_oldest_epoch_first<S: StoreSubject>() {
    let subject = S::fresh().await;
    let (store, room) = (subject.store(), conversation(&subject, "heads"));
    let rows = [
        head(0, 7, 2),
        broken(head(2, 0, 0), place(0, 6, 1)),
        broken(head(300, 5, 0), Position::ZERO),
    ];
    for row in [rows[2], rows[0], rows[1]] {
        store.put_epoch(&room, row).await.expect(TAKES);
    }
    assert_eq!(store.epochs(&room).await, Ok(rows.to_vec()));
}

/// See its name.
pub async fn an_older_head_never_takes_the_place_of_a_newer_one<S: StoreSubject>() {
    let subject = S::fresh().await;
    let (store, room) = (subject.store(), conversation(&subject, "older-head"));
    for row in [head(1, 5, 0), head(1, 9, 3), head(1, 9, 2), head(1, 2, 8)] {
        store.put_epoch(&room, row).await.expect(TAKES);
    }
    assert_eq!(store.epochs(&room).await, Ok(vec![head(1, 9, 3)]));
}

/// See its name.
pub async fn where_the_epoch_before_ended_stays_as_it_was_written<S: StoreSubject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    let at = place(0, 3, 1);
    let early = conversation(&subject, "broke-early");
    store
        .put_epoch(&early, broken(head(1, 0, 0), at))
        .await
        .expect(TAKES);
    store.put_epoch(&early, head(1, 4, 0)).await.expect(TAKES);
    let expected = vec![broken(head(1, 4, 0), at)];
    assert_eq!(store.epochs(&early).await, Ok(expected.clone()));

    // Also by a row that comes late with it.
    let late = conversation(&subject, "broke-late");
    store.put_epoch(&late, head(1, 4, 0)).await.expect(TAKES);
    store
        .put_epoch(&late, broken(head(1, 0, 0), at))
        .await
        .expect(TAKES);
    assert_eq!(store.epochs(&late).await, Ok(expected));
}

fn named(position: Position, content: u8) -> Named {
    Named {
        position,
        content: ContentDigest([content; 4]),
    }
}

async fn looked_up(
    store: &impl Store,
    room: &ConversationId,
    sender: &str,
    name: u8,
) -> Vec<Named> {
    let name = NameDigest([name; 12]);
    let found = store.look_up(room, &user(sender), name).await;
    let mut found = found.expect(ANSWERS);
    found.sort_by_key(|named| named.position);
    found
}

/// See its name.
pub async fn every_event_of_a_name_is_found_in_any_epoch<S: StoreSubject>() {
    let subject = S::fresh().await;
    let (store, room) = (subject.store(), conversation(&subject, "names"));
    let (one, other) = (NameDigest([1; 12]), NameDigest([2; 12]));
    // Twice in epoch 0: the log had forgotten the first.
    let all = [
        named(place(0, 5, 0), 1),
        named(place(0, 9_000_000, 3), 1),
        named(place(1, 5, 0), 1),
        named(place(800, 1, 1), 9),
    ];
    let mut names: Vec<_> = all.iter().map(|named| (one, *named)).collect();
    names.push((other, named(place(0, 6, 0), 1)));
    names.extend((10..150).map(|n| (NameDigest([n; 12]), named(place(0, n.into(), 0), n))));
    store
        .put_names(&room, &user("ann"), &names)
        .await
        .expect(TAKES);
    store
        .put_names(&room, &user("ann"), &names[1..3])
        .await
        .expect(TAKES);

    assert_eq!(looked_up(store, &room, "ann", 1).await, all);
    let second = looked_up(store, &room, "ann", 2).await;
    assert_eq!(second, [named(place(0, 6, 0), 1)]);
    assert_eq!(looked_up(store, &room, "ann", 3).await, []);
    for n in 10..150 {
        let expected = named(place(0, n.into(), 0), n);
        assert_eq!(looked_up(store, &room, "ann", n).await, [expected]);
    }
}

/// See its name.
pub async fn a_name_belongs_to_its_sender_and_conversation<S: StoreSubject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    let rooms = ["names-a", "names-b"].map(|name| conversation(&subject, name));
    for (n, (room, sender)) in [(&rooms[0], "ann"), (&rooms[0], "ben"), (&rooms[1], "ann")]
        .into_iter()
        .enumerate()
    {
        let named = named(place(0, n as u64 + 1, 0), 1);
        let names = [(NameDigest([1; 12]), named)];
        store
            .put_names(room, &user(sender), &names)
            .await
            .expect(TAKES);
    }

    let only = |n| vec![named(place(0, n, 0), 1)];
    assert_eq!(looked_up(store, &rooms[0], "ann", 1).await, only(1));
    assert_eq!(looked_up(store, &rooms[0], "ben", 1).await, only(2));
    assert_eq!(looked_up(store, &rooms[1], "ann", 1).await, only(3));
    assert_eq!(looked_up(store, &rooms[1], "ben", 1).await, []);
}

fn cursor(delivered: u64, read: u64) -> Cursor {
    Cursor {
        delivered: super::id(delivered),
        read: super::id(read),
    }
}

async fn read_cursors(store: &impl Store, room: &ConversationId) -> Vec<(UserId, Cursor)> {
    let mut cursors = store.cursors(room).await.expect(ANSWERS);
    cursors.sort_by(|a, b| a.0.cmp(&b.0));
    cursors
}

/// See its name.
pub async fn cursors_merge_upwards_each_by_each<S: StoreSubject>() {
    let subject = S::fresh().await;
    let (store, room) = (subject.store(), conversation(&subject, "cursors"));
    let put = async |name: &str, cursor| {
        let cursors = [(user(name), cursor)];
        store.put_cursors(&room, &cursors).await.expect(TAKES);
    };
    put("ann", cursor(5, 2)).await;
    put("ann", cursor(3, 3)).await;
    put("ann", cursor(4, 1)).await;
    // Read implies delivered.
    put("ben", cursor(1, 9)).await;
    put("cy", cursor(0, 0)).await;
    put("cy", cursor(0, 0)).await;
    let far = at(3, 1);
    let beyond = Cursor {
        delivered: far,
        read: super::id(1),
    };
    put("dee", beyond).await;
    put("dee", cursor(8, 8)).await;

    let far = Cursor {
        delivered: far,
        read: super::id(8),
    };
    let expected = [
        (user("ann"), cursor(5, 3)),
        (user("ben"), cursor(9, 9)),
        (user("cy"), cursor(0, 0)),
        (user("dee"), far),
    ];
    assert_eq!(read_cursors(store, &room).await, expected);
    let other = conversation(&subject, "cursors-of-others");
    assert_eq!(store.cursors(&other).await, Ok(vec![]));
}

/// See its name.
pub async fn cursors_of_many_users_are_all_found<S: StoreSubject>() {
    let subject = S::fresh().await;
    let (store, room) = (subject.store(), conversation(&subject, "many-cursors"));
    let all: Vec<_> = (0..600)
        .map(|n| (user(&format!("user {n:03}")), cursor(n + 1, n)))
        .collect();
    for some in all.chunks(200) {
        store.put_cursors(&room, some).await.expect(TAKES);
    }
    assert_eq!(read_cursors(store, &room).await, all);
}
