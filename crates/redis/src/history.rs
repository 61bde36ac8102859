//! History as the log has it: pages, replays, single events.
//!
//! A log that was trimmed begins somewhere, and its first entry names the position before it. What
//! is asked for from before that is answered as unavailable, never with a page that looks like the
//! end.

use std::rc::Rc;

use parlance_core::{
    entry::Row,
    ports::{Found, Page, Replay, Replayed, Unavailable},
    store::Store,
};
use parlance_protocol::{Anchor, ConversationId, MessageId, Position, UserId};
use redis::Value;

use crate::{
    answer,
    io::Io,
    link::{Call, CallError},
    meta::Meta,
    partition::Keys,
    scripts,
    wire::{self, Garbled, Logged, Read},
};

/// Messages of one reading for [`authored`].
const AUTHORED_PAGE: usize = 200;
/// Readings of [`authored`].
const AUTHORED_PAGES: usize = 5;
/// How often a page is read again whose halves were of two epochs.
const TRIES: usize = 4;

/// Where a reading begins, and which way it goes.
#[derive(Debug, Clone, Copy)]
enum Start {
    /// Downwards from the end.
    Newest,
    /// Downwards, from everything of this message on.
    DownFrom(MessageId),
    /// Downwards, below this message.
    Below(MessageId),
    /// Upwards, above everything of this message.
    Above(MessageId),
    /// Upwards, behind this position.
    Behind(Position),
    /// Just there.
    At(Position),
}

impl Start {
    fn direction(self) -> &'static str {
        match self {
            Self::Newest | Self::DownFrom(_) | Self::Below(_) => "down",
            Self::Above(_) | Self::Behind(_) | Self::At(_) => "up",
        }
    }

    /// As XRANGE takes it. Only messages count in downward readings, and those are at `N-0`.
    fn bound(self) -> String {
        match self {
            Self::Newest => "+".to_owned(),
            Self::DownFrom(id) => format!("{id}-0"),
            // Nothing is below everything, and XREVRANGE refuses an open bound at its very end.
            Self::Below(id) if id == MessageId::ZERO => "0-0".to_owned(),
            Self::Below(id) => format!("({id}-0"),
            Self::Above(id) => format!("({id}-0"),
            Self::Behind(position) => format!("({}", wire::stream_id(position)),
            Self::At(position) => wire::stream_id(position),
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy)]
enum What {
    Messages,
    Events,
}

/// A piece of a log.
struct Piece {
    meta: Meta,
    /// The position before the log's first entry; `None` when the log is empty.
    begins_after: Option<Position>,
    events: Vec<Shown>,
}

/// An event, and for a message how it is shown.
struct Shown {
    logged: Logged,
    row: Option<Row>,
}

impl Piece {
    /// Whether the log has everything there is behind `position`.
    fn reaches(&self, position: Position) -> bool {
        match self.begins_after {
            Some(before) => before <= position,
            None => self.meta.head <= position,
        }
    }

    /// Whether there is anything before the log's first entry.
    fn is_whole(&self) -> bool {
        self.reaches(Position::ZERO)
    }

    fn rows(self, limit: usize) -> (Vec<Row>, bool) {
        let mut rows: Vec<Row> = self.events.into_iter().filter_map(|e| e.row).collect();
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        (rows, has_more)
    }
}

async fn read<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    from: Start,
    count: usize,
    what: What,
) -> Result<Piece, Unavailable> {
    let keys = Keys::of(conversation);
    let what = match what {
        What::Messages => "messages",
        What::Events => "events",
    };
    let bound = from.bound();
    let (answer, run) = io
        .ask(conversation, &keys, |run| {
            let all = [&*keys.epoch, &*keys.meta, &*keys.log, &*keys.changes];
            Call::of(&scripts::RANGE, all)
                .with(run.to_owned())
                .with(from.direction())
                .with(&*bound)
                .with(count as u64)
                .with(what)
        })
        .await?;
    let piece = piece(answer).map_err(Unavailable::from)?;
    io.note_epoch(keys.partition, piece.meta.epoch);
    io.confirm(conversation, keys.partition, piece.meta.head, &run)
        .await?;
    Ok(piece)
}

fn piece(answer: Value) -> Result<Piece, CallError> {
    let garbled = |error: Garbled| answer::unexpected(&error.to_string());
    let mut values = answer::list(answer)?.into_iter();
    let mut next = || {
        values
            .next()
            .ok_or_else(|| answer::unexpected("too little"))
    };
    let meta = Meta::unpack(&answer::bytes(next()?)?).map_err(garbled)?;
    let (first, text) = (answer::text(next()?)?, answer::text(next()?)?);
    let begins_after = match &*first {
        "" => None,
        first => Some(
            wire::entry(&format!("{first} {text}"))
                .map_err(garbled)?
                .prev(),
        ),
    };
    let texts: Vec<String> = values.map(answer::text).collect::<Result<_, _>>()?;
    let events = texts.chunks_exact(6).map(|six| shown(six).map_err(garbled));
    Ok(Piece {
        meta,
        begins_after,
        events: events.collect::<Result<_, _>>()?,
    })
}

