//! A gateway: real rooms on a fake log, driven as a shard drives them.
//!
//! Sockets are channels, and a room's frames are taken as soon as it says that there are any. Leaves
//! out what has no part in order and loss: limits, draining, dropping empty rooms.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use parlance_core::{
    entry::Entry,
    ports::{Appended, Bus, Heard, History, Log, Opening, Presence, Receipts},
    room::{Context, Effect, FrameSink, Joiner, MemberKey, Reply, Request, Room, Ticket},
    settings::Settings,
};
use parlance_protocol::{ConversationId, MessageId, Position};
use tokio::{sync::mpsc::UnboundedSender, time::sleep};

use crate::{
    adapter::Handle,
    net::Net,
    rule::Rule,
    world::{SimNet, world},
};

/// What a socket brings.
#[derive(Debug)]
pub(crate) enum Piece {
    Text(Vec<u8>),
    Ping([u8; 8]),
    Closed,
}

struct Seats {
    room: Room,
    sockets: BTreeMap<MemberKey, UnboundedSender<Piece>>,
}

pub(crate) struct Node {
    process: u64,
    net: SimNet,
    pub(crate) handle: Handle<SimNet>,
    rooms: RefCell<BTreeMap<ConversationId, Seats>>,
}

#[derive(Default)]
struct Taken(Vec<Piece>);

impl FrameSink for Taken {
    fn text(&mut self, payload: &[u8]) {
        self.0.push(Piece::Text(payload.to_vec()));
    }

    fn ping(&mut self, payload: [u8; 8]) {
        self.0.push(Piece::Ping(payload));
    }

    fn bytes(&self) -> usize {
        0
    }
}

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(50);
/// Every so many ticks all heads are compared.
const SWEEP_TICKS: u64 = 100;

impl Node {
    pub(crate) fn start(process: u64) -> Rc<Self> {
        let net = SimNet(process);
        let node = Rc::new(Self {
            process,
            net,
            handle: Handle::new(net),
            rooms: RefCell::default(),
        });
        world().nodes.borrow_mut().insert(process, Rc::clone(&node));
        let ticking = Rc::clone(&node);
        net.start(async move { ticking.tick().await });
        node
    }

    pub(crate) fn lives(self: &Rc<Self>) -> bool {
        let world = world();
        let nodes = world.nodes.borrow();
        nodes
            .get(&self.process)
            .is_some_and(|it| Rc::ptr_eq(it, self))
    }

    async fn tick(self: Rc<Self>) {
        for round in 1_u64.. {
            sleep(TICK).await;
            let now = world().now();
            for of in self.conversations() {
                self.enter(&of, |room, cx| {
                    if room.deadline().is_some_and(|at| at <= now.mono) {
                        room.on_deadline(cx);
                    }
                    let members: Vec<MemberKey> = room.members().collect();
                    for key in members {
                        let at = room.member_deadline(key, now);
                        if at.is_some_and(|at| at <= now.mono) {
                            room.on_member_deadline(key, cx);
                        }
                    }
                });
                if round.is_multiple_of(SWEEP_TICKS) && world().rules.has(Rule::Sweep) {
                    self.heard(&of, Heard::Doubt);
                }
            }
        }
    }

    fn conversations(&self) -> Vec<ConversationId> {
        self.rooms.borrow().keys().cloned().collect()
    }

    /// Another run of the log: everything is subscribed to and read again.
    pub(crate) async fn reconnected(self: Rc<Self>) {
        world().note(|| format!("g{} has another run", self.process));
        for of in self.conversations() {
            while self.handle.subscribe(&of).await.is_err() {}
            self.heard(&of, Heard::Doubt);
        }
    }

    pub(crate) fn join(
        self: &Rc<Self>,
        of: &ConversationId,
        joiner: Joiner,
        socket: UnboundedSender<Piece>,
    ) -> MemberKey {
        let mut rooms = self.rooms.borrow_mut();
        rooms.entry(of.clone()).or_insert_with(|| {
            let settings = Settings {
                actions_per_second: 0,
                ring_entries: 24,
                ..Settings::default()
            };
            Seats {
                room: Room::new(of.clone(), Arc::new(settings), world().now()),
                sockets: BTreeMap::new(),
            }
        });
        drop(rooms);
        let mut key = MemberKey(0);
        self.call(of, |seats, cx| {
            key = seats.room.join(joiner, cx);
            seats.sockets.insert(key, socket);
        });
        key
    }

    pub(crate) fn heard(self: &Rc<Self>, of: &ConversationId, heard: Heard) {
        self.enter(of, |room, cx| {
            let heard = match heard {
                Heard::Entry(entry) => Heard::Entry(next_by_number(room, entry)),
                Heard::Stored { .. } | Heard::Ephemeral(_) | Heard::Doubt => heard,
            };
            room.on_heard(heard, cx);
        });
    }

