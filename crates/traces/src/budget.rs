//! So many traces in a second, so that nobody pays for a client that wants all of its messages traced.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

const NANOS: u128 = 1_000_000_000;

/// A token bucket with room for a second's worth.
#[derive(Debug)]
pub(crate) struct Budget {
    per_second: u32,
    level: Mutex<Level>,
}

#[derive(Debug)]
struct Level {
    tokens: u32,
    /// Up to when tokens were added.
    at: Instant,
}

impl Budget {
    pub(crate) fn new(per_second: u32) -> Self {
        let level = Level {
            tokens: per_second,
            at: Instant::now(),
        };
        Self {
            per_second,
            level: Mutex::new(level),
        }
    }

    pub(crate) fn take(&self) -> bool {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> bool {
        // Nothing in here can panic half way through a change.
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        level.fill(self.per_second, now);
        let Some(left) = level.tokens.checked_sub(1) else {
            return false;
        };
        level.tokens = left;
        true
    }
}

impl Level {
    fn fill(&mut self, per_second: u32, now: Instant) {
        let passed = now.saturating_duration_since(self.at);
        let due = passed.as_nanos() * u128::from(per_second) / NANOS;
        // What is less than a token stays due.
        if due > 0 {
            let due = u32::try_from(due).unwrap_or(u32::MAX);
            self.tokens = self.tokens.saturating_add(due).min(per_second);
            self.at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn taken(budget: &Budget, tries: u32, at: Instant) -> usize {
        (0..tries).filter(|_| budget.take_at(at)).count()
    }

    #[test]
    fn a_second_gives_so_many_and_saves_no_more() {
        let budget = Budget::new(10);
        let start = Instant::now();
        assert_eq!(taken(&budget, 100, start), 10);
        assert_eq!(taken(&budget, 100, start + Duration::from_millis(99)), 0);
        assert_eq!(taken(&budget, 100, start + Duration::from_millis(100)), 1);
        assert_eq!(taken(&budget, 100, start + Duration::from_secs(60)), 10);
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_gives_nothing() {
        let budget = Budget::new(1);
        let start = Instant::now() + Duration::from_secs(5);
        assert_eq!(taken(&budget, 3, start), 1);
        assert_eq!(taken(&budget, 3, start - Duration::from_secs(4)), 0);
    }

    #[test]
    fn none_is_none() {
        assert!(!Budget::new(0).take());
    }
}
