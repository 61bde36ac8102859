//! When to connect, and when to give up: the life of the connection without the connection.

use parlance_protocol::{Advice, CloseCode, backoff, limits};

/// Nothing at all for this long means that the connection is dead; the server speaks every 25 s.
const SILENCE_MS: u64 = 60_000;
/// Coming back at once is for connections that held at least this long; others back off.
const AT_ONCE_AFTER_MS: u64 = 1_000;

/// Time and chance, given in with every event.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moment {
    /// Milliseconds since some start.
    pub(crate) now_ms: u64,
    /// Any number.
    pub(crate) random: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting { until_ms: u64 },
    Opening,
    Open { since_ms: u64, heard_ms: u64 },
    Stopped,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Connect,
    /// Drop the connection: it is dead, or the server asked to move.
    Drop,
}

/// What follows from a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    WaitMs(u64),
    Stop,
}

/// One connection after the other.
#[derive(Debug)]
pub(crate) struct Link {
    phase: Phase,
    failures: u32,
    move_at_ms: Option<u64>,
    /// Whether each attempt gets a token of its own.
    fresh_tokens: bool,
}

impl Link {
    /// Due at once.
    pub(crate) fn new(fresh_tokens: bool) -> Self {
        Self {
            phase: Phase::Waiting { until_ms: 0 },
            failures: 0,
            move_at_ms: None,
            fresh_tokens,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    pub(crate) fn opened(&mut self, now_ms: u64) {
        self.move_at_ms = None;
        self.phase = Phase::Open {
            since_ms: now_ms,
            heard_ms: now_ms,
        };
    }

    /// Something came.
    pub(crate) fn heard(&mut self, now_ms: u64) {
        if let Phase::Open { since_ms, .. } = self.phase {
            self.phase = Phase::Open {
                since_ms,
                heard_ms: now_ms,
            };
        }
    }

    /// The server asks to move in a while.
    pub(crate) fn move_at(&mut self, at_ms: u64) {
        self.move_at_ms = Some(at_ms);
    }

    /// The connection ended, or an attempt failed, with a close code (1006: without one).
    pub(crate) fn closed(&mut self, code: u16, reason: &str, moment: Moment) -> After {
        let held_ms = match self.phase {
            Phase::Open { since_ms, .. } => moment.now_ms.saturating_sub(since_ms),
            Phase::Waiting { .. } | Phase::Opening | Phase::Stopped => 0,
        };
        if held_ms >= limits::STABLE_MS {
            self.failures = 0;
        }
        let backoff_ms = backoff(self.failures, moment.random).as_millis();
        let backoff_ms = u64::try_from(backoff_ms).expect("a backoff is seconds");
        self.failures = self.failures.saturating_add(1);
        let after = match CloseCode::advice(code) {
            Advice::Stop => After::Stop,
            Advice::Reconnect => After::WaitMs(backoff_ms),
            Advice::ReconnectAfterReason => {
                After::WaitMs(retry_after_ms(reason).unwrap_or(backoff_ms))
            }
            Advice::ReconnectAtOnce if held_ms >= AT_ONCE_AFTER_MS => After::WaitMs(0),
            Advice::ReconnectAtOnce => After::WaitMs(backoff_ms),
            Advice::NewToken if self.fresh_tokens && held_ms >= limits::STABLE_MS => {
                After::WaitMs(0)
            }
            Advice::NewToken => After::Stop,
        };
        self.phase = match after {
            After::WaitMs(wait_ms) => Phase::Waiting {
                until_ms: moment.now_ms + wait_ms,
            },
            After::Stop => Phase::Stopped,
        };
        after
    }

    /// What is due now; a `Connect` is then under way.
    pub(crate) fn due(&mut self, now_ms: u64) -> Due {
        match self.phase {
            Phase::Waiting { until_ms } if until_ms <= now_ms => {
                self.phase = Phase::Opening;
                Due::Connect
            }
            Phase::Open { heard_ms, .. } if heard_ms + SILENCE_MS <= now_ms => Due::Drop,
            Phase::Open { .. } if self.move_at_ms.is_some_and(|at_ms| at_ms <= now_ms) => Due::Drop,
            Phase::Waiting { .. } | Phase::Opening | Phase::Open { .. } | Phase::Stopped => {
                Due::Nothing
            }
        }
    }

    /// The connection was dropped on purpose: come back now, or after a backoff if it was dead.
    pub(crate) fn dropped(&mut self, moment: Moment) {
        let moving = self.move_at_ms.take().is_some();
        self.closed(1006, "", moment);
        if moving {
            self.phase = Phase::Waiting {
                until_ms: moment.now_ms,
            };
        }
    }

    /// When [`Link::due`] should be asked next.
    pub(crate) fn wake_ms(&self) -> Option<u64> {
        match self.phase {
            Phase::Waiting { until_ms } => Some(until_ms),
            Phase::Open { heard_ms, .. } => {
                let silence_ms = heard_ms + SILENCE_MS;
                Some(
                    self.move_at_ms
                        .map_or(silence_ms, |at_ms| at_ms.min(silence_ms)),
                )
            }
            Phase::Opening | Phase::Stopped => None,
        }
    }
}

/// Closes 1012 and 1013 say in JSON when to come back.
fn retry_after_ms(reason: &str) -> Option<u64> {
    let reason: serde_json::Value = serde_json::from_str(reason).ok()?;
    reason.get("retry_after_ms")?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(now_ms: u64) -> Moment {
        Moment {
            now_ms,
            random: 7_000,
        }
    }

    fn open(fresh_tokens: bool) -> Link {
        let mut link = Link::new(fresh_tokens);
        assert_eq!(link.due(0), Due::Connect);
        assert_eq!(link.due(0), Due::Nothing);
        link.opened(0);
        link
    }

    #[test]
    fn a_lost_connection_backs_off_longer_with_every_failure_in_a_row() {
        let mut link = open(true);
        let mut waits = Vec::new();
        for _ in 0..4 {
            let After::WaitMs(wait_ms) = link.closed(1006, "", at(0)) else {
                panic!("1006 is no reason to stop");
            };
            waits.push(wait_ms);
        }
        // min + 7,000 mod (spread + 1), spreads 500, 1,000, 2,000 and 4,000 ms
        assert_eq!(waits, [500 + 487, 500 + 994, 500 + 997, 500 + 2_999]);
    }

    #[test]
    fn a_connection_that_held_starts_the_backoff_anew() {
        let mut link = open(true);
        for _ in 0..5 {
            link.closed(1006, "", at(0));
        }
        link.opened(10_000);
        assert_eq!(link.closed(1006, "", at(15_000)), After::WaitMs(987));
    }

    #[test]
    fn a_leaving_node_says_when_to_come_back() {
        let mut link = open(true);
        let after = link.closed(1012, r#"{"retry_after_ms":321}"#, at(0));
        assert_eq!(after, After::WaitMs(321));
        assert_eq!(link.due(320), Due::Nothing);
        assert_eq!(link.due(321), Due::Connect);
    }

    #[test]
    fn a_refused_token_is_never_tried_again() {
        assert_eq!(open(false).closed(4003, "", at(60_000)), After::Stop);
        assert_eq!(open(true).closed(4003, "", at(0)), After::Stop);
        assert_eq!(open(true).closed(4003, "", at(60_000)), After::WaitMs(0));
    }

    #[test]
    fn a_bug_or_a_closed_door_ends_it() {
        for code in [1000, 1002, 1009, 4004, 4400] {
            assert_eq!(
                open(true).closed(code, "", at(60_000)),
                After::Stop,
                "{code}"
            );
        }
    }

    #[test]
    fn coming_back_at_once_does_not_spin() {
        assert_eq!(open(true).closed(4100, "", at(1_000)), After::WaitMs(0));
        assert_eq!(open(true).closed(4100, "", at(999)), After::WaitMs(987));
    }

    #[test]
    fn silence_is_death() {
        let mut link = open(true);
        link.heard(30_000);
        assert_eq!(link.due(89_999), Due::Nothing);
        assert_eq!(link.due(90_000), Due::Drop);
    }

    #[test]
    fn a_server_that_asks_to_move_is_left_and_found_again_at_once() {
        let mut link = open(true);
        link.move_at(500);
        assert_eq!(link.wake_ms(), Some(500));
        assert_eq!(link.due(500), Due::Drop);
        link.dropped(at(500));
        assert_eq!(link.due(500), Due::Connect);
    }
}
