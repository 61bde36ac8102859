//! The one thread that talks to Redis, and all that it owns.
//!
//! Shards send it jobs: closures that run here in the order in which they were sent, and spawn what
//! takes time. Tasks are polled in the order of their spawning, and a command is sent at the first
//! poll of its future, so what one shard does to one conversation reaches Redis in order.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use parlance_core::{
    ports::Unavailable,
    store::{Partition, Store},
};
use parlance_feed::FeedId;
use parlance_protocol::{ConversationId, Position};
use parlance_telemetry::{
    RedisMetrics,
    labels::{RedisConnection, RedisDoubt},
};
use redis::{FromRedisValue, Pipeline, Value, cmd};
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use crate::{
    Durability, Retention,
    answer::{self, Need},
    append::Lines,
    commit::{Lane, Writer},
    epochs::Opener,
    holders::{Holders, Leases},
    link::{Call, CallError, Link, Run},
    node::{Linked, Node, Watcher},
    owed::{Dropped, OwedCursors},
    partition::{self, Keys, partition_of},
    scripts,
    shard_map::{Moved, ShardMap},
    subscriber::{Listener, Loss, Subscriber, Wish},
    table::Table,
};

/// How long a question may go back and forth.
const PATIENCE: Duration = Duration::from_secs(8);
const ELSEWHERE_PAUSE: Duration = Duration::from_millis(25);
/// How often a cluster's slots are looked at without a reason.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// All conversations are compared with Redis in so many rounds, one each second.
pub(crate) const SWEEP_ROUNDS: usize = 100;

/// Everything of one process.
pub(crate) struct Io<S: Store> {
    pub(crate) gateway: Arc<str>,
    pub(crate) durability: Durability,
    pub(crate) retention: Retention,
    pub(crate) store: Option<Arc<S>>,
    pub(crate) shards: ShardMap,
    pub(crate) table: Arc<Table>,
    pub(crate) opener: Opener,
    pub(crate) lines: Lines,
    pub(crate) holders: Holders,
    pub(crate) leases: Leases,
    pub(crate) owed: OwedCursors,
    pub(crate) dropped: Arc<Dropped>,
    pub(crate) metrics: RedisMetrics,
    /// Ephemerals that were sent and not answered.
    pub(crate) passing: Cell<usize>,
    pub(crate) is_leaving: Cell<bool>,
    wishes: RefCell<HashMap<String, UnboundedSender<Wish>>>,
    lanes: RefCell<HashMap<String, Rc<Lane>>>,
    health: Arc<Health>,
}

/// Why which nodes do not work, for readiness.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<Option<String>>);

