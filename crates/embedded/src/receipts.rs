//! The users' cursors. They only move up, so merging takes the higher of each.
//!
//! An advance is heard at once and written with the committer's next batch, at the latest after a
//! second: a power cut may set cursors back by that, and the next advance repairs it.
//! Until it is written a cursor is kept here, and every reading takes that into account.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    sync::Mutex,
};

use parlance_core::ports::{Cursor, Unavailable};
use parlance_protocol::{ConversationId, UserId};

use crate::{
    bus::lock,
    generations::Generations,
    tables::{Batch, Tables},
};

/// Cursors that wait to be written. Full (the disk stands still): advances of further users are
/// dropped; their next one brings the same or more.
const UNWRITTEN: usize = 65_536;

/// Written cursors that are kept in memory, in each of two generations.
const CACHED: usize = 16_384;

pub(crate) struct Receipts {
    state: Mutex<State>,
}

struct State {
    unwritten: HashMap<ConversationId, HashMap<UserId, Cursor>>,
    unwritten_count: usize,
    written: Generations<(ConversationId, UserId), Cursor>,
}

/// What one batch writes.
pub(crate) type Written = Vec<(ConversationId, UserId, Cursor)>;

impl Receipts {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                unwritten: HashMap::new(),
                unwritten_count: 0,
                written: Generations::new(CACHED),
            }),
        }
    }

    /// Merges, and calls `tell` with the result if something moved, in the order of moves.
    pub(crate) fn advance(
        &self,
        tables: &Tables,
        conversation: &ConversationId,
        user: &UserId,
        cursor: Cursor,
        tell: impl FnOnce(Cursor),
    ) -> Result<(), Unavailable> {
        let mut state = lock(&self.state);
        let before = state.cursor(tables, conversation, user)?;
        let after = before.merge(cursor);
        if after != before && state.keep(conversation, user, after) {
            tell(after);
        }
        Ok(())
    }

    pub(crate) fn cursor(
        &self,
        tables: &Tables,
        conversation: &ConversationId,
        user: &UserId,
    ) -> Result<Cursor, Unavailable> {
        lock(&self.state).cursor(tables, conversation, user)
    }

    /// As [`parlance_core::ports::Receipts::cursors`].
    pub(crate) fn cursors(
        &self,
        tables: &Tables,
        conversation: &ConversationId,
        limit: usize,
    ) -> Result<Vec<(UserId, Cursor)>, Unavailable> {
        // Unwritten ones first: what is written in between is in both then, and merging is fine.
        let mut all = lock(&self.state)
            .unwritten
            .get(conversation)
            .cloned()
            .unwrap_or_default();
        for written in tables.view().cursors(conversation) {
            let (user, cursor) = written?;
            let merged = all.entry(user).or_default();
            *merged = merged.merge(cursor);
        }
        Ok(highest(all.into_iter().collect(), limit))
    }

    /// Puts everything unwritten into `batch`. [`Receipts::wrote`] follows when it is committed.
    pub(crate) fn write(&self, batch: &mut Batch<'_>) -> Written {
        let state = lock(&self.state);
        let mut written = Written::with_capacity(state.unwritten_count);
        for (conversation, users) in &state.unwritten {
            for (user, cursor) in users {
                batch.cursor(conversation, user, *cursor);
                written.push((conversation.clone(), user.clone(), *cursor));
            }
        }
        written
    }

    pub(crate) fn wrote(&self, written: Written) {
        if written.is_empty() {
            return;
        }
        let mut state = lock(&self.state);
        for (conversation, user, cursor) in written {
            state.forget(&conversation, &user, cursor);
            state.written.insert((conversation, user), cursor);
        }
    }
}

impl State {
    fn cursor(
        &mut self,
        tables: &Tables,
        conversation: &ConversationId,
        user: &UserId,
    ) -> Result<Cursor, Unavailable> {
        let unwritten = self.unwritten.get(conversation).and_then(|u| u.get(user));
        if let Some(cursor) = unwritten {
            return Ok(*cursor);
        }
        let key = (conversation.clone(), user.clone());
        if let Some(cursor) = self.written.get_mut(&key) {
            return Ok(*cursor);
        }
        let cursor = tables.view().cursor(conversation, user)?;
        self.written.insert(key, cursor);
        Ok(cursor)
    }

    fn keep(&mut self, conversation: &ConversationId, user: &UserId, cursor: Cursor) -> bool {
        let users = self.unwritten.get_mut(conversation);
        if let Some(kept) = users.and_then(|users| users.get_mut(user)) {
            *kept = cursor;
            return true;
        }
        if self.unwritten_count >= UNWRITTEN {
            return false;
        }
        self.unwritten_count += 1;
        let users = self.unwritten.entry(conversation.clone()).or_default();
        users.insert(user.clone(), cursor);
        true
    }

    /// Unless it moved on meanwhile.
    fn forget(&mut self, conversation: &ConversationId, user: &UserId, written: Cursor) {
        let Some(users) = self.unwritten.get_mut(conversation) else {
            return;
        };
        if users.get(user) == Some(&written) {
            users.remove(user);
            self.unwritten_count -= 1;
        }
        if users.is_empty() {
            self.unwritten.remove(conversation);
        }
    }
}

/// The highest `limit` by read cursor, among them the two highest of each kind whatever the limit.
fn highest(mut all: Vec<(UserId, Cursor)>, limit: usize) -> Vec<(UserId, Cursor)> {
    all.sort_unstable_by(|(a, x), (b, y)| y.read.cmp(&x.read).then_with(|| a.cmp(b)));
    let mut by_delivered: Vec<usize> = (0..all.len()).collect();
    by_delivered.sort_by_key(|index| Reverse(all[*index].1.delivered));

    let mut kept: BTreeSet<usize> = by_delivered.into_iter().take(2).collect();
    kept.extend((0..all.len()).take(2));
    let others = (0..all.len()).filter(|index| !kept.contains(index));
    let others: Vec<_> = others.take(limit.saturating_sub(kept.len())).collect();
    kept.extend(others);
    kept.into_iter().map(|index| all[index].clone()).collect()
}

#[cfg(test)]
mod tests {
    use parlance_protocol::MessageId;

    use super::*;

    fn user(name: &str, delivered: u64, read: u64) -> (UserId, Cursor) {
        let id = |n| MessageId::new(n).unwrap();
        let cursor = Cursor {
            delivered: id(delivered),
            read: id(read),
        };
        (UserId::new(name).unwrap(), cursor)
    }

    #[test]
    fn the_highest_come_first_and_the_two_highest_delivered_are_among_them() {
        let all = vec![
            user("a", 5, 5),
            user("b", 9, 1),
            user("c", 4, 4),
            user("d", 8, 0),
            user("e", 3, 3),
        ];

        let kept = highest(all, 4);

        let names: Vec<_> = kept.iter().map(|(user, _)| user.as_str()).collect();
        assert_eq!(names, ["a", "c", "b", "d"]);
    }
}
