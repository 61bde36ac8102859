//! Presence and cursors: `presence.lua`, `advance.lua`, `highest.lua`.

use std::sync::Arc;

use parlance_core::ports::{Cursor, Ephemeral, Heard};
use parlance_protocol::{ConversationId, MessageId, UnixMicros, UserId};

use super::Redis;

/// Whether a user comes or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A holder's first connection came.
    In,
    /// A holder's last connection went.
    Out,
}

impl Redis {
    /// A user comes to a holder, or goes. Only the first arrival and the last departure are told.
    pub(crate) fn walk(
        &mut self,
        conversation: &ConversationId,
        user: &UserId,
        holder: u64,
        (way, at): (Way, UnixMicros),
    ) {
        let it = self.of(conversation);
        let holders = it.present.entry(user.clone()).or_default();
        let was_there = !holders.is_empty();
        holders.retain(|one| *one != holder);
        if way == Way::In {
            holders.push(holder);
        }
        let is_there = !holders.is_empty();
        if !is_there {
            it.present.remove(user);
        }
        let user = user.clone();
        let news = match (was_there, is_there) {
            (false, true) => Ephemeral::Online { user, at },
            (true, false) => Ephemeral::Offline { user, at },
            (true, true) | (false, false) => return,
        };
        self.tell(conversation, Heard::Ephemeral(news));
    }

    pub(crate) fn present(&self, conversation: &ConversationId) -> Vec<UserId> {
        let of = self.conversations.get(conversation);
        of.map_or_else(Vec::new, |of| of.present.keys().cloned().collect())
    }

    /// Moves a user's cursors up, and tells it if they moved.
    pub(crate) fn advance(
        &mut self,
        conversation: &ConversationId,
        user: &UserId,
        cursor: Cursor,
        (at, listed): (UnixMicros, Arc<[MessageId]>),
    ) {
        let known = self
            .of(conversation)
            .cursors
            .entry(user.clone())
            .or_default();
        let cursor = known.merge(cursor);
        if cursor == *known {
            return;
        }
        *known = cursor;
        let user = user.clone();
        let news = Ephemeral::Cursor {
            user,
            cursor,
            at,
            listed,
        };
        self.tell(conversation, Heard::Ephemeral(news));
    }

    pub(crate) fn cursor(&self, conversation: &ConversationId, user: &UserId) -> Cursor {
        let of = self.conversations.get(conversation);
        of.and_then(|of| of.cursors.get(user))
            .copied()
            .unwrap_or_default()
    }

    /// Those with the highest read cursors first.
    pub(crate) fn cursors(&self, conversation: &ConversationId) -> Vec<(UserId, Cursor)> {
        let of = self.conversations.get(conversation);
        let cursors = of.into_iter().flat_map(|of| &of.cursors);
        let mut all: Vec<_> = cursors
            .map(|(user, cursor)| (user.clone(), *cursor))
            .collect();
        all.sort_by_key(|(_, cursor)| std::cmp::Reverse(cursor.read));
        all
    }

    /// Says something that passes.
    pub(crate) fn publish(&mut self, conversation: &ConversationId, ephemeral: Ephemeral) {
        self.tell(conversation, Heard::Ephemeral(ephemeral));
    }
}
