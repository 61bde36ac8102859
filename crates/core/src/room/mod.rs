//! A room: the local half of a conversation. Its sockets, its head, a ring of recent encoded
//! events, and what is not durable.
//!
//! A shard owns its rooms and calls one method per event; the room answers with [`Effect`]s.
//! Nothing in here waits: what takes time goes out as a [`Request`] and comes back by its ticket.
//!
//! - `acting`: what members ask for · `answers`: what the ports answered
//! - `live`: durable events in their order, and what passes · `telling`: what each member is
//!   written next, from its own answers, from history or from the ring
//! - `epoch`: a log that may have lost its tail · `restore`: what it lost, offered again
//! - `ring`, `member`, `session`, `frames`: the parts

mod acting;
mod answers;
mod epoch;
mod frames;
#[cfg(any(fuzzing, test))]
pub mod fuzz;
mod live;
mod member;
mod restore;
mod ring;
mod session;
mod telling;

use std::{collections::BTreeMap, sync::Arc};

use answers::Pending;
use epoch::Turnover;
use member::Member;
use parlance_protocol::{
    Anchor, CloseCode, ConversationId, MessageId, Position, ReconnectReason, ServerFrame, UserId,
};
use restore::Restoring;
use ring::Ring;
use session::Due;
use slab::Slab;

use crate::{
    clock::{Mono, Now},
    entry::Draft,
    identity::Identity,
    lineage::Lineage,
    ports::{Appended, Cursor, Denied, Ephemeral, Found, Head, Page, Replay, Unavailable},
    presence::Presence,
    quota::UserQuota,
    receipts::Receipts,
    settings::Settings,
    typing::Typing,
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
}

/// A member, as it looks to who picks those that are sent to other nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub member: MemberKey,
    /// Whether it can be asked, by [`Room::ask_to_reconnect`].
    pub extended: bool,
    /// When it was asked last.
    pub asked_at: Option<Mono>,
    /// When it did something last, or came: heartbeats and new tokens are nothing.
    pub acted_at: Mono,
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
    fn bytes(&self) -> usize;
}

/// How far a room is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not subscribed. Opens with the first member.
    Shut,
    /// [`Effect::Open`] was not answered yet.
    Opening,
    /// Subscribed, and everything up to `head` is known.
    Open,
}

/// Reading again what the live events left out.
#[derive(Debug, Default)]
struct Splice {
    /// A page was asked for.
    asked: bool,
    /// Known to exist.
    wanted: Position,
    /// Something of unknown position may have been missed.
    doubt: bool,
    /// The last reading failed: not before this instant.
    retry_at: Option<Mono>,
}

/// The local half of a conversation.
pub struct Room {
    conversation: ConversationId,
    settings: Arc<Settings>,
    state: State,
    epoch: u32,
    head: Position,
    lineage: Lineage,
    stored: Position,
    durable: bool,
    stored_at_ack: bool,
    splice: Splice,
    turnover: Turnover,
    restoring: Option<Box<Restoring>>,
    ring: Ring,
    members: Slab<Member>,
    /// With the epoch under which it was asked.
    pending: BTreeMap<Ticket, (u32, Pending)>,
    next_ticket: u64,
    typing: Typing,
    presence: Presence,
    receipts: Receipts,
    /// The sockets that are asked for a proof of receipt: of distinct users, the first that came.
    sampled: Vec<MemberKey>,
    proof_round: ProofRound,
    empty_since: Option<Mono>,
}

/// Most rooms are pairs: they have space for two members from the first on, and for no more.
const PAIR: usize = 2;
/// How many sockets are asked for a proof of receipt.
const SAMPLED: usize = 8;
/// At least so long between two proofs, or two `stored` frames, of one socket.
const PROOF_MS: u64 = 1_000;
/// How many of them are asked within that time: one proves what all others wrote, another one what that
/// one wrote. Only when these are silent are others of use.
const PROOFS_PER_ROUND: u8 = 2;

