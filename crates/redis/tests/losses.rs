//! What survives when Redis loses something, and what Redis is asked for by way of a store.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod support;

use std::{sync::Arc, time::Duration};

use parlance_core::{
    entry::{Draft, Event},
    ports::{Appended, Backend, Bus, Cursor, Feed, Head, Heard, History, Log, Unavailable},
    store::{
        Archive, ContentDigest, EpochRow, NameDigest, Named, NoStore, Partition, Store, StoredEvent,
    },
};
use parlance_protocol::{Anchor, ConversationId, LocalId, MessageId, Position, UnixMicros, UserId};
use parlance_redis::{Durability, Handle, Redis};
use parlance_testkit::{redis, store::MemoryStore};
use support::{connect, options};

const E: u64 = MessageId::PER_EPOCH;

fn room() -> ConversationId {
    ConversationId::new("room").unwrap()
}

fn ann() -> UserId {
    UserId::new("ann").unwrap()
}

fn at(id: u64) -> Position {
    Position::of(MessageId::new(id).unwrap())
}

fn draft(name: &str, content: &str) -> Draft {
    Draft {
        sender: ann(),
        local_id: Some(LocalId::new(name).unwrap()),
        retry: false,
        event: Event::Message {
            content: content.into(),
        },
        at: UnixMicros(now()),
        restores: None,
        trace: None,
    }
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.unwrap().as_micros()).unwrap()
}

/// As a client does: again until it is known what became of it.
async fn send(log: &impl Log, draft: Draft) -> Appended {
    let ends = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        match log.append(&room(), draft.clone()).await {
            Ok(appended) => return appended,
            Err(error) => assert!(tokio::time::Instant::now() < ends, "{error}"),
        }
    }
}

async fn position(log: &impl Log, draft: Draft) -> Position {
    match send(log, draft).await {
        Appended::New(entry) => entry.position,
        other @ (Appended::Duplicate(_) | Appended::Conflict | Appended::TooMany) => {
            panic!("expected a new entry, got {other:?}")
        }
    }
}

async fn head(log: &impl Log) -> Head {
    let ends = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        match log.head(&room()).await {
            Ok(head) => return head,
            Err(error) => assert!(tokio::time::Instant::now() < ends, "{error}"),
        }
    }
}

async fn contents(log: &impl History) -> Vec<String> {
    let page = log.page(&room(), Anchor::Newest, 100).await.unwrap();
    let rows = page.rows.iter().rev();
    rows.map(|row| row.content.to_string()).collect()
}

async fn doubt(feed: &mut impl Feed) {
    let heard = async {
        loop {
            if feed.next().await.unwrap().1 == Heard::Doubt {
                return;
            }
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), heard).await;
    waited.expect("a doubt should be told");
}

/// Waits until both gateways listen to `server`, and until each has done what it does then.
async fn both_listen(server: &redis::Redis, gateways: [&Handle<NoStore>; 2]) {
    let ends = tokio::time::Instant::now() + Duration::from_secs(20);
    while server.cmd(&["PUBSUB", "NUMSUB", "{p00}:epochs"]).list()[1].integer() < 2 {
        assert!(
            tokio::time::Instant::now() < ends,
            "both gateways should listen"
        );
        tokio::task::yield_now().await;
    }
    let elsewhere = ConversationId::new("elsewhere").unwrap();
    for gateway in gateways {
        while gateway.head(&elsewhere).await.is_err() {}
    }
}

