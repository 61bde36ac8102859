//! The ports: what a room needs from the outside, and what every adapter promises.
//!
//! A gateway shard attaches once to a [`Backend`] and gets a handle (commands) and a feed (what
//! others did). Handles are used from the shard's own thread only, so futures need not be `Send`.
//! The contract suites in `testkit` hold every adapter to the promises written here.

use std::{future::Future, sync::Arc};

use parlance_protocol::{Anchor, ConversationId, MessageId, Position, UnixMicros, UserId};

use crate::{
    entry::{Draft, Entry, Row},
    identity::Identity,
    lineage::Lineage,
    room::Opened,
};

/// Something that was asked for could not be had. The outcome of an append is then *unknown*.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unavailable {
    /// For the log, not for clients.
    pub reason: Arc<str>,
}

impl Unavailable {
    /// From anything that can be shown.
    pub fn new(reason: impl std::fmt::Display) -> Self {
        Self {
            reason: reason.to_string().into(),
        }
    }
}

/// Where events become durable, history is read, and other nodes are heard. One per process.
pub trait Backend: Send + Sync + 'static {
    /// The commands of one shard.
    type Handle: Log + History + Bus + Presence + Receipts + Opening;
    /// What one shard hears.
    type Feed: Feed;

    /// A new shard's ends. Called on the shard's thread, inside its runtime.
    fn attach(&self) -> (Self::Handle, Self::Feed);
}

/// The log of each conversation.
pub trait Log: Clone + 'static {
    /// Makes `draft` durable, at the next position of `conversation`.
    ///
    /// The order of *calls* on one handle is the order of positions: the draft is queued when the
    /// method is called, not when the future is polled. The future answers when the event is as
    /// durable as configured, never before. Dropping it does not take the event back.
    ///
    /// A repeated (conversation, sender, local_id) appends nothing and answers with the first.
    ///
    /// # Errors
    /// [`Unavailable`]: the outcome is unknown, and the same draft may be offered again.
    fn append(
        &self,
        conversation: &ConversationId,
        draft: Draft,
    ) -> impl Future<Output = Result<Appended, Unavailable>> + 'static;

    /// One consistent reading of the end of a conversation.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn head(
        &self,
        conversation: &ConversationId,
    ) -> impl Future<Output = Result<Head, Unavailable>> + 'static;
}

/// What became of a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It stands in the log.
    New(Arc<Entry>),
    /// It stood there already, with the same content: here.
    Duplicate(Position),
    /// This `local_id` stands for another content or another kind of event.
    Conflict,
    /// This sender used up the memory for local ids of this conversation.
    TooMany,
}

/// The end of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// The epoch of the conversation's partition.
    pub epoch: u32,
    /// All surviving ids; its head is the last position.
    pub lineage: Lineage,
    /// The store has everything up to here.
    pub stored: Position,
    /// Whether there is a store behind the log.
    pub durable: bool,
    /// Whether everything acknowledged is stored by that (a log that is its own store).
    pub stored_at_ack: bool,
}

/// Everything that ever happened, from wherever it is kept.
pub trait History: Clone + 'static {
    /// A page of messages as they are shown at present, deleted ones included.
    ///
    /// # Errors
    /// [`Unavailable`]; never a short page that looks like the end.
    fn page(
        &self,
        conversation: &ConversationId,
        anchor: Anchor,
        limit: u8,
    ) -> impl Future<Output = Result<Page, Unavailable>> + 'static;

    /// The next durable events after `after`, in order, at most `limit` (at least 1) and at least one
    /// if there is one; messages with their present content. Whether that is all is told by
    /// [`Replay::remaining`].
    ///
    /// # Errors
    /// [`Unavailable`].
    fn replay(
        &self,
        conversation: &ConversationId,
        after: Position,
        limit: usize,
    ) -> impl Future<Output = Result<Replay, Unavailable>> + 'static;

    /// One message as it is shown at present, and the entry that stands at `position` (the same
    /// message's own entry when `position.k == 0`). `None` when nothing stands there.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn at(
        &self,
        conversation: &ConversationId,
        position: Position,
    ) -> impl Future<Output = Result<Option<Found>, Unavailable>> + 'static;

    /// The newest messages of `author` with `above < id <= up_to`, at most `limit`, oldest first.
    /// May miss older ones where finding them would cost more than a few pages.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn authored(
        &self,
        conversation: &ConversationId,
        author: &UserId,
        above: MessageId,
        up_to: MessageId,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<MessageId>, Unavailable>> + 'static;
}

