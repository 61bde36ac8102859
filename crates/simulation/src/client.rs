//! A client: it connects to any gateway, speaks, goes away, comes back, and keeps what it is told.
//!
//! On the extended layer it keeps an outbox as the protocol asks. On the base layer it sends again
//! for some seconds what got no answer, without `retry`, which that layer does not know.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use parlance_core::{
    identity::{Conversations, Identity},
    quota::UserQuota,
    room::{Joiner, MemberKey},
};
use parlance_protocol::{ConversationId, MessageId, Position, ServerFrame, UnixMicros, UserId};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::timeout,
};

use crate::{
    gateway::{Node, Piece},
    rule::Rule,
    world::{World, world},
};

/// A client on the base layer gives up after so long.
const BASE_TRIES_US: u64 = 8_000_000;
/// Without an answer a send is tried again.
const ANSWER_US: u64 = 3_000_000;

#[derive(Debug, Clone)]
struct Item {
    local_id: String,
    first_us: u64,
    sent_us: Option<u64>,
    tries: u32,
    /// Its id, and the epoch that was known then.
    acked: Option<(MessageId, u32)>,
}

struct Socket {
    node: Rc<Node>,
    key: MemberKey,
    pieces: UnboundedReceiver<Piece>,
    is_live: bool,
}

/// What is known of a client from outside.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// What it shows: which event stands where.
    pub(crate) view: BTreeMap<Position, String>,
    /// Its sends that were acknowledged.
    pub(crate) acked: Vec<String>,
    /// What waits in its outbox.
    pub(crate) waiting: usize,
    pub(crate) is_live: bool,
    pub(crate) since: Position,
}

pub(crate) struct Client {
    pub(crate) user: UserId,
    pub(crate) of: ConversationId,
    pub(crate) is_extended: bool,
    pub(crate) known: Rc<RefCell<Known>>,
    device: u64,
    socket: Option<Socket>,
    outbox: Vec<Item>,
    epoch: Option<u32>,
    count: u64,
}

impl Client {
    pub(crate) fn new(device: u64, user: &str, of: &str, is_extended: bool) -> Self {
        Self {
            user: UserId::new(user).expect("it is valid"),
            of: ConversationId::new(of).expect("it is valid"),
            is_extended,
            known: Rc::default(),
            device,
            socket: None,
            outbox: Vec::new(),
            epoch: None,
            count: 0,
        }
    }

    pub(crate) async fn run(mut self) {
        loop {
            let world = world();
            let pause = Duration::from_millis(20 + world.below(400));
            match &mut self.socket {
                Some(socket) => match timeout(pause, socket.pieces.recv()).await {
                    Ok(Some(piece)) => self.on_piece(&world, piece),
                    Ok(None) => self.socket = None,
                    Err(_) => self.act(&world),
                },
                None => {
                    tokio::time::sleep(pause).await;
                    self.connect(&world);
                }
            }
            let mut known = self.known.borrow_mut();
            known.waiting = self.outbox.len();
            known.is_live = self.socket.as_ref().is_some_and(|socket| socket.is_live);
        }
    }

    fn connect(&mut self, world: &Rc<World>) {
        let nodes: Vec<Rc<Node>> = world.nodes.borrow().values().cloned().collect();
        if nodes.is_empty() {
            return;
        }
        let node = Rc::clone(&nodes[world.below(nodes.len() as u64) as usize]);
        let (socket, pieces) = unbounded_channel();
        let since = self.known.borrow().since;
        let joiner = Joiner {
            identity: Identity {
                user: self.user.clone(),
                username: self.user.as_str().into(),
                expires_at: UnixMicros(u64::MAX / 2),
                conversations: Conversations::All,
                moderator: false,
            },
            extended: self.is_extended,
            since: Some(since.to_string().into()),
            connection_id: world.chance.borrow_mut().number(),
            quota: Arc::new(UserQuota::new(0, world.now().mono)),
        };
        let key = node.join(&self.of, joiner, socket);
        world.note(|| format!("c{} connects since {since}", self.device));
        self.socket = Some(Socket {
            node,
            key,
            pieces,
            is_live: !self.is_extended,
        });
        for item in &mut self.outbox {
            item.sent_us = None;
        }
    }

