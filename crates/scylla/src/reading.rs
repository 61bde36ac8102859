//! What is read, for logs.

use std::{future::Future, sync::Arc};

use futures_util::{StreamExt, TryStreamExt, stream};
use parlance_core::{
    ports::{Cursor, Unavailable},
    store::{EpochRow, NameDigest, Named, StoredEvent},
};
use parlance_protocol::{ConversationId, MessageId, Position, UserId};
use scylla::{
    response::{PagingState, PagingStateResponse, query_result::QueryRowsResult},
    serialize::row::SerializeRow,
    statement::prepared::PreparedStatement,
};
use tokio::time::timeout;

use crate::{
    core::{Connected, Core},
    failure::ReadError,
    flights::{Flights, Ticket},
    gate::READ_LIMIT,
    rows::{
        Assembly, BUCKET_IDS, LogRow, LogRows, MessageRow, StoredCursor, StoredEpoch, StoredName,
        bucket_of,
    },
};

/// Buckets of one question that are read at once, when the first ones had too little.
const BUCKETS_AT_ONCE: u64 = 8;

/// The questions that are shared by all who ask them at the same time.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    epochs: Flights<ConversationId, Vec<EpochRow>>,
    messages: Flights<(ConversationId, MessageId, MessageId), Vec<StoredEvent>>,
    events: Flights<(ConversationId, Position, Position, usize), Vec<StoredEvent>>,
}

impl Core {
    pub(crate) async fn read_epochs(
        self: &Arc<Self>,
        conversation: &ConversationId,
    ) -> Result<Vec<EpochRow>, Unavailable> {
        let (core, of) = (Arc::clone(self), conversation.clone());
        let ask = async move { core.ask(async |at| at.epochs(&of).await).await };
        self.share(|core| {
            core.questions
                .epochs
                .ask(conversation.clone(), ask, &core.runtime)
        })
        .await
    }

    pub(crate) async fn read_messages(
        self: &Arc<Self>,
        conversation: &ConversationId,
        from: MessageId,
        to: MessageId,
    ) -> Result<Vec<StoredEvent>, Unavailable> {
        let key = (conversation.clone(), from, to);
        let (core, of) = (Arc::clone(self), conversation.clone());
        let ask = async move { core.ask(async |at| at.messages(&of, from, to).await).await };
        self.share(|core| core.questions.messages.ask(key, ask, &core.runtime))
            .await
    }

    pub(crate) async fn read_events(
        self: &Arc<Self>,
        conversation: &ConversationId,
        after: Position,
        up_to: Position,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, Unavailable> {
        let key = (conversation.clone(), after, up_to, limit);
        let (core, of) = (Arc::clone(self), conversation.clone());
        let ask = async move {
            core.ask(async |at| at.events(&of, after, up_to, limit).await)
                .await
        };
        self.share(|core| core.questions.events.ask(key, ask, &core.runtime))
            .await
    }

    pub(crate) async fn read_names(
        &self,
        conversation: &ConversationId,
        sender: &UserId,
        name: NameDigest,
    ) -> Result<Vec<Named>, Unavailable> {
        let _caller = self.gate.enter()?;
        let ask = self.ask(async |at| at.names(conversation, sender, name).await);
        self.within_limit(ask).await
    }

    pub(crate) async fn read_cursors(
        &self,
        conversation: &ConversationId,
    ) -> Result<Vec<(UserId, Cursor)>, Unavailable> {
        let _caller = self.gate.enter()?;
        let ask = self.ask(async |at| at.cursors(conversation).await);
        self.within_limit(ask).await
    }

    async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&Connected) -> Result<T, ReadError>,
    ) -> Result<T, Unavailable> {
        let ask = async {
            let connected = self.connected.load_full();
            question(&connected).await
        };
        self.gate.pass(ask).await
    }

    async fn share<T: Clone>(
        &self,
        board: impl FnOnce(&Self) -> (Ticket<Vec<T>>, bool),
    ) -> Result<Vec<T>, Unavailable> {
        let _caller = self.gate.enter()?;
        let (ticket, is_shared) = board(self);
        if is_shared {
            self.gate.metrics.shared_reads.increment(1);
        }
        let answer = self.within_limit(ticket.answer()).await?;
        Ok(Arc::unwrap_or_clone(answer))
    }

    async fn within_limit<T>(
        &self,
        answer: impl Future<Output = Result<T, Unavailable>>,
    ) -> Result<T, Unavailable> {
        let answer = timeout(READ_LIMIT, answer).await;
        answer.unwrap_or_else(|_| Err(self.gate.late()))
    }
}

impl Connected {
    async fn epochs(&self, conversation: &ConversationId) -> Result<Vec<EpochRow>, ReadError> {
        let mut epochs = Vec::new();
        let values = (conversation.as_str(),);
        self.each_page(&self.statements.epochs, values, |page| {
            for row in page.rows::<StoredEpoch>()? {
                epochs.push(row?.row()?);
            }
            Ok(true)
        })
        .await?;
        Ok(epochs)
    }

