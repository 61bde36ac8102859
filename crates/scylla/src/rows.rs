//! Rows as they are written and read.

use std::fmt;

use parlance_core::{
    entry::{Entry, Event},
    ports::Cursor,
    store::{EpochRow, NameDigest, Named, StoredEvent},
};
use parlance_protocol::{LocalId, MessageId, Position, UnixMicros, UserId};
use scylla::{
    DeserializeRow,
    serialize::{
        SerializationError,
        row::{RowSerializationContext, SerializeRow},
        writers::RowWriter,
    },
    statement::prepared::PreparedStatement,
};

use crate::{failure::ReadError, statements::Statements};

/// Ids of one partition of `messages` and `events`. Epochs begin at a multiple of it.
pub(crate) const BUCKET_IDS: u64 = 10_000;

pub(crate) const fn bucket_of(id: MessageId) -> u64 {
    id.get() / BUCKET_IDS
}

const MESSAGE: i8 = 0;
const EDIT: i8 = 1;
const DELETE: i8 = 2;
/// Added to the kind of an event that was refused.
const PLACEHOLDER: i8 = 10;

const fn kind_of(event: &Event) -> i8 {
    match event {
        Event::Message { .. } => MESSAGE,
        Event::Edit { .. } => EDIT,
        Event::Delete { .. } => DELETE,
    }
}

/// A row that is written by one statement, in a batch of rows of its partition or alone.
pub(crate) trait Row: SerializeRow + Sync {
    fn statement<'s>(&self, statements: &'s Statements) -> &'s PreparedStatement;

    /// What it adds to the size of a batch beyond some hundred bytes.
    fn content_bytes(&self) -> usize {
        0
    }
}

/// Writes one value after the other.
struct Values<'w, 'buf>(&'w mut RowWriter<'buf>);

impl Values<'_, '_> {
    fn bytes(&mut self, value: &[u8]) -> Result<(), SerializationError> {
        let written = self.0.make_cell_writer().set_value(value);
        written.map(|_| ()).map_err(SerializationError::new)
    }

    fn text(&mut self, value: &str) -> Result<(), SerializationError> {
        self.bytes(value.as_bytes())
    }

    fn bigint(&mut self, value: i64) -> Result<(), SerializationError> {
        self.bytes(&value.to_be_bytes())
    }

    /// Everything that is counted here stays below 2^63.
    fn number(&mut self, value: u64) -> Result<(), SerializationError> {
        self.bigint(value.cast_signed())
    }

    fn position(&mut self, position: Position) -> Result<(), SerializationError> {
        self.number(position.id.get())?;
        self.number(position.k.into())
    }

    /// Not NULL, which would be a tombstone.
    fn unset(&mut self) {
        let _written = self.0.make_cell_writer().set_unset();
    }
}

/// Where an event's row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In `messages`: the message, or a revision beside it.
    Beside(MessageId),
    /// In `events`.
    InLog,
}

/// A row of `messages` or `events`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PutEvent<'a> {
    pub(crate) conversation: &'a str,
    pub(crate) place: Place,
    pub(crate) event: &'a StoredEvent,
    pub(crate) is_placeholder: bool,
}

impl<'a> PutEvent<'a> {
    /// The rows of one event: one of a message, two of an edit or delete.
    pub(crate) fn all_of(
        conversation: &'a str,
        event: &'a StoredEvent,
        is_placeholder: bool,
    ) -> impl Iterator<Item = Self> {
        let target = event.entry.event.target();
        let beside = Place::Beside(target.unwrap_or(event.entry.position.id));
        let in_log = target.map(|_| Place::InLog);
        [Some(beside), in_log]
            .into_iter()
            .flatten()
            .map(move |place| Self {
                conversation,
                place,
                event,
                is_placeholder,
            })
    }

    /// The table and the partition in it.
    pub(crate) fn partition(&self) -> (bool, u64) {
        match self.place {
            Place::Beside(message) => (false, bucket_of(message)),
            Place::InLog => (true, bucket_of(self.event.entry.position.id)),
        }
    }

    fn content(&self) -> Option<&str> {
        match &self.event.entry.event {
            Event::Message { content } | Event::Edit { content, .. } => {
                Some(if self.is_placeholder { "" } else { content })
            }
            Event::Delete { .. } => None,
        }
    }
}

impl Row for PutEvent<'_> {
    fn statement<'s>(&self, statements: &'s Statements) -> &'s PreparedStatement {
        match self.place {
            Place::Beside(_) => &statements.put_message,
            Place::InLog => &statements.put_event,
        }
    }

    fn content_bytes(&self) -> usize {
        self.content().map_or(0, str::len)
    }
}

