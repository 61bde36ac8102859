//! What lies between a process and the servers that it calls.
//!
//! The fake adapter is written against [`Net`]: with [`Direct`] every call is answered at once, for the
//! contract suites and for judging; a simulation's own net delays, loses and cuts.

use std::{
    future::{Future, ready},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::FutureExt;
use parlance_core::ports::{Heard, Unavailable};
use parlance_feed::{FeedId, Inbox};
use parlance_protocol::ConversationId;
use parlance_testkit::store::MemoryStore;

use crate::{
    log::{Call, Redis, Run},
    rule::Rules,
};

/// A process's ways to the log's server and to the store.
pub trait Net: Clone + 'static {
    /// The rules that are kept.
    fn rules(&self) -> Rules;

    /// The process's wall clock, in µs.
    fn now_us(&self) -> u64;

    /// A number that nobody else has.
    fn nonce(&self) -> u64;

    /// Runs a script on the log's server. The order of calls is the order there.
    fn log<T: 'static>(
        &self,
        act: impl FnOnce(&mut Redis, Call) -> T + 'static,
    ) -> impl Future<Output = Result<T, Unavailable>> + 'static;

    /// Asks the store.
    fn store<T: 'static, E: From<Unavailable> + 'static>(
        &self,
        act: impl FnOnce(&MemoryStore) -> Result<T, E> + 'static,
    ) -> impl Future<Output = Result<T, E>> + 'static;

    /// Hears a conversation from the answer on.
    fn subscribe(
        &self,
        conversation: &ConversationId,
    ) -> impl Future<Output = Result<(), Unavailable>> + 'static;

    /// Ends that.
    fn unsubscribe(&self, conversation: &ConversationId);

    /// Does something of the process's own beside all else.
    fn start(&self, task: impl Future<Output = ()> + 'static);
}

/// Everybody who listens: feed, conversation, and where it is put.
type Listeners = Vec<(FeedId, ConversationId, Arc<Inbox>)>;

/// Servers that answer at once.
#[derive(Debug)]
pub struct Direct {
    pub(crate) redis: Mutex<Redis>,
    pub(crate) store: Arc<MemoryStore>,
    listeners: Mutex<Listeners>,
    nonces: std::sync::atomic::AtomicU64,
    call: Call,
}

/// One process's way to them.
#[derive(Debug, Clone)]
pub struct DirectNet {
    servers: Arc<Direct>,
    feed: FeedId,
    inbox: Arc<Inbox>,
}

/// No code that holds a lock here can panic half way through a change.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Direct {
    /// With these contents.
    #[must_use]
    pub fn new(redis: Redis, store: Arc<MemoryStore>) -> Arc<Self> {
        let (run, now_ms) = (Run(0), 1_000);
        Self::in_run(redis, store, Call { run, now_ms })
    }

    /// With these contents, in the middle of a run.
    pub(crate) fn in_run(redis: Redis, store: Arc<MemoryStore>, call: Call) -> Arc<Self> {
        Arc::new(Self {
            call,
            redis: Mutex::new(redis),
            store,
            listeners: Mutex::default(),
            nonces: std::sync::atomic::AtomicU64::new(1),
        })
    }

    /// A process, what it hears, and how it stops hearing.
    #[must_use]
    pub fn attach(self: &Arc<Self>) -> (DirectNet, parlance_feed::Feed) {
        let inbox = Arc::new(Inbox::default());
        let net = DirectNet {
            servers: Arc::clone(self),
            feed: FeedId::next(),
            inbox: Arc::clone(&inbox),
        };
        let (servers, feed) = (Arc::clone(self), net.feed);
        let on_drop = move || locked(&servers.listeners).retain(|(of, ..)| *of != feed);
        (net, parlance_feed::Feed::new(inbox, Box::new(on_drop)))
    }

    fn tell(&self, told: Vec<(ConversationId, Heard)>) {
        let listeners = locked(&self.listeners);
        for (conversation, heard) in told {
            for (_, _, inbox) in listeners.iter().filter(|(_, of, _)| *of == conversation) {
                inbox.put(&conversation, heard.clone());
            }
        }
    }
}

impl Net for DirectNet {
    fn rules(&self) -> Rules {
        Rules::all()
    }

    fn now_us(&self) -> u64 {
        self.servers.call.now_ms * 1_000
    }

    fn nonce(&self) -> u64 {
        let nonces = &self.servers.nonces;
        nonces.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }

    fn log<T: 'static>(
        &self,
        act: impl FnOnce(&mut Redis, Call) -> T + 'static,
    ) -> impl Future<Output = Result<T, Unavailable>> + 'static {
        let mut redis = locked(&self.servers.redis);
        let call = self.servers.call;
        let answer = act(&mut redis, call);
        // Told under the lock, so that everybody hears in the order of the log.
        self.servers.tell(redis.take_told());
        ready(Ok(answer))
    }

    fn store<T: 'static, E: From<Unavailable> + 'static>(
        &self,
        act: impl FnOnce(&MemoryStore) -> Result<T, E> + 'static,
    ) -> impl Future<Output = Result<T, E>> + 'static {
        ready(act(&self.servers.store))
    }

    fn subscribe(
        &self,
        conversation: &ConversationId,
    ) -> impl Future<Output = Result<(), Unavailable>> + 'static {
        let mut listeners = locked(&self.servers.listeners);
        let is_there = listeners
            .iter()
            .any(|(feed, of, _)| *feed == self.feed && of == conversation);
        if !is_there {
            listeners.push((self.feed, conversation.clone(), Arc::clone(&self.inbox)));
        }
        ready(Ok(()))
    }

    fn unsubscribe(&self, conversation: &ConversationId) {
        let mut listeners = locked(&self.servers.listeners);
        listeners.retain(|(feed, of, _)| *feed != self.feed || of != conversation);
    }

    /// Nothing here waits, so it is done when this returns.
    fn start(&self, task: impl Future<Output = ()> + 'static) {
        task.now_or_never()
            .expect("nothing waits on the direct way");
    }
}

/// The answer of a store in memory, which never waits.
pub(crate) fn at_once<T>(answer: impl Future<Output = T>) -> T {
    let answer = answer.now_or_never();
    answer.expect("a store in memory answers at once")
}