fn alone(server: &redis::Redis) -> (Redis<NoStore>, Handle<NoStore>) {
    server.seed_first_epochs();
    let backend = connect(&server.url(), None);
    let (handle, _feed) = backend.attach();
    (backend, handle)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_that_lost_nothing_everything_is_there_and_ids_go_on_higher() {
    // With `everysec` an answer may go out before the write, while an earlier sync takes its time.
    let mut server = redis::Redis::setup().appendfsync_always().start();
    let (_backend, log) = alone(&server);
    assert_eq!(position(&log, draft("a", "one")).await, at(1));

    server.restart();

    assert_eq!(position(&log, draft("b", "two")).await, at(E + 1));
    let head = head(&log).await;
    assert_eq!(head.epoch, 1);
    assert_eq!(head.lineage.ordinal(at(E + 1).id), 2);
    assert!(head.lineage.contains(at(1).id) && !head.lineage.contains(at(2).id));
    assert_eq!(contents(&log).await, ["one", "two"]);
    let replay = log.replay(&room(), Position::ZERO, 10).await.unwrap();
    let prevs: Vec<_> = replay.events.iter().map(|event| event.entry.prev).collect();
    assert_eq!(
        prevs,
        [Position::ZERO, at(E)],
        "the second follows the mark"
    );
    assert_eq!(
        send(&log, draft("a", "one")).await,
        Appended::Duplicate(at(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_redis_never_gives_an_id_twice() {
    let mut server = redis::Redis::start();
    let (backend, log) = alone(&server);
    let (other, mut feed) = backend.attach();
    other.subscribe(&room()).await.unwrap();
    assert_eq!(position(&log, draft("a", "one")).await, at(1));

    for round in 1..=3 {
        server.wipe_and_restart();
        doubt(&mut feed).await;
        let head = head(&log).await;
        assert_eq!(u64::from(head.epoch), round);
        assert_eq!(
            head.lineage.shared_with(at((round - 1) * E + 1)),
            Position::ZERO
        );
        let again = position(&log, draft("a", "one")).await;
        assert_eq!(again, at(round * E + 1));
    }
    assert_eq!(contents(&log).await, ["one"]);
}

/// It was found before the loss, so it is to be judged again: whatever it is appended to, nobody would
/// ever see what it changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_message_that_was_lost_on_its_way_is_not_appended() {
    let store = Arc::new(MemoryStore::default());
    for store in [None, Some(store)] {
        let mut server = redis::Redis::setup().appendfsync_always().start();
        if store.is_none() {
            server.seed_first_epochs();
        }
        let backend = connect(&server.url(), store);
        let (log, _feed) = backend.attach();
        let first = position(&log, draft("a", "one")).await;
        let delete = |name: Option<&str>, message_id: MessageId| Draft {
            local_id: name.map(|name| LocalId::new(name).unwrap()),
            event: Event::Delete { message_id },
            ..draft("any", "")
        };
        server.restart();
        let again = position(&log, draft("b", "two")).await;
        let kept = send(&log, delete(Some("c"), first.id)).await;
        assert!(matches!(kept, Appended::New(_)), "{kept:?}");

        server.wipe_and_restart();
        let epoch = again.id.epoch() + 1;
        while head(&log).await.epoch < epoch {
            tokio::task::yield_now().await;
        }
        for name in [None, Some("d")] {
            let orphan = log.append(&room(), delete(name, again.id)).await;
            assert!(orphan.is_err(), "{orphan:?}");
        }
        let head = head(&log).await;
        assert!(head.lineage.head().is_mark(), "{head:?}");
        let back = position(&log, draft("b", "two")).await;
        let deleted = send(&log, delete(Some("d"), back.id)).await;
        assert!(matches!(deleted, Appended::New(_)), "{deleted:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_redis_that_lives_on_is_noticed_by_rooms_in_which_nobody_speaks() {
    let server = redis::Redis::start();
    let (backend, log) = alone(&server);
    let (quiet, mut feed) = backend.attach();
    quiet.subscribe(&room()).await.unwrap();
    position(&log, draft("a", "one")).await;

    server.cmd(&["FLUSHALL"]);

    doubt(&mut feed).await;
    assert_eq!(head(&quiet).await.epoch, 1);
    assert_eq!(position(&log, draft("b", "two")).await, at(E + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_tell_each_other_of_epochs_so_that_none_is_opened_twice() {
    let mut server = redis::Redis::start();
    let (_one, log) = alone(&server);
    let second = connect::<NoStore>(&server.url(), None);
    let (other, _feed) = second.attach();
    position(&log, draft("a", "one")).await;

    // Each wipe is met by the gateway that did not open the epoch before.
    for round in 1..=4 {
        server.wipe_and_restart();
        let by = if round % 2 == 0 { &log } else { &other };
        let id = position(by, draft("a", "one")).await.id;
        assert_eq!(u64::from(id.epoch()), round, "round {round}");
        both_listen(&server, [&log, &other]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_redis_forgot_are_sent_again() {
    let server = redis::Redis::start();
    let (_backend, log) = alone(&server);
    position(&log, draft("a", "one")).await;
    server.cmd(&["SCRIPT", "FLUSH"]);
    assert_eq!(position(&log, draft("b", "two")).await, at(2));
    assert_eq!(contents(&log).await, ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_subscriptions_come_back_with_a_doubt_and_hear_on() {
    let server = redis::Redis::start();
    let (backend, log) = alone(&server);
    let (other, mut feed) = backend.attach();
    other.subscribe(&room()).await.unwrap();

    server.cmd(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    doubt(&mut feed).await;

    let sent = position(&log, draft("a", "one")).await;
    let (_, heard) = feed.next().await.unwrap();
    assert!(matches!(heard, Heard::Entry(entry) if entry.position == sent));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_whose_news_was_lost_is_found_by_the_sweep() {
    let server = redis::Redis::start();
    let (backend, log) = alone(&server);
    let (other, mut feed) = backend.attach();
    other.subscribe(&room()).await.unwrap();
    position(&log, draft("a", "one")).await;

    // Stands in Redis without having been published: the meta of the conversation as it would be
    // after one more event.
    let partition = "{p9b}";
    let meta = format!("{partition}:m:room");
    let before = server.cmd(&["STRLEN", &meta]).integer();
    assert_eq!(before, 42, "the conversation is in another partition");
    server.cmd(&["SETRANGE", &meta, "9", "\u{2}"]);

    doubt(&mut feed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_store_only_the_newest_are_kept_and_older_ones_are_said_to_be_gone() {
    let server = redis::Redis::start();
    server.seed_first_epochs();
    let mut options = options(&server.url());
    options.retention.entries = 100;
    let backend: Redis<NoStore> = Redis::connect(options, None).unwrap();
    let (log, _feed) = backend.attach();
    for n in 1..=400 {
        position(&log, draft(&n.to_string(), "m")).await;
    }

    let newest = log.page(&room(), Anchor::Newest, 100).await.unwrap();
    assert_eq!(newest.rows.len(), 100);
    assert!(newest.has_more);
    let oldest = Anchor::Before(MessageId::new(150).unwrap());
    assert!(log.page(&room(), oldest, 20).await.is_err(), "trimmed");
    let first = Anchor::After(MessageId::ZERO);
    assert!(log.page(&room(), first, 20).await.is_err(), "trimmed");
    assert!(log.at(&room(), at(5)).await.is_err(), "trimmed");
    let replay = log.replay(&room(), at(5), 10).await.unwrap();
    assert_eq!((replay.events.len(), replay.remaining), (0, u64::MAX));
    let kept = server.cmd(&["XLEN", "{p9b}:l:room"]).integer();
    assert!((100..200).contains(&kept), "{kept} entries are kept");
    assert_eq!(server.cmd(&["EXISTS", "{p9b}:in"]).integer(), 0);
    let ttl = server.cmd(&["TTL", "{p9b}:l:room"]).integer();
    assert!(ttl > 6 * 24 * 3600, "{ttl} s");
    assert_eq!(server.cmd(&["TTL", "{p9b}:m:room"]).integer(), -1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_conversation_goes_on_where_the_store_has_it() {
    let server = redis::Redis::start();
    let store = Arc::new(MemoryStore::default());
    let row = |epoch, head, broke_at, ordinal| EpochRow {
        epoch,
        broke_at,
        head,
        t: UnixMicros(5),
        ordinal,
        count: ordinal,
    };
    store
        .put_epoch(&room(), row(0, at(41), None, 41))
        .await
        .unwrap();
    let backend = connect(&server.url(), Some(Arc::clone(&store)));
    let (log, _feed) = backend.attach();

    assert_eq!(position(&log, draft("a", "one")).await, at(42));
    assert_eq!(head(&log).await.stored, at(41));

    // The next epoch's break is the higher of what the store and what Redis has.
    store
        .put_epoch(&room(), row(0, at(44), None, 44))
        .await
        .unwrap();
    server.cmd(&["FLUSHALL"]);
    assert_eq!(position(&log, draft("b", "two")).await, at(E + 1));
    let head = head(&log).await;
    assert_eq!(head.lineage.shared_with(at(E)), at(E));
    assert!(head.lineage.contains(at(44).id) && !head.lineage.contains(at(45).id));
    assert_eq!(head.lineage.ordinal(at(E + 1).id), 45);
    assert!(server.cmd(&["XLEN", "{p9b}:in"]).integer() >= 2, "ingest");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_redis_does_not_remember_is_decided_by_the_store() {
    let server = redis::Redis::start();
    let store = Arc::new(MemoryStore::default());
    let row = EpochRow {
        epoch: 0,
        broke_at: None,
        head: at(9),
        t: UnixMicros(5),
        ordinal: 9,
        count: 9,
    };
    store.put_epoch(&room(), row).await.unwrap();
    let content = |text: &str| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"m");
        hasher.update(text.as_bytes());
        ContentDigest(*hasher.finalize().as_bytes().first_chunk().unwrap())
    };
    let name = |local_id: &str| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"l");
        hasher.update(local_id.as_bytes());
        NameDigest(*hasher.finalize().as_bytes().first_chunk().unwrap())
    };
    let named = |id, text| Named {
        position: at(id),
        content: content(text),
    };
    let names = [(name("stored"), named(7, "seven"))];
    store.put_names(&room(), &ann(), &names).await.unwrap();
    // Above the head: written late, after it had been lost.
    let names = [(name("lost"), named(12, "twelve"))];
    store.put_names(&room(), &ann(), &names).await.unwrap();
    let backend = connect(&server.url(), Some(Arc::clone(&store)));
    let (log, _feed) = backend.attach();

    // Redis has no names of ann: she is looked up even without `retry`.
    let again = send(&log, draft("stored", "seven")).await;
    assert_eq!(again, Appended::Duplicate(at(7)));
    let other = send(&log, draft("stored", "eight")).await;
    assert_eq!(other, Appended::Conflict);
    assert_eq!(position(&log, draft("lost", "twelve")).await, at(10));
    let mut retry = draft("stored", "seven");
    retry.retry = true;
    assert_eq!(send(&log, retry.clone()).await, Appended::Duplicate(at(7)));
    // Two of one name that share a call, as what comes while an append is under way does.
    let mut busy = draft("unused", "busy");
    busy.local_id = None;
    let room = room();
    let calls = [busy, retry.clone(), retry].map(|draft| log.append(&room, draft));
    let [busy, first, second] = calls;
    assert!(matches!(busy.await, Ok(Appended::New(_))));
    assert_eq!(first.await, Ok(Appended::Duplicate(at(7))));
    assert_eq!(second.await, Ok(Appended::Duplicate(at(7))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_restored_twice_stands_once() {
    let server = redis::Redis::start();
    let (_backend, log) = alone(&server);
    let mut lost = draft("unused", "lost");
    lost.local_id = None;
    lost.restores = Some(at(77));

    let first = position(&log, lost.clone()).await;
    assert_eq!(send(&log, lost).await, Appended::Duplicate(first));
}

#[tokio::test(flavor = "multi_thread")]
async fn replicated_means_that_nothing_is_told_before_a_replica_has_it() {
    let pair = redis::Pair::start();
    pair.seed_first_epochs();
    let mut replicated = options(&pair.url());
    replicated.durability = Durability::Replicated;
    let elsewhere: Redis<NoStore> = Redis::connect(replicated.clone(), None).unwrap();
    let (reader, _nothing) = elsewhere.attach();
    let backend: Redis<NoStore> = Redis::connect(replicated, None).unwrap();
    let (log, _own) = backend.attach();
    let (other, mut feed) = backend.attach();
    other.subscribe(&room()).await.unwrap();
    assert_eq!(position(&log, draft("a", "one")).await, at(1));
    assert!(matches!(feed.next().await, Some((_, Heard::Entry(_)))));

    pair.lag();
    assert!(log.append(&room(), draft("b", "two")).await.is_err());
    let page = reader.page(&room(), Anchor::Newest, 10).await;
    assert!(page.is_err(), "shown before a replica has it: {page:?}");
    // It stands, but a repeat is no acknowledgement either.
    assert!(log.append(&room(), draft("b", "two")).await.is_err());
    assert_eq!(feed.try_next(), None, "told before a replica has it");

    pair.catch_up();
    assert_eq!(
        send(&log, draft("b", "two")).await,
        Appended::Duplicate(at(2))
    );
    let (_, heard) = feed.next().await.unwrap();
    assert!(matches!(heard, Heard::Entry(entry) if entry.position == at(2)));
    assert_eq!(contents(&reader).await, ["one", "two"]);
}

/// `PARLANCE_FULL=1`: 10,000 races.
#[tokio::test(flavor = "multi_thread")]
async fn two_retries_that_race_through_two_gateways_are_one_message() {
    let races = if std::env::var_os("PARLANCE_FULL").is_some() {
        10_000
    } else {
        500
    };
    let server = redis::Redis::start();
    let (_one, a) = alone(&server);
    let second = connect::<NoStore>(&server.url(), None);
    let (b, _feed) = second.attach();

    let mut new = 0;
    for n in 0..races {
        let name = n.to_string();
        let both = tokio::join!(
            a.append(&room(), draft(&name, &name)),
            b.append(&room(), draft(&name, &name)),
        );
        let positions = [both.0.unwrap(), both.1.unwrap()].map(|appended| match appended {
            Appended::New(entry) => {
                new += 1;
                entry.position
            }
            Appended::Duplicate(position) => position,
            other @ (Appended::Conflict | Appended::TooMany) => panic!("{other:?}"),
        });
        assert_eq!(positions[0], positions[1]);
    }
    assert_eq!(new, races);
    assert_eq!(head(&a).await.lineage.head(), at(races));
    parlance_testkit::report(&format!("{races} races, {new} messages"));
}

/// A store that is so slow that another gateway opens the epoch meanwhile, once.
struct Overtaken {
    server: redis::Redis,
    store: MemoryStore,
}

impl Store for Overtaken {
    async fn open_epoch(
        &self,
        partition: Partition,
        above: Option<u32>,
    ) -> Result<u32, Unavailable> {
        let tag = redis::tag(u16::from(partition.0));
        let run = |field| self.server.info(field)[..8].to_owned();
        let run = run("run_id") + &run("master_replid");
        let opened = format!("{run} 1700000000000 5");
        self.server.cmd(&["SET", &format!("{tag}:e"), &opened]);
        self.server.cmd(&["DEL", &format!("{tag}:o")]);
        self.store.open_epoch(partition, above).await
    }

    async fn epochs(&self, conversation: &ConversationId) -> Result<Vec<EpochRow>, Unavailable> {
        self.store.epochs(conversation).await
    }

    async fn look_up(
        &self,
        conversation: &ConversationId,
        sender: &UserId,
        name: NameDigest,
    ) -> Result<Vec<Named>, Unavailable> {
        self.store.look_up(conversation, sender, name).await
    }

    async fn messages(
        &self,
        conversation: &ConversationId,
        from: MessageId,
        to: MessageId,
    ) -> Result<Vec<StoredEvent>, Unavailable> {
        self.store.messages(conversation, from, to).await
    }

    async fn events(
        &self,
        conversation: &ConversationId,
        after: Position,
        up_to: Position,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, Unavailable> {
        self.store.events(conversation, after, up_to, limit).await
    }

    async fn cursors(
        &self,
        conversation: &ConversationId,
    ) -> Result<Vec<(UserId, Cursor)>, Unavailable> {
        self.store.cursors(conversation).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opener_that_was_overtaken_does_not_set_its_older_epoch() {
    let server = redis::Redis::start();
    let url = server.url();
    let store = MemoryStore::default();
    let backend = connect(&url, Some(Arc::new(Overtaken { server, store })));
    let (log, _feed) = backend.attach();
    assert_eq!(position(&log, draft("a", "one")).await, at(5 * E + 1));
}
