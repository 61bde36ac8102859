//! One connection as its shard holds it: the socket, what of the last write it did not take, and
//! where it belongs. Small, because there are many and nearly all are idle.

use std::{
    io::{self, Read, Write},
    net::Shutdown,
};

use mio::net::TcpStream;
use parlance_core::{clock::Mono, room::MemberKey};

use super::{RoomKey, timers::Armed};
use crate::{
    frame::{FrameReader, FrameWriter},
    handover::ConnectionPermit,
};

/// Most bytes of pongs that wait, and a little: enough for every ping of one turn of a client that
/// reads.
const PONGS_BYTES: usize = 2 * 1024;

/// A connection.
pub(super) struct Conn {
    pub(super) socket: TcpStream,
    pub(super) stage: Stage,
    pub(super) reader: FrameReader,
    /// Only while the socket takes no more.
    unsent: Option<Box<[u8]>>,
    /// Answers to pings, not written yet.
    pongs: Option<Box<FrameWriter>>,
    pub(super) armed: Armed,
    /// Stands in the list of those to be written.
    pub(super) dirty: bool,
    /// Stands in the list of those to be read further.
    pub(super) unread: bool,
    _permit: ConnectionPermit,
}

/// How far the connection is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stage {
    /// A member of a room.
    Member(Place),
    /// Of no room any more: a close frame is written or about to be.
    Leaving(Leaving),
}

/// Where a member is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) room: RoomKey,
    pub(super) member: MemberKey,
}

/// What is left to be done before the socket is closed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving {
    /// The socket is closed then, whatever was done.
    pub(super) until: Mono,
    /// Frames are still read, since the peer's close frame is to come.
    pub(super) listens: bool,
}

impl Conn {
    pub(super) fn new(socket: TcpStream, place: Place, permit: ConnectionPermit) -> Self {
        Self {
            socket,
            stage: Stage::Member(place),
            reader: FrameReader::default(),
            unsent: None,
            pongs: None,
            armed: Armed::default(),
            dirty: false,
            unread: false,
            _permit: permit,
        }
    }

    /// Where it is a member.
    pub(super) fn place(&self) -> Option<Place> {
        match self.stage {
            Stage::Member(place) => Some(place),
            Stage::Leaving(_) => None,
        }
    }

    /// Whether the socket did not take all of the last write.
    pub(super) fn is_blocked(&self) -> bool {
        self.unsent.is_some()
    }

    /// Keeps the answer to a ping. With too many of them waiting the client does not read, and this
    /// one stands for all: earlier pings need no answer of their own (RFC 6455, 5.5.3).
    pub(super) fn answer(&mut self, ping: &[u8]) {
        let pongs = self.pongs.get_or_insert_default();
        if pongs.as_slice().len() > PONGS_BYTES {
            pongs.clear(PONGS_BYTES);
        }
        pongs.pong(ping);
    }

    /// Moves the pongs that wait to `frames`.
    pub(super) fn take_pongs(&mut self, frames: &mut FrameWriter) {
        if let Some(pongs) = self.pongs.take() {
            frames.append(&pongs);
        }
    }

    /// One read. `None`: nothing is there. `Some(0)`: the peer ended its side.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        or_blocked(|| self.socket.read(buffer))
    }

    /// One write; keeps what the socket does not take. Not to a blocked one: what is kept is never
    /// more than one write.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        assert!(
            !self.is_blocked(),
            "a slow reader costs no more than one write"
        );
        let written = or_blocked(|| self.socket.write(bytes))?.unwrap_or(0);
        self.unsent = keep(&bytes[written..]);
        Ok(())
    }

    /// The last write of a connection, which a blocked socket gets behind the rest.
    pub(super) fn write_last(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(rest) = self.unsent.take() else {
            return self.write(bytes);
        };
        self.unsent = Some([&rest, bytes].concat().into());
        Ok(())
    }

    /// Writes of the rest what the socket takes.
    pub(super) fn write_rest(&mut self) -> io::Result<()> {
        let Some(rest) = self.unsent.take() else {
            return Ok(());
        };
        match or_blocked(|| self.socket.write(&rest))? {
            None => self.unsent = Some(rest),
            Some(written) => self.unsent = keep(&rest[written..]),
        }
        Ok(())
    }

    /// Ends our side once everything is written and nothing is listened for: the peer's end then
    /// follows without anything on its way being cut.
    pub(super) fn end_if_done(&mut self) -> io::Result<()> {
        match self.stage {
            Stage::Leaving(Leaving { listens: false, .. }) if !self.is_blocked() => {
                self.socket.shutdown(Shutdown::Write)
            }
            Stage::Leaving(_) | Stage::Member(_) => Ok(()),
        }
    }
}

fn keep(rest: &[u8]) -> Option<Box<[u8]>> {
    (!rest.is_empty()).then(|| rest.into())
}

fn or_blocked(mut io: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match io() {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
