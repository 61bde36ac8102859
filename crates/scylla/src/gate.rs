//! What every read passes: so many at once, so many waiting, and none while the store is known not
//! to answer.
//!
//! Called by `reading`. Writes do not pass it: the persister bounds its own.

use std::{
    future::Future,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parlance_core::ports::Unavailable;
use parlance_telemetry::{StoreMetrics, labels::StoreRead};
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    breaker::{Breaker, Pass},
    failure::ReadError,
    locked,
};

/// How long a read may take as a whole, waiting and all its pages included.
pub(crate) const READ_LIMIT: Duration = Duration::from_secs(1);
/// Reads that the store has at once. At 2 ms each they are 32,000 a second, more than a gateway has
/// use for; at 100 ms a store is overloaded, and 64 of each gateway are enough for it.
const AT_ONCE: usize = 64;
/// Callers that wait for an answer. Further ones are refused at once: what waits behind so many is
/// over its limit before its turn.
const CALLERS: usize = 4_096;

#[derive(Debug)]
pub(crate) struct Gate {
    /// How long a read may take, and before it its turn.
    limit: Duration,
    turns: Semaphore,
    callers: AtomicUsize,
    breaker: Mutex<Breaker>,
    pub(crate) metrics: StoreMetrics,
}

/// A caller that waits. Counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Caller<'a>(&'a Gate);

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        self.0.callers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gate {
    pub(crate) fn new(metrics: StoreMetrics) -> Self {
        Self {
            limit: READ_LIMIT,
            turns: Semaphore::new(AT_ONCE),
            callers: AtomicUsize::new(0),
            breaker: Mutex::default(),
            metrics,
        }
    }

    /// Lets a caller wait, or refuses it at once.
    pub(crate) fn enter(&self) -> Result<Caller<'_>, Unavailable> {
        if locked(&self.breaker).refuses(Instant::now()) {
            return Err(self.refused(StoreRead::BreakerOpen));
        }
        let before = self.callers.fetch_add(1, Ordering::Relaxed);
        let caller = Caller(self);
        if before >= CALLERS {
            return Err(self.refused(StoreRead::Overloaded));
        }
        Ok(caller)
    }

    /// Asks the store when it is its turn.
    pub(crate) async fn pass<T>(
        &self,
        ask: impl Future<Output = Result<T, ReadError>>,
    ) -> Result<T, Unavailable> {
        let turn = timeout(self.limit, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(self.refused(StoreRead::Overloaded));
        };
        let pass = locked(&self.breaker).admit(Instant::now());
        let Some(pass) = pass else {
            return Err(self.refused(StoreRead::BreakerOpen));
        };
        let begun = Instant::now();
        let answer = timeout(self.limit, ask).await;
        let answer = answer.unwrap_or(Err(ReadError::TooLate(self.limit)));
        self.judge(pass, begun, answer.as_ref().err());
        answer.map_err(Unavailable::new)
    }

    fn judge(&self, pass: Pass, begun: Instant, error: Option<&ReadError>) {
        let now = Instant::now();
        let outcome = {
            let mut breaker = locked(&self.breaker);
            let was_closed = breaker.is_closed();
            let outcome = match error {
                None => {
                    breaker.succeeded(pass);
                    StoreRead::Ok
                }
                Some(error) if error.is_answer() => {
                    breaker.succeeded(pass);
                    StoreRead::Unavailable
                }
                Some(_) => {
                    breaker.failed(pass, now);
                    StoreRead::Unavailable
                }
            };
            self.tell(was_closed, breaker.is_closed(), error);
            outcome
        };
        let metrics = &self.metrics;
        metrics.reads.of(outcome).increment(1);
        metrics.read_duration.record((now - begun).as_secs_f64());
    }

    fn tell(&self, was_closed: bool, is_closed: bool, error: Option<&ReadError>) {
        let is_open = if is_closed { 0.0 } else { 1.0 };
        self.metrics.breaker_open.set(is_open);
        match (was_closed, is_closed, error) {
            (true, false, Some(error)) => {
                tracing::warn!(%error, "the store does not answer: reads are refused at once");
            }
            (false, true, _) => tracing::info!("the store answers again"),
            (true, true, _) | (false, false, _) | (true, false, None) => {}
        }
    }

    fn refused(&self, why: StoreRead) -> Unavailable {
        self.metrics.reads.of(why).increment(1);
        Unavailable::new(match why {
            StoreRead::BreakerOpen => "the store has not been answering; it is asked again soon",
            StoreRead::Overloaded => "too many wait for the store",
            StoreRead::Ok | StoreRead::Unavailable => "the store is not available",
        })
    }

    pub(crate) fn late(&self) -> Unavailable {
        Unavailable::new(ReadError::TooLate(self.limit))
    }

    #[cfg(test)]
    fn is_closed(&self) -> bool {
        locked(&self.breaker).is_closed()
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Arc};

    use super::*;

    fn gate() -> Arc<Gate> {
        Arc::new(Gate {
            limit: Duration::from_millis(5),
            ..Gate::new(StoreMetrics::register())
        })
    }

    #[tokio::test]
    async fn reads_that_got_no_turn_do_not_count_against_the_store() {
        let gate = gate();
        let all: Vec<_> = (0..AT_ONCE)
            .map(|_| gate.turns.try_acquire().unwrap())
            .collect();

        for _ in 0..20 {
            let refused = gate.pass(async { Ok(()) }).await.unwrap_err();
            assert!(refused.reason.contains("too many"), "{refused}");
        }

        drop(all);
        assert!(gate.is_closed());
        assert_eq!(gate.pass(async { Ok(1) }).await, Ok(1));
    }

    #[tokio::test]
    async fn a_store_that_does_not_answer_is_soon_not_asked() {
        let gate = gate();
        for _ in 0..5 {
            gate.enter().unwrap();
            let late = gate.pass(pending::<Result<(), ReadError>>()).await;
            assert!(late.unwrap_err().reason.contains("within"));
        }
        assert!(gate.enter().unwrap_err().reason.contains("asked again"));
    }

    #[tokio::test]
    async fn callers_beyond_the_bound_are_refused_at_once_and_leave_their_place() {
        let gate = gate();
        let waiting: Vec<_> = (0..CALLERS).map(|_| gate.enter().unwrap()).collect();
        assert!(gate.enter().is_err());
        assert!(gate.enter().is_err());
        drop(waiting);
        assert!(gate.enter().is_ok());
        assert_eq!(gate.callers.load(Ordering::Relaxed), 0);
    }
}
