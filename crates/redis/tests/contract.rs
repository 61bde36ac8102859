//! The adapter keeps every promise of the ports, with a store behind it and without.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod support;

use std::{path::Path, sync::Arc};

use parlance_core::store::NoStore;
use parlance_redis::Redis;
use parlance_testkit::{contract::Subject, redis, store::MemoryStore};
use support::connect;

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

/// As the user of the example, over TLS.
struct Guarded {
    backend: Option<Redis<MemoryStore>>,
    server: redis::Redis,
    store: Arc<MemoryStore>,
}

impl Guarded {
    fn connect(server: &redis::Redis, store: &Arc<MemoryStore>) -> Redis<MemoryStore> {
        let host = server
            .url()
            .replace("rediss://", "rediss://parlance:CHANGE-ME@");
        let url = format!("{host}?ca={}", server.ca_file().display());
        connect(&url, Some(Arc::clone(store)))
    }
}

impl Subject for Guarded {
    type Backend = Redis<MemoryStore>;

    async fn fresh() -> Self {
        // Fails when another test was first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let users = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/redis/users.acl");
        let setup = redis::Redis::setup().aclfile(Path::new(users));
        let server = setup.tls().start();
        let store = Arc::new(MemoryStore::default());
        Self {
            backend: Some(Self::connect(&server, &store)),
            server,
            store,
        }
    }

    fn backend(&self) -> &Redis<MemoryStore> {
        self.backend.as_ref().unwrap()
    }

    async fn reopened(mut self) -> Self {
        drop(self.backend.take());
        self.server.cmd(&["SCRIPT", "FLUSH"]);
        self.backend = Some(Self::connect(&self.server, &self.store));
        self
    }
}

impl Drop for Guarded {
    /// Nothing may have been refused.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let refused = self.server.cmd(&["ACL", "LOG"]);
            assert!(refused.list().is_empty(), "refused: {refused:?}");
        }
    }
}

mod alone {
    parlance_testkit::contract_tests!(super::Alone);
}

mod stored {
    parlance_testkit::contract_tests!(super::Stored);
}

mod guarded {
    parlance_testkit::contract_tests!(super::Guarded);
}
