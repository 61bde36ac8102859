//! Entries and rows as frames: the one place where the core's values become the wire's.

use bytes::Bytes;
use parlance_protocol::{ChatMessage, HistoryRow, Position, ServerFrame, Status, UserId};

use crate::entry::{Entry, Event, Row};

/// The frame of an entry. A message is shown as `row` has it, or as it was sent.
pub(crate) fn of_entry(entry: &Entry, row: Option<&Row>, status: Status) -> Bytes {
    let local_id = entry.local_id.as_ref().map(|id| id.as_str().into());
    match &entry.event {
        Event::Message { content } => {
            let content = row.map_or(&**content, |row| &*row.content);
            of_message(entry, content, status)
        }
        Event::Edit {
            message_id,
            content,
        } => ServerFrame::MessageEdited {
            message_id: *message_id,
            content: content.as_ref().into(),
            edited_by: entry.sender.as_str().into(),
            timestamp: entry.t,
            position: entry.position,
            local_id,
        }
        .encode(),
        Event::Delete { message_id } => ServerFrame::MessageDeleted {
            message_id: *message_id,
            deleted_by: entry.sender.as_str().into(),
            timestamp: entry.t,
            position: entry.position,
            local_id,
        }
        .encode(),
    }
}

fn of_message(entry: &Entry, content: &str, status: Status) -> Bytes {
    ServerFrame::ChatMessage {
        message: ChatMessage {
            id: entry.position.id,
            local_id: entry.local_id.as_ref().map(|id| id.as_str().into()),
            sender_id: entry.sender.as_str().into(),
            content: content.into(),
            timestamp: entry.t,
            status,
        },
        position: entry.position,
    }
    .encode()
}

/// The `chat_message` of a row: first id and timestamp, present content.
pub(crate) fn of_row(row: &Row, status: Status) -> Bytes {
    ServerFrame::ChatMessage {
        message: ChatMessage {
            id: row.id,
            local_id: row.local_id.as_ref().map(|id| id.as_str().into()),
            sender_id: row.sender.as_str().into(),
            content: row.content.as_ref().into(),
            timestamp: row.t,
            status,
        },
        position: Position::of(row.id),
    }
    .encode()
}

/// A row of a history page, as `reader` sees it.
pub(crate) fn history_row<'a>(row: &'a Row, reader: &UserId, status: Status) -> HistoryRow<'a> {
    let own = row.sender == *reader;
    HistoryRow {
        id: row.id,
        sender_id: row.sender.as_str().into(),
        content: row.content.as_ref().into(),
        sent_at: row.t,
        is_edited: row.edited_by.is_some(),
        is_deleted: row.deleted_by.is_some(),
        status,
        position: row.changed,
        edited_by: row.edited_by.as_ref().map(|user| user.as_str().into()),
        local_id: row
            .local_id
            .as_ref()
            .filter(|_| own)
            .map(|id| id.as_str().into()),
    }
}

/// The same `chat_message` with other content.
pub(crate) fn with_content(text: &Bytes, content: &str) -> Bytes {
    let Some(ServerFrame::ChatMessage { message, position }) = ServerFrame::decode(text) else {
        return text.clone();
    };
    let message = ChatMessage {
        content: content.into(),
        ..message
    };
    ServerFrame::ChatMessage { message, position }.encode()
}
