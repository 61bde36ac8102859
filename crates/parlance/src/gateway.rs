//! `parlance gateway`: one role, on a Redis that several of them share.

use std::{net::SocketAddr, sync::Arc};

use anyhow::anyhow;
use parlance_core::store::NoStore;
use parlance_redis::{Durability, Options, Redis, Retention, StartError};
use rustls::crypto::ring;

use crate::{
    cli::{Gateway, Global},
    commands::load,
    config::{Config, Purpose, RedisDurability},
    failure::{Exit, Failure},
    logging,
    node::{self, Pages, Parts},
};

pub(crate) fn run(global: &Global, gateway: Gateway) -> Result<(), Failure> {
    let urls = gateway.redis_urls.join(" ");
    let flags = [
        ("listen", "--listen", gateway.listen),
        ("admin.listen", "--admin-listen", gateway.admin_listen),
        (
            "redis.urls",
            "--redis-url",
            Some(urls).filter(|urls| !urls.is_empty()),
        ),
    ];
    let config = load(global, flags, Purpose::Gateway)?.config;
    logging::start(&global.log);
    install_cryptography()?;
    let recorder = node::recorder()?;
    let keyring = Arc::new(node::keyring(config.auth())?);
    let backend = Arc::new(connect(&config)?);
    warn_of_log_only(&config);
    let (health, leaving) = (Arc::clone(&backend), Arc::clone(&backend));
    let parts = Parts {
        config,
        pages: Pages::Listed,
        backend,
        backend_health: Box::new(move || health.healthy().map_err(|error| error.to_string())),
        leave: Some(Arc::new(move || leaving.leave())),
        keyring,
        recorder,
    };
    node::run(parts, say_serving)
}

/// TLS takes the one that the process names, and none by itself.
fn install_cryptography() -> Result<(), Failure> {
    let installed = ring::default_provider().install_default();
    installed.map_err(|_| {
        let error = anyhow!("another provider of cryptography is installed already");
        Failure::new(Exit::Fault, error)
    })
}

/// Answers when every server was reached and is fit, or when the deadline is over.
fn connect(config: &Config) -> Result<Redis, Failure> {
    let urls = config.redis_urls.as_ref();
    let options = Options {
        topology: urls.expect("no gateway is started without them").topology(),
        durability: match config.redis_durability {
            RedisDurability::Local => Durability::Local,
            RedisDurability::Replicated => Durability::Replicated,
        },
        retention: Retention {
            entries: config.log_retention_entries.get(),
            age: config.log_retention_age.duration(),
        },
        tail_entries: 256,
        memory_limit_bytes: None,
        start_deadline: config.redis_start_deadline.duration(),
    };
    let connected = Redis::<NoStore>::connect(options, None);
    connected.map_err(|error| {
        let (exit, fix) = (exit_of(&error), error.fix());
        Failure::new(exit, error).fix(fix)
    })
}

/// Waiting and starting again helps against what is unavailable, and against nothing else.
fn exit_of(error: &StartError) -> Exit {
    match error {
        StartError::Unreachable { .. } | StartError::Thread(_) => Exit::Unavailable,
        StartError::TooOld { .. }
        | StartError::Evicts { .. }
        | StartError::Layout { .. }
        | StartError::Refused { .. } => Exit::Usage,
    }
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
