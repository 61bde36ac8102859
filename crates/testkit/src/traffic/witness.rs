//! What one client did and saw, as it happens.

use parlance_checker::recording::{Event, Seen};
use tokio::time::Instant;

/// The share of a client in the recording.
#[derive(Debug)]
pub(super) struct Witness {
    began: Instant,
    seen: Vec<Seen>,
}

impl Default for Witness {
    fn default() -> Self {
        Self::since(Instant::now())
    }
}

impl Witness {
    /// Of a run that began then.
    pub(super) fn since(began: Instant) -> Self {
        Self {
            began,
            seen: Vec::new(),
        }
    }

    pub(super) fn now_us(&self) -> u64 {
        let elapsed = self.began.elapsed().as_micros();
        u64::try_from(elapsed).expect("a run of less than 500,000 years")
    }

    pub(super) fn record(&mut self, event: Event) {
        let at_us = self.now_us();
        self.seen.push(Seen { at_us, event });
    }

    pub(super) fn seen(&self) -> &[Seen] {
        &self.seen
    }
}
