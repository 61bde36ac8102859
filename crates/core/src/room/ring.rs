//! The recent events of a room, encoded, in the order in which its sockets are told.
//!
//! A socket is a cursor into the ring, not a queue: a sequence number that is this process's own
//! and counts durable events and passing ones alike. What falls out at the front is read from
//! history by whoever still needs it. Not a source of truth: it may be emptied at any time.
//!
//! Beside the texts it keeps the entries that the store is not known to have, for a log that may
//! lose them. A log that is its own store loses nothing, and nothing is kept for it.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use parlance_protocol::{MessageId, Position, UserId};

use super::{frames, restore::Unstored};
use crate::entry::Entry;

/// Who is shown a passing item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Audience {
    pub(crate) layer: Layer,
    pub(crate) users: Users,
}

/// Members of which layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    Any,
    Base,
    Extended,
}

/// Members of which users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Users {
    All,
    Except(UserId),
    Only(Box<[UserId]>),
}

impl Audience {
    /// Whether a member of `user` is shown it.
    pub(crate) fn has(&self, user: &UserId, extended: bool) -> bool {
        let layer = match self.layer {
            Layer::Any => true,
            Layer::Base => !extended,
            Layer::Extended => extended,
        };
        layer
            && match &self.users {
                Users::All => true,
                Users::Except(one) => one != user,
                Users::Only(list) => list.contains(user),
            }
    }
}

/// One encoded event.
#[derive(Debug)]
pub(crate) struct Item {
    /// The frame's JSON text.
    pub(crate) text: Bytes,
    pub(crate) kind: Kind,
}

impl Item {
    fn is_durable(&self) -> bool {
        match self.kind {
            Kind::Durable { .. } => true,
            Kind::Passing(_) => false,
        }
    }

    fn is_message(&self, id: MessageId) -> bool {
        match self.kind {
            Kind::Durable { position, .. } => position == Position::of(id),
            Kind::Passing(_) => false,
        }
    }

    fn deletes(&self, id: MessageId) -> bool {
        match self.kind {
            Kind::Durable { deletes, .. } => deletes == Some(id),
            Kind::Passing(_) => false,
        }
    }
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// Stands in the log. Shown to everybody.
    Durable {
        position: Position,
        prev: Position,
        author: UserId,
        deletes: Option<MessageId>,
    },
    /// Lost without harm.
    Passing(Audience),
}

/// Whose the last messages are is known of so many: 24 kB in a room that is as busy.
const WRITTEN_MAX: usize = 1_024;

/// The ring. Bounded by events of the log, by all items, and by bytes of text.
#[derive(Debug)]
pub(crate) struct Ring {
    items: VecDeque<Item>,
    /// How many of them are durable.
    durable: usize,
    /// Who wrote the last messages, the oldest first: what an author has to be told of reaches further
    /// back than texts are worth keeping.
    written: VecDeque<(MessageId, UserId)>,
    /// All messages above this are in `written`.
    written_above: MessageId,
    /// Of the items with these numbers, the oldest first.
    unstored: VecDeque<(u64, Unstored)>,
    first: u64,
    /// The texts of earlier items may show what is lost.
    stale_before: u64,
    bytes: usize,
    max_durable: usize,
    max_bytes: usize,
}

impl Ring {
    /// For so many events of the log. What passes may take as much room again: in a busy room each
    /// message is followed by its status, which must not halve what the ring reaches back to.
    pub(crate) fn new(max_durable: usize, max_bytes: usize) -> Self {
        Self {
            items: VecDeque::new(),
            durable: 0,
            written: VecDeque::new(),
            written_above: MessageId::ZERO,
            unstored: VecDeque::new(),
            first: 0,
            stale_before: 0,
            bytes: 0,
            max_durable: max_durable.max(1),
            max_bytes,
        }
    }

    /// The number of the oldest item that a socket may be told.
    pub(crate) fn first(&self) -> u64 {
        self.first.max(self.stale_before)
    }

