//! Bytes in, bytes out.

use parlance_core::{
    ports::{Backend, Verifier},
    room::FrameSink,
};

use super::{
    ConnKey, SOON_MS, Shard,
    conn::{Place, Stage},
    sockets::Ready,
};
use crate::frame::{Event, FrameReader};

/// A write takes no further frame once it holds this much. A member that has more is written
/// again in the next turn, after everybody else.
const WRITE_BYTES: usize = 16 * 1024;
/// What the write buffer keeps for good. A single frame may be far larger.
const KEEP_BYTES: usize = 4 * WRITE_BYTES;

impl<B: Backend, V: Verifier> Shard<B, V> {
    pub(super) fn on_ready(&mut self, ready: Ready) {
        if ready.writable {
            self.write_rest(ready.conn);
        }
        if ready.readable || ready.ended {
            self.read(ready.conn, ready.ended);
        }
    }

    /// Of a connection whose share of the last turn was used up.
    pub(super) fn read_further(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key.index()) else {
            return;
        };
        if std::mem::take(&mut conn.unread) {
            self.read(key, false);
        }
    }

    /// One read, and what it brought. A read that fills the buffer, or an end that is not reached
    /// yet, is followed by another in the next turn; any other took all there was.
    fn read(&mut self, key: ConnKey, ended: bool) {
        let Some(conn) = self.conns.get_mut(key.index()) else {
            return;
        };
        let mut buffer = std::mem::take(&mut self.buffer);
        match conn.read(&mut buffer) {
            Ok(None) => {}
            Ok(Some(0)) | Err(_) => self.lost(key),
            Ok(Some(bytes)) => {
                if (ended || bytes == buffer.len()) && !std::mem::replace(&mut conn.unread, true) {
                    self.unread.push(key);
                }
                self.feed(key, &mut buffer[..bytes]);
            }
        }
        self.buffer = buffer;
    }

    /// What a socket brought, frame by frame.
    pub(super) fn feed(&mut self, key: ConnKey, mut input: &mut [u8]) {
        self.stats.received(input.len());
        let limit_bytes = match self.settings.frame_bytes {
            0 => usize::MAX / 2,
            limit => limit,
        };
        let Some(conn) = self.conns.get_mut(key.index()) else {
            return;
        };
        // Out of the slab for as long as its events are carried out.
        let mut reader: FrameReader = std::mem::take(&mut conn.reader);
        while self.listens(key) {
            match reader.next(&mut input, limit_bytes, self.now.mono) {
                Ok(Some(event)) => self.on_event(key, &event),
                Ok(None) => break,
                Err(violation) => self.violated(key, violation),
            }
        }
        let started = reader.started_at().is_some();
        if let Some(conn) = self.conns.get_mut(key.index()) {
            conn.reader = reader;
            if started {
                self.arm_conn(key, SOON_MS);
            }
        }
    }

    /// Whether frames of this connection still count.
    fn listens(&self, key: ConnKey) -> bool {
        match self.conns.get(key.index()).map(|conn| conn.stage) {
            None => false,
            Some(Stage::Member(_)) => true,
            Some(Stage::Leaving(leaving)) => leaving.listens,
        }
    }

    fn on_event(&mut self, key: ConnKey, event: &Event<'_>) {
        let conn = &mut self.conns[key.index()];
        let Some(Place { room, member }) = conn.place() else {
            if let Event::Close(_) = event {
                self.listen_no_more(key);
            }
            return;
        };
        match event {
            Event::Text(text) => self.with(room, |room, cx| room.on_text(member, text, cx)),
            #[cfg(feature = "echo")]
            Event::Binary(bytes) => self.with(room, |room, cx| room.on_binary(member, bytes, cx)),
            Event::Pong(payload) => self.with(room, |room, cx| room.on_pong(member, payload, cx)),
            Event::Ping(payload) => {
                conn.answer(payload);
                self.mark(key);
                self.with(room, |room, cx| room.on_alive(member, cx));
            }
            Event::Close(close) => self.closed_by_client(key, *close),
        }
    }

    /// Writes to everybody who may have something to be written, once.
    pub(super) fn flush(&mut self) {
        self.mark_rooms();
        let mut dirty = std::mem::take(&mut self.dirty);
        for conn in dirty.drain(..) {
            self.write(conn);
        }
        // Who has more was marked again meanwhile.
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
    }

    /// One write to a member, unless it has not taken the last one yet.
    pub(super) fn write(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key.index()) else {
            return;
        };
        let was_dirty = std::mem::take(&mut conn.dirty);
        let Some(Place { room, member }) = conn.place() else {
            return;
        };
        if !was_dirty || conn.is_blocked() {
            return;
        }
        let mut frames = std::mem::take(&mut self.frames);
        frames.clear(KEEP_BYTES);
        conn.take_pongs(&mut frames);
        let more = self.call(room, |room, cx| {
            room.take(member, &mut frames, WRITE_BYTES, cx)
        });
        let mut written = Ok(());
        if frames.bytes() > 0 {
            written = self.conns[key.index()].write(frames.as_slice());
            self.stats.wrote(&frames);
        }
        self.frames = frames;
        if more {
            self.mark(key);
        }
        self.note_blocked(key);
        self.apply(room);
        if written.is_err() {
            self.lost(key);
        }
    }

    /// A socket takes bytes again.
    fn write_rest(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key.index()) else {
            return;
        };
        if !conn.is_blocked() {
            return;
        }
        let written = conn.write_rest().and_then(|()| conn.end_if_done());
        if conn.is_blocked() {
            return;
        }
        self.stats.metrics.lagging_connections.decrement(1.0);
        match written {
            Ok(()) => self.mark(key),
            Err(_) => self.lost(key),
        }
    }

    /// Counts a connection that a write to an unblocked socket left blocked.
    fn note_blocked(&self, key: ConnKey) {
        if self.conns[key.index()].is_blocked() {
            self.stats.metrics.lagging_connections.increment(1.0);
        }
    }
}
