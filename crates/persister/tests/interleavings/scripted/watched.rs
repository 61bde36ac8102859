//! The test kit's store, with a look at who writes what in which order, and refusals that it has not
//! by itself.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use parlance_core::{
    ports::Cursor,
    store::{Archive, EpochRow, NameDigest, Named, StoredEvent, WriteError},
};
use parlance_protocol::{ConversationId, UserId};
use parlance_testkit::store::MemoryStore;
use tokio::time::sleep;

use crate::support::contents;

/// A store that tells who wrote what when.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    pub(crate) kept: MemoryStore,
    /// How long each write takes.
    pub(crate) delay: Duration,
    pub(crate) refuses_names: bool,
    pub(crate) refuses_rows: bool,
    pub(crate) seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
pub(crate) struct Seen {
    writes: Vec<String>,
    under_way: BTreeMap<ConversationId, usize>,
    most_under_way: usize,
}

impl Watched {
    /// What was written, in the order of begins and ends.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.seen.lock().unwrap().writes.clone()
    }

    /// The most conversations that were written at the same time.
    pub(crate) fn most_under_way(&self) -> usize {
        self.seen.lock().unwrap().most_under_way
    }

    pub(crate) fn contents(&self, of: &str) -> Vec<String> {
        contents(&self.kept, of)
    }

    async fn write(
        &self,
        conversation: &ConversationId,
        what: String,
        is_refused: bool,
        write: impl Future<Output = Result<(), WriteError>>,
    ) -> Result<(), WriteError> {
        {
            let mut seen = self.seen.lock().unwrap();
            seen.writes.push(format!("{what} begins"));
            *seen.under_way.entry(conversation.clone()).or_default() += 1;
            seen.most_under_way = seen.most_under_way.max(seen.under_way.len());
        }
        sleep(self.delay).await;
        let result = match is_refused {
            true => Err(WriteError::Refused {
                reason: "not here".to_owned(),
            }),
            false => write.await,
        };
        let mut seen = self.seen.lock().unwrap();
        seen.writes.push(format!("{what} ends"));
        let under_way = seen.under_way.get_mut(conversation).unwrap();
        *under_way -= 1;
        if *under_way == 0 {
            seen.under_way.remove(conversation);
        }
        result
    }
}

impl Archive for Watched {
    async fn put_names(
        &self,
        conversation: &ConversationId,
        sender: &UserId,
        names: &[(NameDigest, Named)],
    ) -> Result<(), WriteError> {
        let what = format!("names of {sender}");
        let write = self.kept.put_names(conversation, sender, names);
        self.write(conversation, what, self.refuses_names, write)
            .await
    }

    async fn put_events(
        &self,
        conversation: &ConversationId,
        events: &[StoredEvent],
    ) -> Result<(), WriteError> {
        let last = events.last().unwrap().entry.position;
        let what = format!("events to {last}");
        let write = self.kept.put_events(conversation, events);
        self.write(conversation, what, false, write).await
    }

    async fn put_placeholder(
        &self,
        conversation: &ConversationId,
        event: &StoredEvent,
    ) -> Result<(), WriteError> {
        let what = format!("placeholder {}", event.entry.position);
        let write = self.kept.put_placeholder(conversation, event);
        self.write(conversation, what, false, write).await
    }

    async fn put_epoch(
        &self,
        conversation: &ConversationId,
        row: EpochRow,
    ) -> Result<(), WriteError> {
        let what = format!("row {} to {}", row.epoch, row.head);
        let write = self.kept.put_epoch(conversation, row);
        self.write(conversation, what, self.refuses_rows, write)
            .await
    }

    async fn put_cursors(
        &self,
        conversation: &ConversationId,
        cursors: &[(UserId, Cursor)],
    ) -> Result<(), WriteError> {
        let write = self.kept.put_cursors(conversation, cursors);
        self.write(conversation, "cursors".to_owned(), false, write)
            .await
    }
}
