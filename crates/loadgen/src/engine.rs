//! All connections on one thread, around one `epoll`.
//!
//! Workloads drive it turn by turn and get a list of what happened; they never see a socket. A turn
//! flushes what was said since the last one, waits, and reads everything that is there. Nothing
//! blocks, connecting included, so any number of connections can be under way.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::{
    connection::{Connection, Stage, What},
    dialect::{Dialect, Seat, Upgrade},
    error::LoadError,
    frames::{TEXT, push_frame},
    target::{Target, check_files},
    timer::{NEAR, Timer},
};

/// How long a member may take from the first packet until it is in its room.
const JOINING: Duration = Duration::from_secs(10);
/// No turn waits longer, so that whoever ends a run is heard.
const LONGEST_TURN: Duration = Duration::from_millis(100);
/// Sockets that are looked at in one turn; those left come first in the next.
const SOCKETS_PER_TURN: usize = 1024;
const SCRATCH_BYTES: usize = 256 * 1024;
const TIMER: Token = Token(usize::MAX);

/// Something that happened.
#[derive(Debug)]
pub(crate) struct Incident {
    pub(crate) connection: usize,
    /// When its bytes were read.
    pub(crate) at: Instant,
    pub(crate) what: What,
}

pub(crate) struct Engine<'a> {
    /// Of all nodes.
    addresses: Vec<SocketAddr>,
    host: String,
    dialect: &'a dyn Dialect,
    sources: Vec<Option<IpAddr>>,
    poll: Poll,
    timer: Timer,
    events: Events,
    scratch: Vec<u8>,
    text: Vec<u8>,
    connections: Vec<Connection>,
    /// Those with something to flush.
    dirty: Vec<usize>,
    /// Those that began to connect, the oldest first.
    joining: VecDeque<(usize, Instant)>,
    /// How many are in their rooms.
    joined: usize,
}

