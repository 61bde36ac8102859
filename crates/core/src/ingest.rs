//! The port to the log's end from which the persister reads: what was appended and is not stored yet.
//!
//! Called by the persister alone. Each partition has one owner at a time, by a lease. That is for
//! efficiency: two owners that both believe to be it write the same things to the store, which does
//! no harm, and a commit is refused unless the log is still the one that was read.

use std::{future::Future, time::Duration};

use parlance_protocol::{ConversationId, Position, UnixMicros, UserId};

use crate::{
    ports::{Cursor, Unavailable},
    store::{ContentDigest, EpochRow, NameDigest, Partition, StoredEvent},
};

/// A running persister.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersisterId(pub Box<str>);

/// Fences the owners of a partition: each one's number is higher than that of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u64);

/// A place in a partition's ingest, in the order of appends. Means nothing in another epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IngestId {
    /// The log's clock, in ms.
    pub ms: u64,
    /// Counts within the millisecond.
    pub seq: u64,
}

/// What a partition has to be persisted, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The partition's epoch when it was read.
    pub epoch: u32,
    /// In order. Several pieces may have the same id: they were appended together.
    pub pieces: Vec<Ingested>,
    /// How many ids there are in all, those of this batch included.
    pub backlog: u64,
    /// The log's clock when it was read, in ms.
    pub now_ms: u64,
}

/// One piece of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingested {
    /// Where it stands.
    pub id: IngestId,
    /// What it is.
    pub piece: Piece,
}

/// What may stand in the ingest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A durable event.
    Event {
        /// Its conversation.
        conversation: ConversationId,
        /// The event; without revisions.
        event: StoredEvent,
        /// The sender's name for it, if it has one.
        name: Option<NameDigest>,
        /// What it says.
        content: ContentDigest,
    },
    /// The begin of an epoch.
    Mark {
        /// The conversation.
        conversation: ConversationId,
        /// The epoch that begins.
        epoch: u32,
        /// Where the one before ended.
        broke_at: Position,
        /// Its time.
        t: UnixMicros,
        /// How many messages there are up to it.
        ordinal: u64,
        /// How many durable events there are up to it.
        count: u64,
    },
    /// What cannot be read.
    Garbled {
        /// Whose it says to be.
        conversation: Box<str>,
        /// The text.
        text: Box<str>,
        /// What is wrong with it.
        reason: Box<str>,
    },
}

/// What became durable of one conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durable {
    /// The conversation.
    pub conversation: ConversationId,
    /// The store has everything up to here.
    pub up_to: Position,
    /// How many durable events there are up to it.
    pub count: u64,
    /// Whose events were among it.
    pub senders: Vec<UserId>,
}

/// What a batch became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The epoch that it was read under.
    pub epoch: u32,
    /// Everything up to here is durable, or among the dead letters.
    pub up_to: IngestId,
    /// What is durable, one per conversation.
    pub durable: Vec<Durable>,
    /// What is laid aside.
    pub dead: Vec<DeadLetter>,
}

/// Something that the store refuses, to be looked at by a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it stood in the ingest.
    pub id: IngestId,
    /// The conversation, as far as it can be read.
    pub conversation: Box<str>,
    /// The text as it stood there, or as it would; lines of their own for what stood there together.
    pub text: Box<str>,
    /// Why it was refused.
    pub reason: Box<str>,
}

/// Why a reading or commit did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// Another persister owns the partition.
    #[error("another persister owns the partition")]
    NotOwner,
    /// The log is not the one that was read any more: read again.
    #[error("the partition is in another epoch")]
    OtherEpoch,
    /// Whether it happened is not known. Trying again is safe.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The unpersisted end of the log. Used from one thread, so futures need not be `Send`.
pub trait Ingest: Clone + 'static {
    /// Says that `me` lives for `lease` from now on, and tells who does; `me` is among them.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn attend(
        &self,
        me: &PersisterId,
        lease: Duration,
    ) -> impl Future<Output = Result<Vec<PersisterId>, Unavailable>> + 'static;

    /// Says that `me` lives no more.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn depart(&self, me: &PersisterId) -> impl Future<Output = Result<(), Unavailable>> + 'static;

    /// Takes a partition for `lease` from now on, or keeps it for so long. `None`: another persister
    /// has it.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn hold(
        &self,
        partition: Partition,
        me: &PersisterId,
        lease: Duration,
    ) -> impl Future<Output = Result<Option<Token>, Unavailable>> + 'static;

    /// Lets a partition go.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn release(
        &self,
        partition: Partition,
        token: Token,
    ) -> impl Future<Output = Result<(), Unavailable>> + 'static;

    /// The oldest pieces, of at most `limit` ids. Opens the partition's epoch if that has to be done.
    ///
    /// # Errors
    /// [`IngestError`].
    fn read(
        &self,
        partition: Partition,
        token: Token,
        limit: usize,
    ) -> impl Future<Output = Result<Batch, IngestError>> + 'static;

    /// Announces what became durable, and lets go in the log what is not needed there any more.
    ///
    /// # Errors
    /// [`IngestError`]; parts of it may have been done, and doing it again is safe.
    fn commit(
        &self,
        partition: Partition,
        token: Token,
        commit: Commit,
    ) -> impl Future<Output = Result<(), IngestError>> + 'static;

    /// An event as it would stand in the ingest: whoever gives it back there has it read again.
    fn event_text(&self, event: &StoredEvent) -> Box<str>;

    /// The begin of an epoch, likewise. Of the row of another epoch than the first, without events.
    fn mark_text(&self, mark: &EpochRow) -> Box<str>;

    /// Cursors that moved and are not known to be stored, at most `limit`.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn moved_cursors(
        &self,
        partition: Partition,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<MovedCursor>, Unavailable>> + 'static;

    /// These are stored. One that moved on since counts as moved.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn stored_cursors(
        &self,
        partition: Partition,
        cursors: Vec<MovedCursor>,
    ) -> impl Future<Output = Result<(), Unavailable>> + 'static;
}

/// A cursor to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedCursor {
    /// The conversation.
    pub conversation: ConversationId,
    /// Whose it is.
    pub user: UserId,
    /// Where it is.
    pub cursor: Cursor,
}
