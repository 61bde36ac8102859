//! What Redis did not take at once and has to get yet: cursors, and the news that something
//! ephemeral was dropped.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicUsize},
};

use parlance_core::ports::Cursor;
use parlance_protocol::{ConversationId, MessageId, UnixMicros, UserId};
use parlance_telemetry::RedisMetrics;

/// Cursors that are kept for Redis. Beyond it a cursor is dropped: the next move of that user
/// repairs it.
const CURSORS: usize = 16_384;

/// A move of a user's cursors.
#[derive(Debug, Clone)]
pub(crate) struct Advance {
    pub(crate) conversation: ConversationId,
    pub(crate) user: UserId,
    pub(crate) cursor: Cursor,
    pub(crate) at: UnixMicros,
    pub(crate) listed: Arc<[MessageId]>,
}

/// Moves of cursors on their way from the shards to the I/O thread.
#[derive(Debug, Default)]
pub(crate) struct Moves(Mutex<Vec<Advance>>);

/// What became of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// It waits, and nobody was told to take it yet.
    First,
    /// It goes with others that wait.
    Behind,
    /// Too many wait. The next move of that user repairs it.
    Dropped,
}

impl Moves {
    pub(crate) fn put(&self, advance: Advance) -> Put {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= CURSORS {
            return Put::Dropped;
        }
        waiting.push(advance);
        if waiting.len() == 1 {
            Put::First
        } else {
            Put::Behind
        }
    }

    pub(crate) fn take(&self) -> Vec<Advance> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Cursors that Redis did not take.
#[derive(Default)]
pub(crate) struct OwedCursors {
    owed: RefCell<HashMap<(ConversationId, UserId), Advance>>,
}

impl OwedCursors {
    pub(crate) fn keep(&self, advance: Advance) {
        let mut owed = self.owed.borrow_mut();
        let is_full = owed.len() >= CURSORS;
        let key = (advance.conversation.clone(), advance.user.clone());
        match owed.get_mut(&key) {
            Some(kept) => {
                let cursor = kept.cursor.merge(advance.cursor);
                let listed = kept
                    .listed
                    .iter()
                    .chain(&*advance.listed)
                    .copied()
                    .collect();
                *kept = Advance {
                    cursor,
                    listed,
                    ..advance
                };
            }
            None if !is_full => {
                owed.insert(key, advance);
            }
            None => {}
        }
    }

    pub(crate) fn take(&self) -> Vec<Advance> {
        self.owed.take().into_values().collect()
    }
}

/// Conversations in which something ephemeral was dropped on the way to Redis: whoever listens has
/// to hear at least that. Shared with the shards.
#[derive(Debug)]
pub(crate) struct Dropped {
    /// Ephemerals on their way to the I/O thread.
    pub(crate) waiting: AtomicUsize,
    metrics: RedisMetrics,
    conversations: Mutex<HashSet<ConversationId>>,
}

impl Dropped {
    pub(crate) fn new() -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            metrics: RedisMetrics::register(),
            conversations: Mutex::default(),
        }
    }

    pub(crate) fn note(&self, conversation: &ConversationId) {
        self.metrics.ephemeral_dropped.increment(1);
        let mut dropped = self.lock();
        if !dropped.contains(conversation) {
            dropped.insert(conversation.clone());
        }
    }

    pub(crate) fn take(&self) -> HashSet<ConversationId> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<ConversationId>> {
        self.conversations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
