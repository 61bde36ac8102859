//! The store as a process reaches it: the test kit's store in memory behind a [`Net`].
//!
//! Called by the fake adapter, and by the persister as its archive. The store in memory passes the
//! suite of all stores; what is added here is the way to it, and leaving out rules of the store.

use parlance_core::{
    ports::{Cursor, Unavailable},
    store::{Archive, EpochRow, NameDigest, Named, Partition, Store, StoredEvent, WriteError},
};
use parlance_protocol::{ConversationId, Position, UserId};

use crate::{
    net::{Net, at_once},
    rule::Rule,
};

pub(crate) async fn open_epoch<N: Net>(net: &N, partition: Partition) -> Result<u32, Unavailable> {
    net.store(move |it| at_once(it.open_epoch(partition, None)))
        .await
}

pub(crate) async fn epochs<N: Net>(
    net: &N,
    conversation: &ConversationId,
) -> Result<Vec<EpochRow>, Unavailable> {
    let of = conversation.clone();
    net.store(move |it| at_once(it.epochs(&of))).await
}

pub(crate) async fn look_up<N: Net>(
    net: &N,
    conversation: &ConversationId,
    sender: &UserId,
    name: NameDigest,
) -> Result<Vec<Named>, Unavailable> {
    let (of, sender) = (conversation.clone(), sender.clone());
    net.store(move |it| at_once(it.look_up(&of, &sender, name)))
        .await
}

pub(crate) async fn events<N: Net>(
    net: &N,
    conversation: &ConversationId,
    (after, up_to): (Position, Position),
    limit: usize,
) -> Result<Vec<StoredEvent>, Unavailable> {
    let of = conversation.clone();
    net.store(move |it| at_once(it.events(&of, after, up_to, limit)))
        .await
}

/// A persister's way to the store.
#[derive(Debug, Clone)]
pub struct FakeArchive<N>(pub N);

impl<N: Net> FakeArchive<N> {
    /// Writes; if `rule` is left out, says so before it is done.
    async fn put(
        &self,
        rule: Option<Rule>,
        write: impl FnOnce(&parlance_testkit::store::MemoryStore) -> Result<(), WriteError> + 'static,
    ) -> Result<(), WriteError> {
        let written = self.0.store(write);
        if rule.is_some_and(|rule| !self.0.rules().has(rule)) {
            self.0.start(async move {
                // Whoever wrote was told already that it is done.
                let _ = written.await;
            });
            return Ok(());
        }
        written.await
    }
}

impl<N: Net + Send + Sync> Archive for FakeArchive<N> {
    async fn put_names(
        &self,
        conversation: &ConversationId,
        sender: &UserId,
        names: &[(NameDigest, Named)],
    ) -> Result<(), WriteError> {
        let (of, sender, names) = (conversation.clone(), sender.clone(), names.to_vec());
        let write = move |it: &parlance_testkit::store::MemoryStore| {
            at_once(it.put_names(&of, &sender, &names))
        };
        self.put(Some(Rule::NamesBeforeHead), write).await
    }

    async fn put_events(
        &self,
        conversation: &ConversationId,
        events: &[StoredEvent],
    ) -> Result<(), WriteError> {
        let (of, events) = (conversation.clone(), events.to_vec());
        let write =
            move |it: &parlance_testkit::store::MemoryStore| at_once(it.put_events(&of, &events));
        self.put(Some(Rule::EventsBeforeHead), write).await
    }

    async fn put_placeholder(
        &self,
        conversation: &ConversationId,
        event: &StoredEvent,
    ) -> Result<(), WriteError> {
        let (of, event) = (conversation.clone(), event.clone());
        self.put(None, move |it| at_once(it.put_placeholder(&of, &event)))
            .await
    }

    async fn put_epoch(
        &self,
        conversation: &ConversationId,
        row: EpochRow,
    ) -> Result<(), WriteError> {
        let of = conversation.clone();
        self.put(None, move |it| at_once(it.put_epoch(&of, row)))
            .await
    }

    async fn put_cursors(
        &self,
        conversation: &ConversationId,
        cursors: &[(UserId, Cursor)],
    ) -> Result<(), WriteError> {
        let (of, cursors) = (conversation.clone(), cursors.to_vec());
        self.put(None, move |it| at_once(it.put_cursors(&of, &cursors)))
            .await
    }
}
