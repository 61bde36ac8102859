//! Events and their names: `append.lua`. Everything is checked before anything is written.

use std::{collections::BTreeMap, sync::Arc};

use parlance_core::{
    entry::{Entry, Event},
    ports::Heard,
    store::{ContentDigest, NameDigest, Named, StoredEvent},
};
use parlance_protocol::{ConversationId, LocalId, MessageId, Position, UserId};

use super::{
    Break, Call, Generations, Line, Logged, Meta, Names, Need, Redis, mark::BELIEVED_MS, micros,
    partition_of,
};
use crate::rule::{Rule, Rules};

const DAY_US: u64 = 86_400_000_000;
/// Names of one sender and generation.
const NAMES_MAX: usize = 20_000;
/// In a younger epoch everything is looked up.
const OLD_ENOUGH_MS: u64 = 600_000;

/// What is known of an event's name in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// Nobody asked.
    No,
    /// It is to be asked for in any case.
    Wanted,
    /// These, visible or not.
    Found(Vec<Named>),
}

/// What the look-ups of a call gave besides.
#[derive(Debug, Clone, Default)]
pub struct LookedUp {
    /// Breaks that the store knows.
    pub breaks: Vec<(u32, Position)>,
    /// When they were found to be needed, by the server's clock.
    pub found_ms: u64,
    /// The epoch in which that was found.
    pub epoch: u32,
}

/// An event to be appended.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Whose it is.
    pub sender: UserId,
    /// The sender's name for it.
    pub local_id: Option<LocalId>,
    /// What it is known by.
    pub name: Option<NameDigest>,
    /// What it says, as a digest.
    pub content: ContentDigest,
    /// What it says.
    pub event: Event,
    /// The gateway's clock at receipt, in µs.
    pub at_us: u64,
    /// What the store knows of its name.
    pub looked: Looked,
}

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It stands in the log.
    New(Arc<Entry>),
    /// It stood there before.
    Duplicate {
        /// Where.
        position: Position,
        /// The epoch of now.
        epoch: u32,
    },
    /// Its name stands for something else.
    Conflict,
    /// Its sender has too many names.
    TooMany,
    /// The message that it changes was lost.
    Orphan,
}

/// What became of a call.
#[derive(Debug, Clone)]
pub enum AppendAnswer {
    /// Nothing was written: do this first.
    Needs(Need),
    /// Nothing was written: look these up first.
    NeedsLookUp {
        /// Which offers.
        indices: Vec<usize>,
        /// The server's clock.
        found_ms: u64,
        /// The epoch.
        epoch: u32,
    },
    /// One for each offer.
    Settled(Vec<Settled>),
}

impl Redis {
    /// Appends events of a conversation, in order.
    pub fn append(
        &mut self,
        call: Call,
        conversation: &ConversationId,
        offers: &[Offer],
        looked_up: &LookedUp,
    ) -> AppendAnswer {
        let Some(epoch) = self.epoch_of(call, partition_of(conversation)) else {
            return AppendAnswer::Needs(Need::Epoch);
        };
        let found_ms = call.now_ms;
        let (rules, number) = (self.rules, epoch.number);
        let it = self.of(conversation);
        let Some(meta) = it.meta.clone().filter(|meta| meta.epoch == number) else {
            let epoch = number;
            return AppendAnswer::Needs(Need::Mark { epoch, found_ms });
        };
        let judge = Judge {
            rules,
            meta: &meta,
            looked_up,
            call,
            opened_ms: epoch.opened_ms,
        };
        let mut settled = Vec::new();
        let mut indices = Vec::new();
        for (index, offer) in offers.iter().enumerate() {
            match judge.check(offer, it.names.get(&offer.sender)) {
                Check::LookUp => indices.push(index),
                Check::Settled(answer) => settled.push(Some(answer)),
                Check::New => settled.push(None),
            }
        }
        if !indices.is_empty() {
            let epoch = number;
            return AppendAnswer::NeedsLookUp {
                indices,
                found_ms,
                epoch,
            };
        }
        let settled = self.write(call, conversation, meta, offers, settled);
        AppendAnswer::Settled(settled)
    }

