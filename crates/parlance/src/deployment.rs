//! The Redis and the store that several processes share, as this one reaches them.

use std::sync::Arc;

use anyhow::anyhow;
use parlance_core::store::Store;
use parlance_redis::{Durability, Options, Redis, Retention};
use parlance_scylla::{Login, MigrateError, Scylla, Tls};
use parlance_traces::Traces;
use rustls::crypto::ring;

use crate::{
    cli::{RedisFlags, StoreFlags},
    commands::FlagSetting,
    config::{Config, RedisDurability},
    failure::{Exit, Failure},
};

impl RedisFlags {
    /// As a setting.
    pub(crate) fn setting(&self) -> FlagSetting {
        ("redis.urls", "--redis-url", given(&self.urls, " "))
    }
}

impl StoreFlags {
    /// As a setting.
    pub(crate) fn setting(&self) -> FlagSetting {
        ("store.nodes", "--store-node", given(&self.nodes, ","))
    }
}

fn given(values: &[String], separator: &str) -> Option<String> {
    (!values.is_empty()).then(|| values.join(separator))
}

/// TLS takes the one that the process names, and none by itself.
pub(crate) fn install_cryptography() -> Result<(), Failure> {
    let installed = ring::default_provider().install_default();
    installed.map_err(|_| {
        let error = anyhow!("another provider of cryptography is installed already");
        Failure::new(Exit::Fault, error)
    })
}

/// How Redis is reached, for whoever was not started without it.
fn redis_options(config: &Config) -> Options {
    let urls = config.redis_urls.as_ref();
    Options {
        topology: urls.expect("the checks ask for them").topology(),
        durability: match config.redis_durability {
            RedisDurability::Local => Durability::Local,
            RedisDurability::Replicated => Durability::Replicated,
        },
        retention: Retention {
            entries: config.log_retention_entries.get(),
            age: config.log_retention_age.duration(),
        },
        tail_entries: config.log_tail_entries.get(),
        memory_limit_bytes: config.redis_memory_limit_bytes.map(|limit| limit.get()),
        start_deadline: config.redis_start_deadline.duration(),
    }
}

/// What a process does with Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RedisUse {
    /// It has users.
    Gateway,
    /// It only asks.
    Asking,
}

/// Answers when every server was reached and is fit, or when the deadline is over.
pub(crate) fn redis<S: Store>(
    config: &Config,
    store: Option<Arc<S>>,
    usage: RedisUse,
) -> Result<Redis<S>, Failure> {
    let options = redis_options(config);
    let connected = match usage {
        RedisUse::Gateway => Redis::connect(options, store),
        RedisUse::Asking => Redis::connect_without_users(options, store),
    };
    connected.map_err(|error| {
        let (exit, fix) = (exit_of_redis(&error), error.fix());
        Failure::new(exit, error).fix(fix)
    })
}

/// Waiting and starting again helps against what is unavailable, and against nothing else.
fn exit_of_redis(error: &parlance_redis::StartError) -> Exit {
    use parlance_redis::StartError;
    match error {
        StartError::Unreachable { .. } | StartError::Thread(_) => Exit::Unavailable,
        StartError::TooOld { .. }
        | StartError::Evicts { .. }
        | StartError::Layout { .. }
        | StartError::Refused { .. } => Exit::Usage,
    }
}

/// How the store is reached.
pub(crate) fn store_options(config: &Config) -> parlance_scylla::Options {
    let nodes = config.store_nodes.iter();
    let login = config
        .store_username
        .as_ref()
        .zip(config.store_password.as_ref());
    parlance_scylla::Options {
        nodes: nodes.map(|node| node.as_str().to_owned()).collect(),
        keyspace: config.store_keyspace.as_str().to_owned(),
        login: login.map(|(username, password)| Login {
            username: username.clone(),
            password: password.reveal().to_owned(),
        }),
        tls: config.store_tls.then(|| Tls {
            ca_file: config.store_ca_file.clone(),
        }),
        datacenter: config.store_datacenter.clone(),
        start_deadline: config.store_start_deadline.duration(),
    }
}

/// Where spans go, if anywhere. `service` is the name of this kind of process.
pub(crate) fn traces(config: &Config, service: &'static str) -> Result<Traces, Failure> {
    let Some(endpoint) = &config.traces_endpoint else {
        return Ok(Traces::off());
    };
    let options = parlance_traces::Options {
        endpoint: endpoint.as_str().to_owned(),
        one_in: config.traces_one_in.as_u32(),
        per_second: config.traces_per_second.as_u32(),
        service,
    };
    Traces::start(&options).map_err(|error| Failure::new(exit_of_traces(&error), error))
}

const fn exit_of_traces(error: &parlance_traces::StartError) -> Exit {
    use parlance_traces::StartError;
    match error {
        StartError::Certificates(_) | StartError::Runtime(_) => Exit::Unavailable,
        StartError::Exporter { .. } => Exit::Usage,
    }
}

/// The store, if there is one. Answers when it was reached and has the tables, or when the deadline
/// is over.
pub(crate) fn store(config: &Config) -> Result<Option<Arc<Scylla>>, Failure> {
    if config.store_nodes.is_empty() {
        return Ok(None);
    }
    match Scylla::connect(store_options(config)) {
        Ok(store) => Ok(Some(Arc::new(store))),
        Err(error) => {
            let fix = error.fix();
            Err(Failure::new(exit_of_store(&error), error).fix(fix))
        }
    }
}

/// What became of a migration.
pub(crate) fn migrate_failure(error: MigrateError) -> Failure {
    let exit = match &error {
        MigrateError::Start(start) => exit_of_store(start),
        MigrateError::Step { .. } => Exit::Unavailable,
    };
    let fix = error.fix();
    Failure::new(exit, error).fix(fix)
}

/// As [`exit_of_redis`].
fn exit_of_store(error: &parlance_scylla::StartError) -> Exit {
    use parlance_scylla::StartError;
    match error {
        StartError::Unreachable { .. } | StartError::Runtime(_) => Exit::Unavailable,
        StartError::Refused { .. }
        | StartError::NotMigrated { .. }
        | StartError::Newer { .. }
        | StartError::Layout { .. }
        | StartError::Datacenter { .. }
        | StartError::Keyspace { .. }
        | StartError::Tls { .. } => Exit::Usage,
    }
}
