//! How connections end: by the room, by the client, by a broken rule, or lost.
//!
//! Whatever the way, TCP ends within two seconds of the close frame. After a close frame of ours
//! the client's is waited for; then our side is ended, and the client's end is read, so that no
//! byte on its way to the client is thrown away by a reset.

use bytes::Bytes;
use parlance_core::{
    clock::Mono,
    ports::{Backend, Verifier},
    room::{Departure, FrameSink},
};
use parlance_protocol::CloseCode;

use super::{
    ConnKey, SOON_MS, Shard,
    conn::{Leaving, Place, Stage},
    timers::Due,
};
use crate::frame::{FRAME_MS, FrameWriter, Violation};

/// From the close frame to the end of TCP at the latest.
const LEAVING_MS: u64 = 2_000;
/// A deadline of a member that is still past after its turn waits for something that does not
/// hurry: its socket is blocked.
const OVERDUE_MS: u64 = 1_000;

impl<B: Backend, V: Verifier> Shard<B, V> {
    /// The room let the member go: what was queued for it, then a close frame.
    pub(super) fn close(&mut self, key: ConnKey, last: &[Bytes], code: CloseCode, reason: &str) {
        self.stats.closed_by_server(code);
        tracing::debug!(code = code.get(), reason, "connection closed by the server");
        let mut frames = std::mem::take(&mut self.frames);
        frames.clear(0);
        for text in last {
            frames.text(text);
        }
        frames.close(Some(code.get()), reason);
        self.leave_by(key, frames, true);
    }

    /// The client broke a rule of framing. What follows cannot be read.
    pub(super) fn violated(&mut self, key: ConnKey, violation: Violation) {
        if !self.write_before_the_end(key) {
            return self.listen_no_more(key);
        }
        let code = violation.close_code();
        self.leave_room(key, Departure::Lost);
        self.stats.closed_by_server(code);
        tracing::debug!(code = code.get(), %violation, "connection closed by the server");
        let mut frames = std::mem::take(&mut self.frames);
        frames.clear(0);
        frames.close(Some(code.get()), &violation.to_string());
        self.leave_by(key, frames, false);
    }

    /// The client sent a close frame first. It is answered with the same code.
    pub(super) fn closed_by_client(&mut self, key: ConnKey, close: Option<(u16, &str)>) {
        if !self.write_before_the_end(key) {
            return self.listen_no_more(key);
        }
        let code = close.map(|(code, _)| code);
        let how = match code {
            Some(1000) => Departure::Goodbye,
            Some(_) | None => Departure::Lost,
        };
        self.leave_room(key, how);
        self.stats.closed_by_client(code);
        tracing::debug!(code, "connection closed by the client");
        let mut frames = std::mem::take(&mut self.frames);
        frames.clear(0);
        frames.close(code, "");
        self.leave_by(key, frames, false);
    }

