//! How the adapter starts: it connects to every server, judges each, and only then serves.

use std::{
    rc::Rc,
    sync::{Arc, mpsc as sync_mpsc},
    thread,
    time::Duration,
};

use parlance_core::store::{Partition, Store};
use redis::cmd;
use tokio::{
    runtime::Builder,
    sync::{mpsc, oneshot},
    task::LocalSet,
    time::{Instant, sleep},
};

use crate::{
    Durability, Options, Redis, Role, answer, chores,
    handle::{JOBS, Job},
    holders::LEASE,
    io::{Io, Shared},
    link::{CallError, Link},
    node::Node,
    partition,
    server::ServerFacts,
};

/// The oldest Redis that has what is needed (sharded pub/sub, several sections of INFO at once).
const OLDEST: (u32, u32) = (7, 0);
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A server does not answer, or says that it is not ready.
    #[error("Redis at {address} cannot be used after {waited:?}: {reason}")]
    Unreachable {
        /// Which server.
        address: String,
        /// How long it was tried.
        waited: Duration,
        /// The last error.
        reason: String,
    },
    /// A server refuses the user, the password or a command.
    #[error("Redis at {address} refuses: {reason}")]
    Refused {
        /// Which server.
        address: String,
        /// Its words.
        reason: String,
    },
    /// A server is too old.
    #[error("Redis at {address} has version {found}; needed is {}.{} or later", OLDEST.0, OLDEST.1)]
    TooOld {
        /// Which server.
        address: String,
        /// Its version.
        found: String,
    },
    /// A server would throw messages away when its memory is full.
    #[error(
        "Redis at {address} has `maxmemory-policy {policy}`, by which it throws away messages that \
         nobody else has when its memory is full"
    )]
    Evicts {
        /// Which server.
        address: String,
        /// Its policy.
        policy: String,
    },
    /// A server belongs to another deployment, or to another place in this one.
    #[error("Redis at {address} was set up as `{found}`, and would be used as `{expected}`")]
    Layout {
        /// Which server.
        address: String,
        /// What is written there.
        found: String,
        /// What would be.
        expected: String,
    },
    /// The system has no thread for it.
    #[error("starting the thread for Redis failed")]
    Thread(#[source] std::io::Error),
}

impl StartError {
    /// What to do about it.
    #[must_use]
    pub const fn fix(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => {
                "start it, or correct `redis.urls`; `redis.start_deadline` is how long is waited"
            }
            Self::Refused { .. } => {
                "correct user and password in `redis.urls`, or give the user the rights of \
                 deploy/redis/users.acl"
            }
            Self::TooOld { .. } => "upgrade it",
            Self::Evicts { .. } => "set `maxmemory-policy noeviction` there",
            Self::Layout { .. } => {
                "give `redis.urls` in the order of before, with all servers, or use empty ones"
            }
            Self::Thread(_) => "raise the limit of threads or memory",
        }
    }
}

/// What the thread needs.
struct Plan<S: Store> {
    options: Options,
    store: Option<Arc<S>>,
    role: Role,
    shared: Shared,
    jobs: mpsc::Receiver<Job<S>>,
    stop: oneshot::Receiver<()>,
    started: sync_mpsc::Sender<Result<(), StartError>>,
}

pub(crate) fn connect<S: Store>(
    options: Options,
    store: Option<Arc<S>>,
    role: Role,
) -> Result<Redis<S>, StartError> {
    let (jobs, queue) = mpsc::channel(JOBS);
    let (stop, stopped) = oneshot::channel();
    let (started, is_started) = sync_mpsc::channel();
    let shared = Shared::new();
    let plan = Plan {
        options,
        store,
        role,
        shared: shared.clone(),
        jobs: queue,
        stop: stopped,
        started,
    };
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(StartError::Thread)?;
    let run = move || LocalSet::new().block_on(&runtime, run(plan));
    let thread = thread::Builder::new().name("parlance-redis".into());
    let thread = thread.spawn(run).map_err(StartError::Thread)?;
    let redis = Redis {
        jobs,
        shared,
        stop: Some(stop),
        thread: Some(thread),
    };
    match is_started.recv() {
        Ok(Ok(())) => Ok(redis),
        Ok(Err(error)) => Err(error),
        Err(_) => {
            let gone = std::io::Error::other("it ended at once");
            Err(StartError::Thread(gone))
        }
    }
}

async fn run<S: Store>(plan: Plan<S>) {
    let Plan {
        options,
        store,
        role,
        shared,
        mut jobs,
        mut stop,
        started,
    } = plan;
    let start_deadline = options.start_deadline;
    let io = Io::new(options, store, shared);
    let outcome = begin(&io, role, start_deadline).await;
    let has_failed = outcome.is_err();
    // Who started it waits for this.
    let _ = started.send(outcome);
    if has_failed {
        return;
    }
    if role == Role::Gateway {
        tokio::task::spawn_local(chores::run(Rc::clone(&io)));
    }
    if io.shards.is_cluster() {
        tokio::task::spawn_local(Rc::clone(&io).follow_cluster());
    }
    loop {
        let job = tokio::select! {
            biased;
            _ = &mut stop => return,
            job = jobs.recv() => job,
        };
        match job {
            Some(job) => job(&io),
            None => return,
        }
    }
}