impl<'a> Engine<'a> {
    /// One connection for each seat, none of them opened.
    pub(crate) fn new(target: &Target<'a>, seats: Vec<Seat>) -> Result<Self, LoadError> {
        check_files(seats.len())?;
        let poll = Poll::new().map_err(LoadError::system("making an epoll"))?;
        let timer = Timer::register(poll.registry(), TIMER);
        Ok(Self {
            addresses: target.addresses(),
            host: target.host.clone(),
            dialect: target.dialect,
            sources: target.sources_for(seats.len()),
            timer: timer.map_err(LoadError::system("making a timer"))?,
            poll,
            events: Events::with_capacity(SOCKETS_PER_TURN),
            scratch: vec![0; SCRATCH_BYTES],
            text: Vec::new(),
            connections: seats.into_iter().map(Connection::of).collect(),
            dirty: Vec::new(),
            joining: VecDeque::new(),
            joined: 0,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    pub(crate) fn joined(&self) -> usize {
        self.joined
    }

    pub(crate) fn seat(&self, connection: usize) -> Seat {
        self.connections[connection].seat
    }

    fn address_of(&self, connection: usize) -> SocketAddr {
        self.addresses[self.seat(connection).member % self.addresses.len()]
    }

    pub(crate) fn is_joined(&self, connection: usize) -> bool {
        self.connections[connection].stage == Stage::Joined
    }

    /// Begins to connect; [`What::Joined`] or [`What::Lost`] says what became of it.
    pub(crate) fn open(&mut self, index: usize) -> io::Result<()> {
        let source = self.sources[index % self.sources.len()];
        let mut stream = begin_to_connect(self.address_of(index), source)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(index), interest)?;
        let now = Instant::now();
        self.connections[index].begin(stream, now);
        self.joining.push_back((index, now));
        Ok(())
    }

    /// From now on its upgrades resume behind the message with this id.
    pub(crate) fn set_since(&mut self, index: usize, since: Option<u64>) {
        self.connections[index].since = since;
    }

    /// How long its last upgrade took, from the first packet to the answer.
    pub(crate) fn handshake(&self, index: usize) -> Duration {
        let connection = &self.connections[index];
        connection
            .upgraded_at
            .saturating_duration_since(connection.opened)
    }

    /// Ends a connection without a word, by a reset.
    pub(crate) fn cut(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if let Some(stream) = &connection.stream {
            // Without it there is an orderly end, and the port is of no use for a minute.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
        self.joined -= usize::from(connection.stage == Stage::Joined);
        connection.close();
    }

    /// Says a text; it goes out with the next turn. Nothing happens on a closed connection.
    pub(crate) fn say(
        &mut self,
        index: usize,
        write: impl FnOnce(&dyn Dialect, Seat, &mut Vec<u8>),
    ) {
        let connection = &mut self.connections[index];
        if connection.stage == Stage::Closed {
            return;
        }
        self.text.clear();
        write(self.dialect, connection.seat, &mut self.text);
        push_frame(&mut connection.unsent, TEXT, &self.text);
        if !connection.is_dirty {
            connection.is_dirty = true;
            self.dirty.push(index);
        }
    }

    /// Sends message number `name` of the room.
    pub(crate) fn say_message(&mut self, index: usize, name: u64, content: &str) {
        self.say(index, |dialect, seat, to| {
            dialect.message(seat, name, content, to);
        });
    }

    /// Flushes, waits until something comes or `until`, a tenth of a second at most, and appends to
    /// `inbox` what came.
    pub(crate) fn turn(
        &mut self,
        until: Instant,
        inbox: &mut Vec<Incident>,
    ) -> Result<(), LoadError> {
        self.flush(inbox);
        self.give_up_joining(inbox);
        let wait = until.saturating_duration_since(Instant::now());
        let wait = if !inbox.is_empty() {
            Duration::ZERO
        } else if wait.is_zero() || wait > NEAR {
            wait.saturating_sub(NEAR / 2).min(LONGEST_TURN)
        } else {
            let armed = self.timer.arm(wait);
            armed.map_err(LoadError::system("setting the timer"))?
        };
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        match self.poll.poll(&mut events, Some(wait)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => events.clear(),
            Err(error) => return Err(LoadError::system("waiting for sockets")(error)),
        }
        for event in &events {
            if event.token() != TIMER {
                let writable = event.is_writable() || event.is_error();
                self.on_ready(event.token().0, writable, inbox);
            }
        }
        self.events = events;
        Ok(())
    }

    fn flush(&mut self, inbox: &mut Vec<Incident>) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            let connection = &mut self.connections[index];
            connection.is_dirty = false;
            if let Err(error) = connection.flush() {
                self.lose(index, error.kind().to_string().into(), inbox);
            }
        }
        self.dirty = dirty;
    }

    fn give_up_joining(&mut self, inbox: &mut Vec<Incident>) {
        while let Some(&(index, began)) = self.joining.front() {
            let connection = &self.connections[index];
            let is_over = connection.opened != began
                || matches!(connection.stage, Stage::Joined | Stage::Closed);
            if !is_over {
                if began.elapsed() < JOINING {
                    return;
                }
                self.lose(index, "no answer in 10 s".into(), inbox);
            }
            self.joining.pop_front();
        }
    }

    fn on_ready(&mut self, index: usize, writable: bool, inbox: &mut Vec<Incident>) {
        let connection = &mut self.connections[index];
        let was_joined = connection.stage == Stage::Joined;
        if writable && let Err(error) = self.on_writable(index) {
            return self.lose(index, error.kind().to_string().into(), inbox);
        }
        let connection = &mut self.connections[index];
        let at = Instant::now();
        let ended = connection.receive(self.dialect, &mut self.scratch, &mut |what| {
            inbox.push(Incident {
                connection: index,
                at,
                what,
            });
        });
        if !was_joined && connection.stage == Stage::Joined {
            self.joined += 1;
        }
        if !connection.unsent.is_empty() && !connection.is_dirty {
            connection.is_dirty = true;
            self.dirty.push(index);
        }
        if let Some(why) = ended {
            self.lose(index, why, inbox);
        }
    }

    fn on_writable(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        if connection.stage == Stage::Connecting {
            let Some(stream) = &connection.stream else {
                return Ok(());
            };
            if let Some(error) = stream.take_error()? {
                return Err(error);
            }
            let upgrade = self.dialect.upgrade(connection.seat, connection.since);
            connection.unsent = request(&self.host, &upgrade);
            connection.stage = Stage::Upgrading;
        }
        connection.flush()
    }

    fn lose(&mut self, index: usize, why: Box<str>, inbox: &mut Vec<Incident>) {
        self.cut(index);
        inbox.push(Incident {
            connection: index,
            at: Instant::now(),
            what: What::Lost { why },
        });
    }
}

pub(crate) fn begin_to_connect(
    address: SocketAddr,
    source: Option<IpAddr>,
) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(ip) = source {
        // Otherwise its port is of no use for a minute after it was closed, and there are only so many.
        socket.set_linger(Some(Duration::ZERO))?;
        socket.bind(&SocketAddr::new(ip, 0).into())?;
    }
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

pub(crate) fn request(host: &str, upgrade: &Upgrade) -> Vec<u8> {
    let Upgrade { path, headers } = upgrade;
    let mut request = String::with_capacity(path.len() + headers.len() + 200);
    // Writing to a String does not fail.
    let _ = write!(
        request,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    request.into_bytes()
}
