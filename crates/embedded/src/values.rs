//! The values of all tables: packed by hand, little-endian, a version byte first.
//!
//! Hand-made since an append writes two of them and a page reads a hundred. No checksums: the
//! engine has one per block and one per journal batch, and checks them on every read.

use parlance_core::{
    entry::{Entry, Event, Row},
    ports::Cursor,
};
use parlance_protocol::{LocalId, MessageId, Position, UnixMicros, UserId};

use crate::keys::NAME_BYTES;

const VERSION: u8 = 1;

const KIND_MESSAGE: u8 = 0;
const KIND_EDIT: u8 = 1;
const KIND_DELETE: u8 = 2;

/// An entry as stored, without its position, which is the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) entry: Entry,
    /// How many durable events the conversation had up to and including this one.
    pub(crate) count: u64,
}

/// What edits and a delete made of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) changed: Position,
    pub(crate) edited_by: Option<UserId>,
    pub(crate) deleted_by: Option<UserId>,
    pub(crate) content: Box<str>,
}

/// What a sender's name for an event stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) position: Position,
    /// Of the kind and content, see [`event_digest`].
    pub(crate) event: [u8; NAME_BYTES],
}

/// Of everything that a repeated event has to have in common with the first.
pub(crate) fn event_digest(event: &Event) -> [u8; NAME_BYTES] {
    let mut hasher = blake3::Hasher::new();
    match event {
        Event::Message { content } => {
            hasher.update(&[KIND_MESSAGE]);
            hasher.update(content.as_bytes());
        }
        Event::Edit {
            message_id,
            content,
        } => {
            hasher.update(&[KIND_EDIT]);
            hasher.update(&message_id.get().to_le_bytes());
            hasher.update(content.as_bytes());
        }
        Event::Delete { message_id } => {
            hasher.update(&[KIND_DELETE]);
            hasher.update(&message_id.get().to_le_bytes());
        }
    }
    crate::keys::first_bytes(&hasher.finalize())
}

impl Stored {
    pub(crate) fn encode(entry: &Entry, count: u64) -> Vec<u8> {
        let (kind, target, content) = match &entry.event {
            Event::Message { content } => (KIND_MESSAGE, MessageId::ZERO, &**content),
            Event::Edit {
                message_id,
                content,
            } => (KIND_EDIT, *message_id, &**content),
            Event::Delete { message_id } => (KIND_DELETE, *message_id, ""),
        };
        let mut out = Writer::with_capacity(64 + entry.sender.as_str().len() + content.len());
        out.u8(VERSION);
        out.u8(kind);
        out.position(entry.prev);
        out.u64(entry.t.0);
        out.u64(entry.ordinal);
        out.u64(count);
        out.u64(target.get());
        out.text(entry.sender.as_str());
        out.text(entry.local_id.as_ref().map_or("", LocalId::as_str));
        out.rest(content);
        out.0
    }

    /// `None`: these are no bytes that [`Stored::encode`] made.
    pub(crate) fn decode(position: Position, bytes: &[u8]) -> Option<Self> {
        let mut input = Reader(bytes);
        input.version()?;
        let kind = input.u8()?;
        let prev = input.position()?;
        let t = UnixMicros(input.u64()?);
        let ordinal = input.u64()?;
        let count = input.u64()?;
        let message_id = MessageId::new(input.u64()?)?;
        let sender = UserId::new(input.text()?).ok()?;
        let local_id = optional(input.text()?, LocalId::new)?;
        let content = || std::str::from_utf8(input.0).ok().map(Box::from);
        let event = match kind {
            KIND_MESSAGE => Event::Message {
                content: content()?,
            },
            KIND_EDIT => Event::Edit {
                message_id,
                content: content()?,
            },
            KIND_DELETE => Event::Delete { message_id },
            _ => return None,
        };
        let entry = Entry {
            position,
            prev,
            t,
            ordinal,
            sender,
            local_id,
            event,
            trace: None,
        };
        Some(Self { entry, count })
    }
}

impl Change {
    pub(crate) fn of(row: &Row) -> Self {
        Self {
            changed: row.changed,
            edited_by: row.edited_by.clone(),
            deleted_by: row.deleted_by.clone(),
            content: row.content.clone(),
        }
    }

