//! What falls due when: one heap for the connections and rooms of a shard.
//!
//! Deadlines move far more often than they pass, so an entry is never searched and taken out:
//! whoever arms a timer remembers the earliest instant that stands in the heap for it, and an entry
//! of another instant is passed over when it comes up.
//!
//! What falls due within one [`TICK_MS`] comes up together: a shard that thousands of receipts and
//! heartbeats wake one by one does little else. Nothing here is as exact as that.

use std::{cmp::Reverse, collections::BinaryHeap};

use parlance_core::clock::Mono;

use super::{ConnKey, RoomKey};

/// Deadlines are moved back to the next multiple of this.
const TICK_MS: u64 = 32;

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
    /// Makes sure that `due` comes up at the tick behind `at` at the latest.
    pub(super) fn arm(&mut self, armed: &mut Armed, at: Mono, due: Due) {
        let at = Mono(at.0.next_multiple_of(TICK_MS));
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
        timers.arm(&mut armed, Mono(80), due);
        timers.arm(&mut armed, Mono(40), due);
        timers.arm(&mut armed, Mono(70), due);
        assert_eq!(timers.pop(Mono(63)), None);
        assert_eq!(timers.pop(Mono(64)), Some((Mono(64), due)));
        assert!(armed.fires(Mono(64)));
        assert_eq!(timers.pop(Mono(100)), Some((Mono(96), due)));
        assert!(!armed.fires(Mono(96)));
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn what_falls_due_at_about_the_same_time_comes_up_together() {
        let mut timers = Timers::default();
        for (key, at) in [(1, 33), (2, 50), (3, 64), (4, 65)] {
            timers.arm(&mut Armed::default(), Mono(at), Due::Conn(ConnKey(key)));
        }
        let together = std::iter::from_fn(|| timers.pop(Mono(64))).count();
        assert_eq!((together, timers.next()), (3, Some(Mono(96))));
    }
}