    /// The number that the next item will get.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    pub(crate) fn push(&mut self, item: Item) {
        self.bytes += item.text.len();
        self.durable += usize::from(item.is_durable());
        self.note_author(&item);
        self.items.push_back(item);
        while self.durable > self.max_durable
            || self.items.len() > 2 * self.max_durable
            || (self.bytes > self.max_bytes && self.items.len() > 1)
        {
            self.drop_oldest();
        }
    }

    fn note_author(&mut self, item: &Item) {
        let Kind::Durable {
            position,
            prev,
            author,
            ..
        } = &item.kind
        else {
            return;
        };
        if position.k > 0 {
            return;
        }
        if self.written.is_empty() {
            self.written_above = prev.id;
        }
        self.written.push_back((position.id, author.clone()));
        if self.written.len() > WRITTEN_MAX
            && let Some((id, _)) = self.written.pop_front()
        {
            self.written_above = id;
        }
    }

    /// Whether the oldest item is of no use to who comes later.
    pub(crate) fn begins_with_passing(&self) -> bool {
        let oldest = self.items.front();
        oldest.is_some_and(|item| matches!(item.kind, Kind::Passing(_)))
    }

    /// Forgets the oldest items that pass, below number `before`, and the memory of a ring without
    /// any: most rooms are idle, and hold what passed when their members came.
    pub(crate) fn forget_passing(&mut self, before: u64) {
        while self.first < before && self.begins_with_passing() {
            self.drop_oldest();
        }
        if self.items.is_empty() {
            self.items = VecDeque::new();
        }
    }

    /// Its bounds hold, and what it counts is right.
    #[cfg(any(fuzzing, test))]
    pub(super) fn check(&self) {
        let durable = self.items.iter().filter(|item| item.is_durable()).count();
        let bytes: usize = self.items.iter().map(|item| item.text.len()).sum();
        assert_eq!((self.durable, self.bytes), (durable, bytes));
        assert!(durable <= self.max_durable && self.items.len() <= 2 * self.max_durable);
        assert!(bytes <= self.max_bytes || self.items.len() == 1, "{bytes}");
        assert!(self.written.len() <= WRITTEN_MAX && self.unstored.len() <= self.items.len());
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.written.clear();
        while !self.items.is_empty() {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(item) = self.items.pop_front() else {
            return;
        };
        self.bytes -= item.text.len();
        self.durable -= usize::from(item.is_durable());
        self.first += 1;
        let first = self.first;
        self.unstored.pop_front_if(|(seq, _)| *seq < first);
    }

    /// Keeps the entry of the newest item, until it is stored or falls out.
    pub(crate) fn keep(&mut self, entry: Arc<Entry>) {
        let (seq, origin) = (self.end() - 1, entry.position);
        self.unstored.push_back((seq, Unstored { entry, origin }));
    }

    /// The store has everything up to here.
    pub(crate) fn stored(&mut self, up_to: Position) {
        let is_stored = |(_, kept): &mut (u64, Unstored)| kept.entry.position <= up_to;
        while self.unstored.pop_front_if(is_stored).is_some() {}
    }

    /// A restored event that had another place first.
    pub(crate) fn note_origin(&mut self, position: Position, origin: Position) {
        let mut newest_first = self.unstored.iter_mut().rev();
        if let Some((_, kept)) = newest_first.find(|(_, kept)| kept.entry.position == position) {
            kept.origin = origin;
        }
    }

    /// Takes out what stands above `fork`: nobody is told it any more. What was kept of that, the
    /// oldest first.
    pub(crate) fn lose_above(&mut self, fork: Position) -> Vec<Unstored> {
        let nobody = || Audience {
            layer: Layer::Any,
            users: Users::Only([].into()),
        };
        for item in &mut self.items {
            if matches!(item.kind, Kind::Durable { position, .. } if position > fork) {
                self.bytes -= item.text.len();
                self.durable -= 1;
                // The numbers of the other items stay, and so do the sockets' places.
                *item = Item {
                    text: Bytes::new(),
                    kind: Kind::Passing(nobody()),
                };
            }
        }
        while self.written.pop_back_if(|(id, _)| *id > fork.id).is_some() {}
        let kept = self.unstored.iter();
        let lost = kept.filter(|(_, kept)| kept.entry.position > fork).count();
        let lost = self.unstored.split_off(self.unstored.len() - lost);
        let lost: Vec<Unstored> = lost.into_iter().map(|(_, kept)| kept).collect();
        for target in lost.iter().filter_map(|lost| lost.entry.event.target()) {
            self.mark_stale(target);
        }
        lost
    }

    /// The text of message `id` shows a change that is lost.
    fn mark_stale(&mut self, id: MessageId) {
        if let Some(index) = self.items.iter().rposition(|item| item.is_message(id)) {
            let after = self.first + index as u64 + 1;
            self.stale_before = self.stale_before.max(after);
        }
    }

    pub(crate) fn get(&self, seq: u64) -> Option<&Item> {
        self.items
            .get(usize::try_from(seq.checked_sub(self.first)?).ok()?)
    }

    /// The number from which a socket that has everything up to `last` goes on, if no durable
    /// event between `last` and `head` is missing here.
    pub(crate) fn resume(&self, last: Position, head: Position) -> Option<u64> {
        if last >= head {
            return Some(self.end());
        }
        let next = self.items.iter().rposition(|item| match item.kind {
            Kind::Durable { position, prev, .. } => prev <= last && last < position,
            Kind::Passing(_) => false,
        })?;
        let seq = self.first + next as u64;
        (seq >= self.stale_before).then_some(seq)
    }

    /// Replaces the content of message `id`, so that nobody is told what is gone. A deleted one
    /// stays so: an edit that stands after the delete puts nothing back.
    pub(crate) fn rewrite(&mut self, id: MessageId, content: &str) {
        let mut newest_first = self.items.iter_mut().rev();
        let found = newest_first.find(|item| item.is_message(id) || item.deletes(id));
        if let Some(item) = found.filter(|item| item.is_message(id)) {
            let text = frames::with_content(&item.text, content);
            self.bytes = self.bytes - item.text.len() + text.len();
            item.text = text;
        }
    }

    /// How many durable events follow from number `seq` on.
    pub(crate) fn durable_from(&self, seq: u64) -> u64 {
        let skipped = usize::try_from(seq.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let durable = |item: &&Item| matches!(item.kind, Kind::Durable { .. });
        self.items.iter().skip(skipped).filter(durable).count() as u64
    }

    /// The newest recent message of `author`.
    pub(crate) fn newest_of(&self, author: &UserId) -> Option<MessageId> {
        self.items.iter().rev().find_map(|item| match &item.kind {
            Kind::Durable {
                position,
                author: by,
                ..
            } if position.k == 0 && by == author => Some(position.id),
            Kind::Durable { .. } | Kind::Passing(_) => None,
        })
    }

    /// Who wrote message `id`, if it is recent.
    pub(crate) fn author(&self, id: MessageId) -> Option<&UserId> {
        let item = self.items.iter().rev().find(|item| item.is_message(id))?;
        match &item.kind {
            Kind::Durable { author, .. } => Some(author),
            Kind::Passing(_) => None,
        }
    }

    /// Whether a recent event deleted message `id`.
    pub(crate) fn deleted(&self, id: MessageId) -> bool {
        self.items.iter().any(|item| item.deletes(id))
    }

    /// The newest messages of `author` in (`above`, `up_to`], at most `limit`, oldest first.
    /// `None` when it is not known here how far back to `above` they go, and there are fewer.
    pub(crate) fn authored(
        &self,
        author: &UserId,
        above: MessageId,
        up_to: MessageId,
        limit: usize,
    ) -> Option<Vec<MessageId>> {
        let newest_first = self.written.iter().rev();
        let wanted = newest_first
            .take_while(|(id, _)| *id > above)
            .filter(|(id, by)| *id <= up_to && by == author);
        let mut found: Vec<_> = wanted.map(|(id, _)| *id).take(limit).collect();
        let is_complete = !self.written.is_empty() && self.written_above <= above;
        if !is_complete && found.len() < limit {
            return None;
        }
        found.reverse();
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(id: u64, k: u32) -> Position {
        Position {
            id: MessageId::new(id).unwrap(),
            k,
        }
    }

    fn durable(position: Position, prev: Position) -> Item {
        let author = UserId::new(if position.id.get().is_multiple_of(2) {
            "even"
        } else {
            "odd"
        })
        .unwrap();
        let text = Bytes::from(position.to_string());
        Item {
            text,
            kind: Kind::Durable {
                position,
                prev,
                author,
                deletes: None,
            },
        }
    }

    fn passing() -> Item {
        Item {
            text: Bytes::from_static(b"passes"),
            kind: Kind::Passing(Audience {
                layer: Layer::Any,
                users: Users::All,
            }),
        }
    }

    fn ring_of(ids: std::ops::RangeInclusive<u64>, max_items: usize) -> Ring {
        let mut ring = Ring::new(max_items, 1_000_000);
        for id in ids {
            ring.push(durable(at(id, 0), at(id - 1, 0)));
        }
        ring
    }

    #[test]
    fn a_socket_goes_on_behind_its_last_position() {
        let ring = ring_of(1..=10, 4);
        assert_eq!(ring.resume(at(10, 0), at(10, 0)), Some(10));
        assert_eq!(ring.resume(at(6, 0), at(10, 0)), Some(6));
        assert_eq!(ring.resume(at(6, 7), at(10, 0)), Some(6));
        assert_eq!(ring.resume(at(5, 0), at(10, 0)), None);
    }

    #[test]
    fn the_oldest_fall_out_by_entries_and_by_bytes() {
        assert_eq!(ring_of(1..=10, 4).first(), 6);
        let mut ring = Ring::new(100, 3);
        for id in 1..=9 {
            ring.push(durable(at(id, 0), at(id - 1, 0)));
        }
        assert_eq!((ring.first(), ring.end()), (6, 9));
    }

    #[test]
    fn what_passes_pushes_no_event_out_before_it_is_as_much_as_the_events() {
        let passing = || Item {
            text: Bytes::from_static(b"typing"),
            kind: Kind::Passing(Audience {
                layer: Layer::Any,
                users: Users::All,
            }),
        };
        let mut ring = ring_of(1..=4, 4);
        for _ in 0..4 {
            ring.push(passing());
        }
        assert_eq!((ring.first(), ring.durable_from(0)), (0, 4));
        ring.push(passing());
        assert_eq!((ring.first(), ring.durable_from(0)), (1, 3));
    }

    #[test]
    fn an_edit_that_stands_after_a_delete_puts_no_text_back() {
        let id = MessageId::new(1).unwrap();
        let sender = UserId::new("ann").unwrap();
        let message = crate::entry::Entry {
            position: at(1, 0),
            prev: at(0, 0),
            t: parlance_protocol::UnixMicros(1),
            ordinal: 1,
            sender: sender.clone(),
            local_id: None,
            event: crate::entry::Event::Message {
                content: "sent".into(),
            },
            trace: None,
        };
        let mut ring = Ring::new(10, 1_000_000);
        let mut item = durable(at(1, 0), at(0, 0));
        item.text = frames::of_entry(&message, None, parlance_protocol::Status::Sent);
        ring.push(item);
        let shown = |ring: &Ring| String::from_utf8(ring.get(0).unwrap().text.to_vec()).unwrap();

        ring.rewrite(id, "edited");
        assert!(shown(&ring).contains("edited"));
        ring.rewrite(id, "");
        let gone = shown(&ring);
        let delete = durable(at(1, 2), at(1, 1));
        ring.push(Item {
            kind: Kind::Durable {
                position: at(1, 2),
                prev: at(1, 1),
                author: sender,
                deletes: Some(id),
            },
            ..delete
        });
        ring.rewrite(id, "late");

        assert_eq!(shown(&ring), gone);
    }

    #[test]
    fn the_messages_of_an_author_are_found_or_known_to_be_incomplete() {
        let newest = WRITTEN_MAX as u64 + 4;
        let ring = ring_of(1..=newest, 6);
        let odd = UserId::new("odd").unwrap();
        let id = |n| MessageId::new(n).unwrap();
        let authored = |above, limit| ring.authored(&odd, id(above), id(newest), limit);
        let last_two = vec![id(newest - 3), id(newest - 1)];
        assert_eq!(authored(newest - 5, 50), Some(last_two.clone()));
        assert_eq!(authored(4, 5000).map(|all| all[0]), Some(id(5)));
        assert_eq!(authored(3, 5000), None);
        assert_eq!(authored(3, 2), Some(last_two));
        assert_eq!(Ring::new(6, 100).authored(&odd, id(0), id(9), 1), None);
    }

    #[test]
    fn a_lost_message_has_no_author_any_more() {
        let mut ring = ring_of(1..=9, 6);
        ring.lose_above(at(6, 0));
        let odd = UserId::new("odd").unwrap();
        let id = |n| MessageId::new(n).unwrap();
        assert_eq!(ring.authored(&odd, id(3), id(9), 50), Some(vec![id(5)]));
    }

    #[test]
    fn what_passes_is_forgotten_up_to_the_oldest_place_and_not_behind_an_event() {
        let mut ring = Ring::new(10, 1_000_000);
        let (event, other) = (durable(at(1, 0), at(0, 0)), durable(at(2, 0), at(1, 0)));
        for item in [passing(), passing(), event, passing(), other] {
            ring.push(item);
        }
        ring.forget_passing(1);
        assert_eq!((ring.first(), ring.end()), (1, 5));
        ring.forget_passing(5);
        assert_eq!((ring.first(), ring.end()), (2, 5), "the event stays");
        assert_eq!(ring.resume(at(1, 0), at(2, 0)), Some(4));
    }
}
