//! The log with a store behind it: what is moved there, what is let go here, and that readers do not
//! notice.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

#[path = "support/mover.rs"]
mod mover;
#[expect(
    dead_code,
    reason = "other tests connect with these options as they are"
)]
mod support;

use std::{sync::Arc, time::Duration};

use mover::Mover;
use parlance_core::{
    entry::{Draft, Event},
    ingest::{Durable, Ingest, IngestError, PersisterId, Piece},
    ports::{
        Appended, Backend, Bus, Cursor, Feed, Head, Heard, History, Log, Page, Receipts, Replay,
    },
    store::{Archive, Partition, Store},
};
use parlance_protocol::{Anchor, ConversationId, LocalId, MessageId, Position, UnixMicros, UserId};
use parlance_redis::{Handle, Options, Redis, Unstored};
use parlance_testkit::{redis, store::MemoryStore};
use support::options;

const E: u64 = MessageId::PER_EPOCH;
/// That of [`room`].
const PARTITION: Partition = Partition(0x9b);

/// What Redis has of [`room`].
const KEYS: [&str; 4] = ["{p9b}:m:room", "{p9b}:l:room", "{p9b}:x:room", "{p9b}:in"];

/// A gateway and a mover on one Redis, and a store. A log keeps two events.
struct House {
    server: redis::Redis,
    store: Arc<MemoryStore>,
    backend: Redis<MemoryStore>,
    handle: Handle<MemoryStore>,
    mover: Mover<Unstored<MemoryStore>, MemoryStore>,
}

impl House {
    fn new() -> Self {
        Self::on(redis::Redis::start())
    }

    fn on(server: redis::Redis) -> Self {
        Self::with(server, |_| {})
    }

    fn with(server: redis::Redis, choose: impl FnOnce(&mut Options)) -> Self {
        let store = Arc::new(MemoryStore::default());
        let mut options = options(&server.url());
        options.tail_entries = 2;
        choose(&mut options);
        let backend = Redis::connect(options, Some(Arc::clone(&store))).unwrap();
        let (handle, _feed) = backend.attach();
        let mover = Mover::new(backend.ingest(), &store);
        Self {
            server,
            store,
            backend,
            handle,
            mover,
        }
    }

    async fn say(&self, name: &str) -> Position {
        let event = Event::Message {
            content: name.into(),
        };
        match self.send(name, event, false).await {
            Appended::New(entry) => entry.position,
            other @ (Appended::Duplicate(_) | Appended::Conflict | Appended::TooMany) => {
                panic!("expected a new entry, got {other:?}")
            }
        }
    }

    async fn send(&self, name: &str, event: Event, retry: bool) -> Appended {
        let draft = Draft {
            sender: ann(),
            local_id: Some(LocalId::new(name).unwrap()),
            retry,
            event,
            at: UnixMicros(now()),
            restores: None,
        };
        again_until_done(async || self.handle.append(&room(), draft.clone()).await).await
    }

    async fn edit(&self, id: u64, content: &str) -> Position {
        let event = Event::Edit {
            message_id: message(id),
            content: content.into(),
        };
        match self.send(content, event, false).await {
            Appended::New(entry) => entry.position,
            other @ (Appended::Duplicate(_) | Appended::Conflict | Appended::TooMany) => {
                panic!("expected a new entry, got {other:?}")
            }
        }
    }

    /// Moves so many of the oldest appends, as one batch.
    async fn move_some(&self, appends: usize) {
        let token = self.mover.hold(PARTITION).await;
        let ingest = self.backend.ingest();
        let batch = ingest.read(PARTITION, token, appends).await.unwrap();
        let durable = self.mover.store(&batch).await;
        let committed = self.mover.commit(PARTITION, token, &batch, durable);
        committed.await.unwrap();
    }

    async fn move_all(&self) -> usize {
        self.mover.move_all(PARTITION).await
    }

    async fn head(&self) -> Head {
        again_until_done(async || self.handle.head(&room()).await).await
    }

