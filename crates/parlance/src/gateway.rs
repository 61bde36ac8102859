//! `parlance gateway`: one role, on a Redis that several of them share.

use std::{net::SocketAddr, sync::Arc};

use parlance_core::{
    peers::Peers,
    store::{NoStore, Store},
};
use parlance_traces::Traces;

use crate::{
    cli::{Gateway, Global},
    commands::load,
    config::{Config, Purpose},
    deployment::{self, RedisUse},
    failure::Failure,
    logging::{self, Speaker},
    node::{self, Pages, Parts},
    observe::Recorder,
};

pub(crate) fn run(global: &Global, gateway: Gateway) -> Result<(), Failure> {
    let flags = [
        ("listen", "--listen", gateway.listen),
        ("admin.listen", "--admin-listen", gateway.admin_listen),
        gateway.redis.setting(),
        gateway.store.setting(),
    ];
    let config = load(global, flags, Purpose::Gateway)?.config;
    logging::start(global, Speaker::Server);
    deployment::install_cryptography()?;
    let recorder = node::recorder()?;
    let traces = deployment::traces(&config, "parlance-gateway")?;
    match deployment::store(&config)? {
        Some(store) => serve(config, recorder, traces, Some(store)),
        None => {
            warn_of_log_only(&config);
            serve::<NoStore>(config, recorder, traces, None)
        }
    }
}

fn serve<S: Store>(
    config: Config,
    recorder: Recorder,
    traces: Traces,
    store: Option<Arc<S>>,
) -> Result<(), Failure> {
    let keyring = Arc::new(node::keyring(config.auth())?);
    let backend = Arc::new(deployment::redis(&config, store, RedisUse::Gateway)?);
    let (health, leaving) = (Arc::clone(&backend), Arc::clone(&backend));
    let peers: Arc<dyn Peers> = backend.clone();
    let parts = Parts {
        config,
        pages: Pages::Listed,
        backend,
        backend_health: Box::new(move || health.healthy().map_err(|error| error.to_string())),
        page_handler: None,
        peers: Some(peers),
        leave: Some(Arc::new(move || leaving.leave())),
        keyring,
        recorder,
        traces,
    };
    node::run(parts, say_serving)
}

fn warn_of_log_only(config: &Config) {
    let (entries, age) = (config.log_retention_entries.get(), config.log_retention_age);
    tracing::warn!(
        retention_entries = entries,
        retention_age = %age,
        "there is no store: of each conversation, history is the last {entries} entries of the log \
         and nothing that is older than {age} (`log.retention_entries`, `log.retention_age`)"
    );
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "what is said when a node serves may fail elsewhere"
)]
fn say_serving(listen: SocketAddr, admin: SocketAddr) -> Result<(), Failure> {
    tracing::info!(
        %listen,
        %admin,
        version = env!("CARGO_PKG_VERSION"),
        revision = env!("BUILD_REVISION"),
        "serving"
    );
    Ok(())
}
