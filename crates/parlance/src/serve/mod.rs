//! `parlance serve`: all roles in one process, on a log and store of its own.

mod banner;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use parlance_auth::{AuthConfig, HmacSecret};
use parlance_embedded::{Embedded, OpenError, Options};
use parlance_gateway::PageHandler;

use crate::{
    cli::{Global, Serve},
    commands::load,
    config::{Config, Purpose},
    demo, deployment,
    failure::{Exit, Failure},
    logging::{self, Speaker},
    node::{self, Pages, Parts},
};

/// Where a node keeps its data unless told otherwise.
const DATA_DIR: &str = "parlance-data";

pub(crate) fn run(global: &Global, serve: Serve) -> Result<(), Failure> {
    let flags = [
        ("data_dir", "--data-dir", serve.data_dir.path.clone()),
        ("listen", "--listen", serve.listen.clone()),
        ("admin.listen", "--admin-listen", serve.admin_listen.clone()),
    ];
    let purpose = if serve.dev {
        Purpose::Try
    } else {
        Purpose::Serve
    };
    let config = load(global, flags, purpose)?.config;
    logging::start(global, Speaker::Server);
    let data_dir = data_dir(&config, serve.dev);
    let recorder = node::recorder()?;
    let traces = deployment::traces(&config, "parlance-serve")?;
    let backend = Arc::new(open(&data_dir, config.log_sync)?);
    let dev_secret = serve.dev.then(|| dev_secret(&data_dir)).transpose()?;
    let keyring = node::keyring(auth(&config, dev_secret.as_ref()))?;
    let health = Arc::clone(&backend);
    let parts = Parts {
        pages: if serve.dev {
            Pages::AnyFromLoopback
        } else {
            Pages::Listed
        },
        page_handler: dev_secret.map(|secret| demo_pages(secret, config.clone())),
        config,
        backend,
        backend_health: Box::new(move || health.healthy().map_err(|error| error.to_string())),
        peers: None,
        leave: None,
        keyring: Arc::new(keyring),
        recorder,
        traces,
    };
    node::run(parts, |listen, admin| {
        say_serving(listen, admin, &data_dir);
        if serve.dev {
            banner::show(listen, admin, &banner::Shell::new(global, &serve))?;
        }
        Ok(())
    })
}

fn say_serving(listen: SocketAddr, admin: SocketAddr, data_dir: &Path) {
    tracing::info!(
        %listen,
        %admin,
        data_dir = %data_dir.display(),
        version = env!("CARGO_PKG_VERSION"),
        revision = env!("BUILD_REVISION"),
        "serving"
    );
}

fn data_dir(config: &Config, is_dev: bool) -> PathBuf {
    if is_dev {
        demo::data_dir(config)
    } else {
        config.data_dir.clone().unwrap_or_else(|| DATA_DIR.into())
    }
}

/// The secret of a node for trying out.
fn dev_secret(data_dir: &Path) -> Result<HmacSecret, Failure> {
    demo::make_secret(data_dir).map_err(|error| Failure::new(Exit::Unavailable, error))
}

/// The configured keys, and the secret of a node for trying out.
fn auth(config: &Config, dev_secret: Option<&HmacSecret>) -> AuthConfig {
    let mut auth = config.auth();
    auth.hmac_secrets.extend(dev_secret.cloned());
    auth
}

fn demo_pages(secret: HmacSecret, config: Config) -> PageHandler {
    demo::pages::handler(move |asked| asked.sign(&secret, &config))
}

/// Opens the data directory, or makes it.
fn open(dir: &Path, sync: bool) -> Result<Embedded, Failure> {
    let options = Options {
        sync,
        ..Options::default()
    };
    Embedded::open(dir, options).map_err(|error| Failure::new(exit_of(&error), error))
}

fn exit_of(error: &OpenError) -> Exit {
    match error {
        OpenError::InUse { .. } | OpenError::Io { .. } => Exit::Unavailable,
        OpenError::Foreign { .. } | OpenError::Newer { .. } => Exit::Usage,
        OpenError::Corrupt { .. } | OpenError::Engine { .. } => Exit::Fault,
    }
}
