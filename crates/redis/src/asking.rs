//! How this process asks Redis about a conversation: again as long as it may, and after whatever a
//! script wants done first.

use std::{rc::Rc, time::Duration};

use parlance_core::{
    lineage::Lineage,
    ports::Unavailable,
    store::{Partition, Store},
};
use parlance_protocol::{ConversationId, Position};
use redis::Value;
use tokio::time::{Instant, sleep};

use crate::{
    Durability,
    answer::{self, Need},
    commit::{Lane, Way, Writer},
    io::{ELSEWHERE_PAUSE, Io},
    link::{Call, CallError, Link, Run},
    meta::Meta,
    partition::Keys,
    scripts,
    time::now_micros,
};

/// Conversations whose stored epochs are remembered. Beyond it all are forgotten.
const STORED_EPOCHS: usize = 16_384;
/// How long a question may go back and forth.
pub(crate) const PATIENCE: Duration = Duration::from_secs(8);

impl<S: Store> Io<S> {
    /// The way of appends into a partition.
    pub(crate) async fn writer(&self, partition: Partition) -> Result<Writer, Unavailable> {
        let node = self.node(partition)?;
        if node.memory().is_above(self.memory_limit_bytes) {
            let label = &node.label;
            return Err(Unavailable::new(format_args!(
                "Redis at {label} uses more memory than it may: what waits there has to be stored first"
            )));
        }
        let way = match self.durability {
            Durability::Local => Way::Local(node.link().await?),
            Durability::Replicated => {
                let lane = self.lane(partition)?;
                let link = lane.link().await?;
                Way::Replicated { lane, link }
            }
        };
        Ok(Writer {
            way,
            has_store: self.store.is_some(),
            speech: self.shards.speech(),
        })
    }

