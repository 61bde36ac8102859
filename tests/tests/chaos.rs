//! Everything that can break does, one after the other, while clients talk; nothing acknowledged is
//! lost, doubled or reordered. `make chaos` is the long form.

use parlance_testkit::{
    nemesis::{Run, draw},
    report,
};

/// Of the run that `make test` repeats.
const SEED: u64 = 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_whatever_breaks() {
    let run = Run {
        seed: SEED,
        steps: draw(SEED, 1, 25),
        conversations: 4,
        sends_per_second: 1_000,
        acknowledged: 0,
    };
    run.perform(report).await;
}
