//! Pages, replays and look-ups. Each is one consistent view of the tables.

use parlance_core::{
    entry::Row,
    ports::{Found, Page, Replay, Replayed, Unavailable},
};
use parlance_protocol::{Anchor, ConversationId, MessageId, Position, UserId};

use crate::{
    keys::Number,
    tables::{Tables, Tail, View},
    values::Stored,
};

/// How far [`authored`] looks for messages of one author.
const AUTHORED_SCAN: usize = 500;

pub(crate) fn page(
    tables: &Tables,
    conversation: &ConversationId,
    anchor: Anchor,
    limit: u8,
) -> Result<Page, Unavailable> {
    let view = tables.view();
    let Some(conversation) = view.number(conversation)? else {
        return Ok(Page::default());
    };
    let limit = usize::from(limit);
    let (older, newer) = match anchor {
        Anchor::Newest => (Some((None, limit)), None),
        Anchor::Before(id) => (Some((Some(id), limit)), None),
        Anchor::After(id) => (None, Some((next(id), limit))),
        Anchor::Around(id) => {
            let Some(id) = nearest(&view, conversation, id)? else {
                return Ok(Page::default());
            };
            let newer = limit.saturating_sub(1) / 2;
            (
                Some((Some(next(id)), limit - newer)),
                Some((next(id), newer)),
            )
        }
    };

    let mut page = Page::default();
    if let Some((from, count)) = newer {
        let (messages, more) = take(view.messages_from(conversation, from), count)?;
        page.rows.extend(messages.into_iter().rev());
        page.has_more_after = more;
    }
    if let Some((below, count)) = older {
        let (messages, more) = take(view.messages_below(conversation, below), count)?;
        page.rows.extend(messages);
        page.has_more = more;
    } else {
        page.has_more = std::mem::take(&mut page.has_more_after);
    }
    page.rows.reverse();
    change(&view, conversation, &mut page.rows)?;
    page.rows.reverse();
    Ok(page)
}

pub(crate) fn replay(
    tables: &Tables,
    conversation: &ConversationId,
    after: Position,
    limit: usize,
) -> Result<Replay, Unavailable> {
    let view = tables.view();
    let Some(conversation) = view.number(conversation)? else {
        return Ok(Replay::default());
    };
    let mut messages = view.messages_from(conversation, next(after.id)).peekable();
    let mut events = view.events_after(conversation, after).peekable();
    let mut merged = Vec::new();
    while merged.len() < limit.max(1) {
        let place = |item: &Result<Stored, Unavailable>| match item {
            Ok(stored) => stored.entry.position,
            Err(_) => Position::ZERO,
        };
        let message_is_next = match (messages.peek().map(place), events.peek().map(place)) {
            (None, None) => break,
            (Some(message), Some(event)) => message < event,
            (message, _) => message.is_some(),
        };
        let source: &mut dyn Iterator<Item = _> = if message_is_next {
            &mut messages
        } else {
            &mut events
        };
        merged.extend(source.next().transpose()?);
    }

    let tail = view.tail(conversation)?;
    let read = merged.last().map_or(tail.count, |last| last.count);
    let mut rows: Vec<Row> = merged.iter().filter_map(|s| Row::of(&s.entry)).collect();
    change(&view, conversation, &mut rows)?;
    let mut rows = rows.into_iter();
    let events = merged
        .into_iter()
        .map(|stored| Replayed {
            row: stored
                .entry
                .event
                .target()
                .is_none()
                .then(|| rows.next())
                .flatten(),
            entry: stored.entry,
        })
        .collect();
    Ok(Replay {
        events,
        remaining: tail.count.saturating_sub(read),
        epoch: 0,
        head: tail.position,
    })
}

pub(crate) fn at(
    tables: &Tables,
    conversation: &ConversationId,
    position: Position,
) -> Result<Option<Found>, Unavailable> {
    let view = tables.view();
    let Some(conversation) = view.number(conversation)? else {
        return Ok(None);
    };
    let stored = if position.k == 0 {
        view.message(conversation, position.id)?
    } else {
        view.event(conversation, position)?
    };
    let Some(Stored { entry, .. }) = stored else {
        return Ok(None);
    };
    let id = entry.event.target().unwrap_or(position.id);
    let row = row(&view, conversation, id)?;
    Ok(row.map(|row| Found { entry, row }))
}

/// A message as it is shown at present.
pub(crate) fn row(
    view: &View<'_>,
    conversation: Number,
    id: MessageId,
) -> Result<Option<Row>, Unavailable> {
    let stored = view.message(conversation, id)?;
    let Some(mut row) = stored.and_then(|stored| Row::of(&stored.entry)) else {
        return Ok(None);
    };
    if let Some(change) = view.change(conversation, id)? {
        change.apply(&mut row);
    }
    Ok(Some(row))
}

pub(crate) fn authored(
    tables: &Tables,
    conversation: &ConversationId,
    author: &UserId,
    above: MessageId,
    up_to: MessageId,
    limit: usize,
) -> Result<Vec<MessageId>, Unavailable> {
    let view = tables.view();
    let Some(conversation) = view.number(conversation)? else {
        return Ok(Vec::new());
    };
    let messages = view.messages_below(conversation, Some(next(up_to)));
    let mut ids = Vec::new();
    for message in messages.take(AUTHORED_SCAN) {
        let entry = message?.entry;
        if entry.position.id <= above || ids.len() == limit {
            break;
        }
        if entry.sender == *author {
            ids.push(entry.position.id);
        }
    }
    ids.reverse();
    Ok(ids)
}

pub(crate) fn tail(tables: &Tables, conversation: &ConversationId) -> Result<Tail, Unavailable> {
    let view = tables.view();
    match view.number(conversation)? {
        Some(number) => view.tail(number),
        None => Ok(Tail::default()),
    }
}

/// The id after `id`. Ids end far below where this would saturate.
fn next(id: MessageId) -> MessageId {
    MessageId::new(id.get() + 1).unwrap_or(id)
}

/// The message that a page around `id` is around: itself, or the nearest below it, or the first.
fn nearest(
    view: &View<'_>,
    conversation: Number,
    id: MessageId,
) -> Result<Option<MessageId>, Unavailable> {
    let below = view.messages_below(conversation, Some(next(id))).next();
    let nearest = match below {
        Some(message) => Some(message),
        None => view.messages_from(conversation, id).next(),
    };
    Ok(nearest.transpose()?.map(|stored| stored.entry.position.id))
}

/// Up to `count` rows, and whether there are more.
fn take(
    messages: impl Iterator<Item = Result<Stored, Unavailable>>,
    count: usize,
) -> Result<(Vec<Row>, bool), Unavailable> {
    let mut rows = Vec::with_capacity(count + 1);
    for message in messages.take(count + 1) {
        rows.extend(Row::of(&message?.entry));
    }
    let more = rows.len() > count;
    rows.truncate(count);
    Ok((rows, more))
}

/// Applies what edits and deletes made of `rows`, which are ascending by id.
fn change(view: &View<'_>, conversation: Number, rows: &mut [Row]) -> Result<(), Unavailable> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return Ok(());
    };
    for changed in view.changes(conversation, first.id, last.id) {
        let (id, change) = changed?;
        if let Ok(index) = rows.binary_search_by_key(&id, |row| row.id) {
            change.apply(&mut rows[index]);
        }
    }
    Ok(())
}
