//! The load generator: many WebSocket clients on one thread, and what they saw.
//!
//! `parlance bench` runs it for whoever has a deployment, `benches` for comparing servers. There is one
//! engine (`engine`: sockets and turns), and on top a workload each: [`fanout`], [`send`], [`storm`],
//! [`resume`] and [`history`]. How a server is spoken to is a [`dialect::Dialect`]; the product's own is
//! [`parlance::Parlance`]. All workloads answer with a [`report::Report`]; beside them, [`stay`] has members that
//! follow a deployment through its restarts.
//!
//! It is cheap so that it is not what is measured: nothing waits but one `epoll`, received texts are
//! searched for some bytes and not parsed, and what a room should have seen is judged by one comparison
//! per delivery (`order`). It reports its own CPU all the same, and says so when it was the bottleneck.
//! Starting and pinning servers is left to whoever runs it; [`process`] has what that needs.

pub mod client;
pub mod dialect;
pub mod fanout;
pub mod history;
pub mod order;
pub mod parlance;
pub mod process;
pub mod report;
pub mod resume;
pub mod send;
pub mod stay;
pub mod storm;

mod chance;
mod connection;
mod engine;
mod error;
mod fill;
mod frames;
mod meter;
mod opening;
mod progress;
mod target;
mod timer;
mod traffic;

pub use self::{
    error::LoadError,
    opening::Arrival,
    target::{Control, OnProgress, Progress, Target, Watched},
};
