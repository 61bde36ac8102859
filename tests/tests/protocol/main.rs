//! The wire protocol, section by section, against the real server over real sockets.
//!
//! One file per subject; each test has conversations of its own, so all of them share one server
//! unless they need settings, time or a signal of their own. Many of them wait for something that
//! takes seconds by design: run with more test threads than cores.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use parlance_testkit::server::{Parlance, Setup};

#[path = "suite.rs"]
mod suite;

/// All of parlance in one process.
fn setup() -> Setup {
    Parlance::setup()
}
