//! One socket of a floor, and what it did not take or has not said to its end.

use std::io::{ErrorKind, Read as _, Write as _};

use mio::net::TcpStream;

/// A member that leaves more than this lying is not sent more. A run in which that happens fails,
/// since deliveries are missing.
const MOST_UNSENT_BYTES: usize = 64 << 20;

/// What became of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Is {
    There,
    Gone,
}

pub(crate) struct Connection {
    stream: TcpStream,
    /// None before the upgrade.
    pub(crate) room: Option<usize>,
    /// The beginning of a request or a frame whose rest is still to come; empty as a rule.
    pub(crate) unread: Vec<u8>,
    /// What the socket did not take; empty as a rule.
    unsent: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            room: None,
            unread: Vec::new(),
            unsent: Vec::new(),
        }
    }

    /// How much was read; that the connection is there, if there is nothing to be read now.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Result<usize, Is> {
        self.stream.read(into).map_err(|error| {
            let is_for_now = [ErrorKind::WouldBlock, ErrorKind::Interrupted];
            match is_for_now.contains(&error.kind()) {
                true => Is::There,
                false => Is::Gone,
            }
        })
    }

    /// One `send()`. That the connection is gone is seen when it is read.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        if !self.unsent.is_empty() {
            if self.unsent.len() < MOST_UNSENT_BYTES {
                self.unsent.extend_from_slice(bytes);
            }
            return;
        }
        let sent = self.stream.write(bytes).unwrap_or(0);
        if sent < bytes.len() {
            self.unsent.extend_from_slice(&bytes[sent..]);
        }
    }

    /// Goes on with what was not taken.
    pub(crate) fn flush(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(_) => return,
            }
        }
    }
}
