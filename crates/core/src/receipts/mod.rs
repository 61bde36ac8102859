//! Who has received and read what: two monotone cursors per user, `delivered` and `read`.
//!
//! The room calls it for what local users do and for what the bus says. What *others* are told
//! follows the bus alone ([`Receipts::heard`]), so every node tells the same; a user's *own* cursor
//! is ahead of that as soon as it moves here, so that a second `read` or send builds on the first.
//!
//! The state of a message is "somebody other than its author has a cursor at or above it". So per
//! kind the two highest cursors answer for every message, whatever the number of users
//! (`highest.rs`), and what authors were told needs no memory: before and after each move they have
//! been told what the two highest say ([`Progress`]).
//!
//! How often anything goes out is in `pace.rs`. Nothing here sends, knows frames, or looks for the
//! messages concerned.

mod highest;
mod pace;

use parlance_protocol::{MessageId, Status, UserId};

use crate::{clock::Mono, lineage::Lineage, ports::Cursor, user_map::UserMap};

pub use highest::{Moved, Progress, Span};
pub use pace::{Advance, COALESCE_MS, FRAME_MS, FRAME_USERS};

use highest::Highest;
use pace::Pace;

/// The cursors of so many users are kept, and in any case those of users with a connection here.
/// Those of further users count for the state of messages, but are in no snapshot.
pub const KEPT_USERS_MAX: usize = 1_000;

/// How many users' cursors a room begins with.
pub const OPENING_CURSORS: usize = 50;

/// The receipts of a room.
#[derive(Debug, Default)]
pub struct Receipts {
    cursors: UserMap<Cursor>,
    /// Of everybody else nothing ever moved, as far as was heard.
    knows_all: bool,
    /// Users with a connection here, and the newest message that each wrote, as far as known.
    watched: UserMap<MessageId>,
    /// The highest of these, and whose it is.
    newest: Option<(UserId, MessageId)>,
    /// The newest message whose author is connected to another node, and whose it is.
    elsewhere: Option<(UserId, MessageId)>,
    /// As heard on the bus.
    delivered: Highest,
    /// As heard on the bus.
    read: Highest,
    /// Exists for about a second after something moved.
    pace: Option<Box<Pace>>,
}

/// What became of a `read` action.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// Nothing: everything listed was read before.
    NothingMoved,
    /// The port is to be told.
    Moved(Advance),
    /// It moved, and goes to the port with others at [`Receipts::deadline`].
    Waits,
}

/// A `read` listed a message that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown message id {0}")]
pub struct UnknownId(pub MessageId);

/// What came due.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ReceiptsDue {
    /// For the port.
    pub advances: Vec<Advance>,
    /// For a `receipts` frame to extended clients; empty: none.
    pub changed: Vec<(UserId, Cursor)>,
}

impl Receipts {
    /// What the port had when the room opened, asked for [`OPENING_CURSORS`]: with fewer, nobody
    /// else has any.
    pub fn opened(&mut self, cursors: Vec<(UserId, Cursor)>) {
        self.knows_all = cursors.len() < OPENING_CURSORS;
        for (user, cursor) in cursors {
            self.raise(&user, cursor);
            self.keep(&user, cursor);
        }
    }

    /// The bus, or a look-up, said that `user` is at `cursor`. Returns what that changed for
    /// authors.
    #[must_use]
    pub fn heard(&mut self, user: &UserId, cursor: Cursor) -> Progress {
        let before = [self.delivered.clone(), self.read.clone()];
        self.raise(user, cursor);
        self.keep(user, cursor);
        if cursor != Cursor::default() {
            let known = self.cursor(user).unwrap_or(cursor);
            self.pace().changed(user, known);
        }
        Progress {
            before,
            after: [self.delivered.clone(), self.read.clone()],
        }
    }

    /// Where `user` is, ahead of the bus for users of this node. `None`: not known, ask the port.
    #[must_use]
    pub fn cursor(&self, user: &UserId) -> Option<Cursor> {
        self.cursors.get(user).copied()
    }

    /// Whether it is known where `user` is, or that nothing of theirs ever moved. Otherwise the port
    /// is to be asked.
    pub fn knows(&mut self, user: &UserId) -> bool {
        if self.cursors.contains(user) {
            return true;
        }
        if self.knows_all {
            self.keep(user, Cursor::default());
        }
        self.knows_all
    }

