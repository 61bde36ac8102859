//! What has to hold for rows of any content, called by the target in `fuzz/` and, with its committed
//! corpus, by the test below. Not part of a build.
//!
//! A line is a row, its columns by tab, an empty one null; the first says of which table.

use parlance_core::entry::Event;

use super::{Assembly, LogRow, LogRows, MessageRow};

/// Rows become events, or an error; a message is followed by its own revisions only.
pub fn store_rows(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let (mut messages, mut log) = (Assembly::default(), LogRows::default());
    for line in text.split('\n') {
        let columns: Vec<&str> = line.split('\t').collect();
        let added = match columns.split_first() {
            Some((&"messages", columns)) => messages.add(&message_row(columns)),
            Some((&"events", columns)) => log.add(&log_row(columns)),
            Some(_) | None => continue,
        };
        if let Err(error) = added {
            assert!(!error.to_string().is_empty());
        }
    }
    for message in messages.messages {
        let id = message.entry.position.id;
        assert!(matches!(message.entry.event, Event::Message { .. }));
        for revision in message.revisions {
            match revision.event {
                Event::Edit { message_id, .. } | Event::Delete { message_id } => {
                    assert_eq!(message_id, id);
                }
                Event::Message { .. } => panic!("a message revises message {id}"),
            }
        }
    }
}

fn message_row<'f>(columns: &[&'f str]) -> MessageRow<'f> {
    MessageRow {
        id: number(columns, 0).unwrap_or_default(),
        rev_id: number(columns, 1).unwrap_or_default(),
        rev_k: number(columns, 2).unwrap_or_default(),
        kind: kind(columns),
        sender: text(columns, 4),
        local_id: text(columns, 5),
        content: text(columns, 6),
        t: number(columns, 7),
        ordinal: number(columns, 8),
        count: number(columns, 9),
        prev_id: number(columns, 10),
        prev_k: number(columns, 11),
    }
}

fn log_row<'f>(columns: &[&'f str]) -> LogRow<'f> {
    LogRow {
        id: number(columns, 0).unwrap_or_default(),
        k: number(columns, 1).unwrap_or_default(),
        target_id: number(columns, 2),
        kind: kind(columns),
        sender: text(columns, 4),
        local_id: text(columns, 5),
        content: text(columns, 6),
        t: number(columns, 7),
        ordinal: number(columns, 8),
        count: number(columns, 9),
        prev_id: number(columns, 10),
        prev_k: number(columns, 11),
    }
}

fn text<'f>(columns: &[&'f str], nth: usize) -> Option<&'f str> {
    let column = columns.get(nth).copied();
    column.filter(|column| !column.is_empty())
}

fn number(columns: &[&str], nth: usize) -> Option<i64> {
    text(columns, nth)?.parse().ok()
}

fn kind(columns: &[&str]) -> Option<i8> {
    text(columns, 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use parlance_testkit::corpus::replay;

    #[test]
    fn what_fuzzing_began_with_holds() {
        replay("store_rows", super::store_rows);
    }
}
