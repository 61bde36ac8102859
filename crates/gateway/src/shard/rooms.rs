//! The rooms of a shard: who sits where, and carrying out what a room wants done.

use std::{net::TcpStream, sync::Arc};

#[cfg(not(feature = "echo"))]
use parlance_core::room::Room;
use parlance_core::{
    clock::Mono,
    entry::Entry,
    ports::{Appended, Backend, Bus, Heard, Presence, Receipts, Verifier},
    room::{Context, Effect, MemberKey, Reply},
};
use parlance_protocol::ConversationId;

#[cfg(feature = "echo")]
use super::echo::Room;
use super::{
    ConnKey, RoomKey, SOON_MS, Shard,
    conn::{Conn, Place},
    ports::Answer,
    spans,
    timers::{Armed, Due},
};
use crate::handover::Handover;

/// How long a room stays when everybody left: a client that comes back finds it in memory.
const LINGER_MS: u64 = 30_000;

/// A room, and which connection each of its members is.
pub(super) struct Seats {
    pub(super) room: Room,
    /// By member; the core gives the lowest free keys first.
    conns: Vec<Option<ConnKey>>,
    /// How many answers it waits for.
    waits_for: usize,
    armed: Armed,
    /// Stands in the list of rooms to be written.
    is_dirty: bool,
}

// === impl Seats ===

impl Seats {
    fn new(room: Room) -> Self {
        Self {
            room,
            conns: Vec::new(),
            waits_for: 0,
            armed: Armed::default(),
            is_dirty: false,
        }
    }

    fn sit(&mut self, member: MemberKey, conn: ConnKey) {
        let index = member.0 as usize;
        if index >= self.conns.len() {
            self.conns.resize(index + 1, None);
        }
        self.conns[index] = Some(conn);
    }

    /// Whose seat it is.
    fn conn(&self, member: MemberKey) -> Option<ConnKey> {
        self.conns.get(member.0 as usize).copied().flatten()
    }

    pub(super) fn stand_up(&mut self, member: MemberKey) -> Option<ConnKey> {
        self.conns.get_mut(member.0 as usize)?.take()
    }
}

// === impl Shard ===

impl<B: Backend, V: Verifier> Shard<B, V> {
    /// A connection comes in.
    pub(super) fn join(&mut self, handover: Handover) {
        let Handover {
            socket,
            buffered,
            conversation,
            joiner,
            permit,
        } = handover;
        let conn = ConnKey::of(self.conns.vacant_key());
        let Some(socket) = self.watch(socket, conn) else {
            return;
        };
        let room = self.room_of(conversation);
        let member = self.call(room, |room, cx| room.join(joiner, cx));
        let place = Place { room, member };
        self.conns.insert(Conn::new(socket, place, permit));
        self.rooms[room.index()].sit(member, conn);
        self.stats.metrics.connections.increment(1.0);
        self.apply(room);
        self.feed(conn, &mut buffered.to_vec());
    }

    fn watch(&self, socket: TcpStream, conn: ConnKey) -> Option<mio::net::TcpStream> {
        let mut socket = mio::net::TcpStream::from_std(socket);
        match self.sockets.watch(&mut socket, conn) {
            Ok(()) => Some(socket),
            Err(error) => {
                tracing::warn!(%error, "a socket cannot be watched: the connection is cut");
                None
            }
        }
    }

    fn room_of(&mut self, conversation: ConversationId) -> RoomKey {
        if let Some(room) = self.by_conversation.get(&conversation) {
            return *room;
        }
        let room = Room::new(conversation.clone(), Arc::clone(&self.settings), self.now);
        let key = RoomKey::of(self.rooms.insert(Seats::new(room)));
        self.by_conversation.insert(conversation, key);
        self.stats.metrics.rooms.increment(1.0);
        key
    }

