//! A shard: one thread that owns sockets and the rooms of their conversations.
//!
//! The process starts them with [`spawn_shards`] and talks to them through
//! [`Shards`]. A conversation lives on one shard of its process, so a
//! delivery is a copy into the shard's write buffer and one `write`: no task, queue, lock,
//! allocation or encoding stands between an event and a member's socket.
//!
//! The loop is one: wait until anything is there; take all that is there, with a bound per source;
//! write to each touched socket once; again. A shard does no work of its own besides, knows no JSON
//! and decides nothing about conversations: that is the room's part in the core.
//!
//! A panic in here ends the process, with its message in the log and exit code 70. A room that was
//! left half way must not go on, and a process that lives on without one of its shards would leave
//! every conversation of it in silence, while readiness still says yes.

mod conn;
#[cfg(feature = "echo")]
mod echo;
mod leaving;
mod moving;
mod ports;
mod rooms;
mod sockets;
mod spans;
mod stats;
mod timers;
mod traffic;

use std::{
    collections::HashMap,
    io,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    thread,
};

use conn::Conn;
use futures_util::FutureExt;
use parlance_core::{
    clock::Now,
    ports::{Backend, Feed, Heard, Verifier},
    room::Effect,
    settings::Settings,
};
use parlance_protocol::ConversationId;
use parlance_telemetry::Metrics;
use parlance_traces::{Span, Traces};
use ports::{Answer, Ports};
use rooms::Seats;
use slab::Slab;
use sockets::{Ready, Sockets};
use stats::Stats;
use timers::{Due, Timers};
use tokio::runtime::Runtime;

use crate::{
    clock::Clock,
    frame::FrameWriter,
    handover::{Inbox, ShardHandle, Shards, ToShard},
};

/// The process's exit code when a shard fails.
const EXIT_FAULT: i32 = 70;
/// The one read buffer of a shard, and so the most that one socket is read in one turn.
const READ_BYTES: usize = 64 * 1024;
/// Most answers of ports, pieces of the feed, and tellings of the process in one turn.
const PER_TURN: usize = 1024;

/// A deadline that is past comes up again this much later, so that nothing spins.
const SOON_MS: u64 = 1;
/// Turns without a pause of the runtime, which looks at its own timers and sockets only then.
const TURNS: u32 = 32;

/// A connection of the shard. Reused when it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ConnKey(u32);

/// A room of the shard. Reused when it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct RoomKey(u32);

/// What a shard runs on. Made before its thread, so that a failure is the caller's.
struct Ground {
    poll: mio::Poll,
    runtime: Runtime,
    inbox: Inbox,
}

/// Everything that a shard owns.
struct Shard<B: Backend, V> {
    clock: Clock,
    /// Read at the begin of the turn.
    now: Now,
    settings: Arc<Settings>,
    sockets: Sockets,
    inbox: Inbox,
    feed: B::Feed,
    /// The backend ended, and with it the feed.
    is_deaf: bool,
    ports: Ports<B::Handle, V>,
    stats: Stats,
    timers: Timers,
    conns: Slab<Conn>,
    rooms: Slab<Seats>,
    by_conversation: HashMap<ConversationId, RoomKey>,
    /// What the room that was called last wants done.
    effects: Vec<Effect>,
    /// All members of these may have something to write.
    dirty_rooms: Vec<RoomKey>,
    /// These may have something to write.
    dirty: Vec<ConnKey>,
    /// These may have more to read than one turn's share.
    unread: Vec<ConnKey>,
    /// Of events that are traced and not written yet.
    deliveries: Vec<Span>,
    /// Sockets that may be read or written.
    ready: Vec<Ready>,
    buffer: Box<[u8]>,
    frames: FrameWriter,
    stopped: bool,
}

/// What ended a wait.
enum Woken {
    Sockets(io::Result<()>),
    Answered(RoomKey, Answer),
    Heard(Option<(ConversationId, Heard)>),
    Told(Option<ToShard>),
    /// A deadline passed, or the last turn left something.
    Time,
}

/// Starts `count` shards on threads of their own. They end when told to, or when the [`Shards`]
/// are dropped.
///
/// # Errors
/// When the system has no more threads or file descriptors.
pub fn spawn_shards<B: Backend, V: Verifier>(
    count: NonZeroUsize,
    backend: &Arc<B>,
    verifier: &Arc<V>,
    settings: &Arc<Settings>,
    clock: Clock,
    traces: &Traces,
) -> io::Result<Shards> {
    let mut handles = Vec::with_capacity(count.get());
    for number in 0..count.get() {
        let (handle, inbox) = ShardHandle::new();
        let ground = Ground::new(inbox)?;
        let (backend, verifier) = (Arc::clone(backend), Arc::clone(verifier));
        let (settings, traces) = (Arc::clone(settings), traces.clone());
        thread::Builder::new()
            .name(format!("shard-{number}"))
            .spawn(move || {
                let run = || run(ground, &*backend, verifier, settings, clock, traces);
                match catch_unwind(AssertUnwindSafe(run)) {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => fault(&error.to_string()),
                    Err(_) => fault("panicked"),
                }
            })?;
        handles.push(handle);
    }
    Ok(Shards::new(handles))
}

fn fault(what: &str) -> ! {
    tracing::error!(what, "a shard failed: the process ends");
    std::process::exit(EXIT_FAULT)
}

