//! Tries again what does not answer, and says so once.
//!
//! Used for the store and for the log, one [`Peer`] each per process. Everything that a persister
//! does may be done again, so there is nothing to decide: it is tried until it is answered, and only
//! dropping the future ends that. The log line is written when the first of possibly many waits
//! begins, and when the last one ends.

use std::cell::Cell;

use parlance_core::ports::Unavailable;
use parlance_telemetry::Counter;
use tokio::time::{Instant, sleep};

use crate::pace::Backoff;

/// Who is asked, and how many wait for it.
#[derive(Debug)]
pub(crate) struct Peer {
    name: &'static str,
    waiting: Cell<usize>,
    since: Cell<Option<Instant>>,
    chance: fn() -> f64,
}

impl Peer {
    /// That answers, as far as is known.
    pub(crate) const fn new(name: &'static str, chance: fn() -> f64) -> Self {
        Self {
            name,
            waiting: Cell::new(0),
            since: Cell::new(None),
            chance,
        }
    }

    /// Does `step` until it is answered.
    pub(crate) async fn insist<T>(
        &self,
        retries: &Counter,
        step: impl AsyncFn() -> Result<T, Unavailable>,
    ) -> T {
        let mut wait = None;
        let mut backoff = Backoff::new();
        loop {
            match step().await {
                Ok(answer) => return answer,
                Err(error) => {
                    retries.increment(1);
                    wait.get_or_insert_with(|| self.begin_wait(&error));
                    sleep(backoff.after_failure((self.chance)())).await;
                }
            }
        }
    }

    fn begin_wait(&self, error: &Unavailable) -> Wait<'_> {
        self.waiting.set(self.waiting.get() + 1);
        if self.since.get().is_none() {
            self.since.set(Some(Instant::now()));
            let peer = self.name;
            tracing::warn!(%error, "the {peer} does not answer: trying again until it does");
        }
        Wait { peer: self }
    }
}

/// Somebody waits for an answer.
struct Wait<'a> {
    peer: &'a Peer,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let peer = self.peer;
        peer.waiting.set(peer.waiting.get() - 1);
        if peer.waiting.get() == 0
            && let Some(since) = peer.since.take()
        {
            let for_ms = since.elapsed().as_millis() as u64;
            let peer = peer.name;
            tracing::info!(for_ms, "nothing waits for the {peer} any more");
        }
    }
}

/// From 0 to 1. Without a source of chance all wait equally long, which is no harm.
pub(crate) fn chance() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use parlance_telemetry::PersisterMetrics;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_tried_until_it_is_answered_and_waits_are_counted() {
        let peer = Peer::new("store", chance);
        let metrics = PersisterMetrics::register();
        let tries = Cell::new(0);
        let step = async || {
            tries.set(tries.get() + 1);
            if tries.get() == 1 {
                assert_eq!(peer.waiting.get(), 0);
            } else {
                assert_eq!(peer.waiting.get(), 1);
            }
            match tries.get() {
                20.. => Ok("answer"),
                _ => Err(Unavailable::new("down")),
            }
        };

        let answer = peer.insist(&metrics.cursors, step).await;

        assert_eq!((answer, tries.get()), ("answer", 20));
        assert_eq!((peer.waiting.get(), peer.since.get()), (0, None));
    }
}
