//! Everything that can break does, one after the other, while clients talk; nothing acknowledged is
//! lost, doubled or reordered. One round of it; `make chaos` is the long form.

use std::time::Duration;

use parlance_testkit::{
    nemesis::{Run, draw},
    report,
    traffic::describe,
};

/// Of the run that `make test` repeats.
const SEED: u64 = 1;
/// Processes that are killed, at least.
const KILLS: usize = 25;
/// Acknowledged sends, at least.
const ACKNOWLEDGED: u64 = 200_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_whatever_breaks() {
    let run = Run {
        seed: SEED,
        steps: draw(SEED, 1, KILLS),
        at_most: Duration::from_secs(600),
        conversations: 6,
        sends_per_second: 1_000,
        acknowledged: ACKNOWLEDGED,
    };
    let outcome = run.perform(report).await;
    assert!(
        outcome.violations.is_empty(),
        "{}",
        describe(&outcome.recording, &outcome.violations)
    );
    let kills = outcome.report["kills"].as_u64();
    assert!(kills >= Some(KILLS as u64), "{kills:?} kills");
}
