//! What the tests of the adapter share.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use parlance_scylla::{Options, Replication, Scylla, migrate};
use parlance_testkit::cql::Cql;

/// How a server of the test kit is reached.
pub(crate) fn options(server: &Cql, keyspace: &str) -> Options {
    Options {
        nodes: server.contact_points(),
        keyspace: keyspace.to_owned(),
        login: None,
        tls: None,
        datacenter: None,
        start_deadline: Duration::from_secs(60),
    }
}

/// With the tables in a keyspace of its own.
pub(crate) fn migrated(server: &Cql, keyspace: &str) -> Options {
    let options = options(server, keyspace);
    let factor = u8::try_from(server.contact_points().len().min(3)).unwrap();
    migrate(&options, &Replication { factor }).unwrap();
    options
}

/// A server with tables, for all tests that run at the same time in this process: making tables
/// takes seconds.
pub(crate) struct Shared {
    pub(crate) store: Scylla,
    _server: Arc<Cql>,
}

impl Shared {
    pub(crate) fn get() -> Arc<Self> {
        static SHARED: Mutex<Weak<Shared>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return running;
        }
        let server = Cql::shared();
        let options = migrated(&server, &server.keyspace());
        let store = Scylla::connect(options).unwrap();
        let _server = server;
        let started = Arc::new(Self { store, _server });
        *shared = Arc::downgrade(&started);
        started
    }
}
