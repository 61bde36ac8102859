//! What every adapter of the ports promises, as tests over [`Backend`].
//!
//! An adapter says by [`Subject`] how to make a fresh backend and how to open it again, and gets
//! one test per promise by one line in its own tests:
//!
//! ```text
//! parlance_testkit::contract_tests!(MySubject);
//! ```
//!
//! The suites know nothing of any adapter. What an adapter promises beyond the ports' words (which
//! faults it survives) is tested where the adapter is.

pub mod bus;
pub mod history;
pub mod log;
mod model;
pub mod opening;
pub mod presence;
pub mod receipts;
pub mod store;

use std::{future::Future, time::Duration};

use parlance_core::{
    entry::{Draft, Entry, Event},
    ports::{Appended, Backend, Ephemeral, Feed, Heard, Log},
};
use parlance_protocol::{ConversationId, LocalId, MessageId, Position, UnixMicros, UserId};

/// An adapter under test.
pub trait Subject: Sized {
    /// The adapter.
    type Backend: Backend;

    /// One that holds nothing.
    fn fresh() -> impl Future<Output = Self>;

    /// The present one.
    fn backend(&self) -> &Self::Backend;

    /// Stops it and opens what it left. All handles and feeds are dropped before.
    fn reopened(self) -> impl Future<Output = Self>;
}

/// One `#[test]` per promise for a [`Subject`].
#[macro_export]
macro_rules! contract_tests {
    ($subject:ty) => {
        $crate::contract_tests! { $subject:
            log::calls_on_one_handle_stand_in_their_order,
            log::handles_on_several_threads_share_one_gapless_order,
            log::edits_and_deletes_stand_after_the_newest_message,
            log::time_never_stands_still_or_goes_back,
            log::a_repeated_local_id_is_the_same_event,
            log::a_local_id_of_another_content_or_kind_is_a_conflict,
            log::a_local_id_belongs_to_its_sender_and_conversation,
            log::without_a_local_id_nothing_is_a_repeat,
            log::a_thousand_racing_retries_give_one_message,
            log::the_head_is_the_last_entry,
            log::an_answer_that_nobody_waits_for_changes_nothing,
            log::everything_is_there_after_opening_again,
            log::a_sender_with_too_many_local_ids_is_refused,
            log::local_ids_of_the_day_before_are_known_when_many_begin_the_next,
            history::pages_are_what_a_list_of_all_messages_gives,
            history::replays_are_what_a_list_of_all_events_gives,
            history::every_position_is_found_and_no_other,
            history::history_reads_the_same_after_opening_again,
            history::an_unknown_conversation_is_empty,
            history::conversations_with_names_that_begin_alike_are_apart,
            bus::others_hear_what_was_appended_in_order,
            bus::who_did_not_subscribe_or_unsubscribed_hears_nothing,
            bus::ephemerals_are_heard_by_all_and_the_own_feed,
            bus::what_a_full_feed_lost_it_is_told_as_a_doubt,
            bus::a_doubt_comes_after_what_it_speaks_of_can_be_read,
            presence::a_user_comes_and_goes_once_over_all_shards,
            presence::who_is_present_is_told_per_conversation,
            presence::joining_twice_is_joining_once,
            opening::a_room_begins_with_what_single_readings_give,
            opening::many_rooms_that_open_at_once_get_each_their_own,
            opening::who_comes_while_a_room_opens_is_read_or_heard,
            receipts::cursors_only_move_up,
            receipts::an_advance_is_heard_with_its_result,
            receipts::an_advance_that_moves_nothing_is_not_heard,
            receipts::the_highest_cursors_come_first,
            receipts::all_readings_agree_while_cursors_are_written,
            receipts::cursors_are_there_after_opening_again,
        }
    };
    ($subject:ty: $($suite:ident::$promise:ident,)*) => {
        $(
            #[test]
            fn $promise() {
                $crate::contract::run($crate::contract::$suite::$promise::<$subject>());
            }
        )*
    };
}

/// Runs one promise on a runtime of its own, as a shard has one.
///
/// # Panics
/// When the promise is broken, or takes longer than two minutes.
pub fn run(promise: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let limited = async { tokio::time::timeout(Duration::from_secs(120), promise).await };
    runtime
        .block_on(limited)
        .expect("the promise should be kept within two minutes");
}

fn conversation(name: &str) -> ConversationId {
    ConversationId::new(name).expect("the tests' names are valid")
}

fn user(name: &str) -> UserId {
    UserId::new(name).expect("the tests' names are valid")
}

fn id(n: u64) -> MessageId {
    MessageId::new(n).expect("the tests' ids are small")
}

fn message(content: &str) -> Event {
    Event::Message {
        content: content.into(),
    }
}

fn edit(n: u64, content: &str) -> Event {
    Event::Edit {
        message_id: id(n),
        content: content.into(),
    }
}

fn delete(n: u64) -> Event {
    Event::Delete { message_id: id(n) }
}

fn draft(sender: &str, local_id: Option<&str>, event: Event) -> Draft {
    Draft {
        sender: user(sender),
        local_id: local_id.map(|text| LocalId::new(text).expect("the tests' names are valid")),
        retry: false,
        event,
        at: UnixMicros(1_000_000),
        restores: None,
        trace: None,
    }
}

/// Appends and expects that it was new.
async fn append(log: &impl Log, conversation: &ConversationId, draft: Draft) -> Entry {
    match log.append(conversation, draft).await {
        Ok(Appended::New(entry)) => (*entry).clone(),
        other => panic!("expected a new entry, got {other:?}"),
    }
}

/// The next piece. How far something is stored is told whenever that is known: it is no answer to
/// anything here.
async fn heard(feed: &mut impl Feed) -> (ConversationId, Heard) {
    loop {
        let piece = tokio::time::timeout(Duration::from_secs(10), feed.next())
            .await
            .expect("something should be heard within ten seconds")
            .expect("the backend should not end");
        if !matches!(piece.1, Heard::Stored { .. }) {
            return piece;
        }
    }
}

/// A piece that no adapter makes by itself: what was heard before it is all that was to be heard.
fn marker() -> Ephemeral {
    Ephemeral::Typing {
        user: user("marker"),
        username: "marker".into(),
        is_typing: true,
    }
}

/// Everything up to the [`marker`], which somebody published.
async fn heard_until_marker(feed: &mut impl Feed) -> Vec<Heard> {
    let mut pieces = Vec::new();
    loop {
        let (_, piece) = heard(feed).await;
        if piece == Heard::Ephemeral(marker()) {
            return pieces;
        }
        pieces.push(piece);
    }
}

/// Checks what holds for any unbroken run of entries from the first one on.
fn check_chain(entries: &[Entry]) {
    let mut last = Position::ZERO;
    let (mut t, mut ordinal) = (UnixMicros(0), 0);
    for entry in entries {
        let is_message = entry.event.target().is_none();
        assert_eq!(entry.prev, last, "prev of {}", entry.position);
        assert!(entry.position > last, "{} after {last}", entry.position);
        assert_eq!(entry.position.k == 0, is_message, "{}", entry.position);
        assert!(entry.t > t, "time of {}", entry.position);
        ordinal += u64::from(is_message);
        assert_eq!(entry.ordinal, ordinal, "ordinal of {}", entry.position);
        (last, t) = (entry.position, entry.t);
    }
}

/// A small generator of numbers: the same ones for the same seed.
struct Dice(u64);

impl Dice {
    /// Below `bound`, which is at least 1.
    fn roll(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}
