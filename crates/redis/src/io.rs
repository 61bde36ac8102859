//! The one thread that talks to Redis, and all that it owns.
//!
//! Shards send it jobs: closures that run here in the order in which they were sent, and spawn what
//! takes time. Tasks are polled in the order of their spawning, and a command is sent at the first
//! poll of its future, so what one shard does to one conversation reaches Redis in order. What shares
//! a call with others (`gather`) goes a little later, each kind in its own order.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use parlance_core::{
    ports::Unavailable,
    store::{EpochRow, Partition, Store},
};
use parlance_feed::FeedId;
use parlance_protocol::ConversationId;
use parlance_telemetry::RedisMetrics;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::{
    Durability, Options, Retention,
    append::Lines,
    commit::Lane,
    epochs::Opener,
    holders::{Holders, Leases},
    node::Node,
    owed::{Dropped, Moves, OwedCursors},
    partition::{self, partition_of},
    peers::Loads,
    shard_map::ShardMap,
    subscriber::{Subscriber, Wish},
    table::Table,
    time::millis,
};

/// Before a node is asked again that is not, or not yet, the one to ask.
pub(crate) const ELSEWHERE_PAUSE: Duration = Duration::from_millis(25);
/// All conversations are compared with Redis in so many rounds, one each second.
pub(crate) const SWEEP_ROUNDS: usize = 100;

/// Everything of one process.
pub(crate) struct Io<S: Store> {
    pub(crate) gateway: Arc<str>,
    pub(crate) durability: Durability,
    pub(crate) retention: Retention,
    pub(crate) tail_entries: u64,
    pub(crate) memory_limit_bytes: Option<u64>,
    pub(crate) store: Option<Arc<S>>,
    /// What the store said of conversations whose earlier epochs Redis has forgotten. The breaks in
    /// it never change.
    pub(crate) stored_epochs: RefCell<HashMap<ConversationId, Rc<[EpochRow]>>>,
    pub(crate) shards: ShardMap,
    pub(crate) table: Arc<Table>,
    pub(crate) opener: Opener,
    pub(crate) lines: Lines,
    pub(crate) holders: Holders,
    pub(crate) leases: Leases,
    pub(crate) loads: Arc<Loads>,
    pub(crate) owed: OwedCursors,
    pub(crate) dropped: Arc<Dropped>,
    pub(crate) moves: Arc<Moves>,
    pub(crate) metrics: RedisMetrics,
    /// Ephemerals that were sent and not answered.
    pub(crate) passing: Cell<usize>,
    pub(crate) is_leaving: Cell<bool>,
    pub(crate) wishes: RefCell<HashMap<String, UnboundedSender<Wish>>>,
    pub(crate) lanes: RefCell<HashMap<String, Rc<Lane>>>,
    pub(crate) health: Arc<Health>,
}

/// Why which nodes do not work, for readiness.
#[derive(Debug)]
pub(crate) struct Health(Mutex<Option<String>>);

impl Default for Health {
    fn default() -> Self {
        Self(Mutex::new(Some("not connected yet".to_owned())))
    }
}

impl Health {
    pub(crate) fn trouble(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set(&self, trouble: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// What the thread has in common with whoever holds the backend.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) table: Arc<Table>,
    pub(crate) dropped: Arc<Dropped>,
    pub(crate) moves: Arc<Moves>,
    pub(crate) loads: Arc<Loads>,
    pub(crate) health: Arc<Health>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            table: Arc::new(Table::new()),
            dropped: Arc::new(Dropped::new()),
            moves: Arc::default(),
            loads: Arc::default(),
            health: Arc::new(Health::default()),
        }
    }
}

