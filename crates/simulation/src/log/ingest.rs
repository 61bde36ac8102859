//! The unstored end: `lease.lua`, `hold.lua`, `release.lua`, `commit.lua`, and its reading.

use parlance_core::{
    ingest::{Batch, Commit, Durable, IngestError, Ingested, PersisterId, Piece, Token},
    ports::Heard,
    store::Partition,
};
use parlance_protocol::{ConversationId, Position};

use super::{Call, Line, Owner, Redis, mark_of};
use crate::rule::Rule;

/// A log is trimmed only when it is so much longer than what is kept.
const TRIM_EVERY: usize = 64;

impl Redis {
    /// Says that a persister lives, and tells who does.
    pub(crate) fn attend(
        &mut self,
        call: Call,
        me: &PersisterId,
        lease_ms: u64,
    ) -> Vec<PersisterId> {
        self.living.insert(me.clone(), call.now_ms + lease_ms);
        let living = self.living.iter();
        let living = living.filter(|(_, until)| **until > call.now_ms);
        living.map(|(persister, _)| persister.clone()).collect()
    }

    pub(crate) fn depart(&mut self, me: &PersisterId) {
        self.living.remove(me);
    }

    /// Takes a partition, or keeps it.
    pub(crate) fn hold(
        &mut self,
        call: Call,
        partition: Partition,
        me: &PersisterId,
        lease_ms: u64,
    ) -> Option<Token> {
        let part = self.part(partition);
        let until_ms = call.now_ms + lease_ms;
        let owner = part.owner.as_mut().filter(|of| of.until_ms > call.now_ms);
        if let Some(owner) = owner {
            if owner.persister != *me {
                return None;
            }
            owner.until_ms = until_ms;
            return Some(Token(owner.token));
        }
        part.tokens += 1;
        let token = part.tokens;
        part.owner = Some(Owner {
            token,
            persister: me.clone(),
            until_ms,
        });
        Some(Token(token))
    }

    pub(crate) fn release(&mut self, partition: Partition, token: Token) {
        let part = self.part(partition);
        part.owner.take_if(|owner| owner.token == token.0);
    }

    fn is_owner(&self, call: Call, partition: Partition, token: Token) -> bool {
        let owner = self.parts.get(&partition).and_then(|of| of.owner.as_ref());
        owner.is_some_and(|owner| owner.token == token.0 && owner.until_ms > call.now_ms)
    }

    /// What waits. Its epoch is that of `epoch`, which was read before.
    ///
    /// # Errors
    /// Another one owns the partition.
    pub(crate) fn read(
        &self,
        call: Call,
        partition: Partition,
        token: Token,
        limit: usize,
    ) -> Result<Batch, IngestError> {
        if !self.is_owner(call, partition, token) {
            return Err(IngestError::NotOwner);
        }
        let part = &self.parts[&partition];
        let ids = part.ingest.iter().take(limit);
        let pieces = ids.flat_map(|(id, (conversation, lines))| {
            let piece = |line| Ingested {
                id: *id,
                piece: piece(conversation, line),
            };
            lines.iter().map(piece).collect::<Vec<_>>()
        });
        Ok(Batch {
            epoch: 0,
            pieces: pieces.collect(),
            backlog: part.ingest.len() as u64,
            now_ms: call.now_ms,
        })
    }

    /// Lets go what is durable.
    ///
    /// # Errors
    /// The epoch is another one, or the owner.
    pub(crate) fn commit(
        &mut self,
        call: Call,
        partition: Partition,
        token: Token,
        commit: &Commit,
    ) -> Result<(), IngestError> {
        let epoch = self.epoch_of(call, partition).map(|epoch| epoch.number);
        if self.rules.has(Rule::CommitInItsEpoch) && epoch != Some(commit.epoch) {
            return Err(IngestError::OtherEpoch);
        }
        if !self.is_owner(call, partition, token) {
            return Err(IngestError::NotOwner);
        }
        let epoch = epoch.unwrap_or(commit.epoch);
        for durable in &commit.durable {
            self.settle(epoch, durable);
        }
        let part = self.part(partition);
        part.dead.extend(commit.dead.iter().cloned());
        part.ingest.retain(|id, _| *id > commit.up_to);
        Ok(())
    }

    fn settle(&mut self, epoch: u32, durable: &Durable) {
        let (rules, tail) = (self.rules, self.tail);
        let it = self.of(&durable.conversation);
        for sender in &durable.senders {
            if let Some(names) = it.names.get_mut(sender) {
                names.expires = names.current.is_some();
            }
        }
        let Some(meta) = &mut it.meta else {
            return;
        };
        let is_news = durable.up_to > meta.stored;
        meta.stored = meta.stored.max(durable.up_to);
        let is_whole = meta.head <= meta.stored;
        let mut kept = tail;
        if !is_whole {
            kept += meta.count.saturating_sub(durable.count) as usize + meta.breaks.len();
        }
        let length = it.log.len();
        if length > kept && (is_whole || length > kept + TRIM_EVERY) {
            let cut = it.log.keys().nth(length - kept).copied();
            it.log
                .retain(|position, _| cut.is_some_and(|cut| *position >= cut));
        }
        if is_whole {
            (it.log_expires, it.meta_expires) = (true, true);
        } else if is_news {
            // Writing it anew clears its expiry.
            it.meta_expires = false;
        }
        if !rules.has(Rule::BreaksAreKeptUntilNextMark) {
            let stored = meta.stored;
            meta.breaks.retain(|of| mark_of(of.epoch) > stored);
        }
        let is_above = durable.up_to >= mark_of(epoch);
        let is_told = is_above || !rules.has(Rule::StoredAboveMark);
        if is_news && meta.epoch == epoch && is_told {
            let heard = Heard::Stored {
                epoch,
                up_to: durable.up_to,
            };
            self.tell(&durable.conversation, heard);
        }
    }
}

fn piece(conversation: &ConversationId, line: &Line) -> Piece {
    let conversation = conversation.clone();
    match line {
        Line::Event(event, name, content) => Piece::Event {
            conversation,
            event: event.clone(),
            name: *name,
            content: *content,
        },
        Line::Mark(row) => Piece::Mark {
            conversation,
            epoch: row.epoch,
            broke_at: row.broke_at.unwrap_or(Position::ZERO),
            t: row.t,
            ordinal: row.ordinal,
            count: row.count,
        },
    }
}