    fn write(
        &mut self,
        call: Call,
        conversation: &ConversationId,
        mut meta: Meta,
        offers: &[Offer],
        settled: Vec<Option<Settled>>,
    ) -> Vec<Settled> {
        let rules = self.rules;
        let it = self.of(conversation);
        let was_whole = meta.head <= meta.stored;
        let before = meta.clone();
        let mut answers = Vec::new();
        let mut lines = Vec::new();
        let mut told = Vec::new();
        for (offer, answer) in offers.iter().zip(settled) {
            let names = it.names.entry(offer.sender.clone()).or_default();
            let answer = answer.or_else(|| names.twin(offer, meta.epoch));
            let answer = answer.or_else(|| {
                offer
                    .name
                    .and_then(|_| names.make_room(offer, &before, rules))
            });
            if let Some(answer) = answer {
                answers.push(answer);
                continue;
            }
            let entry = next_entry(&mut meta, offer);
            names.remember(offer, &entry);
            it.log
                .insert(entry.position, Logged::Event(entry.clone(), meta.count));
            let stored = StoredEvent {
                entry: entry.clone(),
                count: meta.count,
                revisions: Vec::new(),
            };
            lines.push(Line::Event(stored, offer.name, offer.content));
            let entry = Arc::new(entry);
            told.push(Arc::clone(&entry));
            answers.push(Settled::New(entry));
        }
        if told.is_empty() {
            return answers;
        }
        if rules.has(Rule::AppendStopsExpiry) {
            it.meta_expires = false;
            it.log_expires &= !was_whole;
        }
        it.meta = Some(meta);
        self.put_in_ingest(conversation, lines, call.now_ms);
        for entry in told {
            self.tell(conversation, Heard::Entry(entry));
        }
        answers
    }
}

fn next_entry(meta: &mut Meta, offer: &Offer) -> Entry {
    let prev = meta.head;
    let is_message = offer.event.target().is_none();
    meta.t = offer.at_us.max(meta.t + 1);
    meta.count += 1;
    meta.ordinal += u64::from(is_message);
    meta.head = match is_message {
        true => {
            let n = if prev.id.epoch() == meta.epoch {
                prev.id.n()
            } else {
                0
            };
            Position::of(MessageId::of_epoch(meta.epoch, n + 1).expect("runs are short"))
        }
        false => Position {
            k: prev.k + 1,
            ..prev
        },
    };
    Entry {
        position: meta.head,
        prev,
        t: micros(meta.t),
        ordinal: meta.ordinal,
        sender: offer.sender.clone(),
        local_id: offer.local_id.clone(),
        event: offer.event.clone(),
        trace: None,
    }
}

/// What the checks of an event say.
enum Check {
    New,
    LookUp,
    Settled(Settled),
}

/// What the checks of a call have before them.
struct Judge<'a> {
    rules: Rules,
    meta: &'a Meta,
    looked_up: &'a LookedUp,
    call: Call,
    opened_ms: u64,
}

