//! Redis as the log, the bus and the memory that several gateways share.
//!
//! [`Redis`] implements [`parlance_core::ports::Backend`]. Gateways share nothing else: the order of
//! a conversation, its recent history, who is there and who has read what stand in Redis, in keys
//! that `docs/redis.md` lists; what has to be atomic is a script in `lua/`. One thread talks to
//! Redis (`io`); shards send it jobs (`handle`) and hear through their feeds what the
//! subscriptions bring (`subscriber`, `table`).
//!
//! Redis acknowledges before it is safe, and fails over to replicas that lag. Nothing here assumes
//! that a loss can be seen; everything assumes that it may have happened whenever a master's run
//! changed: then the partition's next epoch is opened (`epochs`), ids go on above all earlier
//! ones, and every room reads again what survived.
//!
//! It stores nothing for good: that is a [`Store`]'s part. Without one, the log keeps what
//! [`Retention`] says.

mod answer;
mod append;
mod asking;
mod chores;
mod commit;
mod digest;
mod epochs;
#[cfg(any(fuzzing, test))]
pub mod fuzz;
mod gather;
mod handle;
mod history;
mod holders;
mod ingest;
mod inspect;
mod io;
mod letters;
mod link;
mod log_piece;
mod meta;
mod node;
mod opening;
mod owed;
mod partition;
mod peers;
mod receipts;
mod scripts;
mod server;
mod shard_map;
mod start;
mod subscriber;
mod table;
mod time;
mod tools;
pub mod topology;
mod watching;
mod wire;

use std::{
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use parlance_core::{
    ports::{Backend, Unavailable},
    store::{NoStore, Store},
};
use parlance_feed::{Feed, FeedId, Inbox};
use tokio::sync::mpsc::Sender;

pub use crate::{
    handle::Handle,
    ingest::Unstored,
    inspect::{End, Inspection, LogExtent},
    letters::{Letter, LetterId},
    start::StartError,
    topology::{Topology, TopologyError},
};
use crate::{handle::Job, io::Shared};

/// How many copies of an event there are when it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The master's.
    Local,
    /// The master's and a replica's. What no replica has in time is not acknowledged.
    Replicated,
}

/// What a log without a store keeps of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// So many of the newest events.
    pub entries: u64,
    /// For so long after the last event.
    pub age: Duration,
}

/// How Redis is used.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it is.
    pub topology: Topology,
    /// What an acknowledgement means.
    pub durability: Durability,
    /// Counts without a store only.
    pub retention: Retention,
    /// Events of a stored conversation that its log keeps, so that most readers need no store.
    /// Counts with a store only.
    pub tail_entries: u64,
    /// Bytes that a server may use. Beyond it nothing is appended there. `None`: nine tenths of its
    /// own `maxmemory`, if it has one.
    pub memory_limit_bytes: Option<u64>,
    /// How long the start may take.
    pub start_deadline: Duration,
}

/// What a process does with Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It has users: it holds a lease, and compares what it heard with the logs.
    Gateway,
    /// It only asks.
    Other,
}

/// How long a gateway that leaves tries to say so.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);

/// The backend. Dropping it ends its thread; handles that are left answer [`Unavailable`].
pub struct Redis<S: Store = NoStore> {
    jobs: Sender<Job<S>>,
    shared: Shared,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl<S: Store> Redis<S> {
    /// Connects to all of Redis and judges it. Blocks until that is done, at most for
    /// [`Options::start_deadline`], and starts the thread that keeps the connections.
    ///
    /// # Errors
    /// [`StartError`]: what is wrong with which server, and what to do about it.
    pub fn connect(options: Options, store: Option<Arc<S>>) -> Result<Self, StartError> {
        start::connect(options, store, Role::Gateway)
    }

    /// As [`Redis::connect`], for a process that has no users: a persister, or a command.
    ///
    /// # Errors
    /// As there.
    pub fn connect_without_users(
        options: Options,
        store: Option<Arc<S>>,
    ) -> Result<Self, StartError> {
        start::connect(options, store, Role::Other)
    }

    /// The unstored end of the log.
    #[must_use]
    pub fn ingest(&self) -> Unstored<S> {
        let jobs = self.jobs.clone();
        Unstored { jobs }
    }

    /// Whether every server works: what is published there is heard here. For readiness.
    ///
    /// # Errors
    /// What is wrong.
    pub fn healthy(&self) -> Result<(), Unavailable> {
        match self.shared.health.trouble() {
            None => Ok(()),
            Some(trouble) => Err(Unavailable::new(trouble)),
        }
    }

    /// Says that this gateway leaves: its users are shown as present for some seconds more, in
    /// which they may come back to another one. Blocks at most two seconds.
    pub fn leave(&self) {
        let (done, is_done) = mpsc::channel();
        let job: Job<S> = Box::new(move |io| {
            let io = std::rc::Rc::clone(io);
            tokio::task::spawn_local(async move {
                if let Err(error) = chores::leave(&io).await {
                    tracing::warn!(%error, "leaving without a word: our users look gone soon");
                }
                // Nobody waits when it took too long.
                let _ = done.send(());
            });
        });
        if self.jobs.try_send(job).is_ok() {
            let _ = is_done.recv_timeout(LEAVE_PATIENCE);
        }
    }
}

impl<S: Store> Backend for Redis<S> {
    type Handle = Handle<S>;
    type Feed = Feed;

    fn attach(&self) -> (Handle<S>, Feed) {
        let (feed, inbox) = (FeedId::next(), Arc::new(Inbox::default()));
        let handle = Handle {
            jobs: self.jobs.clone(),
            feed,
            inbox: Arc::clone(&inbox),
            dropped: Arc::clone(&self.shared.dropped),
            moves: Arc::clone(&self.shared.moves),
        };
        let jobs = self.jobs.clone();
        let end = move || {
            let job: Job<S> = Box::new(move |io| io.drop_feed(feed));
            // Fails when the thread has ended, which is as good.
            let _ = jobs.try_send(job);
        };
        (handle, Feed::new(inbox, Box::new(end)))
    }
}

impl<S: Store> Drop for Redis<S> {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Fails when the thread has ended, which is as good.
            let _ = stop.send(());
        }
        self.shared.table.end();
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            tracing::error!("the thread of Redis had panicked");
        }
    }
}
