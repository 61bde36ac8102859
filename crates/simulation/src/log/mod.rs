//! A log's server in memory: what the product keeps in Redis, and what its scripts decide there.
//!
//! Called through a [`crate::net::Net`] by the fake adapter, one script at a time, each of which is atomic
//! here as it is there. It has the rules, not the bytes: keys, packing, cluster slots, retention
//! without a store and memory limits are left to the real one, and a differential test holds this to
//! that. A clone is a copy of all data: a replica is an old clone.
//!
//! - `append`: events and their names · `mark`: epochs, and how a conversation enters one
//! - `ends`: what is read of it · `ingest`: leases, batches, commits · `people`: presence and cursors

mod append;
mod ends;
mod ingest;
mod mark;
mod people;

use std::collections::BTreeMap;

use parlance_core::{
    entry::Entry,
    ingest::{DeadLetter, IngestId, PersisterId},
    lineage::{Lineage, Span},
    ports::{Cursor, Heard},
    store::{ContentDigest, EpochRow, NameDigest, Partition, StoredEvent},
};
use parlance_protocol::{ConversationId, MessageId, Position, UnixMicros, UserId};

pub use self::people::Way;
pub use self::{
    append::{AppendAnswer, Looked, LookedUp, Offer, Settled},
    ends::{Begin, Piece},
    mark::{Base, Claimed},
};
use crate::rule::Rules;

/// One life of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run(pub u64);

/// What comes with each call.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// The run of the caller's link.
    pub run: Run,
    /// The server's clock, in ms.
    pub now_ms: u64,
}

/// What has to be done before a question can be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Open the partition's epoch.
    Epoch,
    /// Set the conversation's mark in `epoch`, by what the store says after `found_ms`.
    Mark {
        /// The epoch.
        epoch: u32,
        /// The server's clock when this was found.
        found_ms: u64,
    },
}

/// The epoch of a partition, and the run that it holds for.
#[derive(Debug, Clone, Copy)]
struct Epoch {
    run: Run,
    opened_ms: u64,
    number: u32,
}

/// Where an epoch took over from an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Break {
    /// The epoch.
    pub epoch: u32,
    /// The last position that survived.
    pub at: Position,
    /// How many messages there were up to it.
    pub ordinal: u64,
}

/// The end of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The epoch that it is in.
    pub epoch: u32,
    /// The last position.
    pub head: Position,
    pub(crate) t: u64,
    pub(crate) ordinal: u64,
    /// How many events there are up to the head.
    pub count: u64,
    /// The store has everything up to here.
    pub stored: Position,
    /// The oldest first.
    pub breaks: Vec<Break>,
}

/// What stands in a log.
#[derive(Debug, Clone)]
pub enum Logged {
    /// An event, and how many there are up to it.
    Event(Entry, u64),
    /// The begin of an epoch.
    Mark {
        /// The last position that survived.
        prev: Position,
    },
}

/// A generation of a sender's names.
#[derive(Debug, Clone)]
struct Names {
    began_us: u64,
    /// Up to where the generation before reaches.
    upper: Position,
    known: BTreeMap<NameDigest, (Position, ContentDigest)>,
}

#[derive(Debug, Clone, Default)]
struct Generations {
    current: Option<Names>,
    older: Option<Names>,
    expires: bool,
}

#[derive(Debug, Clone, Default)]
struct Conversation {
    meta: Option<Meta>,
    meta_expires: bool,
    log: BTreeMap<Position, Logged>,
    log_expires: bool,
    names: BTreeMap<UserId, Generations>,
    present: BTreeMap<UserId, Vec<u64>>,
    cursors: BTreeMap<UserId, Cursor>,
}

/// What waits to be stored, as one append left it.
#[derive(Debug, Clone)]
enum Line {
    Event(StoredEvent, Option<NameDigest>, ContentDigest),
    Mark(EpochRow),
}

#[derive(Debug, Clone)]
struct Owner {
    token: u64,
    persister: PersisterId,
    until_ms: u64,
}

#[derive(Debug, Clone, Default)]
struct Part {
    epoch: Option<Epoch>,
    claim: Option<(u64, u64)>,
    owner: Option<Owner>,
    tokens: u64,
    ingest: BTreeMap<IngestId, (ConversationId, Vec<Line>)>,
    last_ingest: Option<IngestId>,
    dead: Vec<DeadLetter>,
}

/// All that a server has.
#[derive(Debug, Clone)]
pub struct Redis {
    rules: Rules,
    /// Entries of a stored log that are kept.
    tail: usize,
    parts: BTreeMap<Partition, Part>,
    conversations: BTreeMap<ConversationId, Conversation>,
    living: BTreeMap<PersisterId, u64>,
    /// What was published since it was taken.
    told: Vec<(ConversationId, Heard)>,
}

/// Which partition a conversation belongs to. All conversations of a simulation share one, so that
/// they share an epoch and an ingest.
#[must_use]
pub const fn partition_of(_: &ConversationId) -> Partition {
    Partition(0)
}

/// The first position of an epoch, where its mark stands.
pub(crate) fn mark_of(epoch: u32) -> Position {
    Position::of(MessageId::of_epoch(epoch, 0).expect("runs have few epochs"))
}

// === impl Redis ===

