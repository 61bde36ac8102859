//! The port to what outlives the log: what a log has to ask before it goes on after a loss.
//!
//! Called by log adapters, never by rooms. The store owns the epoch of each partition, because it
//! is the one place that a lost Redis cannot take along.

use std::future::Future;

use parlance_protocol::{ConversationId, Position, UnixMicros, UserId};

use crate::ports::Unavailable;

/// Partitions of all conversations, for ever.
pub const PARTITIONS: usize = 256;

/// A partition: the conversations that share an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u8);

/// The sender's own name for an event, or the name of an event that is restored: a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// What a log asks of the store.
pub trait Store: Send + Sync + 'static {
    /// Opens the next epoch of a partition and answers with its number: 0 the first time, then one
    /// more each time. Never answers with the same number twice; a lost answer skips one.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn open_epoch(&self, partition: Partition) -> impl Future<Output = Result<u32, Unavailable>>;

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
}

/// There is no store. Nothing can be asked of it, because there can be none of it.
#[derive(Debug)]
pub enum NoStore {}

impl Store for NoStore {
    async fn open_epoch(&self, _: Partition) -> Result<u32, Unavailable> {
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
}
