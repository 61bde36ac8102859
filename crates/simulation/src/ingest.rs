//! The persister's way to the log: the port, over a [`Net`].

use std::{future::ready, time::Duration};

use parlance_core::{
    ingest::{Batch, Commit, Ingest, IngestError, MovedCursor, PersisterId, Token},
    ports::Unavailable,
    store::{EpochRow, Partition, StoredEvent},
};

use crate::{adapter::open_epoch, net::Net};

/// Reads what is not stored yet.
#[derive(Debug, Clone)]
pub struct Unstored<N>(pub N);

fn millis(span: Duration) -> u64 {
    span.as_millis() as u64
}

impl<N: Net> Ingest for Unstored<N> {
    fn attend(
        &self,
        me: &PersisterId,
        lease: Duration,
    ) -> impl Future<Output = Result<Vec<PersisterId>, Unavailable>> + 'static {
        let me = me.clone();
        self.0
            .log(move |redis, call| redis.attend(call, &me, millis(lease)))
    }

    fn depart(&self, me: &PersisterId) -> impl Future<Output = Result<(), Unavailable>> + 'static {
        let me = me.clone();
        self.0.log(move |redis, _| redis.depart(&me))
    }

    /// All conversations are in one partition; the others are not worth the asking, and whoever asks
    /// for them waits.
    fn hold(
        &self,
        partition: Partition,
        me: &PersisterId,
        lease: Duration,
    ) -> impl Future<Output = Result<Option<Token>, Unavailable>> + 'static {
        let (net, me) = (self.0.clone(), me.clone());
        async move {
            if partition != Partition(0) {
                return std::future::pending().await;
            }
            net.log(move |redis, call| redis.hold(call, partition, &me, millis(lease)))
                .await
        }
    }

    fn release(
        &self,
        partition: Partition,
        token: Token,
    ) -> impl Future<Output = Result<(), Unavailable>> + 'static {
        self.0.log(move |redis, _| redis.release(partition, token))
    }

    /// The epoch before the pieces: what came later under another one is judged by the commit.
    fn read(
        &self,
        partition: Partition,
        token: Token,
        limit: usize,
    ) -> impl Future<Output = Result<Batch, IngestError>> + 'static {
        let net = self.0.clone();
        async move {
            let epoch = net.log(move |redis, call| redis.epoch(call, partition));
            let read = net.log(move |redis, call| redis.read(call, partition, token, limit));
            let (epoch, batch) = (epoch.await?, read.await??);
            match epoch {
                Some(epoch) => Ok(Batch { epoch, ..batch }),
                None if batch.pieces.is_empty() => Ok(batch),
                None => {
                    open_epoch(&net, partition).await?;
                    Err(IngestError::OtherEpoch)
                }
            }
        }
    }

    fn commit(
        &self,
        partition: Partition,
        token: Token,
        commit: Commit,
    ) -> impl Future<Output = Result<(), IngestError>> + 'static {
        let committed = self
            .0
            .log(move |redis, call| redis.commit(call, partition, token, &commit));
        async move { committed.await? }
    }

    fn event_text(&self, event: &StoredEvent) -> Box<str> {
        format!("{event:?}").into()
    }

    fn mark_text(&self, mark: &EpochRow) -> Box<str> {
        format!("{mark:?}").into()
    }

    /// Cursors are not what is simulated: none is stored.
    fn moved_cursors(
        &self,
        _: Partition,
        _: usize,
    ) -> impl Future<Output = Result<Vec<MovedCursor>, Unavailable>> + 'static {
        ready(Ok(Vec::new()))
    }

    fn stored_cursors(
        &self,
        _: Partition,
        _: Vec<MovedCursor>,
    ) -> impl Future<Output = Result<(), Unavailable>> + 'static {
        ready(Ok(()))
    }
}
