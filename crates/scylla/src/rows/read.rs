//! Rows as they are read. A column that is missing or wrong is an error that names it: nothing is left
//! out silently.

use std::fmt;

use parlance_core::{
    entry::{Entry, Event},
    ports::Cursor,
    store::{EpochRow, Named, StoredEvent},
};
use parlance_protocol::{LocalId, MessageId, Position, UnixMicros, UserId};
use scylla::DeserializeRow;

use super::{DELETE, EDIT, MESSAGE, PLACEHOLDER};
use crate::failure::ReadError;

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
                trace: None,
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
