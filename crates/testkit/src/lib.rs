//! What tests of parlance are made with: the real server as a child process, a scripted client
//! that can be polite or hostile, and tokens good and bad.
//!
//! Everything in here panics with a sentence and what was seen when an expectation fails, so that
//! a test reads as arrange, act, assert.

mod certificates;
pub mod client;
pub mod contract;
pub mod corpus;
pub mod cql;
pub mod dial;
pub mod fleet;
pub mod frames;
pub mod nemesis;
pub mod ports;
pub mod redis;
pub mod relay;
pub mod rolling;
pub mod server;
pub mod store;
pub mod stored;
pub mod tokens;
pub mod traffic;

/// Prints a figure for the reader of a run, also of one that passes.
pub fn report(figure: &str) {
    use std::io::Write;
    // The macros are captured by the test harness. A closed stderr has no reader.
    let _ = writeln!(std::io::stderr().lock(), "{figure}");
}
