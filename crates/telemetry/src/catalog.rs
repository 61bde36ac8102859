//! The list of all metrics.

use crate::labels::{
    Accept, Action, AuthFailure, AwayReason, Code, DeadLetterKind, Farewell, HttpStatus, Initiator,
    KeyReload, Label, LabelSpec, Outcome, PersisterStep, RateLimit, RedisConnection, RedisDoubt,
    Resume, StoreRead, StoreWrite,
};

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations sorted into buckets with these upper bounds, and one more for the rest.
    Histogram(&'static [f64]),
}

/// Everything that is fixed about a metric.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// As exported. Holds the unit; counters end in `_total`.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it says, one sentence.
    pub help: &'static str,
    /// The labels and all their values.
    pub labels: &'static [LabelSpec],
}

/// Upper bounds of the append latency, in seconds: from an append that shares a sync with others
/// on a fast disk to one that the 10 s deadline of an action ends.
const APPEND_SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// Upper bounds of the time from publishing a probe to hearing it, in seconds: from an idle Redis
/// nearby to the 2 s after which it counts as missed.
const PROBE_SECONDS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0,
];

/// Upper bounds of the events in a batch: from one to many appended together under each of 500 ids.
const BATCH_EVENTS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0,
];

/// Upper bounds of the time from an append to its commit, in seconds: from a busy partition next to
/// its store to an outage of hours.
const STORED_SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0,
    7200.0,
];

/// Upper bounds of a request to the store, in seconds: from a row in its memory to the 3 s that a
/// write may take.
const STORE_SECONDS: &[f64] = &[
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0,
];

/// The labels of `parlance_build_info`: one value each per binary.
const BUILD: &[LabelSpec] = &[
    LabelSpec {
        key: "version",
        values: &[],
    },
    LabelSpec {
        key: "revision",
        values: &[],
    },
];

/// The help texts are the variants' documentation.
macro_rules! metrics {
    ($(
        #[doc = $help:literal]
        $variant:ident = $name:literal, $kind:expr, $labels:expr;
    )+) => {
        /// Every metric there is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Metric {
            $(#[doc = $help] $variant,)+
        }

        impl Metric {
            /// Every metric, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Everything that is fixed about it.
            #[must_use]
            pub const fn spec(self) -> Spec {
                match self {
                    $(Self::$variant => Spec {
                        name: $name,
                        kind: $kind,
                        help: $help.trim_ascii(),
                        labels: $labels,
                    },)+
                }
            }
        }
    };
}