    async fn page(&self, anchor: Anchor, limit: u8) -> Page {
        again_until_done(async || self.handle.page(&room(), anchor, limit).await).await
    }

    async fn contents(&self) -> Vec<String> {
        contents(&self.page(Anchor::Newest, 100).await)
    }

    /// All events, by as many replays as it takes.
    async fn replay_all(&self) -> Vec<Replay> {
        let mut replays = Vec::new();
        let mut after = Position::ZERO;
        loop {
            let part = again_until_done(async || self.handle.replay(&room(), after, 3).await).await;
            let Some(last) = part.events.last() else {
                assert_eq!(part.remaining, 0, "the end is not announced");
                return replays;
            };
            after = last.entry.position;
            replays.push(part);
        }
    }

    /// Keeps a copy of what Redis has of the conversation, as a replica that stops to follow.
    fn fall_behind(&self) {
        for key in KEYS {
            self.copy(key, &format!("{key}.copy"));
        }
    }

    /// That replica takes over. What it is told of epochs is of an earlier run.
    fn fail_over(&self) {
        self.server.cmd(&["DEL", "{p9b}:e"]);
        for key in KEYS {
            self.server.cmd(&["DEL", key]);
            self.copy(&format!("{key}.copy"), key);
        }
    }

    fn copy(&self, from: &str, to: &str) {
        self.server.cmd(&["COPY", from, to, "REPLACE"]);
    }

    fn length(&self) -> i64 {
        self.server.cmd(&["XLEN", "{p9b}:l:room"]).integer()
    }
}

/// What a gateway cannot do while it makes its connections anew.
async fn again_until_done<T>(
    act: impl AsyncFn() -> Result<T, parlance_core::ports::Unavailable>,
) -> T {
    let ends = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        match act().await {
            Ok(done) => return done,
            Err(error) => assert!(tokio::time::Instant::now() < ends, "{error}"),
        }
    }
}

fn room() -> ConversationId {
    ConversationId::new("room").unwrap()
}

fn ann() -> UserId {
    UserId::new("ann").unwrap()
}

fn message(id: u64) -> MessageId {
    MessageId::new(id).unwrap()
}

fn at(id: u64, k: u32) -> Position {
    let id = message(id);
    Position { id, k }
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.unwrap().as_micros()).unwrap()
}

/// Oldest first.
fn contents(page: &Page) -> Vec<String> {
    let rows = page.rows.iter().rev();
    rows.map(|row| row.content.to_string()).collect()
}

