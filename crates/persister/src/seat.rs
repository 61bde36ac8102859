//! The work on one owned partition: read, write, commit; and cursors beside it.
//!
//! Started by the coordinator for each partition that it takes, as a task of its own. The next batch
//! is read when the one before is committed, so a conversation has one batch under way, and its
//! order is that of the ingest. Dropping the task at any time loses nothing: what is not committed
//! is read again by the next owner, and written again.

use std::{cell::Cell, collections::HashMap, convert::Infallible, rc::Rc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use parlance_core::{
    ingest::{Commit, DeadLetter, Durable, Ingest, IngestError, IngestId, MovedCursor, Token},
    ports::{Cursor, Unavailable},
    store::{Archive, Partition, WriteError},
};
use parlance_protocol::{ConversationId, UserId};
use parlance_telemetry::{
    PersisterMetrics,
    labels::{DeadLetterKind, PersisterStep},
};
use parlance_traces::{Span, Traces};
use tokio::{
    sync::{Semaphore, SemaphorePermit, watch},
    time::{Instant, sleep},
};

use crate::{
    Options,
    batch::Grouped,
    letters::{self, Letter},
    outage::Peer,
    pace::Pace,
    writer::{Writer, Written},
};

/// Cursors are stored this often: a receipt may be a second late in the store, and a reader who
/// scrolls moves a cursor many times.
const CURSORS_EVERY: Duration = Duration::from_secs(1);
/// While there are more than are asked for at once.
const CURSORS_MORE: Duration = Duration::from_millis(50);
/// Cursors that are asked for at once.
const CURSORS: usize = 500;

/// Ids that a process has in memory at most, read and not committed: some ten MB of usual messages,
/// and a third of all partitions can wait for an answer to their readings beside that. Full: nobody
/// reads until something is committed, and the log grows.
const ROOM: usize = 64_000;
/// While a batch is under way for long, because the store does not answer, it is looked this often
/// how much waits behind it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What all partitions of a process share.
#[derive(Debug)]
pub(crate) struct Shared<I, A> {
    pub(crate) ingest: I,
    pub(crate) writer: Writer<I, A>,
    pub(crate) log: Peer,
    batch: u32,
    /// In ids, for what is read and not committed.
    room: Semaphore,
    pub(crate) metrics: Rc<PersisterMetrics>,
    traces: Traces,
}

impl<I, A> Shared<I, A> {
    pub(crate) fn new(
        ingest: I,
        writer: Writer<I, A>,
        options: &Options,
        metrics: Rc<PersisterMetrics>,
    ) -> Self {
        let batch = options.batch.clamp(1, ROOM);
        Self {
            ingest,
            writer,
            log: Peer::new("log", options.chance),
            batch: u32::try_from(batch).expect("less than there is room for"),
            room: Semaphore::new(ROOM),
            metrics,
            traces: options.traces.clone(),
        }
    }

    /// Ids per reading.
    fn limit(&self) -> usize {
        self.batch as usize
    }
}

/// One owned partition.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) partition: Partition,
    token: Cell<Token>,
    is_leaving: watch::Sender<bool>,
    looked: Cell<Look>,
}

/// What was seen at the last look at a partition.
#[derive(Debug, Clone, Copy, Default)]
struct Look {
    backlog: u64,
    /// Of a batch that is not committed, or that has more behind it: when it was read, and how old its
    /// oldest entry was then.
    under_way: Option<(Instant, Duration)>,
}

/// A batch that was read, taken apart.
struct Reading<'a> {
    epoch: u32,
    /// The log's clock at `at`.
    now_ms: u64,
    at: Instant,
    grouped: Grouped,
    /// Of the events that are traced.
    spans: Vec<Span>,
    _room: SemaphorePermit<'a>,
}

/// The log refuses what was read, or its reader.
enum Gone {
    NotOwner,
    OtherEpoch,
}

/// How a round ended.
enum Round {
    Done { ids: usize },
    ReadAgain,
    Lost,
    Left,
}

