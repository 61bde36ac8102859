//! What stands behind gateways: a Redis, and perhaps persisters and a store.

use std::{
    ffi::OsString,
    sync::{Arc, Mutex, Weak},
};

use super::{Setup, locked, node::Node};
use crate::{cql::Cql, redis::Redis};

/// How many persisters share the work.
const PERSISTERS: usize = 2;

/// Ended in the order of the fields.
#[derive(Debug)]
pub(super) struct Behind {
    persisters: Vec<Node>,
    redis: Redis,
    store: Option<Arc<Keyspace>>,
}

/// A keyspace with all tables.
#[derive(Debug)]
struct Keyspace {
    /// Lives as long as the keyspace is used.
    _cql: Arc<Cql>,
    settings: Setup,
}

impl Behind {
    /// A Redis in which ids begin at 1.
    pub(super) fn alone() -> Self {
        let redis = Redis::start();
        redis.seed_first_epochs();
        Self {
            persisters: Vec::new(),
            redis,
            store: None,
        }
    }

    /// The same with a store behind it. Stores that are in use at the same time are one: tests give
    /// their conversations names that no other test has.
    pub(super) fn with_store(settings: &[(String, String)]) -> Self {
        let mut behind = Self::alone();
        behind.store = Some(Keyspace::shared());
        let mut settings = settings.to_vec();
        settings.extend(behind.settings());
        let start = |_| Node::start(&[OsString::from("persister")], &settings);
        behind.persisters = (0..PERSISTERS).map(start).collect();
        behind
    }

    /// What a gateway has to be told.
    pub(super) fn settings(&self) -> Vec<(String, String)> {
        let mut settings = vec![("PARLANCE_REDIS__URLS".to_owned(), self.redis.url())];
        if let Some(store) = &self.store {
            settings.extend(store.settings.settings.clone());
        }
        settings
    }

    pub(super) fn persisters(&self) -> &[Node] {
        &self.persisters
    }
}

impl Keyspace {
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Keyspace>> = Mutex::new(Weak::new());
        let mut shared = locked(&SHARED);
        if let Some(made) = shared.upgrade() {
            return made;
        }
        let cql = Cql::shared();
        let name = cql.keyspace();
        let settings = Setup::default().store(&cql, &name);
        settings.migrate();
        let made = Arc::new(Self {
            _cql: cql,
            settings,
        });
        *shared = Arc::downgrade(&made);
        made
    }
}
