//! The gateway: ends WebSockets, checks tokens, and keeps the rooms of the connections it holds.

pub mod clock;
pub mod frame;
pub mod handover;
pub mod shard;