metrics! {
    /// The build that runs; always 1.
    BuildInfo = "parlance_build_info", Kind::Gauge, BUILD;
    /// Connections that are members of a conversation.
    Connections = "parlance_connections", Kind::Gauge, &[];
    /// Conversations that this node keeps in memory.
    Rooms = "parlance_rooms", Kind::Gauge, &[];
    /// Members that have more to be written than their socket takes right now.
    LaggingConnections = "parlance_lagging_connections", Kind::Gauge, &[];
    /// 1 while the node is leaving: it is not ready and asks its clients to reconnect.
    Draining = "parlance_draining", Kind::Gauge, &[];
    /// Members that were sent to other nodes, by why and how; one that was asked and did not go is closed later, and counts twice.
    SentAway = "parlance_sent_away_total", Kind::Counter, &[AwayReason::SPEC, Farewell::SPEC];
    /// Members that the budget which all gateways share let this node send away.
    AwayGranted = "parlance_away_granted_total", Kind::Counter, &[];
    /// New members that the other gateways together take in a second, as of this node's last question; 0 when nobody takes any.
    AwayRate = "parlance_away_rate", Kind::Gauge, &[];
    /// Gateways that are ready, this one included, as it sees them; 0 while it is not ready itself, while Redis is away, and without Redis.
    ReadyGateways = "parlance_ready_gateways", Kind::Gauge, &[];
    /// Mean of the members over these gateways.
    MeanConnections = "parlance_mean_connections", Kind::Gauge, &[];
    /// 1 while this node sends members away because it has more than its share.
    Shedding = "parlance_shedding", Kind::Gauge, &[];
    /// Accepted TCP connections of the public listener, by what became of them.
    Accepts = "parlance_accepts_total", Kind::Counter, &[Accept::SPEC];
    /// HTTP answers of the public listener.
    HttpResponses = "parlance_http_responses_total", Kind::Counter, &[HttpStatus::SPEC];
    /// Tokens that were refused.
    AuthFailures = "parlance_auth_failures_total", Kind::Counter, &[AuthFailure::SPEC];
    /// Ended WebSocket connections.
    Closes = "parlance_closes_total", Kind::Counter, &[Code::SPEC, Initiator::SPEC];
    /// Actions of clients, by how they were answered.
    Actions = "parlance_actions_total", Kind::Counter, &[Action::SPEC, Outcome::SPEC];
    /// Refusals because of a limit.
    RateLimited = "parlance_rate_limited_total", Kind::Counter, &[RateLimit::SPEC];
    /// Time from handing an event to the log until it is durable.
    AppendDuration = "parlance_append_duration_seconds", Kind::Histogram(APPEND_SECONDS), &[];
    /// Deliveries: text frames written to sockets. Divided by the writes it gives frames per write.
    FramesSent = "parlance_frames_sent_total", Kind::Counter, &[];
    /// Writes to sockets; one takes all frames that wait for that socket.
    Writes = "parlance_writes_total", Kind::Counter, &[];
    /// Bytes written to WebSockets, framing included.
    SentBytes = "parlance_sent_bytes_total", Kind::Counter, &[];
    /// Bytes read from WebSockets, framing included.
    ReceivedBytes = "parlance_received_bytes_total", Kind::Counter, &[];
    /// Times that a slow member needed events which recent memory did not hold any more.
    RingMisses = "parlance_ring_misses_total", Kind::Counter, &[];
    /// Live events that were not next in line, so that the log was read before going on.
    GapsHealed = "parlance_gaps_healed_total", Kind::Counter, &[];
    /// Connections that asked to resume, by where the missed events came from.
    Resumes = "parlance_resumes_total", Kind::Counter, &[Resume::SPEC];
    /// Changes of key files that were noticed.
    KeyReloads = "parlance_key_reloads_total", Kind::Counter, &[KeyReload::SPEC];
    /// Masters of Redis that this gateway has to reach. Only in `parlance gateway`, as all of Redis.
    RedisNodes = "parlance_redis_nodes", Kind::Gauge, &[];
    /// Those of them whose last probe was heard in time; with fewer than all the node is not ready.
    RedisNodesUp = "parlance_redis_nodes_up", Kind::Gauge, &[];
    /// Connections to Redis that were made anew after one was lost.
    RedisReconnects = "parlance_redis_reconnects_total", Kind::Counter, &[RedisConnection::SPEC];
    /// Epochs that this gateway opened: one per partition and life of its Redis, over all gateways.
    RedisEpochsOpened = "parlance_redis_epochs_opened_total", Kind::Counter, &[];
    /// Times that something may have been missed, so that rooms read the log again.
    RedisDoubts = "parlance_redis_doubts_total", Kind::Counter, &[RedisDoubt::SPEC];
    /// Appends that Redis has been given and has not answered.
    RedisAppendsInFlight = "parlance_redis_appends_in_flight", Kind::Gauge, &[];
    /// Time from publishing a probe to hearing it on the subscribing connection.
    RedisProbeDuration = "parlance_redis_probe_duration_seconds", Kind::Histogram(PROBE_SECONDS), &[];
    /// Presence, typing and receipts that were not published because too much waited.
    RedisEphemeralDropped = "parlance_redis_ephemeral_dropped_total", Kind::Counter, &[];
    /// Partitions that this persister owns; 256 over all of them. Only in `parlance persister`, as all of the persister.
    PersisterPartitions = "parlance_persister_partitions", Kind::Gauge, &[];
    /// Entries of the owned partitions that are not stored yet, as of the last look at each.
    PersisterBacklog = "parlance_persister_backlog", Kind::Gauge, &[];
    /// Age of the oldest entry of the owned partitions that was read and is not committed: how far the store is behind. 0 when all is stored.
    PersisterLag = "parlance_persister_lag_seconds", Kind::Gauge, &[];
    /// Durable events (messages, edits, deletions) that were stored and committed, those with a placeholder included.
    PersisterEvents = "parlance_persister_events_total", Kind::Counter, &[];
    /// Batches that were committed.
    PersisterBatches = "parlance_persister_batches_total", Kind::Counter, &[];
    /// Events in a committed batch.
    PersisterBatchEvents = "parlance_persister_batch_events", Kind::Histogram(BATCH_EVENTS), &[];
    /// Time from an append until its commit is answered, by the log's clock: of the oldest entry of each conversation in a batch, so the worst case of each.
    PersisterStoredDuration = "parlance_persister_stored_duration_seconds", Kind::Histogram(STORED_SECONDS), &[];
    /// Cursors of receipts that were stored.
    PersisterCursors = "parlance_persister_cursors_total", Kind::Counter, &[];
    /// What the store refuses, or nobody can read: laid aside in the log, to be looked at.
    PersisterDeadLetters = "parlance_persister_dead_letters_total", Kind::Counter, &[DeadLetterKind::SPEC];
    /// Steps that are done again because the log or the store did not answer.
    PersisterRetries = "parlance_persister_retries_total", Kind::Counter, &[PersisterStep::SPEC];
    /// Partitions that this persister took, from another one or from nobody.
    PersisterTakeOvers = "parlance_persister_take_overs_total", Kind::Counter, &[];
    /// 1 while the store can be read, as a look each second finds. Only with a store, as all of it.
    StoreUp = "parlance_store_up", Kind::Gauge, &[];
    /// Questions to the store, by how they were answered; one that many callers share counts once.
    StoreReads = "parlance_store_reads_total", Kind::Counter, &[StoreRead::SPEC];
    /// Time from asking the store to its answer, all pages included.
    StoreReadDuration = "parlance_store_read_duration_seconds", Kind::Histogram(STORE_SECONDS), &[];
    /// Callers that shared the question of another one.
    StoreSharedReads = "parlance_store_shared_reads_total", Kind::Counter, &[];
    /// 1 while reads are refused at once, because the store did not answer the last ones.
    StoreBreakerOpen = "parlance_store_breaker_open", Kind::Gauge, &[];
    /// Requests that write to the store, a batch each, by how they were answered.
    StoreWrites = "parlance_store_writes_total", Kind::Counter, &[StoreWrite::SPEC];
    /// Time from sending a batch to the store's answer.
    StoreWriteDuration = "parlance_store_write_duration_seconds", Kind::Histogram(STORE_SECONDS), &[];
    /// Sessions with the store that were made anew because the one before reached nothing.
    StoreSessions = "parlance_store_sessions_total", Kind::Counter, &[];
    /// Memory that is resident.
    ProcessResidentMemory = "process_resident_memory_bytes", Kind::Gauge, &[];
    /// CPU time used, user and system.
    ProcessCpu = "process_cpu_seconds_total", Kind::Counter, &[];
    /// Open file descriptors.
    ProcessOpenFds = "process_open_fds", Kind::Gauge, &[];
    /// The most file descriptors that may be open.
    ProcessMaxFds = "process_max_fds", Kind::Gauge, &[];
    /// Threads.
    ProcessThreads = "process_threads", Kind::Gauge, &[];
    /// When the process started, in seconds since 1970.
    ProcessStartTime = "process_start_time_seconds", Kind::Gauge, &[];
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_say_kind_and_origin() {
        let mut seen = HashSet::new();
        for metric in Metric::ALL {
            let spec = metric.spec();
            assert!(seen.insert(spec.name), "{} twice", spec.name);
            let ours = spec.name.starts_with("parlance_") || spec.name.starts_with("process_");
            assert!(ours, "{} has no known prefix", spec.name);
            assert_eq!(
                spec.kind == Kind::Counter,
                spec.name.ends_with("_total"),
                "{}: counters and only they end in _total",
                spec.name
            );
        }
    }

    #[test]
    fn histogram_buckets_ascend() {
        for metric in Metric::ALL {
            if let Kind::Histogram(bounds) = metric.spec().kind {
                assert!(bounds.is_sorted_by(|a, b| a < b), "{metric:?}");
            }
        }
    }
}
