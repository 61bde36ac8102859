//! `parlance persister`: one role, between a Redis and a store.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use parlance_core::ingest::PersisterId;
use parlance_gateway::admin::{self, AdminPages, Readiness};
use parlance_persister::Options;
use parlance_redis::Redis;
use parlance_scylla::Scylla;
use parlance_traces::Traces;
use tokio::{
    runtime::Builder,
    sync::oneshot,
    task::{JoinSet, LocalSet},
};

use crate::{
    cli::{Global, Persister},
    commands::load,
    config::{Config, Purpose},
    deployment::{self, RedisUse},
    failure::{Exit, Failure},
    logging::{self, Speaker},
    node::{self, Signals},
    observe::Recorder,
};

/// How long the head of a request to the admin listener may take.
const HEADER_DEADLINE: Duration = Duration::from_secs(5);

pub(crate) fn run(global: &Global, persister: Persister) -> Result<(), Failure> {
    let flags = [
        ("admin.listen", "--admin-listen", persister.admin_listen),
        persister.redis.setting(),
        persister.store.setting(),
    ];
    let config = load(global, flags, Purpose::Persister)?.config;
    logging::start(global, Speaker::Server);
    deployment::install_cryptography()?;
    let recorder = node::recorder()?;
    let traces = deployment::traces(&config, "parlance-persister")?;
    let store = deployment::store(&config)?.expect("the checks ask for one");
    let redis = deployment::redis(&config, Some(Arc::clone(&store)), RedisUse::Asking)?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime");
    let runtime = runtime.map_err(|error| Failure::new(Exit::Unavailable, error))?;
    let living = live(&config, recorder, traces.clone(), Arc::new(redis), store);
    let lived = LocalSet::new().block_on(&runtime, living);
    traces.finish();
    lived
}

async fn live(
    config: &Config,
    recorder: Recorder,
    traces: Traces,
    redis: Arc<Redis<Scylla>>,
    store: Arc<Scylla>,
) -> Result<(), Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::new(Exit::Fault, error))?;
    let ingest = redis.ingest();
    let mut beside = JoinSet::new();
    let admin = node::bind(config.admin_listen, "admin.listen")?;
    let address = admin.local_addr();
    let address = address.map_err(|error| Failure::new(Exit::Fault, error))?;
    let (log, archive, counted) = (Arc::clone(&redis), Arc::clone(&store), recorder.clone());
    let pages = AdminPages {
        readiness: Box::new(move || {
            let text = |error: parlance_core::ports::Unavailable| error.to_string();
            Readiness(vec![
                ("redis", log.healthy().map_err(text)),
                ("store", archive.healthy().map_err(text)),
            ])
        }),
        metrics_text: Box::new(move || counted.text()),
        header_deadline: HEADER_DEADLINE,
    };
    beside.spawn(admin::run(admin, Arc::new(pages)));
    beside.spawn(node::tidy(recorder));
    say_persisting(address);

    let (stop, stopped) = oneshot::channel::<()>();
    let options = Options {
        traces,
        ..Options::of(PersisterId(random_name().into()))
    };
    let persisting = parlance_persister::run(ingest, store, options, async {
        // It only ends with what it stops.
        let _ = stopped.await;
    });
    tokio::pin!(persisting);
    let signal = tokio::select! {
        signal = signals.next() => signal,
        () = &mut persisting => return Ok(()),
    };
    tracing::info!(
        signal,
        "finishing what is under way; a second signal ends at once"
    );
    let _ = stop.send(());
    tokio::select! {
        () = &mut persisting => {}
        () = signals.again() => {}
    }
    tracing::info!("ended");
    Ok(())
}

/// Another one in each process.
fn random_name() -> String {
    format!("{:016x}", getrandom::u64().unwrap_or_default())
}

fn say_persisting(admin: SocketAddr) {
    tracing::info!(
        %admin,
        version = env!("CARGO_PKG_VERSION"),
        revision = env!("BUILD_REVISION"),
        "persisting"
    );
}