/// A page of messages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Newest first.
    pub rows: Vec<Row>,
    /// More exist in the direction of paging (older, except for [`Anchor::After`]).
    pub has_more: bool,
    /// With [`Anchor::Around`]: newer ones exist.
    pub has_more_after: bool,
    /// The epoch of the conversation's partition when this was begun to be read.
    pub epoch: u32,
}

/// A piece of a replay.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replay {
    /// In order, `prev`-linked to each other.
    pub events: Vec<Replayed>,
    /// How many durable events follow the last of these. 0: the end was reached.
    ///
    /// With no events, and something remaining: what comes next is not kept any more.
    pub remaining: u64,
    /// The epoch of the conversation's partition when this was begun to be read.
    pub epoch: u32,
    /// The last position of the conversation at that time. It may be the mark with which an epoch
    /// begins (`n == 0`, `k == 0`), where no event stands.
    pub head: Position,
}

impl Replay {
    /// Whether what comes next is not kept any more: nobody can go on from there by replaying.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.events.is_empty() && self.remaining > 0
    }
}

/// One replayed event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// The event as it was appended.
    pub entry: Entry,
    /// For a message: how it is shown at present.
    pub row: Option<Row>,
}

/// What stands at a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The event as it was appended.
    pub entry: Entry,
    /// The message that it is or speaks of, as shown at present.
    pub row: Row,
}

/// Between the nodes: subscriptions and what is not durable.
pub trait Bus: Clone + 'static {
    /// From the moment this answers, the feed brings everything of `conversation`.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn subscribe(
        &self,
        conversation: &ConversationId,
    ) -> impl Future<Output = Result<(), Unavailable>> + 'static;

    /// Ends it. What is under way may still come.
    fn unsubscribe(&self, conversation: &ConversationId);

    /// Tells all subscribed feeds, this handle's own one too. At most once; may be lost.
    fn publish(&self, conversation: &ConversationId, ephemeral: Ephemeral);
}

/// What a shard hears of its subscribed conversations.
pub trait Feed: 'static {
    /// The next piece. `None` when the backend ended.
    ///
    /// Cancel safe.
    fn next(&mut self) -> impl Future<Output = Option<(ConversationId, Heard)>>;

    /// The next piece, if it is here already.
    fn try_next(&mut self) -> Option<(ConversationId, Heard)>;
}

/// A piece of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Somebody appended this. An adapter may leave out what this shard appended itself, may
    /// repeat, and may lose: `prev` tells.
    Entry(Arc<Entry>),
    /// The store has everything up to here.
    Stored {
        /// The epoch that this speaks of.
        epoch: u32,
        /// The watermark.
        up_to: Position,
    },
    /// Not durable.
    Ephemeral(Ephemeral),
    /// Something may have been missed: read again.
    Doubt,
}

/// Not durable: lost without harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ephemeral {
    /// A user types or stopped; the node that holds the device repeats `true` at most every 2 s.
    Typing {
        /// Who.
        user: UserId,
        /// The shown name.
        username: Arc<str>,
        /// Whether.
        is_typing: bool,
    },
    /// A room opened, and does not know who types: nodes with somebody who does say so again.
    WhoTypes,
    /// The user's first connection over all nodes came.
    Online {
        /// Who.
        user: UserId,
        /// When.
        at: UnixMicros,
    },
    /// The user's last connection over all nodes went.
    Offline {
        /// Who.
        user: UserId,
        /// When.
        at: UnixMicros,
    },
    /// A user's cursors moved to these.
    Cursor {
        /// Who.
        user: UserId,
        /// Where to.
        cursor: Cursor,
        /// When.
        at: UnixMicros,
        /// The ids that a `read` listed and that the cursor moved past, ascending; may be empty.
        listed: Arc<[MessageId]>,
    },
}

