//! What the tests of the adapter share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use parlance_core::{
    ports::Unavailable,
    store::{EpochRow, NameDigest, Named, Partition, Store},
};
use parlance_protocol::{ConversationId, UserId};
use parlance_redis::{Durability, Options, Redis, Retention, Topology};

/// A store that keeps in memory what a log asks of it.
#[derive(Default)]
pub(crate) struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    epochs: HashMap<Partition, u32>,
    rows: HashMap<ConversationId, Vec<EpochRow>>,
    names: HashMap<(ConversationId, UserId, NameDigest), Vec<Named>>,
}

impl MemoryStore {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().expect("no holder panics"))
    }

    /// Stores a row of `epochs`.
    pub(crate) fn put_epoch(&self, conversation: &ConversationId, row: EpochRow) {
        self.with(|state| {
            let rows = state.rows.entry(conversation.clone()).or_default();
            rows.retain(|other| other.epoch != row.epoch);
            rows.push(row);
            rows.sort_by_key(|row| row.epoch);
        });
    }

    /// Stores a name.
    pub(crate) fn put_name(
        &self,
        conversation: &ConversationId,
        sender: &UserId,
        name: NameDigest,
        named: Named,
    ) {
        let key = (conversation.clone(), sender.clone(), name);
        self.with(|state| state.names.entry(key).or_default().push(named));
    }
}

impl Store for MemoryStore {
    async fn open_epoch(&self, partition: Partition) -> Result<u32, Unavailable> {
        Ok(self.with(|state| {
            let next = state.epochs.get(&partition).map_or(0, |epoch| epoch + 1);
            state.epochs.insert(partition, next);
            next
        }))
    }

    async fn epochs(&self, conversation: &ConversationId) -> Result<Vec<EpochRow>, Unavailable> {
        Ok(self.with(|state| state.rows.get(conversation).cloned().unwrap_or_default()))
    }

    async fn look_up(
        &self,
        conversation: &ConversationId,
        sender: &UserId,
        name: NameDigest,
    ) -> Result<Vec<Named>, Unavailable> {
        let key = (conversation.clone(), sender.clone(), name);
        Ok(self.with(|state| state.names.get(&key).cloned().unwrap_or_default()))
    }
}

/// How a test uses Redis.
pub(crate) fn options(url: &str) -> Options {
    Options {
        topology: Topology::parse(&[url.to_owned()]).expect("the test kit's URLs are right"),
        durability: Durability::Local,
        retention: Retention {
            entries: 10_000,
            age: Duration::from_secs(7 * 24 * 60 * 60),
        },
        start_deadline: Duration::from_secs(10),
    }
}

/// One gateway's connection to Redis.
pub(crate) fn connect<S: Store>(url: &str, store: Option<Arc<S>>) -> Redis<S> {
    Redis::connect(options(url), store).expect("Redis runs")
}
