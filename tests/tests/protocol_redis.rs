//! The suite of the wire protocol, word for word, on two gateways and a Redis: users are spread
//! over both, so what one says the other has to hear.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use parlance_testkit::server::{Parlance, Setup};

#[path = "protocol/suite.rs"]
mod suite;

/// Two nodes that share nothing but Redis.
fn setup() -> Setup {
    Parlance::setup().pair_of_gateways()
}
