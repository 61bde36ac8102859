//! One connection: its socket, how far it has come, and the bytes that are neither read nor sent yet.

use std::{
    io::{self, Read as _, Write as _},
    time::Instant,
};

use mio::net::TcpStream;

use crate::{
    dialect::{Dialect, Heard, Seat, find},
    frames::{PONG, TEXT, close_code, first_frame, push_frame},
};

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// There is no socket.
    Closed,
    /// The system connects.
    Connecting,
    /// The upgrade was asked for.
    Upgrading,
    /// Upgraded, and not in its room yet.
    Joining,
    /// In its room.
    Joined,
}

pub(crate) struct Connection {
    pub(crate) seat: Seat,
    pub(crate) stage: Stage,
    pub(crate) stream: Option<TcpStream>,
    /// When it was begun last.
    pub(crate) opened: Instant,
    /// When its last upgrade was answered.
    pub(crate) upgraded_at: Instant,
    /// The message that its next upgrade resumes behind.
    pub(crate) since: Option<u64>,
    /// Whether something was appended to `unsent` since it was last flushed.
    pub(crate) is_dirty: bool,
    /// Greetings said so far.
    step: usize,
    unread: Vec<u8>,
    /// The beginning of a text that comes in several frames.
    partial: Vec<u8>,
    pub(crate) unsent: Vec<u8>,
}

/// What happened on a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum What {
    Joined,
    Message {
        name: u64,
        id: u64,
    },
    Acked {
        name: u64,
    },
    Refused {
        name: u64,
        code: Box<str>,
        unknown: bool,
    },
    Error {
        code: Box<str>,
    },
    Page {
        request: u64,
        rows: u64,
        in_order: bool,
        ids: (u64, u64),
    },
    /// It is gone: a close code, a status of HTTP, or what the system said.
    Lost {
        why: Box<str>,
    },
}

impl Connection {
    pub(crate) fn of(seat: Seat) -> Self {
        Self {
            seat,
            stage: Stage::Closed,
            stream: None,
            opened: Instant::now(),
            upgraded_at: Instant::now(),
            since: None,
            is_dirty: false,
            step: 0,
            unread: Vec::new(),
            partial: Vec::new(),
            unsent: Vec::new(),
        }
    }

    /// A socket that the system is connecting.
    pub(crate) fn begin(&mut self, stream: TcpStream, now: Instant) {
        self.stage = Stage::Connecting;
        self.stream = Some(stream);
        self.opened = now;
    }

    /// Closes the socket and forgets what was on its way.
    pub(crate) fn close(&mut self) {
        self.stage = Stage::Closed;
        self.stream = None;
        self.step = 0;
        // Their memory goes, too: a storm opens many and then lets them be.
        self.unread = Vec::new();
        self.partial = Vec::new();
        self.unsent = Vec::new();
    }

