//! What falls due when: one heap for the connections and rooms of a shard.
//!
//! Deadlines move far more often than they pass, so an entry is never searched and taken out:
//! whoever arms a timer remembers the earliest instant that stands in the heap for it, and an entry
//! of another instant is passed over when it comes up.

use std::{cmp::Reverse, collections::BinaryHeap};

use parlance_core::clock::Mono;

use super::{ConnKey, RoomKey};

/// Whose deadline it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Conn(ConnKey),
    Room(RoomKey),
}

/// All deadlines of a shard.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Mono, Due)>>,
}

/// The earliest entry in the heap that counts for its owner.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Armed(Option<Mono>);

impl Timers {
    /// Makes sure that `due` comes up at `at` at the latest.
    pub(super) fn arm(&mut self, armed: &mut Armed, at: Mono, due: Due) {
        if armed.0.is_none_or(|standing| at < standing) {
            armed.0 = Some(at);
            self.heap.push(Reverse((at, due)));
        }
    }

    /// The next entry that is due at `now`, and its instant for [`Armed::fires`].
    pub(super) fn pop(&mut self, now: Mono) -> Option<(Mono, Due)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// When the next entry is due.
    pub(super) fn next(&self) -> Option<Mono> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }
}

impl Armed {
    /// Whether the entry of `at` is the one that counts. It is used up then.
    pub(super) fn fires(&mut self, at: Mono) -> bool {
        let counts = self.0 == Some(at);
        if counts {
            self.0 = None;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_deadline_comes_up_first_and_the_later_entry_is_passed_over() {
        let mut timers = Timers::default();
        let mut armed = Armed::default();
        let due = Due::Conn(ConnKey(7));
        timers.arm(&mut armed, Mono(20), due);
        timers.arm(&mut armed, Mono(10), due);
        timers.arm(&mut armed, Mono(15), due);
        assert_eq!(timers.pop(Mono(9)), None);
        assert_eq!(timers.pop(Mono(10)), Some((Mono(10), due)));
        assert!(armed.fires(Mono(10)));
        assert_eq!(timers.pop(Mono(30)), Some((Mono(20), due)));
        assert!(!armed.fires(Mono(20)));
        assert_eq!(timers.next(), None);
    }
}
