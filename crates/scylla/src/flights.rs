//! One question to the store for all who ask the same at the same time.
//!
//! A caller never gets the answer of a question that began before it called: it may know of more
//! than that question could see (a head that another node has just written, say), and would take
//! what is missing for what does not exist. So there is at most one question under way and one that
//! waits for it to end, and whoever calls meanwhile shares the one that waits.
//!
//! Called by `reading`; knows nothing of what is asked.

use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex},
};

use parlance_core::ports::Unavailable;
use tokio::{
    runtime::Handle,
    sync::{Mutex as Turn, watch},
};

use crate::locked;

/// The questions of one kind.
#[derive(Debug)]
pub(crate) struct Flights<K, V> {
    lines: Arc<Mutex<HashMap<K, Line<V>>>>,
}

type Outcome<V> = Option<Result<Arc<V>, Unavailable>>;

/// Where an answer will be.
#[derive(Debug)]
pub(crate) struct Ticket<V>(watch::Receiver<Outcome<V>>);

/// All flights of one question.
#[derive(Debug)]
struct Line<V> {
    turn: Arc<Turn<()>>,
    /// The one that has not begun.
    boarding: Option<watch::Receiver<Outcome<V>>>,
}

impl<V> Ticket<V> {
    /// The answer; all who wait for it get the same one.
    pub(crate) async fn answer(mut self) -> Result<Arc<V>, Unavailable> {
        let ended = || Unavailable::new("the question to the store was dropped");
        let answer = self.0.wait_for(Option::is_some).await;
        let answer = answer.map_err(|_| ended())?;
        answer.clone().unwrap_or_else(|| Err(ended()))
    }
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self {
            lines: Arc::default(),
        }
    }
}

impl<K, V> Flights<K, V>
where
    K: Hash + Eq + Clone + Send + 'static,
    V: Send + Sync + 'static,
{
    /// Boards the flight that has not begun, or starts one with `ask` on `runtime`; says whether it
    /// is shared.
    pub(crate) fn ask<F>(&self, key: K, ask: F, runtime: &Handle) -> (Ticket<V>, bool)
    where
        F: Future<Output = Result<V, Unavailable>> + Send + 'static,
    {
        let mut lines = locked(&self.lines);
        let line = lines.entry(key.clone()).or_insert_with(|| Line {
            turn: Arc::default(),
            boarding: None,
        });
        if let Some(boarding) = &line.boarding {
            return (Ticket(boarding.clone()), true);
        }
        let (answered, answer) = watch::channel(None);
        line.boarding = Some(answer.clone());
        let turn = Arc::clone(&line.turn);
        let lines = Arc::clone(&self.lines);
        runtime.spawn(async move {
            let my_turn = turn.lock_owned().await;
            // Whoever calls from here on may know more than this flight will see.
            if let Some(line) = locked(&lines).get_mut(&key) {
                line.boarding = None;
            }
            if answered.receiver_count() > 0 {
                let outcome = ask.await.map(Arc::new);
                answered.send_replace(Some(outcome));
            }
            drop(my_turn);
            leave(&lines, &key);
        });
        (Ticket(answer), false)
    }

    #[cfg(test)]
    fn lines(&self) -> usize {
        locked(&self.lines).len()
    }
}

/// Forgets the question if nobody else is under way or waits with it.
fn leave<K: Hash + Eq, V>(lines: &Mutex<HashMap<K, Line<V>>>, key: &K) {
    let mut lines = locked(lines);
    let is_last = lines
        .get(key)
        .is_some_and(|line| line.boarding.is_none() && Arc::strong_count(&line.turn) == 1);
    if is_last {
        lines.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn who_asks_the_same_at_the_same_time_shares_one_answer() {
        let flights = Flights::<u8, u64>::default();
        let asked = Arc::new(AtomicU64::new(0));
        let ask = |flights: &Flights<u8, u64>| {
            let asked = Arc::clone(&asked);
            let ask = async move { Ok(asked.fetch_add(1, Ordering::Relaxed)) };
            flights.ask(1, ask, &Handle::current()).0
        };

        let tickets: Vec<_> = (0..100).map(|_| ask(&flights)).collect();

        for ticket in tickets {
            assert_eq!(*ticket.answer().await.unwrap(), 0);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn nobody_gets_an_answer_to_a_question_that_began_before() {
        let flights = Flights::<u8, u64>::default();
        let state = Arc::new(AtomicU64::new(1));
        let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let first = {
            let (state, begun, go_on) = (state.clone(), begun.clone(), go_on.clone());
            let ask = async move {
                let seen = state.load(Ordering::Relaxed);
                begun.notify_one();
                go_on.notified().await;
                Ok(seen)
            };
            flights.ask(1, ask, &Handle::current()).0
        };
        begun.notified().await;
        state.store(2, Ordering::Relaxed);

        let ask = |state: Arc<AtomicU64>| async move { Ok(state.load(Ordering::Relaxed)) };
        let (second, is_shared) = flights.ask(1, ask(state.clone()), &Handle::current());
        assert!(!is_shared);
        let (third, is_shared) = flights.ask(1, ask(state), &Handle::current());
        assert!(is_shared);
        go_on.notify_one();

        assert_eq!(*first.answer().await.unwrap(), 1);
        assert_eq!(*second.answer().await.unwrap(), 2);
        assert_eq!(*third.answer().await.unwrap(), 2);
    }

    #[tokio::test]
    async fn questions_are_forgotten_and_errors_shared() {
        let flights = Flights::<u8, u64>::default();
        let fails = async { Err(Unavailable::new("down")) };
        let (ticket, _) = flights.ask(1, fails, &Handle::current());
        assert!(ticket.answer().await.is_err());
        let (ticket, _) = flights.ask(2, async { Ok(3) }, &Handle::current());
        assert_eq!(*ticket.answer().await.unwrap(), 3);
        tokio::task::yield_now().await;
        assert_eq!(flights.lines(), 0);
    }
}
