//! What the person said and the server has not yet made safe.
//!
//! One action is in flight at a time: order then never depends on which of several was refused. An
//! action keeps its `local_id` however often it is sent, so sending it again is always safe. After
//! its acknowledgement it is kept until the store covers it, because a log may lose its tail.

use std::collections::VecDeque;

use parlance_protocol::{MessageId, Position};
use serde_json::{Value, json};

/// A durable action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outgoing {
    Message { content: String },
    Edit { id: MessageId, content: String },
    Delete { id: MessageId },
}

#[derive(Debug, Clone)]
struct Item {
    local_id: String,
    action: Outgoing,
    sent_before: bool,
}

#[derive(Debug)]
struct Unstored {
    item: Item,
    position: Position,
    epoch: u32,
}

/// Items in the order in which they were typed.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    unstored: VecDeque<Unstored>,
    queue: VecDeque<Item>,
    in_flight: Option<String>,
    not_before_ms: u64,
    /// The epoch that this client heard of; `None`: acknowledged is all that will be told.
    epoch: Option<u32>,
}

impl Outbox {
    pub(crate) fn push(&mut self, local_id: String, action: Outgoing) {
        let item = Item {
            local_id,
            action,
            sent_before: false,
        };
        self.queue.push_back(item);
    }

    /// How many actions have no acknowledgement.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.queue.len()
    }

    /// When the front may be sent; `None` when nothing waits for time.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        (self.in_flight.is_none() && !self.queue.is_empty()).then_some(self.not_before_ms)
    }

    /// The next frame to be sent on an open connection.
    pub(crate) fn next(&mut self, now_ms: u64) -> Option<Value> {
        if self.in_flight.is_some() || now_ms < self.not_before_ms {
            return None;
        }
        let item = self.queue.front_mut()?;
        self.in_flight = Some(item.local_id.clone());
        let frame = item.frame();
        item.sent_before = true;
        Some(frame)
    }

    /// The connection is gone: the outcome of what was in flight is unknown.
    pub(crate) fn disconnected(&mut self) {
        self.in_flight = None;
        self.not_before_ms = 0;
    }

    /// The event of `local_id` came back from the server.
    pub(crate) fn acknowledged(&mut self, local_id: &str, position: Position) {
        let Some(item) = self.take(local_id) else {
            return;
        };
        if let Some(epoch) = self.epoch {
            self.unstored.push_back(Unstored {
                item,
                position,
                epoch,
            });
        }
    }

    /// Message `id` is deleted, by whomever: a delete that waits for that is done.
    pub(crate) fn target_deleted(&mut self, id: MessageId, position: Position) {
        if let Some(item) = self.queue.front()
            && item.action == (Outgoing::Delete { id })
        {
            let local_id = item.local_id.clone();
            self.acknowledged(&local_id, position);
        }
    }

    /// `local_id` was refused for good.
    pub(crate) fn refused(&mut self, local_id: &str) {
        self.take(local_id);
    }

    /// The `local_id` of the action in flight, if it is no message: its refusal does not name it.
    pub(crate) fn change_in_flight(&self) -> Option<String> {
        let local_id = self.in_flight.as_ref()?;
        let item = self.queue.iter().find(|item| item.local_id == *local_id)?;
        match item.action {
            Outgoing::Message { .. } => None,
            Outgoing::Edit { .. } | Outgoing::Delete { .. } => Some(local_id.clone()),
        }
    }

    /// The action in flight may be offered again, not before this.
    pub(crate) fn retry_at(&mut self, at_ms: u64) {
        self.in_flight = None;
        self.not_before_ms = at_ms;
    }

    /// Hears of an epoch; if that is another than the one known, everything not stored is sent
    /// again. `true` when that happened.
    pub(crate) fn heard_epoch(&mut self, epoch: u32, durable: bool) -> bool {
        let known = self.epoch;
        self.epoch = durable.then_some(epoch);
        let changed = known.is_some_and(|known| known != epoch);
        if changed {
            self.send_unstored_again();
        }
        changed
    }

    /// The log may have lost its tail.
    pub(crate) fn resync(&mut self, epoch: u32) {
        self.epoch = self.epoch.map(|_| epoch);
        self.send_unstored_again();
    }

    /// The store of `epoch` has everything up to this id.
    pub(crate) fn stored(&mut self, epoch: u32, up_to: MessageId) {
        self.unstored.retain(|unstored| {
            let covered = if unstored.position.k == 0 {
                unstored.position.id <= up_to
            } else {
                unstored.position.id < up_to
            };
            !(covered && unstored.epoch == epoch)
        });
    }

    fn send_unstored_again(&mut self) {
        self.in_flight = None;
        while let Some(unstored) = self.unstored.pop_back() {
            self.queue.push_front(unstored.item);
        }
    }

    fn take(&mut self, local_id: &str) -> Option<Item> {
        if self.in_flight.as_deref() == Some(local_id) {
            self.in_flight = None;
        }
        let at = self
            .queue
            .iter()
            .position(|item| item.local_id == local_id)?;
        self.queue.remove(at)
    }
}

