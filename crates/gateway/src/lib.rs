//! The gateway: ends WebSockets, checks tokens, and keeps the rooms of the connections it holds.

pub mod admin;
mod away;
mod balance;
pub mod clock;
mod config;
mod drain;
pub mod frame;
#[cfg(all(any(fuzzing, test), not(feature = "echo")))]
pub mod fuzz {
    //! What the targets in `fuzz/` call.

    pub use crate::{frame::fuzz::frames, listener::fuzz::handshake};
}
mod gateway;
pub mod handover;
mod http;
mod listener;
mod node;
mod pace;
mod rebalance;
pub mod shard;

pub use config::{Deadlines, DrainTimes, GatewayConfig, NodeLimits, Origins};
pub use drain::Drained;
pub use gateway::{Listeners, Running};
pub use http::Answer;
pub use node::{HealthCheck, Hooks, Leave, MetricsText, PageHandler};

/// Unguessable.
fn random_u64() -> u64 {
    getrandom::u64().expect("the system has a source of random numbers")
}

/// By chance, within `range`, which is not empty.
fn random_in(range: std::ops::Range<u64>) -> u64 {
    range.start + random_u64() % (range.end - range.start)
}
