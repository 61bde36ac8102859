//! The log's adapter of one gateway: the ports, over a [`Net`].
//!
//! It asks as the adapter of Redis does: again after whatever a script wants done first, one call per
//! conversation under way, the log before the store. What that one does for speed is left out:
//! sharing calls, remembering epochs of conversations, reading pieces of logs.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    sync::Arc,
};

use parlance_core::{
    entry::{Draft, Entry, Row},
    lineage::Lineage,
    ports::{
        Appended, Bus, Cursor, Ephemeral, Found, Head, History, Log, Opening, Page, Presence,
        Receipts, Replay, Replayed, Unavailable,
    },
    room::Opened,
    store::{EpochRow, Named, Partition},
};
use parlance_protocol::{Anchor, ConversationId, MessageId, Position, UnixMicros, UserId};
use tokio::sync::oneshot;

use crate::{
    digest,
    log::{
        AppendAnswer, Base, Call, Claimed, Logged, Looked, LookedUp, Meta, Need, Offer, Redis,
        Settled, Way, partition_of,
    },
    net::Net,
    rule::Rule,
};

/// An older action is not sent any more.
const TOO_OLD_US: u64 = 10_000_000;
/// How long a question may go back and forth.
const PATIENCE_US: u64 = 8_000_000;
/// Looks at somebody else's claim before giving up.
const CLAIM_LOOKS: usize = 160;
/// More than a conversation of a simulation, or of a contract, has.
const ALL: usize = 100_000;

struct Waiting {
    draft: Draft,
    answer: oneshot::Sender<Result<Appended, Unavailable>>,
    since_us: u64,
}

/// The commands of one shard.
pub struct Handle<N> {
    net: N,
    lines: Rc<RefCell<BTreeMap<ConversationId, VecDeque<Waiting>>>>,
    holder: u64,
    /// The highest epoch that anything showed.
    pub(crate) seen: Rc<Cell<u32>>,
}

impl<N: Clone> Clone for Handle<N> {
    fn clone(&self) -> Self {
        Self {
            net: self.net.clone(),
            lines: Rc::clone(&self.lines),
            holder: self.holder,
            seen: Rc::clone(&self.seen),
        }
    }
}

impl<N: Net> Handle<N> {
    /// Of a shard that nobody else is.
    #[must_use]
    pub fn new(net: N) -> Self {
        let holder = net.nonce();
        Self {
            net,
            lines: Rc::default(),
            holder,
            seen: Rc::default(),
        }
    }
}

// === opening epochs, setting marks ===

pub(crate) async fn open_epoch<N: Net>(net: &N, partition: Partition) -> Result<(), Unavailable> {
    let nonce = net.nonce();
    for _ in 0..CLAIM_LOOKS {
        let claim = net.log(move |redis, call| (redis.claim(call, partition, nonce), call.run));
        let (claimed, run) = claim.await?;
        match claimed {
            Claimed::Open => return Ok(()),
            Claimed::Others => continue,
            Claimed::Ours => {}
        }
        let epoch = crate::store::open_epoch(net, partition).await?;
        let opened_ms = net.now_us() / 1_000;
        let set = net.log(move |redis, call| {
            // Under the run of the claim, whatever the link's is by now.
            redis.open(call, partition, nonce, run, (epoch, opened_ms))
        });
        if set.await? {
            return Ok(());
        }
    }
    Err(Unavailable::new("the epoch is claimed again and again"))
}

async fn mark<N: Net>(
    net: &N,
    conversation: &ConversationId,
    (epoch, found_ms): (u32, u64),
) -> Result<(), Unavailable> {
    let rows = crate::store::epochs(net, conversation).await?;
    let base = Base {
        row: rows.last().copied(),
        epoch,
        found_ms,
        at_us: net.now_us(),
    };
    let of = conversation.clone();
    // Whatever it answers, the script that needed it asks again.
    let _ = net
        .log(move |redis, call| redis.mark(call, &of, base))
        .await?;
    Ok(())
}