impl Seat {
    pub(crate) fn new(partition: Partition, token: Token) -> Self {
        Self {
            partition,
            token: Cell::new(token),
            is_leaving: watch::Sender::new(false),
            looked: Cell::default(),
        }
    }

    /// The lease goes on under this token.
    pub(crate) fn keep(&self, token: Token) {
        self.token.set(token);
    }

    /// The batch in flight is the last one.
    pub(crate) fn leave(&self) {
        self.is_leaving.send_replace(true);
    }

    /// Entries that are not stored yet.
    pub(crate) fn backlog(&self) -> u64 {
        self.looked.get().backlog
    }

    /// How far the store is behind.
    pub(crate) fn lag(&self) -> Duration {
        let under_way = self.looked.get().under_way;
        under_way.map_or(Duration::ZERO, |(read, age)| age + read.elapsed())
    }

    /// Works until another persister owns the partition, or [`Seat::leave`] was called and the
    /// batch in flight is committed, or `patience` has passed since that.
    pub(crate) async fn work<I: Ingest, A: Archive>(
        &self,
        shared: &Shared<I, A>,
        patience: Duration,
    ) {
        tokio::select! {
            biased;
            () = self.store_batches(shared, patience) => {}
            never = self.store_cursors(shared) => match never {},
        }
    }

    // --- batches ---

    async fn store_batches<I: Ingest, A: Archive>(
        &self,
        shared: &Shared<I, A>,
        patience: Duration,
    ) {
        let mut pace = Pace::new();
        loop {
            let pause = match self.round(shared, patience).await {
                Round::Done { ids } => pace.after_reading(ids, shared.limit()),
                Round::ReadAgain => pace.after_refusal(),
                Round::Lost | Round::Left => return,
            };
            tokio::select! {
                biased;
                () = self.left() => return,
                () = sleep(pause), if !pause.is_zero() => {}
                () = tokio::task::yield_now(), if pause.is_zero() => {}
            }
        }
    }

    async fn round<I: Ingest, A: Archive>(
        &self,
        shared: &Shared<I, A>,
        patience: Duration,
    ) -> Round {
        let reading = tokio::select! {
            biased;
            () = self.left() => return Round::Left,
            reading = self.read(shared) => reading,
        };
        let reading = match reading {
            Ok(reading) => reading,
            Err(gone) => return gone.into(),
        };
        tokio::select! {
            biased;
            stored = self.store(shared, reading) => match stored {
                Ok(ids) => Round::Done { ids },
                Err(gone) => gone.into(),
            },
            () = async { self.left().await; sleep(patience).await } => {
                tracing::info!(
                    partition = self.partition.0,
                    "the batch in flight is left to the next owner"
                );
                Round::Left
            }
            never = self.look_on(shared) => match never {},
        }
    }

    async fn left(&self) {
        let mut is_leaving = self.is_leaving.subscribe();
        // Fails when the sender is dropped, which is this seat.
        let _ = is_leaving.wait_for(|is_leaving| *is_leaving).await;
    }

