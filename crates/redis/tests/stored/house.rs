//! A gateway, a mover and a store on one Redis, and what the tests say there.

use std::{sync::Arc, time::Duration};

use crate::mover::Mover;
use crate::support::options;
use parlance_core::{
    entry::{Draft, Event},
    ingest::Ingest,
    ports::{Appended, Backend, Head, History, Log, Page, Replay, Unavailable},
    store::Partition,
};
use parlance_protocol::{Anchor, ConversationId, LocalId, MessageId, Position, UnixMicros, UserId};
use parlance_redis::{Handle, Options, Redis, Unstored};
use parlance_testkit::{redis, store::MemoryStore};

pub(crate) const E: u64 = MessageId::PER_EPOCH;
/// That of [`room`].
pub(crate) const PARTITION: Partition = Partition(0x9b);

/// What Redis has of [`room`].
pub(crate) const KEYS: [&str; 4] = ["{p9b}:m:room", "{p9b}:l:room", "{p9b}:x:room", "{p9b}:in"];

/// A gateway and a mover on one Redis, and a store. A log keeps two events.
pub(crate) struct House {
    pub(crate) server: redis::Redis,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) backend: Redis<MemoryStore>,
    pub(crate) handle: Handle<MemoryStore>,
    pub(crate) mover: Mover<Unstored<MemoryStore>, MemoryStore>,
}

impl House {
    pub(crate) fn new() -> Self {
        Self::on(redis::Redis::start())
    }

    pub(crate) fn on(server: redis::Redis) -> Self {
        Self::with(server, |_| {})
    }

    pub(crate) fn with(server: redis::Redis, choose: impl FnOnce(&mut Options)) -> Self {
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

    pub(crate) async fn say(&self, name: &str) -> Position {
        let event = Event::Message {
            content: name.into(),
        };
        self.append(name, event).await
    }

    /// Expects that it is new.
    pub(crate) async fn append(&self, name: &str, event: Event) -> Position {
        match self.send(name, event, false).await {
            Appended::New(entry) => entry.position,
            other @ (Appended::Duplicate(_) | Appended::Conflict | Appended::TooMany) => {
                panic!("expected a new entry, got {other:?}")
            }
        }
    }

    pub(crate) async fn send(&self, name: &str, event: Event, retry: bool) -> Appended {
        let draft = Draft {
            sender: ann(),
            local_id: Some(LocalId::new(name).unwrap()),
            retry,
            event,
            at: UnixMicros(now()),
            restores: None,
            trace: None,
        };
        again_until_done(async || self.handle.append(&room(), draft.clone()).await).await
    }

    pub(crate) async fn edit(&self, id: u64, content: &str) -> Position {
        let event = Event::Edit {
            message_id: message(id),
            content: content.into(),
        };
        self.append(content, event).await
    }

    /// Says long things until one is refused: how many were taken, and why not that one.
    pub(crate) async fn fill(&self) -> (usize, Unavailable) {
        let ends = tokio::time::Instant::now() + Duration::from_secs(30);
        let mut sent = 0;
        loop {
            assert!(tokio::time::Instant::now() < ends, "{sent} were taken");
            let draft = Draft {
                sender: ann(),
                local_id: None,
                retry: false,
                event: Event::Message {
                    content: "x".repeat(10_000).into(),
                },
                at: UnixMicros(now()),
                restores: None,
                trace: None,
            };
            match self.handle.append(&room(), draft).await {
                Ok(_) => sent += 1,
                Err(error) => return (sent, error),
            }
        }
    }

    /// Moves so many of the oldest appends, as one batch.
    pub(crate) async fn move_some(&self, appends: usize) {
        let token = self.mover.hold(PARTITION).await;
        let ingest = self.backend.ingest();
        let batch = ingest.read(PARTITION, token, appends).await.unwrap();
        let durable = self.mover.store(&batch).await;
        let committed = self.mover.commit(PARTITION, token, &batch, durable);
        committed.await.unwrap();
    }

    pub(crate) async fn move_all(&self) -> usize {
        self.mover.move_all(PARTITION).await
    }

    pub(crate) async fn head(&self) -> Head {
        again_until_done(async || self.handle.head(&room()).await).await
    }

    pub(crate) async fn page(&self, anchor: Anchor, limit: u8) -> Page {
        again_until_done(async || self.handle.page(&room(), anchor, limit).await).await
    }

    pub(crate) async fn contents(&self) -> Vec<String> {
        contents(&self.page(Anchor::Newest, 100).await)
    }

    /// All events, by as many replays as it takes.
    pub(crate) async fn replay_all(&self) -> Vec<Replay> {
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
    pub(crate) fn fall_behind(&self) {
        for key in KEYS {
            self.copy(key, &format!("{key}.copy"));
        }
    }

    /// That replica takes over. What it is told of epochs is of an earlier run.
    pub(crate) fn fail_over(&self) {
        self.server.cmd(&["DEL", "{p9b}:e"]);
        for key in KEYS {
            self.server.cmd(&["DEL", key]);
            self.copy(&format!("{key}.copy"), key);
        }
    }

    pub(crate) fn copy(&self, from: &str, to: &str) {
        self.server.cmd(&["COPY", from, to, "REPLACE"]);
    }

    pub(crate) fn length(&self) -> i64 {
        self.server.cmd(&["XLEN", "{p9b}:l:room"]).integer()
    }
}

/// What a gateway cannot do while it makes its connections anew.
pub(crate) async fn again_until_done<T>(act: impl AsyncFn() -> Result<T, Unavailable>) -> T {
    let ends = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        match act().await {
            Ok(done) => return done,
            Err(error) => assert!(tokio::time::Instant::now() < ends, "{error}"),
        }
    }
}

pub(crate) fn room() -> ConversationId {
    ConversationId::new("room").unwrap()
}

pub(crate) fn ann() -> UserId {
    UserId::new("ann").unwrap()
}

pub(crate) fn message(id: u64) -> MessageId {
    MessageId::new(id).unwrap()
}

pub(crate) fn at(id: u64, k: u32) -> Position {
    let id = message(id);
    Position { id, k }
}

pub(crate) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.unwrap().as_micros()).unwrap()
}

/// Oldest first.
pub(crate) fn contents(page: &Page) -> Vec<String> {
    let rows = page.rows.iter().rev();
    rows.map(|row| row.content.to_string()).collect()
}

pub(crate) fn names(range: std::ops::RangeInclusive<u64>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}
