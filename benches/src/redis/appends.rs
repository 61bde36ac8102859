//! Appends through the adapter itself, as a shard of a gateway makes them.
//!
//! A task has one message under way. It takes the conversations that it has to itself in turn, or
//! shares one with other tasks: so many messages of one conversation are under way then.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use parlance_core::{
    entry::{Draft, Event},
    ports::{
        Appended, Backend as _, Bus as _, Cursor, Feed as _, Heard, Log as _, Presence as _,
        Receipts as _,
    },
    store::Store,
};
use parlance_protocol::{ConversationId, LocalId, MessageId, UnixMicros, UserId};
use parlance_redis::{Durability, Handle, Options, Redis, Retention, Topology};
use parlance_testkit::{
    redis::{self as testkit, PARTITIONS, tag},
    store::MemoryStore,
};
use tokio::{
    runtime::{Builder, Runtime},
    task::{JoinSet, LocalSet},
};

/// What is behind the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    Store,
    Nothing,
}

/// Whether messages have a `local_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LocalIds {
    Given,
    Left,
}

/// Messages to be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) conversations: u64,
    /// Messages under way. More than conversations: several in each.
    pub(crate) tasks: u64,
    /// Of each conversation; they take turns.
    pub(crate) senders: u64,
    pub(crate) content_bytes: usize,
    pub(crate) local_ids: LocalIds,
}

impl Load {
    /// Messages of one round: each task sends one to each of its conversations.
    pub(crate) fn messages_per_round(&self) -> u64 {
        self.conversations.max(self.tasks)
    }
}

/// The adapter, and the runtime of a shard that uses it.
pub(crate) struct Adapter<S: Store = MemoryStore> {
    handle: Handle<S>,
    shard: LocalSet,
    runtime: Runtime,
    _backend: Redis<S>,
}

impl Adapter<MemoryStore> {
    /// Connects to a server that nobody used before.
    pub(crate) fn open(server: &testkit::Redis, behind: Behind) -> anyhow::Result<Self> {
        let store = match behind {
            Behind::Store => {
                open_epochs_long_ago(server)?;
                Some(Arc::new(MemoryStore::default()))
            }
            Behind::Nothing => None,
        };
        Self::connect(server, store, |_, _| {})
    }
}

impl<S: Store> Adapter<S> {
    /// Connects, with this store behind the log. `on_heard` gets what the shard hears of the
    /// conversations that it subscribed to.
    pub(crate) fn connect(
        server: &testkit::Redis,
        store: Option<Arc<S>>,
        mut on_heard: impl FnMut(ConversationId, Heard) + 'static,
    ) -> anyhow::Result<Self> {
        let options = Options {
            topology: Topology::parse(&[server.url()])?,
            durability: Durability::Local,
            retention: Retention {
                entries: 10_000,
                age: Duration::from_secs(7 * 24 * 60 * 60),
            },
            tail_entries: 256,
            memory_limit_bytes: None,
            start_deadline: Duration::from_secs(10),
        };
        let backend = Redis::connect(options, store)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let shard = LocalSet::new();
        let (handle, mut feed) = shard.block_on(&runtime, async { backend.attach() });
        shard.spawn_local(async move {
            while let Some((conversation, heard)) = feed.next().await {
                on_heard(conversation, heard);
            }
        });
        Ok(Self {
            handle,
            shard,
            runtime,
            _backend: backend,
        })
    }

    /// Runs something that uses the handle on the shard's thread, until it is done.
    pub(crate) fn run<F: Future>(&self, with: impl FnOnce(Handle<S>) -> F) -> F::Output {
        let handle = self.handle.clone();
        self.shard.block_on(&self.runtime, with(handle))
    }

    /// Hears the conversations from now on.
    pub(crate) fn subscribe(&self, conversations: u64) -> anyhow::Result<()> {
        self.shard.block_on(&self.runtime, async {
            for index in 0..conversations {
                self.handle.subscribe(&conversation(index)?).await?;
            }
            Ok(())
        })
    }