/// Judges every server, then lets connections be kept, and waits until all of them hear themselves.
async fn begin<S: Store>(io: &Rc<Io<S>>, role: Role, patience: Duration) -> Result<(), StartError> {
    let begun = Instant::now();
    let deadline = begun + patience;
    if io.shards.is_cluster() {
        find_cluster(io, deadline, patience).await?;
    }
    let nodes = io.shards.nodes();
    let mut has_replica = true;
    for node in &nodes {
        let facts = judge(io, node, deadline, patience).await?;
        has_replica &= facts.replicas > 0;
    }
    if io.durability == Durability::Replicated && !has_replica {
        tracing::warn!(
            "`redis.durability` is `replicated`, and a master has no replica: nothing can be \
             acknowledged there until it has"
        );
    }
    for node in &nodes {
        io.adopt(node);
    }
    loop {
        io.report_health();
        let trouble = nodes.iter().find_map(|node| {
            let reason = node.trouble()?.to_string();
            Some((node.label.clone(), reason))
        });
        let Some((address, reason)) = trouble else {
            break;
        };
        if Instant::now() > deadline {
            return Err(StartError::Unreachable {
                address,
                waited: patience,
                reason,
            });
        }
        sleep(TRY_AGAIN / 10).await;
    }
    // Whoever joins soon is told who is there, so it has to be known which gateways live.
    if role == Role::Gateway
        && let Err(error) = chores::renew(io, LEASE).await
    {
        tracing::warn!(%error, "the lease is not taken yet");
    }
    Ok(())
}

async fn find_cluster<S: Store>(
    io: &Rc<Io<S>>,
    deadline: Instant,
    patience: Duration,
) -> Result<(), StartError> {
    loop {
        let reason = match io.shards.look_at_cluster().await {
            Ok(_) if partition::all().all(|p| io.shards.node(p).is_some()) => return Ok(()),
            Ok(_) => "some slots have no master".to_owned(),
            Err(error) => error.to_string(),
        };
        if Instant::now() > deadline {
            return Err(StartError::Unreachable {
                address: "the cluster's seeds".to_owned(),
                waited: patience,
                reason,
            });
        }
        sleep(TRY_AGAIN).await;
    }
}

/// Tries until the deadline, unless waiting cannot help.
async fn judge<S: Store>(
    io: &Rc<Io<S>>,
    node: &Rc<Node>,
    deadline: Instant,
    patience: Duration,
) -> Result<ServerFacts, StartError> {
    loop {
        let reason = match look(io, node).await {
            Ok(facts) => return Ok(facts),
            Err(Found::Wrong(error)) => return Err(error),
            Err(Found::NotYet(reason)) => reason,
        };
        if Instant::now() > deadline {
            return Err(StartError::Unreachable {
                address: node.label.clone(),
                waited: patience,
                reason,
            });
        }
        sleep(TRY_AGAIN).await;
    }
}

enum Found {
    /// It may become right by itself.
    NotYet(String),
    /// It will not.
    Wrong(StartError),
}

async fn look<S: Store>(io: &Rc<Io<S>>, node: &Rc<Node>) -> Result<ServerFacts, Found> {
    let address = || node.label.clone();
    let found = |error: CallError| match error {
        CallError::Refused(reason) => Found::Wrong(StartError::Refused {
            address: address(),
            reason: reason.to_string(),
        }),
        CallError::Elsewhere(_) | CallError::Unknown(_) => Found::NotYet(error.to_string()),
    };
    let info = node.resolve().await.map_err(&found)?;
    let (link, facts) = Link::connect(info).await.map_err(&found)?;
    if facts.major_minor().is_none_or(|version| version < OLDEST) {
        let found = facts.version.clone();
        let address = address();
        return Err(Found::Wrong(StartError::TooOld { address, found }));
    }
    if facts.eviction != "noeviction" {
        let policy = facts.eviction.clone();
        let address = address();
        return Err(Found::Wrong(StartError::Evicts { address, policy }));
    }
    if !facts.has_append_only_file {
        tracing::warn!(
            node = node.label,
            "this Redis writes no append-only file: when it stops, every message that is not stored \
             elsewhere is LOST; set `appendonly yes` there"
        );
    }
    check_layout(io, node, &link).await?;
    io.remember_epochs(node, &link).await.map_err(found)?;
    Ok(facts)
}

async fn check_layout<S: Store>(io: &Rc<Io<S>>, node: &Rc<Node>, link: &Link) -> Result<(), Found> {
    // In a cluster the key is on one node only; the others cannot be asked for it.
    if io.shards.is_cluster() && !io.shards.partitions(node).contains(&Partition(0)) {
        return Ok(());
    }
    let not_yet = |error: CallError| Found::NotYet(error.to_string());
    let key = partition::tagged(Partition(0), "v");
    let expected = format!("{} node={}", partition::LAYOUT, io.shards.place(node));
    let mut set = cmd("SET");
    set.arg(&key).arg(&expected).arg("NX");
    link.send(&set).await.map_err(not_yet)?;
    let mut get = cmd("GET");
    get.arg(&key);
    let found = link.send(&get).await.map_err(not_yet)?;
    let found = answer::text(found).map_err(not_yet)?;
    if found == expected {
        return Ok(());
    }
    let address = node.label.clone();
    Err(Found::Wrong(StartError::Layout {
        address,
        found,
        expected,
    }))
}