async fn satisfy<N: Net>(
    net: &N,
    conversation: &ConversationId,
    need: Need,
) -> Result<(), Unavailable> {
    match need {
        Need::Epoch => open_epoch(net, partition_of(conversation)).await,
        Need::Mark { epoch, found_ms } => mark(net, conversation, (epoch, found_ms)).await,
    }
}

impl<N: Net> Handle<N> {
    /// Asks until nothing more has to be done first.
    async fn ask<T: 'static>(
        &self,
        conversation: &ConversationId,
        question: impl Fn(&mut Redis, Call, &ConversationId) -> Result<T, Need> + Clone + 'static,
    ) -> Result<T, Unavailable> {
        let deadline_us = self.net.now_us() + PATIENCE_US;
        while self.net.now_us() < deadline_us {
            let (of, question) = (conversation.clone(), question.clone());
            let asked = self.net.log(move |redis, call| question(redis, call, &of));
            match asked.await? {
                Ok(answer) => return Ok(answer),
                Err(need) => satisfy(&self.net, conversation, need).await?,
            }
        }
        Err(Unavailable::new(
            "the question went back and forth too long",
        ))
    }

    fn saw(&self, epoch: u32) {
        self.seen.set(self.seen.get().max(epoch));
    }

    async fn lineage(
        &self,
        conversation: &ConversationId,
        meta: &Meta,
    ) -> Result<Lineage, Unavailable> {
        let rules = self.net.rules();
        let (lineage, is_complete) = meta.walk(&[], rules);
        if is_complete {
            return Ok(lineage);
        }
        let rows: Vec<EpochRow> = crate::store::epochs(&self.net, conversation).await?;
        let (lineage, is_complete) = meta.walk(&rows, rules);
        match is_complete {
            true => Ok(lineage),
            false => Err(Unavailable::new(
                "the store does not know where an epoch began",
            )),
        }
    }

    async fn read_head(self, conversation: ConversationId) -> Result<Head, Unavailable> {
        let meta = self
            .ask(&conversation, |redis, call, of| redis.head(call, of))
            .await?;
        self.saw(meta.epoch);
        let lineage = self.lineage(&conversation, &meta).await?;
        Ok(head_of(&meta, lineage))
    }
}

fn head_of(meta: &Meta, lineage: Lineage) -> Head {
    Head {
        epoch: meta.epoch,
        lineage,
        stored: meta.stored,
        durable: true,
        stored_at_ack: false,
    }
}

// === appending ===

impl<N: Net> Log for Handle<N> {
    fn append(
        &self,
        conversation: &ConversationId,
        draft: Draft,
    ) -> impl Future<Output = Result<Appended, Unavailable>> + 'static {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting {
            draft,
            answer,
            since_us: self.net.now_us(),
        };
        let mut lines = self.lines.borrow_mut();
        let is_first = !lines.contains_key(conversation);
        lines
            .entry(conversation.clone())
            .or_default()
            .push_back(waiting);
        drop(lines);
        if is_first {
            let (it, of) = (self.clone(), conversation.clone());
            self.net.start(async move { it.run_line(of).await });
        }
        async move { answered.await.map_err(|_| Unavailable::new("closed"))? }
    }

    fn head(
        &self,
        conversation: &ConversationId,
    ) -> impl Future<Output = Result<Head, Unavailable>> + 'static {
        self.clone().read_head(conversation.clone())
    }
}

impl<N: Net> Handle<N> {
    async fn run_line(&self, conversation: ConversationId) {
        loop {
            let batch: Vec<Waiting> = match self.lines.borrow_mut().get_mut(&conversation) {
                Some(line) => line.drain(..).collect(),
                None => return,
            };
            if batch.is_empty() {
                self.lines.borrow_mut().remove(&conversation);
                return;
            }
            let results = match self.settle(&conversation, &batch).await {
                Ok(results) => results,
                Err(reason) => batch.iter().map(|_| Err(reason.clone())).collect(),
            };
            for (one, result) in batch.into_iter().zip(results) {
                // Who does not wait any more needs no answer.
                let _ = one.answer.send(result);
            }
        }
    }

