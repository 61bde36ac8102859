//! Which shard wants to hear of which conversation, and what was heard of each.
//!
//! Shared between the connections that hear and the thread that subscribes. Routing a push is one
//! look-up here.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use metrics::Counter;
use parlance_core::{ports::Heard, store::Partition};
use parlance_feed::{FeedId, Inbox, Put};
use parlance_protocol::{ConversationId, Position};
use parlance_telemetry::{RedisMetrics, labels::RedisDoubt};
use tokio::sync::oneshot;

use crate::{epochs::Epochs, partition::partition_of, wire};

/// All subscriptions of the process.
pub(crate) struct Table {
    rows: Mutex<HashMap<ConversationId, Row>>,
    pub(crate) epochs: Epochs,
    overflowed: Counter,
}

struct Row {
    partition: Partition,
    inboxes: Vec<(FeedId, Arc<Inbox>)>,
    standing: Standing,
    /// Told once it stands.
    waiting: Vec<oneshot::Sender<()>>,
    /// The last position that was heard of.
    head: Position,
}

/// How far a subscription is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Asked for, and not confirmed.
    Asked,
    /// Confirmed: whatever is published comes.
    Stands,
    /// It stood, and may have missed something since.
    Lost,
}

/// What a new wish needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// A subscription that is to be made.
    New,
    /// It is under way, or stands.
    Known,
}

