//! A node from its first accepted connection to its last: what `serve` and `gateway` have in common.
//!
//! They read the configuration, choose the backend and say what is particular to them; here is what
//! stands on it. Start and end are a list of steps each, in one function. Whatever can refuse to
//! start does so before the first connection is accepted. What the other crates need from the
//! configuration is translated in [`wiring`].

mod chores;
mod signals;
mod wiring;

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use parlance_auth::{AuthConfig, Keyring};
use parlance_core::{
    peers::Peers,
    ports::{Backend, Verifier},
};
use parlance_gateway::{
    HealthCheck, Hooks, Leave, PageHandler, Running, clock::Clock, shard::spawn_shards,
};
use parlance_traces::Traces;
use tokio::runtime::Runtime;

pub(crate) use self::{chores::tidy, signals::Signals, wiring::bind};
use crate::{
    config::Config,
    failure::{Exit, Failure},
    observe::Recorder,
};

/// What a node is made of.
pub(crate) struct Parts<B> {
    pub(crate) config: Config,
    pub(crate) pages: Pages,
    pub(crate) backend: Arc<B>,
    pub(crate) backend_health: HealthCheck,
    /// What is served beside conversations.
    pub(crate) page_handler: Option<PageHandler>,
    /// The other nodes, if there can be any.
    pub(crate) peers: Option<Arc<dyn Peers>>,
    /// Called when the node has no members any more.
    pub(crate) leave: Option<Leave>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) recorder: Recorder,
    pub(crate) traces: Traces,
}

/// Which web pages may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pages {
    /// Those of the configured origins.
    Listed,
    /// From this machine also those of any other.
    AnyFromLoopback,
}

/// Serves until a signal ends it. `serving` is called when it does, with both addresses.
pub(crate) fn run<B: Backend>(
    parts: Parts<B>,
    serving: impl FnOnce(SocketAddr, SocketAddr) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let runtime = Runtime::new().context("cannot start the runtime");
    let runtime = runtime.map_err(|error| Failure::new(Exit::Unavailable, error))?;
    runtime.block_on(live(parts, serving))
}

/// What tokens are judged by.
pub(crate) fn keyring(auth: AuthConfig) -> Result<Keyring, Failure> {
    Keyring::new(auth).map_err(|error| Failure::new(Exit::Usage, error))
}

/// Makes this process count.
pub(crate) fn recorder() -> Result<Recorder, Failure> {
    Recorder::install().map_err(|error| Failure::new(Exit::Fault, error))
}

async fn live<B: Backend>(
    parts: Parts<B>,
    serving: impl FnOnce(SocketAddr, SocketAddr) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::new(Exit::Fault, error))?;
    let chores = chores::start(&parts.keyring, &parts.recorder);
    let traces = parts.traces.clone();
    let running = start(parts)?;
    serving(running.local_addr(), running.admin_addr())?;
    let signal = signals.next().await;
    tracing::info!(signal, "draining; a second signal ends at once");
    running.shutdown(signals.again()).await;
    drop(chores);
    traces.finish();
    tracing::info!("ended");
    Ok(())
}

/// Inside the runtime.
fn start<B: Backend>(parts: Parts<B>) -> Result<Running, Failure> {
    let clock = Clock::start();
    let config = wiring::gateway(&parts.config, parts.pages);
    let listeners = wiring::listeners(&parts.config)?;
    let room = Arc::new(config.room.clone());
    let shards = spawn_shards(
        config.shards,
        &parts.backend,
        &parts.keyring,
        &room,
        clock,
        &parts.traces,
    );
    let shards = shards.context("cannot start the shards");
    let shards = shards.map_err(|error| Failure::new(Exit::Unavailable, error))?;
    let verifier: Arc<dyn Verifier> = parts.keyring;
    let recorder = parts.recorder;
    let hooks = Hooks {
        backend_health: parts.backend_health,
        metrics_text: Box::new(move || recorder.text()),
        pages: parts.page_handler,
        peers: parts.peers,
        leave: parts.leave,
    };
    let running = Running::before(shards, listeners, config, clock, verifier, hooks);
    running.map_err(|error| Failure::new(Exit::Fault, error))
}
