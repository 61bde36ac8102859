//! The adapter keeps every promise of a store, on a real server.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use futures_util::future::{join, join_all};
use parlance_core::store::{Partition, Store};
use parlance_scylla::{Options, Replication, Scylla, migrate};
use parlance_testkit::{contract::store::StoreSubject, cql::Cql};

/// One server and one keyspace for all tests that run at the same time: making tables takes seconds.
struct Shared {
    store: Scylla,
    options: Options,
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
            store: Scylla::connect(options.clone()).unwrap(),
            options,
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

/// In one process the callers queue; two processes meet in the server only.
#[test]
fn two_processes_that_open_epochs_at_once_never_get_the_same_number() {
    let shared = Shared::get();
    let other = Scylla::connect(shared.options.clone()).unwrap();
    let open = async |store: &Scylla| store.open_epoch(Partition(77), None).await.ok();
    let open_ten = async |store| {
        let mut opened = Vec::new();
        for _ in 0..10 {
            opened.extend(open(store).await);
        }
        opened
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let (one, two) = runtime.unwrap().block_on(join(
        join_all((0..3).map(|_| open_ten(&shared.store))),
        join_all((0..3).map(|_| open_ten(&other))),
    ));

    let all: Vec<_> = [one, two].concat().concat();
    let distinct: BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "{all:?}");
    assert!(all.len() > 30, "most calls should succeed: {all:?}");
}