    async fn settle(
        &self,
        conversation: &ConversationId,
        batch: &[Waiting],
    ) -> Result<Vec<Result<Appended, Unavailable>>, Unavailable> {
        let rules = self.net.rules();
        let oldest_us = batch.iter().map(|one| one.since_us).min().unwrap_or(0);
        let asks = rules.has(Rule::LookUpOnRetry);
        let mut offers: Vec<Offer> = batch.iter().map(|one| offer(&one.draft, asks)).collect();
        let mut looked_up = LookedUp::default();
        loop {
            let age_us = self.net.now_us().saturating_sub(oldest_us);
            if rules.has(Rule::TenSeconds) && age_us > TOO_OLD_US {
                return Err(Unavailable::new("the append took too long"));
            }
            let (of, sent, looked) = (conversation.clone(), offers.clone(), looked_up.clone());
            let append = self
                .net
                .log(move |redis, call| redis.append(call, &of, &sent, &looked));
            match append.await? {
                AppendAnswer::Needs(need) => {
                    if let Need::Mark { epoch, found_ms } = need
                        && !rules.has(Rule::LookUpAfterMark)
                    {
                        let all: Vec<usize> = (0..offers.len()).collect();
                        looked_up = self
                            .look_up(conversation, &mut offers, &all, (epoch, found_ms))
                            .await?;
                    }
                    satisfy(&self.net, conversation, need).await?;
                }
                AppendAnswer::NeedsLookUp {
                    indices,
                    found_ms,
                    epoch,
                } => {
                    looked_up = self
                        .look_up(conversation, &mut offers, &indices, (epoch, found_ms))
                        .await?;
                }
                AppendAnswer::Settled(settled) => {
                    return Ok(settled.into_iter().map(|one| self.appended(one)).collect());
                }
            }
        }
    }

    /// The names first, then the epochs: a hit is judged by breaks that are at least as new.
    async fn look_up(
        &self,
        conversation: &ConversationId,
        offers: &mut [Offer],
        indices: &[usize],
        (epoch, found_ms): (u32, u64),
    ) -> Result<LookedUp, Unavailable> {
        for index in indices {
            let offer = &mut offers[*index];
            if let Some(name) = offer.name {
                let found: Vec<Named> =
                    crate::store::look_up(&self.net, conversation, &offer.sender, name).await?;
                offer.looked = Looked::Found(found);
            }
        }
        let rows = crate::store::epochs(&self.net, conversation).await?;
        let breaks = rows
            .iter()
            .filter_map(|row| Some((row.epoch, row.broke_at?)));
        Ok(LookedUp {
            breaks: breaks.collect(),
            found_ms,
            epoch,
        })
    }

    fn appended(&self, settled: Settled) -> Result<Appended, Unavailable> {
        match settled {
            Settled::New(entry) => {
                self.saw(entry.position.id.epoch());
                Ok(Appended::New(entry))
            }
            Settled::Duplicate { position, epoch } => {
                self.saw(epoch);
                Ok(Appended::Duplicate(position))
            }
            Settled::Conflict => Ok(Appended::Conflict),
            Settled::TooMany => Ok(Appended::TooMany),
            Settled::Orphan => Err(Unavailable::new("its message was lost meanwhile")),
        }
    }
}

fn offer(draft: &Draft, asks: bool) -> Offer {
    let name = digest::name_of(draft);
    let is_wanted = draft.retry && name.is_some() && asks;
    Offer {
        sender: draft.sender.clone(),
        local_id: draft.local_id.clone(),
        name,
        content: digest::content_of(&draft.event),
        event: draft.event.clone(),
        at_us: draft.at.0,
        looked: match is_wanted {
            true => Looked::Wanted,
            false => Looked::No,
        },
    }
}

