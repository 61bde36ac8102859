//! What one connection is allowed: its rate, its mistakes, its signs of life, the end of its token.

use std::collections::VecDeque;

use parlance_protocol::{CloseCode, ErrorCode, UnixMicros};

use crate::{
    clock::{Mono, Now},
    quota::Bucket,
};

/// Between two heartbeats, in milliseconds.
pub(crate) const HEARTBEAT_MS: u64 = 25_000;
/// Nothing heard for so long: the connection is dead.
const IDLE_MS: u64 = 60_000;
/// How long before `exp` an extended client is warned, and how long after it is closed.
const TOKEN_MARGIN_MS: u64 = 30_000;
/// Mistakes and refusals are counted over this time.
const WINDOW_MS: u64 = 10_000;
const MALFORMED_IN_WINDOW: usize = 20;
const REFUSED_IN_WINDOW: usize = 100;

/// The instants at which something of this kind happened within the last [`WINDOW_MS`].
#[derive(Debug, Default)]
struct Recent(VecDeque<Mono>);

impl Recent {
    /// Notes one more; how many there are now.
    fn note(&mut self, now: Mono) -> usize {
        while self
            .0
            .front()
            .is_some_and(|then| now.since_ms(*then) >= WINDOW_MS)
        {
            self.0.pop_front();
        }
        self.0.push_back(now);
        self.0.len()
    }
}

/// What is counted against a session.
#[derive(Debug, Default)]
struct Mistakes {
    malformed: Recent,
    refused: Recent,
}

/// What a session wants at a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// A heartbeat is to be sent.
    Heartbeat,
    /// The token ends soon.
    TokenExpiring,
    /// The token ended, and so must the connection.
    Expired,
    /// Nothing was heard for too long.
    Idle,
}

/// One connection's budget and clocks.
#[derive(Debug)]
pub(crate) struct Session {
    bucket: Bucket,
    /// Most clients make none.
    mistakes: Option<Box<Mistakes>>,
    heard_at: Mono,
    acted_at: Mono,
    heartbeat_at: Mono,
    expires_at: UnixMicros,
    warned: bool,
}

impl Session {
    /// `chance` spreads the first heartbeat over the second half of its time.
    pub(crate) fn new(expires_at: UnixMicros, burst: u32, chance: u64, now: Now) -> Self {
        let first = HEARTBEAT_MS / 2 + chance % (HEARTBEAT_MS / 2 + 1);
        Self {
            bucket: Bucket::full(burst, now.mono),
            mistakes: None,
            heard_at: now.mono,
            acted_at: now.mono,
            heartbeat_at: now.mono.plus_ms(first),
            expires_at,
            warned: false,
        }
    }

    /// Any frame of the client.
    pub(crate) fn alive(&mut self, now: Now) {
        self.heard_at = now.mono;
    }

    /// An action that a person stands behind.
    pub(crate) fn acted(&mut self, now: Now) {
        self.acted_at = now.mono;
    }

    pub(crate) fn acted_at(&self) -> Mono {
        self.acted_at
    }

    /// Takes an action's token.
    ///
    /// # Errors
    /// After how many milliseconds it may be tried again.
    pub(crate) fn spend(&mut self, per_second: u32, burst: u32, now: Now) -> Result<(), u64> {
        self.bucket.take(per_second, burst, now.mono)
    }

    /// Notes a refusal; whether it was one too many.
    pub(crate) fn refused(&mut self, code: ErrorCode, now: Now) -> Option<CloseCode> {
        match code {
            ErrorCode::InvalidJson | ErrorCode::UnknownAction | ErrorCode::InvalidField => {
                let malformed = &mut self.mistakes.get_or_insert_default().malformed;
                let many = malformed.note(now.mono) >= MALFORMED_IN_WINDOW;
                many.then_some(CloseCode::TooManyErrors)
            }
            ErrorCode::RateLimited => {
                let refused = &mut self.mistakes.get_or_insert_default().refused;
                let many = refused.note(now.mono) >= REFUSED_IN_WINDOW;
                many.then_some(CloseCode::RateLimited)
            }
            ErrorCode::InvalidContent
            | ErrorCode::ContentTooLong
            | ErrorCode::InvalidLocalId
            | ErrorCode::LocalIdConflict
            | ErrorCode::WrongConversation
            | ErrorCode::UnknownMessage
            | ErrorCode::NotAuthor
            | ErrorCode::AccessDenied
            | ErrorCode::ResumeLost
            | ErrorCode::ResumeTooOld
            | ErrorCode::Unavailable
            | ErrorCode::Internal => None,
        }
    }

