//! The whole system in one thread, with everything between its parts under the hand of a seed.
//!
//! Real are the rooms of the core and the persister; a log's server, its adapter and a store are
//! fakes with the rules of the real ones, held to them by the contract suites.

pub mod adapter;
pub mod chance;
mod client;
mod digest;
mod gateway;
pub mod ingest;
mod judge;
pub mod log;
pub mod net;
pub mod rule;
mod run;
pub mod store;
mod world;

pub use run::{Failure, Profile, run};