// === history ===

/// Everything that exists of a conversation, in order.
struct Whole {
    meta: Meta,
    events: Vec<(Entry, u64)>,
}

impl Whole {
    /// All messages as they are shown, the oldest first.
    fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for (entry, _) in &self.events {
            match entry.event.target() {
                None => rows.extend(Row::of(entry)),
                Some(target) => {
                    if let Ok(index) = rows.binary_search_by_key(&target, |row| row.id) {
                        rows[index].apply(entry);
                    }
                }
            }
        }
        rows
    }
}

impl<N: Net> Handle<N> {
    /// The log first: what it does not have any more was stored before it let it go.
    async fn whole(&self, conversation: &ConversationId) -> Result<Whole, Unavailable> {
        let piece = self
            .ask(conversation, |redis, call, of| redis.range(call, of))
            .await?;
        self.saw(piece.meta.epoch);
        let lineage = self.lineage(conversation, &piece.meta).await?;
        let first = piece.log.first_key_value();
        let begins_after = first.map_or(piece.meta.head, |(_, logged)| logged.prev());
        let mut all: BTreeMap<Position, (Entry, u64)> = BTreeMap::new();
        if lineage.event_up_to(begins_after) > Position::ZERO {
            all = self.stored(conversation, &lineage, begins_after).await?;
        }
        for (position, logged) in piece.log {
            if let Logged::Event(entry, count) = logged {
                all.insert(position, (entry, count));
            }
        }
        all.retain(|position, _| lineage.is_visible(*position));
        check_chain(&lineage, &all)?;
        Ok(Whole {
            meta: piece.meta,
            events: all.into_values().collect(),
        })
    }

    async fn stored(
        &self,
        conversation: &ConversationId,
        lineage: &Lineage,
        up_to: Position,
    ) -> Result<BTreeMap<Position, (Entry, u64)>, Unavailable> {
        let mut all = BTreeMap::new();
        let mut at = Position::ZERO;
        while let Some((behind, last)) = lineage.part_after(at)
            && behind < up_to
        {
            let range = (behind, last.min(up_to));
            let events = crate::store::events(&self.net, conversation, range, ALL).await?;
            all.extend(events.into_iter().map(|event| {
                let entry = event.entry;
                (entry.position, (entry, event.count))
            }));
            at = last;
        }
        Ok(all)
    }
}

/// A hole is no end.
fn check_chain(
    lineage: &Lineage,
    all: &BTreeMap<Position, (Entry, u64)>,
) -> Result<(), Unavailable> {
    let mut last = Position::ZERO;
    for (entry, _) in all.values() {
        if lineage.event_up_to(entry.prev) != last {
            return Err(lacks(entry.prev));
        }
        last = entry.position;
    }
    let end = lineage.event_up_to(lineage.head());
    match end == last {
        true => Ok(()),
        false => Err(lacks(end)),
    }
}

fn lacks(position: Position) -> Unavailable {
    Unavailable::new(format_args!(
        "neither log nor store has what stands at {position}"
    ))
}

async fn page<N: Net>(
    it: Handle<N>,
    conversation: ConversationId,
    anchor: Anchor,
    limit: u8,
) -> Result<Page, Unavailable> {
    let whole = it.whole(&conversation).await?;
    let (rows, limit) = (whole.rows(), usize::from(limit));
    let below = |id: MessageId| rows.partition_point(|row| row.id < id);
    let up_to = |id: MessageId| rows.partition_point(|row| row.id <= id);
    let (from, to) = match anchor {
        Anchor::Newest => (rows.len().saturating_sub(limit), rows.len()),
        Anchor::Before(id) => (below(id).saturating_sub(limit), below(id)),
        Anchor::After(id) => (up_to(id), (up_to(id) + limit).min(rows.len())),
        Anchor::Around(id) => {
            let itself = up_to(id).saturating_sub(1);
            let newer = (limit - 1) / 2;
            let to = (itself + 1 + newer).min(rows.len());
            (itself.saturating_sub(limit - 1 - newer), to)
        }
    };
    let (older, newer) = (from > 0, to < rows.len());
    let (has_more, has_more_after) = match anchor {
        Anchor::Newest | Anchor::Before(_) => (older, false),
        Anchor::After(_) => (newer, false),
        Anchor::Around(_) => (older, newer),
    };
    Ok(Page {
        rows: rows[from..to].iter().rev().cloned().collect(),
        has_more,
        has_more_after,
        epoch: whole.meta.epoch,
    })
}

