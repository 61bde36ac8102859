//! The adapter keeps every promise of the ports, with a store behind it and without.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::sync::Arc;

use parlance_core::store::NoStore;
use parlance_redis::Redis;
use parlance_testkit::{contract::Subject, redis};
use support::{MemoryStore, connect};

struct Alone {
    backend: Option<Redis<NoStore>>,
    server: redis::Redis,
}

impl Subject for Alone {
    type Backend = Redis<NoStore>;

    async fn fresh() -> Self {
        let server = redis::Redis::start();
        server.seed_first_epochs();
        Self {
            backend: Some(connect(&server.url(), None)),
            server,
        }
    }

    fn backend(&self) -> &Redis<NoStore> {
        self.backend.as_ref().unwrap()
    }

    async fn reopened(mut self) -> Self {
        drop(self.backend.take());
        self.backend = Some(connect(&self.server.url(), None));
        self
    }
}

struct Stored {
    backend: Option<Redis<MemoryStore>>,
    server: redis::Redis,
    store: Arc<MemoryStore>,
}

impl Subject for Stored {
    type Backend = Redis<MemoryStore>;

    async fn fresh() -> Self {
        let server = redis::Redis::start();
        let store = Arc::new(MemoryStore::default());
        Self {
            backend: Some(connect(&server.url(), Some(Arc::clone(&store)))),
            server,
            store,
        }
    }

    fn backend(&self) -> &Redis<MemoryStore> {
        self.backend.as_ref().unwrap()
    }

    async fn reopened(mut self) -> Self {
        drop(self.backend.take());
        self.backend = Some(connect(&self.server.url(), Some(Arc::clone(&self.store))));
        self
    }
}

mod alone {
    parlance_testkit::contract_tests!(super::Alone);
}

mod stored {
    parlance_testkit::contract_tests!(super::Stored);
}
