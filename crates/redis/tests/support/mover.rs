//! Moves what waits in Redis into a store, as a persister does, but when a test wants it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parlance_core::{
    ingest::{Batch, Commit, Durable, Ingest, IngestError, PersisterId, Piece, Token},
    store::{Archive, EpochRow, Named, Partition},
};
use parlance_protocol::{ConversationId, MessageId, Position};

const LEASE: Duration = Duration::from_secs(60);

/// Owns what it touches until its lease is over.
pub(crate) struct Mover<I, A> {
    ingest: I,
    archive: Arc<A>,
    me: PersisterId,
}

impl<I: Ingest, A: Archive> Mover<I, A> {
    pub(crate) fn new(ingest: I, archive: &Arc<A>) -> Self {
        let archive = Arc::clone(archive);
        let me = PersisterId("mover".into());
        Self {
            ingest,
            archive,
            me,
        }
    }

    pub(crate) async fn hold(&self, partition: Partition) -> Token {
        let held = self.ingest.hold(partition, &self.me, LEASE).await;
        held.unwrap().expect("nobody else has it")
    }

    /// Moves everything of a partition, and answers with how many events it were.
    pub(crate) async fn move_all(&self, partition: Partition) -> usize {
        let mut moved = 0;
        loop {
            let token = self.hold(partition).await;
            let batch = match self.ingest.read(partition, token, 100).await {
                Ok(batch) => batch,
                Err(IngestError::OtherEpoch) => continue,
                Err(error) => panic!("{error}"),
            };
            if batch.pieces.is_empty() {
                return moved;
            }
            let durable = self.store(&batch).await;
            match self.commit(partition, token, &batch, durable).await {
                Ok(()) => moved += batch.pieces.len(),
                Err(IngestError::OtherEpoch) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub(crate) async fn commit(
        &self,
        partition: Partition,
        token: Token,
        batch: &Batch,
        durable: Vec<Durable>,
    ) -> Result<(), IngestError> {
        let up_to = batch.pieces.last().expect("it is not empty").id;
        let commit = Commit {
            epoch: batch.epoch,
            up_to,
            durable,
            dead: Vec::new(),
        };
        self.ingest.commit(partition, token, commit).await
    }

    /// Writes a batch, one event after the other.
    pub(crate) async fn store(&self, batch: &Batch) -> Vec<Durable> {
        let mut durable = BTreeMap::new();
        for ingested in &batch.pieces {
            let done = self.store_piece(&ingested.piece).await;
            let known: &mut Durable = durable
                .entry(done.conversation.as_str().to_owned())
                .or_insert_with(|| done.clone());
            known.senders.extend(done.senders.clone());
            (known.up_to, known.count) = (done.up_to, done.count);
        }
        durable.into_values().collect()
    }

    async fn store_piece(&self, piece: &Piece) -> Durable {
        match piece {
            Piece::Event {
                conversation,
                event,
                name,
                content,
            } => {
                let entry = &event.entry;
                if let Some(name) = name {
                    let named = Named {
                        position: entry.position,
                        content: *content,
                    };
                    let names = [(*name, named)];
                    let put = self.archive.put_names(conversation, &entry.sender, &names);
                    put.await.unwrap();
                }
                let events = std::slice::from_ref(event);
                self.archive.put_events(conversation, events).await.unwrap();
                let row = EpochRow {
                    epoch: entry.position.id.epoch(),
                    broke_at: None,
                    head: entry.position,
                    t: entry.t,
                    ordinal: entry.ordinal,
                    count: event.count,
                };
                let senders = vec![entry.sender.clone()];
                self.end(conversation, row, senders).await
            }
            Piece::Mark {
                conversation,
                epoch,
                broke_at,
                t,
                ordinal,
                count,
            } => {
                let row = EpochRow {
                    epoch: *epoch,
                    broke_at: Some(*broke_at),
                    head: Position::of(MessageId::of_epoch(*epoch, 0).unwrap()),
                    t: *t,
                    ordinal: *ordinal,
                    count: *count,
                };
                self.end(conversation, row, Vec::new()).await
            }
            Piece::Garbled { text, reason, .. } => panic!("{reason}: {text}"),
        }
    }

    async fn end(
        &self,
        conversation: &ConversationId,
        row: EpochRow,
        senders: Vec<parlance_protocol::UserId>,
    ) -> Durable {
        self.archive.put_epoch(conversation, row).await.unwrap();
        Durable {
            conversation: conversation.clone(),
            up_to: row.head,
            count: row.count,
            senders,
        }
    }

    /// Moves the cursors of a partition.
    pub(crate) async fn move_cursors(&self, partition: Partition) {
        let moved = self.ingest.moved_cursors(partition, 100).await.unwrap();
        for one in &moved {
            let cursors = [(one.user.clone(), one.cursor)];
            let put = self.archive.put_cursors(&one.conversation, &cursors);
            put.await.unwrap();
        }
        self.ingest.stored_cursors(partition, moved).await.unwrap();
    }
}
