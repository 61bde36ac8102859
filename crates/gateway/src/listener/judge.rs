//! Who comes in: the judgement over a proper upgrade request, in the order of the protocol (token,
//! then access, then the user's cap). All of it is local and takes microseconds.

use parlance_core::{ports::Denied, room::Joiner};
use parlance_protocol::{CloseCode, ConversationId};
use parlance_telemetry::labels::{Accept, AuthFailure, RateLimit};

use super::{admission::UserPass, handshake::Ask};
use crate::node::Node;

/// A connection that may join.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) conversation: ConversationId,
    pub(super) joiner: Joiner,
    pub(super) user_pass: UserPass,
}

/// A connection that is upgraded only to be told why it is closed: a browser cannot see the status
/// of a refused upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TurnedAway {
    Unauthorized(Denied),
    /// The conversation does not exist, cannot exist, or is not this user's: one answer for all.
    AccessDenied,
    TooManyOfUser,
}

/// Judges what is asked.
pub(super) fn judge(ask: &Ask<'_>, node: &Node) -> Result<Admitted, TurnedAway> {
    let now = node.clock.now();
    let identity = match &ask.token {
        Some(token) => node.verifier.verify(token, now.wall),
        None => Err(Denied::Missing),
    }
    .map_err(TurnedAway::Unauthorized)?;
    let conversation = ConversationId::new(&ask.conversation)
        .ok()
        .filter(|conversation| identity.may_join(conversation))
        .ok_or(TurnedAway::AccessDenied)?;
    let (user_pass, quota) = node
        .users
        .enter(&identity.user, now.mono)
        .ok_or(TurnedAway::TooManyOfUser)?;
    let joiner = Joiner {
        identity,
        extended: ask.extended,
        since: ask.since.as_deref().map(Into::into),
        connection_id: crate::random_u64(),
        quota,
    };
    Ok(Admitted {
        conversation,
        joiner,
        user_pass,
    })
}

// === impl TurnedAway ===

impl TurnedAway {
    pub(super) const fn close_code(self) -> CloseCode {
        match self {
            Self::Unauthorized(_) => CloseCode::Unauthorized,
            Self::AccessDenied => CloseCode::AccessDenied,
            Self::TooManyOfUser => CloseCode::RateLimited,
        }
    }

    /// For a person who reads a client's log. Says nothing that helps to guess tokens or ids.
    pub(super) const fn close_reason(self) -> &'static str {
        match self {
            Self::Unauthorized(_) => "unauthorized",
            Self::AccessDenied => "access denied",
            Self::TooManyOfUser => "too many connections of this user",
        }
    }

    /// Counts what is more than the outcome, and gives the outcome.
    pub(super) fn count(self, node: &Node) -> Accept {
        match self {
            Self::Unauthorized(denied) => {
                let why = auth_failure(denied);
                node.metrics.auth_failures.of(why).increment(1);
                Accept::Unauthorized
            }
            Self::AccessDenied => Accept::AccessDenied,
            Self::TooManyOfUser => {
                let limits = &node.metrics.rate_limited;
                limits.of(RateLimit::UserConnections).increment(1);
                Accept::TooManyOfUser
            }
        }
    }
}

const fn auth_failure(denied: Denied) -> AuthFailure {
    match denied {
        Denied::Missing => AuthFailure::Missing,
        Denied::Malformed => AuthFailure::Malformed,
        Denied::UnknownKey => AuthFailure::UnknownKey,
        Denied::BadSignature => AuthFailure::BadSignature,
        Denied::Expired => AuthFailure::Expired,
        Denied::NotYet => AuthFailure::NotYet,
        Denied::BadClaim => AuthFailure::BadClaim,
    }
}
