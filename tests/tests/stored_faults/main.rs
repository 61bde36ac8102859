//! Gateways, a Redis, two persisters and a real store, under load, while everything is broken that
//! breaks.
//!
//! Each test breaks one thing, over and over, while clients talk; some of them keep what is not stored
//! in an outbox. In the end all is judged: nothing acknowledged is lost or doubled, what was said to be
//! stored is, nothing waits to be stored any more, and everybody sees one order: live, in a replay from
//! the beginning, in history paged to its end, through every gateway, through one that has just
//! started, and in the rows of the store themselves.
//!
//! `PARLANCE_FULL=1` says 2,000 messages a second and breaks everything as often as is promised, one
//! test after the other; otherwise less of both. Give it a release build by `PARLANCE_BIN`.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod changes;
mod deployment;
mod persisters;
mod poison;
mod redis;
mod store;
