//! Moves what waits in the log into the store.
//!
//! The binary calls [`run`] once per process. Each partition of the log has one owner at a time
//! (`ownership`, `coordinator`), which reads batches of it (`seat`), takes them apart by
//! conversation (`batch`), writes them (`writer`, `splitting`) and then commits them: only then does
//! the log let them go. Any step may be done twice, by anybody, so no failure needs a decision: what
//! does not answer is asked again (`outage`, `pace`), and what is refused is laid aside (`letters`).
//!
//! It knows the ports [`Ingest`] and [`Archive`], no adapter; it makes no tables, serves no readers
//! and opens no epochs.

mod batch;
mod coordinator;
mod letters;
mod outage;
mod ownership;
mod pace;
mod seat;
mod splitting;
mod writer;

use std::{rc::Rc, sync::Arc, time::Duration};

use parlance_core::{
    ingest::{Ingest, PersisterId},
    store::Archive,
};
use parlance_telemetry::PersisterMetrics;
use parlance_traces::Traces;

use crate::{coordinator::Coordinator, seat::Shared, writer::Writer};

/// After so long without a word a persister counts as dead. A pause of a busy machine should not
/// end it, and a dead one's partitions should not wait.
pub const LEASE: Duration = Duration::from_secs(6);
/// Ids per reading: some hundred kB, and enough to fill the store's own batches.
pub const BATCH: usize = 500;
/// Half a lease, so that what is left is ours until it is done.
pub const FINISH: Duration = Duration::from_secs(3);

/// How a persister works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name, another one in each process: two of the same name take each other's partitions.
    pub me: PersisterId,
    /// How long it lives on, and keeps its partitions, without a word.
    pub lease: Duration,
    /// Ids per reading; at least 1.
    pub batch: usize,
    /// How long a batch in flight may take to finish when its partition is let go. Shorter than two
    /// thirds of the lease, so that the partition is not taken meanwhile.
    pub finish: Duration,
    /// From 0 to 1, another number at each call: so much of a pause between tries is left to chance.
    pub chance: fn() -> f64,
    /// Where it records the storing of events that are traced.
    pub traces: Traces,
}

impl Options {
    /// As usual, under this name.
    #[must_use]
    pub const fn of(me: PersisterId) -> Self {
        Self {
            me,
            lease: LEASE,
            batch: BATCH,
            finish: FINISH,
            chance: outage::chance,
            traces: Traces::off(),
        }
    }
}

/// Persists until `stop` is ready, and returns when everything was let go after that; at most
/// [`Options::finish`] and some seconds later. On a current-thread runtime, in a
/// [`tokio::task::LocalSet`]. Dropping the future is the same as a crash: others take over when the
/// leases are over.
///
/// # Panics
/// When the work on a partition panicked: what it left half done must not go on.
pub async fn run<I: Ingest, A: Archive>(
    ingest: I,
    archive: Arc<A>,
    options: Options,
    stop: impl Future<Output = ()>,
) {
    let metrics = Rc::new(PersisterMetrics::register());
    let writer = Writer::new(ingest.clone(), archive, Rc::clone(&metrics), options.chance);
    let shared = Shared::new(ingest, writer, &options, metrics);
    tracing::info!(me = %options.me.0, lease = ?options.lease, "persisting");
    let mut coordinator = Coordinator::new(Rc::new(shared), options);
    tokio::select! {
        biased;
        () = stop => {}
        () = coordinator.work() => {}
    }
    coordinator.leave().await;
}
