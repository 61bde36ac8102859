//! A store in memory: what a real one answers, without one.
//!
//! Used by tests of what stands on a store. It passes the same suite as the real adapter
//! ([`crate::contract::store`]), and can be told to fail.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parlance_core::{
    entry::{Entry, Event},
    ports::{Cursor, Unavailable},
    store::{Archive, EpochRow, NameDigest, Named, Partition, Store, StoredEvent, WriteError},
};
use parlance_protocol::{ConversationId, MessageId, Position, UserId};

use crate::server::locked;

/// Keeps everything until it is dropped.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    is_down: AtomicBool,
    refused: Mutex<Option<Box<str>>>,
    readings: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    epochs: HashMap<Partition, u32>,
    conversations: HashMap<ConversationId, Conversation>,
}

#[derive(Debug, Default)]
struct Conversation {
    events: BTreeMap<Position, Kept>,
    epochs: BTreeMap<u32, EpochRow>,
    names: BTreeMap<(UserId, NameDigest, Position), Named>,
    cursors: BTreeMap<UserId, Cursor>,
}

#[derive(Debug, Clone)]
struct Kept {
    event: StoredEvent,
    is_placeholder: bool,
}

impl MemoryStore {
    /// From now on nothing can be had from it, until it is told otherwise.
    pub fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::Relaxed);
    }

    /// Refuses events whose content has `text` in it.
    pub fn refuse(&self, text: &str) {
        *locked(&self.refused) = Some(text.into());
    }

    /// How many questions it answered about events and messages.
    #[must_use]
    pub fn readings(&self) -> u64 {
        self.readings.load(Ordering::Relaxed)
    }

    /// Every event that was written, the lost ones too, in order.
    #[must_use]
    pub fn everything(&self, conversation: &ConversationId) -> Vec<StoredEvent> {
        let state = locked(&self.state);
        let kept = state.conversations.get(conversation);
        kept.map_or_else(Vec::new, |kept| {
            kept.events
                .values()
                .map(|kept| kept.event.clone())
                .collect()
        })
    }

    fn check(&self) -> Result<(), Unavailable> {
        match self.is_down.load(Ordering::Relaxed) {
            true => Err(Unavailable::new("the store in memory is down")),
            false => Ok(()),
        }
    }

    fn read<T: Default>(
        &self,
        conversation: &ConversationId,
        read: impl FnOnce(&Conversation) -> T,
    ) -> Result<T, Unavailable> {
        self.check()?;
        let state = locked(&self.state);
        Ok(state
            .conversations
            .get(conversation)
            .map(read)
            .unwrap_or_default())
    }

    fn write(
        &self,
        conversation: &ConversationId,
        write: impl FnOnce(&mut Conversation),
    ) -> Result<(), WriteError> {
        self.check()?;
        let mut state = locked(&self.state);
        write(state.conversations.entry(conversation.clone()).or_default());
        Ok(())
    }

    fn refuses(&self, event: &StoredEvent) -> bool {
        let content = match &event.entry.event {
            Event::Message { content } | Event::Edit { content, .. } => content,
            Event::Delete { .. } => return false,
        };
        let refused = locked(&self.refused);
        refused
            .as_ref()
            .is_some_and(|text| content.contains(&**text))
    }
}

impl Conversation {
    /// With its revisions, if it is a message.
    fn shown(&self, kept: &Kept) -> StoredEvent {
        let mut event = kept.event.clone();
        if event.entry.event.target().is_none() {
            event.revisions = self.revisions(event.entry.position.id);
            if kept.is_placeholder {
                let delete = deleted_by_author(&event.entry);
                event.revisions.insert(0, delete);
            }
        }
        event
    }

    fn revisions(&self, message: MessageId) -> Vec<Entry> {
        let all = self.events.values().filter(|kept| !kept.is_placeholder);
        all.map(|kept| &kept.event.entry)
            .filter(|entry| entry.event.target() == Some(message))
            .cloned()
            .collect()
    }
}

/// What a placeholder of a message looks like: deleted at the place behind it, which is never used.
fn deleted_by_author(message: &Entry) -> Entry {
    let id = message.position.id;
    Entry {
        position: Position { id, k: 1 },
        event: Event::Delete { message_id: id },
        local_id: None,
        ..message.clone()
    }
}

impl Store for MemoryStore {
    async fn open_epoch(
        &self,
        partition: Partition,
        above: Option<u32>,
    ) -> Result<u32, Unavailable> {
        self.check()?;
        let mut state = locked(&self.state);
        let last = state.epochs.get(&partition).copied().max(above);
        let next = last.map_or(0, |epoch| epoch + 1);
        state.epochs.insert(partition, next);
        Ok(next)
    }

