//! What a client has to say and may not forget.
//!
//! Used by [`super::member`]. A base client forgets what was acknowledged. An extended one keeps it
//! until it is stored, and offers all of it again over each connection and after each loss. Without a
//! store nothing is ever known to be safe: it keeps the newest, and what is not known to have survived
//! is offered again.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use parlance_protocol::Position;
use tokio::time::Instant;

use super::recording::{Layer, root};

/// More unanswered sends than this, and a client says nothing new.
const UNANSWERED: usize = 50;
/// Acknowledged sends that an extended client keeps.
const KEPT: usize = 5_000;
/// A server answers everything long before this, if only that it does not know.
/// Of those that change what they said: every so many messages are edited, and deleted after that.
const EDITED: u64 = 3;
const DELETED: u64 = 6;
const SILENCE: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(super) struct Outbox {
    layer: Layer,
    user: String,
    is_durable: bool,
    /// Heard of last.
    epoch: Option<u64>,
    changes: bool,
    /// Where its own messages are, if it changes any.
    places: HashMap<String, Position>,
    /// Its own messages whose deletion was offered, ever.
    deleted: HashSet<String>,
    numbered: u64,
    /// In the order in which they were made.
    items: VecDeque<Item>,
    /// Offered more than once, ever.
    repeated: HashSet<String>,
}

#[derive(Debug)]
struct Item {
    name: String,
    what: What,
    offered: bool,
    state: State,
}

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A message; its name is its content.
    Message,
    /// That the message at this place has the change's name as its content. Zero while it is not known.
    Edit(Position),
    /// That the message at this place is no more.
    Delete(Position),
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
    pub(super) what: What,
    pub(super) name: String,
    pub(super) retry: bool,
}

