//! What really is: one log, and who is where. Every node's ports show this, sooner or later.
//!
//! The log may lose its tail. Then a new epoch opens, and what was visible in the one before stays
//! known, since nodes and clients may go on for a while as if nothing had happened.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    sync::Arc,
};

use parlance_core::{
    entry::{Draft, Entry, Event, Row},
    lineage::{Lineage, Span},
    ports::{Appended, Cursor, Ephemeral, Found, Head, Heard, Page, Replay, Replayed},
};
use parlance_protocol::{Anchor, LocalId, MessageId, Position, UnixMicros, UserId};

/// What stands for one event, however often it is offered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Local(UserId, LocalId),
    Restores(Position),
}

#[derive(Debug)]
pub(crate) struct Truth {
    /// What is visible at present.
    pub(crate) entries: Vec<Arc<Entry>>,
    /// What was visible at the end of each epoch that is over.
    past: Vec<Vec<Arc<Entry>>>,
    spans: Vec<Span>,
    /// Everything that ever stood in the log.
    ever: BTreeMap<Position, Arc<Entry>>,
    named: BTreeMap<Name, Position>,
    stored: Position,
    /// The log is its own store, and loses nothing.
    stored_at_ack: bool,
    /// How many nodes have each user.
    present: BTreeMap<UserId, usize>,
    cursors: BTreeMap<UserId, Cursor>,
}

impl Truth {
    pub(crate) fn new(stored_at_ack: bool) -> Self {
        let first = Span {
            epoch: 0,
            last: Position::ZERO,
            ordinal_before: 0,
        };
        Self {
            entries: Vec::new(),
            past: Vec::new(),
            spans: vec![first],
            ever: BTreeMap::new(),
            named: BTreeMap::new(),
            stored: Position::ZERO,
            stored_at_ack,
            present: BTreeMap::new(),
            cursors: BTreeMap::new(),
        }
    }

    pub(crate) fn append(&mut self, draft: Draft, at: UnixMicros) -> Appended {
        let place = draft.restores.map(Name::Restores);
        let name = match &draft.local_id {
            Some(local_id) => Some(Name::Local(draft.sender.clone(), local_id.clone())),
            None => place,
        };
        let position = next_position(self.head(), &draft.event);
        if let Some(name) = name {
            match self.named.entry(name) {
                btree_map::Entry::Occupied(known) => {
                    let position = *known.get();
                    let same = self.entry(position).is_some_and(|e| e.event == draft.event);
                    return match same {
                        true => Appended::Duplicate(position),
                        false => Appended::Conflict,
                    };
                }
                btree_map::Entry::Vacant(free) => drop(free.insert(position)),
            }
        }
        let last = self.entries.last();
        let is_message = draft.event.target().is_none();
        let entry = Arc::new(Entry {
            position,
            prev: self.head(),
            t: last.map_or(at, |last| at.max(UnixMicros(last.t.0 + 1))),
            ordinal: last.map_or(0, |last| last.ordinal) + u64::from(is_message),
            sender: draft.sender,
            local_id: draft.local_id,
            event: draft.event,
            trace: draft.trace.map(Box::new),
        });
        self.entries.push(entry.clone());
        let before = self.ever.insert(position, entry.clone());
        assert_eq!(before, None, "{position} stands for two events");
        self.spans.last_mut().expect("there is an epoch").last = position;
        Appended::New(entry)
    }

    // === epochs ===

    pub(crate) fn epoch(&self) -> u32 {
        self.past.len() as u32
    }

    /// The log goes back to a copy that lacks so many of its last events and marks, but nothing
    /// that is stored; then a new epoch opens.
    pub(crate) fn fail_over(&mut self, back: usize) {
        let mut places: Vec<_> = self.entries.iter().map(|e| e.position).collect();
        places.extend(self.spans.iter().map(Self::mark));
        places.sort_unstable();
        let kept = places.len().saturating_sub(back);
        let end = places[..kept].last().copied().unwrap_or_default();
        let end = end.max(self.stored);
        self.past.push(self.entries.clone());
        self.entries.retain(|entry| entry.position <= end);
        self.named.retain(|_, position| *position <= end);
        let is_empty = end == Position::ZERO;
        self.spans
            .retain(|span| !is_empty && Self::mark(span) <= end);
        if let Some(span) = self.spans.last_mut() {
            span.last = span.last.min(end);
        }
        let epoch = self.epoch();
        let mark = MessageId::of_epoch(epoch, 0).expect("runs have few epochs");
        self.spans.push(Span {
            epoch,
            last: Position::of(mark),
            ordinal_before: self.messages().count() as u64,
        });
    }