impl Health {
    pub(crate) fn trouble(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, trouble: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// What a process needs to begin.
pub(crate) struct Begin<S: Store> {
    pub(crate) gateway: Arc<str>,
    pub(crate) durability: Durability,
    pub(crate) retention: Retention,
    pub(crate) store: Option<Arc<S>>,
    pub(crate) shards: ShardMap,
    pub(crate) table: Arc<Table>,
    pub(crate) dropped: Arc<Dropped>,
    pub(crate) health: Arc<Health>,
}

impl<S: Store> Io<S> {
    pub(crate) fn new(begin: Begin<S>) -> Rc<Self> {
        begin.health.set(Some("not connected yet".to_owned()));
        Rc::new(Self {
            gateway: begin.gateway,
            durability: begin.durability,
            retention: begin.retention,
            store: begin.store,
            shards: begin.shards,
            table: begin.table,
            opener: Opener::default(),
            lines: Lines::default(),
            holders: Holders::default(),
            leases: Leases::default(),
            owed: OwedCursors::default(),
            dropped: begin.dropped,
            metrics: RedisMetrics::register(),
            passing: Cell::new(0),
            is_leaving: Cell::new(false),
            wishes: RefCell::default(),
            lanes: RefCell::default(),
            health: begin.health,
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

    fn probe_channel(&self, node: &Rc<Node>) -> String {
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

    pub(crate) fn retention_ms(&self) -> u64 {
        u64::try_from(self.retention.age.as_millis()).unwrap_or(u64::MAX)
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

    /// The way of appends into a partition.
    pub(crate) async fn writer(&self, partition: Partition) -> Result<Writer, Unavailable> {
        match self.durability {
            Durability::Local => Ok(Writer::Local(self.node(partition)?.link().await?)),
            Durability::Replicated => {
                let lane = self.lane(partition)?;
                let link = lane.link().await?;
                Ok(Writer::Replicated { lane, link })
            }
        }
    }

    /// Asks what may be asked again, until there is an answer.
    pub(crate) async fn read(
        &self,
        partition: Partition,
        question: impl AsyncFn(Rc<Link>) -> Result<Value, CallError>,
    ) -> Result<Value, Unavailable> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let link = self.node(partition)?.link().await?;
            match question(link).await {
                Ok(answer) => return Ok(answer),
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                Err(error) => self.before_asking_again(error).await?,
            }
        }
    }

    /// What was only read may be read again, wherever the partition is then.
    async fn before_asking_again(&self, error: CallError) -> Result<(), Unavailable> {
        match error {
            CallError::Elsewhere(_) => self.shards.look.notify_one(),
            CallError::Unknown(_) => {}
            CallError::Refused(_) => return Err(error.into()),
        }
        sleep(ELSEWHERE_PAUSE).await;
        Ok(())
    }

    /// Calls a script that only reads a conversation until it needs nothing more: `call` is given
    /// the run.
    pub(crate) async fn ask<'a>(
        self: &Rc<Self>,
        conversation: &ConversationId,
        keys: &'a Keys,
        call: impl Fn(&str) -> Call<'a>,
    ) -> Result<(Value, Run), Unavailable> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let link = self.node(keys.partition)?.link().await?;
            let answer = match link.call(&call(&link.run.0)).await {
                Ok(answer) => answer,
                Err(error) => {
                    self.before_asking_again(error).await?;
                    continue;
                }
            };
            match answer::need(&answer) {
                Some(need) => self.satisfy(conversation, keys, need).await?,
                None => return Ok((answer, link.run.clone())),
            }
        }
        Err(Unavailable::new(
            "Redis: the question went back and forth too long",
        ))
    }

    /// What was read up to `head` under `run` may be shown: a replica has it, if that is what an
    /// acknowledgement means. What was heard of had been confirmed before.
    pub(crate) async fn confirm(
        &self,
        conversation: &ConversationId,
        partition: Partition,
        head: Position,
        run: &Run,
    ) -> Result<(), Unavailable> {
        if self.durability == Durability::Local || self.table.has_heard(conversation, head) {
            return Ok(());
        }
        let lane = self.lane(partition)?;
        lane.confirm(partition, run).await
    }

    fn lane(&self, partition: Partition) -> Result<Rc<Lane>, Unavailable> {
        let node = self.node(partition)?;
        let lane = self.lanes.borrow().get(&node.label).cloned();
        lane.ok_or_else(|| Unavailable::new("Redis: no way to commit"))
    }

    /// Does what a script needs first.
    pub(crate) async fn satisfy(
        self: &Rc<Self>,
        conversation: &ConversationId,
        keys: &Keys,
        need: Need,
    ) -> Result<(), Unavailable> {
        let link = self.node(keys.partition)?.link().await?;
        match need {
            Need::Epoch => {
                let (epochs, store) = (&self.table.epochs, self.store.as_deref());
                let before = epochs.known(keys.partition);
                let opened = self.opener.open(keys.partition, &link, epochs, store).await;
                if epochs.known(keys.partition) != before {
                    self.metrics.epochs_opened.increment(1);
                    if before.is_some() {
                        self.on_epoch(keys.partition);
                    }
                }
                opened
            }
            Need::Mark { epoch, found_ms } => {
                self.note_epoch(keys.partition, epoch);
                self.mark(conversation, keys, (epoch, found_ms), &link)
                    .await
            }
        }
    }

    /// Sets a conversation's mark in `epoch`, from what the store has of it.
    async fn mark(
        &self,
        conversation: &ConversationId,
        keys: &Keys,
        (epoch, found_ms): (u32, u64),
        link: &Link,
    ) -> Result<(), Unavailable> {
        let rows = match &self.store {
            Some(store) => store.epochs(conversation).await?,
            None => Vec::new(),
        };
        let base = rows.last();
        let head = base.map_or(Position::ZERO, |row| row.head);
        let all = [&*keys.epoch, &*keys.meta, &*keys.log, &*keys.ingest];
        let call = Call::of(&scripts::MARK, all)
            .with(&*link.run.0)
            .with(u64::from(epoch))
            .with(self.log_mode())
            .with(self.shards.speech().publish())
            .with(&*keys.channel)
            .with(conversation.as_str())
            .with(now_micros())
            .with(self.retention_ms())
            .with(head.id.get())
            .with(u64::from(head.k))
            .with(base.map_or(0, |row| row.t.0))
            .with(base.map_or(0, |row| row.ordinal))
            .with(base.map_or(0, |row| row.count))
            .with(found_ms);
        // Whatever it answers, the script that needed it asks again.
        match link.call(&call).await {
            Ok(_) | Err(CallError::Elsewhere(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A partition is in this epoch.
    pub(crate) fn note_epoch(&self, partition: Partition, epoch: u32) {
        if self.table.epochs.note(partition, epoch) {
            self.on_epoch(partition);
        }
    }

    /// Every conversation of the partition has to be read again.
    fn on_epoch(&self, partition: Partition) {
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

    /// Follows a cluster's slots, for ever.
    pub(crate) async fn follow_cluster(self: Rc<Self>) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looks.tick().await;
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = self.shards.look.notified() => {}
            }
            match self.shards.look_at_cluster().await {
                Ok(moved) => self.on_moved(moved),
                Err(error) => {
                    tracing::warn!(%error, "the cluster does not say where its slots are")
                }
            }
            sleep(ELSEWHERE_PAUSE).await;
        }
    }

    pub(crate) fn on_moved(self: &Rc<Self>, moved: Moved) {
        for node in &moved.nodes {
            self.adopt(node);
        }
        let labels: Vec<String> = self
            .shards
            .nodes()
            .iter()
            .map(|node| node.label.clone())
            .collect();
        self.wishes
            .borrow_mut()
            .retain(|label, _| labels.contains(label));
        self.lanes
            .borrow_mut()
            .retain(|label, _| labels.contains(label));
        if moved.partitions.is_empty() {
            return;
        }
        tracing::info!(partitions = moved.partitions.len(), "partitions moved");
        self.table.lost(&moved.partitions);
        for conversation in self.table.of(&moved.partitions) {
            let partition = partition_of(&conversation);
            self.wish(partition, Wish::Subscribe(conversation));
        }
    }

    /// Says which nodes do not work.
    pub(crate) fn report_health(&self) {
        let nodes = self.shards.nodes();
        let troubles: Vec<String> = nodes
            .iter()
            .filter_map(|node| {
                let trouble = node.trouble()?;
                Some(format!("Redis at {}: {trouble}", node.label))
            })
            .collect();
        self.metrics.nodes.set(nodes.len() as f64);
        let up = nodes.len() - troubles.len();
        self.metrics.nodes_up.set(up as f64);
        self.health.set(match troubles.as_slice() {
            [] if nodes.is_empty() => Some("no node of Redis is known".to_owned()),
            [] => None,
            some => Some(some.join("; ")),
        });
    }

    /// Reads the epochs as soon as the node has a link.
    fn remember_soon(self: &Rc<Self>, node: &Rc<Node>) {
        let (io, node) = (Rc::clone(self), Rc::clone(node));
        tokio::task::spawn_local(async move {
            let read = async { Ok(io.remember_epochs(&node, &*node.link().await?).await?) };
            if let Err::<(), Unavailable>(error) = read.await {
                tracing::debug!(%error, "the epochs could not be read");
            }
        });
    }

    /// Reads all epochs of a node. Without a store it is the gateways who remember which ones there
    /// were, should Redis forget; what is opened later is announced.
    pub(crate) async fn remember_epochs(
        &self,
        node: &Rc<Node>,
        link: &Link,
    ) -> Result<(), CallError> {
        let own = self.shards.partitions(node);
        let mut pipeline = Pipeline::new();
        pipeline.ignore_errors();
        for partition in &own {
            pipeline.cmd("GET").arg(partition::epoch_key(*partition));
        }
        let answers: Vec<Value> = link.pipeline(&pipeline).await?;
        for (partition, answer) in own.into_iter().zip(answers) {
            let text = answer::text(answer).unwrap_or_default();
            if let Some(epoch) = text.rsplit(' ').next().and_then(|text| text.parse().ok()) {
                self.note_epoch(partition, epoch);
            }
        }
        Ok(())
    }

    /// The partitions of a node in which somebody here takes part.
    fn used_partitions(&self, node: &Rc<Node>) -> Vec<Partition> {
        let own = self.shards.partitions(node);
        let used = self.table.partitions().into_iter();
        used.filter(|partition| own.contains(partition)).collect()
    }
}

/// The wall clock.
pub(crate) fn now_micros() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

impl<S: Store> Watcher for Io<S> {
    fn linked(self: &Rc<Self>, node: &Rc<Node>, linked: Linked) {
        let own = self.shards.partitions(node);
        if linked == Linked::NewRun {
            self.metrics.doubts.of(RedisDoubt::NewRun).increment(1);
            let dirty = self.table.of(&own);
            let conversations = dirty.len();
            tracing::info!(conversations, "another run of Redis: all are read again");
            self.table.doubt(&dirty);
        }
        self.remember_soon(node);
        if linked != Linked::First {
            let reconnects = &self.metrics.reconnects;
            reconnects.of(RedisConnection::Commands).increment(1);
        }
        // A lost connection may have lost what was said over it.
        self.holders
            .doubt_all(|conversation| own.contains(&partition_of(conversation)));
        self.report_health();
    }

    async fn probe(self: &Rc<Self>, node: &Rc<Node>, link: &Link) -> Result<(), CallError> {
        let used = self.used_partitions(node);
        let mut pipeline = Pipeline::new();
        pipeline.ignore_errors();
        for partition in &used {
            pipeline.cmd("GET").arg(partition::epoch_key(*partition));
        }
        let mut publish = cmd("PUBLISH");
        publish.arg(self.probe_channel(node)).arg("");
        pipeline.add_command(publish);
        node.on_probe_sent();
        let answers: Vec<Value> = link.pipeline(&pipeline).await?;
        for (partition, answer) in used.iter().zip(answers) {
            self.check_epoch(*partition, answer, link);
        }
        self.report_health();
        Ok(())
    }

    fn unreachable(self: &Rc<Self>, node: &Rc<Node>, error: &CallError) {
        tracing::debug!(node = node.label, %error, "cannot connect to Redis");
        self.report_health();
        self.shards.look.notify_one();
    }
}

impl<S: Store> Io<S> {
    /// The epoch of a partition as Redis has it. Somebody may have emptied a Redis that lives on,
    /// and then nothing else shows it to a room in which nobody speaks.
    fn check_epoch(&self, partition: Partition, answer: Value, link: &Link) {
        let text = match Option::<String>::from_redis_value(answer) {
            Ok(text) => text.unwrap_or_default(),
            // The partition moves, or Redis is not well: others notice.
            Err(_) => return,
        };
        let epoch = text
            .strip_prefix(&*link.run.0)
            .and_then(|rest| rest.rsplit(' ').next()?.parse().ok());
        match epoch {
            Some(epoch) => self.note_epoch(partition, epoch),
            None => self.on_epoch(partition),
        }
    }
}

impl<S: Store> Listener for Io<S> {
    fn partitions(self: &Rc<Self>, node: &Rc<Node>) -> Vec<Partition> {
        self.shards.partitions(node)
    }

    fn on_epoch(self: &Rc<Self>, partition: Partition) {
        Io::on_epoch(self, partition);
    }

    fn on_misplaced(self: &Rc<Self>) {
        self.shards.look.notify_one();
    }

    fn on_open(self: &Rc<Self>, node: &Rc<Node>) {
        self.remember_soon(node);
    }

    fn on_lost(self: &Rc<Self>, why: Loss) {
        let reconnects = &self.metrics.reconnects;
        reconnects.of(RedisConnection::Subscriptions).increment(1);
        let doubt = match why {
            Loss::Disconnected | Loss::Refused | Loss::Over => RedisDoubt::Disconnected,
            Loss::TakenAway => RedisDoubt::Unsubscribed,
            Loss::ProbeMissed => RedisDoubt::ProbeMissed,
        };
        self.metrics.doubts.of(doubt).increment(1);
        self.report_health();
    }

    fn on_probe(self: &Rc<Self>, took: Duration) {
        self.metrics.probe_duration.record(took);
    }
}
