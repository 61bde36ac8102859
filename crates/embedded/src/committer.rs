//! The one writer. It takes all drafts that wait, gives each its position, makes them durable
//! together, and then answers all of them: one write and one sync however many there are.
//!
//! Who appends at the same time shares a sync; who appends alone waits for its own. Nothing waits
//! for company on purpose: while one batch is on its way to the disk the next one gathers.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use parlance_core::{
    entry::{Draft, Entry, Event, Row},
    ports::{Appended, Unavailable},
};
use parlance_feed::FeedId;
use parlance_protocol::{ConversationId, MessageId, Position, UnixMicros, UserId};
use tokio::sync::oneshot;

use crate::{
    Shared,
    bus::lock,
    generations::Generations,
    history,
    keys::{self, NAME_BYTES, Number},
    space::Space,
    tables::{Batch, Tail, View},
    values::{self, Name, Stored},
};

/// Drafts that wait. Full: an append is refused at once.
pub(crate) const QUEUE: usize = 4096;

/// Most drafts of one batch, so that the first of them does not wait for ever.
const BATCH: usize = 1024;

/// How long cursors wait for an append that takes them along.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// Conversations whose end is kept in memory, in each of two generations; 100 to 300 bytes each.
const CACHED_ENDS: usize = 50_000;

/// Senders whose use of local ids is counted, in each of two generations.
const CACHED_QUOTAS: usize = 50_000;

/// `local_id`s that a sender may use in one conversation in [`QUOTA_PERIOD`]. The names are kept
/// for ever; this keeps one sender from filling the disk with them.
const QUOTA: u32 = 20_000;
const QUOTA_PERIOD: UnixMicros = UnixMicros(24 * 60 * 60 * 1_000_000);

pub(crate) type Answer = Result<Appended, Unavailable>;

/// What is asked of the committer.
pub(crate) enum Job {
    Append(Request),
    Stop,
}

pub(crate) struct Request {
    pub(crate) conversation: ConversationId,
    pub(crate) draft: Draft,
    pub(crate) origin: FeedId,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// A panic of the committer is a failure of the engine: not ready, and said once.
struct Alarm(Arc<Shared>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(&Unavailable::new("the writer panicked"));
        }
    }
}

/// State of the thread.
pub(crate) struct Committer {
    shared: Arc<Shared>,
    jobs: Receiver<Job>,
    ends: Generations<ConversationId, End>,
    /// Of the conversation that was numbered last.
    last_number: Number,
    quotas: Generations<(ConversationId, UserId), Quota>,
    space: Space,
    flushed: Instant,
}

/// Where a conversation goes on.
#[derive(Debug, Clone, Copy)]
struct End {
    number: Number,
    tail: Tail,
}

/// How many local ids a sender used since when. Starts anew with the process.
struct Quota {
    since: UnixMicros,
    used: u32,
}

/// A draft with its verdict; the verdict counts when the batch is durable.
struct Judged {
    request: Request,
    verdict: Answer,
}

/// A batch while it is put together.
struct Building<'a> {
    view: View<'a>,
    batch: Batch<'a>,
    entries: Vec<(Number, ConversationId, FeedId, Arc<Entry>)>,
    names: HashMap<[u8; 4 + NAME_BYTES], Name>,
    /// Messages as they are after what this batch changes of them.
    rows: HashMap<(Number, MessageId), Row>,
}

