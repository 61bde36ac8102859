//! Who is in the conversation.
//!
//! The room calls it for its own connections and for what the bus says. Two halves that never mix:
//! the *local* half counts this room's connections per user and decides what the presence port is
//! told; the *shown* half is the set of users over all nodes, and follows the port and the bus
//! alone. It sends nothing and knows no frames.
//!
//! A lost last connection is held for [`HOLD_MS`] before the port is told: most come back, and
//! nobody should see that. Who wrote last is remembered for [`WRITERS_KEPT`] users, present or not,
//! because large rooms name only some of those who are there.

use std::{collections::VecDeque, num::NonZeroU32};

use parlance_protocol::UserId;

use crate::{clock::Mono, room::Departure, user_map::UserMap};

/// A lost last connection counts as gone after this.
pub const HOLD_MS: u64 = 5_000;
/// Time between two aggregates.
pub const AGGREGATE_MS: u64 = 2_000;
/// Most users that a joiner is told of, and that an aggregate names.
pub const SAMPLE_USERS: usize = 50;
/// With more present users than this, each change of presence is not told, and typing only to
/// those who wrote last.
pub const CHANGES_USERS_MAX: usize = 200;
/// With more present users than this, `read` and `message.status` are not told to all.
pub const RECEIPTS_USERS_MAX: usize = 50;
/// How many writers are remembered.
pub const WRITERS_KEPT: usize = 100;

/// The presence of a room.
#[derive(Debug, Default)]
pub struct Presence {
    local: UserMap<Local>,
    /// Leaves in the order of their time. A returned user's entry stays until it comes due.
    held: VecDeque<(Mono, UserId)>,
    shown: Shown,
    /// The last first.
    wrote: Vec<UserId>,
    aggregate_owed: bool,
    aggregate_not_before: Mono,
}

/// How a change is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// It is none.
    Nothing,
    /// To everybody but the user, as it is.
    Each,
    /// Not by itself: extended clients get the next aggregate.
    InAggregate,
}

/// What came due.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PresenceDue {
    /// The port is to be told that these left.
    pub left: Vec<UserId>,
    /// Extended clients are to be told [`Presence::count`] and [`Presence::sample`].
    pub aggregate: bool,
}

/// A user with a connection in this room, or until lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Local {
    Here(NonZeroU32),
    HeldUntil(Mono),
}

#[derive(Debug)]
enum Shown {
    /// The port's list is not here yet; what was heard meanwhile is newer than it.
    Opening(UserMap<bool>),
    Open(UserMap<()>),
}

impl Default for Shown {
    fn default() -> Self {
        Self::Opening(UserMap::default())
    }
}

impl Presence {
    /// A connection of `user` came into this room. Returns whether the port is to be told that the
    /// user joined.
    #[must_use]
    pub fn join(&mut self, user: &UserId) -> bool {
        let (connections, is_news) = match self.local.get(user) {
            None => (NonZeroU32::MIN, true),
            Some(Local::HeldUntil(_)) => (NonZeroU32::MIN, false),
            Some(Local::Here(connections)) => (connections.saturating_add(1), false),
        };
        self.local.insert(user.clone(), Local::Here(connections));
        self.forget_returned();
        is_news
    }

    /// A connection of `user` that had joined ended. Returns whether the port is to be told at
    /// once that the user left.
    #[must_use]
    pub fn leave(&mut self, user: &UserId, how: Departure, now: Mono) -> bool {
        let Some(Local::Here(connections)) = self.local.get_mut(user) else {
            return false;
        };
        if let Some(others) = NonZeroU32::new(connections.get() - 1) {
            *connections = others;
            return false;
        }
        match how {
            Departure::Goodbye => {
                self.local.remove(user);
                true
            }
            Departure::Lost => {
                let until = now.plus_ms(HOLD_MS);
                self.local.insert(user.clone(), Local::HeldUntil(until));
                self.held.push_back((until, user.clone()));
                false
            }
        }
    }

    /// Whether `user` is in the conversation, on any node.
    #[must_use]
    pub fn is_present(&self, user: &UserId) -> bool {
        match &self.shown {
            Shown::Opening(_) => false,
            Shown::Open(open) => open.contains(user),
        }
    }

    /// Whether `user` has a connection in this room.
    #[must_use]
    pub fn is_here(&self, user: &UserId) -> bool {
        matches!(self.local.get(user), Some(Local::Here(_)))
    }