    /// Calls a room and does what it wants done.
    pub(super) fn with<R>(
        &mut self,
        room: RoomKey,
        act: impl FnOnce(&mut Room, &mut Context<'_>) -> R,
    ) -> R {
        let answer = self.call(room, act);
        self.apply(room);
        answer
    }

    /// Calls a room. What it wants done is applied by the caller.
    pub(super) fn call<R>(
        &mut self,
        room: RoomKey,
        act: impl FnOnce(&mut Room, &mut Context<'_>) -> R,
    ) -> R {
        let mut random = || getrandom::u64().expect("the system's random source answers");
        let mut cx = Context {
            now: self.now,
            random: &mut random,
            effects: &mut self.effects,
        };
        act(&mut self.rooms[room.index()].room, &mut cx)
    }

    /// Does what the room wants done.
    pub(super) fn apply(&mut self, room: RoomKey) {
        if self.effects.is_empty() {
            return;
        }
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            self.carry_out(room, effect);
        }
        debug_assert!(self.effects.is_empty(), "no effect calls a room");
        self.effects = effects;
        if self.rooms[room.index()].room.empty_since().is_some() {
            self.arm_room(room);
        }
    }

    fn carry_out(&mut self, room: RoomKey, effect: Effect) {
        let seats = &mut self.rooms[room.index()];
        let conversation = seats.room.conversation();
        let handle = &self.ports.handle;
        match effect {
            Effect::Open => {
                self.ports.open(room, conversation);
                seats.waits_for += 1;
            }
            Effect::Request(ticket, request) => {
                let metrics = &self.stats.metrics;
                self.ports
                    .ask(room, conversation, ticket, request, self.now, metrics);
                seats.waits_for += 1;
            }
            Effect::Publish(ephemeral) => handle.publish(conversation, ephemeral),
            Effect::PresenceJoin(user) => {
                Presence::join(handle, conversation, &user, self.now.wall);
            }
            Effect::PresenceLeave(user) => handle.leave(conversation, &user, self.now.wall),
            Effect::Advance {
                user,
                cursor,
                listed,
            } => handle.advance(conversation, &user, cursor, self.now.wall, listed),
            Effect::Write(member) => {
                if let Some(conn) = seats.conn(member) {
                    self.mark(conn);
                }
            }
            Effect::WriteAll => {
                if !std::mem::replace(&mut seats.is_dirty, true) {
                    self.dirty_rooms.push(room);
                }
            }
            Effect::Close {
                member,
                last,
                code,
                reason,
            } => {
                if let Some(conn) = seats.stand_up(member) {
                    self.close(conn, &last, code, &reason);
                }
            }
            Effect::Deadline => self.arm_room(room),
            Effect::MemberDeadline(member) => {
                if let Some(conn) = seats.conn(member) {
                    self.arm_conn(conn, SOON_MS);
                }
            }
            Effect::Count(counted) => self.stats.counted(counted),
        }
    }

    /// Puts all members of the rooms that have something for everybody among those to be written.
    pub(super) fn mark_rooms(&mut self) {
        while let Some(room) = self.dirty_rooms.pop() {
            let seats = &mut self.rooms[room.index()];
            seats.is_dirty = false;
            for conn in seats.conns.iter().flatten() {
                let entry = &mut self.conns[conn.index()];
                if !std::mem::replace(&mut entry.dirty, true) {
                    self.dirty.push(*conn);
                }
            }
        }
    }

    /// Puts a connection among those to be written.
    pub(super) fn mark(&mut self, conn: ConnKey) {
        let entry = &mut self.conns[conn.index()];
        if !std::mem::replace(&mut entry.dirty, true) {
            self.dirty.push(conn);
        }
    }

    pub(super) fn answered(&mut self, room: RoomKey, answer: Answer) {
        self.rooms[room.index()].waits_for -= 1;
        if let Answer::Reply(_, Reply::Append(Ok(Appended::New(entry)))) = &answer {
            self.trace_delivery(room, entry);
        }
        self.with(room, |room, cx| match answer {
            Answer::Opened(opened) => room.on_opened(opened, cx),
            Answer::Reply(ticket, reply) => room.on_reply(ticket, reply, cx),
        });
    }

    /// Begins the span of a delivery, unless the event is told already: what this shard appends is
    /// heard and answered.
    fn trace_delivery(&mut self, room: RoomKey, entry: &Entry) {
        let seats = &self.rooms[room.index()];
        if entry.position <= seats.room.head() {
            return;
        }
        let members = || seats.conns.iter().flatten().count();
        let conversation = seats.room.conversation();
        let span = spans::deliver(&self.ports.traces, conversation, entry, members);
        self.deliveries.extend(span);
    }

    /// A piece of the feed. What comes for a room that was dropped is of no interest.
    pub(super) fn heard(&mut self, heard: Option<(ConversationId, Heard)>) {
        let Some((conversation, heard)) = heard else {
            tracing::error!("the backend ended: nothing is heard any more");
            self.is_deaf = true;
            return;
        };
        if let Some(room) = self.by_conversation.get(&conversation).copied() {
            if let Heard::Entry(entry) = &heard {
                self.trace_delivery(room, entry);
            }
            self.with(room, |room, cx| room.on_heard(heard, cx));
        }
    }

    fn arm_room(&mut self, key: RoomKey) {
        let seats = &mut self.rooms[key.index()];
        let linger = seats.room.empty_since().map(|at| at.plus_ms(LINGER_MS));
        let next = [seats.room.deadline(), linger].into_iter().flatten().min();
        if let Some(at) = next {
            let at = at.max(self.now.mono.plus_ms(SOON_MS));
            self.timers.arm(&mut seats.armed, at, Due::Room(key));
        }
    }

    /// A deadline of a room came up, maybe one that was moved since.
    pub(super) fn on_room_time(&mut self, key: RoomKey, at: Mono) {
        let Some(seats) = self.rooms.get_mut(key.index()) else {
            return;
        };
        if !seats.armed.fires(at) {
            return;
        }
        if seats.room.deadline().is_some_and(|at| at <= self.now.mono) {
            self.with(key, Room::on_deadline);
        }
        let seats = &self.rooms[key.index()];
        let lingered = |since: Mono| self.now.mono.since_ms(since) >= LINGER_MS;
        if seats.waits_for == 0 && seats.room.empty_since().is_some_and(lingered) {
            self.drop_room(key);
        } else {
            self.arm_room(key);
        }
    }

    fn drop_room(&mut self, key: RoomKey) {
        let seats = self.rooms.remove(key.index());
        let conversation = seats.room.conversation();
        self.ports.handle.unsubscribe(conversation);
        self.by_conversation.remove(conversation);
        self.dirty_rooms.retain(|room| *room != key);
        self.stats.metrics.rooms.decrement(1.0);
    }
}
