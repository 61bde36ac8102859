//! The floors: servers that do nothing but move bytes, as fast as `epoll` lets them.
//!
//! `raw send` answers each frame of a member with one `send()` per member of its room. `raw coalesce`
//! first reads all that is there to be read in a turn, joins what each room gets, and then calls
//! `send()` once per member of each touched room. `make bench` starts them beside the gateway.
//!
//! No JSON, no token, no log, no names, no limits. The sender's bytes go back, filled up to the size
//! of a frame of the gateway, so the sender's own copy is its acknowledgement. Nothing is allocated
//! or copied per delivery: members of a room are sent the same buffer. What this costs is what the
//! kernel costs.
//!
//! It prints its address and serves until it is killed.

mod connection;
mod frames;

use std::{
    collections::HashMap,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use connection::{Connection, Is};
use frames::Frame;
use mio::{Events, Interest, Poll, Token, net::TcpListener};
use slab::Slab;

const LISTENER: Token = Token(usize::MAX);
/// More than a turn of the kernel's ready list ever has here, so that a turn is all that is ready.
const EVENTS: usize = 16_384;
const SCRATCH_BYTES: usize = 64 * 1024;

/// A server that only moves bytes: the floor that the gateway is compared with.
#[derive(Debug, Parser)]
struct Arguments {
    /// When deliveries are sent.
    when: When,
    /// How long a delivered frame is made, its head included.
    #[arg(long, default_value_t = 250)]
    frame_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    /// One `send()` per delivery, at once.
    Send,
    /// One `send()` per touched member and turn.
    Coalesce,
}

/// The members of a conversation, and what they have not been sent yet.
#[derive(Default)]
struct Room {
    members: Vec<usize>,
    unsent: Vec<u8>,
}

struct Server {
    arguments: Arguments,
    connections: Slab<Connection>,
    /// By the path of the upgrade.
    numbers: HashMap<Vec<u8>, usize>,
    rooms: Vec<Room>,
    /// The rooms that were touched in this turn.
    touched: Vec<usize>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    // Sockets have it from the listener, which spares a call per connection.
    rustix::net::sockopt::set_tcp_nodelay(&listener, true)?;
    let mut out = io::stdout();
    writeln!(out, "{}", listener.local_addr()?)?;
    out.flush()?;
    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut server = Server {
        arguments,
        connections: Slab::new(),
        numbers: HashMap::new(),
        rooms: Vec::new(),
        touched: Vec::new(),
    };
    let mut events = Events::with_capacity(EVENTS);
    let mut scratch = vec![0; SCRATCH_BYTES];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result.context("waiting for sockets")?,
        }
        for event in &events {
            match event.token() {
                LISTENER => server.accept(&listener, &poll)?,
                Token(index) => server.on_ready(index, event.is_writable(), &mut scratch),
            }
        }
        server.end_turn();
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
            let place = self.connections.vacant_entry();
            // Edge-triggered: being told of writability as well costs nothing until it was lost.
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(&mut stream, Token(place.key()), interest)?;
            place.insert(Connection::new(stream));
        }
    }

    fn on_ready(&mut self, index: usize, is_writable: bool, scratch: &mut [u8]) {
        // Gone in this turn.
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        if is_writable {
            connection.flush();
        }
        let is = loop {
            let count = match self.connections[index].read(scratch) {
                Ok(0) | Err(Is::Gone) => break Is::Gone,
                Err(Is::There) => break Is::There,
                Ok(count) => count,
            };
            if self.on_bytes(index, &mut scratch[..count]) == Is::Gone {
                break Is::Gone;
            }
            // A short read left nothing behind: what comes later is another edge.
            if count < scratch.len() {
                break Is::There;
            }
        };
        if is == Is::Gone {
            self.remove(index);
        }
    }

    /// Takes what a member sent; unmasks in place.
    fn on_bytes(&mut self, index: usize, bytes: &mut [u8]) -> Is {
        let connection = &mut self.connections[index];
        let Some(room) = connection.room else {
            return self.upgrade(index, bytes);
        };
        if connection.unread.is_empty() {
            return self.on_frames(index, room, bytes);
        }
        let mut all = std::mem::take(&mut connection.unread);
        all.extend_from_slice(bytes);
        self.on_frames(index, room, &mut all)
    }

    fn on_frames(&mut self, index: usize, room: usize, mut bytes: &mut [u8]) -> Is {
        loop {
            match Frame::first(bytes) {
                Frame::Text { payload, rest } => {
                    self.deliver(room, payload);
                    bytes = rest;
                }
                Frame::Other { rest } => bytes = rest,
                Frame::Close => return Is::Gone,
                Frame::Cut(left) => {
                    self.connections[index].unread.extend_from_slice(left);
                    return Is::There;
                }
            }
        }
    }

    fn deliver(&mut self, number: usize, payload: &[u8]) {
        let room = &mut self.rooms[number];
        if room.unsent.is_empty() {
            self.touched.push(number);
        }
        frames::push_padded(&mut room.unsent, payload, self.arguments.frame_bytes);
        match self.arguments.when {
            When::Send => self.end_turn(),
            When::Coalesce => {}
        }
    }

    /// Sends what rooms have for their members.
    fn end_turn(&mut self) {
        for number in self.touched.drain(..) {
            let room = &mut self.rooms[number];
            for member in &room.members {
                self.connections[*member].send(&room.unsent);
            }
            room.unsent.clear();
        }
    }

    /// Answers the request of an upgrade when all of it is there. A client sends nothing behind it
    /// before it has the answer.
    fn upgrade(&mut self, index: usize, bytes: &[u8]) -> Is {
        let connection = &mut self.connections[index];
        connection.unread.extend_from_slice(bytes);
        if !connection.unread.ends_with(b"\r\n\r\n") {
            return Is::There;
        }
        let request = std::mem::take(&mut connection.unread);
        let Some((path, answer)) = frames::answer(&request) else {
            return Is::Gone;
        };
        let number = match self.numbers.get(path) {
            Some(number) => *number,
            None => {
                self.rooms.push(Room::default());
                let number = self.rooms.len() - 1;
                self.numbers.insert(path.to_vec(), number);
                number
            }
        };
        connection.room = Some(number);
        connection.send(&answer);
        self.rooms[number].members.push(index);
        Is::There
    }

    fn remove(&mut self, index: usize) {
        if let Some(number) = self.connections.remove(index).room {
            let members = &mut self.rooms[number].members;
            members.retain(|member| *member != index);
        }
    }
}
