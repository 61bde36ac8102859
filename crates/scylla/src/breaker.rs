//! When reads are not even tried: a store that does not answer would hold every caller for the
//! whole limit, and their number would grow with each second of it.
//!
//! Called by `gate` with the time; waits for nothing. It knows only of reads that reached the store:
//! what was refused before says nothing about it.

use std::time::{Duration, Instant};

/// So many failures in a row open it. One may be a node that just went away, and is asked elsewhere
/// the next time.
const FAILURES: u32 = 5;
/// All of them within this time: five failures in an hour are none.
const WITHIN: Duration = Duration::from_secs(5);
/// How long it stays open before one read is let through.
const PAUSE: Duration = Duration::from_millis(500);
/// A probe that has not been heard of for so long is lost, and another one may go.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);

/// Lets reads through, or not.
#[derive(Debug)]
pub(crate) struct Breaker {
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
        since: Option<Instant>,
    },
    /// Until then nothing passes.
    Open { until: Instant },
    /// One read is under way; until then no other.
    Probing { until: Instant },
}

/// That a read may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    Usual,
    Probe,
}

impl Default for Breaker {
    fn default() -> Self {
        let (failures, since) = (0, None);
        Self {
            state: State::Closed { failures, since },
        }
    }
}

impl Breaker {
    /// Whether a read that comes now has no chance.
    pub(crate) fn refuses(&self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => false,
            State::Open { until } | State::Probing { until } => now < until,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// Lets a read go. Whoever got a pass says how it ended.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<Pass> {
        if self.is_closed() {
            return Some(Pass::Usual);
        }
        if self.refuses(now) {
            return None;
        }
        let until = now + PROBE_PATIENCE;
        self.state = State::Probing { until };
        Some(Pass::Probe)
    }

    /// The store answered.
    pub(crate) fn succeeded(&mut self, pass: Pass) {
        match (self.state, pass) {
            (State::Closed { .. }, _) | (State::Probing { .. }, Pass::Probe) => {
                *self = Self::default();
            }
            // It was sent before the store stopped answering: that it came back late proves little.
            (State::Open { .. } | State::Probing { .. }, Pass::Usual)
            | (State::Open { .. }, Pass::Probe) => {}
        }
    }

    /// The store did not answer in time, or not for all of a quorum.
    pub(crate) fn failed(&mut self, pass: Pass, now: Instant) {
        match (self.state, pass) {
            (State::Closed { failures, since }, _) => {
                let recent = since.filter(|since| now.duration_since(*since) <= WITHIN);
                let failures = if recent.is_some() { failures + 1 } else { 1 };
                self.state = if failures < FAILURES {
                    let since = recent.or(Some(now));
                    State::Closed { failures, since }
                } else {
                    open(now)
                };
            }
            (State::Probing { .. }, Pass::Probe) => self.state = open(now),
            (State::Open { .. } | State::Probing { .. }, Pass::Usual)
            | (State::Open { .. }, Pass::Probe) => {}
        }
    }
}

fn open(now: Instant) -> State {
    State::Open { until: now + PAUSE }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES {
            let pass = breaker.admit(now).unwrap();
            breaker.failed(pass, now);
        }
        breaker
    }

    #[test]
    fn it_opens_at_the_fifth_failure_in_a_row() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for failure in 1..=FAILURES {
            assert!(breaker.is_closed(), "before failure {failure}");
            breaker.failed(Pass::Usual, now);
        }
        assert!(!breaker.is_closed());
        assert!(breaker.refuses(now));
        assert_eq!(breaker.admit(now), None);
    }

    #[test]
    fn a_success_between_makes_the_count_begin_anew() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            for _ in 1..FAILURES {
                breaker.failed(Pass::Usual, now);
            }
            breaker.succeeded(Pass::Usual);
        }
        assert!(breaker.is_closed());
    }

    #[test]
    fn failures_far_apart_do_not_open_it() {
        let mut now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            breaker.failed(Pass::Usual, now);
            now += WITHIN / 3;
        }
        assert!(breaker.is_closed());
    }

    #[test]
    fn after_the_pause_one_read_goes_and_no_other() {
        let now = Instant::now();
        let mut breaker = opened(now);

        assert_eq!(breaker.admit(now + PAUSE - MS), None);
        assert_eq!(breaker.admit(now + PAUSE), Some(Pass::Probe));
        assert_eq!(breaker.admit(now + PAUSE), None);
    }

    #[test]
    fn the_probes_success_closes_it_and_its_failure_does_not() {
        let now = Instant::now();
        let mut breaker = opened(now);

        let probe = breaker.admit(now + PAUSE).unwrap();
        breaker.failed(probe, now + PAUSE);
        assert_eq!(breaker.admit(now + PAUSE + PAUSE - MS), None);

        let probe = breaker.admit(now + PAUSE + PAUSE).unwrap();
        breaker.succeeded(probe);
        assert!(breaker.is_closed());
    }

    #[test]
    fn late_answers_of_earlier_reads_change_nothing_while_it_is_open() {
        let now = Instant::now();
        let mut breaker = opened(now);
        breaker.succeeded(Pass::Usual);
        assert!(breaker.refuses(now));

        let later = now + PAUSE;
        let _probe = breaker.admit(later).unwrap();
        breaker.failed(Pass::Usual, later);
        breaker.succeeded(Pass::Usual);
        assert!(breaker.refuses(later) && !breaker.is_closed());
    }

    #[test]
    fn a_probe_that_was_lost_is_followed_by_another() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let _lost = breaker.admit(now + PAUSE).unwrap();

        assert_eq!(breaker.admit(now + PAUSE + PROBE_PATIENCE - MS), None);
        assert_eq!(
            breaker.admit(now + PAUSE + PROBE_PATIENCE),
            Some(Pass::Probe)
        );
    }
}