    fn mark(span: &Span) -> Position {
        Position::of(MessageId::of_epoch(span.epoch, 0).expect("runs have few epochs"))
    }

    /// The store has everything. What that publishes.
    pub(crate) fn store(&mut self) -> Heard {
        self.stored = self.head();
        Heard::Stored {
            epoch: self.epoch(),
            up_to: self.stored,
        }
    }

    /// What was visible in an epoch, to its end or until now.
    pub(crate) fn sequence(&self, epoch: u32) -> &[Arc<Entry>] {
        self.past.get(epoch as usize).unwrap_or(&self.entries)
    }

    pub(crate) fn was_visible(&self, epoch: u32, position: Position) -> bool {
        let sequence = self.sequence(epoch);
        sequence.iter().any(|entry| entry.position == position)
    }

    /// Whether epoch `now` shows anything of the epoch that `position` belongs to.
    pub(crate) fn has_of_epoch(&self, now: u32, position: Position) -> bool {
        let mut sequence = self.sequence(now).iter();
        sequence.any(|entry| entry.position.id.epoch() == position.id.epoch())
    }

    /// The first epoch that had `position`.
    pub(crate) fn first_epoch_of(&self, position: Position) -> u32 {
        let epochs = &mut (0..=self.epoch());
        let first = epochs.find(|epoch| self.was_visible(*epoch, position));
        first.unwrap_or(position.id.epoch())
    }

    /// How many events, from the first on, are the same in both epochs.
    pub(crate) fn shared(&self, one: u32, two: u32) -> usize {
        let both = self.sequence(one).iter().zip(self.sequence(two));
        both.take_while(|(one, two)| one.position == two.position)
            .count()
    }

    /// How many events somebody has in epoch `now`, who had everything up to `last` in `then`.
    pub(crate) fn had(&self, then: u32, last: Position, now: u32) -> usize {
        let had = self.sequence(then).partition_point(|e| e.position <= last);
        if then == now {
            return had;
        }
        had.min(self.shared(then, now))
    }

    /// What follows, in epoch `now`, what was had up to `last` in `then`.
    pub(crate) fn next_in(&self, then: u32, last: Position, now: u32) -> Option<Position> {
        let next = self.sequence(now).get(self.had(then, last, now));
        next.map(|next| next.position)
    }

    /// The messages that `now` lacks or that may show something else there than in `then`.
    pub(crate) fn changed_since(&self, then: u32, now: u32) -> BTreeSet<MessageId> {
        let gone = &self.sequence(then)[self.shared(then, now)..];
        let id_of = |entry: &Arc<Entry>| entry.event.target().unwrap_or(entry.position.id);
        gone.iter().map(id_of).collect()
    }

    pub(crate) fn ever(&self, position: Position) -> Option<&Arc<Entry>> {
        self.ever.get(&position)
    }

    /// All messages that ever were, oldest first.
    pub(crate) fn all_messages(&self) -> impl DoubleEndedIterator<Item = &Arc<Entry>> {
        self.ever.values().filter(|entry| entry.position.k == 0)
    }

    // === reading ===

    pub(crate) fn head(&self) -> Position {
        self.spans.last().expect("there is an epoch").last
    }

    pub(crate) fn opening(&self) -> Head {
        Head {
            epoch: self.epoch(),
            lineage: Lineage::new(self.spans.clone()),
            stored: if self.stored_at_ack {
                self.head()
            } else {
                self.stored
            },
            durable: true,
            stored_at_ack: self.stored_at_ack,
        }
    }

    pub(crate) fn entry(&self, position: Position) -> Option<&Arc<Entry>> {
        self.after(position)
            .checked_sub(1)
            .map(|index| &self.entries[index])
            .filter(|entry| entry.position == position)
    }

    /// The index of the first entry after `position`.
    fn after(&self, position: Position) -> usize {
        self.entries.partition_point(|e| e.position <= position)
    }

    /// How message `id` is shown at present.
    pub(crate) fn row(&self, id: MessageId) -> Option<Row> {
        let first = self.entry(Position::of(id))?;
        let mut row = Row::of(first)?;
        for entry in &self.entries[self.after(first.position)..] {
            row.apply(entry);
        }
        Some(row)
    }

    /// Whether message `id` had this text in `epoch`, or ever.
    pub(crate) fn had_content(&self, epoch: Option<u32>, id: MessageId, text: &str) -> bool {
        let was_visible =
            |entry: &Entry| epoch.is_none_or(|epoch| self.was_visible(epoch, entry.position));
        let mut ever = self.ever.values().filter(|entry| was_visible(entry));
        ever.any(|entry| match &entry.event {
            Event::Message { content } => entry.position.id == id && **content == *text,
            Event::Edit {
                message_id,
                content,
            } => *message_id == id && **content == *text,
            Event::Delete { message_id } => *message_id == id && text.is_empty(),
        })
    }

