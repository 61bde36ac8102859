//! One client for whoever waits for each answer: the handshake blocks, then frames come on a nonblocking
//! socket. The workloads do not use it: they connect many at a time.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream as StdStream},
    time::Duration,
};

use anyhow::{Context as _, bail};
use mio::net::TcpStream;

use crate::{
    dialect::string_behind,
    frames::{PONG, TEXT, close_code, first_frame, push_frame},
};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

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
    /// A close frame with this code (1005: it has none).
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
        push_frame(&mut self.unsent, TEXT, text);
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
        while let Some(frame) = first_frame(&bytes[used..]) {
            match frame.opcode {
                0x1 => on(Received::Text(frame.payload)),
                0x8 => on(Received::Close(close_code(frame.payload))),
                0x9 => {
                    push_frame(&mut self.unsent, PONG, frame.payload);
                    self.flush()?;
                }
                _ => {}
            }
            used += frame.bytes;
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

/// The `local_id` of a frame that carries a message, if it is a number.
#[must_use]
pub fn message_id(text: &[u8]) -> Option<u64> {
    string_behind(text, br#""local_id":""#)?.parse().ok()
}
