//! The handles: looked up once, then an atomic addition per count.

use std::marker::PhantomData;

use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

use crate::{
    catalog::{Kind, Metric},
    labels::{
        Accept, Action, AuthFailure, AwayReason, Code, DeadLetterKind, Farewell, HttpStatus,
        Initiator, KeyReload, Label, Outcome, PersisterStep, RateLimit, RedisConnection,
        RedisDoubt, Resume, StoreRead, StoreWrite,
    },
};

/// Which build runs.
#[derive(Debug, Clone, Copy)]
pub struct Build {
    /// The package's version.
    pub version: &'static str,
    /// The revision of the source, or `unknown`.
    pub revision: &'static str,
}

/// Handles of everything that is counted. All registrations under one recorder share the numbers.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// [`Metric::Connections`]
    pub connections: Gauge,
    /// [`Metric::Rooms`]
    pub rooms: Gauge,
    /// [`Metric::LaggingConnections`]
    pub lagging_connections: Gauge,
    /// [`Metric::Draining`]
    pub draining: Gauge,
    /// [`Metric::SentAway`]
    pub sent_away: PairCounters<AwayReason, Farewell>,
    /// [`Metric::AwayGranted`]
    pub away_granted: Counter,
    /// [`Metric::AwayRate`], per second
    pub away_rate: Gauge,
    /// [`Metric::ReadyGateways`]
    pub ready_gateways: Gauge,
    /// [`Metric::MeanConnections`]
    pub mean_connections: Gauge,
    /// [`Metric::Shedding`]
    pub shedding: Gauge,
    /// [`Metric::Accepts`]
    pub accepts: Counters<Accept>,
    /// [`Metric::HttpResponses`]
    pub http_responses: Counters<HttpStatus>,
    /// [`Metric::AuthFailures`]
    pub auth_failures: Counters<AuthFailure>,
    /// [`Metric::Closes`]
    pub closes: PairCounters<Code, Initiator>,
    /// [`Metric::Actions`]
    pub actions: PairCounters<Action, Outcome>,
    /// [`Metric::RateLimited`]
    pub rate_limited: Counters<RateLimit>,
    /// [`Metric::AppendDuration`], in seconds
    pub append_duration: Histogram,
    /// [`Metric::FramesSent`]
    pub frames_sent: Counter,
    /// [`Metric::Writes`]
    pub writes: Counter,
    /// [`Metric::SentBytes`]
    pub sent_bytes: Counter,
    /// [`Metric::ReceivedBytes`]
    pub received_bytes: Counter,
    /// [`Metric::RingMisses`]
    pub ring_misses: Counter,
    /// [`Metric::GapsHealed`]
    pub gaps_healed: Counter,
    /// [`Metric::Resumes`]
    pub resumes: Counters<Resume>,
    /// [`Metric::KeyReloads`]
    pub key_reloads: Counters<KeyReload>,
}

impl Metrics {
    /// Handles of the recorder that is installed; without one they count nothing.
    #[must_use]
    pub fn register() -> Self {
        Self {
            connections: gauge!(Metric::Connections.spec().name),
            rooms: gauge!(Metric::Rooms.spec().name),
            lagging_connections: gauge!(Metric::LaggingConnections.spec().name),
            draining: gauge!(Metric::Draining.spec().name),
            sent_away: PairCounters::register(Metric::SentAway),
            away_granted: counter!(Metric::AwayGranted.spec().name),
            away_rate: gauge!(Metric::AwayRate.spec().name),
            ready_gateways: gauge!(Metric::ReadyGateways.spec().name),
            mean_connections: gauge!(Metric::MeanConnections.spec().name),
            shedding: gauge!(Metric::Shedding.spec().name),
            accepts: Counters::register(Metric::Accepts),
            http_responses: Counters::register(Metric::HttpResponses),
            auth_failures: Counters::register(Metric::AuthFailures),
            closes: PairCounters::register(Metric::Closes),
            actions: PairCounters::register(Metric::Actions),
            rate_limited: Counters::register(Metric::RateLimited),
            append_duration: histogram!(Metric::AppendDuration.spec().name),
            frames_sent: counter!(Metric::FramesSent.spec().name),
            writes: counter!(Metric::Writes.spec().name),
            sent_bytes: counter!(Metric::SentBytes.spec().name),
            received_bytes: counter!(Metric::ReceivedBytes.spec().name),
            ring_misses: counter!(Metric::RingMisses.spec().name),
            gaps_healed: counter!(Metric::GapsHealed.spec().name),
            resumes: Counters::register(Metric::Resumes),
            key_reloads: Counters::register(Metric::KeyReloads),
        }
    }