    pub(crate) fn apply(self, row: &mut Row) {
        row.changed = self.changed;
        row.edited_by = self.edited_by;
        row.deleted_by = self.deleted_by;
        row.content = self.content;
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(64 + self.content.len());
        out.u8(VERSION);
        out.position(self.changed);
        out.text(self.edited_by.as_ref().map_or("", UserId::as_str));
        out.text(self.deleted_by.as_ref().map_or("", UserId::as_str));
        out.rest(&self.content);
        out.0
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader(bytes);
        input.version()?;
        Some(Self {
            changed: input.position()?,
            edited_by: optional(input.text()?, UserId::new)?,
            deleted_by: optional(input.text()?, UserId::new)?,
            content: std::str::from_utf8(input.0).ok()?.into(),
        })
    }
}

impl Name {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(1 + 12 + NAME_BYTES);
        out.u8(VERSION);
        out.position(self.position);
        out.0.extend(self.event);
        out.0
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader(bytes);
        input.version()?;
        Some(Self {
            position: input.position()?,
            event: input.0.try_into().ok()?,
        })
    }
}

pub(crate) fn encode_cursor(cursor: Cursor) -> Vec<u8> {
    let mut out = Writer::with_capacity(17);
    out.u8(VERSION);
    out.u64(cursor.delivered.get());
    out.u64(cursor.read.get());
    out.0
}

pub(crate) fn decode_cursor(bytes: &[u8]) -> Option<Cursor> {
    let mut input = Reader(bytes);
    input.version()?;
    Some(Cursor {
        delivered: MessageId::new(input.u64()?)?,
        read: MessageId::new(input.u64()?)?,
    })
}

/// An empty text stands for none: no id is empty.
fn optional<T, E>(text: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<Option<T>> {
    if text.is_empty() {
        return Some(None);
    }
    parse(text).ok().map(Some)
}

struct Writer(Vec<u8>);

impl Writer {
    fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    fn u8(&mut self, n: u8) {
        self.0.push(n);
    }

    fn u64(&mut self, n: u64) {
        self.0.extend(n.to_le_bytes());
    }

    fn position(&mut self, position: Position) {
        self.u64(position.id.get());
        self.0.extend(position.k.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.u8(u8::try_from(text.len()).expect("ids have at most 128 bytes"));
        self.rest(text);
    }

    fn rest(&mut self, text: &str) {
        self.0.extend(text.as_bytes());
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn version(&mut self) -> Option<()> {
        (self.u8()? == VERSION).then_some(())
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[n]| n)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn position(&mut self) -> Option<Position> {
        Some(Position {
            id: MessageId::new(self.u64()?)?,
            k: self.take().map(u32::from_le_bytes)?,
        })
    }

    fn text(&mut self) -> Option<&'a str> {
        let len = usize::from(self.u8()?);
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> MessageId {
        MessageId::new(n).unwrap()
    }

    fn entry(event: Event) -> Entry {
        Entry {
            position: Position { id: id(7), k: 2 },
            prev: Position { id: id(7), k: 1 },
            t: UnixMicros(1_700_000_000_000_000),
            ordinal: 7,
            sender: UserId::new("ann").unwrap(),
            local_id: Some(LocalId::new("tmp-ä").unwrap()),
            event,
            trace: None,
        }
    }

    #[test]
    fn every_kind_of_entry_is_read_back_as_written() {
        let content = || Box::from("grüß dich");
        for event in [
            Event::Message { content: content() },
            Event::Edit {
                message_id: id(3),
                content: content(),
            },
            Event::Delete { message_id: id(3) },
        ] {
            let entry = entry(event);

            let bytes = Stored::encode(&entry, 99);
            let back = Stored::decode(entry.position, &bytes);

            assert_eq!(back, Some(Stored { entry, count: 99 }));
        }
    }

    #[test]
    fn a_value_that_ends_early_or_is_of_another_version_is_none() {
        let bytes = Stored::encode(&entry(Event::Delete { message_id: id(3) }), 1);

        for end in 0..bytes.len() {
            assert_eq!(Stored::decode(Position::ZERO, &bytes[..end]), None, "{end}");
        }
        let mut newer = bytes;
        newer[0] = 2;
        assert_eq!(Stored::decode(Position::ZERO, &newer), None);
    }

    #[test]
    fn the_kind_and_the_target_are_part_of_what_a_repeat_must_share() {
        let message = Event::Message {
            content: "x".into(),
        };
        let edit = |n| Event::Edit {
            message_id: id(n),
            content: "x".into(),
        };

        assert_ne!(event_digest(&message), event_digest(&edit(1)));
        assert_ne!(event_digest(&edit(1)), event_digest(&edit(2)));
        assert_eq!(event_digest(&edit(1)), event_digest(&edit(1)));
    }
}
