//! What the shards of this process hear of each other.
//!
//! Each attached shard has one inbox. The committer puts entries in, handles put ephemerals in.
//! An inbox is bounded: what finds it full is dropped, and the conversation is marked doubtful
//! instead. Doubts are told before anything else: whoever reads a conversation again on a doubt
//! reads all that was dropped before, since entries are readable before they are told.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use parlance_core::{
    entry::Entry,
    ports::{Ephemeral, Heard},
};
use parlance_protocol::ConversationId;
use tokio::sync::Notify;

/// Pieces that wait in one inbox. Full: the piece is dropped and its conversation doubtful.
const INBOX: usize = 4096;

/// Names an attached shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FeedId(u32);

/// All inboxes and who wants what.
#[derive(Default)]
pub(crate) struct Bus {
    next_feed: AtomicU32,
    subscribers: Mutex<HashMap<ConversationId, Vec<Subscriber>>>,
    inboxes: Mutex<Vec<Arc<Inbox>>>,
}

#[derive(Clone)]
struct Subscriber {
    feed: FeedId,
    inbox: Arc<Inbox>,
}

/// What one shard has not taken yet.
pub(crate) struct Inbox {
    state: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Default)]
struct Waiting {
    pieces: VecDeque<(ConversationId, Heard)>,
    doubts: HashSet<ConversationId>,
    ended: bool,
}

/// The receiving end of a shard.
pub struct Feed {
    id: FeedId,
    inbox: Arc<Inbox>,
    bus: Arc<Bus>,
}

impl Bus {
    pub(crate) fn attach(self: &Arc<Self>) -> (FeedId, Feed) {
        let id = FeedId(self.next_feed.fetch_add(1, Ordering::Relaxed));
        let inbox = Arc::new(Inbox {
            state: Mutex::default(),
            filled: Notify::new(),
        });
        lock(&self.inboxes).push(Arc::clone(&inbox));
        let feed = Feed {
            id,
            inbox,
            bus: Arc::clone(self),
        };
        (id, feed)
    }

    pub(crate) fn subscribe(&self, conversation: &ConversationId, feed: &FeedEnd) {
        let mut subscribers = lock(&self.subscribers);
        let list = subscribers.entry(conversation.clone()).or_default();
        if list.iter().all(|subscriber| subscriber.feed != feed.id) {
            list.push(Subscriber {
                feed: feed.id,
                inbox: Arc::clone(&feed.inbox),
            });
        }
    }

    pub(crate) fn unsubscribe(&self, conversation: &ConversationId, feed: FeedId) {
        let mut subscribers = lock(&self.subscribers);
        if let Some(list) = subscribers.get_mut(conversation) {
            list.retain(|subscriber| subscriber.feed != feed);
            if list.is_empty() {
                subscribers.remove(conversation);
            }
        }
    }

    /// Tells all subscribed feeds.
    pub(crate) fn publish(&self, conversation: &ConversationId, ephemeral: &Ephemeral) {
        let subscribers = lock(&self.subscribers);
        for subscriber in subscribers.get(conversation).into_iter().flatten() {
            let heard = Heard::Ephemeral(ephemeral.clone());
            subscriber.inbox.put(conversation, heard);
        }
    }

    /// Tells all subscribed feeds but the one that appended.
    pub(crate) fn entries<'a>(
        &self,
        appended: impl Iterator<Item = (&'a ConversationId, FeedId, &'a Arc<Entry>)>,
    ) {
        let subscribers = lock(&self.subscribers);
        for (conversation, origin, entry) in appended {
            for subscriber in subscribers.get(conversation).into_iter().flatten() {
                if subscriber.feed != origin {
                    let heard = Heard::Entry(Arc::clone(entry));
                    subscriber.inbox.put(conversation, heard);
                }
            }
        }
    }

    /// Nothing comes any more.
    pub(crate) fn end(&self) {
        for inbox in lock(&self.inboxes).drain(..) {
            lock(&inbox.state).ended = true;
            inbox.filled.notify_one();
        }
    }

    fn detach(&self, feed: FeedId, inbox: &Arc<Inbox>) {
        lock(&self.inboxes).retain(|other| !Arc::ptr_eq(other, inbox));
        lock(&self.subscribers).retain(|_, list| {
            list.retain(|subscriber| subscriber.feed != feed);
            !list.is_empty()
        });
    }
}

/// A handle's way to the inbox of its own shard.
#[derive(Clone)]
pub(crate) struct FeedEnd {
    pub(crate) id: FeedId,
    inbox: Arc<Inbox>,
}

impl Feed {
    pub(crate) fn end(&self) -> FeedEnd {
        FeedEnd {
            id: self.id,
            inbox: Arc::clone(&self.inbox),
        }
    }
}

impl Inbox {
    fn put(&self, conversation: &ConversationId, heard: Heard) {
        let mut state = lock(&self.state);
        if state.pieces.len() < INBOX {
            state.pieces.push_back((conversation.clone(), heard));
        } else if !state.doubts.contains(conversation) {
            state.doubts.insert(conversation.clone());
        }
        drop(state);
        self.filled.notify_one();
    }
}

impl Waiting {
    fn take(&mut self) -> Option<(ConversationId, Heard)> {
        let doubtful = self.doubts.iter().next().cloned();
        if let Some(conversation) = doubtful {
            self.doubts.remove(&conversation);
            return Some((conversation, Heard::Doubt));
        }
        self.pieces.pop_front()
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
        self.bus.detach(self.id, &self.inbox);
    }
}

/// No code that holds one of these locks can panic half way through a change.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