    /// Nothing that counts is to come after our close frame: the client answered it, or broke a
    /// rule.
    pub(super) fn listen_no_more(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key.index()) else {
            return;
        };
        if let Stage::Leaving(leaving) = &mut conn.stage {
            leaving.listens = false;
        }
        if conn.end_if_done().is_err() {
            self.lost(key);
        }
    }

    /// The socket ended, as it should or before it should.
    pub(super) fn lost(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get(key.index()) else {
            return;
        };
        if conn.place().is_some() {
            self.leave_room(key, Departure::Lost);
            self.stats.lost();
            tracing::debug!("connection lost");
        }
        self.cut(key);
    }

    /// Cuts everything: the shard ends.
    pub(super) fn cut_all(&mut self) {
        let keys: Vec<ConnKey> = self.conns.iter().map(|(at, _)| ConnKey::of(at)).collect();
        for key in keys {
            self.leave_room(key, Departure::Lost);
            self.cut(key);
        }
    }

    /// Sees to it that the connection's next deadline comes up: its room's, its reader's or its own.
    /// One that is past comes up `overdue_ms` from now.
    pub(super) fn arm_conn(&mut self, key: ConnKey, overdue_ms: u64) {
        let now = self.now.mono;
        let conn = &mut self.conns[key.index()];
        let next = match conn.stage {
            Stage::Leaving(leaving) => Some(leaving.until),
            Stage::Member(Place { room, member }) => {
                let room = &self.rooms[room.index()].room;
                let of_room = room.member_deadline(member, self.now);
                let of_reader = conn.reader.started_at().map(|at| at.plus_ms(FRAME_MS));
                [of_room, of_reader].into_iter().flatten().min()
            }
        };
        if let Some(at) = next {
            let at = if at <= now {
                now.plus_ms(overdue_ms)
            } else {
                at
            };
            self.timers.arm(&mut conn.armed, at, Due::Conn(key));
        }
    }

    /// A deadline of a connection came up, maybe one that was moved since. Whether it is to be
    /// armed again.
    pub(super) fn on_conn_time(&mut self, key: ConnKey, at: Mono) -> bool {
        let now = self.now.mono;
        let Some(conn) = self.conns.get_mut(key.index()) else {
            return false;
        };
        if !conn.armed.fires(at) {
            return false;
        }
        match conn.stage {
            Stage::Leaving(leaving) if leaving.until <= now => self.cut(key),
            Stage::Leaving(_) => {}
            Stage::Member(Place { room, member }) => {
                let started = conn.reader.started_at();
                let room_at = self.rooms[room.index()]
                    .room
                    .member_deadline(member, self.now);
                if started.is_some_and(|at| now.since_ms(at) >= FRAME_MS) {
                    self.violated(key, Violation::TooSlow);
                } else if room_at.is_some_and(|at| at <= now) {
                    self.with(room, |room, cx| room.on_member_deadline(member, cx));
                }
            }
        }
        true
    }

    /// After the writing, which may have settled what was due.
    pub(super) fn arm_again(&mut self, fired: Vec<ConnKey>) {
        for key in fired {
            if self.conns.contains(key.index()) {
                self.arm_conn(key, OVERDUE_MS);
            }
        }
    }

    /// What came before the frame that ends the connection gets its answers, as far as the socket
    /// takes them. Whether it is a member still.
    fn write_before_the_end(&mut self, key: ConnKey) -> bool {
        self.write(key);
        let conn = self.conns.get(key.index());
        conn.is_some_and(|conn| conn.place().is_some())
    }

    fn leave_room(&mut self, key: ConnKey, how: Departure) {
        let Some(Place { room, member }) = self.conns[key.index()].place() else {
            return;
        };
        self.rooms[room.index()].stand_up(member);
        self.with(room, |room, cx| room.leave(member, how, cx));
    }

    /// Writes the last frames, and gives the socket its two seconds.
    fn leave_by(&mut self, key: ConnKey, frames: FrameWriter, listens: bool) {
        let until = self.now.mono.plus_ms(LEAVING_MS);
        let conn = &mut self.conns[key.index()];
        let was_blocked = conn.is_blocked();
        conn.stage = Stage::Leaving(Leaving { until, listens });
        let written = conn
            .write_last(frames.as_slice())
            .and_then(|()| conn.end_if_done());
        let is_blocked = conn.is_blocked();
        self.stats.wrote(&frames);
        self.frames = frames;
        if written.is_err() {
            return self.cut(key);
        }
        if is_blocked && !was_blocked {
            self.stats.metrics.lagging_connections.increment(1.0);
        }
        self.arm_conn(key, SOON_MS);
    }

    /// Closes the socket and forgets the connection.
    fn cut(&mut self, key: ConnKey) {
        let conn = self.conns.remove(key.index());
        if conn.is_blocked() {
            self.stats.metrics.lagging_connections.decrement(1.0);
        }
        self.stats.metrics.connections.decrement(1.0);
    }
}