    pub(crate) fn enter(
        self: &Rc<Self>,
        of: &ConversationId,
        act: impl FnOnce(&mut Room, &mut Context<'_>),
    ) {
        self.call(of, |seats, cx| act(&mut seats.room, cx));
    }

    /// Calls a room, does what it wants done, and lets its sockets have their frames.
    fn call(self: &Rc<Self>, of: &ConversationId, act: impl FnOnce(&mut Seats, &mut Context<'_>)) {
        if !self.lives() {
            return;
        }
        let world = world();
        let mut effects = Vec::new();
        let mut random = || world.chance.borrow_mut().number();
        let mut rooms = self.rooms.borrow_mut();
        let Some(seats) = rooms.get_mut(of) else {
            return;
        };
        let mut cx = Context {
            now: world.now(),
            random: &mut random,
            effects: &mut effects,
        };
        act(seats, &mut cx);
        let keys: Vec<MemberKey> = seats.sockets.keys().copied().collect();
        for key in keys {
            let mut taken = Taken::default();
            while seats.room.take(key, &mut taken, 1 << 20, &mut cx) {}
            if let Some(socket) = seats.sockets.get(&key) {
                // A client that went away hears nothing.
                taken
                    .0
                    .into_iter()
                    .for_each(|piece| drop(socket.send(piece)));
            }
        }
        drop(rooms);
        for effect in effects {
            self.carry_out(of, effect);
        }
    }

    fn carry_out(self: &Rc<Self>, of: &ConversationId, effect: Effect) {
        let (wall, handle) = (world().now().wall, &self.handle);
        match effect {
            Effect::Open => {
                let opened = handle.open(of, parlance_core::receipts::OPENING_CURSORS);
                let (it, of) = (Rc::clone(self), of.clone());
                self.net.start(async move {
                    let opened = opened.await;
                    it.enter(&of, |room, cx| room.on_opened(opened, cx));
                });
            }
            Effect::Request(ticket, request) => self.ask(of, ticket, request),
            Effect::Publish(ephemeral) => handle.publish(of, ephemeral),
            Effect::PresenceJoin(user) => Presence::join(handle, of, &user, wall),
            Effect::PresenceLeave(user) => handle.leave(of, &user, wall),
            Effect::Advance {
                user,
                cursor,
                listed,
            } => handle.advance(of, &user, cursor, wall, listed),
            Effect::Close { member, last, .. } => {
                let mut rooms = self.rooms.borrow_mut();
                let socket = rooms.get_mut(of).and_then(|it| it.sockets.remove(&member));
                if let Some(socket) = socket {
                    for text in last {
                        let _ = socket.send(Piece::Text(text.to_vec()));
                    }
                    let _ = socket.send(Piece::Closed);
                }
            }
            Effect::Write(_)
            | Effect::WriteAll
            | Effect::Deadline
            | Effect::MemberDeadline(_)
            | Effect::Count(_) => {}
        }
    }

    /// Asks now, so that the order of calls is that of effects.
    fn ask(self: &Rc<Self>, of: &ConversationId, ticket: Ticket, request: Request) {
        let handle = &self.handle;
        match request {
            Request::Append(draft) => {
                let asked = handle.append(of, draft);
                self.answer(of, ticket, async { Reply::Append(asked.await) });
            }
            Request::Head => {
                let asked = handle.head(of);
                self.answer(of, ticket, async { Reply::Head(asked.await) });
            }
            Request::Replay { after, limit } => {
                let asked = handle.replay(of, after, limit);
                self.answer(of, ticket, async { Reply::Replay(asked.await) });
            }
            Request::Page { anchor, limit } => {
                let asked = handle.page(of, anchor, limit);
                self.answer(of, ticket, async { Reply::Page(asked.await) });
            }
            Request::At(position) => {
                let asked = handle.at(of, position);
                self.answer(of, ticket, async { Reply::At(asked.await) });
            }
            Request::Authored {
                author,
                above,
                up_to,
                limit,
            } => {
                let asked = handle.authored(of, &author, above, up_to, limit);
                self.answer(of, ticket, async { Reply::Authored(asked.await) });
            }
            Request::Cursor(user) => {
                let asked = handle.cursor(of, &user);
                self.answer(of, ticket, async { Reply::Cursor(asked.await) });
            }
            Request::Verify(_) => unreachable!("no client renews its token"),
        }
    }

    fn answer(
        self: &Rc<Self>,
        of: &ConversationId,
        ticket: Ticket,
        reply: impl Future<Output = Reply> + 'static,
    ) {
        let (it, of) = (Rc::clone(self), of.clone());
        self.net.start(async move {
            let reply = reply.await;
            it.enter(&of, |room, cx| {
                let reply = if let Reply::Append(Ok(Appended::New(entry))) = reply {
                    Reply::Append(Ok(Appended::New(next_by_number(room, entry))))
                } else {
                    reply
                };
                room.on_reply(ticket, reply, cx);
            });
        });
    }

    /// Every connection is lost, and with it what its room kept of it for later.
    pub(crate) fn lose_all(self: &Rc<Self>) {
        for of in self.conversations() {
            let keys: Vec<MemberKey> = {
                let rooms = self.rooms.borrow();
                let seats = rooms.get(&of);
                seats.map_or_else(Vec::new, |it| it.sockets.keys().copied().collect())
            };
            keys.into_iter().for_each(|key| self.gone(&of, key));
        }
    }

    pub(crate) fn gone(self: &Rc<Self>, of: &ConversationId, key: MemberKey) {
        self.call(of, |seats, cx| {
            if seats.sockets.remove(&key).is_some() {
                seats
                    .room
                    .leave(key, parlance_core::room::Departure::Lost, cx);
            }
        });
    }
}

/// Without the rule of `prev`, the next event is the one with the next number.
fn next_by_number(room: &Room, entry: Arc<Entry>) -> Arc<Entry> {
    let (head, at) = (room.head(), entry.position);
    let is_message = at.k == 0 && Some(at.id) == MessageId::new(head.id.get() + 1);
    let is_change = at.id == head.id && at.k == head.k + 1;
    if world().rules.has(Rule::PrevIsNext) || !(is_message || is_change) {
        return entry;
    }
    let prev: Position = head;
    Arc::new(Entry {
        prev,
        ..(*entry).clone()
    })
}