    async fn epochs(&self, conversation: &ConversationId) -> Result<Vec<EpochRow>, Unavailable> {
        self.read(conversation, |kept| kept.epochs.values().copied().collect())
    }

    async fn look_up(
        &self,
        conversation: &ConversationId,
        sender: &UserId,
        name: NameDigest,
    ) -> Result<Vec<Named>, Unavailable> {
        self.read(conversation, |kept| {
            let of_name = |position| (sender.clone(), name, position);
            let found = kept.names.range(of_name(Position::ZERO)..);
            let found = found.take_while(|((of, named, _), _)| of == sender && *named == name);
            found.map(|(_, named)| *named).collect()
        })
    }

    async fn messages(
        &self,
        conversation: &ConversationId,
        from: MessageId,
        to: MessageId,
    ) -> Result<Vec<StoredEvent>, Unavailable> {
        self.readings.fetch_add(1, Ordering::Relaxed);
        self.read(conversation, |kept| {
            // A range that ends before it begins would be a panic.
            let range = kept
                .events
                .range(Position::of(from)..=Position::of(to.max(from)));
            let range = range.filter(|(position, _)| position.id <= to);
            let messages = range.filter(|(_, kept)| kept.event.entry.event.target().is_none());
            messages.map(|(_, event)| kept.shown(event)).collect()
        })
    }

    async fn events(
        &self,
        conversation: &ConversationId,
        after: Position,
        up_to: Position,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, Unavailable> {
        self.readings.fetch_add(1, Ordering::Relaxed);
        self.read(conversation, |kept| {
            let range = kept.events.range(..=up_to);
            let behind = range.filter(|(position, _)| **position > after);
            behind
                .map(|(_, event)| kept.shown(event))
                .take(limit)
                .collect()
        })
    }

    async fn cursors(
        &self,
        conversation: &ConversationId,
    ) -> Result<Vec<(UserId, Cursor)>, Unavailable> {
        self.read(conversation, |kept| {
            let cursors = kept.cursors.iter();
            cursors
                .map(|(user, cursor)| (user.clone(), *cursor))
                .collect()
        })
    }
}

impl Archive for MemoryStore {
    async fn put_names(
        &self,
        conversation: &ConversationId,
        sender: &UserId,
        names: &[(NameDigest, Named)],
    ) -> Result<(), WriteError> {
        self.write(conversation, |kept| {
            for (name, named) in names {
                let key = (sender.clone(), *name, named.position);
                kept.names.insert(key, *named);
            }
        })
    }

    async fn put_events(
        &self,
        conversation: &ConversationId,
        events: &[StoredEvent],
    ) -> Result<(), WriteError> {
        if events.iter().any(|event| self.refuses(event)) {
            let reason = "a word that is not taken".to_owned();
            return Err(WriteError::Refused { reason });
        }
        self.write(conversation, |kept| {
            for event in events {
                let (position, event) = (event.entry.position, event.clone());
                let is_placeholder = false;
                kept.events.insert(
                    position,
                    Kept {
                        event,
                        is_placeholder,
                    },
                );
            }
        })
    }

    async fn put_placeholder(
        &self,
        conversation: &ConversationId,
        event: &StoredEvent,
    ) -> Result<(), WriteError> {
        let mut event = event.clone();
        match &mut event.entry.event {
            Event::Message { content } | Event::Edit { content, .. } => *content = "".into(),
            Event::Delete { .. } => {}
        }
        self.write(conversation, |kept| {
            let position = event.entry.position;
            let is_placeholder = true;
            let place = kept.events.entry(position);
            place.or_insert(Kept {
                event,
                is_placeholder,
            });
        })
    }

    async fn put_epoch(
        &self,
        conversation: &ConversationId,
        row: EpochRow,
    ) -> Result<(), WriteError> {
        self.write(conversation, |kept| {
            let known = kept.epochs.entry(row.epoch).or_insert(row);
            let broke_at = row.broke_at.or(known.broke_at);
            if row.t >= known.t {
                *known = row;
            }
            known.broke_at = broke_at;
        })
    }

    async fn put_cursors(
        &self,
        conversation: &ConversationId,
        cursors: &[(UserId, Cursor)],
    ) -> Result<(), WriteError> {
        self.write(conversation, |kept| {
            for (user, cursor) in cursors {
                let known = kept.cursors.entry(user.clone()).or_default();
                *known = known.merge(*cursor);
            }
        })
    }
}