    /// The bus may have left something out.
    pub fn doubt(&mut self) {
        self.knows_all = false;
    }

    /// The state of message `id` of `author`, as authors connected here have been told.
    #[must_use]
    pub fn status(&self, author: &UserId, id: MessageId) -> Status {
        if self.read.other_than(author) >= id {
            Status::Read
        } else if self.delivered.other_than(author) >= id {
            Status::Delivered
        } else {
            Status::Sent
        }
    }

    /// The first connection of `user` came into this room. `newest` is the newest message that
    /// they are known to have written, or zero.
    pub fn watch(&mut self, user: &UserId, newest: MessageId) {
        self.watched.insert(user.clone(), newest);
        self.raise_newest(user, newest);
    }

    /// The last connection of `user` left this room.
    pub fn unwatch(&mut self, user: &UserId) {
        self.watched.remove(user);
        if self.newest.as_ref().is_some_and(|(whose, _)| whose == user) {
            self.newest = self
                .watched
                .iter()
                .max_by_key(|(_, id)| **id)
                .map(|(user, id)| (user.clone(), *id));
        }
        if self.cursors.len() > KEPT_USERS_MAX {
            self.cursors.remove(user);
            self.knows_all = false;
        }
    }

    /// The users with a connection here whose cursor is known, and that.
    pub fn watched(&self) -> impl Iterator<Item = (&UserId, Cursor)> {
        let known = |user| self.cursor(user).map(|cursor| (user, cursor));
        self.watched.iter().filter_map(move |(user, _)| known(user))
    }