impl Table {
    pub(crate) fn new() -> Self {
        let doubts = RedisMetrics::register().doubts;
        Self {
            rows: Mutex::default(),
            epochs: Epochs::default(),
            overflowed: doubts.of(RedisDoubt::Overflow).clone(),
        }
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<ConversationId, Row>> {
        // No code that holds the lock can panic half way through a change.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A shard wants to hear of a conversation. `stands` is told as soon as it will.
    pub(crate) fn wish(
        &self,
        conversation: &ConversationId,
        feed: FeedId,
        inbox: &Arc<Inbox>,
        stands: oneshot::Sender<()>,
    ) -> Wish {
        let mut rows = self.rows();
        let is_new = !rows.contains_key(conversation);
        let row = rows.entry(conversation.clone()).or_insert_with(|| Row {
            partition: partition_of(conversation),
            inboxes: Vec::new(),
            standing: Standing::Asked,
            waiting: Vec::new(),
            head: Position::ZERO,
        });
        if row.inboxes.iter().all(|(other, _)| *other != feed) {
            row.inboxes.push((feed, Arc::clone(inbox)));
        }
        match row.standing {
            Standing::Stands => {
                // Who does not wait any more needs no answer.
                let _ = stands.send(());
            }
            Standing::Asked | Standing::Lost => row.waiting.push(stands),
        }
        if is_new { Wish::New } else { Wish::Known }
    }

    /// A shard wants to hear no more. Returns whether nobody does.
    pub(crate) fn drop_wish(&self, conversation: &ConversationId, feed: FeedId) -> bool {
        let mut rows = self.rows();
        let Some(row) = rows.get_mut(conversation) else {
            return false;
        };
        row.inboxes.retain(|(other, _)| *other != feed);
        let is_empty = row.inboxes.is_empty();
        if is_empty {
            rows.remove(conversation);
        }
        is_empty
    }

    /// A shard ended. Returns what nobody wants to hear of any more.
    pub(crate) fn drop_feed(&self, feed: FeedId) -> Vec<ConversationId> {
        let mut unwanted = Vec::new();
        self.rows().retain(|conversation, row| {
            row.inboxes.retain(|(other, _)| *other != feed);
            if row.inboxes.is_empty() {
                unwanted.push(conversation.clone());
            }
            !row.inboxes.is_empty()
        });
        unwanted
    }

    pub(crate) fn wants(&self, conversation: &ConversationId) -> bool {
        self.rows().contains_key(conversation)
    }

    /// Redis confirmed a subscription. One that had been lost is told as a doubt, which comes
    /// after everything that the shard has to be told besides.
    pub(crate) fn confirmed(&self, conversation: &ConversationId) {
        let mut rows = self.rows();
        let Some(row) = rows.get_mut(conversation) else {
            return;
        };
        if row.standing == Standing::Lost {
            doubt(conversation, row);
        }
        row.standing = Standing::Stands;
        for waiting in row.waiting.drain(..) {
            let _ = waiting.send(());
        }
    }

    /// The subscriptions of these partitions may miss something until they are confirmed again.
    pub(crate) fn lost(&self, partitions: &[Partition]) {
        for row in self.rows().values_mut() {
            if row.standing == Standing::Stands && partitions.contains(&row.partition) {
                row.standing = Standing::Lost;
            }
        }
    }

    /// All conversations of these partitions, those in which something happened last first.
    pub(crate) fn of(&self, partitions: &[Partition]) -> Vec<ConversationId> {
        let rows = self.rows();
        let mut found: Vec<_> = rows
            .iter()
            .filter(|(_, row)| partitions.contains(&row.partition))
            .map(|(conversation, row)| (row.head > Position::ZERO, conversation.clone()))
            .collect();
        found.sort_by_key(|(was_heard_of, _)| !was_heard_of);
        found
            .into_iter()
            .map(|(_, conversation)| conversation)
            .collect()
    }

    /// Which partitions have a subscription.
    pub(crate) fn partitions(&self) -> Vec<Partition> {
        let mut used: Vec<_> = self.rows().values().map(|row| row.partition).collect();
        used.sort_unstable();
        used.dedup();
        used
    }

    /// A part of the conversations, another one for each `round`, with what was heard of them.
    pub(crate) fn sample(&self, round: usize, rounds: usize) -> Vec<(ConversationId, Position)> {
        let rows = self.rows();
        let standing = rows
            .iter()
            .filter(|(_, row)| row.standing == Standing::Stands);
        standing
            .enumerate()
            .filter(|(index, _)| index % rounds == round % rounds)
            .map(|(_, (conversation, row))| (conversation.clone(), row.head))
            .collect()
    }

    /// Something may have been missed: the shards that want to hear of these read them again.
    pub(crate) fn doubt(&self, conversations: &[ConversationId]) {
        let rows = self.rows();
        for conversation in conversations {
            if let Some(row) = rows.get(conversation) {
                doubt(conversation, row);
            }
        }
    }

    /// Whether everything up to `head` was heard of, or read as it may be shown.
    pub(crate) fn has_heard(&self, conversation: &ConversationId, head: Position) -> bool {
        let rows = self.rows();
        rows.get(conversation).is_some_and(|row| head <= row.head)
    }

    /// A head that was read is known now.
    pub(crate) fn saw(&self, conversation: &ConversationId, head: Position) {
        if let Some(row) = self.rows().get_mut(conversation) {
            row.head = row.head.max(head);
        }
    }

    /// A push of a conversation's channel. Returns a partition that is in a later epoch by it.
    pub(crate) fn route(&self, conversation: &str, payload: &str) -> Option<Partition> {
        let mut rows = self.rows();
        let (conversation, _) = rows.get_key_value(conversation)?;
        let conversation = conversation.clone();
        let row = rows.get_mut(&conversation)?;
        let (mut news, mut missed) = (None, false);
        let read = wire::push(payload, |heard| {
            if let Heard::Entry(entry) = &heard {
                row.head = row.head.max(entry.position);
                if self.epochs.note(row.partition, entry.position.id.epoch()) {
                    news = Some(row.partition);
                }
            }
            if let Heard::Stored { up_to, .. } = &heard
                && *up_to > row.head
            {
                missed = true;
            }
            for (_, inbox) in &row.inboxes {
                if inbox.put(&conversation, heard.clone()) == Put::Dropped {
                    self.overflowed.increment(1);
                }
            }
        });
        if let Err(error) = read {
            tracing::error!(%error, "a push cannot be read: the conversation is read again");
            doubt(&conversation, row);
        }
        // What is stored was published before.
        if missed {
            doubt(&conversation, row);
        }
        news
    }

    /// Nothing comes any more.
    pub(crate) fn end(&self) {
        for row in self.rows().values() {
            for (_, inbox) in &row.inboxes {
                inbox.end();
            }
        }
    }
}

fn doubt(conversation: &ConversationId, row: &Row) {
    for (_, inbox) in &row.inboxes {
        inbox.put(conversation, Heard::Doubt);
    }
}