/// Who has a connection in which conversation, over all nodes.
pub trait Presence: Clone + 'static {
    /// This shard's first connection of `user` came, or they were told offline in spite of it.
    /// Publishes [`Ephemeral::Online`] if it is the first of all shards of all nodes. Again is as
    /// good as once.
    fn join(&self, conversation: &ConversationId, user: &UserId, at: UnixMicros);

    /// This shard's last connection of `user` went (and stayed away). Publishes
    /// [`Ephemeral::Offline`] if it was the last of all.
    fn leave(&self, conversation: &ConversationId, user: &UserId, at: UnixMicros);

    /// Who is there.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn present(
        &self,
        conversation: &ConversationId,
    ) -> impl Future<Output = Result<Vec<UserId>, Unavailable>> + 'static;
}

/// The two cursors of one user in one conversation. Both only move up, and read implies delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// Everything up to here is known to have reached one of the user's devices.
    pub delivered: MessageId,
    /// Everything up to here was read.
    pub read: MessageId,
}

impl Cursor {
    /// The higher of both, each by each.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let read = self.read.max(other.read);
        Self {
            delivered: self.delivered.max(other.delivered).max(read),
            read,
        }
    }
}

/// The cursors of all users.
pub trait Receipts: Clone + 'static {
    /// Merges `cursor` into the user's and publishes [`Ephemeral::Cursor`] with the result to all
    /// subscribed feeds, this handle's own one too, if something moved.
    fn advance(
        &self,
        conversation: &ConversationId,
        user: &UserId,
        cursor: Cursor,
        at: UnixMicros,
        listed: Arc<[MessageId]>,
    );

    /// One user's cursors, the zero ones if they never moved.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn cursor(
        &self,
        conversation: &ConversationId,
        user: &UserId,
    ) -> impl Future<Output = Result<Cursor, Unavailable>> + 'static;

    /// The cursors of up to `limit` users, those with the highest read cursors first; always
    /// with the two highest of each kind. Fewer than `limit` are all that ever moved.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn cursors(
        &self,
        conversation: &ConversationId,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(UserId, Cursor)>, Unavailable>> + 'static;
}

/// What a room begins with.
pub trait Opening: Clone + 'static {
    /// Subscribes as [`Bus::subscribe`] does, and once that stands reads what [`Log::head`],
    /// [`Presence::present`] and [`Receipts::cursors`] for `cursors` users give. One call, so that an
    /// adapter may ask for all of it at once.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn open(
        &self,
        conversation: &ConversationId,
        cursors: usize,
    ) -> impl Future<Output = Result<Opened, Unavailable>> + 'static;
}

/// Judges tokens.
pub trait Verifier: Send + Sync + 'static {
    /// The claims of a token that is valid at `now`.
    ///
    /// # Errors
    /// [`Denied`]; its words never hold anything of the token.
    fn verify(&self, token: &str, now: UnixMicros) -> Result<Identity, Denied>;
}

/// Why a token was refused. For logs and metrics; clients get the code only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Denied {
    /// There was no token.
    #[error("no token was given")]
    Missing,
    /// Not a JWT, or a header that is not accepted (`crit`, unknown algorithm).
    #[error("the token is malformed")]
    Malformed,
    /// No key fits: unknown `kid`, or an algorithm that no configured key may be used with.
    #[error("no configured key fits the token")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the signature is wrong")]
    BadSignature,
    /// `exp` is past.
    #[error("the token is expired")]
    Expired,
    /// `nbf` or `iat` is in the future.
    #[error("the token is not valid yet")]
    NotYet,
    /// A claim is missing, of the wrong type, or not the configured issuer or audience.
    #[error("a claim is missing or wrong")]
    BadClaim,
}
