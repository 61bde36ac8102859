//! What this process notices of its nodes: links, probes, epochs, slots that move, and whether all of
//! it works.

use std::{rc::Rc, time::Duration};

use parlance_core::{
    ports::Unavailable,
    store::{Partition, Store},
};
use parlance_telemetry::labels::{RedisConnection, RedisDoubt};
use redis::{FromRedisValue, Pipeline, Value, cmd};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::{
    answer,
    io::{ELSEWHERE_PAUSE, Io},
    link::{CallError, Link},
    node::{Linked, Node, Watcher},
    partition::{self, partition_of},
    shard_map::Moved,
    subscriber::{Listener, Loss, Wish},
};

/// How often a cluster's slots are looked at without a reason.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl<S: Store> Io<S> {
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
        self.report_memory(&nodes);
        self.health.set(match troubles.as_slice() {
            [] if nodes.is_empty() => Some("no node of Redis is known".to_owned()),
            [] => None,
            some => Some(some.join("; ")),
        });
    }

    /// Says how much they use, and how near the fullest of them is to its limit.
    fn report_memory(&self, nodes: &[Rc<Node>]) {
        let memories = nodes.iter().map(|node| node.memory());
        let used_bytes: u64 = memories.clone().map(|memory| memory.used).sum();
        let ratios = memories.map(|memory| memory.ratio(self.memory_limit_bytes));
        self.metrics.memory_used_bytes.set(used_bytes as f64);
        self.metrics.memory_ratio.set(ratios.fold(0.0, f64::max));
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
