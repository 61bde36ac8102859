//! What really is: one log, and who is where. Every node's ports show this, sooner or later.

use std::{
    collections::{BTreeMap, btree_map},
    sync::Arc,
};

use parlance_core::{
    entry::{Draft, Entry, Event, Row},
    lineage::{Lineage, Span},
    ports::{Appended, Cursor, Ephemeral, Found, Head, Page, Replay, Replayed},
};
use parlance_protocol::{Anchor, LocalId, MessageId, Position, UnixMicros, UserId};

#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) entries: Vec<Arc<Entry>>,
    named: BTreeMap<(UserId, LocalId), Position>,
    /// How many nodes have each user.
    present: BTreeMap<UserId, usize>,
    cursors: BTreeMap<UserId, Cursor>,
}

impl Truth {
    pub(crate) fn append(&mut self, draft: Draft, at: UnixMicros) -> Appended {
        if let Some(local_id) = &draft.local_id {
            let name = (draft.sender.clone(), local_id.clone());
            match self.named.entry(name) {
                btree_map::Entry::Occupied(known) => {
                    let position = *known.get();
                    let same = self.entry(position).is_some_and(|e| e.event == draft.event);
                    return match same {
                        true => Appended::Duplicate(position),
                        false => Appended::Conflict,
                    };
                }
                btree_map::Entry::Vacant(free) => drop(free.insert(next_position(
                    self.entries.last().map(|last| &**last),
                    &draft.event,
                ))),
            }
        }
        let last = self.entries.last();
        let is_message = draft.event.target().is_none();
        let entry = Arc::new(Entry {
            position: next_position(last.map(|last| &**last), &draft.event),
            prev: last.map_or(Position::ZERO, |last| last.position),
            t: last.map_or(at, |last| at.max(UnixMicros(last.t.0 + 1))),
            ordinal: last.map_or(0, |last| last.ordinal) + u64::from(is_message),
            sender: draft.sender,
            local_id: draft.local_id,
            event: draft.event,
        });
        self.entries.push(entry.clone());
        Appended::New(entry)
    }

    pub(crate) fn head(&self) -> Position {
        self.entries.last().map_or(Position::ZERO, |e| e.position)
    }

    pub(crate) fn opening(&self) -> Head {
        let span = Span {
            epoch: 0,
            last: self.head(),
            ordinal_before: 0,
        };
        Head {
            epoch: 0,
            lineage: Lineage::new(vec![span]),
            stored: self.head(),
            durable: true,
            stored_at_ack: true,
        }
    }

    pub(crate) fn entry(&self, position: Position) -> Option<&Arc<Entry>> {
        self.after(position)
            .checked_sub(1)
            .map(|index| &self.entries[index])
            .filter(|entry| entry.position == position)
    }

    /// What follows `position`, whether something stands there or not.
    pub(crate) fn next(&self, position: Position) -> Option<&Arc<Entry>> {
        self.entries.get(self.after(position))
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

    /// Whether message `id` ever had this text.
    pub(crate) fn had_content(&self, id: MessageId, text: &str) -> bool {
        self.entries.iter().any(|entry| match &entry.event {
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
            epoch: 0,
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
            epoch: 0,
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

fn next_position(last: Option<&Entry>, event: &Event) -> Position {
    let last = last.map_or(Position::ZERO, |last| last.position);
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
