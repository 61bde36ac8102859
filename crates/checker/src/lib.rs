//! Judges what clients saw: a recording of a run goes in, everything comes out that must not be.
//!
//! Used by the test kit, whose clients record while servers are broken, and by `parlance check`, which
//! reads a recording from a file. Pure: it knows nothing of how a recording was made, so that every
//! kind of wrong can be planted in one. Each message has a text of its own, so nothing has to be
//! searched for: every rule takes time linear in what was seen, but for sorting.
//!
//! An outcome that a client does not know is never counted as a failure: such a send may be in the
//! history once, or not at all.

#![warn(missing_docs)]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each rule looks at the few kinds of events that are its evidence"
)]

pub mod file;
pub mod recording;
pub mod report;
mod rules;
mod verdict;

pub use rules::check;
pub use verdict::{Invariant, Violation};