impl Outbox {
    pub(super) fn new(layer: Layer, user: &str, changes: bool) -> Self {
        Self {
            layer,
            user: user.to_owned(),
            is_durable: false,
            epoch: None,
            changes,
            places: HashMap::new(),
            deleted: HashSet::new(),
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
        let name = format!("{}-{}", self.user, self.numbered);
        self.push(&name, What::Message, now);
        if self.changes && self.numbered.is_multiple_of(EDITED) {
            self.push(&format!("{name}~1"), What::Edit(Position::ZERO), now);
        }
        if self.changes && self.numbered.is_multiple_of(DELETED) {
            self.push(&format!("{name}~2"), What::Delete(Position::ZERO), now);
        }
    }

    fn push(&mut self, name: &str, what: What, now: Instant) {
        self.items.push_back(Item {
            name: name.to_owned(),
            what,
            offered: false,
            state: State::Due(now),
        });
    }

    /// What is due now, in order; it counts as offered.
    pub(super) fn offers(&mut self, now: Instant) -> Vec<Offer> {
        let mut offers = Vec::new();
        // A change follows what it is of.
        let mut unanswered: HashSet<String> = HashSet::new();
        for item in &mut self.items {
            let message = root(&item.name);
            let is_next = match &mut item.what {
                What::Message => true,
                What::Edit(of) | What::Delete(of) => {
                    *of = self.places.get(message).copied().unwrap_or_default();
                    *of > Position::ZERO && !unanswered.contains(message)
                }
            };
            if self.changes && !matches!(item.state, State::Acknowledged(..)) {
                unanswered.insert(message.to_owned());
            }
            let due = match item.state {
                State::Due(at) => at <= now,
                State::Offered(at) => at + SILENCE <= now,
                State::Acknowledged(..) => false,
            };
            if due && is_next {
                if item.offered {
                    self.repeated.insert(item.name.clone());
                }
                if let What::Delete(_) = item.what {
                    self.deleted.insert(message.to_owned());
                }
                offers.push(Offer {
                    what: item.what,
                    name: item.name.clone(),
                    retry: item.offered,
                });
                item.offered = true;
                item.state = State::Offered(now);
            }
        }
        offers
    }

    /// Whether this was said more than once, so that it may be told out of its turn.
    pub(super) fn is_repeated(&self, name: &str) -> bool {
        self.repeated.contains(name)
    }

    pub(super) fn acknowledge(&mut self, name: &str, position: Position) {
        if self.changes && root(name) == name {
            self.places.insert(name.to_owned(), position);
        }
        let Some(at) = self.items.iter().position(|item| item.name == name) else {
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
    pub(super) fn offer_again(&mut self, name: &str, at: Instant) {
        self.offer_again_where(at, |item| item.name == name);
    }

    /// The same of a change; a refusal does not say of which.
    pub(super) fn offer_changes_again(&mut self, at: Instant) {
        self.offer_again_where(at, |item| item.what != What::Message);
    }

    /// The same of changes whose message is said not to be there: it was lost and comes back, or one's
    /// own deletion, offered before, is there already, and nothing is left to be edited.
    pub(super) fn changes_refused(&mut self, at: Instant) {
        self.items.retain(|item| {
            let is_edit = matches!((item.what, item.state), (What::Edit(_), State::Offered(_)));
            !is_edit || !self.deleted.contains(root(&item.name))
        });
        self.offer_changes_again(at);
    }

    fn offer_again_where(&mut self, at: Instant, fits: impl Fn(&Item) -> bool) {
        for item in &mut self.items {
            if let State::Offered(_) = item.state
                && fits(item)
            {
                item.state = State::Due(at);
            }
        }
    }

    /// It was refused for ever.
    pub(super) fn give_up(&mut self, name: &str) {
        self.items.retain(|item| item.name != name);
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
                forgotten.push((item.name.clone(), position));
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

    /// What waits longest for an answer.
    pub(super) fn oldest(&self) -> Option<String> {
        let mut items = self.items.iter();
        let open = items.find(|item| !matches!(item.state, State::Acknowledged(..)));
        open.map(|item| format!("{} as {:?}", item.name, item.what))
    }

    /// Messages that are acknowledged and still to be told of as stored. (A change behind the newest
    /// message is told of with the next one.)
    pub(super) fn unstored(&self) -> usize {
        let waits = |item: &&Item| {
            item.what == What::Message && matches!(item.state, State::Acknowledged(..))
        };
        match self.is_durable {
            true => self.items.iter().filter(waits).count(),
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
        let plain = |offer: Offer| (offer.name, offer.retry);
        offers.into_iter().map(plain).collect()
    }

    fn said(content: &str, retry: bool) -> (String, bool) {
        (content.to_owned(), retry)
    }

    #[tokio::test]
    async fn unanswered_sends_are_repeated_over_a_new_connection_in_order() {
        let now = Instant::now();
        let mut outbox = Outbox::new(Layer::Base, "ann", false);
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
            let mut outbox = Outbox::new(layer, "ann", false);
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
    async fn changes_follow_the_answer_to_what_they_are_of_wherever_it_is_by_then() {
        let now = Instant::now();
        let mut outbox = Outbox::new(Layer::Extended, "ann", true);
        outbox.greeted(Some(0), true);
        outbox.numbered = DELETED - 1;
        outbox.make(now);
        assert_eq!(contents(outbox.offers(now)), [said("ann-6", false)]);
        outbox.acknowledge("ann-6", place(8));
        let [edit] = &*outbox.offers(now) else {
            panic!("the deletion waits for the edit")
        };
        assert_eq!((&*edit.name, edit.what), ("ann-6~1", What::Edit(place(8))));
        outbox.fell_back(Some(1), place(7), now);
        assert_eq!(contents(outbox.offers(now)), [said("ann-6", true)]);
        outbox.acknowledge("ann-6", place(10_000_000_001));
        let [edit] = &*outbox.offers(now) else {
            panic!("the deletion waits for the edit")
        };
        assert_eq!(edit.what, What::Edit(place(10_000_000_001)));
        outbox.acknowledge("ann-6~1", place(10_000_000_002));
        assert_eq!(contents(outbox.offers(now)), [said("ann-6~2", false)]);
    }

    #[tokio::test]
    async fn an_edit_is_given_up_when_its_message_may_be_deleted_already() {
        let now = Instant::now();
        let mut outbox = Outbox::new(Layer::Extended, "ann", true);
        outbox.greeted(Some(0), true);
        outbox.numbered = DELETED - 1;
        outbox.make(now);
        for name in ["ann-6", "ann-6~1", "ann-6~2"] {
            outbox.offers(now);
            outbox.acknowledge(name, place(8));
        }
        outbox.fell_back(Some(1), place(8), now);
        outbox.offers(now);
        outbox.acknowledge("ann-6", place(8));
        assert_eq!(contents(outbox.offers(now)), [said("ann-6~1", true)]);
        outbox.changes_refused(now);
        assert_eq!(contents(outbox.offers(now)), [said("ann-6~2", true)]);
    }

    #[tokio::test]
    async fn what_is_stored_is_forgotten_if_it_was_acknowledged_in_that_epoch() {
        let now = Instant::now();
        let mut outbox = Outbox::new(Layer::Extended, "ann", false);
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
        let mut outbox = Outbox::new(Layer::Extended, "ann", false);
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