    /// A new token was accepted.
    pub(crate) fn renewed(&mut self, expires_at: UnixMicros) {
        self.expires_at = expires_at;
        self.warned = false;
    }

    pub(crate) fn expires_at(&self) -> UnixMicros {
        self.expires_at
    }

    /// When [`Session::due`] has something to say at the latest.
    pub(crate) fn deadline(&self, extended: bool, now: Now) -> Mono {
        let token = if extended && !self.warned {
            self.warn_at()
        } else {
            self.end_at()
        };
        let token = now
            .mono
            .plus_ms(token.0.saturating_sub(now.wall.0).div_ceil(1_000));
        self.heartbeat_at
            .min(self.heard_at.plus_ms(IDLE_MS))
            .min(token)
    }

    /// The next thing that is due, if one is; call it until there is none.
    pub(crate) fn due(&mut self, extended: bool, now: Now) -> Option<Due> {
        if now.wall >= self.end_at() {
            return Some(Due::Expired);
        }
        if now.mono.since_ms(self.heard_at) >= IDLE_MS {
            return Some(Due::Idle);
        }
        if extended && !self.warned && now.wall >= self.warn_at() {
            self.warned = true;
            return Some(Due::TokenExpiring);
        }
        if now.mono >= self.heartbeat_at {
            self.heartbeat_at = now.mono.plus_ms(HEARTBEAT_MS);
            return Some(Due::Heartbeat);
        }
        None
    }

    fn warn_at(&self) -> UnixMicros {
        UnixMicros(self.expires_at.0.saturating_sub(TOKEN_MARGIN_MS * 1_000))
    }

    fn end_at(&self) -> UnixMicros {
        UnixMicros(self.expires_at.0.saturating_add(TOKEN_MARGIN_MS * 1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_ms(ms: u64) -> Now {
        Now {
            mono: Mono(ms),
            wall: UnixMicros((1_000_000 + ms) * 1_000),
        }
    }

    fn session(lives_ms: u64) -> Session {
        Session::new(UnixMicros((1_000_000 + lives_ms) * 1_000), 40, 7, at_ms(0))
    }

    #[test]
    fn the_first_heartbeat_comes_within_the_second_half_and_then_every_25_s() {
        for chance in [0, 1, 12_500, 12_501, u64::MAX] {
            let far = UnixMicros(u64::MAX);
            let mut session = Session::new(far, 40, chance, at_ms(0));
            let first = session.deadline(true, at_ms(0)).0;
            assert!((12_500..=25_000).contains(&first), "{first}");
            assert_eq!(session.due(true, at_ms(first)), Some(Due::Heartbeat));
            assert_eq!(session.due(true, at_ms(first)), None);
            assert_eq!(session.deadline(true, at_ms(first)).0, first + 25_000);
        }
    }

    #[test]
    fn sixty_silent_seconds_end_the_connection() {
        let mut session = session(1_000_000);
        session.alive(at_ms(10_000));
        assert_ne!(session.due(false, at_ms(69_999)), Some(Due::Idle));
        assert_eq!(session.due(false, at_ms(70_000)), Some(Due::Idle));
    }

    #[test]
    fn an_extended_client_is_warned_once_and_everybody_closed_after_the_leeway() {
        let mut session = session(40_000);
        assert_eq!(session.deadline(true, at_ms(0)).0, 10_000);
        assert_eq!(session.due(true, at_ms(10_000)), Some(Due::TokenExpiring));
        assert_eq!(session.due(true, at_ms(10_001)), None);
        session.alive(at_ms(60_000));
        assert_eq!(session.due(false, at_ms(70_000)), Some(Due::Expired));
    }

    #[test]
    fn a_renewed_token_is_warned_of_again() {
        let mut session = session(10_000);
        assert_eq!(session.due(true, at_ms(1)), Some(Due::TokenExpiring));
        session.renewed(UnixMicros(1_100_000_000));
        assert_eq!(session.due(true, at_ms(2)), None);
        session.alive(at_ms(69_999));
        assert_eq!(session.due(true, at_ms(70_000)), Some(Due::TokenExpiring));
    }

    #[test]
    fn the_twentieth_malformed_action_within_ten_seconds_is_one_too_many() {
        let mut session = session(1_000_000);
        for i in 0..19 {
            assert_eq!(
                session.refused(ErrorCode::InvalidJson, at_ms(i * 500)),
                None
            );
        }
        let mut late = self::session(1_000_000);
        for i in 0..40 {
            assert_eq!(late.refused(ErrorCode::InvalidField, at_ms(i * 600)), None);
        }
        let last = session.refused(ErrorCode::UnknownAction, at_ms(9_999));
        assert_eq!(last, Some(CloseCode::TooManyErrors));
    }
}
