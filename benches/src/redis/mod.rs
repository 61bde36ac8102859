//! What the log costs Redis: processor per message beside a floor, and memory.
//!
//! The server is pinned to one core and everything else here to the other. Processor time is what
//! Redis says its main thread used: unlike messages per second it does not depend on how fast the
//! sending side is. Each way of sending gets a fresh server each round.

pub(crate) mod appends;
mod cpu;
pub(crate) mod floor;
mod memory;

pub(crate) use self::{
    cpu::{BODY_BYTES, CONTENT_BYTES, main_thread_seconds, measure_cpu},
    memory::measure_memory,
};

use parlance_loadgen::process;
use parlance_testkit::redis::{Redis, Setup};

/// A fresh server on its core.
fn start(setup: Setup) -> anyhow::Result<Redis> {
    let server = setup.start();
    process::pin_process(server.pid(), crate::SERVER_CORE)?;
    Ok(server)
}