impl Judge<'_> {
    fn check(&self, offer: &Offer, names: Option<&Generations>) -> Check {
        let epoch = self.meta.epoch;
        if offer.name.is_none() {
            return self.orphan(offer).map_or(Check::New, Check::Settled);
        }
        if let Some(known) = names.and_then(|names| names.find(offer)) {
            return Check::Settled(verdict(known, offer, epoch));
        }
        let is_other = self.looked_up.epoch != epoch && self.rules.has(Rule::LookUpAfterMark);
        let is_stale = self.call.now_ms.saturating_sub(self.looked_up.found_ms) > BELIEVED_MS;
        let hit = match &offer.looked {
            Looked::Wanted => return Check::LookUp,
            Looked::Found(_) if is_other => return Check::LookUp,
            Looked::No if self.wants_look_up(offer, names) => return Check::LookUp,
            Looked::Found(_) if is_stale && self.rules.has(Rule::TenSeconds) => {
                return Check::LookUp;
            }
            Looked::Found(hits) => self.judged(hits),
            Looked::No => None,
        };
        match hit {
            Some(hit) => Check::Settled(verdict((hit.position, hit.content), offer, epoch)),
            None => self.orphan(offer).map_or(Check::New, Check::Settled),
        }
    }

    fn wants_look_up(&self, offer: &Offer, names: Option<&Generations>) -> bool {
        let age_ms = (offer.at_us / 1_000).saturating_sub(self.opened_ms);
        let is_young = self.meta.epoch > 0 && age_ms < OLD_ENOUGH_MS;
        let is_unknown = names.is_none_or(|names| names.current.is_none()) && self.meta.count > 0;
        (is_young && self.rules.has(Rule::LookUpInYoungEpoch))
            || (is_unknown && self.rules.has(Rule::LookUpWithoutNames))
    }

    /// What the store's hits say, of those that exist.
    fn judged(&self, hits: &[Named]) -> Option<Named> {
        let exists = |hit: &&Named| {
            !self.rules.has(Rule::HitsAreJudged)
                || self.reaches(hit.position, &self.looked_up.breaks)
        };
        hits.iter().rfind(exists).copied()
    }

    /// Whether an edit or delete is of a message that was lost on its way here.
    fn orphan(&self, offer: &Offer) -> Option<Settled> {
        let target = offer.event.target()?;
        let is_kept = self.rules.has(Rule::NoChangeOfLost) && self.meta.epoch > 0;
        let is_lost = is_kept && !self.reaches(Position::of(target), &[]);
        is_lost.then_some(Settled::Orphan)
    }

    /// Whether walking down from the head, epoch by epoch through the breaks, reaches a position.
    fn reaches(&self, position: Position, known: &[(u32, Position)]) -> bool {
        let mut below: BTreeMap<u32, Position> = known.iter().copied().collect();
        let of_meta = self.meta.breaks.iter();
        below.extend(of_meta.map(|Break { epoch, at, .. }| (*epoch, *at)));
        let mut limit = self.meta.head;
        while position <= limit {
            let epoch = limit.id.epoch();
            match below.get(&epoch) {
                Some(at) if position.id.epoch() != epoch => limit = *at,
                Some(_) | None => return true,
            }
        }
        false
    }
}

fn verdict((position, content): (Position, ContentDigest), offer: &Offer, epoch: u32) -> Settled {
    match content == offer.content {
        true => Settled::Duplicate { position, epoch },
        false => Settled::Conflict,
    }
}

// === impl Generations ===

impl Generations {
    /// The last position that any of them names.
    pub(super) fn last(&self) -> Position {
        let known = self.current.iter().flat_map(|names| names.known.values());
        let positions = known.map(|(position, _)| *position);
        positions.max().unwrap_or_default()
    }

    fn find(&self, offer: &Offer) -> Option<(Position, ContentDigest)> {
        let name = offer.name?;
        let current = self.current.as_ref()?;
        let older = self
            .older
            .as_ref()
            .filter(|_| current.upper > Position::ZERO);
        let found = current.known.get(&name);
        found.or_else(|| older?.known.get(&name)).copied()
    }

    /// What an event of the same call that has the same name says.
    fn twin(&self, offer: &Offer, epoch: u32) -> Option<Settled> {
        let known = self.find(offer)?;
        Some(verdict(known, offer, epoch))
    }

    /// Begins a generation if that is due; refuses a name if there are too many.
    fn make_room(&mut self, offer: &Offer, before: &Meta, rules: Rules) -> Option<Settled> {
        let Some(current) = &self.current else {
            self.begin(offer, Position::ZERO);
            return None;
        };
        let is_old = offer.at_us.saturating_sub(current.began_us) > DAY_US;
        let is_stored = current.upper <= before.stored || !rules.has(Rule::NamesUntilStored);
        if is_old && is_stored {
            self.older = self.current.take();
            self.begin(offer, before.head);
            self.expires = false;
            return None;
        }
        (current.known.len() >= NAMES_MAX).then_some(Settled::TooMany)
    }

    fn begin(&mut self, offer: &Offer, upper: Position) {
        self.current = Some(Names {
            began_us: offer.at_us,
            upper,
            known: BTreeMap::new(),
        });
    }

    fn remember(&mut self, offer: &Offer, entry: &Entry) {
        if let (Some(name), Some(current)) = (offer.name, &mut self.current) {
            if current.known.is_empty() {
                current.began_us = entry.t.0;
            }
            let named = (entry.position, offer.content);
            current.known.insert(name, named);
        }
    }
}
