//! Which shard wants to hear of which conversation, and what was heard of each.
//!
//! Shared between the connections that hear and the thread that subscribes. Routing a push is one
//! look-up here.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use metrics::Counter;
use parlance_core::{entry::Entry, ports::Heard, store::Partition};
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
    listeners: Vec<Listener>,
    standing: Standing,
    /// Told once it stands.
    waiting: Vec<oneshot::Sender<()>>,
    /// The last position that was heard of.
    head: Position,
}

/// A shard that wants to hear of a conversation.
struct Listener {
    feed: FeedId,
    inbox: Arc<Inbox>,
    /// Up to here it was told everything, by a push or by the answer to its own append.
    told: Position,
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
            listeners: Vec::new(),
            standing: Standing::Asked,
            waiting: Vec::new(),
            head: Position::ZERO,
        });
        if row.listeners.iter().all(|one| one.feed != feed) {
            // Nearly always the only one of this process.
            row.listeners.reserve_exact(1);
            row.listeners.push(Listener {
                feed,
                inbox: Arc::clone(inbox),
                told: Position::ZERO,
            });
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
        row.listeners.retain(|one| one.feed != feed);
        let is_empty = row.listeners.is_empty();
        if is_empty {
            rows.remove(conversation);
        }
        is_empty
    }

    /// A shard ended. Returns what nobody wants to hear of any more.
    pub(crate) fn drop_feed(&self, feed: FeedId) -> Vec<ConversationId> {
        let mut unwanted = Vec::new();
        self.rows().retain(|conversation, row| {
            row.listeners.retain(|one| one.feed != feed);
            if row.listeners.is_empty() {
                unwanted.push(conversation.clone());
            }
            !row.listeners.is_empty()
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
        for waiting in std::mem::take(&mut row.waiting) {
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

    /// A shard is about to be answered that what it appended stands there.
    pub(crate) fn answered(&self, conversation: &ConversationId, feed: FeedId, entry: &Entry) {
        let mut rows = self.rows();
        let Some(row) = rows.get_mut(conversation) else {
            return;
        };
        row.head = row.head.max(entry.position);
        let of_feed = row.listeners.iter_mut().find(|one| one.feed == feed);
        // Otherwise what stands between is still on its way to it.
        if let Some(one) = of_feed.filter(|one| one.told == entry.prev) {
            one.told = entry.position;
        }
    }

    /// A push of a conversation's channel. Returns a partition that is in a later epoch by it.
    pub(crate) fn route(&self, conversation: &str, payload: &str) -> Option<Partition> {
        let mut rows = self.rows();
        let (conversation, _) = rows.get_key_value(conversation)?;
        let conversation = conversation.clone();
        let row = rows.get_mut(&conversation)?;
        if row.all_were_told(payload) {
            return None;
        }
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
            for Listener { inbox, told, .. } in &mut row.listeners {
                if let Heard::Entry(entry) = &heard {
                    *told = entry.position.max(*told);
                }
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
            for Listener { inbox, .. } in &row.listeners {
                inbox.end();
            }
        }
    }
}

impl Row {
    /// Whether a push tells nobody anything: most are of what a shard of this process said itself.
    /// Within an epoch one event follows another, so what follows a position below one that was told
    /// was told.
    fn all_were_told(&self, payload: &str) -> bool {
        let Some(prev) = wire::last_prev(payload) else {
            return false;
        };
        let knows = |one: &Listener| one.told > prev && one.told.id.epoch() == prev.id.epoch();
        self.listeners.iter().all(knows)
    }
}

fn doubt(conversation: &ConversationId, row: &Row) {
    for Listener { inbox, .. } in &row.listeners {
        inbox.put(conversation, Heard::Doubt);
    }
}

#[cfg(test)]
mod tests {
    use parlance_core::{entry::Event, ports::Feed as _};
    use parlance_feed::Feed;
    use parlance_protocol::{MessageId, UnixMicros, UserId};

    use super::*;

    fn at(id: u64) -> Position {
        Position::of(MessageId::new(id).unwrap())
    }

    fn entry(id: u64) -> Entry {
        Entry {
            position: at(id),
            prev: at(id - 1),
            t: UnixMicros(1),
            ordinal: id,
            sender: UserId::new("ann").unwrap(),
            local_id: None,
            event: Event::Message {
                content: "hi".into(),
            },
            trace: None,
        }
    }

    /// A conversation that one shard listens to, and its feed.
    struct Heard {
        table: Table,
        conversation: ConversationId,
        feed: FeedId,
        heard: Feed,
    }

    fn listening() -> Heard {
        let (table, feed, inbox) = (Table::new(), FeedId::next(), Arc::new(Inbox::default()));
        let conversation = ConversationId::new("room").unwrap();
        let (stands, _) = oneshot::channel();
        table.wish(&conversation, feed, &inbox, stands);
        let heard = Feed::new(inbox, Box::new(|| {}));
        Heard {
            table,
            conversation,
            feed,
            heard,
        }
    }

    impl Heard {
        fn answered(&self, id: u64) {
            self.table
                .answered(&self.conversation, self.feed, &entry(id));
        }

        /// How many pieces the push of some events gave.
        fn pushed(&mut self, ids: std::ops::RangeInclusive<u64>) -> usize {
            let lines: Vec<_> = ids.map(|id| wire::event_text(&entry(id), id)).collect();
            self.push(&lines.join("\n"))
        }

        fn push(&mut self, text: &str) -> usize {
            self.table.route(self.conversation.as_str(), text);
            std::iter::from_fn(|| self.heard.try_next()).count()
        }
    }

    #[test]
    fn what_a_shard_was_answered_is_not_told_it_again() {
        let mut room = listening();
        assert_eq!(room.pushed(1..=1), 1);
        room.answered(2);
        room.answered(3);
        room.answered(4);
        assert_eq!(room.pushed(2..=3), 0);
        assert_eq!(room.pushed(4..=4), 0);
        assert_eq!(room.pushed(5..=5), 1);
    }

    #[test]
    fn what_another_said_before_the_answer_is_told() {
        let mut room = listening();
        room.pushed(1..=1);
        room.answered(3);
        assert_eq!((room.pushed(2..=2), room.pushed(3..=3)), (1, 1));
        room.answered(4);
        assert_eq!(room.pushed(4..=4), 0);
    }

    #[test]
    fn a_mark_below_what_was_told_is_told() {
        let mut room = listening();
        room.pushed(1..=1);
        room.answered(2);
        // What stood at 2 is lost.
        assert_eq!(room.push("1-0 99 1 1 {\"mark\":1}"), 1);
    }
}
