//! History: from the log where it has it, else from the store.
//!
//! The log is read first, always. What it does not have any more was stored before it let it go, so
//! the store has it by the time that it is asked; and what changed a message that only the store
//! has is looked for in the log before, because it may be stored and let go meanwhile. Which messages
//! there are is known from the lineage alone, so a message that neither has is an error, and no page
//! ends early. Without a store, what the log does not have any more is said to be gone.

use std::{collections::HashMap, rc::Rc};

use parlance_core::{
    entry::{Entry, Event, Row},
    lineage::Lineage,
    ports::{Found, Page, Replay, Replayed, Unavailable},
    store::{RANGE_MAX, Store, StoredEvent},
};
use parlance_protocol::{Anchor, ConversationId, MessageId, Position, UserId};

use crate::{
    answer,
    io::Io,
    link::Call,
    log_piece::{Piece, Shown, Start, What, read},
    partition::Keys,
    scripts,
    wire::{self, Read},
};

/// Messages of one reading for [`authored`].
const AUTHORED_PAGE: usize = 200;
/// Readings of [`authored`].
const AUTHORED_PAGES: usize = 5;
/// How often a page is read again whose halves were of two epochs.
const TRIES: usize = 4;

fn gone() -> Unavailable {
    Unavailable::new("it is older than what the log keeps, and there is no store")
}

/// See [`parlance_core::ports::History::page`].
pub(crate) async fn page<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    anchor: Anchor,
    limit: u8,
) -> Result<Page, Unavailable> {
    let limit = usize::from(limit);
    match anchor {
        Anchor::Newest => older(io, conversation, Start::Newest, limit).await,
        Anchor::Before(id) => older(io, conversation, Start::Below(id), limit).await,
        Anchor::After(id) => newer(io, conversation, id, limit).await,
        Anchor::Around(id) => around(io, conversation, id, limit).await,
    }
}

async fn older<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    from: Start,
    limit: usize,
) -> Result<Page, Unavailable> {
    let piece = read(io, conversation, from, limit + 1, What::Messages).await?;
    let epoch = piece.meta.epoch;
    let mut ids = downwards(&piece, from, limit + 1);
    let mut has_more = ids.len() > limit;
    ids.truncate(limit);
    let rows = rows(io, conversation, piece, &ids).await?;
    // What is not in the log any more is more, too.
    has_more |= rows.len() < ids.len();
    Ok(Page {
        rows,
        has_more,
        has_more_after: false,
        epoch,
    })
}

/// The messages that a downward reading is about.
fn downwards(piece: &Piece, from: Start, count: usize) -> Vec<MessageId> {
    let top = match from {
        Start::Newest => Some(piece.meta.head.id),
        Start::DownFrom(id) => Some(id),
        Start::Below(id) => id.get().checked_sub(1).and_then(MessageId::new),
        Start::Above(_) | Start::Behind(_) | Start::At(_) => None,
    };
    top.map_or_else(Vec::new, |top| piece.lineage.down_from(top, count))
}

async fn newer<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    after: MessageId,
    limit: usize,
) -> Result<Page, Unavailable> {
    let from = Start::Above(after);
    let piece = read(io, conversation, from, limit + 1, What::Messages).await?;
    let epoch = piece.meta.epoch;
    let mut ids = piece.lineage.up_from(after, limit + 1);
    let has_more = ids.len() > limit;
    ids.truncate(limit);
    let mut rows = rows(io, conversation, piece, &ids).await?;
    rows.reverse();
    Ok(Page {
        rows,
        has_more,
        has_more_after: false,
        epoch,
    })
}

/// The message or the nearest below it, half of the others newer, half (the odd one too) older.
async fn around<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    id: MessageId,
    limit: usize,
) -> Result<Page, Unavailable> {
    let newer_limit = (limit - 1) / 2;
    let older_limit = limit - newer_limit;
    for _ in 0..TRIES {
        let below = older(io, conversation, Start::DownFrom(id), older_limit).await?;
        // Nothing at or below it: then the first one takes its place.
        let above_limit = newer_limit + usize::from(below.rows.is_empty());
        let above = newer(io, conversation, id, above_limit).await?;
        if below.epoch != above.epoch {
            continue;
        }
        let mut rows = above.rows;
        rows.extend(below.rows);
        return Ok(Page {
            rows,
            has_more: below.has_more,
            has_more_after: above.has_more,
            epoch: below.epoch,
        });
    }
    Err(Unavailable::new("the epoch changes again and again"))
}

/// How messages that exist are shown, in the order of `ids`. Without a store only those before the
/// first that is gone, at least one.
async fn rows<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    piece: Piece,
    ids: &[MessageId],
) -> Result<Vec<Row>, Unavailable> {
    let Piece {
        lineage, events, ..
    } = piece;
    let logged = events.into_iter().filter_map(|shown| shown.row);
    let mut known: HashMap<MessageId, Row> = logged.map(|row| (row.id, row)).collect();
    let missing: Vec<MessageId> = ids
        .iter()
        .copied()
        .filter(|id| !known.contains_key(id))
        .collect();
    if let Some(store) = &io.store {
        let stored = messages(io, store.as_ref(), conversation, &lineage, &missing).await?;
        let stored = stored.into_iter().filter_map(|(_, row)| row);
        known.extend(stored.map(|row| (row.id, row)));
    }
    let rows: Vec<Row> = ids.iter().map_while(|id| known.remove(id)).collect();
    match ids.get(rows.len()) {
        Some(id) if io.store.is_some() => Err(lacks(Position::of(*id))),
        Some(_) if rows.is_empty() => Err(gone()),
        Some(_) | None => Ok(rows),
    }
}

