//! A relay before Redis that can hold one command.
//!
//! Used by tests that stop or kill whoever asks at an exact moment: before Redis has the command, or
//! after Redis has done it and before the answer is heard.

use std::net::{Ipv4Addr, SocketAddr};

use super::Redis;
use crate::relay::{Caught, Framing, Relay};

/// The relay; its connections end when it is dropped.
#[derive(Debug)]
pub struct Tap {
    relay: Relay,
}

impl Tap {
    /// A relay to this Redis.
    pub async fn to(redis: &Redis) -> Self {
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, redis.port()));
        Self {
            relay: Relay::to(Framing::Resp, target).await,
        }
    }

    /// `redis://…`
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.relay.address())
    }

    /// Holds the next command that fits. It is shown as text, its parts as the protocol has them.
    /// Panics when none comes in time.
    pub async fn catch(&self, fits: fn(&str) -> bool) -> Caught {
        self.relay.catch(fits).await
    }
}
