//! What was acknowledged survives the end of the process at any moment.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use support::{CHILD, append_for_ever, check, kill_after, start_child};

const ROUNDS: usize = 8;

#[tokio::test]
async fn every_acknowledged_append_is_there_once_and_in_order_after_kill_9() {
    if let Ok(dir) = std::env::var(CHILD) {
        return append_for_ever(&dir).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acked = Vec::new();
    for round in 0..ROUNDS {
        let test = "every_acknowledged_append_is_there_once_and_in_order_after_kill_9";
        let moment = 1 + round * 337 % 1_500;
        acked.extend(kill_after(moment, start_child(test, dir.path())));
        check(dir.path(), &acked).await;
    }
}