    fn act(&mut self, world: &Rc<World>) {
        let now_us = world.now().wall.0;
        let Some(socket) = &self.socket else {
            return;
        };
        if !socket.node.lives() || world.fails(30) {
            let (node, key) = (Rc::clone(&socket.node), socket.key);
            world.note(|| format!("c{} goes away", self.device));
            self.socket = None;
            return node.gone(&self.of, key);
        }
        if !self.is_extended {
            let age_us = |item: &Item| now_us.saturating_sub(item.first_us);
            self.outbox.retain(|item| age_us(item) < BASE_TRIES_US);
        }
        if !world.is_calm.get() && self.outbox.len() < 6 && world.below(3) == 0 {
            self.count += 1;
            self.outbox.push(Item {
                local_id: format!("{}-{}", self.device, self.count),
                first_us: now_us,
                sent_us: None,
                tries: 0,
                acked: None,
            });
        }
        match world.below(12) {
            0 => self.say(r#"{"action":"heartbeat"}"#),
            1 if !world.is_calm.get() => self.change(world),
            _ => {}
        }
        self.offer(now_us);
    }

    /// Edits or deletes something of its own.
    fn change(&mut self, world: &Rc<World>) {
        let own = format!("{}/{}-", self.user, self.device);
        let ids: Vec<MessageId> = {
            let known = self.known.borrow();
            let all = known.view.iter();
            let own = all.filter(|(at, name)| at.k == 0 && name.starts_with(&own));
            own.map(|(at, _)| at.id).collect()
        };
        if ids.is_empty() {
            return;
        }
        let id = ids[world.below(ids.len() as u64) as usize];
        self.count += 1;
        let (name, way) = (format!("{}-{}", self.device, self.count), world.below(4));
        let text = match way {
            0 => {
                format!(r#"{{"action":"delete_message","message_id":"{id}","local_id":"x{name}"}}"#)
            }
            _ => format!(
                r#"{{"action":"edit_message","message_id":"{id}","content":"{name}","local_id":"x{name}"}}"#
            ),
        };
        self.say(&text);
    }

    /// Sends what waits, in order.
    fn offer(&mut self, now_us: u64) {
        if !self.socket.as_ref().is_some_and(|socket| socket.is_live) {
            return;
        }
        let mut texts = Vec::new();
        for item in self.outbox.iter_mut().filter(|item| item.acked.is_none()) {
            let waits = |sent: u64| now_us.saturating_sub(sent) < ANSWER_US;
            if item.sent_us.is_some_and(waits) {
                continue;
            }
            let retry = self.is_extended && item.tries > 0;
            item.tries += 1;
            item.sent_us = Some(now_us);
            let name = &item.local_id;
            texts.push(format!(
                r#"{{"action":"send_message","content":"m{name}","local_id":"{name}","retry":{retry}}}"#
            ));
        }
        texts.iter().for_each(|text| self.say(text));
    }

    fn say(&self, text: &str) {
        if let Some(socket) = &self.socket {
            let key = socket.key;
            let of = self.of.clone();
            socket
                .node
                .enter(&of, |room, cx| room.on_text(key, text, cx));
        }
    }

    fn on_piece(&mut self, world: &Rc<World>, piece: Piece) {
        match piece {
            Piece::Closed => self.socket = None,
            Piece::Ping(nonce) => {
                if let Some(Socket { node, key, .. }) = &self.socket {
                    let key = *key;
                    node.enter(&self.of, |room, cx| room.on_pong(key, &nonce, cx));
                }
            }
            Piece::Text(text) => {
                let device = self.device;
                let frame = ServerFrame::decode(&text).expect("frames are well-formed");
                world.note(|| format!("c{device} hears {}", String::from_utf8_lossy(&text)));
                self.on_frame(world, frame);
            }
        }
    }

    fn on_frame(&mut self, world: &Rc<World>, frame: ServerFrame<'_>) {
        match frame {
            ServerFrame::ChatMessage { message, position } => {
                let local_id = message.local_id.as_deref();
                self.on_event(world, position, &message.sender_id, local_id);
            }
            ServerFrame::MessageEdited {
                position,
                edited_by,
                local_id,
                ..
            } => self.on_event(world, position, &edited_by, local_id.as_deref()),
            ServerFrame::MessageDeleted {
                position,
                deleted_by,
                local_id,
                ..
            } => self.on_event(world, position, &deleted_by, local_id.as_deref()),
            ServerFrame::MessageFailed {
                local_id,
                retryable,
                code,
                ..
            } => {
                if !retryable {
                    world.violate(format!("REFUSED {local_id:?}: {code:?}"));
                }
            }
            ServerFrame::Hello {
                epoch, stored_id, ..
            } => {
                if self.epoch.is_some_and(|known| known != epoch) {
                    let since = self.known.borrow().since;
                    self.known.borrow_mut().view.retain(|at, _| *at <= since);
                    self.forget_acks(world);
                }
                self.epoch = Some(epoch);
                self.on_stored(world, epoch, stored_id);
            }
            ServerFrame::Resync {
                epoch, lost_after, ..
            } => {
                let mut known = self.known.borrow_mut();
                known.view.retain(|at, _| *at <= lost_after);
                known.since = lost_after;
                drop(known);
                self.epoch = Some(epoch);
                self.forget_acks(world);
            }
            ServerFrame::Live { .. } => {
                if let Some(socket) = &mut self.socket {
                    socket.is_live = true;
                }
                // All of it, whatever was acknowledged before: repeats do no harm.
                for item in &mut self.outbox {
                    (item.acked, item.sent_us) = (None, None);
                }
            }
            ServerFrame::Stored { epoch, up_to_id } => self.on_stored(world, epoch, up_to_id),
            ServerFrame::Gap { from, to } => world.violate(format!("GAP {from} to {to}")),
            ServerFrame::Error { .. }
            | ServerFrame::MessageStatus { .. }
            | ServerFrame::MessagesFetched { .. }
            | ServerFrame::Typing { .. }
            | ServerFrame::Read { .. }
            | ServerFrame::UserStatus { .. }
            | ServerFrame::Heartbeat {}
            | ServerFrame::AuthOk { .. }
            | ServerFrame::Receipts { .. }
            | ServerFrame::Presence { .. }
            | ServerFrame::AuthExpiring { .. }
            | ServerFrame::Reconnect { .. }
            | ServerFrame::AccessRevoked { .. } => {}
        }
    }

    /// An event of the stream, or the answer to a repeat, which names no place that the stream did not
    /// come to: the client goes on from whatever it is told.
    fn on_event(
        &mut self,
        world: &Rc<World>,
        position: Position,
        sender: &str,
        local_id: Option<&str>,
    ) {
        let name = format!("{sender}/{}", local_id.unwrap_or_default());
        world.expose(&self.of, position, &name);
        let epoch = self.epoch.unwrap_or(0);
        let is_own = *sender == *self.user.as_str();
        let item = self
            .outbox
            .iter_mut()
            .find(|item| is_own && local_id == Some(&item.local_id));
        if let Some(item) = item
            && item.acked.is_none()
        {
            item.acked = Some((position.id, epoch));
            self.known.borrow_mut().acked.push(name.clone());
        }
        if !self.is_extended {
            self.outbox.retain(|item| item.acked.is_none());
        }
        let mut known = self.known.borrow_mut();
        known.since = known.since.max(position);
        known.view.insert(position, name);
    }

    fn forget_acks(&mut self, world: &World) {
        if !world.rules.has(Rule::OutboxOnNewEpoch) {
            return;
        }
        for item in &mut self.outbox {
            (item.acked, item.sent_us) = (None, None);
        }
    }

    fn on_stored(&mut self, world: &Rc<World>, epoch: u32, up_to: MessageId) {
        let is_bound = world.rules.has(Rule::StoredOfKnownEpoch);
        self.outbox.retain(|item| {
            let covers =
                |(id, known): (MessageId, u32)| id <= up_to && (known == epoch || !is_bound);
            !item.acked.is_some_and(covers)
        });
    }
}
