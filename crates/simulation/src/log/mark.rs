//! Epochs, and how a conversation enters one: `claim.lua`, `open.lua`, `set_mark.lua`, `mark.lua`.

use parlance_core::store::{EpochRow, Partition};
use parlance_protocol::{ConversationId, Position};

use super::{
    Break, Call, Epoch, Line, Logged, Meta, Need, Redis, Run, mark_of, micros, partition_of,
};
use crate::rule::Rule;

/// How long a claim holds.
const CLAIM_MS: u64 = 5_000;
/// What the store said is believed for so long.
pub(super) const BELIEVED_MS: u64 = 10_000;

/// What became of a claim on an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// It is open.
    Open,
    /// Somebody else opens it.
    Others,
    /// It is ours to open.
    Ours,
}

/// The end of a conversation by the store, and for which need it was read.
#[derive(Debug, Clone, Copy)]
pub struct Base {
    /// The row of the highest epoch.
    pub row: Option<EpochRow>,
    /// The epoch of the need.
    pub epoch: u32,
    /// When the need was found, by the server's clock.
    pub found_ms: u64,
    /// The caller's clock, in µs.
    pub at_us: u64,
}

impl Redis {
    /// Claims the opening of a partition's epoch.
    pub fn claim(&mut self, call: Call, partition: Partition, nonce: u64) -> Claimed {
        let is_exclusive = self.rules.has(Rule::ClaimBeforeOpening);
        let part = self.part(partition);
        if part.epoch.is_some_and(|epoch| epoch.run == call.run) {
            return Claimed::Open;
        }
        let is_claimed = part.claim.is_some_and(|(_, until)| until > call.now_ms);
        if is_exclusive && is_claimed {
            return Claimed::Others;
        }
        part.claim = Some((nonce, call.now_ms + CLAIM_MS));
        Claimed::Ours
    }

    /// Sets a partition's epoch for a run, if the claim holds. Whether it was set.
    pub fn open(
        &mut self,
        call: Call,
        partition: Partition,
        nonce: u64,
        run: Run,
        (number, opened_ms): (u32, u64),
    ) -> bool {
        let is_guarded = self.rules.has(Rule::ClaimBeforeOpening);
        let part = self.part(partition);
        let claimed = part.claim.filter(|(_, until)| *until > call.now_ms);
        if is_guarded && claimed.is_none_or(|(of, _)| of != nonce) {
            return false;
        }
        part.epoch = Some(Epoch {
            run,
            opened_ms,
            number,
        });
        part.claim = None;
        true
    }

    /// The epoch that a partition has under the caller's run.
    pub fn epoch(&self, call: Call, partition: Partition) -> Option<u32> {
        self.epoch_of(call, partition).map(|epoch| epoch.number)
    }

    pub(super) fn epoch_of(&self, call: Call, partition: Partition) -> Option<Epoch> {
        let epoch = self.parts.get(&partition)?.epoch?;
        let holds = epoch.run == call.run || !self.rules.has(Rule::RunOpensEpoch);
        holds.then_some(epoch)
    }

    /// The end of a conversation that is in its partition's epoch.
    pub(super) fn ready(&self, call: Call, conversation: &ConversationId) -> Result<Meta, Need> {
        let epoch = self.epoch_of(call, partition_of(conversation));
        let epoch = epoch.ok_or(Need::Epoch)?.number;
        match self.meta(conversation) {
            Some(meta) if meta.epoch == epoch => Ok(meta.clone()),
            Some(meta) if !self.rules.has(Rule::ReadersSetMark) => Ok(Meta {
                epoch,
                ..meta.clone()
            }),
            Some(_) | None => Err(Need::Mark {
                epoch,
                found_ms: call.now_ms,
            }),
        }
    }

    /// Brings a conversation into the present epoch. What has to be done again, if anything.
    ///
    /// # Errors
    /// The need for which it came is not that of now.
    pub fn mark(
        &mut self,
        call: Call,
        conversation: &ConversationId,
        base: Base,
    ) -> Result<(), Need> {
        let epoch = self.epoch_of(call, partition_of(conversation));
        let epoch = epoch.ok_or(Need::Epoch)?.number;
        let again = Need::Mark {
            epoch,
            found_ms: call.now_ms,
        };
        if self.rules.has(Rule::BaseIsOfItsEpoch) && base.epoch != epoch {
            return Err(again);
        }
        let is_old = call.now_ms.saturating_sub(base.found_ms) > BELIEVED_MS;
        if self.rules.has(Rule::TenSeconds) && is_old {
            return Err(again);
        }
        self.set_mark(call, conversation, epoch, base);
        Ok(())
    }

    fn set_mark(&mut self, call: Call, conversation: &ConversationId, epoch: u32, base: Base) {
        let rules = self.rules;
        let it = self.of(conversation);
        let before = it.meta.clone();
        if before.as_ref().is_some_and(|meta| meta.epoch == epoch) {
            return;
        }
        let row = base.row;
        let stored_head = row.map_or(Position::ZERO, |row| row.head);
        let mut meta = before.clone().unwrap_or_else(|| Meta {
            stored: stored_head,
            ..Meta::empty(epoch)
        });
        let takes_log = rules.has(Rule::BreakKnowsLog);
        let takes_store = rules.has(Rule::BreakKnowsStore) || before.is_none();
        if (stored_head > meta.head && takes_store) || !takes_log {
            let (ordinal, count) = row.map_or((0, 0), |row| (row.ordinal, row.count));
            (meta.head, meta.ordinal, meta.count) = (stored_head, ordinal, count);
            it.log.clear();
            it.log_expires = false;
        }
        meta.t = meta.t.max(row.map_or(0, |row| row.t.0));
        it.meta_expires = false;
        if epoch == 0 || (before.is_none() && meta.head.id.epoch() == epoch) {
            meta.epoch = epoch;
            it.meta = Some(meta);
            return;
        }
        let stored = meta.stored;
        let is_kept = |of: &Break| {
            rules.has(Rule::UnstoredBreaksAreKept) && mark_of(of.epoch) > Position::of(stored.id)
        };
        meta.breaks.retain(is_kept);
        let broke = Break {
            epoch,
            at: meta.head,
            ordinal: meta.ordinal,
        };
        meta.breaks.push(broke);
        meta.t = base.at_us.max(meta.t + 1);
        let place = mark_of(epoch);
        it.log.insert(place, Logged::Mark { prev: broke.at });
        it.log_expires = false;
        (meta.epoch, meta.head) = (epoch, place);
        let row = EpochRow {
            epoch,
            broke_at: Some(broke.at),
            head: place,
            t: micros(meta.t),
            ordinal: meta.ordinal,
            count: meta.count,
        };
        it.meta = Some(meta);
        self.put_in_ingest(conversation, vec![Line::Mark(row)], call.now_ms);
    }
}
