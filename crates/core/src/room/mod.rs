//! A room: the local half of a conversation. Its sockets, its head, a ring of recent encoded
//! events, and what is not durable.
//!
//! A shard owns its rooms and calls one method per event; the room answers with [`Effect`]s.

use std::sync::Arc;

use parlance_protocol::{
    Anchor, CloseCode, ConversationId, MessageId, Position, UnixMicros, UserId,
};

use crate::{
    clock::{Mono, Now},
    entry::Draft,
    identity::Identity,
    ports::{Appended, Cursor, Denied, Ephemeral, Found, Head, Heard, Page, Replay, Unavailable},
    quota::UserQuota,
    settings::Settings,
};

/// What every call gets from the outside, and where its effects go.
pub struct Context<'a> {
    /// The clocks.
    pub now: Now,
    /// Unguessable 64-bit numbers.
    pub random: &'a mut dyn FnMut() -> u64,
    /// What should happen, in order. The shard drains it after every call.
    pub effects: &'a mut Vec<Effect>,
}

/// A socket's place in its room. Reused after the member left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberKey(pub u32);

/// Names a request until its answer. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A verified connection that wants in.
#[derive(Debug)]
pub struct Joiner {
    /// The token's claims; it opens this conversation.
    pub identity: Identity,
    /// `v=1`.
    pub extended: bool,
    /// `since` as given, unjudged. An empty one is none.
    pub since: Option<Box<str>>,
    /// Unique over all nodes.
    pub connection_id: u64,
    /// Shared by all of the user's connections on this node.
    pub quota: Arc<UserQuota>,
}

/// What a room wants done.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Subscribe, wait for the confirmation, then read head, presence and cursors, and answer with
    /// [`Room::on_opened`].
    Open,
    /// Ask, and answer with [`Room::on_reply`].
    Request(Ticket, Request),
    /// Say it on the bus.
    Publish(Ephemeral),
    /// [`crate::ports::Presence::join`]
    PresenceJoin(UserId),
    /// [`crate::ports::Presence::leave`]
    PresenceLeave(UserId),
    /// [`crate::ports::Receipts::advance`]
    Advance {
        /// Whose.
        user: UserId,
        /// Where to.
        cursor: Cursor,
        /// What a `read` listed and the cursor moved past.
        listed: Arc<[MessageId]>,
    },
    /// This member has something to write: [`Room::take`] at the end of the turn.
    Write(MemberKey),
    /// Every member may have something to write.
    WriteAll,
    /// Write what is queued for this member, then a close frame, then end. The member is gone from
    /// the room already: its queued frames are handed over here.
    Close {
        /// Who it was.
        member: MemberKey,
        /// Texts to write first.
        last: Vec<bytes::Bytes>,
        /// The code.
        code: CloseCode,
        /// The reason, at most 123 bytes.
        reason: String,
    },
    /// [`Room::deadline`] may have moved to an earlier instant.
    Deadline,
    /// [`Room::member_deadline`] of this member may have moved to an earlier instant.
    MemberDeadline(MemberKey),
    /// Something happened that is counted.
    Count(Counted),
}

/// What is asked of the ports.
#[derive(Debug, PartialEq)]
pub enum Request {
    /// [`crate::ports::Log::append`]
    Append(Draft),
    /// [`crate::ports::Log::head`]
    Head,
    /// [`crate::ports::History::replay`]
    Replay {
        /// From here on.
        after: Position,
        /// At most so many.
        limit: usize,
    },
    /// [`crate::ports::History::page`]
    Page {
        /// Where.
        anchor: Anchor,
        /// How many.
        limit: u8,
    },
    /// [`crate::ports::History::at`]
    At(Position),
    /// [`crate::ports::History::authored`]
    Authored {
        /// Whose messages.
        author: UserId,
        /// Above this one.
        above: MessageId,
        /// Up to this one.
        up_to: MessageId,
        /// At most so many.
        limit: usize,
    },
    /// [`crate::ports::Receipts::cursor`]
    Cursor(UserId),
    /// [`crate::ports::Verifier::verify`], with the present wall clock.
    Verify(Box<str>),
}

/// The answer to a [`Request`], variant by variant.
#[derive(Debug)]
pub enum Reply {
    /// To [`Request::Append`].
    Append(Result<Appended, Unavailable>),
    /// To [`Request::Head`].
    Head(Result<Head, Unavailable>),
    /// To [`Request::Replay`].
    Replay(Result<Replay, Unavailable>),
    /// To [`Request::Page`].
    Page(Result<Page, Unavailable>),
    /// To [`Request::At`].
    At(Result<Option<Found>, Unavailable>),
    /// To [`Request::Authored`].
    Authored(Result<Vec<MessageId>, Unavailable>),
    /// To [`Request::Cursor`].
    Cursor(Result<Cursor, Unavailable>),
    /// To [`Request::Verify`].
    Verify(Result<Identity, Denied>),
}

/// What was read after the subscription stood.
#[derive(Debug)]
pub struct Opened {
    /// The end of the log.
    pub head: Head,
    /// Who is there, over all nodes.
    pub present: Vec<UserId>,
    /// Cursors, see [`crate::ports::Receipts::cursors`].
    pub cursors: Vec<(UserId, Cursor)>,
    /// The newest page of messages, to start the ring with.
    pub recent: Page,
}

/// How a member's socket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// The client sent a close frame with code 1000.
    Goodbye,
    /// Anything else.
    Lost,
}

