//! What a client has to say and may not forget.
//!
//! Used by [`super::member`]. A base client forgets what was acknowledged. An extended one keeps it
//! until it is stored, and offers all of it again over each connection and after each loss. Without a
//! store nothing is ever known to be safe: it keeps the newest, and what is not known to have survived
//! is offered again.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use parlance_protocol::Position;
use tokio::time::Instant;

use super::recording::Layer;

/// More unanswered sends than this, and a client says nothing new.
const UNANSWERED: usize = 200;
/// Acknowledged sends that an extended client keeps.
const KEPT: usize = 5_000;
/// A server answers everything long before this, if only that it does not know.
const SILENCE: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(super) struct Outbox {
    layer: Layer,
    user: String,
    is_durable: bool,
    /// Heard of last.
    epoch: Option<u64>,
    numbered: u64,
    /// In the order in which they were made.
    items: VecDeque<Item>,
    /// Offered more than once, ever.
    repeated: HashSet<String>,
}

#[derive(Debug)]
struct Item {
    content: String,
    offered: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// To be offered, not before this.
    Due(Instant),
    /// Offered at this time over the present connection.
    Offered(Instant),
    /// There, in the epoch that was heard of last when this was heard.
    Acknowledged(Position, Option<u64>),
}

/// A send that is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) content: String,
    pub(super) retry: bool,
}

impl Outbox {
    pub(super) fn new(layer: Layer, user: &str) -> Self {
        Self {
            layer,
            user: user.to_owned(),
            is_durable: false,
            epoch: None,
            numbered: 0,
            items: VecDeque::new(),
            repeated: HashSet::new(),
        }
    }

    /// Something new to say, unless too much is unanswered.
    pub(super) fn make(&mut self, now: Instant) {
        if self.unanswered() >= UNANSWERED {
            return;
        }
        self.numbered += 1;
        self.items.push_back(Item {
            content: format!("{}-{}", self.user, self.numbered),
            offered: false,
            state: State::Due(now),
        });
    }

    /// What is due now, in order; it counts as offered.
    pub(super) fn offers(&mut self, now: Instant) -> Vec<Offer> {
        let mut offers = Vec::new();
        for item in &mut self.items {
            let due = match item.state {
                State::Due(at) => at <= now,
                State::Offered(at) => at + SILENCE <= now,
                State::Acknowledged(..) => false,
            };
            if due {
                if item.offered {
                    self.repeated.insert(item.content.clone());
                }
                offers.push(Offer {
                    content: item.content.clone(),
                    retry: item.offered,
                });
                item.offered = true;
                item.state = State::Offered(now);
            }
        }
        offers
    }

    /// Whether this was said more than once, so that it may be told out of its turn.
    pub(super) fn is_repeated(&self, content: &str) -> bool {
        self.repeated.contains(content)
    }

    pub(super) fn acknowledge(&mut self, content: &str, position: Position) {
        let Some(at) = self.items.iter().position(|item| item.content == content) else {
            return;
        };
        match self.layer {
            Layer::Base => drop(self.items.remove(at)),
            Layer::Extended => {
                self.items[at].state = State::Acknowledged(position, self.epoch);
            }
        }
        let acknowledged = |item: &Item| matches!(item.state, State::Acknowledged(..));
        while self.items.len() > KEPT && self.items.front().is_some_and(acknowledged) {
            self.items.pop_front();
        }
    }

    /// The outcome is unknown, or it never happened.
    pub(super) fn offer_again(&mut self, content: &str, at: Instant) {
        let mut items = self.items.iter_mut();
        if let Some(item) = items.find(|item| item.content == content)
            && let State::Offered(_) = item.state
        {
            item.state = State::Due(at);
        }
    }

    /// It was refused for ever.
    pub(super) fn give_up(&mut self, content: &str) {
        self.items.retain(|item| item.content != content);
    }

    /// What was unanswered will never be answered over a new connection.
    pub(super) fn reconnected(&mut self, now: Instant) {
        for item in &mut self.items {
            if let State::Offered(_) = item.state {
                item.state = State::Due(now);
            }
        }
    }

    /// What a greeting says: the epoch, and whether there is a store. Gives whether the epoch is another
    /// than the one that was known.
    pub(super) fn greeted(&mut self, epoch: Option<u64>, is_durable: bool) -> bool {
        self.is_durable = is_durable;
        let known = self.epoch;
        self.epoch = epoch;
        known.is_some() && known != epoch
    }

    /// The store has everything of this epoch up to a place; what is therefore forgotten.
    pub(super) fn stored(
        &mut self,
        epoch: Option<u64>,
        up_to: Position,
    ) -> Vec<(String, Position)> {
        self.epoch = self.epoch.max(epoch);
        let mut forgotten = Vec::new();
        self.items.retain(|item| match item.state {
            State::Acknowledged(position, heard) if heard == epoch && position <= up_to => {
                forgotten.push((item.content.clone(), position));
                false
            }
            State::Acknowledged(..) | State::Offered(_) | State::Due(_) => true,
        });
        forgotten
    }