    /// The users with a connection here for whom `progress` has news. Walks all of them: for the
    /// messages of a short [`Progress::span`] ask [`Progress::of`] for each author instead.
    pub fn concerned<'a>(
        &'a self,
        progress: &'a Progress,
    ) -> impl Iterator<Item = (&'a UserId, Moved)> {
        let watched = progress.span().map(|_| self.watched.iter());
        watched
            .into_iter()
            .flatten()
            .map(|(user, _)| (user, progress.of(user)))
            .filter(|(_, moved)| *moved != Moved::default())
    }

    /// Message `id` of `user` stands in the log, wherever it was sent.
    pub fn wrote(&mut self, user: &UserId, id: MessageId) {
        if let Some(newest) = self.watched.get_mut(user) {
            *newest = id.max(*newest);
            self.raise_newest(user, id);
        }
    }

    /// Message `id` of `user`, who is connected to another node, stands in the log.
    pub fn wrote_elsewhere(&mut self, user: &UserId, id: MessageId) {
        self.elsewhere = Some((user.clone(), id));
    }

    /// `user` is connected nowhere any more.
    pub fn left_elsewhere(&mut self, user: &UserId) {
        self.elsewhere.take_if(|(author, _)| author == user);
    }

    /// Message `id` of `user` was appended by this node; `before` is the message before it, or
    /// zero. Who had read everything has read this one too.
    #[must_use]
    pub fn sent(
        &mut self,
        user: &UserId,
        id: MessageId,
        before: MessageId,
        now: Mono,
    ) -> Option<Advance> {
        if self.cursor(user).unwrap_or_default().read < before {
            return None;
        }
        let cursor = Cursor {
            delivered: id,
            read: id,
        };
        self.advance(user, cursor, &[], now)
    }

    /// A device of `user`, who is connected here and whose cursor is known, proved to have everything up to `up_to`. Returns
    /// what the port is to be told at once, if anything.
    #[must_use]
    pub fn proved(&mut self, user: &UserId, up_to: MessageId, now: Mono) -> Option<Advance> {
        let cursor = Cursor {
            delivered: up_to,
            read: MessageId::ZERO,
        };
        self.advance(user, cursor, &[], now)
    }

    /// `user`, who is connected here and whose cursor is known, says to have read `ids`, in any
    /// order.
    ///
    /// # Errors
    /// The first id that does not exist. Nothing moved.
    pub fn read_action(
        &mut self,
        user: &UserId,
        ids: &[MessageId],
        lineage: &Lineage,
        now: Mono,
    ) -> Result<ReadOutcome, UnknownId> {
        if let Some(unknown) = ids.iter().find(|id| !lineage.contains(**id)) {
            return Err(UnknownId(*unknown));
        }
        let old = self.cursor(user).unwrap_or_default().read;
        let mut listed: Vec<_> = ids.iter().copied().filter(|id| *id > old).collect();
        listed.sort_unstable();
        listed.dedup();
        let Some(read) = listed.last().copied() else {
            return Ok(ReadOutcome::NothingMoved);
        };
        let cursor = Cursor {
            delivered: read,
            read,
        };
        Ok(match self.advance(user, cursor, &listed, now) {
            Some(advance) => ReadOutcome::Moved(advance),
            None => ReadOutcome::Waits,
        })
    }

    /// Whether a proof that some device has everything up to the head would be news for an author
    /// connected anywhere: of those who are connected to other nodes, for the one who wrote last.
    /// Such a proof counts only from another user than the author.
    #[must_use]
    pub fn wants_proof(&self) -> bool {
        let elsewhere = self.elsewhere.as_ref();
        elsewhere.is_some_and(|(author, newest)| self.delivered.other_than(author) < *newest)
            || self.wants_proof_here()
    }

    fn wants_proof_here(&self) -> bool {
        let Some((author, newest)) = &self.newest else {
            return false;
        };
        if self.delivered.other_than(author) < *newest {
            return true;
        }
        // The newest message is confirmed by `first`; so are all others but those of `first`.
        let Some((reader, _)) = &self.delivered.first else {
            return false;
        };
        self.watched
            .get(reader)
            .is_some_and(|newest| self.delivered.other_than(reader) < *newest)
    }

    /// At most [`FRAME_USERS`] cursors, the highest first: what an extended joiner is told.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(UserId, Cursor)> {
        pace::highest(&self.cursors)
    }

    /// Whether something waits to be handed to the port.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        self.pace.as_ref().is_some_and(|pace| pace.has_waiting())
    }

    /// When [`Receipts::on_deadline`] wants to be called. May be too early, never too late.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        self.pace.as_ref().map(|pace| pace.deadline())
    }

    /// Ends the windows that are over and collects what is owed to extended clients.
    #[must_use]
    pub fn on_deadline(&mut self, now: Mono) -> ReceiptsDue {
        let Some(pace) = &mut self.pace else {
            return ReceiptsDue::default();
        };
        let advances = pace.collect_advances(now);
        let mut changed = pace.collect_changed(now);
        // Whoever came since then was told where they are now.
        for (user, cursor) in &mut changed {
            *cursor = cursor.merge(self.cursors.get(user).copied().unwrap_or_default());
        }
        self.pace.take_if(|pace| pace.is_over(now));
        ReceiptsDue { advances, changed }
    }

    /// Moves the user's own cursor. Returns what the port is to be told at once, if anything.
    fn advance(
        &mut self,
        user: &UserId,
        cursor: Cursor,
        listed: &[MessageId],
        now: Mono,
    ) -> Option<Advance> {
        let old = self.cursor(user).unwrap_or_default();
        let cursor = old.merge(cursor);
        if cursor == old {
            return None;
        }
        self.keep(user, cursor);
        self.pace().advance(user, cursor, listed, now)
    }

    fn raise(&mut self, user: &UserId, cursor: Cursor) {
        self.delivered.raise(user, cursor.delivered);
        self.read.raise(user, cursor.read);
    }

    fn raise_newest(&mut self, user: &UserId, id: MessageId) {
        let highest = self.newest.as_ref().map_or(MessageId::ZERO, |(_, id)| *id);
        if id > highest {
            self.newest = Some((user.clone(), id));
        }
    }

    /// Remembers a cursor, if there is room for that user.
    fn keep(&mut self, user: &UserId, cursor: Cursor) {
        if let Some(known) = self.cursors.get_mut(user) {
            *known = known.merge(cursor);
            return;
        }
        if self.cursors.len() < KEPT_USERS_MAX || self.watched.contains(user) {
            self.cursors.insert(user.clone(), cursor);
        } else {
            self.knows_all = false;
        }
    }

    fn pace(&mut self) -> &mut Pace {
        self.pace.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::lineage::Span as Epoch;
    use parlance_protocol::Position;

    fn user(n: usize) -> UserId {
        UserId::new(&format!("u{n}")).unwrap()
    }

    fn id(n: u64) -> MessageId {
        MessageId::new(n).unwrap()
    }

    fn ids(list: &[u64]) -> Vec<MessageId> {
        list.iter().copied().map(id).collect()
    }

    fn cursor(delivered: u64, read: u64) -> Cursor {
        Cursor {
            delivered: id(delivered),
            read: id(read),
        }
    }

    fn span(above: u64, up_to: u64) -> Option<Span> {
        Some(Span {
            above: id(above),
            up_to: id(up_to),
        })
    }

    fn messages(count: u64) -> Lineage {
        Lineage::new(vec![Epoch {
            epoch: 0,
            last: Position::of(id(count)),
            ordinal_before: 0,
        }])
    }

    fn reads(receipts: &mut Receipts, list: &[u64], at_ms: u64) -> ReadOutcome {
        receipts
            .read_action(&user(1), &ids(list), &messages(1_000), Mono(at_ms))
            .unwrap()
    }

    fn advance(cursor: Cursor, listed: &[u64]) -> Advance {
        Advance::new(&user(1), cursor, &ids(listed))
    }

    #[test]
    fn a_message_has_the_state_that_the_furthest_other_user_gave_it() {
        let mut receipts = Receipts::default();
        receipts.opened(vec![(user(1), cursor(9, 9)), (user(2), cursor(5, 3))]);
        assert_eq!(receipts.status(&user(1), id(3)), Status::Read);
        assert_eq!(receipts.status(&user(1), id(4)), Status::Delivered);
        assert_eq!(receipts.status(&user(1), id(6)), Status::Sent);
        assert_eq!(receipts.status(&user(2), id(9)), Status::Read);
        assert_eq!(receipts.status(&user(3), id(10)), Status::Sent);
    }

    #[test]
    fn what_goes_straight_to_read_is_not_told_as_delivered() {
        let mut receipts = Receipts::default();
        receipts.opened(vec![(user(2), cursor(4, 2))]);
        let progress = receipts.heard(&user(2), cursor(8, 6));
        let told = progress.of(&user(1));
        assert_eq!((told.delivered, told.read), (span(6, 8), span(2, 6)));
        assert_eq!(progress.of(&user(2)), Moved::default());
        assert_eq!(progress.span(), span(2, 8));
    }

    #[test]
    fn a_second_reader_is_news_only_for_the_first() {
        let mut receipts = Receipts::default();
        receipts.watch(&user(1), MessageId::ZERO);
        receipts.watch(&user(2), MessageId::ZERO);
        assert!(receipts.heard(&user(2), cursor(5, 5)).span().is_some());
        let progress = receipts.heard(&user(3), cursor(5, 5));
        let concerned: Vec<_> = receipts.concerned(&progress).collect();
        let moved = Moved {
            delivered: None,
            read: span(0, 5),
        };
        assert_eq!(concerned, [(&user(2), moved)]);
        assert_eq!(receipts.heard(&user(4), cursor(5, 5)).span(), None);
    }

    proptest! {
        #[test]
        fn authors_are_told_exactly_what_a_walk_over_all_cursors_finds(
            steps in prop::collection::vec((0_usize..5, 0_u64..20, 0_u64..20), 0..30)
        ) {
            let mut receipts = Receipts::default();
            let mut model = BTreeMap::<UserId, Cursor>::new();
            for (reader, delivered, read) in steps {
                let step = cursor(delivered.max(read), read);
                let status_of_all = |receipts: &Receipts| -> Vec<Vec<Status>> {
                    let of = |author| (1..20).map(|n| receipts.status(&user(author), id(n))).collect();
                    (0..6).map(of).collect()
                };
                let before = status_of_all(&receipts);
                let progress = receipts.heard(&user(reader), step);
                let known = model.entry(user(reader)).or_default();
                *known = known.merge(step);
                let after = status_of_all(&receipts);
                for author in 0..6 {
                    let others = || model.iter().filter(|(u, _)| **u != user(author)).map(|(_, c)| c);
                    let moved = progress.of(&user(author));
                    for n in 1..20 {
                        let index = usize::try_from(n).unwrap() - 1;
                        let expected = if others().any(|c| c.read >= id(n)) {
                            Status::Read
                        } else if others().any(|c| c.delivered >= id(n)) {
                            Status::Delivered
                        } else {
                            Status::Sent
                        };
                        prop_assert_eq!(after[author][index], expected);
                        let is_news = before[author][index] != expected;
                        let is_in = |span: Option<Span>| span.is_some_and(|span| span.contains(id(n)));
                        prop_assert_eq!(is_in(moved.read), is_news && expected == Status::Read);
                        prop_assert_eq!(is_in(moved.delivered), is_news && expected == Status::Delivered);
                        prop_assert!(!is_news || is_in(progress.span()));
                    }
                }
            }
        }

        #[test]
        fn a_proof_is_wanted_exactly_while_some_author_here_is_unconfirmed(
            steps in prop::collection::vec((0_usize..4, 1_u64..12, 0_u8..4), 0..60)
        ) {
            let mut receipts = Receipts::default();
            let mut newest = BTreeMap::<UserId, MessageId>::new();
            for (who, n, what) in steps {
                let who = user(who);
                match what {
                    0 => {
                        newest.entry(who.clone()).or_default();
                        let known = newest[&who];
                        receipts.watch(&who, known);
                    }
                    1 => {
                        newest.remove(&who);
                        receipts.unwatch(&who);
                    }
                    2 => {
                        newest.entry(who.clone()).and_modify(|known| *known = id(n).max(*known));
                        receipts.wrote(&who, id(n));
                    }
                    _ => drop(receipts.heard(&who, cursor(n, 0))),
                }
                let unconfirmed = newest.iter().any(|(author, id)| {
                    *id > MessageId::ZERO && receipts.status(author, *id) == Status::Sent
                });
                prop_assert_eq!(receipts.wants_proof(), unconfirmed);
            }
        }
    }

    #[test]
    fn a_read_moves_to_the_highest_id_and_lists_what_it_passed() {
        let mut receipts = Receipts::default();
        receipts.opened(vec![(user(1), cursor(6, 4))]);
        let outcome = reads(&mut receipts, &[7, 3, 5, 7, 4], 0);
        assert_eq!(outcome, ReadOutcome::Moved(advance(cursor(7, 7), &[5, 7])));
        assert_eq!(receipts.cursor(&user(1)), Some(cursor(7, 7)));
    }

    #[test]
    fn a_read_of_nothing_new_moves_nothing() {
        let mut receipts = Receipts::default();
        receipts.opened(vec![(user(1), cursor(4, 4))]);
        assert_eq!(reads(&mut receipts, &[4, 2], 0), ReadOutcome::NothingMoved);
        assert_eq!(receipts.deadline(), None);
    }

    #[test]
    fn one_unknown_id_refuses_the_whole_read() {
        let mut receipts = Receipts::default();
        let refused = receipts.read_action(&user(1), &ids(&[1, 9, 2]), &messages(8), Mono(0));
        assert_eq!(refused, Err(UnknownId(id(9))));
        assert_eq!(receipts.cursor(&user(1)), None);
    }

    #[test]
    fn the_first_move_goes_out_at_once_and_later_ones_together_after_a_quarter_second() {
        let mut receipts = Receipts::default();
        let first = reads(&mut receipts, &[1], 0);
        assert_eq!(first, ReadOutcome::Moved(advance(cursor(1, 1), &[1])));
        assert_eq!(reads(&mut receipts, &[2, 3], 10), ReadOutcome::Waits);
        assert_eq!(reads(&mut receipts, &[5], 20), ReadOutcome::Waits);
        assert_eq!(reads(&mut receipts, &[5], 30), ReadOutcome::NothingMoved);
        assert_eq!(receipts.proved(&user(1), id(8), Mono(40)), None);

        assert_eq!(receipts.deadline(), Some(Mono(250)));
        assert_eq!(receipts.on_deadline(Mono(249)), ReceiptsDue::default());
        assert_eq!(
            receipts.on_deadline(Mono(250)).advances,
            [advance(cursor(8, 5), &[2, 3, 5])]
        );
        assert_eq!(reads(&mut receipts, &[9], 400), ReadOutcome::Waits);
        assert_eq!(receipts.on_deadline(Mono(500)).advances.len(), 1);
        assert_eq!(receipts.on_deadline(Mono(750)), ReceiptsDue::default());
        assert_eq!(receipts.deadline(), None);
    }

    #[test]
    fn more_listed_ids_than_one_read_may_have_go_out_in_two() {
        let mut receipts = Receipts::default();
        let list: Vec<_> = (2..=400).collect();
        assert!(matches!(
            reads(&mut receipts, &[1], 0),
            ReadOutcome::Moved(_)
        ));
        assert_eq!(reads(&mut receipts, &list, 1), ReadOutcome::Waits);
        let more: Vec<_> = (401..=600).collect();
        assert_eq!(
            reads(&mut receipts, &more, 2),
            ReadOutcome::Moved(advance(cursor(400, 400), &list))
        );
        assert_eq!(
            receipts.on_deadline(Mono(250)).advances,
            [advance(cursor(600, 600), &more)]
        );
    }

    #[test]
    fn a_proof_below_the_cursor_is_no_news() {
        let mut receipts = Receipts::default();
        receipts.opened(vec![(user(1), cursor(5, 2))]);
        assert_eq!(receipts.proved(&user(1), id(5), Mono(0)), None);
        assert_eq!(
            receipts.proved(&user(1), id(6), Mono(0)),
            Some(advance(cursor(6, 2), &[]))
        );
    }

    #[test]
    fn with_few_cursors_at_the_opening_nobody_has_to_be_asked_for() {
        let mut receipts = Receipts::default();
        assert!(!receipts.knows(&user(1)), "the room is not open");
        receipts.opened(vec![(user(1), cursor(9, 9))]);
        assert!(receipts.knows(&user(1)) && receipts.knows(&user(2)));
        assert_eq!(receipts.cursor(&user(2)), Some(Cursor::default()));
        let _ = receipts.heard(&user(3), cursor(4, 4));
        assert!(receipts.knows(&user(3)));
        assert_eq!(receipts.cursor(&user(3)), Some(cursor(4, 4)));

        receipts.doubt();
        assert!(receipts.knows(&user(3)) && !receipts.knows(&user(4)));
    }

    #[test]
    fn with_many_cursors_others_are_asked_for() {
        let mut receipts = Receipts::default();
        let many = (0..OPENING_CURSORS).map(|n| (user(n), cursor(1, 1)));
        receipts.opened(many.collect());
        assert!(receipts.knows(&user(0)) && !receipts.knows(&user(OPENING_CURSORS)));
    }

    #[test]
    fn who_was_left_out_for_want_of_room_is_asked_for() {
        let mut receipts = Receipts::default();
        receipts.opened(Vec::new());
        for n in 0..=KEPT_USERS_MAX {
            let _ = receipts.heard(&user(n), cursor(1, 1));
        }
        assert!(!receipts.knows(&user(KEPT_USERS_MAX)));
        assert!(!receipts.knows(&user(KEPT_USERS_MAX + 1)));
    }

    #[test]
    fn who_had_read_everything_has_read_their_own_message() {
        let mut receipts = Receipts::default();
        assert_eq!(
            receipts.sent(&user(1), id(1), MessageId::ZERO, Mono(0)),
            Some(advance(cursor(1, 1), &[]))
        );
        assert_eq!(receipts.sent(&user(1), id(2), id(1), Mono(1)), None);
        assert_eq!(receipts.cursor(&user(1)), Some(cursor(2, 2)));
        assert_eq!(receipts.sent(&user(1), id(4), id(3), Mono(2)), None);
        assert_eq!(receipts.cursor(&user(1)), Some(cursor(2, 2)));
    }

    #[test]
    fn extended_clients_are_owed_each_change_at_most_once_a_second() {
        let mut receipts = Receipts::default();
        receipts.opened(vec![(user(1), cursor(1, 1))]);
        assert_eq!(receipts.deadline(), None);
        let _ = receipts.heard(&user(2), cursor(2, 0));
        assert_eq!(
            receipts.on_deadline(Mono(5_000)).changed,
            [(user(2), cursor(2, 0))]
        );
        let _ = receipts.heard(&user(1), cursor(3, 3));
        let _ = receipts.heard(&user(2), cursor(2, 2));
        assert_eq!(receipts.deadline(), Some(Mono(6_000)));
        assert_eq!(receipts.on_deadline(Mono(5_999)), ReceiptsDue::default());
        assert_eq!(
            receipts.on_deadline(Mono(6_000)).changed,
            [(user(1), cursor(3, 3)), (user(2), cursor(2, 2))]
        );
        assert_eq!(receipts.on_deadline(Mono(7_000)), ReceiptsDue::default());
        assert_eq!(receipts.deadline(), None);
    }

    #[test]
    fn a_frame_never_says_less_than_a_snapshot_before_it() {
        let mut receipts = Receipts::default();
        let _ = receipts.heard(&user(1), cursor(278, 278));
        let _ = receipts.sent(&user(1), id(279), id(278), Mono(0));
        assert_eq!(receipts.snapshot(), [(user(1), cursor(279, 279))]);
        assert_eq!(
            receipts.on_deadline(Mono(5_000)).changed,
            [(user(1), cursor(279, 279))]
        );
    }

    #[test]
    fn a_frame_names_fifty_users_and_the_rest_follows() {
        let mut receipts = Receipts::default();
        for n in 0..120 {
            let read = u64::try_from(n).unwrap() + 1;
            let _ = receipts.heard(&user(n), cursor(read, read));
        }
        assert_eq!(receipts.snapshot().len(), FRAME_USERS);
        assert_eq!(receipts.snapshot()[0].1, cursor(120, 120));
        let frames = [0, 1_000, 2_000].map(|ms| receipts.on_deadline(Mono(ms)).changed.len());
        assert_eq!(frames, [50, 50, 20]);
    }

    #[test]
    fn a_user_whose_cursor_never_moved_is_in_no_frame() {
        let mut receipts = Receipts::default();
        let _ = receipts.heard(&user(1), Cursor::default());
        assert_eq!(receipts.cursor(&user(1)), Some(Cursor::default()));
        assert_eq!(receipts.snapshot(), []);
        assert_eq!(receipts.deadline(), None);
    }

    #[test]
    fn the_cursors_of_users_elsewhere_are_bounded_and_still_count() {
        let mut receipts = Receipts::default();
        receipts.watch(&user(0), MessageId::ZERO);
        for n in 1..2_000 {
            let _ = receipts.heard(&user(n), cursor(1, 1));
        }
        let _ = receipts.heard(&user(1_999), cursor(7, 7));
        let _ = receipts.heard(&user(0), cursor(6, 6));
        assert_eq!(receipts.cursor(&user(0)), Some(cursor(6, 6)));
        assert_eq!(receipts.cursor(&user(1_999)), None);
        assert_eq!(receipts.status(&user(5), id(7)), Status::Read);
        receipts.unwatch(&user(0));
        assert_eq!(receipts.cursors.len(), KEPT_USERS_MAX);
    }

    #[test]
    fn an_author_on_another_node_wants_a_proof_until_somebody_else_has_it() {
        let (ann, bob) = (UserId::new("ann").unwrap(), UserId::new("bob").unwrap());
        let id = |n| MessageId::new(n).unwrap();
        let delivered = |n| Cursor {
            delivered: id(n),
            read: MessageId::ZERO,
        };
        let mut receipts = Receipts::default();
        assert!(!receipts.wants_proof());

        receipts.wrote_elsewhere(&ann, id(5));
        assert!(receipts.wants_proof());
        let _ = receipts.heard(&ann, delivered(5));
        assert!(receipts.wants_proof(), "her own device is no proof");
        let _ = receipts.heard(&bob, delivered(5));
        assert!(!receipts.wants_proof());

        receipts.wrote_elsewhere(&ann, id(6));
        assert!(receipts.wants_proof());
        receipts.left_elsewhere(&ann);
        assert!(!receipts.wants_proof());
    }

    #[test]
    fn the_fixed_part_is_small() {
        assert!(size_of::<Receipts>() <= 208, "{}", size_of::<Receipts>());
    }
}