    /// Whether the port was told of `user` by this room, and nothing else since.
    #[must_use]
    pub fn is_held(&self, user: &UserId) -> bool {
        self.local.get(user).is_some()
    }

    /// Whether anybody is present who has no connection in this room.
    #[must_use]
    pub fn has_others(&self) -> bool {
        match &self.shown {
            Shown::Opening(_) => true,
            Shown::Open(open) => open.iter().any(|(user, ())| !self.is_here(user)),
        }
    }

    /// The port's list, read after the subscription stood.
    pub fn opened(&mut self, present: Vec<UserId>) {
        let Shown::Opening(heard) = &self.shown else {
            return;
        };
        let mut open = UserMap::default();
        for user in present {
            if heard.get(&user) != Some(&false) {
                open.insert(user, ());
            }
        }
        for (user, online) in heard.iter() {
            if *online {
                open.insert(user.clone(), ());
            }
        }
        self.shown = Shown::Open(open);
    }

    /// The bus said that `user` is in the conversation.
    #[must_use]
    pub fn heard_online(&mut self, user: &UserId) -> Show {
        let is_news = match &mut self.shown {
            Shown::Opening(heard) => {
                heard.insert(user.clone(), true);
                false
            }
            Shown::Open(open) => open.insert(user.clone(), ()).is_none(),
        };
        self.show(is_news)
    }

    /// The bus said that `user` is no more in the conversation.
    #[must_use]
    pub fn heard_offline(&mut self, user: &UserId) -> Show {
        let is_news = match &mut self.shown {
            Shown::Opening(heard) => {
                heard.insert(user.clone(), false);
                false
            }
            Shown::Open(open) => open.remove(user).is_some(),
        };
        self.show(is_news)
    }

    /// `user` sent a message.
    pub fn wrote(&mut self, user: &UserId) {
        match self.wrote.iter().position(|writer| writer == user) {
            Some(index) => self.wrote[..=index].rotate_right(1),
            None => {
                self.wrote.truncate(WRITERS_KEPT - 1);
                self.wrote.insert(0, user.clone());
            }
        }
    }

    /// How many users are present over all nodes.
    #[must_use]
    pub fn count(&self) -> usize {
        match &self.shown {
            Shown::Opening(_) => 0,
            Shown::Open(open) => open.len(),
        }
    }

    /// Whether each change of presence is told, and typing to everybody.
    #[must_use]
    pub fn tells_changes(&self) -> bool {
        self.count() <= CHANGES_USERS_MAX
    }

    /// Whether `read` and `message.status` are told to everybody that they concern.
    #[must_use]
    pub fn tells_receipts(&self) -> bool {
        self.count() <= RECEIPTS_USERS_MAX
    }

    /// The present users that wrote last, the last first, at most [`SAMPLE_USERS`].
    pub fn writers(&self) -> impl Iterator<Item = &UserId> {
        self.wrote
            .iter()
            .filter(|user| self.is_present(user))
            .take(SAMPLE_USERS)
    }

    /// At most [`SAMPLE_USERS`] present users other than `except`, those who wrote last first.
    pub fn snapshot(&self, except: &UserId) -> impl Iterator<Item = &UserId> {
        self.by_writing()
            .filter(move |user| *user != except)
            .take(SAMPLE_USERS)
    }

    /// At most [`SAMPLE_USERS`] present users, those who wrote last first.
    pub fn sample(&self) -> impl Iterator<Item = &UserId> {
        self.by_writing().take(SAMPLE_USERS)
    }

    /// Whether the port may still have to be told that somebody left.
    #[must_use]
    pub fn holds_leaves(&self) -> bool {
        !self.held.is_empty()
    }

