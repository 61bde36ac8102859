//! Three gateways that share nothing but Redis, under load, while everything is broken that breaks.
//!
//! Each test breaks one thing, over and over. What every client saw is judged in the end: nothing
//! acknowledged is lost, nothing stands twice, everybody saw one order without silent holes, and no
//! id was ever used twice.
//!
//! `PARLANCE_FULL=1` says 2,000 messages a second and breaks everything as often as is promised, one
//! test after the other; otherwise less of both. Give it a release build by `PARLANCE_BIN`.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod cluster;
mod gateways;
mod losses;
mod presence;
mod racing;
mod redis;
mod replicated;
mod serve;
mod spread;