    pub(crate) fn messages(&self) -> impl DoubleEndedIterator<Item = &Arc<Entry>> {
        self.entries.iter().filter(|e| e.position.k == 0)
    }

    pub(crate) fn replay(&self, after: Position, limit: usize) -> Replay {
        let from = self.after(after);
        let to = self.entries.len().min(from + limit);
        let replayed = |entry: &Arc<Entry>| Replayed {
            entry: Entry::clone(entry),
            row: entry
                .event
                .target()
                .is_none()
                .then(|| self.row(entry.position.id))
                .flatten(),
        };
        Replay {
            events: self.entries[from..to].iter().map(replayed).collect(),
            remaining: (self.entries.len() - to) as u64,
            epoch: self.epoch(),
            head: self.head(),
        }
    }

    pub(crate) fn at(&self, position: Position) -> Option<Found> {
        let entry = self.entry(position)?;
        let id = entry.event.target().unwrap_or(position.id);
        Some(Found {
            entry: Entry::clone(entry),
            row: self.row(id)?,
        })
    }

    /// Only the newest page is told apart: other anchors are the same code in the room.
    pub(crate) fn page(&self, anchor: Anchor, limit: u8) -> Page {
        let below = match anchor {
            Anchor::Before(id) => id,
            Anchor::Newest | Anchor::After(_) | Anchor::Around(_) => {
                MessageId::new((1 << 53) - 1).expect("the highest id is one")
            }
        };
        let older = || self.messages().rev().filter(|e| e.position.id < below);
        Page {
            rows: older()
                .take(limit.into())
                .filter_map(|e| self.row(e.position.id))
                .collect(),
            has_more: older().count() > limit.into(),
            has_more_after: false,
            epoch: self.epoch(),
        }
    }

    pub(crate) fn authored(
        &self,
        author: &UserId,
        above: MessageId,
        up_to: MessageId,
        limit: usize,
    ) -> Vec<MessageId> {
        let wanted = |e: &&Arc<Entry>| {
            e.sender == *author && above < e.position.id && e.position.id <= up_to
        };
        let newest = self.messages().rev().filter(wanted).take(limit);
        let mut ids: Vec<_> = newest.map(|e| e.position.id).collect();
        ids.reverse();
        ids
    }

    /// A node has its first connection of `user`. What that publishes.
    pub(crate) fn joined(&mut self, user: UserId, at: UnixMicros) -> Option<Ephemeral> {
        let nodes = self.present.entry(user.clone()).or_default();
        *nodes += 1;
        (*nodes == 1).then_some(Ephemeral::Online { user, at })
    }

    /// A node has none any more. What that publishes.
    pub(crate) fn left(&mut self, user: UserId, at: UnixMicros) -> Option<Ephemeral> {
        let nodes = self.present.get_mut(&user).expect("who leaves was here");
        *nodes -= 1;
        if *nodes > 0 {
            return None;
        }
        self.present.remove(&user);
        Some(Ephemeral::Offline { user, at })
    }

    pub(crate) fn present(&self) -> Vec<UserId> {
        self.present.keys().cloned().collect()
    }

    /// What the advance publishes.
    pub(crate) fn advance(
        &mut self,
        user: UserId,
        cursor: Cursor,
        listed: Arc<[MessageId]>,
        at: UnixMicros,
    ) -> Option<Ephemeral> {
        let known = self.cursors.entry(user.clone()).or_default();
        let cursor = known.merge(cursor);
        if cursor == *known {
            return None;
        }
        *known = cursor;
        Some(Ephemeral::Cursor {
            user,
            cursor,
            at,
            listed,
        })
    }

    pub(crate) fn cursor(&self, user: &UserId) -> Cursor {
        self.cursors.get(user).copied().unwrap_or_default()
    }

    pub(crate) fn cursors(&self) -> Vec<(UserId, Cursor)> {
        let all = self.cursors.iter();
        all.map(|(user, cursor)| (user.clone(), *cursor)).collect()
    }

    /// The furthest cursors of everybody but `author`.
    pub(crate) fn others(&self, author: &UserId) -> Cursor {
        let others = self.cursors.iter().filter(|(user, _)| *user != author);
        others.fold(Cursor::default(), |all, (_, one)| all.merge(*one))
    }
}

fn next_position(last: Position, event: &Event) -> Position {
    match event {
        Event::Message { .. } => {
            let id = MessageId::new(last.id.get() + 1).expect("runs are short");
            Position::of(id)
        }
        Event::Edit { .. } | Event::Delete { .. } => Position {
            id: last.id,
            k: last.k + 1,
        },
    }
}
