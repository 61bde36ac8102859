//! One WebSocket of a member: connecting, the upgrade, frames in and out, and its end.
//!
//! It says what came as [`Came`] and judges nothing. The connections of the other workloads cannot be
//! used: those end with a close frame, while here it matters whether one came, what its reason says, and
//! that the closing handshake is finished by both sides.

use std::io::{self, Read as _, Write as _};

use mio::net::TcpStream;

use crate::{
    connection::status,
    dialect::{find, number},
    frames::{CLOSE, PONG, TEXT, close_code, first_frame, push_frame},
};

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The system connects; the request is kept until it has.
    Connecting,
    /// The upgrade was asked for.
    Upgrading,
    /// Frames go both ways.
    Open,
    /// This side has sent its close frame.
    Closing,
}

/// Something that came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came<'a> {
    /// The upgrade was answered.
    Upgraded,
    Text(&'a [u8]),
    /// The server's close frame, to which the answer is on its way.
    Closed {
        code: u16,
        reason: &'a [u8],
    },
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It never came to be: a status of HTTP or what the system said, and when to come back, if that was
    /// said.
    Refused {
        why: Box<str>,
        retry_after_s: Option<u64>,
    },
    /// After the close frames of both sides.
    Whole,
    /// Without a close frame of the server.
    Cut(Box<str>),
}

pub(super) struct Socket {
    pub(super) stream: TcpStream,
    stage: Stage,
    /// Whether the server's close frame came.
    was_closed: bool,
    unread: Vec<u8>,
    /// The beginning of a text that comes in several frames.
    partial: Vec<u8>,
    unsent: Vec<u8>,
}

impl Socket {
    /// On a stream that the system is connecting; `request` goes out when it has.
    pub(super) fn new(stream: TcpStream, request: Vec<u8>) -> Self {
        Self {
            stream,
            stage: Stage::Connecting,
            was_closed: false,
            unread: Vec::new(),
            partial: Vec::new(),
            unsent: request,
        }
    }

    /// Appends a text; it goes out with the next [`Socket::flush`].
    pub(super) fn say(&mut self, text: &[u8]) {
        if self.stage == Stage::Open {
            push_frame(&mut self.unsent, TEXT, text);
        }
    }

    /// Appends a close frame with code 1000.
    pub(super) fn close(&mut self) {
        if self.stage == Stage::Open {
            push_frame(&mut self.unsent, CLOSE, &1000_u16.to_be_bytes());
            self.stage = Stage::Closing;
        }
    }

    /// The system has connected it, or could not.
    pub(super) fn on_writable(&mut self) -> io::Result<()> {
        if self.stage == Stage::Connecting {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            self.stage = Stage::Upgrading;
        }
        self.flush()
    }

