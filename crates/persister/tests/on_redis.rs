//! What a persister does with the log of real gateways, on a real Redis.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use parlance_core::{
    entry::{Draft, Entry, Event},
    ingest::PersisterId,
    ports::{Appended, Backend, Cursor, Log, Receipts},
    store::{Archive, EpochRow, NameDigest, Named, PARTITIONS, Store, StoredEvent, WriteError},
};
use parlance_persister::Options;
use parlance_protocol::{ConversationId, LocalId, MessageId, UnixMicros, UserId};
use parlance_redis::{Durability, Handle, Redis, Retention, Topology};
use parlance_testkit::{
    redis::{self, partition_of, tag},
    store::MemoryStore,
};
use support::{Running, contents, conversation, options, until, user};
use tokio::{task::LocalSet, time::Instant};

/// Runs a test as a persister runs. The test kit's questions to Redis block for a moment.
fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

/// A Redis, a store, and a gateway in front of them.
struct World {
    server: redis::Redis,
    store: Arc<MemoryStore>,
    gateway: Redis<MemoryStore>,
    log: Handle<MemoryStore>,
}

impl World {
    fn new() -> Self {
        let server = redis::Redis::start();
        let store = Arc::new(MemoryStore::default());
        let gateway = Redis::connect(redis_options(&server), Some(Arc::clone(&store))).unwrap();
        let (log, _) = gateway.attach();
        Self {
            server,
            store,
            gateway,
            log,
        }
    }

    fn persister(&self, options: Options) -> Persister {
        let options_of_redis = redis_options(&self.server);
        let store = Some(Arc::clone(&self.store));
        let redis = Redis::connect_without_users(options_of_redis, store).unwrap();
        let archive = Arc::new(Tried {
            store: Arc::clone(&self.store),
            tries: AtomicU64::new(0),
        });
        let running = Running::start(redis.ingest(), Arc::clone(&archive), options);
        Persister {
            running,
            archive,
            _redis: redis,
        }
    }

    /// As a client does: again until it is known what became of it.
    async fn append(&self, of: &str, event: Event) -> Arc<Entry> {
        let draft = draft(event);
        let ends = Instant::now() + Duration::from_secs(20);
        loop {
            match self.log.append(&conversation(of), draft.clone()).await {
                Ok(Appended::New(entry)) => return entry,
                Ok(other) => panic!("expected a new entry, got {other:?}"),
                Err(error) => assert!(Instant::now() < ends, "{error}"),
            }
        }
    }

    async fn say(&self, of: &str, content: &str) -> MessageId {
        let content = content.into();
        self.append(of, Event::Message { content })
            .await
            .position
            .id
    }

    async fn say_all(&self, of: &str, numbers: std::ops::RangeInclusive<u32>) {
        for number in numbers {
            self.say(of, &format!("{of} {number}")).await;
        }
    }

    async fn until_stored(&self, of: &str, expected: &[String]) {
        let what = format!("{} events of {of} are stored", expected.len());
        until(&what, || contents(&self.store, of).len() >= expected.len()).await;
        assert_eq!(contents(&self.store, of), expected);
    }

    async fn until_ingest_is_empty(&self, of: &str) {
        let ingest = format!("{}:in", tag(partition_of(of)));
        let mut connection = self.server.connection();
        let mut length = || connection.cmd(&["XLEN", &ingest]).integer();
        until("all is committed", || length() == 0).await;
    }

    /// What the store has of each epoch.
    fn rows(&self, of: &str) -> Vec<EpochRow> {
        let rows = self.store.epochs(&conversation(of)).now_or_never();
        rows.expect("a store in memory answers at once").unwrap()
    }

    fn dead_letters(&self, of: &str) -> Vec<Vec<String>> {
        let letters = format!("{}:dl", tag(partition_of(of)));
        let all = self.server.cmd(&["XRANGE", &letters, "-", "+"]);
        let fields = |entry: &redis::resp::Value| {
            let fields = entry.list()[1].list().iter();
            fields.map(redis::resp::Value::text).collect()
        };
        all.list().iter().map(fields).collect()
    }

    /// How many partitions somebody owns.
    fn owned_by(&self, name: &str) -> usize {
        let mut connection = self.server.connection();
        let keys: Vec<_> = (0..PARTITIONS as u16)
            .map(|p| format!("{}:own", tag(p)))
            .collect();
        let mut command = vec!["MGET"];
        command.extend(keys.iter().map(|key| &**key));
        let owners = connection.cmd(&command);
        let ending = format!(" {name}").into_bytes();
        let is_of = |owner: &&redis::resp::Value| matches!(owner, redis::resp::Value::Bytes(owner) if owner.ends_with(&ending));
        owners.list().iter().filter(is_of).count()
    }
}

struct Persister {
    running: Running,
    archive: Arc<Tried>,
    _redis: Redis<MemoryStore>,
}