impl Committer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        jobs: Receiver<Job>,
        space: Space,
    ) -> Result<Self, Unavailable> {
        let last_number = shared.tables.view().last_number()?;
        Ok(Self {
            shared,
            jobs,
            ends: Generations::new(CACHED_ENDS),
            last_number,
            quotas: Generations::new(CACHED_QUOTAS),
            space,
            flushed: Instant::now(),
        })
    }

    /// Until [`Job::Stop`].
    pub(crate) fn run(mut self) {
        let _alarm = Alarm(Arc::clone(&self.shared));
        let mut stop = false;
        while !stop {
            let mut requests = Vec::new();
            stop = self.receive(&mut requests);
            self.commit(requests, stop);
        }
    }

    /// Waits for a first request, takes what is there already. Returns whether to stop.
    fn receive(&self, requests: &mut Vec<Request>) -> bool {
        match self.jobs.recv_timeout(FLUSH_INTERVAL) {
            Ok(Job::Append(request)) => requests.push(request),
            Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => return true,
            Err(RecvTimeoutError::Timeout) => return false,
        }
        while requests.len() < BATCH {
            match self.jobs.try_recv() {
                Ok(Job::Append(request)) => requests.push(request),
                Ok(Job::Stop) => return true,
                Err(_) => return false,
            }
        }
        false
    }

    fn commit(&mut self, requests: Vec<Request>, stop: bool) {
        if let Err(reason) = self.may_write(requests.is_empty()) {
            return refuse(requests, &reason);
        }
        if requests.is_empty() && !stop && self.flushed.elapsed() < FLUSH_INTERVAL {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let mut building = Building {
            view: shared.tables.view(),
            batch: shared.tables.batch(),
            entries: Vec::with_capacity(requests.len()),
            names: HashMap::new(),
            rows: HashMap::new(),
        };
        let mut judged = Vec::with_capacity(requests.len());
        for request in requests {
            let verdict = self.judge(&mut building, &request);
            judged.push(Judged { request, verdict });
        }
        let cursors = shared.receipts.write(&mut building.batch);
        if !building.batch.is_empty()
            && let Err(reason) = building.batch.commit(shared.options.sync)
        {
            shared.fail(&reason);
            return refuse(judged.into_iter().map(|judged| judged.request), &reason);
        }
        self.flushed = Instant::now();
        shared.receipts.wrote(cursors);
        shared
            .bus
            .entries(building.entries.iter().map(|(_, c, f, e)| (c, *f, e)));
        for Judged { request, verdict } in judged {
            answer(request, verdict);
        }
        shared.tables.make_way();
    }

    /// Whether the engine works and the disk has room.
    fn may_write(&mut self, idle: bool) -> Result<(), Unavailable> {
        self.shared.failed()?;
        if idle && let Err(reason) = self.shared.tables.check() {
            self.shared.fail(&reason);
            return Err(reason);
        }
        let room = self.space.check();
        lock(&self.shared.room).clone_from(&room);
        room
    }

    /// Decides what becomes of a draft, and puts it into the batch if it is new.
    fn judge(&mut self, building: &mut Building<'_>, request: &Request) -> Answer {
        let Request {
            conversation,
            draft,
            ..
        } = request;
        let before = self.end(building, conversation)?;
        let name = draft.local_id.as_ref().map(|local_id| {
            let digest = keys::name_digest(&draft.sender, local_id);
            keys::name(before.number, digest)
        });
        let event = values::event_digest(&draft.event);
        if let Some(name) = &name {
            if let Some(known) = building.name(name)? {
                return Ok(if known.event == event {
                    Appended::Duplicate(known.position)
                } else {
                    Appended::Conflict
                });
            }
            if !self.take_quota(conversation, &draft.sender, draft.at) {
                return Ok(Appended::TooMany);
            }
        }
        let (entry, tail) = place(before.tail, draft)?;
        let (number, position) = (before.number, entry.position);
        building.put(number, request, &entry, tail.count)?;
        if let Some(key) = name {
            let name = Name { position, event };
            building.batch.name(key, name);
            building.names.insert(key, name);
        }
        if before.tail.count == 0 {
            building.batch.conversation(conversation, number);
        }
        self.ends.insert(conversation.clone(), End { number, tail });
        Ok(Appended::New(entry))
    }

    fn end(
        &mut self,
        building: &Building<'_>,
        conversation: &ConversationId,
    ) -> Result<End, Unavailable> {
        if let Some(end) = self.ends.get_mut(conversation) {
            return Ok(*end);
        }
        if let Some(number) = building.view.number(conversation)? {
            let tail = building.view.tail(number)?;
            return Ok(End { number, tail });
        }
        let number = self.last_number.0.checked_add(1).map(Number);
        let number = number.ok_or_else(|| Unavailable::new("there are too many conversations"))?;
        self.last_number = number;
        let tail = Tail::default();
        Ok(End { number, tail })
    }

    fn take_quota(
        &mut self,
        conversation: &ConversationId,
        sender: &UserId,
        at: UnixMicros,
    ) -> bool {
        let key = (conversation.clone(), sender.clone());
        if let Some(quota) = self.quotas.get_mut(&key)
            && at.0.saturating_sub(quota.since.0) < QUOTA_PERIOD.0
        {
            let left = quota.used < QUOTA;
            quota.used += u32::from(left);
            return left;
        }
        self.quotas.insert(key, Quota { since: at, used: 1 });
        true
    }
}