    /// Gives the installed recorder the help texts and the build. Once per process.
    pub fn describe(build: Build) {
        for metric in Metric::ALL {
            let spec = metric.spec();
            match spec.kind {
                Kind::Counter => describe_counter!(spec.name, spec.help),
                Kind::Gauge => describe_gauge!(spec.name, spec.help),
                Kind::Histogram(_) => describe_histogram!(spec.name, spec.help),
            }
        }
        let labels = [("version", build.version), ("revision", build.revision)];
        gauge!(Metric::BuildInfo.spec().name, &labels).set(1.0);
    }
}

/// Handles of what the adapter of Redis counts. Apart from [`Metrics`], so that a node without
/// Redis exports nothing of it.
#[derive(Debug, Clone)]
pub struct RedisMetrics {
    /// [`Metric::RedisNodes`]
    pub nodes: Gauge,
    /// [`Metric::RedisNodesUp`]
    pub nodes_up: Gauge,
    /// [`Metric::RedisReconnects`]
    pub reconnects: Counters<RedisConnection>,
    /// [`Metric::RedisEpochsOpened`]
    pub epochs_opened: Counter,
    /// [`Metric::RedisDoubts`]
    pub doubts: Counters<RedisDoubt>,
    /// [`Metric::RedisAppendsInFlight`]
    pub appends_in_flight: Gauge,
    /// [`Metric::RedisProbeDuration`], in seconds
    pub probe_duration: Histogram,
    /// [`Metric::RedisEphemeralDropped`]
    pub ephemeral_dropped: Counter,
}

impl RedisMetrics {
    /// Handles of the recorder that is installed; without one they count nothing.
    #[must_use]
    pub fn register() -> Self {
        Self {
            nodes: gauge!(Metric::RedisNodes.spec().name),
            nodes_up: gauge!(Metric::RedisNodesUp.spec().name),
            reconnects: Counters::register(Metric::RedisReconnects),
            epochs_opened: counter!(Metric::RedisEpochsOpened.spec().name),
            doubts: Counters::register(Metric::RedisDoubts),
            appends_in_flight: gauge!(Metric::RedisAppendsInFlight.spec().name),
            probe_duration: histogram!(Metric::RedisProbeDuration.spec().name),
            ephemeral_dropped: counter!(Metric::RedisEphemeralDropped.spec().name),
        }
    }
}

/// Handles of what a persister counts. Apart from [`Metrics`], as those of Redis are.
#[derive(Debug, Clone)]
pub struct PersisterMetrics {
    /// [`Metric::PersisterPartitions`]
    pub partitions: Gauge,
    /// [`Metric::PersisterBacklog`]
    pub backlog: Gauge,
    /// [`Metric::PersisterLag`], in seconds
    pub lag: Gauge,
    /// [`Metric::PersisterEvents`]
    pub events: Counter,
    /// [`Metric::PersisterBatches`]
    pub batches: Counter,
    /// [`Metric::PersisterBatchEvents`]
    pub batch_events: Histogram,
    /// [`Metric::PersisterStoredDuration`], in seconds
    pub stored_duration: Histogram,
    /// [`Metric::PersisterCursors`]
    pub cursors: Counter,
    /// [`Metric::PersisterDeadLetters`]
    pub dead_letters: Counters<DeadLetterKind>,
    /// [`Metric::PersisterRetries`]
    pub retries: Counters<PersisterStep>,
    /// [`Metric::PersisterTakeOvers`]
    pub take_overs: Counter,
}