impl Persister {
    /// Waits until it tries to write events.
    async fn until_tried(&self) {
        let before = self.archive.tries.load(Ordering::Relaxed);
        until("events are given to the store", || {
            self.archive.tries.load(Ordering::Relaxed) > before
        })
        .await;
    }
}

/// The store, which counts how often somebody tries to write events to it.
struct Tried {
    store: Arc<MemoryStore>,
    tries: AtomicU64,
}

impl Archive for Tried {
    async fn put_names(
        &self,
        conversation: &ConversationId,
        sender: &UserId,
        names: &[(NameDigest, Named)],
    ) -> Result<(), WriteError> {
        self.store.put_names(conversation, sender, names).await
    }

    async fn put_events(
        &self,
        conversation: &ConversationId,
        events: &[StoredEvent],
    ) -> Result<(), WriteError> {
        self.tries.fetch_add(1, Ordering::Relaxed);
        self.store.put_events(conversation, events).await
    }

    async fn put_placeholder(
        &self,
        conversation: &ConversationId,
        event: &StoredEvent,
    ) -> Result<(), WriteError> {
        self.store.put_placeholder(conversation, event).await
    }

    async fn put_epoch(
        &self,
        conversation: &ConversationId,
        row: EpochRow,
    ) -> Result<(), WriteError> {
        self.store.put_epoch(conversation, row).await
    }

    async fn put_cursors(
        &self,
        conversation: &ConversationId,
        cursors: &[(UserId, Cursor)],
    ) -> Result<(), WriteError> {
        self.store.put_cursors(conversation, cursors).await
    }
}

fn redis_options(server: &redis::Redis) -> parlance_redis::Options {
    parlance_redis::Options {
        topology: Topology::parse(&[server.url()]).unwrap(),
        durability: Durability::Local,
        retention: Retention {
            entries: 10_000,
            age: Duration::from_secs(7 * 24 * 60 * 60),
        },
        tail_entries: 256,
        memory_limit_bytes: None,
        start_deadline: Duration::from_secs(10),
    }
}

fn draft(event: Event) -> Draft {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let name = format!("{:?}", std::time::Instant::now());
    Draft {
        sender: user("ann"),
        local_id: Some(LocalId::new(&name).unwrap()),
        retry: false,
        event,
        at: UnixMicros(u64::try_from(since.unwrap().as_micros()).unwrap()),
        restores: None,
        trace: None,
    }
}

fn numbered(of: &str, numbers: std::ops::RangeInclusive<u32>) -> Vec<String> {
    numbers.map(|number| format!("{of} {number}")).collect()
}

fn rooms() -> Vec<String> {
    (0..20).map(|number| format!("room-{number}")).collect()
}

#[test]
fn everything_that_was_appended_is_stored_once_and_in_order_and_told_to_be() {
    run(async {
        let world = World::new();
        let persister = world.persister(options("p"));
        let of = "with-edits";
        let message_id = world.say(of, "first").await;
        for room in rooms() {
            world.say_all(&room, 1..=30).await;
        }
        let content = "first, edited".into();
        let edit = world
            .append(
                of,
                Event::Edit {
                    message_id,
                    content,
                },
            )
            .await;
        let delete = world.append(of, Event::Delete { message_id }).await;

        for room in rooms() {
            world.until_stored(&room, &numbered(&room, 1..=30)).await;
            world.until_ingest_is_empty(&room).await;
        }
        world.until_ingest_is_empty(of).await;
        persister.running.stop().await;

        assert_eq!(
            contents(&world.store, of),
            ["first", "first, edited", "deleted"]
        );
        let rows = world.rows(of);
        let [row] = &*rows else { panic!("{rows:?}") };
        assert_eq!((row.head, row.t), (delete.position, delete.t));
        assert_eq!((row.count, row.ordinal), (3, 1));
        let head = world.log.head(&conversation(of)).await.unwrap();
        assert_eq!(head.stored, delete.position);
        let events = world.store.everything(&conversation(of));
        assert_eq!(events[1].entry, *edit);
        assert_eq!(world.owned_by("p"), 0, "all were released");
    });
}

#[test]
fn while_the_store_is_down_everything_waits_and_then_it_is_stored() {
    run(async {
        let world = World::new();
        let persister = world.persister(options("p"));
        world.say_all("room", 1..=5).await;
        world.until_ingest_is_empty("room").await;

        world.store.set_down(true);
        world.say_all("room", 6..=1_200).await;
        persister.until_tried().await;
        assert_eq!(contents(&world.store, "room").len(), 5);
        world.store.set_down(false);

        world
            .until_stored("room", &numbered("room", 1..=1_200))
            .await;
        world.until_ingest_is_empty("room").await;
        persister.running.stop().await;
    });
}

