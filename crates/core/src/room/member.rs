//! One socket of a room: who it is, how far it was told, what waits for it.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use parlance_protocol::{MessageId, Position, UserId};

use super::{Joiner, session::Session};
use crate::{
    clock::{Mono, Now},
    quota::UserQuota,
    settings::Settings,
};

/// Most bytes of actions that wait while something of this member is looked up.
const HELD_BYTES: usize = 128 * 1024;
/// Most bytes of answers that wait for a slow socket, before the connection is given up.
pub(crate) const DIRECT_BYTES: usize = 1024 * 1024;

/// Where a member's events come from.
#[derive(Debug)]
pub(crate) enum Feed {
    /// The room is not open yet, or the member's own cursor is not known.
    Joining(Box<Joining>),
    /// From history, page by page. `waiting`: a page was asked for.
    Reading { waiting: bool },
    /// From the ring: the number of the next item.
    Ring { next: u64 },
}

/// What is kept until the greeting.
#[derive(Debug, Default)]
pub(crate) struct Joining {
    /// `since` as given.
    pub(crate) since: Option<Box<str>>,
    /// The member's cursor, or the first page of its replay, was asked for.
    pub(crate) asked: bool,
    /// The log was read again for this greeting, or is being read.
    pub(crate) read_on: bool,
    /// `hello` was queued.
    pub(crate) greeted: bool,
}

/// Something for this member alone.
#[derive(Debug)]
pub(crate) enum Direct {
    Text(Bytes),
    Ping([u8; 8]),
}

/// A ping whose pong proves receipt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proof {
    pub(crate) nonce: [u8; 8],
    pub(crate) up_to: MessageId,
}

/// One socket.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) user: UserId,
    pub(crate) username: Arc<str>,
    pub(crate) moderator: bool,
    pub(crate) extended: bool,
    pub(crate) connection_id: u64,
    pub(crate) quota: Arc<UserQuota>,
    pub(crate) session: Session,
    pub(crate) feed: Feed,
    /// The last durable position that this socket was given.
    pub(crate) last: Position,
    /// Up to here messages were there when this socket came, and it was not given them.
    pub(crate) not_given: MessageId,
    direct: VecDeque<Direct>,
    direct_bytes: u32,
    /// Actions that wait for a look-up of an earlier one, so that their order is kept.
    held: Option<Box<Held>>,
    /// A ping that was not answered yet.
    pub(crate) proof: Option<Proof>,
    pub(crate) pinged_at: Option<Mono>,
    /// A `stored` frame is owed for own messages up to this one.
    pub(crate) owed_stored: Option<MessageId>,
    pub(crate) stored_at: Option<Mono>,
    /// It is told what it missed, from history and then the ring. What passed meanwhile is left out:
    /// at the end it is told how things are.
    pub(crate) catching_up: bool,
    /// `live` was said.
    pub(crate) was_live: bool,
    /// It was asked to reconnect elsewhere, the last time then.
    pub(crate) asked_at: Option<Mono>,
}

#[derive(Debug, Default)]
struct Held {
    texts: VecDeque<Box<str>>,
    bytes: usize,
}

impl Member {
    pub(crate) fn new(joiner: Joiner, settings: &Settings, chance: u64, now: Now) -> Self {
        let identity = joiner.identity;
        let burst = settings.actions_burst;
        Self {
            user: identity.user,
            username: identity.username.into(),
            moderator: identity.moderator,
            extended: joiner.extended,
            connection_id: joiner.connection_id,
            quota: joiner.quota,
            session: Session::new(identity.expires_at, burst, chance, now),
            feed: Feed::Joining(Box::new(Joining {
                since: joiner.since,
                asked: false,
                read_on: false,
                greeted: false,
            })),
            last: Position::ZERO,
            not_given: MessageId::ZERO,
            direct: VecDeque::new(),
            direct_bytes: 0,
            held: Some(Box::default()),
            proof: None,
            pinged_at: None,
            owed_stored: None,
            stored_at: None,
            catching_up: false,
            was_live: false,
            asked_at: None,
        }
    }

    /// Queues a text for this member alone. Whether it still bears it.
    pub(crate) fn tell(&mut self, text: Bytes) -> bool {
        let bears = self.direct_bytes as usize <= DIRECT_BYTES;
        self.direct_bytes = self.direct_bytes.saturating_add(text.len() as u32);
        self.direct.push_back(Direct::Text(text));
        bears
    }

    /// Queues the greeting, before whatever waits already.
    pub(crate) fn greet(&mut self, hello: Bytes) {
        self.direct_bytes = self.direct_bytes.saturating_add(hello.len() as u32);
        self.direct.push_front(Direct::Text(hello));
        if let Feed::Joining(joining) = &mut self.feed {
            joining.greeted = true;
        }
    }

    /// Whether all that waits has to wait for `hello`, which comes first on the extended layer.
    pub(crate) fn awaits_hello(&self) -> bool {
        match &self.feed {
            Feed::Joining(joining) => self.extended && !joining.greeted,
            Feed::Reading { .. } | Feed::Ring { .. } => false,
        }
    }

    /// Up to which message a pong proves receipt; `None` when this socket was given none.
    pub(crate) fn provable(&self) -> Option<MessageId> {
        (self.last.id > self.not_given).then_some(self.last.id)
    }

    pub(crate) fn ping(&mut self, nonce: [u8; 8]) {
        self.direct.push_back(Direct::Ping(nonce));
    }

    pub(crate) fn next_direct(&mut self) -> Option<Direct> {
        let direct = self.direct.pop_front()?;
        if let Direct::Text(text) = &direct {
            self.direct_bytes -= text.len() as u32;
        }
        if self.direct.is_empty() {
            self.direct = VecDeque::new();
        }
        Some(direct)
    }

    pub(crate) fn has_direct(&self) -> bool {
        !self.direct.is_empty()
    }

    /// How many bytes wait for this socket alone.
    pub(crate) fn direct_bytes(&self) -> usize {
        self.direct_bytes as usize
    }

    /// What is left when the connection is closed: nothing of what waits for a `hello` that never comes.
    pub(crate) fn into_last_texts(self) -> Vec<Bytes> {
        if self.awaits_hello() {
            return Vec::new();
        }
        let texts = self.direct.into_iter().filter_map(|direct| match direct {
            Direct::Text(text) => Some(text),
            Direct::Ping(_) => None,
        });
        texts.collect()
    }

    /// Whether it was not greeted yet.
    pub(crate) fn is_joining(&self) -> bool {
        matches!(self.feed, Feed::Joining(_))
    }

    /// Later actions wait until [`Member::release`].
    pub(crate) fn hold(&mut self) {
        self.held.get_or_insert_default();
    }

    pub(crate) fn holds(&self) -> bool {
        self.held.is_some()
    }

    /// Keeps an action for later; `false` when there is no room for it.
    pub(crate) fn keep(&mut self, text: &str) -> bool {
        let held = self.held.get_or_insert_default();
        held.bytes += text.len();
        if held.bytes > HELD_BYTES {
            held.bytes -= text.len();
            return false;
        }
        held.texts.push_back(text.into());
        true
    }

    /// Ends the waiting: the actions that came meanwhile, oldest first.
    pub(crate) fn release(&mut self) -> VecDeque<Box<str>> {
        self.held
            .take()
            .map_or_else(VecDeque::new, |held| held.texts)
    }
}
