//! `parlance serve`: all roles in one process.
//!
//! Start and end are a list of steps each, in one function. Whatever can refuse to start does so
//! before the first connection is accepted. What the other crates need from the configuration is
//! translated in [`wiring`].

mod banner;
mod chores;
mod signals;
mod wiring;

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use parlance_auth::Keyring;
use parlance_core::ports::Verifier;
use parlance_embedded::Embedded;
use parlance_gateway::{Hooks, Running, clock::Clock, shard::spawn_shards};
use tokio::runtime::Runtime;

use self::signals::Signals;
use crate::{
    cli::{Global, Serve},
    commands::load,
    config::Config,
    demo,
    failure::{Exit, Failure},
    logging,
    observe::Recorder,
};

/// Where a node keeps its data unless told otherwise.
const DATA_DIR: &str = "parlance-data";

/// What a node is started from.
struct Plan {
    config: Config,
    is_dev: bool,
    data_dir: PathBuf,
}

/// What runs besides the gateway.
struct Parts {
    backend: Arc<Embedded>,
    keyring: Arc<Keyring>,
    recorder: Recorder,
}

pub(crate) fn run(global: &Global, serve: Serve) -> Result<(), Failure> {
    let flags = [
        ("data_dir", "--data-dir", serve.data_dir.path.clone()),
        ("listen", "--listen", serve.listen.clone()),
        ("admin.listen", "--admin-listen", serve.admin_listen.clone()),
    ];
    let config = load(global, flags, !serve.dev)?.config;
    logging::start(&global.log);
    let plan = Plan::new(config, serve.dev);
    let recorder = Recorder::install().map_err(|error| Failure::new(Exit::Fault, error))?;
    let backend = wiring::open(&plan.data_dir, plan.config.log_sync)?;
    let keyring = wiring::keyring(&plan)?;
    let parts = Parts {
        backend: Arc::new(backend),
        keyring: Arc::new(keyring),
        recorder,
    };
    let runtime = Runtime::new().context("cannot start the runtime");
    let runtime = runtime.map_err(|error| Failure::new(Exit::Unavailable, error))?;
    runtime.block_on(live(&plan, parts, &banner::Shell::new(global, &serve)))
}

/// From the first accepted connection to the last.
async fn live(plan: &Plan, parts: Parts, shell: &banner::Shell) -> Result<(), Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::new(Exit::Fault, error))?;
    let chores = chores::start(&parts.keyring, &parts.recorder);
    let running = start(plan, parts)?;
    let (listen, admin) = (running.local_addr(), running.admin_addr());
    tracing::info!(
        %listen,
        %admin,
        data_dir = %plan.data_dir.display(),
        version = env!("CARGO_PKG_VERSION"),
        revision = env!("BUILD_REVISION"),
        "serving"
    );
    if plan.is_dev {
        banner::show(listen, admin, shell)?;
    }
    let signal = signals.next().await;
    tracing::info!(signal, "draining; a second signal ends at once");
    running.shutdown(signals.again()).await;
    drop(chores);
    tracing::info!("ended");
    Ok(())
}

/// Inside the runtime.
fn start(plan: &Plan, parts: Parts) -> Result<Running, Failure> {
    let clock = Clock::start();
    let config = wiring::gateway(plan);
    let listeners = wiring::listeners(&plan.config)?;
    let room = Arc::new(config.room.clone());
    let shards = spawn_shards(config.shards, &parts.backend, &parts.keyring, &room, clock);
    let shards = shards.context("cannot start the shards");
    let shards = shards.map_err(|error| Failure::new(Exit::Unavailable, error))?;
    let verifier: Arc<dyn Verifier> = parts.keyring;
    let running = Running::before(
        shards,
        listeners,
        config,
        clock,
        verifier,
        hooks(parts.backend, parts.recorder),
    );
    running.map_err(|error| Failure::new(Exit::Fault, error))
}

fn hooks(backend: Arc<Embedded>, recorder: Recorder) -> Hooks {
    Hooks {
        backend_health: Box::new(move || backend.healthy().map_err(|error| error.to_string())),
        metrics_text: Box::new(move || recorder.text()),
    }
}

impl Plan {
    fn new(config: Config, is_dev: bool) -> Self {
        let data_dir = if is_dev {
            demo::data_dir(&config)
        } else {
            config.data_dir.clone().unwrap_or_else(|| DATA_DIR.into())
        };
        Self {
            config,
            is_dev,
            data_dir,
        }
    }
}
