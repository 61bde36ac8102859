//! The way of an append: queued per conversation, sent together, settled one call after the other.
//!
//! One call of a conversation is under way at a time. What comes meanwhile waits and goes in the
//! next call, together: so order costs nothing, and a busy conversation costs Redis less per event.
//! Different conversations do not wait for each other, and share a call when they are ready at the
//! same time (`gather`).

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use parlance_core::{
    entry::{Draft, Entry},
    ports::{Appended, Unavailable},
    store::{NameDigest, Named, Store},
};
use parlance_feed::FeedId;
use parlance_protocol::{ConversationId, Position};
use redis::Value;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

use crate::{
    answer::{self, Need},
    digest,
    gather::{BYTES_PER_CALL, EVENTS_PER_CALL, Part},
    io::{ELSEWHERE_PAUSE, Io},
    link::CallError,
    partition::Keys,
    wire,
};

/// Events of one conversation that wait. Beyond it: unavailable.
const WAITING: usize = 4096;
/// An older action is not sent any more: what was read for it may not hold.
const TOO_OLD: Duration = Duration::from_secs(10);

/// An event that waits for its place.
pub(crate) struct Waiting {
    pub(crate) draft: Draft,
    pub(crate) answer: oneshot::Sender<Result<Appended, Unavailable>>,
    /// Of the shard that waits.
    pub(crate) feed: FeedId,
    pub(crate) since: Instant,
}

/// The queue of each conversation that has something under way.
#[derive(Default)]
pub(crate) struct Lines {
    waiting: RefCell<HashMap<ConversationId, VecDeque<Waiting>>>,
}

impl Lines {
    /// Takes an event. Its place among the others of its conversation is settled here.
    pub(crate) fn queue<S: Store>(io: &Rc<Io<S>>, conversation: ConversationId, one: Waiting) {
        let mut waiting = io.lines.waiting.borrow_mut();
        match waiting.get_mut(&conversation) {
            Some(line) if line.len() >= WAITING => {
                // Nobody waits for the answer any more: then there is none.
                let _ = one
                    .answer
                    .send(Err(Unavailable::new("too many appends wait")));
            }
            Some(line) => line.push_back(one),
            None => {
                waiting.insert(conversation.clone(), VecDeque::from([one]));
                tokio::task::spawn_local(run(Rc::clone(io), conversation));
            }
        }
    }

    /// The next call's events. The line ends when there are none.
    fn take(&self, conversation: &ConversationId) -> Vec<Waiting> {
        let mut waiting = self.waiting.borrow_mut();
        let Some(line) = waiting.get_mut(conversation) else {
            return Vec::new();
        };
        let mut bytes = 0;
        let mut taken = Vec::new();
        while let Some(one) = line.front() {
            bytes += content_bytes(&one.draft);
            if taken.len() == EVENTS_PER_CALL || (bytes > BYTES_PER_CALL && !taken.is_empty()) {
                break;
            }
            taken.extend(line.pop_front());
        }
        if taken.is_empty() {
            waiting.remove(conversation);
        }
        taken
    }
}

fn content_bytes(draft: &Draft) -> usize {
    match &draft.event {
        parlance_core::entry::Event::Message { content }
        | parlance_core::entry::Event::Edit { content, .. } => content.len(),
        parlance_core::entry::Event::Delete { .. } => 0,
    }
}

async fn run<S: Store>(io: Rc<Io<S>>, conversation: ConversationId) {
    let keys = Keys::of(&conversation);
    loop {
        let batch = io.lines.take(&conversation);
        if batch.is_empty() {
            return;
        }
        let settled = settle(&io, &conversation, &keys, &batch).await;
        let results: Vec<_> = match settled {
            Ok(results) => results,
            Err(reason) => batch.iter().map(|_| Err(reason.clone())).collect(),
        };
        for (one, result) in batch.into_iter().zip(results) {
            if let Ok(Appended::New(entry)) = &result {
                io.table.answered(&conversation, one.feed, entry);
            }
            let _ = one.answer.send(result);
        }
    }
}

/// An event as the script takes it.
struct Prepared {
    names_key: String,
    /// Name and content digest, or nothing.
    named: Vec<u8>,
    kind: String,
    looked: Vec<u8>,
    body: String,
}

/// What the store said, and when it was found to be needed.
#[derive(Default)]
struct Looked {
    breaks: Vec<u8>,
    found: String,
}

