//! Durable events: what the log holds and history shows.

use parlance_protocol::{LocalId, MessageId, Position, TraceParent, UnixMicros, UserId};

/// What a user wants to become durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The authenticated author of the event.
    pub sender: UserId,
    /// The sender's own name for the event; without it the append is not idempotent.
    pub local_id: Option<LocalId>,
    /// The sender says it may have sent this before: look further than the recent memory.
    pub retry: bool,
    /// The event.
    pub event: Event,
    /// The wall clock at receipt; of a restored event, its original time. The log makes it monotone
    /// per conversation.
    pub at: UnixMicros,
    /// Where the log acknowledged this event in an earlier epoch, before it lost it: a gateway that
    /// still has it offers it again. Without a `local_id` this place is the event's name, so that
    /// several gateways that restore it append it once.
    pub restores: Option<Position>,
    /// The trace that this belongs to: as the sender gave it, and of the log's entry only if it is
    /// recorded.
    pub trace: Option<TraceParent>,
}

/// The kinds of durable events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A new message.
    Message {
        /// Its text.
        content: Box<str>,
    },
    /// New text for a message.
    Edit {
        /// The message.
        message_id: MessageId,
        /// Its new text.
        content: Box<str>,
    },
    /// A message is gone.
    Delete {
        /// The message.
        message_id: MessageId,
    },
}

impl Event {
    /// The message that an edit or delete speaks of; `None` for a message itself.
    #[must_use]
    pub const fn target(&self) -> Option<MessageId> {
        match self {
            Self::Message { .. } => None,
            Self::Edit { message_id, .. } | Self::Delete { message_id } => Some(*message_id),
        }
    }
}

/// A durable event in its place. Immutable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands. Messages have `k == 0`.
    pub position: Position,
    /// The position before it in this conversation. "Next in line" means: `prev` is my last.
    pub prev: Position,
    /// Display time, strictly monotone per conversation.
    pub t: UnixMicros,
    /// How many messages the conversation had up to and including this event.
    pub ordinal: u64,
    /// Author of the message, edit or delete.
    pub sender: UserId,
    /// As in [`Draft::local_id`].
    pub local_id: Option<LocalId>,
    /// What happened.
    pub event: Event,
    /// The trace in which this was appended, if that is recorded. Not stored. In a box, because rooms
    /// keep many entries and few are traced.
    pub trace: Option<Box<TraceParent>>,
}

/// A message as it is shown at present: the entry with its edits and delete applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The message's id.
    pub id: MessageId,
    /// Its author.
    pub sender: UserId,
    /// Its author's own name for it.
    pub local_id: Option<LocalId>,
    /// Present text; empty when deleted.
    pub content: Box<str>,
    /// When it was sent.
    pub t: UnixMicros,
    /// As in [`Entry::ordinal`].
    pub ordinal: u64,
    /// Position of the last change: the message's own, or of its newest edit or delete.
    pub changed: Position,
    /// Who edited it last.
    pub edited_by: Option<UserId>,
    /// Who deleted it.
    pub deleted_by: Option<UserId>,
}

impl Row {
    /// The row of a message that was never changed. `None` for an edit or delete.
    #[must_use]
    pub fn of(entry: &Entry) -> Option<Self> {
        let Event::Message { content } = &entry.event else {
            return None;
        };
        Some(Self {
            id: entry.position.id,
            sender: entry.sender.clone(),
            local_id: entry.local_id.clone(),
            content: content.clone(),
            t: entry.t,
            ordinal: entry.ordinal,
            changed: entry.position,
            edited_by: None,
            deleted_by: None,
        })
    }

    /// Applies an edit or delete of this message. Idempotent; older changes than the present one,
    /// entries about something else, and edits that stand after a delete (two nodes can let them
    /// cross) do nothing.
    pub fn apply(&mut self, entry: &Entry) {
        if entry.event.target() != Some(self.id) || entry.position <= self.changed {
            return;
        }
        match &entry.event {
            Event::Message { .. } => return,
            Event::Edit { content, .. } => {
                if self.deleted_by.is_some() {
                    return;
                }
                self.content = content.clone();
                self.edited_by = Some(entry.sender.clone());
            }
            Event::Delete { .. } => {
                self.content = "".into();
                self.deleted_by = Some(entry.sender.clone());
            }
        }
        self.changed = entry.position;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(k: u32, event: Event) -> Entry {
        let id = MessageId::new(1).unwrap();
        Entry {
            position: Position { id, k },
            prev: Position::ZERO,
            t: UnixMicros(1),
            ordinal: 1,
            sender: UserId::new("ann").unwrap(),
            local_id: None,
            event,
            trace: None,
        }
    }

    #[test]
    fn an_edit_that_stands_after_a_delete_changes_nothing() {
        let message_id = MessageId::new(1).unwrap();
        let content = || Box::from("text");
        let message = entry(0, Event::Message { content: content() });
        let delete = entry(1, Event::Delete { message_id });
        let edit = Event::Edit {
            message_id,
            content: content(),
        };
        let mut row = Row::of(&message).unwrap();
        row.apply(&delete);
        let deleted = row.clone();

        row.apply(&entry(2, edit));

        assert_eq!(row, deleted);
        assert_eq!((row.changed.k, &*row.content), (1, ""));
    }
}
