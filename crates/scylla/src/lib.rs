//! ScyllaDB, or any server that speaks CQL, as the store: all history, and who owns which epoch.
//!
//! [`Scylla`] implements the ports [`Store`] (what a log asks) and [`Archive`] (what the persister
//! writes); `docs/store.md` describes the tables, whose statements are in `schema/`. Rows are
//! immutable and carry their event's time as the time of writing, so whatever is written twice,
//! late or by two at once leaves the same rows. What of them is *visible* is judged by whoever
//! reads.
//!
//! The driver runs on threads of its own (`start`); a call may be awaited on any thread. Reads pass
//! a gate (`gate`: bounded, and refused at once while the store does not answer) and are shared by
//! all who ask the same at the same time (`flights`). Writes are cut into batches of one partition
//! (`batches`). A store that comes back from an outage is in use again after about a second
//! (`core`).

mod batches;
mod breaker;
mod conditional;
mod core;
mod failure;
mod flights;
#[cfg(any(fuzzing, test))]
pub mod fuzz {
    //! What the targets in `fuzz/` call.

    pub use crate::rows::fuzz::store_rows;
}
mod gate;
mod members;
mod migrate;
mod options;
mod reading;
mod rows;
mod schema;
mod session;
mod start;
mod statements;
mod tls;
mod writing;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use parlance_core::{
    ports::{Cursor, Unavailable},
    store::{Archive, EpochRow, NameDigest, Named, Partition, Store, StoredEvent, WriteError},
};
use parlance_protocol::{ConversationId, MessageId, Position, UserId};

use crate::{core::Core, start::Threads};
pub use crate::{
    migrate::{MigrateError, Replication, Step},
    options::{Login, Options, Tls},
    start::StartError,
};

/// The store. Dropping it ends its threads; calls that are under way then may never answer.
pub struct Scylla {
    core: Arc<Core>,
    _threads: Threads,
}

impl Scylla {
    /// Connects and compares the tables with what is needed. Blocks until that is done, at most for
    /// about [`Options::start_deadline`].
    ///
    /// # Errors
    /// [`StartError`]: what is wrong, and what to do about it.
    pub fn connect(options: Options) -> Result<Self, StartError> {
        start::connect(options)
    }

    /// Whether the tables can be read at the usual consistency, as of a second ago. For readiness.
    ///
    /// # Errors
    /// What is wrong.
    pub fn healthy(&self) -> Result<(), Unavailable> {
        self.core.trouble().map_or(Ok(()), Err)
    }

    /// Polls within the driver's runtime: its timers run there, whatever the caller's has.
    async fn within<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        poll_fn(|context| {
            let _entered = self.core.runtime.enter();
            future.as_mut().poll(context)
        })
        .await
    }
}

/// Makes the keyspace, if there is none, and brings its tables to this program's version. Blocks
/// until that is done; may be run again, and by two at once.
///
/// # Errors
/// [`MigrateError`]; the steps before it stay done.
pub fn migrate(options: &Options, replication: &Replication) -> Result<Vec<Step>, MigrateError> {
    migrate::migrate(options.clone(), *replication)
}

impl Store for Scylla {
    async fn open_epoch(
        &self,
        partition: Partition,
        above: Option<u32>,
    ) -> Result<u32, Unavailable> {
        self.within(self.core.next_epoch(partition, above)).await
    }

    async fn epochs(&self, conversation: &ConversationId) -> Result<Vec<EpochRow>, Unavailable> {
        self.within(self.core.read_epochs(conversation)).await
    }

    async fn look_up(
        &self,
        conversation: &ConversationId,
        sender: &UserId,
        name: NameDigest,
    ) -> Result<Vec<Named>, Unavailable> {
        self.within(self.core.read_names(conversation, sender, name))
            .await
    }

    async fn messages(
        &self,
        conversation: &ConversationId,
        from: MessageId,
        to: MessageId,
    ) -> Result<Vec<StoredEvent>, Unavailable> {
        self.within(self.core.read_messages(conversation, from, to))
            .await
    }

    async fn events(
        &self,
        conversation: &ConversationId,
        after: Position,
        up_to: Position,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, Unavailable> {
        let events = self.core.read_events(conversation, after, up_to, limit);
        self.within(events).await
    }

    async fn cursors(
        &self,
        conversation: &ConversationId,
    ) -> Result<Vec<(UserId, Cursor)>, Unavailable> {
        self.within(self.core.read_cursors(conversation)).await
    }
}

impl Archive for Scylla {
    async fn put_names(
        &self,
        conversation: &ConversationId,
        sender: &UserId,
        names: &[(NameDigest, Named)],
    ) -> Result<(), WriteError> {
        self.within(self.core.write_names(conversation, sender, names))
            .await
    }

    async fn put_events(
        &self,
        conversation: &ConversationId,
        events: &[StoredEvent],
    ) -> Result<(), WriteError> {
        self.within(self.core.write_events(conversation, events, false))
            .await
    }

    async fn put_placeholder(
        &self,
        conversation: &ConversationId,
        event: &StoredEvent,
    ) -> Result<(), WriteError> {
        let event = std::slice::from_ref(event);
        self.within(self.core.write_events(conversation, event, true))
            .await
    }

    async fn put_epoch(
        &self,
        conversation: &ConversationId,
        row: EpochRow,
    ) -> Result<(), WriteError> {
        self.within(self.core.write_epoch(conversation, row)).await
    }

    async fn put_cursors(
        &self,
        conversation: &ConversationId,
        cursors: &[(UserId, Cursor)],
    ) -> Result<(), WriteError> {
        self.within(self.core.write_cursors(conversation, cursors))
            .await
    }
}

/// Nothing that is held here is left half changed by a panic.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