async fn replay<N: Net>(
    it: Handle<N>,
    conversation: ConversationId,
    after: Position,
    limit: usize,
) -> Result<Replay, Unavailable> {
    let whole = it.whole(&conversation).await?;
    let rows = whole.rows();
    let row = |position: Position| rows.iter().find(|row| Position::of(row.id) == position);
    let later = whole
        .events
        .iter()
        .filter(|(entry, _)| entry.position > after);
    let taken: Vec<_> = later.take(limit).collect();
    let remaining = taken.last().map_or(0, |(_, at)| whole.meta.count - at);
    let replayed = |(entry, _): &&(Entry, u64)| Replayed {
        entry: entry.clone(),
        row: row(entry.position).cloned(),
    };
    Ok(Replay {
        events: taken.iter().map(replayed).collect(),
        remaining,
        epoch: whole.meta.epoch,
        head: whole.meta.head,
    })
}

impl<N: Net> History for Handle<N> {
    fn page(
        &self,
        conversation: &ConversationId,
        anchor: Anchor,
        limit: u8,
    ) -> impl Future<Output = Result<Page, Unavailable>> + 'static {
        page(self.clone(), conversation.clone(), anchor, limit)
    }

    fn replay(
        &self,
        conversation: &ConversationId,
        after: Position,
        limit: usize,
    ) -> impl Future<Output = Result<Replay, Unavailable>> + 'static {
        replay(self.clone(), conversation.clone(), after, limit)
    }

    fn at(
        &self,
        conversation: &ConversationId,
        position: Position,
    ) -> impl Future<Output = Result<Option<Found>, Unavailable>> + 'static {
        let (it, conversation) = (self.clone(), conversation.clone());
        async move {
            let whole = it.whole(&conversation).await?;
            let mut events = whole.events.iter();
            let Some((entry, _)) = events.find(|(entry, _)| entry.position == position) else {
                return Ok(None);
            };
            let id = entry.event.target().unwrap_or(position.id);
            let row = whole.rows().into_iter().find(|row| row.id == id);
            let entry = entry.clone();
            Ok(row.map(|row| Found { entry, row }))
        }
    }

    fn authored(
        &self,
        conversation: &ConversationId,
        author: &UserId,
        above: MessageId,
        up_to: MessageId,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<MessageId>, Unavailable>> + 'static {
        let (it, conversation, author) = (self.clone(), conversation.clone(), author.clone());
        async move {
            let rows = it.whole(&conversation).await?.rows();
            let own = rows.iter().filter(|row| row.sender == author);
            let ids = own.map(|row| row.id);
            let mut ids: Vec<_> = ids.filter(|id| *id > above && *id <= up_to).collect();
            ids.drain(..ids.len().saturating_sub(limit));
            Ok(ids)
        }
    }
}

// === what passes, and who is there ===

impl<N: Net> Bus for Handle<N> {
    fn subscribe(
        &self,
        conversation: &ConversationId,
    ) -> impl Future<Output = Result<(), Unavailable>> + 'static {
        self.net.subscribe(conversation)
    }

    fn unsubscribe(&self, conversation: &ConversationId) {
        self.net.unsubscribe(conversation);
    }

    fn publish(&self, conversation: &ConversationId, ephemeral: Ephemeral) {
        let of = conversation.clone();
        self.send(move |redis| redis.publish(&of, ephemeral));
    }
}

