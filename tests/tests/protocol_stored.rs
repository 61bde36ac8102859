//! The suite of the wire protocol, word for word, on two gateways, a Redis, two persisters and a real
//! store. Logs keep four events there, so that nearly every reading crosses from the log into the
//! store; `PARLANCE_TAIL` in the environment is another length (the usual one is 256).

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use parlance_testkit::server::{Parlance, Setup};

#[path = "protocol/suite.rs"]
mod suite;

/// Two nodes that share a Redis and a store.
fn setup() -> Setup {
    let tail_entries = std::env::var("PARLANCE_TAIL").map_or(4, |text| text.parse().unwrap());
    Parlance::setup().stored(tail_entries)
}
