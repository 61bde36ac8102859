//! Takes, keeps and lets go of partitions, and has the work on each done.
//!
//! One per process, driven by [`crate::run`]. It decides nothing: [`Ownership`] says what is next,
//! and gets the answers. It never waits for the log; what is asked is under way while ticks go on.

use std::{
    collections::HashMap,
    panic,
    pin::Pin,
    rc::Rc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use parlance_core::{
    ingest::{Ingest, PersisterId, Token},
    ports::Unavailable,
    store::{Archive, Partition},
};
use parlance_telemetry::labels::PersisterStep;
use tokio::{
    task::{JoinError, JoinSet},
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    Options,
    ownership::{Meaning, Ownership, Step},
    seat::{Seat, Shared},
};

/// How often it is looked who lives, and tried to take what is wished. A partition whose owner
/// departed waits so long at most.
const TICK: Duration = Duration::from_millis(250);
/// For releasing everything, and for saying good-bye, each: what is not said in time, leases say.
const PARTING: Duration = Duration::from_secs(1);

/// What the log answered.
enum Answer {
    Living(Result<Vec<PersisterId>, Unavailable>),
    Held {
        partition: Partition,
        asked: Instant,
        answer: Result<Option<Token>, Unavailable>,
    },
    Released(Partition),
}

/// The end of the work on a partition: which time we had it.
struct End {
    partition: Partition,
    stint: u64,
}

struct Stint {
    number: u64,
    seat: Rc<Seat>,
}

pub(crate) struct Coordinator<I: Ingest, A: Archive> {
    shared: Rc<Shared<I, A>>,
    options: Options,
    ownership: Ownership,
    stints: HashMap<Partition, Stint>,
    /// How many there have been.
    stint_count: u64,
    tasks: JoinSet<End>,
    asked: FuturesUnordered<Pin<Box<dyn Future<Output = Answer>>>>,
    is_attending: bool,
    /// Whether the log did not answer the last question who lives.
    is_alone: bool,
}

impl<I: Ingest, A: Archive> Coordinator<I, A> {
    pub(crate) fn new(shared: Rc<Shared<I, A>>, options: Options) -> Self {
        Self {
            ownership: Ownership::new(options.me.clone(), options.lease),
            shared,
            options,
            stints: HashMap::new(),
            stint_count: 0,
            tasks: JoinSet::new(),
            asked: FuturesUnordered::new(),
            is_attending: false,
            is_alone: false,
        }
    }

    /// Works until it is dropped.
    pub(crate) async fn work(&mut self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => self.tick(),
                Some(answer) = self.asked.next() => self.on_answer(answer),
                Some(ended) = self.tasks.join_next() => self.on_end(ended),
            }
        }
    }

    // --- what time brings ---

    fn tick(&mut self) {
        if !self.is_attending {
            self.is_attending = true;
            self.ask_who_lives();
        }
        self.take_steps();
        self.show();
    }

    fn take_steps(&mut self) {
        for step in self.ownership.next_steps(now()) {
            match step {
                Step::Hold(partition) => self.ask_for(partition),
                Step::Leave(partition) => {
                    if let Some(stint) = self.stints.get(&partition) {
                        stint.seat.leave();
                    }
                }
            }
        }
    }

    fn show(&self) {
        let metrics = &self.shared.metrics;
        let seats = || self.stints.values().map(|stint| &stint.seat);
        let backlog: u64 = seats().map(|seat| seat.backlog()).sum();
        let lag = seats().map(|seat| seat.lag()).max().unwrap_or_default();
        metrics.partitions.set(self.stints.len() as f64);
        metrics.backlog.set(backlog as f64);
        metrics.lag.set(lag.as_secs_f64());
    }

    // --- questions to the log ---

    /// An answer that takes longer than this is of no use any more.
    fn patience(&self) -> Duration {
        self.options.lease / 3
    }

    fn ask_who_lives(&mut self) {
        let living = self
            .shared
            .ingest
            .attend(&self.options.me, self.options.lease);
        let living = in_time(self.patience(), living);
        self.asked
            .push(Box::pin(async { Answer::Living(living.await) }));
    }

    fn ask_for(&mut self, partition: Partition) {
        let asked = now();
        let held = self
            .shared
            .ingest
            .hold(partition, &self.options.me, self.options.lease);
        let held = in_time(self.patience(), held);
        self.asked.push(Box::pin(async move {
            Answer::Held {
                partition,
                asked,
                answer: held.await,
            }
        }));
    }

    fn release(&mut self, partition: Partition, token: Token) {
        let released = self.shared.ingest.release(partition, token);
        let released = in_time(self.patience(), released);
        self.asked.push(Box::pin(async move {
            if let Err(error) = released.await {
                tracing::debug!(partition = partition.0, %error, "not released: its lease runs out");
            }
            Answer::Released(partition)
        }));
    }

    // --- answers ---

    fn on_answer(&mut self, answer: Answer) {
        match answer {
            Answer::Living(living) => self.on_living(living),
            Answer::Held {
                partition,
                asked,
                answer,
            } => self.on_held(partition, asked, answer),
            Answer::Released(partition) => {
                self.ownership.on_released(partition);
                self.take_steps();
            }
        }
    }

    /// Without an answer, those of the last one live on.
    fn on_living(&mut self, living: Result<Vec<PersisterId>, Unavailable>) {
        self.is_attending = false;
        match living {
            Ok(living) => {
                if self.is_alone {
                    tracing::info!("the log says again who lives");
                }
                self.is_alone = false;
                self.ownership.on_living(&living);
                self.take_steps();
            }
            Err(error) => {
                self.count_retry();
                if !self.is_alone {
                    tracing::warn!(%error, "the log does not say who lives");
                }
                self.is_alone = true;
            }
        }
    }

    fn on_held(
        &mut self,
        partition: Partition,
        asked: Instant,
        answer: Result<Option<Token>, Unavailable>,
    ) {
        let answer = answer.map_err(|error| {
            self.count_retry();
            tracing::debug!(partition = partition.0, %error, "a partition is not taken or kept");
        });
        match self.ownership.on_answer(partition, asked, answer) {
            Meaning::Begin(token) => self.begin(partition, token),
            Meaning::Keep(token) => {
                if let Some(stint) = self.stints.get(&partition) {
                    stint.seat.keep(token);
                }
            }
            Meaning::Lost => {
                if let Some(stint) = self.stints.remove(&partition) {
                    // What it has read may be nowhere else any more, if the log lost it.
                    stint.seat.leave();
                    tracing::info!(
                        partition = partition.0,
                        "another persister has taken a partition"
                    );
                }
            }
            Meaning::Nothing => {}
        }
    }

    fn count_retry(&self) {
        let retries = &self.shared.metrics.retries;
        retries.of(PersisterStep::Lease).increment(1);
    }

    fn begin(&mut self, partition: Partition, token: Token) {
        self.stint_count += 1;
        let stint = self.stint_count;
        let seat = Rc::new(Seat::new(partition, token));
        let (shared, worker) = (Rc::clone(&self.shared), Rc::clone(&seat));
        let patience = self.options.finish;
        self.tasks.spawn_local(async move {
            worker.work(&shared, patience).await;
            End { partition, stint }
        });
        let number = stint;
        self.stints.insert(partition, Stint { number, seat });
        self.shared.metrics.take_overs.increment(1);
        tracing::debug!(partition = partition.0, token = token.0, "partition taken");
    }

    fn on_end(&mut self, ended: Result<End, JoinError>) {
        let Some(end) = end_of(ended) else {
            return;
        };
        let is_present = |stint: &Stint| stint.number == end.stint;
        if !self.stints.get(&end.partition).is_some_and(is_present) {
            return;
        }
        self.stints.remove(&end.partition);
        match self.ownership.on_end(end.partition) {
            Some(token) => self.release(end.partition, token),
            None => tracing::debug!(
                partition = end.partition.0,
                "the log says that a partition is not ours"
            ),
        }
    }

    // --- the end ---

    /// Lets everything go, in this order, each step with a deadline: what is not done by then, the
    /// leases do.
    pub(crate) async fn leave(mut self) {
        let mut held = self.ownership.held();
        tracing::info!(partitions = held.len(), "stopping: nothing more is read");
        self.stints.values().for_each(|stint| stint.seat.leave());

        let finished = timeout(self.options.finish + PARTING, self.finish()).await;
        tracing::info!(in_time = finished.is_ok(), "batches in flight are done");
        self.tasks.shutdown().await;

        // What is asked now may be answered after the departure, which would undo it.
        let answered = timeout(PARTING, self.last_answers(&mut held)).await;
        tracing::info!(
            in_time = answered.is_ok(),
            "the log's last answers are here"
        );

        let ingest = &self.shared.ingest;
        let releases = held
            .into_iter()
            .map(|(partition, token)| ingest.release(partition, token));
        let released = timeout(PARTING, join_all(releases)).await;
        let in_time = released.is_ok_and(|all| all.iter().all(Result::is_ok));
        tracing::info!(in_time, "partitions are released");

        let departed = timeout(PARTING, ingest.depart(&self.options.me)).await;
        let in_time = departed.is_ok_and(|departed| departed.is_ok());
        tracing::info!(in_time, "departed");
        self.stints.clear();
        self.show();
    }

    async fn finish(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            end_of(ended);
        }
    }

    async fn last_answers(&mut self, held: &mut Vec<(Partition, Token)>) {
        while let Some(answer) = self.asked.next().await {
            match answer {
                Answer::Held {
                    partition,
                    answer: Ok(Some(token)),
                    ..
                } => held.push((partition, token)),
                Answer::Held { .. } | Answer::Living(_) | Answer::Released(_) => {}
            }
        }
    }
}

/// `None`: it was cut off when the process stops.
fn end_of(ended: Result<End, JoinError>) -> Option<End> {
    match ended {
        Ok(end) => Some(end),
        Err(error) if error.is_panic() => panic::resume_unwind(error.into_panic()),
        Err(_) => None,
    }
}

async fn in_time<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, Unavailable>>,
) -> Result<T, Unavailable> {
    match timeout(patience, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(Unavailable::new("the log did not answer in time")),
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