    async fn read<'a, I: Ingest, A: Archive>(
        &self,
        shared: &'a Shared<I, A>,
    ) -> Result<Reading<'a>, Gone> {
        let retries = shared.metrics.retries.of(PersisterStep::Read);
        let read = async || {
            let room = shared.room.acquire_many(shared.batch).await;
            let room = room.expect("the semaphore is never closed");
            let (token, limit) = (self.token.get(), shared.limit());
            let batch = answered(shared.ingest.read(self.partition, token, limit).await)?;
            Ok(batch.map(|batch| (batch, room)))
        };
        let (batch, mut room) = shared.log.insist(retries, read).await?;
        let oldest = batch.pieces.first();
        let age_ms = oldest.map(|piece| batch.now_ms.saturating_sub(piece.id.ms));
        let at = Instant::now();
        self.looked.set(Look {
            backlog: batch.backlog,
            under_way: age_ms.map(|age_ms| (at, Duration::from_millis(age_ms))),
        });
        let grouped = Grouped::of(batch.pieces);
        drop(room.split(shared.limit().saturating_sub(grouped.ids)));
        let spans = grouped.spans(&shared.traces);
        Ok(Reading {
            epoch: batch.epoch,
            now_ms: batch.now_ms,
            at,
            grouped,
            spans,
            _room: room,
        })
    }

    /// How many ids were stored and committed.
    async fn store<I: Ingest, A: Archive>(
        &self,
        shared: &Shared<I, A>,
        reading: Reading<'_>,
    ) -> Result<usize, Gone> {
        let grouped = reading.grouped;
        let (events, ids) = (grouped.events(), grouped.ids);
        let Some(up_to) = grouped.up_to else {
            return Ok(0);
        };
        let letters = grouped.garbled.into_iter().map(garbled).collect();
        let mut outcome = Outcome {
            letters,
            ..Outcome::default()
        };
        let shares = grouped.shares.into_iter();
        let mut written: FuturesUnordered<_> =
            shares.map(|share| shared.writer.write(share)).collect();
        while let Some(written) = written.next().await {
            outcome.add(written);
        }
        let committed = self.commit(shared, reading.epoch, up_to, &outcome).await;
        end(reading.spans, committed.is_ok());
        committed?;

        let now_ms = reading.now_ms + millis(reading.at.elapsed());
        self.count(shared, events, now_ms, &outcome);
        let looked = self.looked.get();
        let has_more = ids >= shared.limit();
        self.looked.set(Look {
            backlog: looked.backlog.saturating_sub(ids as u64),
            under_way: looked.under_way.filter(|_| has_more),
        });
        Ok(ids)
    }

    /// Never ends. Only what is shown depends on it.
    async fn look_on<I: Ingest, A: Archive>(&self, shared: &Shared<I, A>) -> Infallible {
        loop {
            sleep(LOOK_EVERY).await;
            let read = shared.ingest.read(self.partition, self.token.get(), 1);
            if let Ok(batch) = read.await {
                let looked = self.looked.get();
                self.looked.set(Look {
                    backlog: batch.backlog,
                    ..looked
                });
            }
        }
    }

    async fn commit<I: Ingest, A: Archive>(
        &self,
        shared: &Shared<I, A>,
        epoch: u32,
        up_to: IngestId,
        outcome: &Outcome,
    ) -> Result<(), Gone> {
        let retries = shared.metrics.retries.of(PersisterStep::Commit);
        let commit = async || {
            let commit = Commit {
                epoch,
                up_to,
                durable: outcome.durable.clone(),
                dead: outcome.dead(),
            };
            let token = self.token.get();
            answered(shared.ingest.commit(self.partition, token, commit).await)
        };
        shared.log.insist(retries, commit).await
    }

    fn count<I, A>(&self, shared: &Shared<I, A>, events: usize, now_ms: u64, outcome: &Outcome) {
        let metrics = &shared.metrics;
        metrics.batches.increment(1);
        metrics.events.increment(events as u64);
        metrics.batch_events.record(events as f64);
        for oldest in &outcome.oldest {
            let waited = Duration::from_millis(now_ms.saturating_sub(oldest.ms));
            metrics.stored_duration.record(waited.as_secs_f64());
        }
        for letter in &outcome.letters {
            letters::tell(metrics, self.partition, letter);
        }
    }

    // --- cursors ---

    /// Never ends. What fails is tried again a second later.
    async fn store_cursors<I: Ingest, A: Archive>(&self, shared: &Shared<I, A>) -> Infallible {
        // The partitions of a process take turns in the second.
        sleep(CURSORS_EVERY * u32::from(self.partition.0) / 256).await;
        loop {
            let pause = match self.cursor_round(shared).await {
                Ok(true) => CURSORS_MORE,
                Ok(false) => CURSORS_EVERY,
                Err(error) => {
                    shared
                        .metrics
                        .retries
                        .of(PersisterStep::Cursors)
                        .increment(1);
                    tracing::debug!(partition = self.partition.0, %error, "cursors wait");
                    CURSORS_EVERY
                }
            };
            sleep(pause).await;
        }
    }

    /// Whether there are more.
    async fn cursor_round<I: Ingest, A: Archive>(
        &self,
        shared: &Shared<I, A>,
    ) -> Result<bool, Unavailable> {
        let moved = shared.ingest.moved_cursors(self.partition, CURSORS).await?;
        if moved.is_empty() {
            return Ok(false);
        }
        let is_full = moved.len() >= CURSORS;
        let groups = by_conversation(moved).into_iter();
        let mut writes: FuturesUnordered<_> = groups
            .map(|group| write_cursors(&shared.writer, group))
            .collect();
        let (mut stored, mut failed) = (Vec::new(), None);
        while let Some(written) = writes.next().await {
            match written {
                Ok(group) => stored.extend(moved_cursors(group)),
                Err(error) => failed = Some(error),
            }
        }
        if !stored.is_empty() {
            let count = stored.len() as u64;
            let ingest = &shared.ingest;
            ingest.stored_cursors(self.partition, stored).await?;
            shared.metrics.cursors.increment(count);
        }
        failed.map_or(Ok(is_full), Err)
    }
}