#[test]
fn two_share_the_partitions_and_one_takes_over_what_the_other_dropped_without_a_word() {
    run(async {
        let world = World::new();
        let hasty = |name: &str| Options {
            lease: Duration::from_secs(2),
            ..Options::of(PersisterId(name.into()))
        };
        let first = world.persister(hasty("persister-0"));
        let second = world.persister(hasty("persister-1"));
        until("both have a share", || {
            let (one, other) = (world.owned_by("persister-0"), world.owned_by("persister-1"));
            one + other == PARTITIONS && one.min(other) > 90
        })
        .await;
        for room in rooms() {
            world.say_all(&room, 1..=10).await;
            world.until_stored(&room, &numbered(&room, 1..=10)).await;
        }

        first.running.crash().await;
        for room in rooms() {
            world.say_all(&room, 11..=20).await;
        }
        for room in rooms() {
            world.until_stored(&room, &numbered(&room, 1..=20)).await;
            world.until_ingest_is_empty(&room).await;
        }
        assert_eq!(world.owned_by("persister-1"), PARTITIONS);
        second.running.stop().await;
    });
}

#[test]
fn what_the_store_refuses_and_what_nobody_can_read_are_laid_aside_and_the_rest_flows() {
    run(async {
        let world = World::new();
        world.store.refuse("poison");
        world.say_all("room", 1..=10).await;
        world.say("room", "poison").await;
        let ingest = format!("{}:in", tag(partition_of("room")));
        world.server.cmd(&["XADD", &ingest, "*", "room", "garbage"]);
        world.say_all("room", 11..=20).await;

        let persister = world.persister(options("p"));
        world.until_ingest_is_empty("room").await;
        persister.running.stop().await;

        let mut expected = numbered("room", 1..=20);
        expected.insert(10, String::new());
        assert_eq!(contents(&world.store, "room"), expected);
        let letters = world.dead_letters("room");
        assert_eq!(letters.len(), 2, "{letters:?}");
        let find = |what: &str| {
            letters
                .iter()
                .find(|letter| letter[5].contains(what))
                .unwrap()
        };
        assert!(find("poison")[7].contains("a word that is not taken"));
        assert_eq!(find("garbage")[3], "room");
    });
}

#[test]
fn a_dead_letter_that_is_given_back_takes_its_place_once_the_store_accepts_it() {
    run(async {
        let world = World::new();
        world.store.refuse("poison");
        world.say("room", "one").await;
        world.say("room", "poison").await;
        world.say("room", "three").await;
        let persister = world.persister(options("p"));
        world.until_ingest_is_empty("room").await;
        assert_eq!(contents(&world.store, "room"), ["one", "", "three"]);

        world.store.refuse("nothing of this");
        let letters = world.gateway.dead_letters().unwrap();
        assert!(world.gateway.retry_dead_letter(&letters[0].id).unwrap());

        until("it is stored", || {
            contents(&world.store, "room") == ["one", "poison", "three"]
        })
        .await;
        world.until_ingest_is_empty("room").await;
        persister.running.stop().await;
        assert!(world.gateway.dead_letters().unwrap().is_empty());
        assert_eq!(world.rows("room")[0].ordinal, 3, "the head stays");
    });
}

#[test]
fn what_was_read_when_the_log_was_emptied_is_stored_and_new_messages_go_on() {
    run(async {
        let world = World::new();
        world.say_all("room", 1..=10).await;
        world.store.set_down(true);
        let persister = world.persister(options("p"));
        persister.until_tried().await;

        world.server.cmd(&["FLUSHALL"]);
        until("all is owned again", || world.owned_by("p") == PARTITIONS).await;
        world.store.set_down(false);
        // The conversation goes on from where the store says that it ends.
        until("the store says how far it goes", || {
            world.rows("room").iter().any(|row| row.ordinal == 10)
        })
        .await;
        assert_eq!(contents(&world.store, "room"), numbered("room", 1..=10));

        world.say_all("room", 11..=15).await;
        world.until_stored("room", &numbered("room", 1..=15)).await;
        world.until_ingest_is_empty("room").await;
        persister.running.stop().await;
        let rows = world.rows("room");
        let last = rows.last().unwrap();
        assert!(last.epoch > 0, "{rows:?}");
        assert_eq!(last.ordinal, 15, "the new epoch counts on: {rows:?}");
    });
}

#[test]
fn cursors_that_moved_are_stored() {
    run(async {
        let world = World::new();
        let persister = world.persister(options("p"));
        let message = world.say("room", "one").await;
        let cursor = Cursor {
            delivered: message,
            read: message,
        };
        let at = UnixMicros(1);
        let room = conversation("room");
        world
            .log
            .advance(&room, &user("bob"), cursor, at, Arc::default());

        let stored = || world.store.cursors(&room).now_or_never().unwrap();
        until("the cursor is stored", || {
            stored() == Ok(vec![(user("bob"), cursor)])
        })
        .await;
        let moved = format!("{}:rm", tag(partition_of("room")));
        until("it is known to be stored", || {
            world.server.cmd(&["HLEN", &moved]).integer() == 0
        })
        .await;
        persister.running.stop().await;
    });
}