/// Things worth a counter. The shard maps them to metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// An action was judged. `None`: fine.
    Action(ActionKind, Option<parlance_protocol::ErrorCode>),
    /// A socket asked to resume.
    Resume(ResumeSource),
    /// A live event was not next in line and had to be read again.
    Gap,
    /// A lagging socket fell out of the ring.
    RingMiss,
}

/// The actions, for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the protocol's")]
pub enum ActionKind {
    SendMessage,
    EditMessage,
    DeleteMessage,
    Typing,
    Read,
    FetchMessages,
    Heartbeat,
    Auth,
    /// None of them.
    Unknown,
}

/// Where a resume was served from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResumeSource {
    /// The room's ring had everything.
    Ring,
    /// The log or store was read.
    History,
    /// More was missed than is replayed.
    TooOld,
    /// The position does not exist any more.
    Lost,
}

/// Takes the frames that a member should be written, in order.
pub trait FrameSink {
    /// A text frame's payload.
    fn text(&mut self, payload: &[u8]);
    /// A ping with this payload.
    fn ping(&mut self, payload: [u8; 8]);
    /// How many bytes are in it so far.
    fn len(&self) -> usize;
}

/// The local half of a conversation.
pub struct Room {
    conversation: ConversationId,
}

#[expect(
    unused_variables,
    clippy::needless_pass_by_value,
    reason = "signatures first"
)]
impl Room {
    /// An empty room. Nothing happens until somebody joins.
    #[must_use]
    pub fn new(conversation: ConversationId, settings: Arc<Settings>) -> Self {
        Self { conversation }
    }

    /// Whose room it is.
    #[must_use]
    pub fn conversation(&self) -> &ConversationId {
        &self.conversation
    }

    /// A connection comes in. The first one makes the room open.
    pub fn join(&mut self, joiner: Joiner, cx: &mut Context<'_>) -> MemberKey {
        unimplemented!()
    }

    /// A member's socket is gone. Not called for members that the room closed itself.
    pub fn leave(&mut self, member: MemberKey, how: Departure, cx: &mut Context<'_>) {
        unimplemented!()
    }

    /// The answer to [`Effect::Open`].
    pub fn on_opened(&mut self, opened: Result<Opened, Unavailable>, cx: &mut Context<'_>) {
        unimplemented!()
    }

    /// The answer to [`Effect::Request`]. Answers for members that are gone are fine.
    pub fn on_reply(&mut self, ticket: Ticket, reply: Reply, cx: &mut Context<'_>) {
        unimplemented!()
    }

    /// A piece of the feed.
    pub fn on_heard(&mut self, heard: Heard, cx: &mut Context<'_>) {
        unimplemented!()
    }

    /// A whole text message of a member.
    pub fn on_text(&mut self, member: MemberKey, text: &str, cx: &mut Context<'_>) {
        unimplemented!()
    }

    /// A pong of a member. Any other frame than text counts by [`Room::on_alive`].
    pub fn on_pong(&mut self, member: MemberKey, payload: &[u8], cx: &mut Context<'_>) {
        unimplemented!()
    }

    /// A ping of a member came, which is a sign of life.
    pub fn on_alive(&mut self, member: MemberKey, cx: &mut Context<'_>) {
        unimplemented!()
    }

    /// Copies what the member should be written next into `sink`, whole frames, until `sink` holds
    /// `budget_bytes` or there is no more. What was taken counts as written: the caller keeps what
    /// the socket did not take. Returns whether there is more right now.
    ///
    /// May ask for a piece of history (then nothing more comes until it is there).
    pub fn take(
        &mut self,
        member: MemberKey,
        sink: &mut dyn FrameSink,
        budget_bytes: usize,
        cx: &mut Context<'_>,
    ) -> bool {
        unimplemented!()
    }

    /// All members, for [`Effect::WriteAll`].
    pub fn members(&self) -> impl Iterator<Item = MemberKey> + '_ {
        std::iter::empty()
    }

    /// When [`Room::on_deadline`] wants to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        unimplemented!()
    }

    /// Typing that ran out, leaves that were held, reads that were merged.
    pub fn on_deadline(&mut self, cx: &mut Context<'_>) {
        unimplemented!()
    }

    /// When [`Room::on_member_deadline`] wants to be called.
    #[must_use]
    pub fn member_deadline(&self, member: MemberKey) -> Option<Mono> {
        unimplemented!()
    }

    /// Heartbeats, idle connections, tokens that end, proofs of receipt that wait.
    pub fn on_member_deadline(&mut self, member: MemberKey, cx: &mut Context<'_>) {
        unimplemented!()
    }

    /// This node is leaving: asks extended members to reconnect elsewhere after `after_ms`.
    pub fn on_drain(&mut self, after_ms: u64, cx: &mut Context<'_>) {
        unimplemented!()
    }

    /// Nobody is here and nothing is under way: the room may be dropped once it was so for the
    /// linger time of 30 s. Returns since when.
    #[must_use]
    pub fn empty_since(&self) -> Option<Mono> {
        unimplemented!()
    }

    /// Whether extended clients hear of `at` (for tests and metrics).
    #[must_use]
    pub fn head(&self) -> Position {
        unimplemented!()
    }
}

/// The reason text of 1012 and 1013.
#[must_use]
pub fn retry_after_reason(retry_after_ms: u64) -> String {
    format!("{{\"retry_after_ms\":{retry_after_ms}}}")
}