    async fn names(
        &self,
        conversation: &ConversationId,
        sender: &UserId,
        name: NameDigest,
    ) -> Result<Vec<Named>, ReadError> {
        let mut names = Vec::new();
        let values = (conversation.as_str(), sender.as_str(), &name.0[..]);
        self.each_page(&self.statements.names, values, |page| {
            for row in page.rows::<StoredName<'_>>()? {
                names.push(row?.named()?);
            }
            Ok(true)
        })
        .await?;
        Ok(names)
    }

    async fn cursors(
        &self,
        conversation: &ConversationId,
    ) -> Result<Vec<(UserId, Cursor)>, ReadError> {
        let mut cursors = Vec::new();
        let values = (conversation.as_str(),);
        self.each_page(&self.statements.cursors, values, |page| {
            for row in page.rows::<StoredCursor<'_>>()? {
                cursors.push(row?.cursor()?);
            }
            Ok(true)
        })
        .await?;
        Ok(cursors)
    }

    async fn messages(
        &self,
        conversation: &ConversationId,
        from: MessageId,
        to: MessageId,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        if from > to {
            return Ok(Vec::new());
        }
        let buckets = bucket_of(from)..=bucket_of(to);
        let buckets = buckets
            .map(|bucket| self.messages_of_bucket(conversation, bucket, (from, to), usize::MAX));
        // 512 ids are in two buckets at most.
        let found = stream::iter(buckets).buffered(2);
        let found: Vec<_> = found.try_collect().await?;
        Ok(found.concat())
    }

    /// Walks from bucket to bucket until there are enough. Ids are dense within an epoch, so `limit`
    /// events are in two buckets. With fewer than that, the walk ends where the epoch's head is: there
    /// may be a million empty buckets behind it.
    async fn events(
        &self,
        conversation: &ConversationId,
        after: Position,
        up_to: Position,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        let mut found = Vec::new();
        if after >= up_to {
            return Ok(found);
        }
        let mut last = bucket_of(up_to.id);
        let mut next = bucket_of(after.id);
        let likely = after.id.get().saturating_add(limit as u64) / BUCKET_IDS;
        let mut wave = (likely - next + 1).min(BUCKETS_AT_ONCE);
        while next <= last && found.len() < limit {
            let end = last.min(next + wave - 1);
            let missing = limit - found.len();
            let buckets = (next..=end)
                .map(|bucket| self.events_of_bucket(conversation, bucket, (after, up_to), missing));
            let buckets = stream::iter(buckets).buffered(BUCKETS_AT_ONCE as usize);
            let events: Vec<_> = buckets.try_collect().await?;
            found.extend(events.into_iter().flatten().take(missing));
            if next == bucket_of(after.id) && end < last && found.len() < limit {
                last = last.min(self.last_bucket(conversation, up_to).await?);
            }
            next = end + 1;
            wave = (wave * 2).min(BUCKETS_AT_ONCE);
        }
        Ok(found)
    }

    /// The last bucket of an epoch that anything is in: that of its head or, while more is being
    /// written, the one behind it. Without a head nobody knows.
    async fn last_bucket(
        &self,
        conversation: &ConversationId,
        of: Position,
    ) -> Result<u64, ReadError> {
        let epochs = self.epochs(conversation).await?;
        let row = epochs.iter().find(|row| row.epoch == of.id.epoch());
        Ok(row.map_or(u64::MAX, |row| bucket_of(row.head.id) + 1))
    }

    /// Messages, edits and deletes in order, at most `limit`.
    async fn events_of_bucket(
        &self,
        conversation: &ConversationId,
        bucket: u64,
        (after, up_to): (Position, Position),
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        let first = MessageId::new(after.id.get() + 1).unwrap_or(up_to.id);
        let messages = self.messages_of_bucket(conversation, bucket, (first, up_to.id), limit);
        let changes = self.changes_of_bucket(conversation, bucket, (after, up_to), limit);
        let (mut events, changes) = futures_util::try_join!(messages, changes)?;
        events.extend(changes);
        events.sort_by_key(|event| event.entry.position);
        events.truncate(limit);
        Ok(events)
    }

    async fn messages_of_bucket(
        &self,
        conversation: &ConversationId,
        bucket: u64,
        (from, to): (MessageId, MessageId),
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        let mut assembly = Assembly::default();
        if from > to {
            return Ok(assembly.messages);
        }
        let signed = |id: MessageId| id.get().cast_signed();
        let values = (
            conversation.as_str(),
            bucket.cast_signed(),
            signed(from),
            signed(to),
        );
        self.each_page(&self.statements.messages, values, |page| {
            for row in page.rows::<MessageRow<'_>>()? {
                assembly.add(&row?)?;
            }
            // One more tells that the revisions of the last one are complete.
            Ok(assembly.messages.len() <= limit)
        })
        .await?;
        assembly.messages.truncate(limit);
        Ok(assembly.messages)
    }

    async fn changes_of_bucket(
        &self,
        conversation: &ConversationId,
        bucket: u64,
        (after, up_to): (Position, Position),
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        let mut rows = LogRows::default();
        let id = |position: Position| position.id.get().cast_signed();
        let values = (
            conversation.as_str(),
            bucket.cast_signed(),
            id(after),
            i64::from(after.k),
            id(up_to),
            i64::from(up_to.k),
            i32::try_from(limit).unwrap_or(i32::MAX),
        );
        self.each_page(&self.statements.events, values, |page| {
            for row in page.rows::<LogRow<'_>>()? {
                rows.add(&row?)?;
            }
            Ok(true)
        })
        .await?;
        Ok(rows.events)
    }

    /// Page by page, until there are no more or `take` says that it has enough.
    async fn each_page(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
        mut take: impl FnMut(&QueryRowsResult) -> Result<bool, ReadError>,
    ) -> Result<(), ReadError> {
        let mut paging = PagingState::start();
        loop {
            let page = self.session.execute_single_page(statement, &values, paging);
            let (page, next) = page.await?;
            let wants_more = take(&page.into_rows_result()?)?;
            match next {
                PagingStateResponse::HasMorePages { state } if wants_more => paging = state,
                PagingStateResponse::HasMorePages { .. } | PagingStateResponse::NoMorePages => {
                    return Ok(());
                }
            }
        }
    }
}
