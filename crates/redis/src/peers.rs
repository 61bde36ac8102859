//! How gateways that share a Redis know of each other, and the budget that they share.
//!
//! What a gateway says of itself is written with each renewal of its lease and each question to the
//! budget, and what the others say is read with each renewal. Both are kept here for the gateway, which
//! calls from its own threads.

use std::{
    rc::Rc,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use parlance_core::{
    peers::{Grant, Load, Peers, Standing, Taking, View},
    ports::Unavailable,
    store::{Partition, Store},
};
use tokio::sync::oneshot;

use crate::{
    Redis, answer,
    handle::{Job, closed},
    holders::LEASE,
    io::Io,
    link::{Call, CallError},
    partition, scripts,
    time::millis,
};

/// How much of its rate the bucket holds.
const BURST: Duration = Duration::from_millis(250);
/// How long Redis keeps a bucket that nobody takes from: it is full long before.
const BUCKET_KEPT: Duration = Duration::from_secs(60);

/// What this process says of itself, and what it knows of the others.
#[derive(Debug, Default)]
pub(crate) struct Loads {
    own: Mutex<Option<Load>>,
    seen: Mutex<Option<(Instant, View)>>,
}

/// `{p00}:gw`: which gateways live.
pub(crate) fn leases_key() -> String {
    partition::tagged(Partition(0), "gw")
}

/// `{p00}:ld`: how they stand.
pub(crate) fn loads_key() -> String {
    partition::tagged(Partition(0), "ld")
}

/// `{p00}:bg`: the budget.
fn budget_key() -> String {
    partition::tagged(Partition(0), "bg")
}

// === impl Loads ===

impl Loads {
    fn tell(&self, load: Load) {
        *locked(&self.own) = Some(load);
    }

    /// As the scripts take it.
    pub(crate) fn own_text(&self) -> String {
        let own = *locked(&self.own);
        own.map_or_else(String::new, text_of)
    }

    /// What the renewal that was begun at `at` showed of the others.
    pub(crate) fn saw(&self, at: Instant, others: Vec<Load>) {
        let mut seen = locked(&self.seen);
        let look = seen.as_ref().map_or(0, |(_, view)| view.look) + 1;
        *seen = Some((at, View { look, others }));
    }

    /// As old as a lease it says nothing any more.
    fn view(&self) -> Option<View> {
        let seen = locked(&self.seen);
        let (at, view) = seen.as_ref()?;
        (at.elapsed() < LEASE).then(|| view.clone())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn text_of(load: Load) -> String {
    let Load {
        members,
        accepts_per_second,
        standing,
    } = load;
    let standing = match standing {
        Standing::Unready => "unready",
        Standing::Ready => "ready",
        Standing::Shedding => "shedding",
        Standing::Leaving => "leaving",
    };
    format!("{members} {accepts_per_second} {standing}")
}

/// `None`: another version writes it otherwise, and does not count here.
pub(crate) fn load_of(text: &str) -> Option<Load> {
    let mut words = text.split(' ');
    let members = words.next()?.parse().ok()?;
    let accepts_per_second = words.next()?.parse().ok()?;
    let standing = match words.next()? {
        "unready" => Standing::Unready,
        "ready" => Standing::Ready,
        "shedding" => Standing::Shedding,
        "leaving" => Standing::Leaving,
        _ => return None,
    };
    Some(Load {
        members,
        accepts_per_second,
        standing,
    })
}

// === the budget ===

/// Does not wait for a Redis that is away: who asks goes on by itself then.
async fn take<S: Store>(io: &Rc<Io<S>>, wanted: u32) -> Result<Grant, Unavailable> {
    let node = io.node(Partition(0))?;
    let link = node
        .link_now()
        .ok_or_else(|| Unavailable::new("Redis: not connected"))?;
    let keys = [leases_key(), loads_key(), budget_key()];
    let call = Call::of(&scripts::TAKE, &keys)
        .with(&*io.gateway)
        .with(io.loads.own_text())
        .with(u64::from(wanted))
        .with(millis(BURST))
        .with(millis(BUCKET_KEPT));
    Ok(grant(answer::list(link.call(&call).await?)?)?)
}

fn grant(answer: Vec<redis::Value>) -> Result<Grant, CallError> {
    let numbers: Vec<u32> = answer
        .iter()
        .filter_map(|value| u32::try_from(answer::number(value)?).ok())
        .collect();
    match numbers[..] {
        [members, per_second] => Ok(Grant {
            members,
            per_second,
        }),
        _ => Err(answer::unexpected(&format!("{answer:?}"))),
    }
}

impl<S: Store> Peers for Redis<S> {
    fn tell(&self, load: Load) {
        self.shared.loads.tell(load);
    }

    fn view(&self) -> Option<View> {
        self.shared.loads.view()
    }

    fn take(&self, wanted: u32) -> Taking<'_> {
        let (answer, answered) = oneshot::channel();
        let job: Job<S> = Box::new(move |io| {
            let io = Rc::clone(io);
            tokio::task::spawn_local(async move {
                // Who does not wait any more needs no answer.
                let _ = answer.send(take(&io, wanted).await);
            });
        });
        let sent = self.jobs.try_send(job).map_err(|_| closed());
        Box::pin(async move {
            sent?;
            answered.await.unwrap_or_else(|_| Err(closed()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_read_as_it_was_written_and_a_strange_one_is_none() {
        for standing in [
            Standing::Unready,
            Standing::Ready,
            Standing::Shedding,
            Standing::Leaving,
        ] {
            let load = Load {
                members: u32::MAX,
                accepts_per_second: 250,
                standing,
            };
            assert_eq!(load_of(&text_of(load)), Some(load));
        }
        for strange in ["", "1", "1 2", "1 2 asleep", "x 2 ready", "-1 2 ready"] {
            assert_eq!(load_of(strange), None, "{strange}");
        }
    }
}
