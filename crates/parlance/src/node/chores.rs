//! What is done over and over while a node runs.

use std::{collections::HashSet, path::PathBuf, sync::Arc, time::Duration};

use parlance_auth::{Keyring, Reload};
use parlance_telemetry::{Metrics, labels::KeyReload};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::{MissedTickBehavior, interval},
};

use crate::observe::Recorder;

/// How long a key that was taken out of its file is still accepted, at most.
const KEY_RELOAD: Duration = Duration::from_secs(5);
/// Observations wait in memory for this.
const TIDY: Duration = Duration::from_secs(1);

/// Starts them; dropping the set ends them.
pub(super) fn start(keyring: &Arc<Keyring>, recorder: &Recorder) -> JoinSet<()> {
    let mut chores = JoinSet::new();
    chores.spawn(reload_keys(Arc::clone(keyring)));
    chores.spawn(tidy(recorder.clone()));
    chores
}

/// For ever.
pub(crate) async fn tidy(recorder: Recorder) {
    let mut ticks = interval(TIDY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        recorder.tidy();
    }
}

async fn reload_keys(keyring: Arc<Keyring>) {
    let metrics = Metrics::register();
    let mut unusable = HashSet::new();
    let mut ticks = interval(KEY_RELOAD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let ring = Arc::clone(&keyring);
        match spawn_blocking(move || ring.reload_if_changed()).await {
            Ok(reloads) => {
                for reload in reloads {
                    report(&reload, &metrics);
                    note(reload, &mut unusable);
                }
                metrics.key_files_unusable.set(unusable.len() as f64);
            }
            Err(error) => tracing::error!(%error, "looking at the key files failed"),
        }
    }
}

/// A failure is told once, at the change that brought it; the file may stay unusable for long.
fn note(reload: Reload, unusable: &mut HashSet<PathBuf>) {
    match reload.outcome {
        Ok(_) => unusable.remove(&reload.path),
        Err(_) => unusable.insert(reload.path),
    };
}

fn report(reload: &Reload, metrics: &Metrics) {
    match &reload.outcome {
        Ok(keys) => {
            metrics.key_reloads.of(KeyReload::Changed).increment(1);
            tracing::info!(file = %reload.path.display(), keys, "took over the changed keys");
        }
        Err(error) => {
            metrics.key_reloads.of(KeyReload::Failed).increment(1);
            tracing::error!(%error, "the keys from before stay in use");
        }
    }
}
