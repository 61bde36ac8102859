//! What a shard has not heard yet: the receiving end that adapters hand to shards.
//!
//! An adapter puts pieces into [`Inbox`]es from any thread; the shard takes them from its [`Feed`].
//! An inbox is bounded: what finds it full is dropped, and the conversation is marked doubtful
//! instead. Doubts are told before anything else: whoever reads a conversation again on a doubt
//! reads all that was dropped before, as long as adapters tell only what can be read already. Who
//! is subscribed to what is the adapter's affair.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use parlance_core::ports::Heard;
use parlance_protocol::ConversationId;
use tokio::sync::Notify;

/// Pieces that wait in one inbox. Full: the piece is dropped and its conversation doubtful.
const INBOX: usize = 4096;

/// Names an attached shard in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedId(u32);

impl FeedId {
    /// One that no other shard has.
    #[must_use]
    pub fn next() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The plain number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// What one shard has not taken yet.
#[derive(Debug, Default)]
pub struct Inbox {
    state: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    pieces: VecDeque<(ConversationId, Heard)>,
    doubts: HashSet<ConversationId>,
    ended: bool,
}

/// What became of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It will be heard.
    Kept,
    /// A doubt will be heard in its place.
    Dropped,
}

/// Told when a feed is dropped.
pub type OnDrop = Box<dyn FnOnce() + Send>;

/// The receiving end of a shard.
pub struct Feed {
    inbox: Arc<Inbox>,
    on_drop: Option<OnDrop>,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").finish_non_exhaustive()
    }
}

// === impl Inbox ===

impl Inbox {
    /// Puts a piece in, or the doubt that stands for it. A [`Heard::Doubt`] is never dropped.
    pub fn put(&self, conversation: &ConversationId, heard: Heard) -> Put {
        let mut state = lock(&self.state);
        let put = if heard == Heard::Doubt {
            state.doubt(conversation);
            Put::Kept
        } else if state.pieces.len() < INBOX {
            state.pieces.push_back((conversation.clone(), heard));
            Put::Kept
        } else {
            state.doubt(conversation);
            Put::Dropped
        };
        drop(state);
        self.filled.notify_one();
        put
    }

    /// Nothing comes any more.
    pub fn end(&self) {
        lock(&self.state).ended = true;
        self.filled.notify_one();
    }
}

impl Waiting {
    fn doubt(&mut self, conversation: &ConversationId) {
        if !self.doubts.contains(conversation) {
            self.doubts.insert(conversation.clone());
        }
    }

    fn take(&mut self) -> Option<(ConversationId, Heard)> {
        let doubtful = self.doubts.iter().next().cloned();
        if let Some(conversation) = doubtful {
            self.doubts.remove(&conversation);
            return Some((conversation, Heard::Doubt));
        }
        self.pieces.pop_front()
    }
}

// === impl Feed ===

impl Feed {
    /// The end of `inbox`. `on_drop` runs when the shard lets it go.
    #[must_use]
    pub fn new(inbox: Arc<Inbox>, on_drop: OnDrop) -> Self {
        Self {
            inbox,
            on_drop: Some(on_drop),
        }
    }
}

impl parlance_core::ports::Feed for Feed {
    async fn next(&mut self) -> Option<(ConversationId, Heard)> {
        loop {
            let ended = {
                let mut state = lock(&self.inbox.state);
                if let Some(piece) = state.take() {
                    return Some(piece);
                }
                state.ended
            };
            if ended {
                return None;
            }
            self.inbox.filled.notified().await;
        }
    }

    fn try_next(&mut self) -> Option<(ConversationId, Heard)> {
        lock(&self.inbox.state).take()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let Some(on_drop) = self.on_drop.take() {
            on_drop();
        }
    }
}

/// No code that holds the lock can panic half way through a change.
fn lock(mutex: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