    /// Sends the rounds of a load. No round may be sent twice. Gives how many messages they were.
    pub(crate) fn append(&self, load: Load, rounds: std::ops::Range<u64>) -> anyhow::Result<u64> {
        let messages = (rounds.end - rounds.start) * load.messages_per_round();
        self.shard.block_on(&self.runtime, async {
            let mut tasks = JoinSet::new();
            for task in 0..load.tasks {
                tasks.spawn_local(send(self.handle.clone(), load, task, rounds.clone()));
            }
            while let Some(done) = tasks.join_next().await {
                done.context("a task that sends")??;
            }
            Ok(messages)
        })
    }

    /// Users come and move both cursors, so many in each of so many conversations.
    pub(crate) fn people(&self, conversations: u64, users: u64) -> anyhow::Result<()> {
        self.shard.block_on(&self.runtime, async {
            for index in 0..conversations {
                self.people_of(&conversation(index)?, users).await?;
            }
            Ok(())
        })
    }

    async fn people_of(&self, conversation: &ConversationId, users: u64) -> anyhow::Result<()> {
        let id = MessageId::new(1).context("1 is an id")?;
        let cursor = Cursor {
            delivered: id,
            read: id,
        };
        let at = now()?;
        for user in 0..users {
            let user = UserId::new(&format!("user-{user:08}"))?;
            self.handle.join(conversation, &user, at);
            let none = Arc::from([]);
            self.handle.advance(conversation, &user, cursor, at, none);
        }
        let users = usize::try_from(users)?;
        // Both are told to Redis without an answer: what it has says when it is done.
        while self.handle.present(conversation).await?.len() < users
            || self.handle.cursors(conversation, users).await?.len() < users
        {}
        Ok(())
    }
}

/// A store is asked for each `local_id` during the first ten minutes of an epoch. That is not what
/// is measured, so the epochs are made to be old.
pub(crate) fn open_epochs_long_ago(server: &testkit::Redis) -> anyhow::Result<()> {
    let mut connection = server.connection();
    let (run_id, replication_id) = (connection.info("run_id"), connection.info("master_replid"));
    let hour = Duration::from_secs(60 * 60);
    let opened_ms = (SystemTime::now() - hour)
        .duration_since(UNIX_EPOCH)?
        .as_millis();
    let epoch = format!("{}{} {opened_ms:013} 0", &run_id[..8], &replication_id[..8]);
    for partition in 0..PARTITIONS {
        connection.cmd(&["SET", &format!("{}:e", tag(partition)), &epoch]);
    }
    Ok(())
}

async fn send<S: Store>(
    handle: Handle<S>,
    load: Load,
    task: u64,
    rounds: std::ops::Range<u64>,
) -> anyhow::Result<()> {
    let first = task % load.conversations;
    let own = (first..load.conversations).step_by(usize::try_from(load.tasks)?);
    let own: Vec<ConversationId> = own.map(conversation).collect::<anyhow::Result<_>>()?;
    let place = task / load.conversations;
    for round in rounds {
        let draft = draft(&load, place, round)?;
        for conversation in &own {
            match handle.append(conversation, draft.clone()).await? {
                Appended::New(_) => {}
                other @ (Appended::Duplicate(_) | Appended::Conflict | Appended::TooMany) => {
                    bail!("a new message was taken for {other:?}")
                }
            }
        }
    }
    Ok(())
}

pub(crate) fn draft(load: &Load, place: u64, round: u64) -> anyhow::Result<Draft> {
    let local_id = match load.local_ids {
        LocalIds::Given => Some(LocalId::new(&format!("{place:03}-{round:016}"))?),
        LocalIds::Left => None,
    };
    Ok(Draft {
        sender: UserId::new(&format!("user-{}", (place + round) % load.senders))?,
        local_id,
        retry: false,
        event: Event::Message {
            content: "x".repeat(load.content_bytes).into(),
        },
        at: now()?,
        restores: None,
        trace: None,
    })
}

pub(crate) fn conversation(index: u64) -> anyhow::Result<ConversationId> {
    Ok(ConversationId::new(&format!("room-{index}"))?)
}

fn now() -> anyhow::Result<UnixMicros> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(UnixMicros(u64::try_from(since.as_micros())?))
}
