//! How many members a leaving node sends away at a time. Called by the drain, and only arithmetic: who
//! goes is the shards' choice, and the budget is asked elsewhere.
//!
//! With a budget the pace is what the others take. Without one, because nobody else takes any or
//! nobody can be asked, it is the window's: extended members are asked over its first half, so that
//! each has the second to go in, and the others are closed until it ends.

use std::time::Duration;

use crate::handover::Census;

/// A node with fewer clients than fill the window sends away so many in a second.
const CLIENTS_PER_SECOND: u32 = 100;
/// So much time is left in any case for clients that open their next connection first.
const SHORTEST: Duration = Duration::from_secs(2);

/// What is done at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// Members that are asked.
    pub(crate) ask: usize,
    /// Members that are closed.
    pub(crate) close: usize,
}

impl Step {
    /// What is granted, for those first who leave by themselves.
    pub(crate) fn granted(granted: usize, census: Census) -> Self {
        let ask = granted.min(census.askable);
        let close = (granted - ask).min(census.closable);
        Self { ask, close }
    }
}

/// The pace of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WindowPace {
    span: Duration,
}

impl WindowPace {
    /// For so many members, and so much of the window.
    pub(crate) fn new(members: usize, window: Duration) -> Self {
        let members = u32::try_from(members).unwrap_or(u32::MAX);
        let needed = Duration::from_secs(1) * members / CLIENTS_PER_SECOND;
        let span = needed.max(SHORTEST).min(window);
        Self { span }
    }

    /// What is done `since` its begin, and `tick` after the step before. Nobody is closed while there
    /// is anybody to be asked.
    pub(crate) fn step(self, census: Census, since: Duration, tick: Duration) -> Step {
        let left_of = |span: Duration| span.saturating_sub(since);
        if census.askable > 0 {
            let ask = part(census.askable, tick, left_of(self.span / 2));
            return Step { ask, close: 0 };
        }
        let close = part(census.closable, tick, left_of(self.span));
        Step { ask: 0, close }
    }
}

/// The part of `count` that falls on `tick` when all are to be done within `left`.
fn part(count: usize, tick: Duration, left: Duration) -> usize {
    if left <= tick {
        return count;
    }
    let part = (count as u128 * tick.as_micros()).div_ceil(left.as_micros());
    usize::try_from(part).unwrap_or(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(250);
    const WINDOW: Duration = Duration::from_secs(30);

    fn census(askable: usize, waiting: usize, closable: usize) -> Census {
        Census {
            askable,
            waiting,
            closable,
        }
    }

    #[test]
    fn many_members_get_the_window_and_few_only_what_they_need() {
        let span = |members, window| WindowPace::new(members, window).span;
        assert_eq!(span(1, WINDOW), SHORTEST);
        assert_eq!(span(1_000, WINDOW), Duration::from_secs(10));
        assert_eq!(span(usize::MAX, WINDOW), WINDOW);
        assert_eq!(span(10, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn what_is_granted_goes_to_those_first_who_can_be_asked() {
        let step = |granted| {
            let Step { ask, close } = Step::granted(granted, census(5, 9, 7));
            (ask, close)
        };
        assert_eq!(step(3), (3, 0));
        assert_eq!(step(8), (5, 3));
        assert_eq!(step(100), (5, 7));
    }

    /// Asked members leave at once.
    #[test]
    fn the_window_is_used_evenly_and_nobody_is_left_at_its_end() {
        let pace = WindowPace::new(6_000, WINDOW);
        let (mut now, mut here, mut most) = (Duration::ZERO, census(3_000, 0, 3_000), 0);
        while now < WINDOW {
            let Step { ask, close } = pace.step(here, now, TICK);
            assert!(
                close == 0 || here.askable == 0,
                "closed before all are asked"
            );
            here.askable -= ask;
            here.closable -= close;
            most = most.max(ask + close);
            now += TICK;
        }
        assert_eq!(here, Census::default());
        assert!(most <= 60, "{most} at once where 50 are even");
    }

    #[test]
    fn who_was_asked_and_did_not_go_is_closed_after_the_window() {
        let pace = WindowPace::new(10, WINDOW);
        let step = pace.step(census(0, 1, 3), SHORTEST, TICK);
        assert_eq!((step.ask, step.close), (0, 3));
    }
}
