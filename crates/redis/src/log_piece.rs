//! One reading of a conversation's log: a piece of it, and which ids exist.
//!
//! A log has no holes and nothing that was lost: one that fell behind the store begins anew
//! (`mark.lua`). But it begins somewhere, and its first entry names the position before it.

use std::rc::Rc;

use parlance_core::{entry::Row, lineage::Lineage, ports::Unavailable, store::Store};
use parlance_protocol::{ConversationId, MessageId, Position};
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

/// Where a reading begins, and which way it goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Start {
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
pub(crate) enum What {
    Messages,
    Events,
}

/// A piece of a log.
pub(crate) struct Piece {
    pub(crate) meta: Meta,
    pub(crate) lineage: Lineage,
    /// The position before the log's first entry; `None` when the log is empty.
    begins_after: Option<Position>,
    /// In the order of the reading.
    pub(crate) events: Vec<Shown>,
}

/// An event, and for a message how it is shown.
pub(crate) struct Shown {
    pub(crate) logged: Logged,
    pub(crate) row: Option<Row>,
}

impl Piece {
    /// Whether the log has everything there is behind `position`.
    pub(crate) fn reaches(&self, position: Position) -> bool {
        match self.begins_after {
            Some(before) => before <= position,
            None => self.meta.head <= position,
        }
    }

    /// The longest run of events right behind `after`, without a hole.
    pub(crate) fn run_behind(self, after: Position) -> Vec<Shown> {
        let Self {
            lineage, events, ..
        } = self;
        let mut last = after;
        let next_in_line = |shown: &Shown| {
            let entry = &shown.logged.entry;
            let is_next = lineage.event_up_to(entry.prev) <= last;
            last = entry.position;
            is_next
        };
        events.into_iter().take_while(next_in_line).collect()
    }
}

/// Reads a piece, and what exists.
///
/// # Errors
/// [`Unavailable`], also when the store has to be asked where earlier epochs ended, and is not there.
pub(crate) async fn read<S: Store>(
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
    let raw = raw(answer).map_err(Unavailable::from)?;
    io.note_epoch(keys.partition, raw.meta.epoch);
    io.confirm(conversation, keys.partition, raw.meta.head, &run)
        .await?;
    let lineage = io.lineage(conversation, &raw.meta).await?;
    let events = raw.texts.chunks_exact(6).map(shown);
    let events: Result<Vec<_>, Garbled> = events.collect();
    Ok(Piece {
        meta: raw.meta,
        lineage,
        begins_after: raw.begins_after,
        events: events.map_err(|error| Unavailable::from(garbled(error)))?,
    })
}

/// What the script answers, half read.
struct Raw {
    meta: Meta,
    begins_after: Option<Position>,
    /// Position and text of each event, of its edit and of its delete.
    texts: Vec<String>,
}

fn garbled(error: Garbled) -> CallError {
    answer::unexpected(&error.to_string())
}

fn raw(answer: Value) -> Result<Raw, CallError> {
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
    Ok(Raw {
        meta,
        begins_after,
        texts: values.map(answer::text).collect::<Result<_, _>>()?,
    })
}

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
