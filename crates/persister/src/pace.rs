//! How long to wait: between readings, and after something failed.
//!
//! Called by the work on a partition. Chance comes in as an argument; nothing here waits.

use std::time::Duration;

/// Between readings while there is something to read.
const BUSY: Duration = Duration::from_millis(5);
/// Between readings when there has not been anything for a while.
const IDLE: Duration = Duration::from_millis(100);
/// After the first failure.
const FIRST: Duration = Duration::from_millis(50);
/// After many.
const LAST: Duration = Duration::from_secs(1);

/// The pauses between the readings of a partition.
#[derive(Debug)]
pub(crate) struct Pace {
    pause: Duration,
}

impl Pace {
    /// Of a partition of which nothing is known.
    pub(crate) const fn new() -> Self {
        Self { pause: BUSY }
    }

    /// The pause after a reading of `ids` when at most `limit` were asked for.
    pub(crate) fn after_reading(&mut self, ids: usize, limit: usize) -> Duration {
        if ids >= limit {
            self.pause = BUSY;
            return Duration::ZERO;
        }
        if ids > 0 {
            self.pause = BUSY;
            return BUSY;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(IDLE);
        pause
    }

    /// The pause before what was read under an epoch that is over is read again.
    pub(crate) fn after_refusal(&mut self) -> Duration {
        self.pause = BUSY;
        BUSY
    }
}

/// The pauses between tries of something that fails.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    /// Before the first failure.
    pub(crate) const fn new() -> Self {
        Self { next: FIRST }
    }

    /// The pause after one more failure: between half and all of a span that doubles.
    /// `chance` is from 0 to 1.
    pub(crate) fn after_failure(&mut self, chance: f64) -> Duration {
        let span = self.next;
        self.next = (span * 2).min(LAST);
        span.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_full_reading_is_followed_at_once() {
        let mut pace = Pace::new();
        assert_eq!(pace.after_reading(500, 500), Duration::ZERO);
        assert_eq!(pace.after_reading(499, 500), ms(5));
    }

    #[test]
    fn pauses_double_while_there_is_nothing_and_are_short_again_after_something() {
        let mut pace = Pace::new();
        let idle: Vec<_> = (0..7).map(|_| pace.after_reading(0, 500)).collect();
        let expected = [5, 10, 20, 40, 80, 100, 100].map(ms);
        assert_eq!(idle, expected);
        assert_eq!(pace.after_reading(1, 500), ms(5));
        assert_eq!(pace.after_reading(0, 500), ms(5));
        assert_eq!(pace.after_reading(0, 500), ms(10));
    }

    #[test]
    fn pauses_after_failures_double_up_to_a_second_and_spread() {
        let mut calm = Backoff::new();
        let most: Vec<_> = (0..7).map(|_| calm.after_failure(1.0)).collect();
        assert_eq!(most, [50, 100, 200, 400, 800, 1_000, 1_000].map(ms));
        assert_eq!(Backoff::new().after_failure(0.0), ms(25));
    }
}