/// What became of a batch.
#[derive(Debug, Default)]
struct Outcome {
    durable: Vec<Durable>,
    letters: Vec<Letter>,
    /// Where the first piece of each conversation stands.
    oldest: Vec<IngestId>,
}

impl Outcome {
    fn add(&mut self, written: Written) {
        self.durable.extend(written.durable);
        self.letters.extend(written.letters);
        self.oldest.push(written.oldest);
    }

    fn dead(&self) -> Vec<DeadLetter> {
        let letters = self.letters.iter();
        letters.map(|letter| letter.letter.clone()).collect()
    }
}

impl From<Gone> for Round {
    fn from(gone: Gone) -> Self {
        match gone {
            Gone::NotOwner => Self::Lost,
            Gone::OtherEpoch => Self::ReadAgain,
        }
    }
}

/// Says in the spans of a batch what became of it.
fn end(spans: Vec<Span>, is_committed: bool) {
    for mut span in spans {
        if is_committed {
            span.set_outcome("stored");
        } else {
            span.fail("not committed: it is stored again");
        }
    }
}

fn garbled(letter: DeadLetter) -> Letter {
    let kind = DeadLetterKind::Garbled;
    Letter { kind, letter }
}

/// Apart: no answer, and a refusal.
fn answered<T>(result: Result<T, IngestError>) -> Result<Result<T, Gone>, Unavailable> {
    match result {
        Ok(answer) => Ok(Ok(answer)),
        Err(IngestError::NotOwner) => Ok(Err(Gone::NotOwner)),
        Err(IngestError::OtherEpoch) => Ok(Err(Gone::OtherEpoch)),
        Err(IngestError::Unavailable(error)) => Err(error),
    }
}

type OfConversation = (ConversationId, Vec<(UserId, Cursor)>);

fn by_conversation(moved: Vec<MovedCursor>) -> HashMap<ConversationId, Vec<(UserId, Cursor)>> {
    let mut all: HashMap<_, Vec<_>> = HashMap::new();
    for moved in moved {
        let of_one = all.entry(moved.conversation).or_default();
        of_one.push((moved.user, moved.cursor));
    }
    all
}

/// What is stored then. Cursors that the store refuses count as that: they would hold up all others
/// for ever. They stay in the log, and are tried again when they move.
async fn write_cursors<I: Ingest, A: Archive>(
    writer: &Writer<I, A>,
    group: OfConversation,
) -> Result<OfConversation, Unavailable> {
    let (conversation, cursors) = &group;
    match writer.write_cursors(conversation, cursors).await {
        Ok(()) => Ok(group),
        Err(WriteError::Unavailable(error)) => Err(error),
        Err(WriteError::Refused { reason }) => {
            tracing::warn!(%conversation, %reason, "the store refuses cursors");
            Ok(group)
        }
    }
}

fn moved_cursors((conversation, cursors): OfConversation) -> Vec<MovedCursor> {
    let moved = |(user, cursor)| MovedCursor {
        conversation: conversation.clone(),
        user,
        cursor,
    };
    cursors.into_iter().map(moved).collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
