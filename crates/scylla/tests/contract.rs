//! The adapter keeps every promise of a store, on a real server.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use parlance_scylla::{Options, Replication, Scylla, migrate};
use parlance_testkit::{contract::store::StoreSubject, cql::Cql};

/// One server and one keyspace for all tests that run at the same time: making tables takes seconds.
struct Shared {
    store: Scylla,
    _server: Arc<Cql>,
}

impl Shared {
    fn get() -> Arc<Self> {
        static SHARED: Mutex<Weak<Shared>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return running;
        }
        let server = Cql::shared();
        let options = Options {
            nodes: server.contact_points(),
            keyspace: server.keyspace(),
            login: None,
            tls: None,
            datacenter: None,
            start_deadline: Duration::from_secs(60),
        };
        migrate(&options, &Replication { factor: 1 }).unwrap();
        let started = Arc::new(Self {
            store: Scylla::connect(options).unwrap(),
            _server: server,
        });
        *shared = Arc::downgrade(&started);
        started
    }
}

struct OnServer(Arc<Shared>);

impl StoreSubject for OnServer {
    type Store = Scylla;

    async fn fresh() -> Self {
        Self(Shared::get())
    }

    fn store(&self) -> &Scylla {
        &self.0.store
    }
}

parlance_testkit::store_contract_tests!(OnServer);
