//! The ports to what outlives the log: what is asked of it, what is written to it, and the log's end
//! from which that is read.
//!
//! Called by log adapters and by the persister, never by rooms. The store owns the epoch of each
//! partition, because it is the one place that a lost log cannot take along. What it keeps is
//! immutable: an event that an epoch lost may still arrive late, and nothing that was stored is ever
//! overwritten by it. So a store answers with all that it has, and whoever asks judges by the breaks
//! what of it exists.

use std::future::Future;

use parlance_protocol::{ConversationId, MessageId, Position, UnixMicros, UserId};

use crate::{
    entry::Entry,
    ports::{Cursor, Unavailable},
};

/// Partitions of all conversations, for ever.
pub const PARTITIONS: usize = 256;

/// A partition: the conversations that share an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u8);

/// The sender's own name for an event, or the name of an event that is restored: a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameDigest(pub [u8; 12]);

/// What an event says, as a digest: to tell a repeat from another event of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentDigest(pub [u8; 4]);

/// What the store has of one epoch of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochRow {
    /// The epoch.
    pub epoch: u32,
    /// Where the epoch before ended; `None` in epoch 0.
    pub broke_at: Option<Position>,
    /// The last position of this epoch that is stored.
    pub head: Position,
    /// Its time.
    pub t: UnixMicros,
    /// How many messages there are up to it.
    pub ordinal: u64,
    /// How many durable events there are up to it.
    pub count: u64,
}

/// An event that has the name that was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// Where it stands, if it is visible.
    pub position: Position,
    /// What it says.
    pub content: ContentDigest,
}

/// A durable event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// The event. It may belong to a part of an epoch that was lost.
    pub entry: Entry,
    /// How many durable events there are up to it.
    pub count: u64,
    /// Of a message: its edits and deletes, the oldest first; whoever reads leaves out those that
    /// were lost. Not written: an edit or delete is written as an event of its own.
    pub revisions: Vec<Entry>,
}

/// What a log asks of the store.
pub trait Store: Send + Sync + 'static {
    /// Opens the next epoch of a partition and answers with its number: 0 the first time, then one
    /// more each time, but above `above` always: a log that was without this store before, or whose store
    /// was put back to an older state, has seen higher ones. Never answers with the same number twice; a
    /// lost answer skips one.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn open_epoch(
        &self,
        partition: Partition,
        above: Option<u32>,
    ) -> impl Future<Output = Result<u32, Unavailable>>;

    /// All epochs of a conversation, the oldest first. Empty: nothing of it is stored.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn epochs(
        &self,
        conversation: &ConversationId,
    ) -> impl Future<Output = Result<Vec<EpochRow>, Unavailable>>;

    /// Every event of `sender` with this name, in any epoch, visible or not.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn look_up(
        &self,
        conversation: &ConversationId,
        sender: &UserId,
        name: NameDigest,
    ) -> impl Future<Output = Result<Vec<Named>, Unavailable>>;

    /// The messages of one epoch with `from <= id <= to`, the oldest first, each with its revisions.
    /// At most [`RANGE_MAX`] ids are asked for at once. What is not stored is left out.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn messages(
        &self,
        conversation: &ConversationId,
        from: MessageId,
        to: MessageId,
    ) -> impl Future<Output = Result<Vec<StoredEvent>, Unavailable>>;

    /// The events of one epoch with `after < position <= up_to`, in order, at most `limit` of them
    /// (1 to [`RANGE_MAX`]): messages, edits and deletes, messages with their revisions. Fewer than
    /// `limit`: there are no more.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn events(
        &self,
        conversation: &ConversationId,
        after: Position,
        up_to: Position,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<StoredEvent>, Unavailable>>;

    /// The cursors of all users, in any order.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn cursors(
        &self,
        conversation: &ConversationId,
    ) -> impl Future<Output = Result<Vec<(UserId, Cursor)>, Unavailable>>;
}

/// Ids or events of one question to the store.
pub const RANGE_MAX: usize = 512;

/// What is written to the store. Everything may be written again, by anybody, at any time: the same
/// thing twice is as good as once, and an older head or cursor never takes the place of a newer one.
pub trait Archive: Send + Sync + 'static {
    /// Writes names of events of `sender`: what [`Store::look_up`] finds.
    ///
    /// # Errors
    /// [`WriteError`]; some of it may have been written.
    fn put_names(
        &self,
        conversation: &ConversationId,
        sender: &UserId,
        names: &[(NameDigest, Named)],
    ) -> impl Future<Output = Result<(), WriteError>>;

    /// Writes events of one conversation, in the order of their positions.
    ///
    /// # Errors
    /// [`WriteError`]; some of them may have been written.
    fn put_events(
        &self,
        conversation: &ConversationId,
        events: &[StoredEvent],
    ) -> impl Future<Output = Result<(), WriteError>>;

    /// Keeps the place of an event that the store refuses: a message without content that looks
    /// deleted by its author, an edit or delete without effect. The event itself, written later,
    /// takes the place.
    ///
    /// # Errors
    /// [`WriteError`].
    fn put_placeholder(
        &self,
        conversation: &ConversationId,
        event: &StoredEvent,
    ) -> impl Future<Output = Result<(), WriteError>>;

    /// Writes the head of an epoch, once everything up to it is written; with `broke_at` also where
    /// the epoch before ended, which without it stays as it is.
    ///
    /// # Errors
    /// [`WriteError`].
    fn put_epoch(
        &self,
        conversation: &ConversationId,
        row: EpochRow,
    ) -> impl Future<Output = Result<(), WriteError>>;

    /// Writes cursors, and that these users are members of the conversation.
    ///
    /// # Errors
    /// [`WriteError`].
    fn put_cursors(
        &self,
        conversation: &ConversationId,
        cursors: &[(UserId, Cursor)],
    ) -> impl Future<Output = Result<(), WriteError>>;
}

/// Why something was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Whether it was written is not known. Trying again helps, sooner or later.
    #[error("the store is not available: {0}")]
    Unavailable(#[from] Unavailable),
    /// The store does not take it, however often it is tried.
    #[error("the store refuses: {reason}")]
    Refused {
        /// Its words.
        reason: String,
    },
}

/// There is no store. Nothing can be asked of it, because there can be none of it.
#[derive(Debug)]
pub enum NoStore {}

impl Store for NoStore {
    async fn open_epoch(&self, _: Partition, _: Option<u32>) -> Result<u32, Unavailable> {
        match *self {}
    }

    async fn epochs(&self, _: &ConversationId) -> Result<Vec<EpochRow>, Unavailable> {
        match *self {}
    }

    async fn look_up(
        &self,
        _: &ConversationId,
        _: &UserId,
        _: NameDigest,
    ) -> Result<Vec<Named>, Unavailable> {
        match *self {}
    }

    async fn messages(
        &self,
        _: &ConversationId,
        _: MessageId,
        _: MessageId,
    ) -> Result<Vec<StoredEvent>, Unavailable> {
        match *self {}
    }

    async fn events(
        &self,
        _: &ConversationId,
        _: Position,
        _: Position,
        _: usize,
    ) -> Result<Vec<StoredEvent>, Unavailable> {
        match *self {}
    }

    async fn cursors(&self, _: &ConversationId) -> Result<Vec<(UserId, Cursor)>, Unavailable> {
        match *self {}
    }
}