impl Building<'_> {
    fn name(&self, key: &[u8; 4 + NAME_BYTES]) -> Result<Option<Name>, Unavailable> {
        match self.names.get(key) {
            Some(name) => Ok(Some(*name)),
            None => self.view.name(key),
        }
    }

    fn put(
        &mut self,
        conversation: Number,
        request: &Request,
        entry: &Arc<Entry>,
        count: u64,
    ) -> Result<(), Unavailable> {
        let value = Stored::encode(entry, count);
        match &entry.event {
            Event::Message { .. } => {
                self.batch.message(conversation, entry.position.id, value);
            }
            Event::Edit { message_id, .. } | Event::Delete { message_id } => {
                self.change(conversation, *message_id, entry)?;
                self.batch.event(conversation, entry.position, value);
            }
        }
        let (id, origin) = (request.conversation.clone(), request.origin);
        let told = (conversation, id, origin, Arc::clone(entry));
        self.entries.push(told);
        Ok(())
    }

    fn change(
        &mut self,
        conversation: Number,
        id: MessageId,
        entry: &Entry,
    ) -> Result<(), Unavailable> {
        let key = (conversation, id);
        let known = match self.rows.remove(&key) {
            Some(row) => Some(row),
            None => match self.added(conversation, id) {
                Some(row) => Some(row),
                None => history::row(&self.view, conversation, id)?,
            },
        };
        // The caller judges whether the message exists; an event about none changes nothing.
        if let Some(mut row) = known {
            row.apply(entry);
            self.batch.change(conversation, &row);
            self.rows.insert(key, row);
        }
        Ok(())
    }

    /// A message that this batch adds.
    fn added(&self, conversation: Number, id: MessageId) -> Option<Row> {
        let wanted = Position::of(id);
        let mut added = self.entries.iter();
        let (.., entry) =
            added.find(|(c, .., entry)| entry.position == wanted && *c == conversation)?;
        Row::of(entry)
    }
}

/// The draft in its place after a conversation's end, and the end after it.
fn place(before: Tail, draft: &Draft) -> Result<(Arc<Entry>, Tail), Unavailable> {
    let is_message = draft.event.target().is_none();
    let position = after(before.position, is_message)?;
    let tail = Tail {
        position,
        t: draft.at.max(UnixMicros(before.t.0 + 1)),
        ordinal: before.ordinal + u64::from(is_message),
        count: before.count + 1,
    };
    let entry = Entry {
        position,
        prev: before.position,
        t: tail.t,
        ordinal: tail.ordinal,
        sender: draft.sender.clone(),
        local_id: draft.local_id.clone(),
        event: draft.event.clone(),
        trace: draft.trace.map(Box::new),
    };
    Ok((Arc::new(entry), tail))
}

/// The next position for a message or another event.
fn after(last: Position, is_message: bool) -> Result<Position, Unavailable> {
    let next = if is_message {
        let n = last.id.n() + 1;
        MessageId::of_epoch(last.id.epoch(), n).map(Position::of)
    } else {
        let k = last.k.checked_add(1);
        k.map(|k| Position { id: last.id, k })
    };
    next.ok_or_else(|| Unavailable::new("the conversation has no more ids"))
}

fn refuse(requests: impl IntoIterator<Item = Request>, reason: &Unavailable) {
    for request in requests {
        answer(request, Err(reason.clone()));
    }
}

/// An asker that is gone needs no answer.
fn answer(request: Request, answer: Answer) {
    let _ = request.answer.send(answer);
}