    /// Asks what may be asked again, until there is an answer.
    pub(crate) async fn read(
        &self,
        partition: Partition,
        question: impl AsyncFn(Rc<Link>) -> Result<Value, CallError>,
    ) -> Result<Value, Unavailable> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let link = self.node(partition)?.link().await?;
            match question(link).await {
                Ok(answer) => return Ok(answer),
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                Err(error) => self.before_asking_again(error).await?,
            }
        }
    }

    /// What was only read may be read again, wherever the partition is then.
    pub(crate) async fn before_asking_again(&self, error: CallError) -> Result<(), Unavailable> {
        match error {
            CallError::Elsewhere(_) => self.shards.look.notify_one(),
            CallError::Unknown(_) => {}
            CallError::Refused(_) => return Err(error.into()),
        }
        sleep(ELSEWHERE_PAUSE).await;
        Ok(())
    }

    /// Calls a script that only reads a conversation until it needs nothing more: `call` is given
    /// the run.
    pub(crate) async fn ask<'a>(
        self: &Rc<Self>,
        conversation: &ConversationId,
        keys: &'a Keys,
        call: impl Fn(&str) -> Call<'a>,
    ) -> Result<(Value, Run), Unavailable> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let link = self.node(keys.partition)?.link().await?;
            let answer = match link.call(&call(&link.run.0)).await {
                Ok(answer) => answer,
                Err(error) => {
                    self.before_asking_again(error).await?;
                    continue;
                }
            };
            match answer::need(&answer) {
                Some(need) => Box::pin(self.satisfy(conversation, keys, need)).await?,
                None => return Ok((answer, link.run.clone())),
            }
        }
        Err(Unavailable::new(
            "Redis: the question went back and forth too long",
        ))
    }

    /// What was read up to `head` under `run` may be shown: a replica has it, if that is what an
    /// acknowledgement means. What was heard of had been confirmed before.
    pub(crate) async fn confirm(
        &self,
        conversation: &ConversationId,
        partition: Partition,
        head: Position,
        run: &Run,
    ) -> Result<(), Unavailable> {
        if self.durability == Durability::Local || self.table.has_heard(conversation, head) {
            return Ok(());
        }
        let lane = self.lane(partition)?;
        lane.confirm(partition, run).await
    }

    fn lane(&self, partition: Partition) -> Result<Rc<Lane>, Unavailable> {
        let node = self.node(partition)?;
        let lane = self.lanes.borrow().get(&node.label).cloned();
        lane.ok_or_else(|| Unavailable::new("Redis: no way to commit"))
    }

    /// Does what a script needs first. Rare, and the largest of all futures here: callers box it, so
    /// that each question of theirs is small.
    pub(crate) async fn satisfy(
        self: &Rc<Self>,
        conversation: &ConversationId,
        keys: &Keys,
        need: Need,
    ) -> Result<(), Unavailable> {
        let link = self.node(keys.partition)?.link().await?;
        match need {
            Need::Epoch => self.open_epoch(keys.partition, &link).await,
            Need::Mark { epoch, found_ms } => {
                self.note_epoch(keys.partition, epoch);
                self.mark(conversation, keys, (epoch, found_ms), &link)
                    .await
            }
        }
    }

    /// Opens a partition's epoch, unless that was done.
    pub(crate) async fn open_epoch(
        self: &Rc<Self>,
        partition: Partition,
        link: &Link,
    ) -> Result<(), Unavailable> {
        let (epochs, store) = (&self.table.epochs, self.store.as_deref());
        let before = epochs.known(partition);
        let opened = self.opener.open(partition, link, epochs, store).await;
        if epochs.known(partition) != before {
            self.metrics.epochs_opened.increment(1);
            if before.is_some() {
                self.on_epoch(partition);
            }
        }
        opened
    }

    /// Which ids of a conversation exist. The store is asked only for breaks that are not known here.
    pub(crate) async fn lineage(
        &self,
        conversation: &ConversationId,
        meta: &Meta,
    ) -> Result<Lineage, Unavailable> {
        let known = self.stored_epochs.borrow().get(conversation).cloned();
        let walk = meta.walk(known.as_deref().unwrap_or_default());
        let (false, Some(store)) = (walk.is_complete, &self.store) else {
            return Ok(walk.lineage);
        };
        let rows = store.epochs(conversation).await?;
        let walk = meta.walk(&rows);
        let mut known = self.stored_epochs.borrow_mut();
        if known.len() >= STORED_EPOCHS {
            known.clear();
        }
        known.insert(conversation.clone(), rows.into());
        if !walk.is_complete {
            return Err(Unavailable::new(
                "the store does not know where an epoch began",
            ));
        }
        Ok(walk.lineage)
    }

    /// Sets a conversation's mark in `epoch`, from what the store has of it.
    async fn mark(
        &self,
        conversation: &ConversationId,
        keys: &Keys,
        (epoch, found_ms): (u32, u64),
        link: &Link,
    ) -> Result<(), Unavailable> {
        let rows = match &self.store {
            Some(store) => store.epochs(conversation).await?,
            None => Vec::new(),
        };
        let base = rows.last();
        let head = base.map_or(Position::ZERO, |row| row.head);
        let all = [&*keys.epoch, &*keys.meta, &*keys.log, &*keys.ingest];
        let call = Call::of(&scripts::MARK, all)
            .with(&*link.run.0)
            .with(u64::from(epoch))
            .with(self.log_mode())
            .with(self.shards.speech().publish())
            .with(&*keys.channel)
            .with(conversation.as_str())
            .with(now_micros())
            .with(self.retention_ms())
            .with(head.id.get())
            .with(u64::from(head.k))
            .with(base.map_or(0, |row| row.t.0))
            .with(base.map_or(0, |row| row.ordinal))
            .with(base.map_or(0, |row| row.count))
            .with(found_ms);
        // Whatever it answers, the script that needed it asks again.
        match link.call(&call).await {
            Ok(_) | Err(CallError::Elsewhere(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
