//! One client: the handshake, blocking, and then frames on a nonblocking socket.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream as StdStream},
    time::Duration,
};

use anyhow::{Context as _, bail};
use mio::net::TcpStream;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Any key will do against a server that is ours; zero would spare the server its unmasking.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A connected client.
pub struct Client {
    /// The socket, for registration.
    pub stream: TcpStream,
    unread: Vec<u8>,
    unsent: Vec<u8>,
}

/// What a server sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A text.
    Text(&'a [u8]),
    /// A close frame with this code (0: none).
    Close(u16),
}

impl Client {
    /// Connects and upgrades `path`, whose query holds the token if one is needed.
    ///
    /// # Errors
    /// When the connection or the upgrade is refused, with the server's status line.
    pub fn connect(address: SocketAddr, path: &str) -> anyhow::Result<Self> {
        let mut stream = StdStream::connect(address).context("connecting")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(HANDSHAKE))?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream
            .write_all(request.as_bytes())
            .context("asking for the upgrade")?;
        let unread = read_answer(&mut stream)?;
        stream.set_read_timeout(None)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: TcpStream::from_std(stream),
            unread,
            unsent: Vec::new(),
        })
    }

    /// Sends a text frame; keeps what the socket does not take.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, text: &[u8]) -> io::Result<()> {
        push_frame(&mut self.unsent, 0x81, text);
        self.flush()
    }

    /// Goes on sending what was kept.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads until the socket has no more, and calls `on` for each text and close. Answers pings.
    /// `scratch` is shared by all clients; `Ok(false)` when the server closed the connection.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn receive(
        &mut self,
        scratch: &mut [u8],
        mut on: impl FnMut(Received<'_>),
    ) -> io::Result<bool> {
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    let full = count == scratch.len();
                    self.digest(&scratch[..count], &mut on)?;
                    if !full {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    fn digest(&mut self, bytes: &[u8], on: &mut impl FnMut(Received<'_>)) -> io::Result<()> {
        if self.unread.is_empty() {
            let used = self.frames(bytes, on)?;
            self.unread.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut all = std::mem::take(&mut self.unread);
        all.extend_from_slice(bytes);
        let used = self.frames(&all, on)?;
        all.drain(..used);
        self.unread = all;
        Ok(())
    }

    /// Handles the whole frames at the front of `bytes`; how many bytes they are.
    fn frames(&mut self, bytes: &[u8], on: &mut impl FnMut(Received<'_>)) -> io::Result<usize> {
        let mut used = 0;
        while let Some((opcode, payload, length)) = first_frame(&bytes[used..]) {
            match opcode {
                0x1 => on(Received::Text(payload)),
                0x8 => on(Received::Close(match payload {
                    [high, low, ..] => u16::from_be_bytes([*high, *low]),
                    _ => 0,
                })),
                0x9 => {
                    push_frame(&mut self.unsent, 0x8a, payload);
                    self.flush()?;
                }
                _ => {}
            }
            used += length;
        }
        Ok(used)
    }
}

/// Reads the answer's head; what came behind it.
fn read_answer(stream: &mut StdStream) -> anyhow::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut chunk = [0; 2048];
    loop {
        let count = stream.read(&mut chunk).context("waiting for the upgrade")?;
        if count == 0 {
            bail!("the server hung up during the upgrade");
        }
        head.extend_from_slice(&chunk[..count]);
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            if !head.starts_with(b"HTTP/1.1 101") {
                bail!(
                    "the upgrade was refused: {}",
                    String::from_utf8_lossy(&head[..end])
                );
            }
            return Ok(head.split_off(end + 4));
        }
    }
}

/// Appends a masked frame.
fn push_frame(to: &mut Vec<u8>, first: u8, payload: &[u8]) {
    to.push(first);
    match payload.len() {
        short @ 0..126 => to.push(0x80 | short as u8),
        medium @ 126..65_536 => {
            to.push(0x80 | 126);
            to.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            to.push(0x80 | 127);
            to.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    to.extend_from_slice(&MASK);
    to.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
}

/// Opcode, payload and whole length of the frame at the front, if all of it is there.
fn first_frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let [first, second, ..] = bytes else {
        return None;
    };
    let (head, length) = match second & 0x7f {
        126 => (
            4,
            usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
        ),
        127 => (
            10,
            usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?,
        ),
        short => (2, usize::from(short)),
    };
    Some((first & 0x0f, bytes.get(head..head + length)?, head + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_found_only_when_all_of_it_is_there() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![7; length];
            let mut masked = Vec::new();
            push_frame(&mut masked, 0x81, &payload);
            let head = masked.len() - length - 4;
            let mut plain = masked[..head].to_vec();
            plain[1] &= 0x7f;
            plain.extend_from_slice(&payload);
            assert_eq!(first_frame(&plain), Some((1, &payload[..], plain.len())));
            assert_eq!(first_frame(&plain[..plain.len() - 1]), None);
        }
    }
}
