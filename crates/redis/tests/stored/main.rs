//! The log with a store behind it: what is moved there, what is let go here, and that readers do not
//! notice.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod commits;
mod house;
mod losses;
#[path = "../support/mover.rs"]
mod mover;
mod remembered;
mod seam;
#[path = "../support/mod.rs"]
#[expect(
    dead_code,
    reason = "other tests connect with these options as they are"
)]
mod support;
mod watermark;
