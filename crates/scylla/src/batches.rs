//! How rows are put together: batches of one partition, neither too many nor too large.
//!
//! A batch of one partition is one mutation of one replica set, whatever its rows: that is what makes
//! it cheap. It is kept small because it is written, timed out and sent again as a whole.

use crate::rows::PutEvent;

/// Rows of a batch.
pub(crate) const ROWS: usize = 64;
/// Content of a batch, if it has more than one row.
const CONTENT_BYTES: usize = 10_000;

/// Cuts the rows of each partition into batches, in the order in which they came.
pub(crate) fn of_events<'a>(rows: impl Iterator<Item = PutEvent<'a>>) -> Vec<Vec<PutEvent<'a>>> {
    let mut done = Vec::new();
    let mut open: Vec<Open<'a>> = Vec::new();
    for row in rows {
        let partition = row.partition();
        let place = open.iter().position(|batch| batch.partition == partition);
        let place = place.unwrap_or_else(|| {
            open.push(Open::new(partition));
            open.len() - 1
        });
        done.extend(open[place].add(row));
    }
    done.extend(open.into_iter().map(|batch| batch.rows));
    done
}

struct Open<'a> {
    partition: (bool, u64),
    rows: Vec<PutEvent<'a>>,
    content_bytes: usize,
}

impl<'a> Open<'a> {
    const fn new(partition: (bool, u64)) -> Self {
        Self {
            partition,
            rows: Vec::new(),
            content_bytes: 0,
        }
    }

    /// The batch before, if the row has no room in it.
    fn add(&mut self, row: PutEvent<'a>) -> Option<Vec<PutEvent<'a>>> {
        let bytes = crate::rows::Row::content_bytes(&row);
        let is_full = self.rows.len() == ROWS
            || (!self.rows.is_empty() && self.content_bytes + bytes > CONTENT_BYTES);
        let full = is_full.then(|| {
            self.content_bytes = 0;
            std::mem::take(&mut self.rows)
        });
        self.content_bytes += bytes;
        self.rows.push(row);
        full
    }
}

#[cfg(test)]
mod tests {
    use parlance_core::{
        entry::{Entry, Event},
        store::StoredEvent,
    };
    use parlance_protocol::{MessageId, Position, UnixMicros, UserId};

    use super::*;

    fn event(id: u64, k: u32, event: Event) -> StoredEvent {
        let id = MessageId::new(id).unwrap();
        StoredEvent {
            entry: Entry {
                position: Position { id, k },
                prev: Position::ZERO,
                t: UnixMicros(1),
                ordinal: 1,
                sender: UserId::new("ann").unwrap(),
                local_id: None,
                event,
                trace: None,
            },
            count: 1,
            revisions: Vec::new(),
        }
    }

    fn message(id: u64, bytes: usize) -> StoredEvent {
        let content = "x".repeat(bytes).into();
        event(id, 0, Event::Message { content })
    }

    fn sizes(events: &[StoredEvent]) -> Vec<usize> {
        let rows = events.iter();
        let rows = rows.flat_map(|event| PutEvent::all_of("c", event, false));
        of_events(rows).iter().map(Vec::len).collect()
    }

    #[test]
    fn a_batch_has_at_most_64_rows() {
        let events: Vec<_> = (1..=130).map(|id| message(id, 10)).collect();
        assert_eq!(sizes(&events), [64, 64, 2]);
    }

    #[test]
    fn a_batch_has_at_most_ten_kilobytes_or_one_row() {
        let events = [
            message(1, 9_000),
            message(2, 1_000),
            message(3, 1),
            message(4, 20_000),
            message(5, 1),
        ];
        assert_eq!(sizes(&events), [2, 1, 1, 1]);
    }

    #[test]
    fn a_batch_is_of_one_partition() {
        let message_id = MessageId::new(9_998).unwrap();
        let events = [
            message(9_998, 1),
            message(9_999, 1),
            message(10_000, 1),
            event(10_000, 1, Event::Delete { message_id }),
            message(10_001, 1),
        ];
        let rows = events.iter();
        let rows = rows.flat_map(|event| PutEvent::all_of("c", event, false));
        let batches = of_events(rows);
        for batch in &batches {
            assert!(
                batch
                    .iter()
                    .all(|row| row.partition() == batch[0].partition())
            );
        }
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2, 1]);
    }

    #[test]
    fn nothing_makes_no_batch() {
        assert!(sizes(&[]).is_empty());
    }
}
