//! Rows as they are written: which statement, and its values in order.

use parlance_core::{
    entry::Event,
    store::{EpochRow, NameDigest, Named, StoredEvent},
};
use parlance_protocol::{MessageId, Position};
use scylla::{
    serialize::{
        SerializationError,
        row::{RowSerializationContext, SerializeRow},
        writers::RowWriter,
    },
    statement::prepared::PreparedStatement,
};

use super::{PLACEHOLDER, bucket_of, kind_of};
use crate::statements::Statements;

/// A row that is written by one statement, in a batch of rows of its partition or alone.
pub(crate) trait Row: SerializeRow + Sync {
    fn statement<'s>(&self, statements: &'s Statements) -> &'s PreparedStatement;

    /// Writes the values of the statement, in its order.
    fn write(&self, values: &mut Values<'_, '_>) -> Result<(), SerializationError>;

    /// What it adds to the size of a batch beyond some hundred bytes.
    fn content_bytes(&self) -> usize {
        0
    }
}

/// The driver asks for this of each type by itself.
macro_rules! serialized {
    ($($row:ty),+) => {$(
        impl SerializeRow for $row {
            fn serialize(
                &self,
                _: &RowSerializationContext<'_>,
                writer: &mut RowWriter<'_>,
            ) -> Result<(), SerializationError> {
                self.write(&mut Values(writer))
            }

            fn is_empty(&self) -> bool {
                false
            }
        }
    )+};
}

serialized!(PutEvent<'_>, PutName<'_>, PutEpoch<'_>, PutOfUser<'_>);

/// Writes one value after the other.
pub(crate) struct Values<'w, 'buf>(&'w mut RowWriter<'buf>);

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

    fn write(&self, values: &mut Values<'_, '_>) -> Result<(), SerializationError> {
        let entry = &self.event.entry;
        let mut kind = kind_of(&entry.event);
        let mut written_at = entry.t.0.cast_signed();
        if self.is_placeholder {
            kind += PLACEHOLDER;
            // The event itself wins.
            written_at -= 1;
        }
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

    fn write(&self, values: &mut Values<'_, '_>) -> Result<(), SerializationError> {
        values.text(self.conversation)?;
        values.text(self.sender)?;
        values.bytes(&self.name.0)?;
        values.position(self.named.position)?;
        values.bytes(&self.named.content.0)
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

    fn write(&self, values: &mut Values<'_, '_>) -> Result<(), SerializationError> {
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

    fn write(&self, values: &mut Values<'_, '_>) -> Result<(), SerializationError> {
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
}