fn names(range: std::ops::RangeInclusive<u64>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_let_go_and_still_read() {
    let house = House::new();
    for name in names(1..=20) {
        house.say(&name).await;
    }
    assert_eq!(house.move_all().await, 20);
    for name in names(21..=23) {
        house.say(&name).await;
    }

    assert_eq!(
        house.length(),
        5,
        "two of the stored ones, and what is not stored"
    );
    assert_eq!(house.head().await.stored, at(20, 0));
    assert_eq!(house.contents().await, names(1..=23));
    let events: usize = house
        .replay_all()
        .await
        .iter()
        .map(|part| part.events.len())
        .sum();
    assert_eq!(events, 23);
    let around = house.page(Anchor::Around(message(19)), 5).await;
    assert_eq!(contents(&around), names(17..=21));
    let after = house.page(Anchor::After(message(16)), 4).await;
    assert_eq!((contents(&after), after.has_more), (names(17..=20), true));
    let found = house.handle.at(&room(), at(2, 0)).await.unwrap().unwrap();
    assert_eq!(&*found.row.content, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_an_old_message_is_seen_before_and_after_it_is_stored() {
    let house = House::new();
    for name in names(1..=9) {
        house.say(&name).await;
    }
    house.move_all().await;
    let edited = house.edit(3, "edited").await;
    assert_eq!(edited, at(9, 1));
    let seen = |contents: &[String]| contents[2].clone();
    assert_eq!(
        seen(&house.contents().await),
        "edited",
        "only the log has it"
    );

    house.move_all().await;
    assert_eq!(seen(&house.contents().await), "edited", "both have it");

    for name in names(10..=14) {
        house.say(&name).await;
    }
    house.move_all().await;
    assert_eq!(
        seen(&house.contents().await),
        "edited",
        "only the store has it"
    );
    let changes = house.server.cmd(&["HLEN", "{p9b}:x:room"]).integer();
    assert_eq!(changes, 0, "the log forgets changes of what it has not");
    let found = house.handle.at(&room(), edited).await.unwrap().unwrap();
    assert_eq!((found.row.id, found.entry.position), (message(3), edited));
    let replayed = house.replay_all().await;
    let events: Vec<_> = replayed.iter().flat_map(|part| &part.events).collect();
    assert_eq!(events.len(), 15);
    assert_eq!(&*events[2].row.as_ref().unwrap().content, "edited");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_store_kept_of_a_lost_log_is_in_its_place() {
    let house = House::new();
    for name in names(1..=9) {
        house.say(&name).await;
    }
    house.move_all().await;
    for name in names(10..=12) {
        house.say(&name).await;
    }
    // 10 to 12 are lost.
    house.server.cmd(&["FLUSHALL"]);
    assert_eq!(house.say("new").await, at(E + 1, 0));
    house.edit(4, "edited").await;

    let mut expected = names(1..=9);
    expected[3] = "edited".to_owned();
    expected.push("new".to_owned());
    assert_eq!(house.contents().await, expected);
    house.move_all().await;
    assert_eq!(house.contents().await, expected);
    let replays = house.replay_all().await;
    let events = replays.iter().flat_map(|part| &part.events);
    let prevs: Vec<_> = events.map(|event| event.entry.prev).collect();
    assert_eq!(prevs.len(), 11);
    assert_eq!(prevs[9], at(E, 0), "the mark's place");
    let head = house.head().await;
    assert_eq!(head.lineage.ordinal(message(E + 1)), 10);
    assert_eq!(head.stored, at(E + 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_write_of_what_was_lost_is_never_seen() {
    let house = House::new();
    for name in names(1..=4) {
        house.say(&name).await;
    }
    // A persister reads, and is stopped before it writes.
    let token = house.mover.hold(PARTITION).await;
    let ingest = house.backend.ingest();
    let late = ingest.read(PARTITION, token, 100).await.unwrap();
    house.server.cmd(&["FLUSHALL"]);
    assert_eq!(house.say("new").await, at(E + 1, 0));
    house.move_all().await;

    let durable = house.mover.store(&late).await;
    let token = house.mover.hold(PARTITION).await;
    let committed = house.mover.commit(PARTITION, token, &late, durable).await;

    assert_eq!(committed, Err(IngestError::OtherEpoch));
    assert_eq!(house.store.everything(&room()).len(), 5, "it was written");
    assert_eq!(house.contents().await, ["new"]);
    // Whoever comes next does not take it for the head, either.
    house.server.cmd(&["FLUSHALL"]);
    assert_eq!(house.say("newer").await, at(2 * E + 1, 0));
    assert_eq!(house.contents().await, ["new", "newer"]);
    let again = house
        .send(
            "2",
            Event::Message {
                content: "2".into(),
            },
            true,
        )
        .await;
    let Appended::New(entry) = again else {
        panic!("what was lost is no duplicate: {again:?}")
    };
    assert_eq!(entry.position, at(2 * E + 2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_redis_forgot_is_known_for_ever() {
    let house = House::new();
    house.say("first").await;
    house.say("second").await;
    house.move_all().await;
    house.server.cmd(&["FLUSHALL"]);

    let event = || Event::Message {
        content: "first".into(),
    };
    let again = house.send("first", event(), true).await;
    assert_eq!(again, Appended::Duplicate(at(1, 0)));
    let other = Event::Message {
        content: "something else".into(),
    };
    assert_eq!(house.send("second", other, true).await, Appended::Conflict);
    assert_eq!(house.contents().await, ["first", "second"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_young_epoch_repeats_need_not_say_so() {
    let house = House::new();
    house.say("first").await;
    house.move_all().await;
    house.server.cmd(&["FLUSHALL"]);
    // Redis knows ann again, and not the name.
    house.say("second").await;

    let event = Event::Message {
        content: "first".into(),
    };
    let again = house.send("first", event, false).await;
    assert_eq!(again, Appended::Duplicate(at(1, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_comes_late_moves_nothing_back() {
    let house = House::new();
    for name in names(1..=9) {
        house.say(&name).await;
    }
    let token = house.mover.hold(PARTITION).await;
    let ingest = house.backend.ingest();
    let early = ingest.read(PARTITION, token, 3).await.unwrap();
    let durable = house.mover.store(&early).await;
    house.move_all().await;

    let late = house.mover.commit(PARTITION, token, &early, durable).await;

    assert_eq!(late, Ok(()));
    assert_eq!(house.head().await.stored, at(9, 0));
    house.say("10").await;
    assert_eq!(house.move_all().await, 1);
    assert_eq!(house.contents().await, names(1..=10));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_knows_an_edit_until_it_is_stored_or_its_message_goes() {
    let house = House::new();
    for name in names(1..=80) {
        house.say(&name).await;
    }
    house.edit(3, "unstored").await;
    house.move_some(80).await;
    assert_eq!(house.length(), 3, "3 is not in the log, its edit is");
    assert_eq!(house.contents().await.len(), 80);
    let third = house.handle.at(&room(), at(3, 0)).await.unwrap().unwrap();
    assert_eq!(&*third.row.content, "unstored");

    house.edit(80, "edited").await;
    house.move_all().await;
    assert_eq!(house.length(), 2, "two edits");
    house.say("81").await;
    house.edit(81, "eighty-one").await;
    house.move_all().await;
    let newest = house.page(Anchor::Newest, 2).await;
    assert_eq!(contents(&newest), ["edited", "eighty-one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_lacks_is_unavailable_and_never_left_out() {
    let house = House::new();
    for name in names(1..=9) {
        house.say(&name).await;
    }
    let token = house.mover.hold(PARTITION).await;
    let mut batch = house
        .backend
        .ingest()
        .read(PARTITION, token, 9)
        .await
        .unwrap();
    let mut newest = batch.clone();
    newest.pieces.drain(..6);
    let durable = house.mover.store(&newest).await;
    // 5 and 6 are missing.
    batch.pieces.truncate(4);
    house.mover.store(&batch).await;
    let committed = house.mover.commit(PARTITION, token, &newest, durable);
    committed.await.unwrap();

    let replay = house
        .handle
        .replay(&room(), Position::ZERO, 9)
        .await
        .unwrap();
    assert_eq!((replay.events.len(), replay.remaining), (4, 5));
    assert!(house.handle.replay(&room(), at(4, 0), 9).await.is_err());
    let page = house.handle.page(&room(), Anchor::Newest, 9).await;
    assert!(page.is_err(), "{page:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hears_of_more_stored_than_was_heard_reads_again() {
    let house = House::new();
    let (listener, mut feed) = house.backend.attach();
    listener.subscribe(&room()).await.unwrap();
    house.server.cmd(&["PUBLISH", "{p9b}:c:room", "S0 7-0"]);

    let doubted = async { while feed.next().await.unwrap().1 != Heard::Doubt {} };
    let doubted = tokio::time::timeout(Duration::from_secs(10), doubted).await;
    assert!(doubted.is_ok(), "what is stored was published before");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_restored_by_its_place_is_restored_once_for_ever() {
    let house = House::new();
    house.say("1").await;
    let restored = Draft {
        sender: ann(),
        local_id: None,
        retry: true,
        event: Event::Message {
            content: "without a name".into(),
        },
        at: UnixMicros(now()),
        restores: Some(at(2, 0)),
    };
    let restore = async || house.handle.append(&room(), restored.clone()).await;
    let first = again_until_done(restore).await;
    assert!(matches!(first, Appended::New(_)), "{first:?}");
    house.move_all().await;
    house.server.cmd(&["FLUSHALL"]);

    let again = again_until_done(restore).await;
    assert_eq!(again, Appended::Duplicate(at(2, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_stored_as_a_whole_expires() {
    let house = House::new();
    let ttl = |kind: &str| {
        let key = format!("{{p9b}}:{kind}:room");
        house.server.cmd(&["TTL", &key]).integer()
    };
    house.say("1").await;
    house.edit(1, "one").await;
    assert_eq!((ttl("l"), ttl("m"), ttl("x")), (-1, -1, -1));

    house.move_all().await;
    let hours = |kind: &str| (ttl(kind) + 60) / 3600;
    assert_eq!((hours("l"), hours("m")), (24, 720));
    assert_eq!(hours("x"), 25, "changes outlive the messages they are of");

    house.say("2").await;
    assert_eq!((ttl("l"), ttl("m"), ttl("x")), (-1, -1, -1));

    // A commit that leaves something behind sets nothing.
    house.say("3").await;
    house.move_some(1).await;
    assert_eq!((ttl("l"), ttl("m"), ttl("x")), (-1, -1, -1));

    house.move_all().await;
    // The mark of a new epoch is not stored yet, though everything before it is.
    house.server.cmd(&["DEL", "{p9b}:e"]);
    house.head().await;
    assert_eq!((ttl("l"), ttl("m")), (-1, -1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_redis_forgot_goes_on_at_the_next_id() {
    let house = House::new();
    for name in names(1..=5) {
        house.say(&name).await;
    }
    house.move_all().await;
    for kind in ["l", "m", "x"] {
        house.server.cmd(&["DEL", &format!("{{p9b}}:{kind}:room")]);
    }

    assert_eq!(house.say("6").await, at(6, 0));
    assert_eq!(house.contents().await, names(1..=6));
    let unread = house.head().await.lineage.ordinal(message(6));
    assert_eq!(unread, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_has_one_owner_whose_number_grows() {
    let house = House::new();
    let ingest = house.backend.ingest();
    let (one, other) = (PersisterId("one".into()), PersisterId("other".into()));
    let lease = Duration::from_secs(60);
    house.say("1").await;

    let first = ingest.hold(PARTITION, &one, lease).await.unwrap().unwrap();
    assert_eq!(ingest.hold(PARTITION, &other, lease).await, Ok(None));
    let again = ingest.hold(PARTITION, &one, lease).await;
    assert_eq!(again, Ok(Some(first)), "it is kept under the same number");
    let batch = ingest.read(PARTITION, first, 10).await.unwrap();

    ingest.release(PARTITION, first).await.unwrap();
    let second = ingest
        .hold(PARTITION, &other, lease)
        .await
        .unwrap()
        .unwrap();
    assert!(second > first);
    // The first one was paused, and goes on.
    assert_eq!(
        ingest.read(PARTITION, first, 10).await,
        Err(IngestError::NotOwner)
    );
    let durable = house.mover.store(&batch).await;
    let late = house.mover.commit(PARTITION, first, &batch, durable).await;
    assert_eq!(late, Err(IngestError::NotOwner));
    ingest.release(PARTITION, first).await.unwrap();
    let same = ingest.read(PARTITION, second, 10).await.unwrap();
    assert_eq!(same.pieces, batch.pieces);
}

#[tokio::test(flavor = "multi_thread")]
async fn living_persisters_know_each_other() {
    let house = House::new();
    let ingest = house.backend.ingest();
    let (one, other) = (PersisterId("one".into()), PersisterId("other".into()));
    let lease = Duration::from_secs(60);

    let alone = ingest.attend(&one, lease).await.unwrap();
    assert_eq!(alone, std::slice::from_ref(&one));
    let mut both = ingest.attend(&other, lease).await.unwrap();
    both.sort();
    assert_eq!(both, [one.clone(), other.clone()]);
    ingest.depart(&one).await.unwrap();
    // A lease that runs out at once: the clock of the server judges.
    ingest.attend(&one, Duration::ZERO).await.unwrap();
    while ingest.attend(&other, lease).await.unwrap().len() > 1 {}
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_hear_how_far_it_is_stored() {
    let house = House::new();
    let (listener, mut feed) = house.backend.attach();
    listener.subscribe(&room()).await.unwrap();
    house.say("1").await;
    house.say("2").await;
    house.move_all().await;

    assert_eq!(next_stored(&mut feed).await, (0, at(2, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_hear_how_far_it_is_stored_while_more_waits() {
    let house = House::new();
    let (listener, mut feed) = house.backend.attach();
    listener.subscribe(&room()).await.unwrap();
    house.say("1").await;
    let token = house.mover.hold(PARTITION).await;
    let ingest = house.backend.ingest();
    let batch = ingest.read(PARTITION, token, 100).await.unwrap();
    house.say("2").await;
    let durable = house.mover.store(&batch).await;
    let committed = house.mover.commit(PARTITION, token, &batch, durable).await;
    committed.unwrap();

    assert_eq!(next_stored(&mut feed).await, (0, at(1, 0)));
}

/// The next news of the store: the epoch, and how far it is stored.
async fn next_stored(feed: &mut impl Feed) -> (u32, Position) {
    let stored = async {
        loop {
            if let (_, Heard::Stored { epoch, up_to }) = feed.next().await.unwrap() {
                return (epoch, up_to);
            }
        }
    };
    let stored = tokio::time::timeout(Duration::from_secs(10), stored).await;
    stored.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_never_rests_is_trimmed_all_the_same() {
    let house = House::new();
    let (listener, mut feed) = house.backend.attach();
    listener.subscribe(&room()).await.unwrap();
    for name in names(1..=100) {
        house.say(&name).await;
    }
    for _ in 0..3 {
        house.move_some(30).await;
    }
    assert_eq!(
        house.length(),
        12,
        "the tail of two, and what is not stored"
    );
    house.move_all().await;

    let mut told = Vec::new();
    while told.last() != Some(&100) {
        let heard = tokio::time::timeout(Duration::from_secs(10), feed.next()).await;
        if let (_, Heard::Stored { up_to, .. }) = heard.unwrap().unwrap() {
            told.push(up_to.id.get());
        }
    }
    assert_eq!(told, [30, 60, 90, 100]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_in_an_earlier_epoch_is_not_told() {
    let house = House::new();
    for name in names(1..=70) {
        house.say(&name).await;
    }
    house.server.cmd(&["DEL", "{p9b}:e"]);
    let (listener, mut feed) = house.backend.attach();
    listener.subscribe(&room()).await.unwrap();
    assert_eq!(house.say("71").await, at(E + 1, 0));
    // The messages of the epoch before, then the mark and the rest.
    house.move_some(70).await;
    house.move_all().await;

    let mut told = Vec::new();
    while told.last() != Some(&at(E + 1, 0)) {
        let heard = tokio::time::timeout(Duration::from_secs(10), feed.next()).await;
        if let (_, Heard::Stored { epoch, up_to }) = heard.unwrap().unwrap() {
            assert_eq!(epoch, 1);
            told.push(up_to);
        }
    }
    assert!(told.iter().all(|up_to| *up_to >= at(E, 0)), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_are_stored_once_and_recalled_when_redis_forgot_them() {
    let house = House::new();
    let bob = UserId::new("bob").unwrap();
    let cursor = |delivered, read| Cursor {
        delivered: message(delivered),
        read: message(read),
    };
    let advance = |user: &UserId, cursor| {
        let listed = Arc::from([]);
        house
            .handle
            .advance(&room(), user, cursor, UnixMicros(now()), listed);
    };
    let read = async |user: &UserId| {
        again_until_done(async || house.handle.cursor(&room(), user).await).await
    };
    advance(&ann(), cursor(5, 5));
    advance(&bob, cursor(4, 2));
    // What is asked after it is answered after it.
    assert_eq!(read(&bob).await, cursor(4, 2));
    house.mover.move_cursors(PARTITION).await;
    let mut stored = house.store.cursors(&room()).await.unwrap();
    stored.sort_by(|(one, _), (other, _)| one.cmp(other));
    assert_eq!(stored, [(ann(), cursor(5, 5)), (bob.clone(), cursor(4, 2))]);
    let ingest = house.backend.ingest();
    let waiting = ingest.moved_cursors(PARTITION, 10).await;
    assert_eq!(waiting, Ok(Vec::new()));

    // One that moves on while it is being stored waits again.
    advance(&ann(), cursor(6, 5));
    assert_eq!(read(&ann()).await, cursor(6, 5));
    let moved = ingest.moved_cursors(PARTITION, 10).await.unwrap();
    advance(&ann(), cursor(6, 6));
    assert_eq!(read(&ann()).await, cursor(6, 6));
    ingest.stored_cursors(PARTITION, moved).await.unwrap();
    house.mover.move_cursors(PARTITION).await;

    house.server.cmd(&["FLUSHALL"]);
    advance(&bob, cursor(3, 3));
    let all = again_until_done(async || house.handle.cursors(&room(), 10).await).await;
    assert_eq!(all, [(ann(), cursor(6, 6)), (bob.clone(), cursor(4, 3))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_its_memory_nothing_is_appended_until_something_is_stored() {
    let server = redis::Redis::start();
    let limit = server.memory_used() + 2_000_000;
    let house = House::with(server, |options| options.memory_limit_bytes = Some(limit));
    let content = "x".repeat(10_000);
    let event = || Event::Message {
        content: content.as_str().into(),
    };
    let ends = tokio::time::Instant::now() + Duration::from_secs(30);
    let mut sent = 0;
    let refused = loop {
        assert!(tokio::time::Instant::now() < ends, "{sent} were taken");
        let draft = Draft {
            sender: ann(),
            local_id: None,
            retry: false,
            event: event(),
            at: UnixMicros(now()),
            restores: None,
        };
        match house.handle.append(&room(), draft).await {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(sent > 10, "{sent} were taken before: {refused}");
    assert!(refused.to_string().contains("more memory"), "{refused}");

    assert_eq!(house.move_all().await, sent);
    house.say("again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_is_emptied_all_the_same() {
    let limit = "maxmemory 4mb";
    let house = House::with(redis::Redis::setup().config(limit).start(), |options| {
        options.memory_limit_bytes = Some(u64::MAX);
    });
    let content = "x".repeat(10_000);
    let event = || Event::Message {
        content: content.as_str().into(),
    };
    let mut sent = 0;
    let refused = loop {
        let draft = Draft {
            sender: ann(),
            local_id: None,
            retry: false,
            event: event(),
            at: UnixMicros(now()),
            restores: None,
        };
        match house.handle.append(&room(), draft).await {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(refused.to_string().contains("OOM"), "{refused}");

    assert_eq!(house.move_all().await, sent);
    house.say("again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_down_who_is_known_goes_on_and_old_pages_are_refused() {
    let house = House::new();
    for name in names(1..=9) {
        house.say(&name).await;
    }
    house.move_all().await;
    house.store.set_down(true);

    assert_eq!(house.say("10").await, at(10, 0));
    assert_eq!(house.head().await.lineage.head(), at(10, 0));
    let newest = house.handle.page(&room(), Anchor::Newest, 2).await.unwrap();
    assert_eq!((contents(&newest), newest.has_more), (names(9..=10), true));
    assert!(
        house
            .handle
            .page(&room(), Anchor::Newest, 20)
            .await
            .is_err()
    );
    assert!(
        house
            .handle
            .replay(&room(), Position::ZERO, 5)
            .await
            .is_err()
    );
    let elsewhere = ConversationId::new("elsewhere").unwrap();
    assert!(house.handle.head(&elsewhere).await.is_err());

    house.store.set_down(false);
    assert_eq!(house.contents().await, names(1..=10));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_the_store_refused_has_no_effect() {
    let house = House::new();
    for name in names(1..=3) {
        house.say(&name).await;
    }
    house.move_all().await;
    house.edit(2, "never taken").await;
    let token = house.mover.hold(PARTITION).await;
    let ingest = house.backend.ingest();
    let batch = ingest.read(PARTITION, token, 10).await.unwrap();
    let Piece::Event { event, .. } = &batch.pieces[0].piece else {
        panic!("an edit waits: {batch:?}")
    };
    let placed = house.store.put_placeholder(&room(), event).await;
    placed.unwrap();
    let durable = Durable {
        conversation: room(),
        up_to: at(3, 1),
        count: 4,
        senders: Vec::new(),
    };
    let committed = house.mover.commit(PARTITION, token, &batch, vec![durable]);
    committed.await.unwrap();
    for name in names(4..=6) {
        house.say(&name).await;
    }
    house.move_all().await;

    assert_eq!(house.contents().await, names(1..=6));
    let replays = house.replay_all().await;
    let events: Vec<_> = replays.iter().flat_map(|part| &part.events).collect();
    let Event::Edit { content, .. } = &events[3].entry.event else {
        panic!("the edit keeps its place: {events:?}")
    };
    assert_eq!(&**content, "2");
    let found = house.handle.at(&room(), at(3, 1)).await.unwrap().unwrap();
    assert_eq!(&*found.row.content, "2");
}

/// All that history says, in both directions and one by one.
async fn check_history(house: &House, expected: &[String]) {
    assert_eq!(house.contents().await, expected);
    let replays = house.replay_all().await;
    let events = replays.iter().flat_map(|part| &part.events);
    let rows: Vec<_> = events.filter_map(|event| event.row.as_ref()).collect();
    let contents: Vec<_> = rows.iter().map(|row| row.content.to_string()).collect();
    assert_eq!(contents, expected);
    for row in rows {
        let found = house.handle.at(&room(), Position::of(row.id)).await;
        assert_eq!(found.unwrap().unwrap().row, *row);
    }
    let mut paged = Vec::new();
    let mut anchor = Anchor::Newest;
    loop {
        let page = house.page(anchor, 2).await;
        let Some(last) = page.rows.last() else { break };
        anchor = Anchor::Before(last.id);
        paged.extend(page.rows.iter().map(|row| row.content.to_string()));
        if !page.has_more {
            break;
        }
    }
    paged.reverse();
    assert_eq!(paged, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_fell_behind_the_store_is_filled_from_it() {
    let house = House::new();
    for name in names(1..=7) {
        house.say(&name).await;
    }
    house.move_all().await;
    house.fall_behind();
    for name in names(8..=10) {
        house.say(&name).await;
    }
    house.edit(7, "seven").await;
    house.move_all().await;
    house.fail_over();
    assert_eq!(house.say("new").await, at(E + 1, 0));

    let mut expected = names(1..=10);
    expected[6] = "seven".to_owned();
    expected.push("new".to_owned());
    check_history(&house, &expected).await;
    house.move_all().await;
    check_history(&house, &expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_copy_brings_back_is_not_seen_again() {
    let house = House::new();
    for name in names(1..=7) {
        house.say(&name).await;
    }
    house.move_all().await;
    // Not stored, and lost with the log; so is an edit of something that is stored.
    house.say("ghost").await;
    house.edit(7, "ghost's edit").await;
    house.fall_behind();
    for key in KEYS.iter().chain(&["{p9b}:e"]) {
        house.server.cmd(&["DEL", key]);
    }
    assert_eq!(house.say("first").await, at(E + 1, 0));
    house.move_all().await;
    house.fail_over();
    assert_eq!(house.say("second").await, at(2 * E + 1, 0));

    let mut expected = names(1..=7);
    expected.extend(["first".to_owned(), "second".to_owned()]);
    check_history(&house, &expected).await;
    // The ghosts are stored now, too, in their places that do not exist.
    house.move_all().await;
    assert_eq!(house.store.everything(&room()).len(), 11);
    check_history(&house, &expected).await;
}
