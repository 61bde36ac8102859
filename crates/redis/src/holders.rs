//! Who is present: what this process holds, and which gateways live.
//!
//! Redis has one hash per conversation, of each user's holders (`<gateway>.<shard>`). What this
//! process holds stands here as well, so that whatever a lost connection, a new run or a long pause
//! did to Redis's copy can be made right again: a conversation in doubt is written anew as a whole.
//!
//! Gateways hold a lease. One that ran out is a dead gateway's, or a leaving one's whose users did
//! not come back; whoever has the conversation open then takes its tokens out.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    time::Duration,
};

use parlance_feed::FeedId;
use parlance_protocol::{ConversationId, UserId};
use tokio::time::Instant;

/// How long a lease lasts that is not renewed.
pub(crate) const LEASE: Duration = Duration::from_secs(10);
/// Between two renewals.
pub(crate) const RENEW_EVERY: Duration = Duration::from_secs(2);
/// A gateway that could not renew its own lease for so long judges nobody for as long: Redis was
/// away, and the others are only now coming back, too.
const BLIND: Duration = Duration::from_secs(5);
/// How long users of a gateway that left may take to come back.
pub(crate) const IN_TRANSIT: Duration = Duration::from_secs(6);
/// How long Redis keeps a conversation's presence without anybody coming.
pub(crate) const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a dead gateway is remembered: longer than any token of it can stand.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(25 * 60 * 60);

/// What this process holds.
#[derive(Default)]
pub(crate) struct Holders {
    held: RefCell<HashMap<(ConversationId, FeedId), HashSet<UserId>>>,
    /// What Redis may have otherwise.
    doubtful: RefCell<HashSet<(ConversationId, FeedId)>>,
}

impl Holders {
    pub(crate) fn join(&self, conversation: &ConversationId, feed: FeedId, user: &UserId) {
        let mut held = self.held.borrow_mut();
        let users = held.entry((conversation.clone(), feed)).or_default();
        users.insert(user.clone());
    }

    pub(crate) fn leave(&self, conversation: &ConversationId, feed: FeedId, user: &UserId) {
        let mut held = self.held.borrow_mut();
        let key = (conversation.clone(), feed);
        if let Some(users) = held.get_mut(&key) {
            users.remove(user);
            if users.is_empty() {
                held.remove(&key);
            }
        }
    }

    pub(crate) fn users(&self, conversation: &ConversationId, feed: FeedId) -> Vec<UserId> {
        let held = self.held.borrow();
        let users = held.get(&(conversation.clone(), feed));
        users.into_iter().flatten().cloned().collect()
    }

    /// Redis may have something else for it.
    pub(crate) fn doubt(&self, conversation: &ConversationId, feed: FeedId) {
        let mut doubtful = self.doubtful.borrow_mut();
        doubtful.insert((conversation.clone(), feed));
    }

    /// Redis may have something else for all of it for which `of` holds.
    pub(crate) fn doubt_all(&self, of: impl Fn(&ConversationId) -> bool) {
        let held = self.held.borrow();
        let all = held.keys().filter(|(conversation, _)| of(conversation));
        self.doubtful.borrow_mut().extend(all.cloned());
    }

    /// Takes some of the doubtful ones, to make them right.
    pub(crate) fn take_doubtful(&self, count: usize) -> Vec<(ConversationId, FeedId)> {
        let mut doubtful = self.doubtful.borrow_mut();
        let some: Vec<_> = doubtful.iter().take(count).cloned().collect();
        for one in &some {
            doubtful.remove(one);
        }
        some
    }
}

/// Which gateways live.
#[derive(Default)]
pub(crate) struct Leases {
    dead: RefCell<HashSet<String>>,
    renewed: Cell<Option<Instant>>,
    judges_from: Cell<Option<Instant>>,
}

/// What a renewal showed.
pub(crate) struct Renewal {
    /// Gateways that are dead since the last one.
    pub(crate) died: Vec<String>,
    /// Others may have taken this gateway for dead meanwhile.
    pub(crate) was_late: bool,
}

impl Leases {
    /// Takes what a renewal that was begun at `at` gave: gateways and the milliseconds that they
    /// have left.
    pub(crate) fn renewed(&self, at: Instant, own: &str, all: &[(String, i64)]) -> Renewal {
        let before = self.renewed.replace(Some(at));
        let gap = before.map_or(Duration::ZERO, |before| at.duration_since(before));
        let was_late = gap > LEASE;
        if gap > BLIND {
            self.judges_from.set(Some(at + BLIND));
        }
        if self.judges_from.get().is_some_and(|from| at < from) {
            let died = Vec::new();
            return Renewal { died, was_late };
        }
        let now: HashSet<String> = all
            .iter()
            .filter(|(gateway, left_ms)| *left_ms < 0 && gateway != own)
            .map(|(gateway, _)| gateway.clone())
            .collect();
        let before = self.dead.replace(now.clone());
        let died = now.difference(&before).cloned().collect();
        Renewal { died, was_late }
    }

    /// Whether a token is that of a dead gateway.
    pub(crate) fn is_dead(&self, token: &str) -> bool {
        let gateway = token.split('.').next().unwrap_or(token);
        self.dead.borrow().contains(gateway)
    }

    pub(crate) fn dead(&self) -> Vec<String> {
        self.dead.borrow().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(gateway: &str, left_ms: i64) -> (String, i64) {
        (gateway.to_owned(), left_ms)
    }

    #[test]
    fn a_gateway_dies_once_and_may_come_back() {
        let leases = Leases::default();
        let at = Instant::now();
        let both = [lease("own", 10_000), lease("other", 1)];
        assert!(leases.renewed(at, "own", &both).died.is_empty());

        let ran_out = [lease("own", 10_000), lease("other", -1)];
        assert_eq!(leases.renewed(at, "own", &ran_out).died, ["other"]);
        assert!(leases.is_dead("other.3"));
        assert!(leases.renewed(at, "own", &ran_out).died.is_empty());

        assert!(leases.renewed(at, "own", &both).died.is_empty());
        assert!(!leases.is_dead("other.3"));
    }

    #[test]
    fn who_was_wiped_out_of_the_list_is_not_dead() {
        let leases = Leases::default();
        let at = Instant::now();
        leases.renewed(at, "own", &[lease("own", 1), lease("other", 1)]);
        assert!(
            leases
                .renewed(at, "own", &[lease("own", 1)])
                .died
                .is_empty()
        );
        assert!(!leases.is_dead("other.0"));
    }

    #[test]
    fn after_an_outage_the_others_get_time_to_come_back() {
        let leases = Leases::default();
        let at = Instant::now();
        let after = |seconds| at + Duration::from_secs(seconds);
        let ran_out = [lease("own", 10_000), lease("other", -1)];
        leases.renewed(at, "own", &[lease("own", 1), lease("other", 1)]);

        assert!(leases.renewed(after(12), "own", &ran_out).died.is_empty());
        assert!(!leases.is_dead("other.0"));
        assert!(leases.renewed(after(16), "own", &ran_out).died.is_empty());
        assert_eq!(leases.renewed(after(18), "own", &ran_out).died, ["other"]);
    }

    #[test]
    fn a_renewal_that_came_too_late_is_noticed() {
        let leases = Leases::default();
        let at = Instant::now();
        assert!(!leases.renewed(at, "own", &[]).was_late);
        assert!(!leases.renewed(at + LEASE, "own", &[]).was_late);
        assert!(leases.renewed(at + 3 * LEASE, "own", &[]).was_late);
    }
}
