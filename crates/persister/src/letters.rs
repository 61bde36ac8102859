//! What is laid aside, and how that is told.
//!
//! Made by the writer and by the work on a partition, told once the log has taken it. A refused event
//! stands nowhere else once the log is trimmed, so its text is all of it, in the form in which it can
//! be given back. That goes into the log's dead letters only: what is written to the program's own log
//! says where something is, never what it says.

use parlance_core::{ingest::DeadLetter, store::Partition};
use parlance_telemetry::{PersisterMetrics, labels::DeadLetterKind};

/// A dead letter, and what it was.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) kind: DeadLetterKind,
    pub(crate) letter: DeadLetter,
}

/// Says that something was laid aside, and counts it.
pub(crate) fn tell(metrics: &PersisterMetrics, partition: Partition, letter: &Letter) {
    let DeadLetter { id, reason, .. } = &letter.letter;
    metrics.dead_letters.of(letter.kind).increment(1);
    let ingest_id = format!("{}-{}", id.ms, id.seq);
    match letter.kind {
        // Conversation and reason may quote what cannot be read.
        DeadLetterKind::Garbled => tracing::warn!(
            partition = partition.0,
            ingest_id,
            "an entry of the log cannot be read: it is among the dead letters"
        ),
        kind @ (DeadLetterKind::Event | DeadLetterKind::Name | DeadLetterKind::Head) => {
            tracing::warn!(
                partition = partition.0,
                ingest_id,
                conversation = %letter.letter.conversation,
                ?kind,
                %reason,
                "the store refuses something: it is among the dead letters"
            );
        }
    }
}
