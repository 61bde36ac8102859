//! The floor: a server that does nothing but `send()`.
//!
//! It upgrades without looking, takes a frame from a member, puts the room's number of bytes into
//! one frame, and calls `send()` with that frame once per member of the room. No JSON, no token, no
//! log, no order across senders, no care for slow members. What it costs is what the kernel costs.
//! It prints its address and serves until it is killed.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::Context as _;
use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

const LISTENER: Token = Token(usize::MAX);
/// So long is a delivered frame of the gateway for the content that the benchmark sends.
const FRAME_BYTES: usize = 250;

struct Connection {
    stream: TcpStream,
    /// The path of the upgrade names it; none before.
    room: Option<String>,
    unread: Vec<u8>,
}

#[derive(Default)]
struct Server {
    connections: Vec<Connection>,
    rooms: HashMap<String, Vec<usize>>,
}

fn main() -> anyhow::Result<()> {
    let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let mut out = io::stdout();
    writeln!(out, "{}", listener.local_addr()?)?;
    out.flush()?;
    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(4096);
    let mut server = Server::default();
    let mut scratch = vec![0; 64 * 1024];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result.context("waiting for sockets")?,
        }
        for event in &events {
            if event.token() == LISTENER {
                server.accept(&listener, &poll)?;
            } else {
                server.on_ready(event.token().0, &mut scratch)?;
            }
        }
    }
}

impl Server {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> anyhow::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("accepting"),
            };
            stream.set_nodelay(true)?;
            let token = Token(self.connections.len());
            poll.registry()
                .register(&mut stream, token, Interest::READABLE)?;
            self.connections.push(Connection {
                stream,
                room: None,
                unread: Vec::new(),
            });
        }
    }

    fn on_ready(&mut self, index: usize, scratch: &mut [u8]) -> anyhow::Result<()> {
        loop {
            let connection = &mut self.connections[index];
            match connection.stream.read(scratch) {
                Ok(0) => return Ok(()),
                Ok(count) => connection.unread.extend_from_slice(&scratch[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Ok(()),
            }
            if connection.room.is_none() {
                self.upgrade(index)?;
            }
            self.deliver(index);
        }
    }

    fn upgrade(&mut self, index: usize) -> anyhow::Result<()> {
        let connection = &mut self.connections[index];
        let head = connection
            .unread
            .windows(4)
            .position(|four| four == b"\r\n\r\n");
        let Some(head) = head else { return Ok(()) };
        let request = String::from_utf8_lossy(&connection.unread[..head]).into_owned();
        let path = request.split(' ').nth(1).unwrap_or_default();
        let room = path.split('?').next().unwrap_or_default().to_owned();
        connection.unread.drain(..head + 4);
        connection.stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
              Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        )?;
        connection.room = Some(room.clone());
        self.rooms.entry(room).or_default().push(index);
        Ok(())
    }

    fn deliver(&mut self, index: usize) {
        while let Some(payload) = self.connections[index].next_frame() {
            let frame = delivered(&payload);
            let Some(room) = self.connections[index].room.as_ref() else {
                return;
            };
            let members = self.rooms.get(room).cloned().unwrap_or_default();
            for member in members {
                // A member that is gone or full is not this program's business.
                let _ = self.connections[member].stream.write(&frame);
            }
        }
    }
}

impl Connection {
    /// The payload of the next text frame. The generator sends masked frames below 64 KiB only.
    fn next_frame(&mut self) -> Option<Vec<u8>> {
        loop {
            let [first, second, ..] = self.unread[..] else {
                return None;
            };
            let (head, length) = match second & 0x7f {
                126 => {
                    let bytes = self.unread.get(2..4)?.try_into().ok()?;
                    (4, usize::from(u16::from_be_bytes(bytes)))
                }
                short => (2, usize::from(short)),
            };
            let whole = head + 4 + length;
            let mask: [u8; 4] = self.unread.get(head..head + 4)?.try_into().ok()?;
            let masked = self.unread.get(head + 4..whole)?;
            let payload = masked
                .iter()
                .zip(mask.iter().cycle())
                .map(|(byte, mask)| byte ^ mask);
            let payload = payload.collect();
            self.unread.drain(..whole);
            if first & 0x0f == 1 {
                return Some(payload);
            }
        }
    }
}

/// The sender's text, filled up to the size of a frame of the gateway.
fn delivered(payload: &[u8]) -> Vec<u8> {
    let length = payload.len().max(FRAME_BYTES - 4);
    let mut frame = vec![0x81, 126];
    frame.extend_from_slice(&(length as u16).to_be_bytes());
    frame.extend_from_slice(payload);
    frame.resize(4 + length, b' ');
    frame
}
