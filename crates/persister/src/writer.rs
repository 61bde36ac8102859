//! Writes what a batch has of one conversation to the store, whatever the store says.
//!
//! Called by the work on a partition, for many conversations side by side; one batch of a
//! conversation is under way at a time. It returns when everything is durable, or laid aside as a
//! dead letter: what does not answer is asked again, and what is refused never holds up the rest.
//! It may be dropped at any time and done again by anybody.

use std::{ops::Range, rc::Rc, sync::Arc};

use futures_util::future::{join, join_all};
use parlance_core::{
    ingest::{DeadLetter, Durable, Ingest, IngestId},
    ports::{Cursor, Unavailable},
    store::{Archive, NameDigest, Named, StoredEvent, WriteError},
};
use parlance_protocol::{ConversationId, UserId};
use parlance_telemetry::{
    Counter, PersisterMetrics,
    labels::{DeadLetterKind, PersisterStep},
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::sleep,
};

use crate::{
    batch::{Chapter, Share},
    letters::Letter,
    outage::Peer,
    pace::Backoff,
    splitting::{Refusal, Splitting},
};

/// Writes that are under way at the same time, over all partitions. More wait for their turn. Enough
/// to keep a store busy that answers in some milliseconds, and few enough to be no burst. What waits
/// to be tried again takes no turn: a part of a store that does not answer should not stop the rest.
const IN_FLIGHT: usize = 128;

/// The way to the store, one per process.
#[derive(Debug)]
pub(crate) struct Writer<I, A> {
    ingest: I,
    archive: Arc<A>,
    store: Peer,
    turns: Semaphore,
    metrics: Rc<PersisterMetrics>,
}

/// What became of a share.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) durable: Option<Durable>,
    pub(crate) oldest: IngestId,
    pub(crate) letters: Vec<Letter>,
}

/// Something that the store does not take: which one, and its words.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) index: usize,
    pub(crate) reason: String,
}

impl<I: Ingest, A: Archive> Writer<I, A> {
    /// `ingest` says how dead letters read.
    pub(crate) fn new(
        ingest: I,
        archive: Arc<A>,
        metrics: Rc<PersisterMetrics>,
        chance: fn() -> f64,
    ) -> Self {
        Self {
            ingest,
            archive,
            store: Peer::new("store", chance),
            turns: Semaphore::new(IN_FLIGHT),
            metrics,
        }
    }

    /// Writes a share, chapter by chapter.
    pub(crate) async fn write(&self, share: Share) -> Written {
        let mut letters = Vec::new();
        for chapter in &share.chapters {
            self.write_chapter(&share.conversation, chapter, &mut letters)
                .await;
        }
        Written {
            durable: share.durable(),
            oldest: share.oldest,
            letters,
        }
    }

    /// The row comes last: whoever sees it may rely on everything up to its head.
    async fn write_chapter(
        &self,
        conversation: &ConversationId,
        chapter: &Chapter,
        letters: &mut Vec<Letter>,
    ) {
        let names = chapter
            .names
            .iter()
            .map(|(sender, names)| self.write_names(conversation, sender, names, chapter));
        let events = self.write_events(conversation, chapter);
        let (of_names, of_events) = join(join_all(names), events).await;
        letters.extend(of_events);
        letters.extend(of_names.into_iter().flatten());
        letters.extend(self.write_row(conversation, chapter).await);
    }

    async fn write_events(&self, conversation: &ConversationId, chapter: &Chapter) -> Vec<Letter> {
        let events = &chapter.events;
        let put =
            async |part: Range<usize>| self.archive.put_events(conversation, &events[part]).await;
        let refused = self.put_all(events.len(), put).await;
        let mut letters = Vec::new();
        for Refused { index, reason } in refused {
            let event = &events[index];
            let reason = match self.keep_place(conversation, event).await {
                None => reason,
                Some(also) => format!("{reason}; nor a placeholder: {also}"),
            };
            letters.push(Letter {
                kind: DeadLetterKind::Event,
                letter: DeadLetter {
                    id: chapter.ids[index],
                    conversation: conversation.as_str().into(),
                    text: self.ingest.event_text(event),
                    reason: reason.into(),
                },
            });
        }
        letters
    }