impl SerializeRow for PutEvent<'_> {
    fn serialize(
        &self,
        _: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        let entry = &self.event.entry;
        let mut kind = kind_of(&entry.event);
        let mut written_at = entry.t.0.cast_signed();
        if self.is_placeholder {
            kind += PLACEHOLDER;
            // The event itself wins.
            written_at -= 1;
        }
        let mut values = Values(writer);
        values.text(self.conversation)?;
        values.number(self.partition().1)?;
        match self.place {
            Place::Beside(message) => {
                values.number(message.get())?;
                values.position(entry.position)?;
                values.bytes(&kind.to_be_bytes())?;
            }
            Place::InLog => {
                values.position(entry.position)?;
                values.bytes(&kind.to_be_bytes())?;
                match entry.event.target() {
                    Some(target) => values.number(target.get())?,
                    None => values.unset(),
                }
            }
        }
        values.text(entry.sender.as_str())?;
        match &entry.local_id {
            Some(local_id) => values.text(local_id.as_str())?,
            None => values.unset(),
        }
        match self.content() {
            Some(content) => values.text(content)?,
            None => values.unset(),
        }
        values.number(entry.t.0)?;
        values.number(entry.ordinal)?;
        values.number(self.event.count)?;
        values.position(entry.prev)?;
        values.bigint(written_at)
    }

    fn is_empty(&self) -> bool {
        false
    }
}

/// A row of `local_ids`.
#[derive(Debug)]
pub(crate) struct PutName<'a> {
    pub(crate) conversation: &'a str,
    pub(crate) sender: &'a str,
    pub(crate) name: NameDigest,
    pub(crate) named: Named,
}

impl Row for PutName<'_> {
    fn statement<'s>(&self, statements: &'s Statements) -> &'s PreparedStatement {
        &statements.put_name
    }
}

impl SerializeRow for PutName<'_> {
    fn serialize(
        &self,
        _: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        let mut values = Values(writer);
        values.text(self.conversation)?;
        values.text(self.sender)?;
        values.bytes(&self.name.0)?;
        values.position(self.named.position)?;
        values.bytes(&self.named.content.0)
    }

    fn is_empty(&self) -> bool {
        false
    }
}

/// A row of `epochs`.
#[derive(Debug)]
pub(crate) struct PutEpoch<'a> {
    pub(crate) conversation: &'a str,
    pub(crate) row: EpochRow,
}

impl Row for PutEpoch<'_> {
    fn statement<'s>(&self, statements: &'s Statements) -> &'s PreparedStatement {
        &statements.put_epoch
    }
}

impl SerializeRow for PutEpoch<'_> {
    fn serialize(
        &self,
        _: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        let mut values = Values(writer);
        values.text(self.conversation)?;
        values.number(self.row.epoch.into())?;
        match self.row.broke_at {
            Some(position) => values.position(position)?,
            None => {
                values.unset();
                values.unset();
            }
        }
        values.position(self.row.head)?;
        values.number(self.row.t.0)?;
        values.number(self.row.ordinal)?;
        values.number(self.row.count)?;
        // A newer head has a later time.
        values.number(self.row.t.0)
    }

    fn is_empty(&self) -> bool {
        false
    }
}

/// One of the two cursors of a user, or that the user is a member.
#[derive(Debug, Clone, Copy)]
pub(crate) enum OfUser {
    Delivered(MessageId),
    Read(MessageId),
    /// In `members`.
    Member,
    /// In `memberships`.
    Membership,
}

/// A row of `cursors`, `members` or `memberships`.
#[derive(Debug)]
pub(crate) struct PutOfUser<'a> {
    pub(crate) conversation: &'a str,
    pub(crate) user: &'a str,
    pub(crate) what: OfUser,
}

impl Row for PutOfUser<'_> {
    fn statement<'s>(&self, statements: &'s Statements) -> &'s PreparedStatement {
        match self.what {
            OfUser::Delivered(_) => &statements.put_delivered,
            OfUser::Read(_) => &statements.put_read,
            OfUser::Member => &statements.put_member,
            OfUser::Membership => &statements.put_membership,
        }
    }
}

impl SerializeRow for PutOfUser<'_> {
    fn serialize(
        &self,
        _: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        let mut values = Values(writer);
        match self.what {
            OfUser::Delivered(id) | OfUser::Read(id) => {
                values.text(self.conversation)?;
                values.text(self.user)?;
                values.number(id.get())?;
                // So that the higher one wins.
                values.number(id.get())
            }
            OfUser::Member => {
                values.text(self.conversation)?;
                values.text(self.user)
            }
            OfUser::Membership => {
                values.text(self.user)?;
                values.text(self.conversation)
            }
        }
    }

    fn is_empty(&self) -> bool {
        false
    }
}

// === what is read ===