fn lacks(position: Position) -> Unavailable {
    Unavailable::new(format_args!(
        "neither log nor store has what stands at {position}"
    ))
}

/// Messages that the log does not have, with how each is shown.
async fn messages<S: Store>(
    io: &Rc<Io<S>>,
    store: &S,
    conversation: &ConversationId,
    lineage: &Lineage,
    ids: &[MessageId],
) -> Result<Vec<(StoredEvent, Option<Row>)>, Unavailable> {
    let late = changes(io, conversation, ids).await?;
    let mut all = Vec::new();
    for of_epoch in ids.chunk_by(|one, other| one.epoch() == other.epoch()) {
        let (Some(from), Some(to)) = (of_epoch.iter().min(), of_epoch.iter().max()) else {
            continue;
        };
        let stored = store.messages(conversation, *from, *to).await?;
        all.extend(stored.into_iter().map(|event| {
            let row = row_of(&event, &late, lineage);
            (event, row)
        }));
    }
    Ok(all)
}

/// How a stored event is shown, by what the store knows and by `late` changes; `None` if it is no
/// message.
fn row_of(event: &StoredEvent, late: &[Entry], lineage: &Lineage) -> Option<Row> {
    let mut row = Row::of(&event.entry)?;
    let mut changes: Vec<&Entry> = event
        .revisions
        .iter()
        .chain(late)
        .filter(|change| lineage.is_visible(change.position))
        .collect();
    changes.sort_by_key(|change| change.position);
    for change in changes {
        row.apply(change);
    }
    Some(row)
}

/// Edits and deletes of these messages that are in the log: they may not be stored yet.
async fn changes<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    ids: &[MessageId],
) -> Result<Vec<Entry>, Unavailable> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let keys = Keys::of(conversation);
    let mut call = Call::of(&scripts::CHANGES, [&*keys.log, &*keys.changes]);
    for id in ids {
        call = call.with(id.get());
    }
    let ask = async |link: Rc<crate::link::Link>| link.call(&call).await;
    let texts = answer::texts(io.read(keys.partition, ask).await?)?;
    let entries = texts.chunks_exact(2).map(|pair| {
        let read = wire::entry(&format!("{} {}", pair[0], pair[1]));
        match read.map_err(|error| answer::unexpected(&error.to_string()))? {
            Read::Event(logged) => Ok(Some(logged.entry)),
            Read::Mark(_) => Ok(None),
        }
    });
    let entries: Result<Vec<_>, Unavailable> = entries.collect();
    Ok(entries?.into_iter().flatten().collect())
}

/// See [`parlance_core::ports::History::replay`]. Without a store, what the log does not reach any
/// more is counted as remaining, without an end: nobody can go on from there by replaying.
pub(crate) async fn replay<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    after: Position,
    limit: usize,
) -> Result<Replay, Unavailable> {
    let limit = limit.clamp(1, RANGE_MAX);
    let from = Start::Behind(after);
    let piece = read(io, conversation, from, limit, What::Events).await?;
    let (epoch, head, count) = (piece.meta.epoch, piece.meta.head, piece.meta.count);
    let is_end = piece.lineage.event_up_to(head) <= after;
    let (lineage, reaches) = (piece.lineage.clone(), piece.reaches(after));
    let mut events: Vec<(Replayed, u64)> = Vec::new();
    if reaches || io.store.is_some() {
        events.extend(piece.run_behind(after).into_iter().map(replayed));
    }
    if events.is_empty() && !is_end {
        let Some(store) = &io.store else {
            let remaining = u64::MAX;
            return Ok(Replay {
                events: Vec::new(),
                remaining,
                epoch,
                head,
            });
        };
        events = stored_behind(io, store.as_ref(), conversation, &lineage, after, limit).await?;
    }
    let remaining = events.last().map_or(0, |(_, at)| count.saturating_sub(*at));
    Ok(Replay {
        events: events.into_iter().map(|(event, _)| event).collect(),
        remaining,
        epoch,
        head,
    })
}

/// With how many events there are up to it.
fn replayed(shown: Shown) -> (Replayed, u64) {
    let (entry, row) = (shown.logged.entry, shown.row);
    (Replayed { entry, row }, shown.logged.count)
}

