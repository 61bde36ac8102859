//! The real binary, run as its users run it.

#![expect(
    clippy::unwrap_used,
    reason = "a failure to set a test up is a failed test"
)]

mod bench;
mod commands;
mod config;
mod gateway;
mod serve;
mod store;
mod support;
