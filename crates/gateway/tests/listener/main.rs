//! The listener, the admin listener and the drain over real sockets. Shards are stood in for by
//! their inboxes: what arrives there is what a shard is told.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod admin;
mod admission;
mod deadlines;
mod drain;
mod handover;
mod harness;
mod refusals;
mod verdicts;