/// Position and text of the event, of its edit and of its delete.
fn shown(six: &[String]) -> Result<Shown, Garbled> {
    let read = |at: usize| match (&*six[at], &*six[at + 1]) {
        ("", _) | (_, "") => Ok(None),
        (position, text) => wire::entry(&format!("{position} {text}")).map(Some),
    };
    let Some(Read::Event(logged)) = read(0)? else {
        return Err(wire::NO_EVENT);
    };
    let mut row = Row::of(&logged.entry);
    for change in [read(2)?, read(4)?] {
        if let (Some(row), Some(Read::Event(change))) = (&mut row, change) {
            row.apply(&change.entry);
        }
    }
    Ok(Shown { logged, row })
}

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
    let (epoch, is_whole) = (piece.meta.epoch, piece.is_whole());
    let has_messages = piece.meta.ordinal > 0;
    let (rows, has_more) = piece.rows(limit);
    if rows.is_empty() && !is_whole && has_messages {
        return Err(gone());
    }
    Ok(Page {
        // What is not in the log any more is more, too.
        has_more: has_more || (!is_whole && !rows.is_empty()),
        rows,
        has_more_after: false,
        epoch,
    })
}

async fn newer<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    after: MessageId,
    limit: usize,
) -> Result<Page, Unavailable> {
    let piece = read(
        io,
        conversation,
        Start::Above(after),
        limit + 1,
        What::Messages,
    )
    .await?;
    // A message's own edits stand behind it, so that the anchor is where they end.
    let end_of_anchor = Position {
        id: after,
        k: u32::MAX,
    };
    if !piece.reaches(end_of_anchor) {
        return Err(gone());
    }
    let epoch = piece.meta.epoch;
    let (mut rows, has_more) = piece.rows(limit);
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

/// See [`parlance_core::ports::History::replay`]. What the log does not reach any more is counted
/// as remaining, without an end: nobody can go on from there by replaying.
pub(crate) async fn replay<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    after: Position,
    limit: usize,
) -> Result<Replay, Unavailable> {
    let limit = limit.max(1);
    let piece = read(io, conversation, Start::Behind(after), limit, What::Events).await?;
    let (epoch, head) = (piece.meta.epoch, piece.meta.head);
    if !piece.reaches(after) {
        return Ok(Replay {
            events: Vec::new(),
            remaining: u64::MAX,
            epoch,
            head,
        });
    }
    let remaining = match piece.events.last() {
        Some(last) => piece.meta.count.saturating_sub(last.logged.count),
        None => 0,
    };
    let events = piece.events.into_iter().map(|shown| Replayed {
        entry: shown.logged.entry,
        row: shown.row,
    });
    Ok(Replay {
        events: events.collect(),
        remaining,
        epoch,
        head,
    })
}

/// See [`parlance_core::ports::History::at`].
pub(crate) async fn at<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    position: Position,
) -> Result<Option<Found>, Unavailable> {
    let Some(found) = event_at(io, conversation, position).await? else {
        return Ok(None);
    };
    let entry = found.logged.entry;
    let row = match (found.row, entry.event.target()) {
        (Some(row), _) => Some(row),
        (None, Some(target)) => {
            let message = event_at(io, conversation, Position::of(target)).await?;
            message.and_then(|message| message.row)
        }
        (None, None) => None,
    };
    Ok(row.map(|row| Found { entry, row }))
}

async fn event_at<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    position: Position,
) -> Result<Option<Shown>, Unavailable> {
    if position == Position::ZERO {
        return Ok(None);
    }
    let piece = read(io, conversation, Start::At(position), 1, What::Events).await?;
    let is_gone = piece.begins_after.is_none_or(|before| position <= before)
        && !piece.is_whole()
        && position <= piece.meta.head;
    let mut events = piece.events.into_iter();
    let found = events.find(|shown| shown.logged.entry.position == position);
    match found {
        None if is_gone => Err(gone()),
        found => Ok(found),
    }
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
    let mut ids = Vec::new();
    let mut from = Start::DownFrom(up_to);
    for _ in 0..AUTHORED_PAGES {
        let piece = read(io, conversation, from, AUTHORED_PAGE, What::Messages).await?;
        let is_last = piece.events.len() < AUTHORED_PAGE;
        let mut lowest = up_to;
        for shown in piece.events {
            let entry = shown.logged.entry;
            lowest = entry.position.id;
            if lowest <= above || ids.len() == limit {
                ids.reverse();
                return Ok(ids);
            }
            if entry.sender == *author {
                ids.push(lowest);
            }
        }
        if is_last {
            break;
        }
        from = Start::Below(lowest);
    }
    ids.reverse();
    Ok(ids)
}