impl Redis {
    /// One that holds nothing. Of a log that is stored the last `tail` entries are kept.
    #[must_use]
    pub fn new(rules: Rules, tail: usize) -> Self {
        Self {
            rules,
            tail,
            parts: BTreeMap::new(),
            conversations: BTreeMap::new(),
            living: BTreeMap::new(),
            told: Vec::new(),
        }
    }

    /// What was published since the last call.
    pub fn take_told(&mut self) -> Vec<(ConversationId, Heard)> {
        std::mem::take(&mut self.told)
    }

    /// Forgets everything.
    pub fn flush(&mut self) {
        *self = Self::new(self.rules, self.tail);
    }

    /// What may expire does: the logs, and with `all` the rest too.
    pub fn expire(&mut self, all: bool) {
        for conversation in self.conversations.values_mut() {
            if conversation.log_expires {
                conversation.log.clear();
                conversation.log_expires = false;
            }
            // No store is away for as long as names are kept.
            let stored = conversation.meta.as_ref().map(|meta| meta.stored);
            if all {
                conversation
                    .names
                    .retain(|_, names| !names.expires || names.last() > stored.unwrap_or_default());
            }
            if all && conversation.meta_expires {
                conversation.meta = None;
                conversation.meta_expires = false;
            }
        }
    }

    /// The end of a conversation, whatever epoch that is of.
    #[must_use]
    pub fn meta(&self, conversation: &ConversationId) -> Option<&Meta> {
        self.conversations.get(conversation)?.meta.as_ref()
    }

    /// What is in a conversation's log.
    pub fn log(&self, conversation: &ConversationId) -> impl Iterator<Item = (&Position, &Logged)> {
        let of = self.conversations.get(conversation);
        of.into_iter().flat_map(|of| &of.log)
    }

    /// How many ids wait to be stored.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.parts.values().map(|part| part.ingest.len()).sum()
    }

    /// What was laid aside.
    #[must_use]
    pub fn dead(&self) -> usize {
        self.parts.values().map(|part| part.dead.len()).sum()
    }

    fn part(&mut self, partition: Partition) -> &mut Part {
        self.parts.entry(partition).or_default()
    }

    fn of(&mut self, conversation: &ConversationId) -> &mut Conversation {
        self.conversations.entry(conversation.clone()).or_default()
    }

    fn tell(&mut self, conversation: &ConversationId, heard: Heard) {
        self.told.push((conversation.clone(), heard));
    }

    fn put_in_ingest(&mut self, conversation: &ConversationId, lines: Vec<Line>, now_ms: u64) {
        let part = self.part(partition_of(conversation));
        let next = match part.last_ingest {
            Some(last) if last.ms >= now_ms => IngestId {
                seq: last.seq + 1,
                ..last
            },
            Some(_) | None => IngestId { ms: now_ms, seq: 0 },
        };
        part.last_ingest = Some(next);
        part.ingest.insert(next, (conversation.clone(), lines));
    }
}

// === impl Meta ===

impl Meta {
    /// Of a conversation in which nothing happened yet.
    #[must_use]
    pub fn empty(epoch: u32) -> Self {
        Self {
            epoch,
            head: Position::ZERO,
            t: 0,
            ordinal: 0,
            count: 0,
            stored: Position::ZERO,
            breaks: Vec::new(),
        }
    }

    /// Which ids exist, by the breaks here and those that the store knows; and whether that reached
    /// the very beginning.
    #[must_use]
    pub fn walk(&self, stored: &[EpochRow], rules: Rules) -> (Lineage, bool) {
        let older = stored.iter().filter_map(|row| {
            let at = row.broke_at?;
            let of = stored.iter().find(|row| row.epoch == at.id.epoch());
            let ordinal = of.map_or(0, |row| {
                row.ordinal
                    .saturating_sub(row.head.id.n().saturating_sub(at.id.n()))
            });
            Some(Break {
                epoch: row.epoch,
                at,
                ordinal,
            })
        });
        let breaks: Vec<Break> = self.breaks.iter().copied().chain(older).collect();
        let mut spans = Vec::new();
        let (mut last, mut is_complete) = (self.head, true);
        while last > Position::ZERO {
            let epoch = last.id.epoch();
            let below = breaks.iter().find(|below| below.epoch == epoch);
            if !rules.has(crate::rule::Rule::BreaksAreWalked) {
                last = lowest_break(&breaks, last);
            }
            spans.push(Span {
                epoch,
                last,
                ordinal_before: below.map_or(0, |below| below.ordinal),
            });
            is_complete = epoch == 0 || below.is_some();
            last = below.map_or(Position::ZERO, |below| below.at);
        }
        spans.reverse();
        (Lineage::new(spans), is_complete)
    }
}

/// Without the rule that breaks are walked, the lowest one of any later epoch counts.
fn lowest_break(breaks: &[Break], last: Position) -> Position {
    let later = breaks.iter().filter(|below| below.epoch > last.id.epoch());
    later.map(|below| below.at).fold(last, Position::min)
}

impl Logged {
    /// The position before it.
    #[must_use]
    pub fn prev(&self) -> Position {
        match self {
            Self::Event(entry, _) => entry.prev,
            Self::Mark { prev } => *prev,
        }
    }
}

/// A time as the log keeps it.
pub(crate) const fn micros(t: u64) -> UnixMicros {
    UnixMicros(t)
}