/// How many sockets were asked for a proof lately.
#[derive(Debug, Default)]
struct ProofRound {
    begun: Option<Mono>,
    asked: u8,
}

impl ProofRound {
    /// When the next socket may be asked. `None`: at once.
    fn waits_until(&self, now: Mono) -> Option<Mono> {
        let ends = self.begun?.plus_ms(PROOF_MS);
        (self.asked >= PROOFS_PER_ROUND && now < ends).then_some(ends)
    }

    /// A socket is asked.
    fn ask(&mut self, now: Mono) {
        let is_over = |begun: Mono| now.since_ms(begun) >= PROOF_MS;
        if self.begun.is_none_or(is_over) {
            *self = Self {
                begun: Some(now),
                asked: 0,
            };
        }
        self.asked += 1;
    }
}

impl Room {
    /// An empty room. Nothing happens until somebody joins.
    #[must_use]
    pub fn new(conversation: ConversationId, settings: Arc<Settings>, now: Now) -> Self {
        let ring = Ring::new(settings.ring_entries, settings.ring_bytes);
        Self {
            conversation,
            settings,
            state: State::Shut,
            epoch: 0,
            head: Position::ZERO,
            lineage: Lineage::default(),
            stored: Position::ZERO,
            durable: false,
            stored_at_ack: false,
            splice: Splice::default(),
            turnover: Turnover::default(),
            restoring: None,
            ring,
            members: Slab::new(),
            pending: BTreeMap::new(),
            next_ticket: 0,
            typing: Typing::default(),
            presence: Presence::default(),
            receipts: Receipts::default(),
            sampled: Vec::new(),
            proof_round: ProofRound::default(),
            empty_since: Some(now.mono),
        }
    }

    /// Whose room it is.
    #[must_use]
    pub fn conversation(&self) -> &ConversationId {
        &self.conversation
    }

    /// A connection comes in. The first one makes the room open.
    pub fn join(&mut self, joiner: Joiner, cx: &mut Context<'_>) -> MemberKey {
        let chance = (cx.random)();
        let member = Member::new(joiner, &self.settings, chance, cx.now);
        if self.members.len() == self.members.capacity() && self.members.len() < PAIR {
            self.members.reserve_exact(PAIR);
        }
        let key = key_of(self.members.insert(member));
        self.empty_since = None;
        self.enter(key, cx);
        self.sample();
        if self.state == State::Shut {
            self.state = State::Opening;
            cx.effects.push(Effect::Open);
        }
        self.greet(key, cx);
        cx.effects.push(Effect::MemberDeadline(key));
        key
    }

    /// A member's socket is gone. Not called for members that the room closed itself.
    pub fn leave(&mut self, member: MemberKey, how: Departure, cx: &mut Context<'_>) {
        // Who was asked to go elsewhere does not say goodbye by going, and may not have been seen
        // there yet.
        let it = self.members.get(index(member));
        let was_asked = it.is_some_and(|it| it.asked_at.is_some());
        let how = if was_asked { Departure::Lost } else { how };
        self.remove(member, how, cx);
    }

    /// A pong of a member.
    pub fn on_pong(&mut self, member: MemberKey, payload: &[u8], cx: &mut Context<'_>) {
        let Some(it) = self.members.get_mut(index(member)) else {
            return;
        };
        it.session.alive(cx.now);
        let Some(proof) = it.proof.take_if(|proof| proof.nonce == payload) else {
            return;
        };
        let user = it.user.clone();
        if let Some(advance) = self.receipts.proved(&user, proof.up_to, cx.now.mono) {
            live::hand_over(advance, cx);
        }
        cx.effects
            .extend([Effect::Deadline, Effect::MemberDeadline(member)]);
    }

    /// A frame of a member that is neither a text nor a pong: a sign of life.
    pub fn on_alive(&mut self, member: MemberKey, cx: &mut Context<'_>) {
        if let Some(it) = self.members.get_mut(index(member)) {
            it.session.alive(cx.now);
        }
    }