impl Item {
    fn frame(&self) -> Value {
        let local_id = &self.local_id;
        match &self.action {
            Outgoing::Message { content } if self.sent_before => json!({
                "action": "send_message", "content": content, "local_id": local_id, "retry": true,
            }),
            Outgoing::Message { content } => json!({
                "action": "send_message", "content": content, "local_id": local_id,
            }),
            Outgoing::Edit { id, content } => json!({
                "action": "edit_message", "message_id": id, "content": content,
                "local_id": local_id,
            }),
            Outgoing::Delete { id } => json!({
                "action": "delete_message", "message_id": id, "local_id": local_id,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(outbox: &mut Outbox, local_id: &str) {
        let content = format!("text of {local_id}");
        outbox.push(local_id.to_owned(), Outgoing::Message { content });
    }

    fn position(text: &str) -> Position {
        Position::parse(text).unwrap()
    }

    fn id(number: u64) -> MessageId {
        MessageId::new(number).unwrap()
    }

    /// The `local_id`s that go out when each is acknowledged at once.
    fn drain(outbox: &mut Outbox, first_id: u64) -> Vec<(String, bool)> {
        let mut sent = Vec::new();
        while let Some(frame) = outbox.next(0) {
            let local_id = frame["local_id"].as_str().unwrap().to_owned();
            let at = Position::of(id(first_id + sent.len() as u64));
            outbox.acknowledged(&local_id, at);
            sent.push((local_id, frame["retry"] == true));
        }
        sent
    }

    fn owned(expected: &[(&str, bool)]) -> Vec<(String, bool)> {
        let own = |(local_id, retry): &(&str, bool)| ((*local_id).to_owned(), *retry);
        expected.iter().map(own).collect()
    }

    #[test]
    fn one_action_is_in_flight_until_it_is_acknowledged() {
        let mut outbox = Outbox::default();
        say(&mut outbox, "a");
        say(&mut outbox, "b");
        assert_eq!(outbox.next(0).unwrap()["local_id"], "a");
        assert_eq!(outbox.next(0), None);
        outbox.acknowledged("a", position("1"));
        assert_eq!(outbox.next(0).unwrap()["local_id"], "b");
    }

    #[test]
    fn what_was_in_flight_at_a_disconnect_goes_first_and_says_retry() {
        let mut outbox = Outbox::default();
        say(&mut outbox, "a");
        outbox.next(0);
        say(&mut outbox, "b");
        outbox.disconnected();
        assert_eq!(drain(&mut outbox, 1), owned(&[("a", true), ("b", false)]));
    }

    #[test]
    fn a_resync_sends_everything_not_stored_again_in_order() {
        let mut outbox = Outbox::default();
        outbox.heard_epoch(0, true);
        for local_id in ["a", "b", "c"] {
            say(&mut outbox, local_id);
        }
        drain(&mut outbox, 1);
        outbox.stored(0, id(1));
        say(&mut outbox, "d");
        outbox.next(0);
        outbox.resync(1);
        assert_eq!(
            drain(&mut outbox, 10_000_000_001),
            owned(&[("b", true), ("c", true), ("d", true)])
        );
    }

    #[test]
    fn stored_of_a_new_epoch_does_not_cover_what_was_acknowledged_before_it_was_heard_of() {
        let mut outbox = Outbox::default();
        outbox.heard_epoch(0, true);
        say(&mut outbox, "a");
        drain(&mut outbox, 1);
        outbox.stored(1, id(10_000_000_005));
        assert!(outbox.heard_epoch(1, true));
        assert_eq!(drain(&mut outbox, 1), owned(&[("a", true)]));
        outbox.stored(1, id(10_000_000_005));
        assert!(outbox.heard_epoch(2, true));
        assert_eq!(drain(&mut outbox, 1), []);
    }

    #[test]
    fn without_a_store_an_acknowledgement_is_the_end() {
        let mut outbox = Outbox::default();
        say(&mut outbox, "a");
        drain(&mut outbox, 1);
        outbox.resync(3);
        assert_eq!(drain(&mut outbox, 1), []);
    }

    #[test]
    fn a_refusal_for_now_delays_the_same_action() {
        let mut outbox = Outbox::default();
        say(&mut outbox, "a");
        outbox.next(0);
        outbox.retry_at(700);
        assert_eq!(outbox.due_ms(), Some(700));
        assert_eq!(outbox.next(699), None);
        assert_eq!(outbox.next(700).unwrap()["retry"], true);
    }

    #[test]
    fn a_delete_is_done_when_somebody_else_deleted_it() {
        let mut outbox = Outbox::default();
        outbox.push("x".to_owned(), Outgoing::Delete { id: id(4) });
        outbox.next(0);
        outbox.target_deleted(id(4), position("9-1"));
        assert_eq!(outbox.unacknowledged(), 0);
    }
}