    /// When [`Presence::on_deadline`] wants to be called. May be too early, never too late.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        let held = self.held.front().map(|(until, _)| *until);
        let aggregate = self.aggregate_owed.then_some(self.aggregate_not_before);
        held.into_iter().chain(aggregate).min()
    }

    /// Ends the holding of leaves and collects what is owed.
    #[must_use]
    pub fn on_deadline(&mut self, now: Mono) -> PresenceDue {
        PresenceDue {
            left: self.collect_left(now),
            aggregate: self.collect_aggregate(now),
        }
    }

    fn show(&mut self, is_news: bool) -> Show {
        if !is_news {
            Show::Nothing
        } else if self.tells_changes() {
            Show::Each
        } else {
            self.aggregate_owed = true;
            Show::InAggregate
        }
    }

    fn by_writing(&self) -> impl Iterator<Item = &UserId> {
        let open = match &self.shown {
            Shown::Opening(_) => None,
            Shown::Open(open) => Some(open),
        };
        let silent = open
            .into_iter()
            .flat_map(|open| open.iter())
            .map(|(user, ())| user)
            .filter(|user| !self.wrote.contains(user));
        let writers = self.wrote.iter().filter(|user| self.is_present(user));
        writers.chain(silent)
    }

    /// Drops held leaves from the front that are void, so that they wake nobody.
    fn forget_returned(&mut self) {
        while let Some((until, user)) = self.held.front()
            && self.local.get(user) != Some(&Local::HeldUntil(*until))
        {
            self.held.pop_front();
        }
        if self.held.is_empty() {
            self.held = VecDeque::new();
        }
    }

    fn collect_left(&mut self, now: Mono) -> Vec<UserId> {
        let mut left = Vec::new();
        while let Some((until, user)) = self.held.pop_front_if(|(until, _)| *until <= now) {
            if self.local.get(&user) == Some(&Local::HeldUntil(until)) {
                self.local.remove(&user);
                left.push(user);
            }
        }
        self.forget_returned();
        left
    }

    /// A room that shrank meanwhile tells each change again, and owes nothing.
    fn collect_aggregate(&mut self, now: Mono) -> bool {
        if !self.aggregate_owed || now < self.aggregate_not_before {
            return false;
        }
        self.aggregate_owed = false;
        self.aggregate_not_before = now.plus_ms(AGGREGATE_MS);
        !self.tells_changes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(n: usize) -> UserId {
        UserId::new(&format!("u{n}")).unwrap()
    }

    /// A room where users `0..n` are present.
    fn room_of(n: usize) -> Presence {
        let mut presence = Presence::default();
        presence.opened((0..n).map(user).collect());
        presence
    }

    fn told<'a>(users: impl Iterator<Item = &'a UserId>) -> Vec<String> {
        users.map(UserId::to_string).collect()
    }

    #[test]
    fn only_the_first_connection_of_a_user_is_told_to_the_port() {
        let mut presence = Presence::default();
        assert!(presence.join(&user(1)));
        assert!(!presence.join(&user(1)));
        assert!(presence.join(&user(2)));
    }

    #[test]
    fn others_are_those_without_a_connection_here() {
        let mut presence = room_of(2);
        assert!(presence.has_others());
        let _ = (presence.join(&user(0)), presence.join(&user(1)));
        assert!(!presence.has_others());
        let _ = presence.leave(&user(0), Departure::Goodbye, Mono(0));
        assert!(presence.has_others(), "until the port says otherwise");
    }

    #[test]
    fn a_lost_last_connection_is_told_after_five_seconds() {
        let mut presence = Presence::default();
        assert!(presence.join(&user(1)));
        assert!(!presence.join(&user(1)));
        assert!(!presence.leave(&user(1), Departure::Lost, Mono(0)));
        assert_eq!(presence.deadline(), None);
        assert!(!presence.leave(&user(1), Departure::Lost, Mono(100)));

        assert_eq!(presence.deadline(), Some(Mono(5_100)));
        assert_eq!(presence.on_deadline(Mono(5_099)), PresenceDue::default());
        assert_eq!(presence.on_deadline(Mono(5_100)).left, [user(1)]);
        assert_eq!(presence.deadline(), None);
        assert!(presence.join(&user(1)));
    }

    #[test]
    fn a_return_within_five_seconds_tells_nothing() {
        let mut presence = Presence::default();
        assert!(presence.join(&user(1)));
        assert!(!presence.leave(&user(1), Departure::Lost, Mono(0)));
        assert!(!presence.join(&user(1)));
        assert_eq!(presence.deadline(), None);
        assert_eq!(presence.on_deadline(Mono(5_000)), PresenceDue::default());
    }

    #[test]
    fn a_second_loss_is_held_from_its_own_time() {
        let mut presence = Presence::default();
        assert!(presence.join(&user(1)));
        assert!(presence.join(&user(2)));
        assert!(!presence.leave(&user(2), Departure::Lost, Mono(0)));
        assert!(!presence.leave(&user(1), Departure::Lost, Mono(1_000)));
        assert!(!presence.join(&user(1)));
        assert!(!presence.leave(&user(1), Departure::Lost, Mono(3_000)));

        assert_eq!(presence.on_deadline(Mono(5_000)).left, [user(2)]);
        assert_eq!(presence.on_deadline(Mono(6_000)), PresenceDue::default());
        assert_eq!(presence.on_deadline(Mono(8_000)).left, [user(1)]);
    }

    #[test]
    fn a_goodbye_of_the_last_connection_is_told_at_once() {
        let mut presence = Presence::default();
        assert!(presence.join(&user(1)));
        assert!(!presence.join(&user(1)));
        assert!(!presence.leave(&user(1), Departure::Goodbye, Mono(0)));
        assert!(presence.leave(&user(1), Departure::Goodbye, Mono(1)));
        assert!(presence.join(&user(1)));
    }

    #[test]
    fn only_changes_are_shown() {
        let mut presence = room_of(2);
        assert_eq!(presence.heard_online(&user(1)), Show::Nothing);
        assert_eq!(presence.heard_online(&user(2)), Show::Each);
        assert_eq!(presence.heard_offline(&user(2)), Show::Each);
        assert_eq!(presence.heard_offline(&user(2)), Show::Nothing);
        assert_eq!(presence.count(), 2);
    }

    #[test]
    fn what_was_heard_before_the_list_came_is_newer_than_the_list() {
        let mut presence = Presence::default();
        assert_eq!(presence.heard_online(&user(1)), Show::Nothing);
        assert_eq!(presence.heard_offline(&user(2)), Show::Nothing);
        presence.opened(vec![user(2), user(3)]);
        assert_eq!(told(presence.sample()), ["u3", "u1"]);
    }

    #[test]
    fn those_who_wrote_last_come_first() {
        let mut presence = room_of(4);
        for n in [0, 2, 9, 0, 1] {
            presence.wrote(&user(n));
        }
        assert_eq!(told(presence.sample()), ["u1", "u0", "u2", "u3"]);
        assert_eq!(told(presence.snapshot(&user(0))), ["u1", "u2", "u3"]);
        assert_eq!(told(presence.writers()), ["u1", "u0", "u2"]);
    }

    #[test]
    fn a_writer_who_left_and_returned_still_comes_first() {
        let mut presence = room_of(3);
        presence.wrote(&user(2));
        assert_eq!(presence.heard_offline(&user(2)), Show::Each);
        assert_eq!(told(presence.sample()), ["u0", "u1"]);
        assert_eq!(presence.heard_online(&user(2)), Show::Each);
        assert_eq!(told(presence.sample()), ["u2", "u0", "u1"]);
    }

    #[test]
    fn a_snapshot_names_fifty_and_the_memory_of_writers_is_bounded() {
        let mut presence = room_of(300);
        for n in 0..300 {
            presence.wrote(&user(n));
        }
        assert_eq!(presence.wrote.len(), WRITERS_KEPT);
        assert_eq!(presence.snapshot(&user(299)).count(), SAMPLE_USERS);
        assert_eq!(presence.snapshot(&user(299)).next(), Some(&user(298)));
        assert_eq!(presence.writers().count(), SAMPLE_USERS);
    }

    #[test]
    fn above_two_hundred_users_changes_become_one_aggregate_in_two_seconds() {
        let mut presence = room_of(199);
        assert_eq!(presence.heard_online(&user(199)), Show::Each);
        assert_eq!(presence.heard_online(&user(200)), Show::InAggregate);
        assert!(!presence.tells_changes());

        assert!(presence.on_deadline(Mono(10_000)).aggregate);
        assert!(!presence.on_deadline(Mono(10_001)).aggregate);
        assert_eq!(presence.heard_online(&user(201)), Show::InAggregate);
        assert_eq!(presence.heard_online(&user(202)), Show::InAggregate);
        assert_eq!(presence.deadline(), Some(Mono(12_000)));
        assert!(!presence.on_deadline(Mono(11_999)).aggregate);
        assert!(presence.on_deadline(Mono(12_000)).aggregate);
        assert_eq!(presence.deadline(), None);
    }

    #[test]
    fn a_room_that_shrank_owes_no_aggregate() {
        let mut presence = room_of(202);
        assert_eq!(presence.heard_offline(&user(0)), Show::InAggregate);
        assert_eq!(presence.heard_offline(&user(1)), Show::Each);
        assert!(!presence.on_deadline(Mono(10_000)).aggregate);
        assert_eq!(presence.deadline(), None);
    }

    #[test]
    fn receipts_are_told_to_all_up_to_fifty_users() {
        assert!(room_of(50).tells_receipts());
        assert!(!room_of(51).tells_receipts());
    }

    #[test]
    fn the_fixed_part_is_small() {
        assert!(size_of::<Presence>() <= 128, "{}", size_of::<Presence>());
    }
}