impl<S: Store> Io<S> {
    pub(crate) fn new(options: Options, store: Option<Arc<S>>, shared: Shared) -> Rc<Self> {
        let gateway = format!("{:016x}", getrandom::u64().unwrap_or_default());
        Rc::new(Self {
            gateway: gateway.into(),
            durability: options.durability,
            retention: options.retention,
            tail_entries: options.tail_entries,
            memory_limit_bytes: options.memory_limit_bytes,
            store,
            stored_epochs: RefCell::default(),
            shards: ShardMap::new(options.topology),
            table: shared.table,
            opener: Opener::default(),
            lines: Lines::default(),
            holders: Holders::default(),
            leases: Leases::default(),
            loads: shared.loads,
            owed: OwedCursors::default(),
            dropped: shared.dropped,
            moves: shared.moves,
            metrics: RedisMetrics::register(),
            passing: Cell::new(0),
            is_leaving: Cell::new(false),
            wishes: RefCell::default(),
            lanes: RefCell::default(),
            health: shared.health,
        })
    }

    /// Starts what keeps a node's connections.
    pub(crate) fn adopt(self: &Rc<Self>, node: &Rc<Node>) {
        let (wish, wishes) = unbounded_channel();
        self.wishes.borrow_mut().insert(node.label.clone(), wish);
        let subscriber = Subscriber {
            node: Rc::clone(node),
            table: Arc::clone(&self.table),
            speech: self.shards.speech(),
            probe: self.probe_channel(node),
            wishes,
        };
        tokio::task::spawn_local(subscriber.run(Rc::clone(self)));
        tokio::task::spawn_local(Rc::clone(node).keep(Rc::clone(self)));
        if self.durability == Durability::Replicated {
            let lane = Lane::start(Rc::clone(node), self.shards.speech());
            self.lanes.borrow_mut().insert(node.label.clone(), lane);
        }
    }

    pub(crate) fn probe_channel(&self, node: &Rc<Node>) -> String {
        let name = format!("probe:{}:{}", self.gateway, node.label);
        partition::tagged(Partition(0), &name)
    }

    /// What the scripts are told of the store.
    pub(crate) fn log_mode(&self) -> &'static str {
        match self.store {
            Some(_) => "store",
            None => "log",
        }
    }

    /// The same in one letter.
    pub(crate) fn log_letter(&self) -> char {
        match self.store {
            Some(_) => 's',
            None => 'l',
        }
    }

    pub(crate) fn retention_ms(&self) -> u64 {
        millis(self.retention.age)
    }

    /// What stands for one of this process's shards in presence hashes.
    pub(crate) fn token(&self, feed: FeedId) -> String {
        format!("{}.{}", self.gateway, feed.number())
    }

    /// A shard ended.
    pub(crate) fn drop_feed(&self, feed: FeedId) {
        for conversation in self.table.drop_feed(feed) {
            self.wish(partition_of(&conversation), Wish::Unsubscribe(conversation));
        }
    }

    /// Who has a partition.
    pub(crate) fn node(&self, partition: Partition) -> Result<Rc<Node>, Unavailable> {
        self.shards.node(partition).ok_or_else(|| {
            self.shards.look.notify_one();
            Unavailable::new("Redis: the cluster has no master for this conversation")
        })
    }

    /// A partition is in this epoch.
    pub(crate) fn note_epoch(&self, partition: Partition, epoch: u32) {
        if self.table.epochs.note(partition, epoch) {
            self.on_epoch(partition);
        }
    }

    /// Every conversation of the partition has to be read again.
    pub(crate) fn on_epoch(&self, partition: Partition) {
        self.table.doubt(&self.table.of(&[partition]));
        self.holders
            .doubt_all(|conversation| partition_of(conversation) == partition);
    }

    /// A conversation is to be subscribed to, or not any more.
    pub(crate) fn wish(&self, partition: Partition, wish: Wish) {
        let Some(node) = self.shards.node(partition) else {
            // It is asked for again when the partition has a node.
            self.shards.look.notify_one();
            return;
        };
        if let Some(wishes) = self.wishes.borrow().get(&node.label) {
            // A subscriber ends with its node only, and then everything moves.
            let _ = wishes.send(wish);
        }
    }
}