impl PersisterMetrics {
    /// Handles of the recorder that is installed; without one they count nothing.
    #[must_use]
    pub fn register() -> Self {
        Self {
            partitions: gauge!(Metric::PersisterPartitions.spec().name),
            backlog: gauge!(Metric::PersisterBacklog.spec().name),
            lag: gauge!(Metric::PersisterLag.spec().name),
            events: counter!(Metric::PersisterEvents.spec().name),
            batches: counter!(Metric::PersisterBatches.spec().name),
            batch_events: histogram!(Metric::PersisterBatchEvents.spec().name),
            stored_duration: histogram!(Metric::PersisterStoredDuration.spec().name),
            cursors: counter!(Metric::PersisterCursors.spec().name),
            dead_letters: Counters::register(Metric::PersisterDeadLetters),
            retries: Counters::register(Metric::PersisterRetries),
            take_overs: counter!(Metric::PersisterTakeOvers.spec().name),
        }
    }
}

/// Handles of what the adapter of the store counts. Apart from [`Metrics`], as [`RedisMetrics`] are.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    /// [`Metric::StoreUp`]
    pub up: Gauge,
    /// [`Metric::StoreReads`]
    pub reads: Counters<StoreRead>,
    /// [`Metric::StoreReadDuration`], in seconds
    pub read_duration: Histogram,
    /// [`Metric::StoreSharedReads`]
    pub shared_reads: Counter,
    /// [`Metric::StoreBreakerOpen`]
    pub breaker_open: Gauge,
    /// [`Metric::StoreWrites`]
    pub writes: Counters<StoreWrite>,
    /// [`Metric::StoreWriteDuration`], in seconds
    pub write_duration: Histogram,
    /// [`Metric::StoreSessions`]
    pub sessions: Counter,
}

impl StoreMetrics {
    /// Handles of the recorder that is installed; without one they count nothing.
    #[must_use]
    pub fn register() -> Self {
        Self {
            up: gauge!(Metric::StoreUp.spec().name),
            reads: Counters::register(Metric::StoreReads),
            read_duration: histogram!(Metric::StoreReadDuration.spec().name),
            shared_reads: counter!(Metric::StoreSharedReads.spec().name),
            breaker_open: gauge!(Metric::StoreBreakerOpen.spec().name),
            writes: Counters::register(Metric::StoreWrites),
            write_duration: histogram!(Metric::StoreWriteDuration.spec().name),
            sessions: counter!(Metric::StoreSessions.spec().name),
        }
    }
}

/// One counter per value of a label.
#[derive(Debug, Clone)]
pub struct Counters<L> {
    by_value: Box<[Counter]>,
    label: PhantomData<L>,
}

impl<L: Label> Counters<L> {
    fn register(metric: Metric) -> Self {
        let count = |value: &L| {
            let labels = [(L::SPEC.key, value.as_str())];
            counter!(metric.spec().name, &labels)
        };
        Self {
            by_value: L::ALL.iter().map(count).collect(),
            label: PhantomData,
        }
    }

    /// The counter of `value`.
    pub fn of(&self, value: L) -> &Counter {
        &self.by_value[value.index()]
    }
}

/// One counter per pair of values of two labels.
#[derive(Debug, Clone)]
pub struct PairCounters<A, B> {
    by_pair: Box<[Counter]>,
    labels: PhantomData<(A, B)>,
}

impl<A: Label, B: Label> PairCounters<A, B> {
    fn register(metric: Metric) -> Self {
        let count = |(a, b): (&A, &B)| {
            let labels = [(A::SPEC.key, a.as_str()), (B::SPEC.key, b.as_str())];
            counter!(metric.spec().name, &labels)
        };
        let pairs = A::ALL
            .iter()
            .flat_map(|a| B::ALL.iter().map(move |b| (a, b)));
        Self {
            by_pair: pairs.map(count).collect(),
            labels: PhantomData,
        }
    }

    /// The counter of the pair.
    pub fn of(&self, a: A, b: B) -> &Counter {
        &self.by_pair[a.index() * B::ALL.len() + b.index()]
    }
}