    /// Sends what the socket takes.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        let mut sent = 0;
        while sent < self.unsent.len() {
            match stream.write(&self.unsent[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if sent == self.unsent.len() {
            self.unsent.clear();
        } else {
            self.unsent.drain(..sent);
        }
        Ok(())
    }

    /// Reads until the socket has no more, and calls `on` for what it says; then the reason if the
    /// connection ended.
    pub(crate) fn receive(
        &mut self,
        dialect: &dyn Dialect,
        scratch: &mut [u8],
        on: &mut dyn FnMut(What),
    ) -> Option<Box<str>> {
        loop {
            let stream = self.stream.as_mut()?;
            let count = match stream.read(scratch) {
                Ok(0) => return Some("cut off".into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Some(error.kind().to_string().into()),
            };
            if let Some(ended) = self.digest(dialect, &scratch[..count], on) {
                return Some(ended);
            }
            if count < scratch.len() {
                return None;
            }
        }
    }

    fn digest(
        &mut self,
        dialect: &dyn Dialect,
        bytes: &[u8],
        on: &mut dyn FnMut(What),
    ) -> Option<Box<str>> {
        if self.unread.is_empty() {
            let (used, ended) = self.take(dialect, bytes, on);
            self.unread.extend_from_slice(&bytes[used..]);
            return ended;
        }
        let mut all = std::mem::take(&mut self.unread);
        all.extend_from_slice(bytes);
        let (used, ended) = self.take(dialect, &all, on);
        all.drain(..used);
        self.unread = all;
        ended
    }

    /// Takes what is whole at the front of `bytes`: how many bytes that is, and how it ended.
    fn take(
        &mut self,
        dialect: &dyn Dialect,
        bytes: &[u8],
        on: &mut dyn FnMut(What),
    ) -> (usize, Option<Box<str>>) {
        let mut used = 0;
        if self.stage == Stage::Upgrading {
            let Some(end) = find(bytes, b"\r\n\r\n") else {
                return (0, None);
            };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                return (0, Some(status(&bytes[..end])));
            }
            used = end + 4;
            self.upgraded(dialect, on);
        }
        while let Some(frame) = first_frame(&bytes[used..]) {
            used += frame.bytes;
            match frame.opcode {
                0x1 if frame.is_final => self.hear(dialect, frame.payload, on),
                0x1 => self.partial = frame.payload.to_vec(),
                0x0 => {
                    self.partial.extend_from_slice(frame.payload);
                    if frame.is_final {
                        let text = std::mem::take(&mut self.partial);
                        self.hear(dialect, &text, on);
                    }
                }
                0x8 => return (used, Some(close_code(frame.payload).to_string().into())),
                0x9 => push_frame(&mut self.unsent, PONG, frame.payload),
                _ => {}
            }
        }
        (used, None)
    }

    fn upgraded(&mut self, dialect: &dyn Dialect, on: &mut dyn FnMut(What)) {
        self.stage = Stage::Joining;
        self.upgraded_at = Instant::now();
        self.greet(dialect);
        if dialect.joined_by_upgrade() {
            self.stage = Stage::Joined;
            on(What::Joined);
        }
    }

    fn greet(&mut self, dialect: &dyn Dialect) {
        let mut text = Vec::new();
        dialect.greeting(self.seat, self.step, &mut text);
        self.step += 1;
        if !text.is_empty() {
            push_frame(&mut self.unsent, TEXT, &text);
        }
    }

    fn hear(&mut self, dialect: &dyn Dialect, text: &[u8], on: &mut dyn FnMut(What)) {
        dialect.hear(self.seat, text, &mut |heard| match heard {
            Heard::Message { name, id } => on(What::Message { name, id }),
            Heard::Next => self.greet(dialect),
            Heard::Joined if self.stage == Stage::Joined => {}
            Heard::Joined => {
                self.stage = Stage::Joined;
                on(What::Joined);
            }
            Heard::Answer { text } => push_frame(&mut self.unsent, TEXT, text.as_bytes()),
            Heard::Acked { name } => on(What::Acked { name }),
            Heard::Refused {
                name,
                code,
                unknown,
            } => on(What::Refused {
                name,
                code: code.into(),
                unknown,
            }),
            Heard::Error { code } => on(What::Error { code: code.into() }),
            Heard::Page {
                request,
                rows,
                in_order,
                ids,
            } => on(What::Page {
                request,
                rows,
                in_order,
                ids,
            }),
        });
    }
}

/// `HTTP 503` of a refused upgrade.
pub(crate) fn status(head: &[u8]) -> Box<str> {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let code = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    format!("HTTP {}", String::from_utf8_lossy(code)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parlance::{Layer, Parlance};

    const SEAT: Seat = Seat { room: 0, member: 0 };
    const SWITCHED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first, payload.len() as u8];
        frame.extend_from_slice(payload);
        frame
    }

    /// What a connection says to these pieces, how it ended, and what it answers.
    fn fed<'a>(
        layer: Layer,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Vec<What>, Option<Box<str>>, Vec<u8>) {
        let dialect = Parlance::new(layer, "r", |_| String::new());
        let mut connection = Connection::of(SEAT);
        connection.stage = Stage::Upgrading;
        let mut all = Vec::new();
        for piece in pieces {
            let ended = connection.digest(&dialect, piece, &mut |what| all.push(what));
            if ended.is_some() {
                return (all, ended, connection.unsent);
            }
        }
        (all, None, connection.unsent)
    }

    #[test]
    fn bytes_may_come_in_any_pieces() {
        let message = br#"{"type":"chat_message","message":{"id":"7","local_id":"r-1"}}"#;
        let (begin, end) = message.split_at(30);
        let bytes = [
            SWITCHED,
            &frame(0x81, br#"{"type":"live"}"#),
            &frame(0x81, message),
            // The same in two frames, with a ping between them.
            &frame(0x01, begin),
            &frame(0x89, b"p"),
            &frame(0x80, end),
            &frame(0x88, &4100_u16.to_be_bytes()),
        ]
        .concat();
        let said = || What::Message { name: 1, id: 7 };
        let expected = vec![What::Joined, said(), said()];
        let mut pong = Vec::new();
        push_frame(&mut pong, PONG, b"p");
        for piece in 1..=bytes.len() {
            let (all, ended, unsent) = fed(Layer::Extended, bytes.chunks(piece));
            assert_eq!(all, expected, "in pieces of {piece}");
            assert_eq!(ended.as_deref(), Some("4100"));
            assert_eq!(unsent, pong);
        }
    }

    #[test]
    fn a_refused_upgrade_ends_with_its_status() {
        let refused: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n";
        let (all, ended, _) = fed(Layer::Extended, [refused]);
        assert_eq!((all, ended.as_deref()), (vec![], Some("HTTP 503")));
    }

    #[test]
    fn a_base_client_joins_with_the_answer_to_its_greeting() {
        let (all, _, unsent) = fed(Layer::Base, [SWITCHED]);
        assert!(all.is_empty() && !unsent.is_empty());
        let answer = br#"{"type":"messages_fetched","messages":[],"request_id":"joining"}"#;
        let (all, ..) = fed(Layer::Base, [SWITCHED, &frame(0x81, answer)]);
        assert_eq!(all, [What::Joined]);
    }
}