    /// All is due once more, as after a greeting, if something could ever be known to be stored.
    pub(super) fn offer_all_again(&mut self, now: Instant) {
        if self.is_durable {
            for item in &mut self.items {
                item.state = State::Due(now);
            }
        }
    }

    /// In an epoch that begins now, everything above this place may be lost.
    pub(super) fn fell_back(&mut self, epoch: Option<u64>, survived: Position, now: Instant) {
        self.epoch = epoch;
        self.lost_after(survived, now);
        self.offer_all_again(now);
    }

    /// Everything above this place may be lost.
    pub(super) fn lost_after(&mut self, survived: Position, now: Instant) {
        for item in &mut self.items {
            match item.state {
                State::Acknowledged(position, _) if position <= survived => {}
                State::Acknowledged(..) | State::Offered(_) => item.state = State::Due(now),
                State::Due(_) => {}
            }
        }
    }

    pub(super) fn unanswered(&self) -> usize {
        let open = |item: &&Item| !matches!(item.state, State::Acknowledged(..));
        self.items.iter().filter(open).count()
    }

    /// Acknowledged, and still to be told of as stored.
    pub(super) fn unstored(&self) -> usize {
        let unanswered = self.unanswered();
        match self.is_durable {
            true => self.items.len() - unanswered,
            false => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parlance_protocol::MessageId;

    fn place(id: u64) -> Position {
        Position::of(MessageId::new(id).unwrap())
    }

    fn contents(offers: Vec<Offer>) -> Vec<(String, bool)> {
        let plain = |offer: Offer| (offer.content, offer.retry);
        offers.into_iter().map(plain).collect()
    }

    fn said(content: &str, retry: bool) -> (String, bool) {
        (content.to_owned(), retry)
    }

    #[tokio::test]
    async fn unanswered_sends_are_repeated_over_a_new_connection_in_order() {
        let now = Instant::now();
        let mut outbox = Outbox::new(Layer::Base, "ann");
        outbox.make(now);
        outbox.make(now);
        let first = [said("ann-1", false), said("ann-2", false)];
        assert_eq!(contents(outbox.offers(now)), first);
        assert_eq!(outbox.offers(now), []);
        outbox.reconnected(now);
        outbox.make(now);
        let again = [
            said("ann-1", true),
            said("ann-2", true),
            said("ann-3", false),
        ];
        assert_eq!(contents(outbox.offers(now)), again);
        assert!(outbox.is_repeated("ann-2") && !outbox.is_repeated("ann-3"));
    }

    #[tokio::test]
    async fn what_may_be_lost_is_offered_again_by_who_kept_it() {
        let now = Instant::now();
        for (layer, kept) in [
            (Layer::Base, vec![]),
            (Layer::Extended, vec![said("ann-2", true)]),
        ] {
            let mut outbox = Outbox::new(layer, "ann");
            outbox.make(now);
            outbox.make(now);
            outbox.offers(now);
            outbox.acknowledge("ann-1", place(1));
            outbox.acknowledge("ann-2", place(2));
            assert_eq!(outbox.unanswered(), 0);
            outbox.lost_after(place(1), now);
            assert_eq!(contents(outbox.offers(now)), kept, "{layer:?}");
        }
    }

    #[tokio::test]
    async fn what_is_stored_is_forgotten_if_it_was_acknowledged_in_that_epoch() {
        let now = Instant::now();
        let mut outbox = Outbox::new(Layer::Extended, "ann");
        assert!(!outbox.greeted(Some(0), true));
        for _ in 0..3 {
            outbox.make(now);
        }
        outbox.offers(now);
        for (content, id) in [("ann-1", 1), ("ann-2", 2), ("ann-3", 3)] {
            outbox.acknowledge(content, place(id));
        }
        let first = ("ann-1".to_owned(), place(1));
        assert_eq!(outbox.stored(Some(0), place(1)), [first]);
        assert_eq!(outbox.stored(Some(1), place(9)), [], "acknowledged before");
        outbox.fell_back(Some(1), place(2), now);
        let again = [said("ann-2", true), said("ann-3", true)];
        assert_eq!(contents(outbox.offers(now)), again, "what survived, too");
        outbox.acknowledge("ann-2", place(2));
        assert_eq!(outbox.unstored(), 1);
        let second = ("ann-2".to_owned(), place(2));
        assert_eq!(outbox.stored(Some(1), place(2)), [second]);
        assert_eq!((outbox.unstored(), outbox.unanswered()), (0, 1));
    }

    #[tokio::test]
    async fn an_unknown_outcome_is_asked_for_again_later() {
        let now = Instant::now();
        let mut outbox = Outbox::new(Layer::Extended, "ann");
        outbox.make(now);
        outbox.offers(now);
        let later = now + Duration::from_secs(1);
        outbox.offer_again("ann-1", later);
        assert_eq!(outbox.offers(now), []);
        assert_eq!(contents(outbox.offers(later)), [said("ann-1", true)]);
        assert_eq!(
            contents(outbox.offers(later + SILENCE)),
            [said("ann-1", true)]
        );
    }
}
