//! Who has a connection in which conversation: for each user the shards that have one.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Mutex,
};

use parlance_protocol::{ConversationId, UserId};

use parlance_feed::FeedId;

use crate::bus::lock;

#[derive(Default)]
pub(crate) struct Presence {
    rooms: Mutex<HashMap<ConversationId, HashMap<UserId, BTreeSet<FeedId>>>>,
}

impl Presence {
    /// Whether this made the user present. `tell` is called then, in the order of changes.
    pub(crate) fn join(
        &self,
        conversation: &ConversationId,
        user: &UserId,
        feed: FeedId,
        tell: impl FnOnce(),
    ) {
        let mut rooms = lock(&self.rooms);
        let users = rooms.entry(conversation.clone()).or_default();
        let feeds = users.entry(user.clone()).or_default();
        let was_away = feeds.is_empty();
        feeds.insert(feed);
        if was_away {
            tell();
        }
    }

    /// The other way round.
    pub(crate) fn leave(
        &self,
        conversation: &ConversationId,
        user: &UserId,
        feed: FeedId,
        tell: impl FnOnce(),
    ) {
        let mut rooms = lock(&self.rooms);
        let Some(users) = rooms.get_mut(conversation) else {
            return;
        };
        let Some(feeds) = users.get_mut(user) else {
            return;
        };
        feeds.remove(&feed);
        if feeds.is_empty() {
            users.remove(user);
            if users.is_empty() {
                rooms.remove(conversation);
            }
            tell();
        }
    }

    pub(crate) fn present(&self, conversation: &ConversationId) -> Vec<UserId> {
        lock(&self.rooms)
            .get(conversation)
            .map(|users| users.keys().cloned().collect())
            .unwrap_or_default()
    }
}