/// The next events that only the store has: at least one.
async fn stored_behind<S: Store>(
    io: &Rc<Io<S>>,
    store: &S,
    conversation: &ConversationId,
    lineage: &Lineage,
    after: Position,
    limit: usize,
) -> Result<Vec<(Replayed, u64)>, Unavailable> {
    let Some((behind, up_to)) = lineage.part_after(after) else {
        return Err(lacks(after));
    };
    let late = lineage.up_from(behind.id, limit);
    let late = changes(io, conversation, &late).await?;
    let stored = store.events(conversation, behind, up_to, limit).await?;
    let mut last = after;
    let next_in_line = |event: &StoredEvent| {
        let is_next = lineage.event_up_to(event.entry.prev) <= last;
        last = event.entry.position;
        is_next
    };
    let run = stored.into_iter().take_while(next_in_line);
    let mut events: Vec<_> = run
        .map(|event| {
            let row = row_of(&event, &late, lineage);
            let entry = event.entry;
            (Replayed { entry, row }, event.count)
        })
        .collect();
    if events.is_empty() {
        return Err(lacks(behind));
    }
    for (event, _) in &mut events {
        fill_in(io, store, conversation, lineage, &mut event.entry).await?;
    }
    Ok(events)
}

/// An edit that the store refused has a place there and no content. It had no effect, so what it
/// says is what its message says.
async fn fill_in<S: Store>(
    io: &Rc<Io<S>>,
    store: &S,
    conversation: &ConversationId,
    lineage: &Lineage,
    entry: &mut Entry,
) -> Result<(), Unavailable> {
    if let Event::Edit {
        message_id,
        content,
    } = &mut entry.event
        && content.is_empty()
    {
        let found = messages(io, store, conversation, lineage, &[*message_id]).await?;
        let row = found.into_iter().find_map(|(_, row)| row);
        *content = row.map_or_else(|| content.clone(), |row| row.content);
    }
    Ok(())
}

/// See [`parlance_core::ports::History::at`].
pub(crate) async fn at<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    position: Position,
) -> Result<Option<Found>, Unavailable> {
    let Some((entry, row)) = event_at(io, conversation, position).await? else {
        return Ok(None);
    };
    let row = match (row, entry.event.target()) {
        (Some(row), _) => Some(row),
        (None, Some(target)) => {
            let message = event_at(io, conversation, Position::of(target)).await?;
            message.and_then(|(_, row)| row)
        }
        (None, None) => None,
    };
    Ok(row.map(|row| Found { entry, row }))
}

/// The event, and if it is a message how it is shown.
async fn event_at<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    position: Position,
) -> Result<Option<(Entry, Option<Row>)>, Unavailable> {
    if position == Position::ZERO {
        return Ok(None);
    }
    let from = Start::At(position);
    let mut piece = read(io, conversation, from, 1, What::Events).await?;
    if !piece.lineage.is_visible(position) || piece.lineage.event_up_to(position) != position {
        return Ok(None);
    }
    let events = std::mem::take(&mut piece.events);
    let mut events = events.into_iter();
    let logged = events.find(|shown| shown.logged.entry.position == position);
    if let Some(shown) = logged {
        return Ok(Some((shown.logged.entry, shown.row)));
    }
    let Some(store) = &io.store else {
        let before = Position {
            k: position.k.saturating_sub(1),
            ..position
        };
        let may_be_gone = position.k == 0 || !piece.reaches(before);
        return if may_be_gone { Err(gone()) } else { Ok(None) };
    };
    let lineage = &piece.lineage;
    stored_at(io, store.as_ref(), conversation, lineage, position).await
}

async fn stored_at<S: Store>(
    io: &Rc<Io<S>>,
    store: &S,
    conversation: &ConversationId,
    lineage: &Lineage,
    position: Position,
) -> Result<Option<(Entry, Option<Row>)>, Unavailable> {
    let id = position.id;
    let Some(before) = position.k.checked_sub(1) else {
        let mut found = messages(io, store, conversation, lineage, &[id]).await?;
        let (event, row) = found.pop().ok_or_else(|| lacks(position))?;
        return Ok(Some((event.entry, row)));
    };
    let before = Position { id, k: before };
    let found = store.events(conversation, before, position, 1).await?;
    let Some(StoredEvent { mut entry, .. }) = found.into_iter().next() else {
        return Ok(None);
    };
    fill_in(io, store, conversation, lineage, &mut entry).await?;
    Ok(Some((entry, None)))
}

/// See [`parlance_core::ports::History::authored`].
pub(crate) async fn authored<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    author: &UserId,
    above: MessageId,
    up_to: MessageId,
    limit: usize,
) -> Result<Vec<MessageId>, Unavailable> {
    let mut found = Vec::new();
    let mut from = Start::DownFrom(up_to);
    for _ in 0..AUTHORED_PAGES {
        let piece = read(io, conversation, from, AUTHORED_PAGE, What::Messages).await?;
        let mut ids = downwards(&piece, from, AUTHORED_PAGE);
        ids.retain(|id| *id > above);
        let Some(lowest) = ids.last().copied() else {
            break;
        };
        let rows = rows(io, conversation, piece, &ids).await?;
        let has_all = rows.len() == ids.len();
        let own = rows.into_iter().filter(|row| row.sender == *author);
        found.extend(own.map(|row| row.id));
        if found.len() >= limit || !has_all {
            break;
        }
        from = Start::Below(lowest);
    }
    found.truncate(limit);
    found.reverse();
    Ok(found)
}
