//! The epochs of the partitions, as far as this process knows them, and how the next one is opened.

use std::{
    cell::RefCell,
    collections::HashSet,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use parlance_core::{
    ports::Unavailable,
    store::{PARTITIONS, Partition, Store},
};
use tokio::{sync::Notify, time::sleep};

use crate::{
    answer,
    link::{Call, CallError, Link},
    partition, scripts,
    time::now_micros,
};

/// Where hours are counted from when nothing else tells which epochs there were: 2026-01-01, UTC.
const BEGINNING_US: u64 = 1_767_225_600_000_000;
const HOUR_US: u64 = 3_600_000_000;
/// Before a claim of somebody else is looked at again.
const CLAIMED_PAUSE: Duration = Duration::from_millis(50);
/// Looks at a claim before giving up: longer than a claim lasts.
const CLAIM_LOOKS: usize = 160;

/// What is known of the epochs.
pub(crate) struct Epochs {
    /// The epoch and 1; 0: not known.
    known: [AtomicU64; PARTITIONS],
}

impl Default for Epochs {
    fn default() -> Self {
        Self {
            known: [const { AtomicU64::new(0) }; PARTITIONS],
        }
    }
}

impl Epochs {
    /// The highest that was heard of.
    pub(crate) fn known(&self, partition: Partition) -> Option<u32> {
        let known = self.known[usize::from(partition.0)].load(Ordering::Relaxed);
        known
            .checked_sub(1)
            .and_then(|epoch| u32::try_from(epoch).ok())
    }

    /// Takes note. Returns whether it is a later one than was known; the first one is no news.
    pub(crate) fn note(&self, partition: Partition, epoch: u32) -> bool {
        let next = u64::from(epoch) + 1;
        let before = self.known[usize::from(partition.0)].fetch_max(next, Ordering::Relaxed);
        before != 0 && before < next
    }
}

/// Opens epochs, one opening per partition at a time.
#[derive(Default)]
pub(crate) struct Opener {
    at_work: RefCell<HashSet<Partition>>,
    done: Notify,
}

impl Opener {
    /// Opens the partition's next epoch under the link's run, unless it is open already.
    ///
    /// # Errors
    /// [`Unavailable`]: not known whether it was opened; asking again is safe, an epoch may be
    /// skipped.
    pub(crate) async fn open<S: Store>(
        &self,
        partition: Partition,
        link: &Link,
        epochs: &Epochs,
        store: Option<&S>,
    ) -> Result<(), Unavailable> {
        if !self.at_work.borrow_mut().insert(partition) {
            // Whoever waits asks its script again, and comes back if that is not content.
            self.done.notified().await;
            return Ok(());
        }
        let opened = open(partition, link, epochs, store).await;
        self.at_work.borrow_mut().remove(&partition);
        self.done.notify_waiters();
        opened
    }
}

async fn open<S: Store>(
    partition: Partition,
    link: &Link,
    epochs: &Epochs,
    store: Option<&S>,
) -> Result<(), Unavailable> {
    let nonce = format!("{:016x}", getrandom::u64().unwrap_or_default());
    for _ in 0..CLAIM_LOOKS {
        let Some(before) = claim(partition, link, &nonce).await? else {
            return Ok(());
        };
        let Claim::Ours(before) = before else {
            sleep(CLAIMED_PAUSE).await;
            continue;
        };
        let epoch = match store {
            Some(store) => {
                let seen = before.max(epochs.known(partition));
                store.open_epoch(partition, seen).await?
            }
            None => next_by_itself(before, epochs.known(partition)),
        };
        if set(partition, link, &nonce, epoch).await? {
            tracing::debug!(partition = partition.0, epoch, "opened an epoch");
            epochs.note(partition, epoch);
            return Ok(());
        }
    }
    Err(Unavailable::new(
        "the partition's epoch is claimed again and again",
    ))
}

enum Claim {
    /// With the epoch of the run before.
    Ours(Option<u32>),
    Others,
}

/// `None`: it is open.
async fn claim(partition: Partition, link: &Link, nonce: &str) -> Result<Option<Claim>, CallError> {
    let (epoch_key, claim_key) = (
        partition::epoch_key(partition),
        partition::claim_key(partition),
    );
    let call = Call::of(&scripts::CLAIM, [&*epoch_key, &*claim_key])
        .with(&*link.run.0)
        .with(nonce);
    let answer = answer::text(link.call(&call).await?)?;
    Ok(match answer.split_at_checked(1) {
        Some(("O", _)) => None,
        Some(("C", before)) => Some(Claim::Ours(before.parse().ok())),
        _ => Some(Claim::Others),
    })
}

async fn set(
    partition: Partition,
    link: &Link,
    nonce: &str,
    epoch: u32,
) -> Result<bool, CallError> {
    let (epoch_key, claim_key) = (
        partition::epoch_key(partition),
        partition::claim_key(partition),
    );
    let channel = partition::epochs_channel();
    let call = Call::of(&scripts::OPEN, [&*epoch_key, &*claim_key])
        .with(nonce)
        .with(&*link.run.0)
        .with(format!("{:013}", now_micros() / 1_000))
        .with(u64::from(epoch))
        .with(&*channel)
        .with(format!("{} {epoch}", partition.0));
    Ok(answer::text(link.call(&call).await?)? == "O")
}

/// Without a store nobody can know all epochs that there were: one more than the highest that
/// anybody here remembers, and if nobody does, hours, so that a wiped Redis goes on above.
fn next_by_itself(in_redis: Option<u32>, remembered: Option<u32>) -> u32 {
    match in_redis.max(remembered) {
        Some(epoch) => epoch.saturating_add(1),
        None => {
            let hours = now_micros().saturating_sub(BEGINNING_US) / HOUR_US;
            u32::try_from(hours).unwrap_or(u32::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_that_anybody_remembers_is_never_opened_again() {
        assert_eq!(next_by_itself(Some(3), None), 4);
        assert_eq!(next_by_itself(Some(3), Some(7)), 8);
        assert_eq!(next_by_itself(None, Some(7)), 8);
        assert!(next_by_itself(None, None) > 7_000);
    }

    #[test]
    fn only_a_later_epoch_is_news() {
        let epochs = Epochs::default();
        let partition = Partition(9);
        assert_eq!(epochs.known(partition), None);
        assert!(!epochs.note(partition, 0));
        assert!(!epochs.note(partition, 0));
        assert!(epochs.note(partition, 2));
        assert!(!epochs.note(partition, 1));
        assert_eq!(epochs.known(partition), Some(2));
    }
}
