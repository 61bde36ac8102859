//! What a client does after a close: its next step by code, and how long it waits.

use std::time::Duration;

use crate::{CloseCode, limits};

/// A client's next step after a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Advice {
    /// Do not come back by oneself: it would end the same way.
    Stop,
    /// Come back after [`backoff`].
    Reconnect,
    /// Come back after the `retry_after_ms` of the reason; without one, after [`backoff`].
    ReconnectAfterReason,
    /// Come back now, with `since`.
    ReconnectAtOnce,
    /// Fetch a new token, then come back. Never with the same token.
    NewToken,
}

impl CloseCode {
    /// What a client does after a close with `code`, known or not. 1006 stands for a connection
    /// that ended without a close frame.
    ///
    /// A code of the ranges 4100, 4200 and 4400 that is not known means what its range means; any
    /// other unknown code comes from something between client and server, which may pass.
    #[must_use]
    pub const fn advice(code: u16) -> Advice {
        match code {
            1000 | 1002 | 1003 | 1007..=1010 | 4004 | 4400..=4499 => Advice::Stop,
            1012 | 1013 => Advice::ReconnectAfterReason,
            4003 => Advice::NewToken,
            4100..=4199 => Advice::ReconnectAtOnce,
            _ => Advice::Reconnect,
        }
    }
}

/// How long to wait before attempt `failures` + 1: full jitter, from 0.5 s to at most 20.5 s.
///
/// `random` is any 64-bit number. `failures` is how many attempts in a row failed; it starts anew
/// after a connection that held for [`limits::STABLE_MS`].
#[must_use]
pub const fn backoff(failures: u32, random: u64) -> Duration {
    let min_ms = limits::BACKOFF_MIN_MS;
    let doublings = if failures < 32 { failures } else { 32 };
    let spread_ms = min_ms << doublings;
    let capped_ms = if spread_ms < limits::BACKOFF_MAX_MS {
        spread_ms
    } else {
        limits::BACKOFF_MAX_MS
    };
    Duration::from_millis(min_ms + random % (capped_ms + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_close_code_of_the_server_has_the_advice_of_the_protocol() {
        let expected = [
            (CloseCode::Normal, Advice::Stop),
            (CloseCode::GoingAway, Advice::Reconnect),
            (CloseCode::ProtocolError, Advice::Stop),
            (CloseCode::Unsupported, Advice::Stop),
            (CloseCode::InvalidUtf8, Advice::Stop),
            (CloseCode::Flood, Advice::Stop),
            (CloseCode::TooBig, Advice::Stop),
            (CloseCode::ServerFault, Advice::Reconnect),
            (CloseCode::NodeLeaving, Advice::ReconnectAfterReason),
            (CloseCode::Overloaded, Advice::ReconnectAfterReason),
            (CloseCode::Unauthorized, Advice::NewToken),
            (CloseCode::AccessDenied, Advice::Stop),
            (CloseCode::Resync, Advice::ReconnectAtOnce),
            (CloseCode::Idle, Advice::Reconnect),
            (CloseCode::RateLimited, Advice::Reconnect),
            (CloseCode::DependencyDown, Advice::Reconnect),
            (CloseCode::TooManyErrors, Advice::Stop),
        ];
        assert_eq!(expected.map(|(code, _)| code), CloseCode::ALL);
        for (code, advice) in expected {
            assert_eq!(CloseCode::advice(code.get()), advice, "{code:?}");
        }
    }

    #[test]
    fn unknown_codes_mean_what_their_range_means() {
        assert_eq!(CloseCode::advice(1006), Advice::Reconnect);
        assert_eq!(CloseCode::advice(4199), Advice::ReconnectAtOnce);
        assert_eq!(CloseCode::advice(4299), Advice::Reconnect);
        assert_eq!(CloseCode::advice(4499), Advice::Stop);
        assert_eq!(CloseCode::advice(4999), Advice::Reconnect);
    }

    proptest! {
        #[test]
        fn backoff_spreads_over_what_the_failures_so_far_allow(failures: u32, random: u64) {
            let waited_ms = backoff(failures, random).as_millis();
            let doubled = 500_u128.saturating_mul(1 << failures.min(64));
            prop_assert!((500..=500 + doubled.min(20_000)).contains(&waited_ms));
        }
    }

    #[test]
    fn backoff_reaches_both_ends() {
        assert_eq!(backoff(0, 0), Duration::from_millis(500));
        assert_eq!(backoff(0, 500), Duration::from_millis(1_000));
        assert_eq!(backoff(u32::MAX, 20_000), Duration::from_millis(20_500));
    }
}