/// A row of `messages`, in the order of the statement.
#[derive(Debug, DeserializeRow)]
#[scylla(flavor = "enforce_order", skip_name_checks)]
pub(crate) struct MessageRow<'f> {
    pub(crate) id: i64,
    pub(crate) rev_id: i64,
    pub(crate) rev_k: i64,
    pub(crate) kind: Option<i8>,
    pub(crate) sender: Option<&'f str>,
    pub(crate) local_id: Option<&'f str>,
    pub(crate) content: Option<&'f str>,
    pub(crate) t: Option<i64>,
    pub(crate) ordinal: Option<i64>,
    pub(crate) count: Option<i64>,
    pub(crate) prev_id: Option<i64>,
    pub(crate) prev_k: Option<i64>,
}

/// A row of `events`, in the order of the statement.
#[derive(Debug, DeserializeRow)]
#[scylla(flavor = "enforce_order", skip_name_checks)]
pub(crate) struct LogRow<'f> {
    pub(crate) id: i64,
    pub(crate) k: i64,
    pub(crate) kind: Option<i8>,
    pub(crate) target_id: Option<i64>,
    pub(crate) sender: Option<&'f str>,
    pub(crate) local_id: Option<&'f str>,
    pub(crate) content: Option<&'f str>,
    pub(crate) t: Option<i64>,
    pub(crate) ordinal: Option<i64>,
    pub(crate) count: Option<i64>,
    pub(crate) prev_id: Option<i64>,
    pub(crate) prev_k: Option<i64>,
}

/// A row of `epochs`, in the order of the statement.
#[derive(Debug, DeserializeRow)]
#[scylla(flavor = "enforce_order", skip_name_checks)]
pub(crate) struct StoredEpoch {
    epoch: i64,
    broke_id: Option<i64>,
    broke_k: Option<i64>,
    head_id: Option<i64>,
    head_k: Option<i64>,
    t: Option<i64>,
    ordinal: Option<i64>,
    count: Option<i64>,
}

/// A row of `local_ids`, in the order of the statement.
#[derive(Debug, DeserializeRow)]
#[scylla(flavor = "enforce_order", skip_name_checks)]
pub(crate) struct StoredName<'f> {
    id: i64,
    k: i64,
    content: Option<&'f [u8]>,
}

/// A row of `cursors`, in the order of the statement.
#[derive(Debug, DeserializeRow)]
#[scylla(flavor = "enforce_order", skip_name_checks)]
pub(crate) struct StoredCursor<'f> {
    user_id: &'f str,
    delivered: Option<i64>,
    read: Option<i64>,
}

fn garbled(what: impl fmt::Display) -> ReadError {
    ReadError::Garbled(what.to_string())
}

fn number(column: &str, value: Option<i64>) -> Result<u64, ReadError> {
    let number = value.and_then(|value| u64::try_from(value).ok());
    number.ok_or_else(|| garbled(format_args!("{column} is {value:?}")))
}

fn id(column: &str, value: Option<i64>) -> Result<MessageId, ReadError> {
    let id = MessageId::new(number(column, value)?);
    id.ok_or_else(|| garbled(format_args!("{column} is {value:?}")))
}

fn position(column: &str, at: Option<i64>, k: Option<i64>) -> Result<Position, ReadError> {
    let k = u32::try_from(number(column, k)?).map_err(garbled)?;
    let id = id(column, at)?;
    Ok(Position { id, k })
}

/// What a row says of an event apart from its key.
struct Body<'f> {
    position: Position,
    kind: i8,
    target: MessageId,
    sender: Option<&'f str>,
    local_id: Option<&'f str>,
    content: Option<&'f str>,
    t: Option<i64>,
    ordinal: Option<i64>,
    count: Option<i64>,
    prev_id: Option<i64>,
    prev_k: Option<i64>,
}

impl Body<'_> {
    fn event(&self, senders: &mut Senders) -> Result<StoredEvent, ReadError> {
        let at = self.position;
        let missing = |what| garbled(format_args!("{what} of {at} is missing"));
        let content = || {
            self.content
                .map(Box::from)
                .ok_or_else(|| missing("content"))
        };
        let event = match self.kind {
            MESSAGE => Event::Message {
                content: content()?,
            },
            EDIT => Event::Edit {
                message_id: self.target,
                content: content()?,
            },
            DELETE => Event::Delete {
                message_id: self.target,
            },
            other => return Err(garbled(format_args!("kind of {at} is {other}"))),
        };
        let local_id = self
            .local_id
            .map(LocalId::new)
            .transpose()
            .map_err(garbled)?;
        Ok(StoredEvent {
            entry: Entry {
                position: at,
                prev: position("prev", self.prev_id, self.prev_k)?,
                t: UnixMicros(number("t", self.t)?),
                ordinal: number("ordinal", self.ordinal)?,
                sender: senders.get(self.sender.ok_or_else(|| missing("sender"))?)?,
                local_id,
                event,
            },
            count: number("count", self.count)?,
            revisions: Vec::new(),
        })
    }
}