    /// Why the store refuses even a placeholder, if it does.
    async fn keep_place(
        &self,
        conversation: &ConversationId,
        event: &StoredEvent,
    ) -> Option<String> {
        let put = async |_: Range<usize>| self.archive.put_placeholder(conversation, event).await;
        let refused = self.put_all(1, put).await;
        refused.into_iter().next().map(|refused| refused.reason)
    }

    async fn write_names(
        &self,
        conversation: &ConversationId,
        sender: &UserId,
        names: &[(NameDigest, Named)],
        chapter: &Chapter,
    ) -> Vec<Letter> {
        let put = async |part: Range<usize>| {
            self.archive
                .put_names(conversation, sender, &names[part])
                .await
        };
        let refused = self.put_all(names.len(), put).await;
        let letter = |Refused { index, reason }| {
            let (_, named) = &names[index];
            let (event, id) = chapter.event_at(named.position)?;
            Some(Letter {
                kind: DeadLetterKind::Name,
                letter: DeadLetter {
                    id,
                    conversation: conversation.as_str().into(),
                    text: self.ingest.event_text(event),
                    reason: format!("its name: {reason}").into(),
                },
            })
        };
        refused.into_iter().filter_map(letter).collect()
    }

    async fn write_row(&self, conversation: &ConversationId, chapter: &Chapter) -> Option<Letter> {
        let put = async |_: Range<usize>| self.archive.put_epoch(conversation, chapter.row).await;
        let refused = self.put_all(1, put).await;
        let Refused { reason, .. } = refused.into_iter().next()?;
        Some(Letter {
            kind: DeadLetterKind::Head,
            letter: DeadLetter {
                id: chapter.last,
                conversation: conversation.as_str().into(),
                text: self.ends_text(chapter).into(),
                reason: format!("the row of epoch {}: {reason}", chapter.row.epoch).into(),
            },
        })
    }

    /// What has the same row as the whole chapter: its mark and its last event.
    fn ends_text(&self, chapter: &Chapter) -> String {
        let mark = chapter.mark.as_ref();
        let mark = mark.map(|mark| self.ingest.mark_text(mark));
        let last = chapter.events.last();
        let last = last.map(|event| self.ingest.event_text(event));
        let lines: Vec<_> = mark.into_iter().chain(last).collect();
        lines.join("\n")
    }

    /// Writes cursors of one conversation, once.
    ///
    /// # Errors
    /// [`WriteError`].
    pub(crate) async fn write_cursors(
        &self,
        conversation: &ConversationId,
        cursors: &[(UserId, Cursor)],
    ) -> Result<(), WriteError> {
        let _turn = self.turn().await;
        self.archive.put_cursors(conversation, cursors).await
    }

    /// Writes `count` things in order, in parts as large as the store takes. Those that it does not
    /// take alone are left out and returned.
    async fn put_all(
        &self,
        count: usize,
        put: impl AsyncFn(Range<usize>) -> Result<(), WriteError>,
    ) -> Vec<Refused> {
        let retries = self.metrics.retries.of(PersisterStep::Write);
        let mut all_refused = Vec::new();
        let mut splitting = Splitting::of(count);
        let mut backoff = Backoff::new();
        while let Some(part) = splitting.part() {
            let Err(reason) = self.put(retries, &part, &put).await else {
                splitting.on_taken();
                continue;
            };
            match splitting.on_refused() {
                Refusal::Split => {}
                Refusal::Again => sleep(backoff.after_failure(1.0)).await,
                Refusal::GivenUp(index) => {
                    backoff = Backoff::new();
                    all_refused.push(Refused { index, reason });
                }
            }
        }
        all_refused
    }

    /// Writes one part, or says in which words the store refuses it.
    async fn put(
        &self,
        retries: &Counter,
        part: &Range<usize>,
        put: &impl AsyncFn(Range<usize>) -> Result<(), WriteError>,
    ) -> Result<(), String> {
        let answered = async || {
            let _turn = self.turn().await;
            answered(put(part.clone()).await)
        };
        self.store.insist(retries, answered).await
    }

    async fn turn(&self) -> SemaphorePermit<'_> {
        let turn = self.turns.acquire().await;
        turn.expect("the semaphore is never closed")
    }
}

/// Apart: no answer, and a refusal.
fn answered(result: Result<(), WriteError>) -> Result<Result<(), String>, Unavailable> {
    match result {
        Ok(()) => Ok(Ok(())),
        Err(WriteError::Unavailable(error)) => Err(error),
        Err(WriteError::Refused { reason }) => Ok(Err(reason)),
    }
}
