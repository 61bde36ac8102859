//! What tests of parlance are made with: the real server as a child process, a scripted client
//! that can be polite or hostile, and tokens good and bad.
//!
//! Everything in here panics with a sentence and what was seen when an expectation fails, so that
//! a test reads as arrange, act, assert.

pub mod client;
pub mod dial;
pub mod frames;
pub mod server;
pub mod tokens;
