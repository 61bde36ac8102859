//! What the tests of the adapter share.

use std::{future::Future, time::Duration};

use parlance_core::{
    entry::{Entry, Event},
    store::StoredEvent,
};
use parlance_protocol::{ConversationId, MessageId, Position, UnixMicros, UserId};
use parlance_scylla::{Options, Replication, migrate};
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

/// With the tables.
pub(crate) fn migrated(server: &Cql, keyspace: &str) -> Options {
    let options = options(server, keyspace);
    let factor = u8::try_from(server.contact_points().len().min(3)).unwrap();
    migrate(&options, &Replication { factor }).unwrap();
    options
}

pub(crate) fn room(name: &str) -> ConversationId {
    ConversationId::new(name).unwrap()
}

/// The `n`-th message of epoch 0.
pub(crate) fn message(n: u64, content: &str) -> StoredEvent {
    let position = |n| Position::of(MessageId::new(n).unwrap());
    StoredEvent {
        entry: Entry {
            position: position(n),
            prev: position(n - 1),
            t: UnixMicros(1_700_000_000_000_000 + n),
            ordinal: n,
            sender: UserId::new("ann").unwrap(),
            local_id: None,
            event: Event::Message {
                content: content.into(),
            },
            trace: None,
        },
        count: n,
        revisions: Vec::new(),
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}
