//! The load generator: many WebSocket clients on one thread, and what they saw.
//!
//! It speaks just enough of the protocol to be cheap: frames are scanned for the `local_id` that
//! it sent itself, nothing is parsed. Whoever runs it starts the server and pins the processes;
//! here are only clients, clocks and counts. Every run says what was missing, doubled or out of
//! order, and how busy the generator itself was: above nine tenths of a core it is what was
//! measured.

pub mod client;
pub mod fanout;
pub mod process;
pub mod storm;