/// Most rows that follow each other have the sender of one of the two before.
#[derive(Debug, Default)]
struct Senders([Option<UserId>; 2]);

impl Senders {
    fn get(&mut self, text: &str) -> Result<UserId, ReadError> {
        let mut known = self.0.iter().flatten();
        if let Some(known) = known.find(|known| known.as_str() == text) {
            return Ok(known.clone());
        }
        let sender = UserId::new(text).map_err(garbled)?;
        self.0.swap(0, 1);
        self.0[0] = Some(sender.clone());
        Ok(sender)
    }
}

/// Puts the rows of one bucket of `messages` together: a message is followed by its revisions.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    senders: Senders,
    pub(crate) messages: Vec<StoredEvent>,
}

impl Assembly {
    /// The next row in ascending order.
    pub(crate) fn add(&mut self, row: &MessageRow<'_>) -> Result<(), ReadError> {
        let kind = row.kind.unwrap_or(-1);
        let (is_placeholder, kind) = plain(kind);
        let target = id("id", Some(row.id))?;
        let body = Body {
            position: position("rev", Some(row.rev_id), Some(row.rev_k))?,
            kind,
            target,
            sender: row.sender,
            local_id: row.local_id,
            content: row.content,
            t: row.t,
            ordinal: row.ordinal,
            count: row.count,
            prev_id: row.prev_id,
            prev_k: row.prev_k,
        };
        if kind == MESSAGE {
            let mut message = body.event(&mut self.senders)?;
            if is_placeholder {
                message.revisions.push(deleted_by_author(&message.entry));
            }
            self.messages.push(message);
            return Ok(());
        }
        // A revision without its message, which is not stored, is left out with it; one that was
        // refused has no effect.
        let message = self.messages.last_mut();
        let message = message.filter(|message| message.entry.position.id == target);
        if let Some(message) = message.filter(|_| !is_placeholder) {
            message.revisions.push(body.event(&mut self.senders)?.entry);
        }
        Ok(())
    }
}

/// What a placeholder of a message looks like: deleted at the place behind it.
fn deleted_by_author(message: &Entry) -> Entry {
    let message_id = message.position.id;
    Entry {
        position: Position {
            id: message_id,
            k: 1,
        },
        event: Event::Delete { message_id },
        local_id: None,
        ..message.clone()
    }
}

const fn plain(kind: i8) -> (bool, i8) {
    if kind >= PLACEHOLDER {
        (true, kind - PLACEHOLDER)
    } else {
        (false, kind)
    }
}

/// The rows of one bucket of `events`.
#[derive(Debug, Default)]
pub(crate) struct LogRows {
    senders: Senders,
    pub(crate) events: Vec<StoredEvent>,
}

impl LogRows {
    pub(crate) fn add(&mut self, row: &LogRow<'_>) -> Result<(), ReadError> {
        let (_, kind) = plain(row.kind.unwrap_or(-1));
        let body = Body {
            position: position("id", Some(row.id), Some(row.k))?,
            kind,
            target: id("target_id", row.target_id)?,
            sender: row.sender,
            local_id: row.local_id,
            content: row.content,
            t: row.t,
            ordinal: row.ordinal,
            count: row.count,
            prev_id: row.prev_id,
            prev_k: row.prev_k,
        };
        self.events.push(body.event(&mut self.senders)?);
        Ok(())
    }
}

impl StoredEpoch {
    pub(crate) fn row(&self) -> Result<EpochRow, ReadError> {
        let broke_at = match self.broke_id {
            Some(_) => Some(position("broke", self.broke_id, self.broke_k)?),
            None => None,
        };
        Ok(EpochRow {
            epoch: u32::try_from(self.epoch).map_err(garbled)?,
            broke_at,
            head: position("head", self.head_id, self.head_k)?,
            t: UnixMicros(number("t", self.t)?),
            ordinal: number("ordinal", self.ordinal)?,
            count: number("count", self.count)?,
        })
    }
}

impl StoredName<'_> {
    pub(crate) fn named(&self) -> Result<Named, ReadError> {
        let content = self.content.and_then(|content| content.try_into().ok());
        let content = content.ok_or_else(|| garbled("a digest is missing"))?;
        Ok(Named {
            position: position("id", Some(self.id), Some(self.k))?,
            content: parlance_core::store::ContentDigest(content),
        })
    }
}

impl StoredCursor<'_> {
    pub(crate) fn cursor(&self) -> Result<(UserId, Cursor), ReadError> {
        // Each may have been written alone.
        let cursor = Cursor {
            delivered: id("delivered", self.delivered.or(Some(0)))?,
            read: id("read", self.read.or(Some(0)))?,
        };
        let user = UserId::new(self.user_id).map_err(garbled)?;
        Ok((user, cursor.merge(Cursor::default())))
    }
}
