//! What is laid aside, in words that a person or a tool can read.
//!
//! A refused event stands nowhere else once the log is trimmed, so its text here is all of it. The
//! text goes into the log's dead letters only: what is written to the program's own log says where
//! something is, never what it says.

use parlance_core::{
    entry::Event,
    ingest::DeadLetter,
    store::{EpochRow, NameDigest, Named, Partition, StoredEvent},
};
use parlance_protocol::UserId;
use parlance_telemetry::{PersisterMetrics, labels::DeadLetterKind};
use serde_json::json;

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

/// A whole event, as JSON.
pub(crate) fn event_text(event: &StoredEvent) -> Box<str> {
    let entry = &event.entry;
    let (kind, message_id, content) = match &entry.event {
        Event::Message { content } => ("message", None, Some(content)),
        Event::Edit {
            message_id,
            content,
        } => ("edit", Some(message_id), Some(content)),
        Event::Delete { message_id } => ("delete", Some(message_id), None),
    };
    let text = json!({
        "kind": kind,
        "position": entry.position.to_string(),
        "prev": entry.prev.to_string(),
        "t_us": entry.t.0,
        "ordinal": entry.ordinal,
        "count": event.count,
        "sender": entry.sender.as_str(),
        "local_id": entry.local_id.as_ref().map(|local_id| local_id.as_str()),
        "message_id": message_id.map(ToString::to_string),
        "content": content,
    });
    text.to_string().into()
}

/// A name, as JSON; digests in hexadecimal.
pub(crate) fn name_text(sender: &UserId, name: &NameDigest, named: &Named) -> Box<str> {
    let text = json!({
        "kind": "name",
        "sender": sender.as_str(),
        "name": hex(&name.0),
        "position": named.position.to_string(),
        "content_digest": hex(&named.content.0),
    });
    text.to_string().into()
}

/// A row, as JSON.
pub(crate) fn row_text(row: &EpochRow) -> Box<str> {
    let text = json!({
        "kind": "head",
        "epoch": row.epoch,
        "broke_at": row.broke_at.map(|broke_at| broke_at.to_string()),
        "head": row.head.to_string(),
        "t_us": row.t.0,
        "ordinal": row.ordinal,
        "count": row.count,
    });
    text.to_string().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