    /// Sends what the socket takes.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.stage == Stage::Connecting {
            return Ok(());
        }
        let mut sent = 0;
        while sent < self.unsent.len() {
            match self.stream.write(&self.unsent[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.unsent.drain(..sent);
        Ok(())
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Reads until the socket has no more, and calls `on` for what came; then its end, if that is it.
    /// `is_last` when the other side is known to have ended: nothing will tell of that once more.
    pub(super) fn receive(
        &mut self,
        is_last: bool,
        scratch: &mut [u8],
        on: &mut dyn FnMut(Came<'_>),
    ) -> Option<End> {
        loop {
            let count = match self.stream.read(scratch) {
                Ok(0) => return Some(self.end("cut off")),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Some(self.end(&error.kind().to_string())),
            };
            if let Some(end) = self.digest(&scratch[..count], on) {
                return Some(end);
            }
            if count < scratch.len() && !is_last {
                return None;
            }
        }
    }

    /// What it means that the stream is over.
    pub(super) fn end(&self, why: &str) -> End {
        match self.stage {
            Stage::Connecting | Stage::Upgrading => End::Refused {
                why: why.into(),
                retry_after_s: None,
            },
            Stage::Open | Stage::Closing if self.was_closed => End::Whole,
            Stage::Open | Stage::Closing => End::Cut(why.into()),
        }
    }

    fn digest(&mut self, bytes: &[u8], on: &mut dyn FnMut(Came<'_>)) -> Option<End> {
        if self.unread.is_empty() {
            let (used, end) = self.take(bytes, on);
            self.unread.extend_from_slice(&bytes[used..]);
            return end;
        }
        let mut all = std::mem::take(&mut self.unread);
        all.extend_from_slice(bytes);
        let (used, end) = self.take(&all, on);
        all.drain(..used);
        self.unread = all;
        end
    }

    /// Takes what is whole at the front of `bytes`: how many bytes that is, and how it ended.
    fn take(&mut self, bytes: &[u8], on: &mut dyn FnMut(Came<'_>)) -> (usize, Option<End>) {
        let mut used = 0;
        if self.stage == Stage::Upgrading {
            let Some(end) = find(bytes, b"\r\n\r\n") else {
                return (0, None);
            };
            let head = &bytes[..end];
            if !bytes.starts_with(b"HTTP/1.1 101") {
                return (0, Some(refusal(head)));
            }
            used = end + 4;
            self.stage = Stage::Open;
            on(Came::Upgraded);
        }
        while let Some(frame) = first_frame(&bytes[used..]) {
            used += frame.bytes;
            match frame.opcode {
                0x1 if frame.is_final => on(Came::Text(frame.payload)),
                0x1 => self.partial = frame.payload.to_vec(),
                0x0 => {
                    self.partial.extend_from_slice(frame.payload);
                    if frame.is_final {
                        on(Came::Text(&std::mem::take(&mut self.partial)));
                    }
                }
                0x8 => self.take_close(frame.payload, on),
                0x9 => push_frame(&mut self.unsent, PONG, frame.payload),
                _ => {}
            }
        }
        (used, None)
    }

    /// Answers with the same, if it is not the answer itself. Who closed first has no say in when the
    /// connection ends: the server ends it.
    fn take_close(&mut self, payload: &[u8], on: &mut dyn FnMut(Came<'_>)) {
        if self.was_closed {
            return;
        }
        self.was_closed = true;
        if self.stage == Stage::Open {
            let code = &payload[..payload.len().min(2)];
            push_frame(&mut self.unsent, CLOSE, code);
            self.stage = Stage::Closing;
            on(Came::Closed {
                code: close_code(payload),
                reason: payload.get(2..).unwrap_or_default(),
            });
        }
    }
}

fn refusal(head: &[u8]) -> End {
    const RETRY_AFTER: &[u8] = b"retry-after: ";
    let lower = head.to_ascii_lowercase();
    let said = find(&lower, RETRY_AFTER).and_then(|at| number(&lower[at + RETRY_AFTER.len()..]));
    End::Refused {
        why: status(head),
        retry_after_s: said.map(|(seconds, _)| seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An end of a connected pair of sockets that has asked for the upgrade, and the other end.
    fn upgrading() -> (Socket, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut socket = Socket::new(TcpStream::from_std(stream), b"GET /".to_vec());
        socket.on_writable().unwrap();
        (socket, peer)
    }

    /// What it says to these bytes, and how it ended.
    fn fed(socket: &mut Socket, bytes: &[u8]) -> (Vec<String>, Option<End>) {
        let mut all = Vec::new();
        let end = socket.digest(bytes, &mut |came| all.push(format!("{came:?}")));
        (all, end)
    }

    const SWITCHED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";

    #[test]
    fn an_end_without_a_close_frame_is_a_cut_and_one_behind_it_is_whole() {
        let (mut socket, _peer) = upgrading();
        fed(&mut socket, SWITCHED);
        assert_eq!(socket.end("cut off"), End::Cut("cut off".into()));
        let reason = br#"{"retry_after_ms":5}"#;
        let mut close = vec![0x88, reason.len() as u8 + 2];
        close.extend_from_slice(&1012_u16.to_be_bytes());
        close.extend_from_slice(reason);
        let (said, _) = fed(&mut socket, &close);
        assert!(said[0].contains("1012"), "{said:?}");
        let mut answer = Vec::new();
        push_frame(&mut answer, CLOSE, &1012_u16.to_be_bytes());
        assert!(socket.unsent.ends_with(&answer));
        assert_eq!(socket.end("cut off"), End::Whole);
    }

    #[test]
    fn ones_own_close_wants_an_answer() {
        let (mut socket, _peer) = upgrading();
        fed(&mut socket, SWITCHED);
        socket.close();
        assert_eq!(socket.end("cut off"), End::Cut("cut off".into()));
        let (said, _) = fed(&mut socket, &[0x88, 2, 3, 0xe8]);
        assert!(said.is_empty(), "the answer says nothing new: {said:?}");
        assert_eq!(socket.end("cut off"), End::Whole);
    }

    #[test]
    fn a_refusal_says_its_status_and_when_to_come_back() {
        let (mut socket, _peer) = upgrading();
        let refused = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\n\r\n";
        let (_, end) = fed(&mut socket, refused);
        let expected = End::Refused {
            why: "HTTP 503".into(),
            retry_after_s: Some(3),
        };
        assert_eq!(end, Some(expected));
    }
}
