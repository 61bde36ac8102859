//! What parlance does, without doing any of it: rooms, sessions, presence, typing, receipts,
//! recovery, rate limits, and the ports to the outside.
//!
//! Sans-IO: no runtime, clock, socket or random source in here. Time and chance come in as
//! arguments, what should happen goes out as data ([`room::Effect`]), and the answers come back in.

// What the model test has of its own is used by the fuzz target, under the name that it has there.
#[cfg(any(fuzzing, test))]
extern crate self as parlance_core;

pub mod clock;
pub mod entry;
pub mod identity;
pub mod ingest;
pub mod lineage;
pub mod peers;
pub mod ports;
pub mod presence;
pub mod quota;
pub mod receipts;
pub mod room;
pub mod settings;
pub mod store;
pub mod typing;
mod user_map;