fn run<B: Backend, V: Verifier>(
    ground: Ground,
    backend: &B,
    verifier: Arc<V>,
    settings: Arc<Settings>,
    clock: Clock,
    traces: Traces,
) -> io::Result<()> {
    let Ground {
        poll,
        runtime,
        inbox,
    } = ground;
    runtime.block_on(async move {
        let (handle, feed) = backend.attach();
        let shard = Shard::<B, V> {
            clock,
            now: clock.now(),
            settings,
            sockets: Sockets::new(poll)?,
            inbox,
            feed,
            is_deaf: false,
            ports: Ports::new(handle, verifier, traces),
            stats: Stats::new(Metrics::register()),
            timers: Timers::default(),
            conns: Slab::new(),
            rooms: Slab::new(),
            by_conversation: HashMap::new(),
            effects: Vec::new(),
            dirty_rooms: Vec::new(),
            dirty: Vec::new(),
            unread: Vec::new(),
            deliveries: Vec::new(),
            ready: Vec::new(),
            buffer: vec![0; READ_BYTES].into(),
            frames: FrameWriter::default(),
            stopped: false,
        };
        shard.run().await
    })
}

impl Ground {
    fn new(inbox: Inbox) -> io::Result<Self> {
        Ok(Self {
            poll: mio::Poll::new()?,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            inbox,
        })
    }
}

// === impl Shard ===

impl<B: Backend, V: Verifier> Shard<B, V> {
    async fn run(mut self) -> io::Result<()> {
        let mut turns: u32 = 0;
        while !self.stopped {
            turns = turns.wrapping_add(1);
            if turns.is_multiple_of(TURNS) {
                tokio::task::yield_now().await;
            }
            let woken = self.wait().await;
            self.now = self.clock.now();
            self.turn(woken)?;
        }
        self.cut_all();
        Ok(())
    }

    /// Every branch is cancel safe: what is not taken stays where it is.
    async fn wait(&mut self) -> Woken {
        let next = self.timers.next();
        let due = next.map(|at| self.clock.instant(at).into());
        let has_more = !self.dirty.is_empty() || !self.unread.is_empty() || self.sockets.has_more();
        tokio::select! {
            biased;
            ready = self.sockets.ready() => Woken::Sockets(ready),
            (room, answer) = self.ports.answer() => Woken::Answered(room, answer),
            heard = self.feed.next(), if !self.is_deaf => Woken::Heard(heard),
            told = self.inbox.receiver.recv() => Woken::Told(told),
            () = tokio::time::sleep_until(due.unwrap_or_else(tokio::time::Instant::now)),
                if due.is_some() => Woken::Time,
            () = tokio::task::yield_now(), if has_more => Woken::Time,
        }
    }

    /// Takes what is there from every source, then writes.
    fn turn(&mut self, woken: Woken) -> io::Result<()> {
        match woken {
            Woken::Sockets(ready) => ready?,
            Woken::Answered(room, answer) => self.answered(room, answer),
            Woken::Heard(heard) => self.heard(heard),
            Woken::Told(told) => self.told(told),
            Woken::Time => {}
        }
        self.look_at_sockets()?;
        self.take_answers();
        self.take_feed();
        self.take_tellings();
        let fired = self.take_timers();
        self.flush();
        self.deliveries.clear();
        self.arm_again(fired);
        self.stats.hand_over();
        let connections = &self.inbox.connections;
        connections.store(self.conns.len(), Ordering::Relaxed);
        Ok(())
    }

    fn look_at_sockets(&mut self) -> io::Result<()> {
        for conn in std::mem::take(&mut self.unread) {
            self.read_further(conn);
        }
        let mut ready = std::mem::take(&mut self.ready);
        self.sockets.look(&mut ready)?;
        for ready in ready.drain(..) {
            self.on_ready(ready);
        }
        self.ready = ready;
        Ok(())
    }

    fn take_answers(&mut self) {
        for _ in 0..PER_TURN {
            let Some((room, answer)) = self.ports.answer().now_or_never() else {
                return;
            };
            self.answered(room, answer);
        }
    }

    fn take_feed(&mut self) {
        for _ in 0..PER_TURN {
            let Some(heard) = self.feed.try_next() else {
                return;
            };
            self.heard(Some(heard));
        }
    }

    fn take_tellings(&mut self) {
        for _ in 0..PER_TURN {
            let Ok(told) = self.inbox.receiver.try_recv() else {
                return;
            };
            self.told(Some(told));
        }
    }

    fn told(&mut self, told: Option<ToShard>) {
        match told {
            Some(ToShard::Connection(handover)) => self.join(*handover),
            Some(ToShard::Count { terms, answer }) => {
                // Who asked may have found that it took too long.
                let _ = answer.send(self.count(terms));
            }
            Some(ToShard::SendAway(away)) => self.send_away(away),
            Some(ToShard::CloseAll { within_ms }) => self.close_all(within_ms),
            Some(ToShard::Stop) | None => self.stopped = true,
        }
    }

    /// Deadlines that came up. Answers with the connections among them: when theirs is next is
    /// known only after the writing.
    fn take_timers(&mut self) -> Vec<ConnKey> {
        let mut due = Vec::new();
        while let Some(next) = self.timers.pop(self.now.mono) {
            due.push(next);
        }
        let mut fired = Vec::new();
        for (at, whose) in due {
            match whose {
                Due::Room(room) => self.on_room_time(room, at),
                Due::Conn(conn) => {
                    if self.on_conn_time(conn, at) {
                        fired.push(conn);
                    }
                }
            }
        }
        fired
    }
}

// === impl ConnKey, RoomKey ===

impl ConnKey {
    fn of(index: usize) -> Self {
        Self(u32::try_from(index).expect("a process has fewer file descriptors"))
    }

    const fn index(self) -> usize {
        self.0 as usize
    }
}

impl RoomKey {
    fn of(index: usize) -> Self {
        Self(u32::try_from(index).expect("rooms lie in memory, each far above one byte"))
    }

    const fn index(self) -> usize {
        self.0 as usize
    }
}
