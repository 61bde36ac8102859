//! What is written, by the persister.

use std::time::Instant;

use futures_util::{StreamExt, TryStreamExt, stream};
use parlance_core::{
    ports::Cursor,
    store::{EpochRow, NameDigest, Named, StoredEvent, WriteError},
};
use parlance_protocol::{ConversationId, UserId};
use parlance_telemetry::labels::StoreWrite;
use scylla::{
    errors::ExecutionError,
    statement::batch::{Batch, BatchStatement, BatchType},
};

use crate::{
    batches::{self, ROWS},
    core::{Connected, Core},
    failure,
    rows::{OfUser, PutEpoch, PutEvent, PutName, PutOfUser, Row},
};

/// Batches of one call that are under way at once. One conversation is one replica set: more would
/// only queue there.
const AT_ONCE: usize = 8;

impl Core {
    pub(crate) async fn write_names(
        &self,
        conversation: &ConversationId,
        sender: &UserId,
        names: &[(NameDigest, Named)],
    ) -> Result<(), WriteError> {
        let rows = names.iter().map(|(name, named)| PutName {
            conversation: conversation.as_str(),
            sender: sender.as_str(),
            name: *name,
            named: *named,
        });
        let rows: Vec<_> = rows.collect();
        self.write_all(rows.chunks(ROWS)).await
    }

    pub(crate) async fn write_events(
        &self,
        conversation: &ConversationId,
        events: &[StoredEvent],
        are_placeholders: bool,
    ) -> Result<(), WriteError> {
        let rows = events
            .iter()
            .flat_map(|event| PutEvent::all_of(conversation.as_str(), event, are_placeholders));
        let batches = batches::of_events(rows);
        self.write_all(batches.iter().map(Vec::as_slice)).await
    }

    pub(crate) async fn write_epoch(
        &self,
        conversation: &ConversationId,
        row: EpochRow,
    ) -> Result<(), WriteError> {
        let conversation = conversation.as_str();
        self.write(&[PutEpoch { conversation, row }]).await
    }

    pub(crate) async fn write_cursors(
        &self,
        conversation: &ConversationId,
        cursors: &[(UserId, Cursor)],
    ) -> Result<(), WriteError> {
        let of_user = |user, what| PutOfUser {
            conversation: conversation.as_str(),
            user: UserId::as_str(user),
            what,
        };
        let both = cursors.iter().flat_map(|(user, cursor)| {
            let cursor = cursor.merge(Cursor::default());
            [
                of_user(user, OfUser::Delivered(cursor.delivered)),
                of_user(user, OfUser::Read(cursor.read)),
            ]
        });
        let users = cursors.iter().map(|(user, _)| user);
        let new = users.filter(|user| !self.members.has(conversation, user));
        let new: Vec<_> = new.collect();
        let both: Vec<_> = both.collect();
        let row_of = |what| new.iter().map(move |user| of_user(user, what));
        let members: Vec<_> = row_of(OfUser::Member).collect();
        let memberships: Vec<_> = row_of(OfUser::Membership).collect();
        // A row of `memberships` is a partition of its own.
        let all = both.chunks(ROWS);
        let all = all.chain(members.chunks(ROWS)).chain(memberships.chunks(1));
        self.write_all(all).await?;
        self.members.add(conversation, new);
        Ok(())
    }

    /// Ends at the first error; some of it may have been written then.
    async fn write_all<'a, R: Row + 'a>(
        &self,
        batches: impl Iterator<Item = &'a [R]>,
    ) -> Result<(), WriteError> {
        let writes = stream::iter(batches.map(|batch| self.write(batch)));
        writes.buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Writes rows of one partition. What a server refuses as a whole (too large a batch) is written
    /// row by row.
    async fn write<R: Row>(&self, rows: &[R]) -> Result<(), WriteError> {
        let connected = self.connected.load_full();
        match self.send(&connected, rows).await {
            Ok(()) => Ok(()),
            Err(error) if !failure::is_refusal(&error) => Err(failure::unavailable(&error)),
            Err(error) if rows.len() == 1 => Err(self.refusal(&connected, error).await),
            Err(error) => {
                tracing::debug!(%error, rows = rows.len(), "the store refuses a batch");
                self.write_one_by_one(&connected, rows).await
            }
        }
    }

    async fn write_one_by_one<R: Row>(
        &self,
        connected: &Connected,
        rows: &[R],
    ) -> Result<(), WriteError> {
        for row in rows {
            match self.send(connected, std::slice::from_ref(row)).await {
                Ok(()) => {}
                Err(error) if !failure::is_refusal(&error) => {
                    return Err(failure::unavailable(&error));
                }
                Err(error) => return Err(self.refusal(connected, error).await),
            }
        }
        Ok(())
    }

    /// Servers answer the same to a row that they will never take and to one whose table is gone. So
    /// the tables are asked for before a row counts as refused: else the loss of a table would have
    /// every message put aside.
    async fn refusal(&self, connected: &Connected, error: ExecutionError) -> WriteError {
        match connected.check_tables().await {
            Ok(()) => WriteError::Refused {
                reason: error.to_string(),
            },
            Err(_) => failure::unavailable(&error),
        }
    }

    async fn send<R: Row>(&self, connected: &Connected, rows: &[R]) -> Result<(), ExecutionError> {
        let begun = Instant::now();
        let sent = connected.insert(rows).await;
        let outcome = match &sent {
            Ok(()) => StoreWrite::Ok,
            Err(error) if failure::is_refusal(error) => StoreWrite::Refused,
            Err(_) => StoreWrite::Unavailable,
        };
        let metrics = &self.gate.metrics;
        metrics.writes.of(outcome).increment(1);
        metrics.write_duration.record(begun.elapsed().as_secs_f64());
        sent
    }
}

impl Connected {
    /// One request.
    async fn insert<R: Row>(&self, rows: &[R]) -> Result<(), ExecutionError> {
        let statement = |row: &R| row.statement(&self.statements);
        match rows {
            [] => Ok(()),
            [row] => {
                let done = self.session.execute_unpaged(statement(row), row).await;
                done.map(|_| ())
            }
            rows => {
                let prepared = rows
                    .iter()
                    .map(|row| BatchStatement::PreparedStatement(statement(row).clone()));
                let mut batch = Batch::new_with_statements(BatchType::Unlogged, prepared.collect());
                batch.set_is_idempotent(true);
                batch.set_execution_profile_handle(Some(self.writes.clone()));
                self.session.batch(&batch, rows).await.map(|_| ())
            }
        }
    }
}
