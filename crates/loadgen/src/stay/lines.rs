//! All sockets of a run around one `epoll`. Who needs which, and what is said on it, is the run's affair.

use std::{io, net::SocketAddr, time::Duration};

use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::{
    cursor::Cursor,
    socket::{Came, End, Socket},
    words::{Word, retry_after_ms},
};
use crate::{engine::begin_to_connect, error::LoadError};

const SOCKETS_PER_TURN: usize = 1024;
const SCRATCH_BYTES: usize = 256 * 1024;

/// What a socket is for its member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It is on its way into the room.
    Opening,
    /// It is the one in the room.
    Joined,
    /// It is not needed any more.
    Leaving,
}

pub(super) struct Line {
    socket: Socket,
    pub(super) member: usize,
    pub(super) role: Role,
    pub(super) cursor: Cursor,
    /// Whether the server wants its member elsewhere.
    pub(super) is_asked: bool,
    /// Tells it from others that had its place before.
    pub(super) serial: u64,
}

/// What happened on a socket.
#[derive(Debug)]
pub(super) enum Event {
    Upgraded,
    Heard(Word),
    Closed {
        code: u16,
        retry_after_ms: Option<u64>,
    },
    /// The line is to be [removed](Lines::remove).
    Ended(End),
}

pub(super) struct Lines {
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    all: Slab<Line>,
    dirty: Vec<usize>,
    serial: u64,
}

impl Lines {
    pub(super) fn new() -> Result<Self, LoadError> {
        Ok(Self {
            poll: Poll::new().map_err(LoadError::system("making an epoll"))?,
            events: Events::with_capacity(SOCKETS_PER_TURN),
            scratch: vec![0; SCRATCH_BYTES],
            all: Slab::new(),
            dirty: Vec::new(),
            serial: 0,
        })
    }

    /// A socket for a member; `request` asks for its upgrade.
    pub(super) fn open(
        &mut self,
        address: SocketAddr,
        request: Vec<u8>,
        member: usize,
        cursor: Cursor,
    ) -> io::Result<usize> {
        let mut stream = begin_to_connect(address, None)?;
        let place = self.all.vacant_entry();
        let key = place.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(&mut stream, Token(key), interest)?;
        self.serial += 1;
        place.insert(Line {
            socket: Socket::new(stream, request),
            member,
            role: Role::Opening,
            cursor,
            is_asked: false,
            serial: self.serial,
        });
        Ok(key)
    }

    pub(super) fn get(&mut self, key: usize) -> Option<&mut Line> {
        self.all.get_mut(key)
    }

    pub(super) fn remove(&mut self, key: usize) -> Option<Line> {
        self.all.try_remove(key)
    }

    /// Says a text; it goes out with the next turn.
    pub(super) fn say(&mut self, key: usize, text: &[u8]) {
        if let Some(line) = self.all.get_mut(key) {
            line.socket.say(text);
            self.dirty.push(key);
        }
    }

    /// Says goodbye.
    pub(super) fn close(&mut self, key: usize) {
        if let Some(line) = self.all.get_mut(key) {
            line.role = Role::Leaving;
            line.socket.close();
            self.dirty.push(key);
        }
    }

    /// Flushes, waits so long for something to come, and appends what came. `read` judges the texts that a
    /// member hears.
    pub(super) fn turn(
        &mut self,
        wait: Duration,
        read: &dyn Fn(usize, &[u8]) -> Option<Word>,
        inbox: &mut Vec<(usize, Event)>,
    ) -> Result<(), LoadError> {
        self.flush(inbox);
        let wait = if inbox.is_empty() {
            wait
        } else {
            Duration::ZERO
        };
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        match self.poll.poll(&mut events, Some(wait)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => events.clear(),
            Err(error) => return Err(LoadError::system("waiting for sockets")(error)),
        }
        for event in &events {
            self.on_ready(event, read, inbox);
        }
        self.events = events;
        Ok(())
    }

    fn flush(&mut self, inbox: &mut Vec<(usize, Event)>) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for key in dirty.drain(..) {
            let Some(line) = self.all.get_mut(key) else {
                continue;
            };
            if let Err(error) = line.socket.flush() {
                let end = line.socket.end(&error.kind().to_string());
                inbox.push((key, Event::Ended(end)));
            }
        }
        self.dirty = dirty;
    }

    fn on_ready(
        &mut self,
        event: &mio::event::Event,
        read: &dyn Fn(usize, &[u8]) -> Option<Word>,
        inbox: &mut Vec<(usize, Event)>,
    ) {
        let key = event.token().0;
        let Some(line) = self.all.get_mut(key) else {
            return;
        };
        let Line { socket, member, .. } = line;
        let is_writable = event.is_writable() || event.is_error();
        if is_writable && let Err(error) = socket.on_writable() {
            let end = socket.end(&error.kind().to_string());
            return inbox.push((key, Event::Ended(end)));
        }
        let is_last = event.is_read_closed();
        let end = socket.receive(is_last, &mut self.scratch, &mut |came| {
            let event = match came {
                Came::Upgraded => Some(Event::Upgraded),
                Came::Text(text) => read(*member, text).map(Event::Heard),
                Came::Closed { code, reason } => Some(Event::Closed {
                    code,
                    retry_after_ms: retry_after_ms(reason),
                }),
            };
            inbox.extend(event.map(|event| (key, event)));
        });
        if socket.has_unsent() {
            self.dirty.push(key);
        }
        inbox.extend(end.map(|end| (key, Event::Ended(end))));
    }
}
