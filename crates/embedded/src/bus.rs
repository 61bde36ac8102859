//! What the shards of this process hear of each other.
//!
//! Each attached shard has one inbox. The committer puts entries in, handles put ephemerals in.
//! Entries are readable before they are told, which is what inboxes that drop rely on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use parlance_core::{
    entry::Entry,
    ports::{Ephemeral, Heard},
};
use parlance_feed::{Feed, FeedId, Inbox};
use parlance_protocol::ConversationId;

/// All inboxes and who wants what.
#[derive(Default)]
pub(crate) struct Bus {
    subscribers: Mutex<HashMap<ConversationId, Vec<Subscriber>>>,
    inboxes: Mutex<Vec<Arc<Inbox>>>,
}

#[derive(Clone)]
struct Subscriber {
    feed: FeedId,
    inbox: Arc<Inbox>,
}

impl Bus {
    pub(crate) fn attach(self: &Arc<Self>) -> (FeedEnd, Feed) {
        let end = FeedEnd {
            id: FeedId::next(),
            inbox: Arc::default(),
        };
        lock(&self.inboxes).push(Arc::clone(&end.inbox));
        let (bus, dropped) = (Arc::clone(self), end.clone());
        let feed = Feed::new(
            Arc::clone(&end.inbox),
            Box::new(move || bus.detach(dropped.id, &dropped.inbox)),
        );
        (end, feed)
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
            inbox.end();
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

/// No code that holds one of these locks can panic half way through a change.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
