//! The ports' contract on everything that is real: the Redis adapter, a persister that moves all of it
//! into a CQL server as it comes, and logs that keep four events, so that nearly every reading crosses
//! from the log into the store.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use parlance_core::{
    ingest::PersisterId,
    ports::{Cursor, Unavailable},
    store::{Archive, EpochRow, NameDigest, Named, Partition, Store, StoredEvent, WriteError},
};
use parlance_protocol::{ConversationId, MessageId, Position, UserId};
use parlance_redis::{Durability, Options, Redis, Retention, Topology};
use parlance_scylla::{Replication, Scylla, migrate};
use parlance_testkit::{contract::Subject, cql::Cql, redis};
use tokio::{runtime::Builder, sync::oneshot, task::LocalSet};

parlance_testkit::contract_tests!(Everything);

struct Everything {
    server: redis::Redis,
    store: Arc<Part>,
    backend: Option<Redis<Part>>,
    persister: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Everything {
    fn open(&mut self) {
        let options = Options {
            topology: Topology::parse(&[self.server.url()]).unwrap(),
            durability: Durability::Local,
            retention: Retention {
                entries: 1,
                age: Duration::from_secs(1),
            },
            tail_entries: 4,
            memory_limit_bytes: None,
            start_deadline: Duration::from_secs(10),
        };
        let backend = Redis::connect(options, Some(Arc::clone(&self.store))).unwrap();
        let (ingest, archive) = (backend.ingest(), Arc::clone(&self.store));
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let me = PersisterId("persister".into());
            let options = parlance_persister::Options::of(me);
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let persisting = parlance_persister::run(ingest, archive, options, async {
                let _ = stopped.await;
            });
            LocalSet::new().block_on(&runtime, persisting);
        });
        self.backend = Some(backend);
        self.persister = Some((stop, thread));
    }

    fn close(&mut self) {
        if let Some((stop, thread)) = self.persister.take() {
            let _ = stop.send(());
            assert!(thread.join().is_ok(), "the persister should not panic");
        }
        drop(self.backend.take());
    }
}

impl Subject for Everything {
    type Backend = Redis<Part>;

    async fn fresh() -> Self {
        let mut everything = Self {
            server: redis::Redis::start(),
            store: Arc::new(Part::new()),
            backend: None,
            persister: None,
        };
        everything.open();
        everything
    }

    fn backend(&self) -> &Redis<Part> {
        self.backend.as_ref().unwrap()
    }

    async fn reopened(mut self) -> Self {
        self.close();
        self.open();
        self
    }
}

impl Drop for Everything {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.close();
        }
    }
}

/// A part of a store that others share: its conversations have names of their own there, and its
/// partitions are in epoch 0 first. Making tables for each test would take seconds.
struct Part {
    whole: Arc<Whole>,
    number: u32,
    epochs: Mutex<HashMap<Partition, u32>>,
}

struct Whole {
    scylla: Scylla,
    _server: Arc<Cql>,
}

impl Whole {
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Whole>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return running;
        }
        let server = Cql::shared();
        let options = parlance_scylla::Options {
            nodes: server.contact_points(),
            keyspace: server.keyspace(),
            login: None,
            tls: None,
            datacenter: None,
            start_deadline: Duration::from_secs(60),
        };
        migrate(&options, &Replication { factor: 1 }).unwrap();
        let scylla = Scylla::connect(options).unwrap();
        let started = Arc::new(Self {
            scylla,
            _server: server,
        });
        *shared = Arc::downgrade(&started);
        started
    }
}

impl Part {
    fn new() -> Self {
        static PARTS: AtomicU32 = AtomicU32::new(0);
        Self {
            whole: Whole::shared(),
            number: PARTS.fetch_add(1, Ordering::Relaxed),
            epochs: Mutex::default(),
        }
    }

    fn own(&self, conversation: &ConversationId) -> ConversationId {
        ConversationId::new(&format!("{}:{conversation}", self.number)).unwrap()
    }
}

impl Store for Part {
    async fn open_epoch(
        &self,
        partition: Partition,
        above: Option<u32>,
    ) -> Result<u32, Unavailable> {
        let mut epochs = self.epochs.lock().unwrap();
        let last = epochs.get(&partition).copied().max(above);
        let next = last.map_or(0, |epoch| epoch + 1);
        epochs.insert(partition, next);
        Ok(next)
    }

    async fn epochs(&self, conversation: &ConversationId) -> Result<Vec<EpochRow>, Unavailable> {
        self.whole.scylla.epochs(&self.own(conversation)).await
    }

    async fn look_up(
        &self,
        conversation: &ConversationId,
        sender: &UserId,
        name: NameDigest,
    ) -> Result<Vec<Named>, Unavailable> {
        let own = self.own(conversation);
        self.whole.scylla.look_up(&own, sender, name).await
    }

    async fn messages(
        &self,
        conversation: &ConversationId,
        from: MessageId,
        to: MessageId,
    ) -> Result<Vec<StoredEvent>, Unavailable> {
        let own = self.own(conversation);
        self.whole.scylla.messages(&own, from, to).await
    }

    async fn events(
        &self,
        conversation: &ConversationId,
        after: Position,
        up_to: Position,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, Unavailable> {
        let own = self.own(conversation);
        self.whole.scylla.events(&own, after, up_to, limit).await
    }

    async fn cursors(
        &self,
        conversation: &ConversationId,
    ) -> Result<Vec<(UserId, Cursor)>, Unavailable> {
        self.whole.scylla.cursors(&self.own(conversation)).await
    }
}

impl Archive for Part {
    async fn put_names(
        &self,
        conversation: &ConversationId,
        sender: &UserId,
        names: &[(NameDigest, Named)],
    ) -> Result<(), WriteError> {
        let own = self.own(conversation);
        self.whole.scylla.put_names(&own, sender, names).await
    }

    async fn put_events(
        &self,
        conversation: &ConversationId,
        events: &[StoredEvent],
    ) -> Result<(), WriteError> {
        let own = self.own(conversation);
        self.whole.scylla.put_events(&own, events).await
    }

    async fn put_placeholder(
        &self,
        conversation: &ConversationId,
        event: &StoredEvent,
    ) -> Result<(), WriteError> {
        let own = self.own(conversation);
        self.whole.scylla.put_placeholder(&own, event).await
    }

    async fn put_epoch(
        &self,
        conversation: &ConversationId,
        row: EpochRow,
    ) -> Result<(), WriteError> {
        let own = self.own(conversation);
        self.whole.scylla.put_epoch(&own, row).await
    }

    async fn put_cursors(
        &self,
        conversation: &ConversationId,
        cursors: &[(UserId, Cursor)],
    ) -> Result<(), WriteError> {
        let own = self.own(conversation);
        self.whole.scylla.put_cursors(&own, cursors).await
    }
}
