//! A conversation as a plain list: obviously right, and slow.

use parlance_core::{
    entry::{Entry, Row},
    ports::{Page, Replay, Replayed},
};
use parlance_protocol::{Anchor, MessageId, Position, UserId};

#[derive(Default)]
pub(super) struct Model {
    pub(super) entries: Vec<Entry>,
}

impl Model {
    /// All messages as they are shown at present, oldest first.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.entries.iter().filter_map(Row::of).collect();
        for row in &mut rows {
            for entry in &self.entries {
                row.apply(entry);
            }
        }
        rows
    }

    pub(super) fn page(&self, anchor: Anchor, limit: u8) -> Page {
        let rows = self.rows();
        let limit = usize::from(limit);
        let (from, to) = match anchor {
            Anchor::Newest => (rows.len().saturating_sub(limit), rows.len()),
            Anchor::Before(id) => {
                let to = rows.iter().filter(|row| row.id < id).count();
                (to.saturating_sub(limit), to)
            }
            Anchor::After(id) => {
                let from = rows.iter().filter(|row| row.id <= id).count();
                (from, (from + limit).min(rows.len()))
            }
            Anchor::Around(id) => {
                let up_to = rows.iter().filter(|row| row.id <= id).count();
                // The message itself, or the nearest below it, or the first.
                let itself = up_to.saturating_sub(1);
                let newer = (limit - 1) / 2;
                let older = limit - 1 - newer;
                let to = (itself + 1 + newer).min(rows.len());
                (itself.saturating_sub(older), to)
            }
        };
        let (older, newer) = (from > 0, to < rows.len());
        let (has_more, has_more_after) = match anchor {
            Anchor::Newest | Anchor::Before(_) => (older, false),
            Anchor::After(_) => (newer, false),
            Anchor::Around(_) => (older, newer),
        };
        Page {
            rows: rows[from..to].iter().rev().cloned().collect(),
            has_more,
            has_more_after,
            epoch: 0,
        }
    }

    pub(super) fn replay(&self, after: Position, limit: usize) -> Replay {
        let rows = self.rows();
        let later = self.entries.iter().filter(|entry| entry.position > after);
        let all = later.clone().count();
        let events: Vec<_> = later
            .take(limit)
            .map(|entry| Replayed {
                entry: entry.clone(),
                row: rows
                    .iter()
                    .find(|row| Position::of(row.id) == entry.position)
                    .cloned(),
            })
            .collect();
        let remaining = (all - events.len()) as u64;
        let head = self.entries.last().map(|entry| entry.position);
        Replay {
            events,
            remaining,
            epoch: 0,
            head: head.unwrap_or_default(),
        }
    }

    pub(super) fn authored(
        &self,
        author: &UserId,
        above: MessageId,
        up_to: MessageId,
        limit: usize,
    ) -> Vec<MessageId> {
        let rows = self.rows();
        let own = rows.iter().filter(|row| row.sender == *author);
        let mut ids: Vec<_> = own
            .map(|row| row.id)
            .filter(|id| *id > above && *id <= up_to)
            .collect();
        ids.drain(..ids.len().saturating_sub(limit));
        ids
    }
}