    /// All members, for [`Effect::WriteAll`].
    pub fn members(&self) -> impl Iterator<Item = MemberKey> + '_ {
        self.members.iter().map(|(index, _)| key_of(index))
    }

    /// When [`Room::on_deadline`] wants to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        let parts = [
            self.typing.deadline(),
            self.presence.deadline(),
            self.receipts.deadline(),
            self.splice.retry_at,
            self.turnover.deadline(),
            self.restoring.as_ref().and_then(|it| it.deadline()),
        ];
        parts.into_iter().flatten().min()
    }

    /// Typing that ran out, leaves that were held, reads that were merged, a reading that failed,
    /// something lost that is offered again.
    pub fn on_deadline(&mut self, cx: &mut Context<'_>) {
        self.typing_deadline(cx);
        self.presence_deadline(cx);
        self.receipts_deadline(cx);
        self.splice_deadline(cx);
        self.turnover_deadline(cx);
        self.restore_deadline(cx);
        self.note_empty(cx);
    }

    /// When [`Room::on_member_deadline`] wants to be called.
    #[must_use]
    pub fn member_deadline(&self, member: MemberKey, now: Now) -> Option<Mono> {
        let it = self.members.get(index(member))?;
        let again = |at: Option<Mono>| at.map_or(now.mono, |at| at.plus_ms(PROOF_MS));
        let round = self.proof_round.waits_until(now.mono);
        let proof = self
            .owes_proof(member, it)
            .then(|| again(it.pinged_at).max(round.unwrap_or_default()));
        let stored = it
            .owed_stored
            .filter(|id| *id <= self.stored.id)
            .map(|_| again(it.stored_at));
        let session = it.session.deadline(it.extended, now);
        [proof, stored].into_iter().flatten().chain([session]).min()
    }

    /// Heartbeats, idle connections, tokens that end, proofs of receipt that wait.
    pub fn on_member_deadline(&mut self, member: MemberKey, cx: &mut Context<'_>) {
        while let Some(it) = self.members.get_mut(index(member)) {
            let Some(due) = it.session.due(it.extended, cx.now) else {
                break;
            };
            match due {
                Due::Heartbeat => self.heartbeat(member, cx),
                Due::TokenExpiring => {
                    let expires_at = it.session.expires_at();
                    self.tell(member, &ServerFrame::AuthExpiring { expires_at }, cx);
                }
                Due::Expired => {
                    let code = CloseCode::Unauthorized;
                    return self.close(member, code, "the token is expired", cx);
                }
                Due::Idle => {
                    return self.close(member, CloseCode::Idle, "nothing was heard for 60 s", cx);
                }
            }
        }
        // Owed proofs and `stored` frames go out with the next writing.
        cx.effects.push(Effect::Write(member));
    }

    /// All members, for who picks some of them to be sent to other nodes.
    pub fn candidates(&self) -> impl Iterator<Item = Candidate> + '_ {
        self.members.iter().map(|(index, it)| Candidate {
            member: key_of(index),
            extended: it.extended,
            asked_at: it.asked_at,
            acted_at: it.session.acted_at(),
        })
    }

    /// Asks an extended member to open its next connection after `after_ms`, elsewhere, and to end
    /// this one when that one is live. The base layer has no word for it: nothing happens.
    pub fn ask_to_reconnect(
        &mut self,
        member: MemberKey,
        after_ms: u64,
        reason: ReconnectReason,
        cx: &mut Context<'_>,
    ) {
        let Some(it) = self.members.get_mut(index(member)) else {
            return;
        };
        if it.extended {
            it.asked_at = Some(cx.now.mono);
            self.tell(member, &ServerFrame::Reconnect { after_ms, reason }, cx);
        }
    }

    /// Closes a member's connection from outside: a drain, an overload.
    pub fn close(
        &mut self,
        member: MemberKey,
        code: CloseCode,
        reason: impl Into<String>,
        cx: &mut Context<'_>,
    ) {
        let Some(it) = self.remove(member, Departure::Lost, cx) else {
            return;
        };
        let last = it.into_last_texts();
        cx.effects.push(Effect::Close {
            member,
            last,
            code,
            reason: reason.into(),
        });
    }

    /// Since when nobody is here and nothing is under way. The room may be dropped when that was
    /// long enough ago.
    #[must_use]
    pub fn empty_since(&self) -> Option<Mono> {
        self.empty_since
    }

    /// The last durable position that the room knows.
    #[must_use]
    pub fn head(&self) -> Position {
        self.head
    }

    fn remove(&mut self, key: MemberKey, how: Departure, cx: &mut Context<'_>) -> Option<Member> {
        let member = self.members.try_remove(index(key))?;
        self.sample();
        self.exit(key, &member, how, cx);
        self.note_empty(cx);
        Some(member)
    }

    /// What others do elsewhere keeps no room: only what is owed for those who were here does.
    fn note_empty(&mut self, cx: &Context<'_>) {
        let empty = self.members.is_empty()
            && self.pending.is_empty()
            && !self.turnover.has_waiting()
            && self.restoring.as_ref().is_none_or(|it| it.is_over())
            && !self.presence.holds_leaves()
            && !self.receipts.has_waiting();
        self.empty_since = match self.empty_since {
            _ if !empty => None,
            Some(since) => Some(since),
            None => Some(cx.now.mono),
        };
    }

    /// The first socket of each of the first few users.
    fn sample(&mut self) {
        self.sampled.clear();
        let mut users: Vec<&UserId> = Vec::with_capacity(SAMPLED);
        for (index, member) in &self.members {
            if users.len() == SAMPLED {
                break;
            }
            if !users.contains(&&member.user) {
                users.push(&member.user);
                self.sampled.push(key_of(index));
            }
        }
    }

    fn ask(&mut self, request: Request, pending: Pending, cx: &mut Context<'_>) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.pending.insert(ticket, (self.epoch, pending));
        cx.effects.push(Effect::Request(ticket, request));
    }

    /// Queues a frame for one member; gives a connection up that takes nothing and asks for much.
    fn tell(&mut self, member: MemberKey, frame: &ServerFrame<'_>, cx: &mut Context<'_>) {
        self.tell_text(member, frame.encode(), cx);
    }

    fn tell_text(&mut self, member: MemberKey, text: bytes::Bytes, cx: &mut Context<'_>) {
        let Some(it) = self.members.get_mut(index(member)) else {
            return;
        };
        if it.tell(text) {
            cx.effects.push(Effect::Write(member));
        } else {
            self.close(member, CloseCode::Overloaded, retry_after_reason(1_000), cx);
        }
    }

    fn heartbeat(&mut self, member: MemberKey, cx: &mut Context<'_>) {
        if self.pending.is_empty() {
            // A tree that was emptied keeps a node, larger than all else that an idle room has. Not
            // dropped by the one who empties it, since that is each append.
            self.pending = BTreeMap::new();
        }
        let Some(it) = self.members.get_mut(index(member)) else {
            return;
        };
        // Nothing comes before `hello`, and what waits already is a sign of life itself.
        if it.is_joining() || it.direct_bytes() > 0 {
            return;
        }
        let nonce = (cx.random)().to_be_bytes();
        it.tell(bytes::Bytes::from_static(br#"{"type":"heartbeat"}"#));
        it.ping(nonce);
        it.pinged_at = Some(cx.now.mono);
        it.proof = Some(member::Proof {
            nonce,
            up_to: it.provable().unwrap_or_default(),
        });
    }
}

const fn key_of(index: usize) -> MemberKey {
    MemberKey(index as u32)
}

const fn index(member: MemberKey) -> usize {
    member.0 as usize
}

/// The reason text of 1012 and 1013.
#[must_use]
pub fn retry_after_reason(retry_after_ms: u64) -> String {
    format!("{{\"retry_after_ms\":{retry_after_ms}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_part_is_small() {
        assert!(size_of::<Room>() <= 840, "{}", size_of::<Room>());
    }
}
