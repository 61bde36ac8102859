//! What stands in a room's place when the frames of real sockets are tested for conformance, with the
//! feature `echo`: every message goes back to where it came from, text or binary.
//!
//! It has the methods that a shard calls on a room, and no more, so that everything between it and
//! the socket is the product's own. It knows no conversation, closes nobody and asks nothing of the
//! ports; `examples/echo` is the server around it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use parlance_core::{
    clock::{Mono, Now},
    ports::{Heard, Unavailable},
    room::{
        Candidate, Context, Departure, Effect, FrameSink, Joiner, MemberKey, Opened, Reply, Ticket,
    },
    settings::Settings,
};
use parlance_protocol::{CloseCode, ConversationId, Position, ReconnectReason};

use crate::frame::FrameWriter;

/// Members, and what each is still to be sent.
pub(super) struct Room {
    conversation: ConversationId,
    members: BTreeMap<MemberKey, VecDeque<Message>>,
}

/// A message on its way back. Nothing bounds how many wait: the tests send little at a time.
enum Message {
    Text(Box<str>),
    Binary(Box<[u8]>),
}

impl Room {
    pub(super) fn new(conversation: ConversationId, _: Arc<Settings>, _: Now) -> Self {
        Self {
            conversation,
            members: BTreeMap::new(),
        }
    }

    pub(super) fn conversation(&self) -> &ConversationId {
        &self.conversation
    }

    pub(super) fn join(&mut self, _: Joiner, _: &mut Context<'_>) -> MemberKey {
        let last = self.members.last_key_value();
        let key = MemberKey(last.map_or(0, |(MemberKey(last), _)| last + 1));
        self.members.insert(key, VecDeque::new());
        key
    }

    pub(super) fn leave(&mut self, member: MemberKey, _: Departure, _: &mut Context<'_>) {
        self.members.remove(&member);
    }

    pub(super) fn close(
        &mut self,
        member: MemberKey,
        code: CloseCode,
        reason: impl Into<String>,
        cx: &mut Context<'_>,
    ) {
        if self.members.remove(&member).is_some() {
            cx.effects.push(Effect::Close {
                member,
                last: Vec::new(),
                code,
                reason: reason.into(),
            });
        }
    }

    pub(super) fn on_text(&mut self, member: MemberKey, text: &str, cx: &mut Context<'_>) {
        self.send_back(member, Message::Text(text.into()), cx);
    }

    pub(super) fn on_binary(&mut self, member: MemberKey, bytes: &[u8], cx: &mut Context<'_>) {
        self.send_back(member, Message::Binary(bytes.into()), cx);
    }

    fn send_back(&mut self, member: MemberKey, message: Message, cx: &mut Context<'_>) {
        if let Some(waiting) = self.members.get_mut(&member) {
            waiting.push_back(message);
            cx.effects.push(Effect::Write(member));
        }
    }

    pub(super) fn take(
        &mut self,
        member: MemberKey,
        sink: &mut FrameWriter,
        budget_bytes: usize,
        _: &mut Context<'_>,
    ) -> bool {
        let Some(waiting) = self.members.get_mut(&member) else {
            return false;
        };
        while sink.bytes() < budget_bytes {
            match waiting.pop_front() {
                Some(Message::Text(text)) => sink.text(text.as_bytes()),
                Some(Message::Binary(bytes)) => sink.binary(&bytes),
                None => return false,
            }
        }
        !waiting.is_empty()
    }

    #[expect(clippy::unused_self, reason = "a room has it")]
    pub(super) fn head(&self) -> Position {
        Position::ZERO
    }

    #[expect(clippy::unused_self, reason = "a room has it")]
    pub(super) fn empty_since(&self) -> Option<Mono> {
        None
    }

    #[expect(clippy::unused_self, reason = "a room has it")]
    pub(super) fn deadline(&self) -> Option<Mono> {
        None
    }

    #[expect(clippy::unused_self, reason = "a room has it")]
    pub(super) fn member_deadline(&self, _: MemberKey, _: Now) -> Option<Mono> {
        None
    }

    pub(super) fn on_pong(&mut self, _: MemberKey, _: &[u8], _: &mut Context<'_>) {}

    pub(super) fn on_alive(&mut self, _: MemberKey, _: &mut Context<'_>) {}

    pub(super) fn on_deadline(&mut self, _: &mut Context<'_>) {}

    pub(super) fn on_member_deadline(&mut self, _: MemberKey, _: &mut Context<'_>) {}

    /// None: an echo has no time to go by, and is never asked to send anybody away.
    #[expect(clippy::unused_self, reason = "a room has it")]
    pub(super) fn candidates(&self) -> impl Iterator<Item = Candidate> + '_ {
        std::iter::empty()
    }

    pub(super) fn ask_to_reconnect(
        &mut self,
        _: MemberKey,
        _: u64,
        _: ReconnectReason,
        _: &mut Context<'_>,
    ) {
    }

    pub(super) fn on_opened(&mut self, _: Result<Opened, Unavailable>, _: &mut Context<'_>) {}

    pub(super) fn on_reply(&mut self, _: Ticket, _: Reply, _: &mut Context<'_>) {}

    pub(super) fn on_heard(&mut self, _: Heard, _: &mut Context<'_>) {}
}