async fn settle<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    keys: &Keys,
    batch: &[Waiting],
) -> Result<Vec<Result<Appended, Unavailable>>, Unavailable> {
    let oldest = batch.iter().map(|one| one.since).min();
    let mut events: Vec<Prepared> = batch
        .iter()
        .map(|one| prepare(io, conversation, keys, &one.draft))
        .collect();
    let mut looked = None;
    loop {
        if oldest.is_some_and(|since| since.elapsed() > TOO_OLD) {
            return Err(Unavailable::new("the append took too long"));
        }
        let writer = io.writer(keys.partition).await?;
        let part = part(io, conversation, keys, &events, looked.as_ref());
        io.metrics.appends_in_flight.increment(events.len() as f64);
        let news = || news_of(events.iter().map(|event| event.body.clone()).collect());
        let answer = writer.append(part, &keys.channel, news).await;
        io.metrics.appends_in_flight.decrement(events.len() as f64);
        let answer = match answer {
            Ok(answer) => answer,
            Err(CallError::Elsewhere(_)) => {
                io.shards.look.notify_one();
                sleep(ELSEWHERE_PAUSE).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match answered(answer)? {
            Answered::Needs(need) => Box::pin(io.satisfy(conversation, keys, need)).await?,
            Answered::NeedsLookUp { indices, found } => {
                let breaks = look_up(io, conversation, batch, &mut events, &indices).await?;
                looked = Some(Looked { breaks, found });
            }
            Answered::Settled(answers) => {
                let results = answers.iter().zip(batch);
                let results = results.map(|(text, one)| appended(io, keys, text, &one.draft));
                return Ok(results.collect::<Result<_, CallError>>()?);
            }
        }
    }
}

/// What is published of a call once its result is known: the same text as the script publishes.
fn news_of(bodies: Vec<String>) -> impl Fn(&Value) -> Option<String> {
    move |answer| {
        let Value::Array(answers) = answer else {
            return None;
        };
        let lines = answers.iter().zip(&bodies).filter_map(|(answer, body)| {
            let Value::BulkString(text) = answer else {
                return None;
            };
            let answer = std::str::from_utf8(text).ok()?.strip_prefix('N')?;
            let (_, facts) = answer.split_once(' ')?;
            Some(format!("{facts} {body}"))
        });
        let lines: Vec<String> = lines.collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

fn prepare<S: Store>(
    io: &Io<S>,
    conversation: &ConversationId,
    keys: &Keys,
    draft: &Draft,
) -> Prepared {
    let name = digest::name_of(draft.local_id.as_ref(), draft.restores);
    let asks = draft.retry && name.is_some() && io.store.is_some();
    let named = |name: NameDigest| [&name.0[..], &digest::content_of(&draft.event).0].concat();
    Prepared {
        names_key: match name {
            Some(_) => keys.names(conversation, &draft.sender),
            None => keys.meta.clone(),
        },
        named: name.map_or_else(Vec::new, named),
        kind: wire::kind(&draft.event, draft.at),
        looked: if asks { b"?".to_vec() } else { Vec::new() },
        body: body(draft),
    }
}

fn body(draft: &Draft) -> String {
    let local_id = draft.local_id.as_ref();
    let lost_from = draft.restores.filter(|_| local_id.is_none());
    wire::body(
        &draft.sender,
        local_id,
        lost_from,
        draft.trace.as_ref(),
        &draft.event,
    )
}

/// This conversation's part of a call.
fn part<S: Store>(
    io: &Io<S>,
    conversation: &ConversationId,
    keys: &Keys,
    events: &[Prepared],
    looked: Option<&Looked>,
) -> Part {
    let mut part = Part::new(keys.partition, events.len());
    for key in [&keys.epoch, &keys.meta, &keys.log] {
        part.keys.push(key.as_bytes());
    }
    if io.store.is_some() {
        part.keys.push(keys.ingest.as_bytes());
    }
    part.arguments.push(events.len().to_string().as_bytes());
    part.arguments.push(keys.channel.as_bytes());
    match io.store {
        Some(_) => part.arguments.push(conversation.as_str().as_bytes()),
        None => {
            let kept = format!("{} {}", io.retention.entries, io.retention_ms());
            part.arguments.push(kept.as_bytes());
        }
    }
    let (breaks, found) = looked.map_or((&[][..], ""), |looked| (&*looked.breaks, &*looked.found));
    part.arguments.push(breaks);
    part.arguments.push(found.as_bytes());
    for event in events {
        part.keys.push(event.names_key.as_bytes());
        part.arguments.push(&event.named);
        part.arguments.push(event.kind.as_bytes());
        part.arguments.push(&event.looked);
        part.arguments.push(event.body.as_bytes());
    }
    part
}

/// What the script says.
enum Answered {
    Needs(Need),
    NeedsLookUp {
        indices: Vec<usize>,
        /// When, by the server's clock, and in which epoch.
        found: String,
    },
    Settled(Vec<String>),
}

fn answered(answer: Value) -> Result<Answered, CallError> {
    if let Some(need) = answer::need(&answer) {
        return Ok(Answered::Needs(need));
    }
    if let Value::BulkString(text) = &answer
        && let Some(indices) = text.strip_prefix(b"L")
    {
        let text = String::from_utf8_lossy(indices);
        let (found, indices) = text.split_once(' ').unwrap_or_default();
        let indices = indices.split(',').filter_map(|index| index.parse().ok());
        return Ok(Answered::NeedsLookUp {
            indices: indices.collect(),
            found: found.to_owned(),
        });
    }
    Ok(Answered::Settled(answer::texts(answer)?))
}

/// Asks the store for what Redis does not remember, then for the epochs, and answers with their
/// breaks. The order matters: a hit is judged by breaks that are at least as new.
async fn look_up<S: Store>(
    io: &Io<S>,
    conversation: &ConversationId,
    batch: &[Waiting],
    events: &mut [Prepared],
    indices: &[usize],
) -> Result<Vec<u8>, Unavailable> {
    let Some(store) = &io.store else {
        return Err(Unavailable::new(
            "the log asks for a store where there is none",
        ));
    };
    for index in indices.iter().filter_map(|index| index.checked_sub(1)) {
        let (Some(one), Some(event)) = (batch.get(index), events.get_mut(index)) else {
            continue;
        };
        let draft = &one.draft;
        let name = digest::name_of(draft.local_id.as_ref(), draft.restores);
        let Some(name) = name else {
            continue;
        };
        let found = store.look_up(conversation, &one.draft.sender, name).await?;
        event.looked = if found.is_empty() {
            b"-".to_vec()
        } else {
            let hit = |named: &Named| packed(named.position, &named.content.0);
            found.iter().flat_map(hit).collect()
        };
    }
    let rows = store.epochs(conversation).await?;
    let breaks = rows.iter().filter_map(|row| {
        let at = row.broke_at?;
        Some([&row.epoch.to_be_bytes()[..], &packed(at, &[])].concat())
    });
    Ok(breaks.flatten().collect())
}

/// `>I7I3` and what follows.
fn packed(position: Position, rest: &[u8]) -> Vec<u8> {
    let (id, k) = (position.id.get().to_be_bytes(), position.k.to_be_bytes());
    [&id[1..], &k[1..], rest].concat()
}

/// What became of one event. A change of a message that was lost meanwhile is to be judged again.
fn appended<S: Store>(
    io: &Io<S>,
    keys: &Keys,
    text: &str,
    draft: &Draft,
) -> Result<Result<Appended, Unavailable>, CallError> {
    let garbled = |error: wire::Garbled| answer::unexpected(&error.to_string());
    match text.split_at_checked(1) {
        Some(("N", facts)) => {
            let (facts, _) = wire::facts(facts).map_err(garbled)?;
            io.note_epoch(keys.partition, facts.position.id.epoch());
            Ok(Ok(Appended::New(Arc::new(Entry {
                position: facts.position,
                prev: facts.prev,
                t: facts.t,
                ordinal: facts.ordinal,
                sender: draft.sender.clone(),
                local_id: draft.local_id.clone(),
                event: draft.event.clone(),
                trace: draft.trace.map(Box::new),
            }))))
        }
        Some(("D", answer)) => {
            let (position, epoch) = answer.split_once(' ').unwrap_or_default();
            let epoch = epoch.parse().map_err(|_| answer::unexpected(text))?;
            io.note_epoch(keys.partition, epoch);
            let position = wire::position(position).map_err(garbled)?;
            Ok(Ok(Appended::Duplicate(position)))
        }
        Some(("C", _)) => Ok(Ok(Appended::Conflict)),
        Some(("T", _)) => Ok(Ok(Appended::TooMany)),
        Some(("U", _)) => Ok(Err(Unavailable::new(
            "the message of this change was lost meanwhile",
        ))),
        _ => Err(answer::unexpected(text)),
    }
}
