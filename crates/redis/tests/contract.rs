//! The adapter keeps every promise of the ports, with a store behind it and without.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

#[path = "support/mover.rs"]
#[expect(dead_code, reason = "other tests move cursors")]
mod mover;
mod support;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use mover::Mover;
use parlance_core::store::{NoStore, Partition};
use parlance_redis::Redis;
use parlance_testkit::{contract::Subject, redis, store::MemoryStore};
use support::{connect, options};

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

/// Everything is moved to the store as it comes, and a log keeps four events.
struct Moved {
    backend: Option<Redis<MemoryStore>>,
    server: redis::Redis,
    store: Arc<MemoryStore>,
    mover: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Moved {
    fn open(&mut self) {
        let mut options = options(&self.server.url());
        options.tail_entries = 4;
        let backend = Redis::connect(options, Some(Arc::clone(&self.store))).unwrap();
        let mover = Mover::new(backend.ingest(), &self.store);
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(async {
                while !ends.load(Ordering::Relaxed) {
                    for partition in 0..=u8::MAX {
                        mover.move_all(Partition(partition)).await;
                    }
                }
            });
        });
        self.mover = Some((is_over, thread));
        self.backend = Some(backend);
    }

    fn close(&mut self) {
        if let Some((is_over, thread)) = self.mover.take() {
            is_over.store(true, Ordering::Relaxed);
            assert!(thread.join().is_ok(), "the mover should not panic");
        }
        drop(self.backend.take());
    }
}

impl Subject for Moved {
    type Backend = Redis<MemoryStore>;

    async fn fresh() -> Self {
        let mut moved = Self {
            backend: None,
            server: redis::Redis::start(),
            store: Arc::default(),
            mover: None,
        };
        moved.open();
        moved
    }

    fn backend(&self) -> &Redis<MemoryStore> {
        self.backend.as_ref().unwrap()
    }

    async fn reopened(mut self) -> Self {
        self.close();
        self.open();
        self
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.close();
        }
    }
}

mod alone {
    parlance_testkit::contract_tests!(super::Alone);
}

mod stored {
    parlance_testkit::contract_tests!(super::Stored);
}

mod moved {
    parlance_testkit::contract_tests!(super::Moved);
}

mod guarded {
    parlance_testkit::contract_tests!(super::Guarded);
}