impl<N: Net> Handle<N> {
    /// Says something to the server whose answer nobody waits for.
    fn send(&self, act: impl FnOnce(&mut Redis) + 'static) {
        let sent = self.net.log(move |redis, _| act(redis));
        self.net.start(async move {
            // What passes may be lost.
            let _ = sent.await;
        });
    }

    fn walk(&self, conversation: &ConversationId, user: &UserId, way: Way, at: UnixMicros) {
        let (of, user, holder) = (conversation.clone(), user.clone(), self.holder);
        self.send(move |redis| redis.walk(&of, &user, holder, (way, at)));
    }
}

impl<N: Net> Presence for Handle<N> {
    fn join(&self, conversation: &ConversationId, user: &UserId, at: UnixMicros) {
        self.walk(conversation, user, Way::In, at);
    }

    fn leave(&self, conversation: &ConversationId, user: &UserId, at: UnixMicros) {
        self.walk(conversation, user, Way::Out, at);
    }

    fn present(
        &self,
        conversation: &ConversationId,
    ) -> impl Future<Output = Result<Vec<UserId>, Unavailable>> + 'static {
        let of = conversation.clone();
        self.net.log(move |redis, _| redis.present(&of))
    }
}

impl<N: Net> Receipts for Handle<N> {
    fn advance(
        &self,
        conversation: &ConversationId,
        user: &UserId,
        cursor: Cursor,
        at: UnixMicros,
        listed: Arc<[MessageId]>,
    ) {
        let (of, user) = (conversation.clone(), user.clone());
        self.send(move |redis| redis.advance(&of, &user, cursor, (at, listed)));
    }

    fn cursor(
        &self,
        conversation: &ConversationId,
        user: &UserId,
    ) -> impl Future<Output = Result<Cursor, Unavailable>> + 'static {
        let (of, user) = (conversation.clone(), user.clone());
        self.net.log(move |redis, _| redis.cursor(&of, &user))
    }

    fn cursors(
        &self,
        conversation: &ConversationId,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(UserId, Cursor)>, Unavailable>> + 'static {
        let of = conversation.clone();
        self.net
            .log(move |redis, _| highest(redis.cursors(&of), limit))
    }
}

/// The highest read cursors, always with the two highest of each kind.
fn highest(all: Vec<(UserId, Cursor)>, limit: usize) -> Vec<(UserId, Cursor)> {
    let mut by_delivered: Vec<_> = all.iter().collect();
    by_delivered.sort_by_key(|(_, cursor)| std::cmp::Reverse(cursor.delivered));
    let first = all.iter().take(2).chain(by_delivered.into_iter().take(2));
    let mut chosen: Vec<(UserId, Cursor)> = Vec::new();
    for one in first.chain(&all) {
        if !chosen.contains(one) && chosen.len() < limit.max(4) {
            chosen.push(one.clone());
        }
    }
    chosen.sort_by_key(|(_, cursor)| std::cmp::Reverse(cursor.read));
    chosen
}

impl<N: Net> Opening for Handle<N> {
    fn open(
        &self,
        conversation: &ConversationId,
        cursors: usize,
    ) -> impl Future<Output = Result<Opened, Unavailable>> + 'static {
        let (it, of) = (self.clone(), conversation.clone());
        let subscribed = self.net.subscribe(conversation);
        async move {
            subscribed.await?;
            let opening = it.ask(&of, |redis, call, of| redis.opening(call, of));
            let (meta, present, all) = opening.await?;
            it.saw(meta.epoch);
            let lineage = it.lineage(&of, &meta).await?;
            Ok(Opened {
                head: head_of(&meta, lineage),
                present,
                cursors: highest(all, cursors),
            })
        }
    }
}
