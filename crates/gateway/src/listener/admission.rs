//! How many are let in: the caps of the node and of each user, as guards that count while they
//! live. They travel with the connection and are dropped on whatever thread closes it.

use std::{
    collections::{HashMap, hash_map},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use parlance_core::{clock::Mono, quota::UserQuota};
use parlance_protocol::UserId;

/// A count with a cap.
#[derive(Debug)]
pub(crate) struct Gate {
    limit: usize,
    inside: AtomicUsize,
}

/// Counts as one in its [`Gate`] until it is dropped.
#[derive(Debug)]
pub(crate) struct Pass(Arc<Gate>);

/// The users with connections on this node. A user is forgotten with its last connection.
#[derive(Debug)]
pub(crate) struct Users {
    connections_each: usize,
    actions_per_second: u32,
    present: Mutex<HashMap<UserId, PresentUser>>,
}

#[derive(Debug)]
struct PresentUser {
    connections: usize,
    quota: Arc<UserQuota>,
}

/// Counts as one connection of its user until it is dropped.
#[derive(Debug)]
pub(crate) struct UserPass {
    users: Arc<Users>,
    user: UserId,
}

// === impl Gate ===

impl Gate {
    /// `limit == 0`: counts without a cap.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit: unlimited_if_zero(limit),
            inside: AtomicUsize::new(0),
        })
    }

    pub(crate) fn enter(self: &Arc<Self>) -> Option<Pass> {
        let one_more = |inside: usize| (inside < self.limit).then(|| inside + 1);
        self.inside
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()
            .map(|_| Pass(Arc::clone(self)))
    }

    pub(crate) fn inside(&self) -> usize {
        self.inside.load(Ordering::Relaxed)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.inside() >= self.limit
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Users ===

impl Users {
    /// `0` is no limit for both.
    pub(crate) fn new(connections_each: usize, actions_per_second: u32) -> Arc<Self> {
        Arc::new(Self {
            connections_each: unlimited_if_zero(connections_each),
            actions_per_second,
            present: Mutex::default(),
        })
    }

    /// Counts a connection of `user`, and gives what all its connections share. `None`: it has as
    /// many as it may.
    pub(crate) fn enter(
        self: &Arc<Self>,
        user: &UserId,
        now: Mono,
    ) -> Option<(UserPass, Arc<UserQuota>)> {
        let mut present = self.present();
        let entry = present.entry(user.clone()).or_insert_with(|| PresentUser {
            connections: 0,
            quota: Arc::new(UserQuota::new(self.actions_per_second, now)),
        });
        if entry.connections >= self.connections_each {
            return None;
        }
        entry.connections += 1;
        let pass = UserPass {
            users: Arc::clone(self),
            user: user.clone(),
        };
        Some((pass, Arc::clone(&entry.quota)))
    }

    /// A panic cannot leave the table half changed, so a poisoned lock is as good as another.
    fn present(&self) -> MutexGuard<'_, HashMap<UserId, PresentUser>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UserPass {
    fn drop(&mut self) {
        let mut present = self.users.present();
        if let hash_map::Entry::Occupied(mut entry) = present.entry(self.user.clone()) {
            entry.get_mut().connections -= 1;
            if entry.get().connections == 0 {
                entry.remove();
            }
        }
    }
}

fn unlimited_if_zero(limit: usize) -> usize {
    if limit == 0 { usize::MAX } else { limit }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    #[test]
    fn a_gate_lets_in_up_to_its_limit_and_again_after_somebody_left() {
        let gate = Gate::new(2);
        let first = gate.enter().unwrap();
        let _second = gate.enter().unwrap();
        assert!(gate.enter().is_none());
        drop(first);
        assert!(gate.enter().is_some());
    }

    #[test]
    fn a_gate_with_limit_zero_never_closes() {
        let gate = Gate::new(0);
        let passes: Vec<_> = (0..10_000).filter_map(|_| gate.enter()).collect();
        assert_eq!((passes.len(), gate.is_full()), (10_000, false));
    }

    #[test]
    fn all_connections_of_a_user_share_one_quota_and_others_have_their_own() {
        let users = Users::new(2, 100);
        let (_a1, quota1) = users.enter(&user("a"), Mono(0)).unwrap();
        let (_a2, quota2) = users.enter(&user("a"), Mono(0)).unwrap();
        let (_b, other) = users.enter(&user("b"), Mono(0)).unwrap();
        assert!(Arc::ptr_eq(&quota1, &quota2));
        assert!(!Arc::ptr_eq(&quota1, &other));
        assert!(users.enter(&user("a"), Mono(0)).is_none());
    }

    #[test]
    fn a_user_is_forgotten_with_its_last_connection() {
        let users = Users::new(1, 100);
        let (pass, _) = users.enter(&user("a"), Mono(0)).unwrap();
        assert!(users.enter(&user("a"), Mono(0)).is_none());
        drop(pass);
        assert!(users.present().is_empty());
    }
}
