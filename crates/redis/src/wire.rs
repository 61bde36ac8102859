//! What stands in the log and travels over pub/sub.
//!
//! An entry is a text: `<prev> <t> <ordinal> <count> <body>`, positions written as stream ids
//! (`456-0`), the body as JSON with short keys, so that `redis-cli` shows what is there. In the log
//! its id is its position; over pub/sub the text travels as it is, since the position follows from
//! the one before and the kind of event. A piece on a channel that is no entry begins with a sign for
//! its kind.

use std::sync::Arc;

use parlance_core::{
    entry::{Entry, Event},
    ports::{Cursor, Ephemeral, Heard},
};
use parlance_protocol::{LocalId, MessageId, Position, TraceParent, UnixMicros, UserId};
use serde::{Deserialize, Serialize};

/// What was read is not what this program writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what stands in Redis cannot be read: {what}")]
pub(crate) struct Garbled {
    what: &'static str,
}

const fn garbled(what: &'static str) -> Garbled {
    Garbled { what }
}

const SHORT_ENTRY: Garbled = garbled("an entry that is too short");
pub(crate) const SHORT: Garbled = garbled("a packed end of a conversation");
pub(crate) const NO_EVENT: Garbled = garbled("no event where one stands");
pub(crate) const VERSION: Garbled = garbled("a version that this program does not know");

/// The JSON of an event. `e` and `d`: the message that is edited or deleted.
#[derive(Debug, Serialize, Deserialize)]
struct Body<'a> {
    #[serde(default, skip_serializing_if = "str::is_empty", borrow)]
    s: std::borrow::Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    l: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    m: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    e: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    d: Option<u64>,
    /// The place that it was lost from, which is its name: it has no other.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    r: Option<std::borrow::Cow<'a, str>>,
    /// The trace that it was appended in, if that is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    tp: Option<std::borrow::Cow<'a, str>>,
    /// The epoch that begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<u32>,
}

/// An entry of the log, with how many durable events there are up to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) entry: Entry,
    pub(crate) count: u64,
    /// The place that it was lost from, if that is its name.
    pub(crate) lost_from: Option<Position>,
}

/// What an entry may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Read {
    Event(Logged),
    Mark(Mark),
}

/// The begin of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) epoch: u32,
    /// Where the one before ended.
    pub(crate) prev: Position,
    pub(crate) t: UnixMicros,
    pub(crate) ordinal: u64,
    pub(crate) count: u64,
}

impl Read {
    pub(crate) fn prev(&self) -> Position {
        match self {
            Self::Event(logged) => logged.entry.prev,
            Self::Mark(mark) => mark.prev,
        }
    }
}

/// The facts that the script gave an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) position: Position,
    pub(crate) prev: Position,
    pub(crate) t: UnixMicros,
    pub(crate) ordinal: u64,
    pub(crate) count: u64,
}

/// The body of an event as it is stored.
pub(crate) fn body(
    sender: &UserId,
    local_id: Option<&LocalId>,
    lost_from: Option<Position>,
    trace: Option<&TraceParent>,
    event: &Event,
) -> String {
    let (m, e, d) = match event {
        Event::Message { content } => (Some(&**content), None, None),
        Event::Edit {
            message_id,
            content,
        } => (Some(&**content), Some(message_id.get()), None),
        Event::Delete { message_id } => (None, None, Some(message_id.get())),
    };
    let body = Body {
        s: sender.as_str().into(),
        l: local_id.map(|name| name.as_str().into()),
        m: m.map(Into::into),
        e,
        d,
        r: lost_from.map(|position| stream_id(position).into()),
        tp: trace.map(|trace| trace.to_string().into()),
        mark: None,
    };
    serde_json::to_string(&body).expect("texts and numbers can always be written")
}

/// An event as the append script publishes it: what [`published`] reads.
pub(crate) fn event_text(entry: &Entry, count: u64) -> String {
    let Entry {
        prev, t, ordinal, ..
    } = entry;
    let body = body(
        &entry.sender,
        entry.local_id.as_ref(),
        None,
        entry.trace.as_deref(),
        &entry.event,
    );
    format!("{} {} {ordinal} {count} {body}", stream_id(*prev), t.0)
}

/// How the body of a mark begins, and no other.
const MARK: &str = "{\"mark\":";

/// The begin of an epoch as the mark script writes it.
pub(crate) fn mark_text(mark: &Mark) -> String {
    let Mark {
        epoch,
        prev,
        t,
        ordinal,
        count,
    } = mark;
    let prev = stream_id(*prev);
    format!("{prev} {} {ordinal} {count} {MARK}{epoch}}}", t.0)
}

/// What an event is and when it came, as the append script takes it.
pub(crate) fn kind(event: &Event, at: UnixMicros) -> String {
    let at = at.0;
    match event {
        Event::Message { .. } => format!("m{at}"),
        Event::Edit { message_id, .. } => format!("e{message_id} {at}"),
        Event::Delete { message_id } => format!("d{message_id} {at}"),
    }
}

/// As a stream id.
pub(crate) fn stream_id(position: Position) -> String {
    format!("{}-{}", position.id, position.k)
}

/// From a stream id.
pub(crate) fn position(text: &str) -> Result<Position, Garbled> {
    let parsed = text.split_once('-').and_then(|(id, k)| {
        Some(Position {
            id: MessageId::parse(id)?,
            k: k.parse().ok()?,
        })
    });
    parsed.ok_or(garbled("a position"))
}

fn number(text: &str) -> Result<u64, Garbled> {
    text.parse().map_err(|_| garbled("a number"))
}

/// `<position> <prev> <t> <ordinal> <count>`, and what follows.
pub(crate) fn facts(text: &str) -> Result<(Facts, &str), Garbled> {
    let (at, rest) = text.split_once(' ').ok_or(SHORT_ENTRY)?;
    facts_at(|_| position(at), rest)
}

/// `<prev> <t> <ordinal> <count>`, and what follows; the position may follow from the one before.
fn facts_at(
    at: impl FnOnce(Position) -> Result<Position, Garbled>,
    text: &str,
) -> Result<(Facts, &str), Garbled> {
    let mut parts = text.splitn(5, ' ');
    let mut next = || parts.next().ok_or(SHORT_ENTRY);
    let prev = position(next()?)?;
    let facts = Facts {
        position: at(prev)?,
        prev,
        t: UnixMicros(number(next()?)?),
        ordinal: number(next()?)?,
        count: number(next()?)?,
    };
    Ok((facts, parts.next().unwrap_or_default()))
}

/// An entry of the log: its position, its facts and its body.
pub(crate) fn entry(text: &str) -> Result<Read, Garbled> {
    let (facts, body) = facts(text)?;
    Ok(read(facts, said(body)?))
}

/// An entry as it is published and waits to be stored, without its position.
pub(crate) fn published(text: &str) -> Result<Read, Garbled> {
    let body = text.splitn(5, ' ').nth(4).ok_or(SHORT_ENTRY)?;
    let said = said(body)?;
    let (facts, _) = facts_at(|prev| after(prev, &said), text)?;
    Ok(read(facts, said))
}

/// The position of what follows `prev`.
fn after(prev: Position, said: &Said) -> Result<Position, Garbled> {
    let position = match said {
        Said::Mark(epoch) => MessageId::of_epoch(*epoch, 0).map(Position::of),
        Said::Event { event, .. } => match event {
            Event::Message { .. } => MessageId::new(prev.id.get() + 1).map(Position::of),
            Event::Edit { .. } | Event::Delete { .. } => Some(Position {
                id: prev.id,
                k: prev.k.saturating_add(1),
            }),
        },
    };
    position.ok_or(garbled("a position"))
}

/// What a body says.
enum Said {
    Event {
        sender: UserId,
        local_id: Option<LocalId>,
        lost_from: Option<Position>,
        trace: Option<Box<TraceParent>>,
        event: Event,
    },
    Mark(u32),
}

fn said(body: &str) -> Result<Said, Garbled> {
    let body: Body<'_> = serde_json::from_str(body).map_err(|_| garbled("a body"))?;
    if let Some(epoch) = body.mark {
        return Ok(Said::Mark(epoch));
    }
    let id = |id| MessageId::new(id).ok_or(garbled("a message id"));
    let event = match (body.m, body.e, body.d) {
        (Some(content), None, None) => Event::Message {
            content: content.into(),
        },
        (Some(content), Some(message_id), None) => Event::Edit {
            message_id: id(message_id)?,
            content: content.into(),
        },
        (None, None, Some(message_id)) => Event::Delete {
            message_id: id(message_id)?,
        },
        _ => return Err(garbled("a kind of event")),
    };
    let local_id = body.l.map(|name| LocalId::new(&name)).transpose();
    Ok(Said::Event {
        sender: UserId::new(&body.s).map_err(|_| garbled("a sender"))?,
        local_id: local_id.map_err(|_| garbled("a local_id"))?,
        lost_from: body.r.as_deref().map(position).transpose()?,
        trace: body
            .tp
            .as_deref()
            .and_then(TraceParent::parse)
            .map(Box::new),
        event,
    })
}

fn read(facts: Facts, said: Said) -> Read {
    let Facts {
        position,
        prev,
        t,
        ordinal,
        count,
    } = facts;
    match said {
        Said::Mark(epoch) => Read::Mark(Mark {
            epoch,
            prev,
            t,
            ordinal,
            count,
        }),
        Said::Event {
            sender,
            local_id,
            lost_from,
            trace,
            event,
        } => {
            let entry = Entry {
                position,
                prev,
                t,
                ordinal,
                sender,
                local_id,
                event,
                trace,
            };
            Read::Event(Logged {
                entry,
                count,
                lost_from,
            })
        }
    }
}

/// A line of typing as it travels.
#[derive(Debug, Serialize, Deserialize)]
struct Typing<'a> {
    #[serde(borrow)]
    u: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    n: std::borrow::Cow<'a, str>,
    t: bool,
}

/// What an adapter publishes by itself for an ephemeral; the others are published by the scripts
/// that decide whether there is anything to tell.
pub(crate) fn ephemeral(ephemeral: &Ephemeral) -> String {
    match ephemeral {
        Ephemeral::Typing {
            user,
            username,
            is_typing,
        } => {
            let typing = Typing {
                u: user.as_str().into(),
                n: (&**username).into(),
                t: *is_typing,
            };
            let json = serde_json::to_string(&typing);
            format!("T{}", json.expect("texts can always be written"))
        }
        Ephemeral::WhoTypes => "W".to_owned(),
        Ephemeral::Online { user, at } => format!("+{} {user}", at.0),
        Ephemeral::Offline { user, at } => format!("-{} {user}", at.0),
        Ephemeral::Cursor {
            user,
            cursor,
            at,
            listed: ids,
        } => {
            let (at, listed) = (at.0, listed(ids));
            format!("C{at} {} {} {listed} {user}", cursor.delivered, cursor.read)
        }
    }
}

/// Ids with commas between.
pub(crate) fn listed(ids: &[MessageId]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    ids.join(",")
}

/// Says that something published here was dropped on the way.
pub(crate) const DROPPED: &str = "?";

/// What came over a conversation's channel, piece by piece into `hear`.
pub(crate) fn push(payload: &str, mut hear: impl FnMut(Heard)) -> Result<(), Garbled> {
    let mut chars = payload.chars();
    match chars.next() {
        Some('0'..='9') => {
            for line in payload.split('\n') {
                hear(match published(line)? {
                    Read::Event(logged) => Heard::Entry(Arc::new(logged.entry)),
                    // The epoch changed, and that has to be read.
                    Read::Mark(_) => Heard::Doubt,
                });
            }
        }
        Some('T') => hear(Heard::Ephemeral(typing(chars.as_str())?)),
        Some('+') => {
            let (user, at) = user_at(chars.as_str())?;
            hear(Heard::Ephemeral(Ephemeral::Online { user, at }));
        }
        Some('-') => {
            let (user, at) = user_at(chars.as_str())?;
            hear(Heard::Ephemeral(Ephemeral::Offline { user, at }));
        }
        Some('W') => hear(Heard::Ephemeral(Ephemeral::WhoTypes)),
        Some('C') => hear(Heard::Ephemeral(cursor(chars.as_str())?)),
        Some('S') => hear(stored(chars.as_str())?),
        Some('?') => hear(Heard::Doubt),
        // From a later version; what matters is in the log.
        Some(_) | None => {}
    }
    Ok(())
}

/// What the last event of a push follows. Nothing for a push of anything else, a mark among them:
/// a mark may follow a position above which something was lost.
pub(crate) fn last_prev(payload: &str) -> Option<Position> {
    if !payload.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let mut parts = payload.rsplit('\n').next()?.splitn(5, ' ');
    let prev = parts.next()?;
    let body = parts.nth(3)?;
    (!body.starts_with(MARK)).then(|| position(prev).ok())?
}

fn stored(text: &str) -> Result<Heard, Garbled> {
    let (epoch, up_to) = text.split_once(' ').ok_or(garbled("a watermark"))?;
    Ok(Heard::Stored {
        epoch: epoch.parse().map_err(|_| garbled("an epoch"))?,
        up_to: position(up_to)?,
    })
}

fn typing(json: &str) -> Result<Ephemeral, Garbled> {
    let typing: Typing<'_> = serde_json::from_str(json).map_err(|_| garbled("typing"))?;
    Ok(Ephemeral::Typing {
        user: user(&typing.u)?,
        username: (&*typing.n).into(),
        is_typing: typing.t,
    })
}

fn user(text: &str) -> Result<UserId, Garbled> {
    UserId::new(text).map_err(|_| garbled("a user"))
}

fn user_at(text: &str) -> Result<(UserId, UnixMicros), Garbled> {
    let (at, name) = text.split_once(' ').ok_or(garbled("presence"))?;
    let at = at.parse().map_err(|_| garbled("a time"))?;
    Ok((user(name)?, UnixMicros(at)))
}

fn cursor(text: &str) -> Result<Ephemeral, Garbled> {
    let mut parts = text.splitn(5, ' ');
    let mut next = || parts.next().ok_or(garbled("a cursor"));
    let at = next()?.parse().map_err(|_| garbled("a time"))?;
    let mut id = |text: &str| MessageId::parse(text).ok_or(garbled("a message id"));
    let cursor = Cursor {
        delivered: id(next()?)?,
        read: id(next()?)?,
    };
    let listed = next()?;
    let ids = listed.split(',').filter(|text| !text.is_empty());
    Ok(Ephemeral::Cursor {
        listed: ids.map(&mut id).collect::<Result<_, _>>()?,
        user: user(next()?)?,
        cursor,
        at: UnixMicros(at),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(n: u64) -> MessageId {
        MessageId::new(n).unwrap()
    }

    fn any_trace() -> impl Strategy<Value = Option<Box<TraceParent>>> {
        any::<([u8; 16], [u8; 8], bool)>().prop_map(|(trace, span, is_sampled)| {
            TraceParent::new(trace, span, is_sampled).map(Box::new)
        })
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            "\\PC{1,40}".prop_map(|content| Event::Message {
                content: content.into()
            }),
            (1..1_u64 << 53, "\\PC{1,40}").prop_map(|(n, content)| Event::Edit {
                message_id: id(n - 1),
                content: content.into()
            }),
            (1..1_u64 << 53).prop_map(|n| Event::Delete {
                message_id: id(n - 1)
            }),
        ]
    }

    fn any_ephemeral() -> impl Strategy<Value = Ephemeral> {
        let user = || "[^\\p{Cc}]{1,20}".prop_map(|name| UserId::new(&name).unwrap());
        let at = || (0..1_u64 << 52).prop_map(UnixMicros);
        let ids = proptest::collection::vec((0..1_u64 << 53).prop_map(id), 0..4);
        prop_oneof![
            (user(), "\\PC{0,20}", any::<bool>()).prop_map(|(user, name, is_typing)| {
                Ephemeral::Typing {
                    user,
                    username: name.as_str().into(),
                    is_typing,
                }
            }),
            (user(), at()).prop_map(|(user, at)| Ephemeral::Online { user, at }),
            (user(), at()).prop_map(|(user, at)| Ephemeral::Offline { user, at }),
            (user(), at(), ids, 0..1_u64 << 53).prop_map(|(user, at, listed, n)| {
                Ephemeral::Cursor {
                    user,
                    cursor: Cursor {
                        delivered: id(n),
                        read: id(n / 2),
                    },
                    at,
                    listed: listed.into(),
                }
            }),
        ]
    }

    #[test]
    fn a_mark_that_is_given_back_reads_as_one() {
        let mark = Mark {
            epoch: 3,
            prev: Position { id: id(7), k: 1 },
            t: UnixMicros(123),
            ordinal: 5,
            count: 6,
        };
        assert_eq!(published(&mark_text(&mark)), Ok(Read::Mark(mark)));
    }

    proptest! {
        #[test]
        fn entries_are_read_as_they_were_written(
            event in any_event(),
            sender in "[^\\p{Cc}]{1,20}",
            local_id in proptest::option::of("\\PC{1,20}"),
            n in 0..1_u64 << 53,
            k in 0..9_u32,
            trace in any_trace(),
        ) {
            let sender = UserId::new(&sender).unwrap();
            let local_id = local_id.map(|name| LocalId::new(&name).unwrap());
            let lost_from = (k > 5).then_some(Position { id: id(n), k });
            let body = body(&sender, local_id.as_ref(), lost_from, trace.as_deref(), &event);
            prop_assert!(!body.contains('\n'));
            let position = Position { id: id(n), k };
            let text = format!("{} 7-1 123 5 6 {body}", stream_id(position));
            let Read::Event(read) = entry(&text).unwrap() else { panic!("a mark") };
            prop_assert_eq!(read.count, 6);
            prop_assert_eq!(read.lost_from, lost_from);
            let prev = Position { id: id(7), k: 1 };
            let t = UnixMicros(123);
            let expected = Entry { position, prev, t, ordinal: 5, sender, local_id, event, trace };
            prop_assert_eq!(read.entry, expected);
        }

        #[test]
        fn what_is_given_back_reads_as_what_was_published(
            event in any_event(),
            local_id in proptest::option::of("\\PC{1,20}"),
            n in 1..1_u64 << 52,
            trace in any_trace(),
        ) {
            let prev = Position::of(id(n));
            let position = match &event {
                Event::Message { .. } => Position::of(id(n + 1)),
                Event::Edit { .. } | Event::Delete { .. } => Position { id: id(n), k: 1 },
            };
            let entry = Entry {
                position,
                prev,
                t: UnixMicros(123),
                ordinal: 5,
                sender: UserId::new("ann").unwrap(),
                local_id: local_id.map(|name| LocalId::new(&name).unwrap()),
                event,
                trace,
            };
            let read = published(&event_text(&entry, 6)).unwrap();
            prop_assert_eq!(read, Read::Event(Logged { entry, count: 6, lost_from: None }));
        }

        #[test]
        fn what_is_published_is_heard_with_its_position(
            event in any_event(),
            n in 1..1_u64 << 52,
            k in 0..9_u32,
        ) {
            let sender = UserId::new("ann").unwrap();
            let prev = Position { id: id(n), k };
            let position = match &event {
                Event::Message { .. } => Position::of(id(n + 1)),
                Event::Edit { .. } | Event::Delete { .. } => Position { id: id(n), k: k + 1 },
            };
            let body = body(&sender, None, None, None, &event);
            let told = format!("{} 123 5 6 {body}", stream_id(prev));
            let logged = entry(&format!("{} {told}", stream_id(position))).unwrap();
            let Read::Event(Logged { entry, .. }) = logged else { panic!("a mark") };
            let mut heard = Vec::new();
            push(&format!("{told}\n{told}"), |piece| heard.push(piece)).unwrap();
            let expected = Heard::Entry(Arc::new(entry));
            prop_assert_eq!(heard, [expected.clone(), expected]);
        }

        #[test]
        fn ephemerals_are_heard_as_they_were_said(said in any_ephemeral()) {
            let mut heard = Vec::new();
            push(&ephemeral(&said), |piece| heard.push(piece)).unwrap();
            prop_assert_eq!(heard, [Heard::Ephemeral(said)]);
        }

        #[test]
        fn whatever_comes_is_heard_or_refused(payload in "\\PC{0,60}|[0-9EST+C?-][0-9 ,{}\"a-z-]{0,60}") {
            let _ = push(&payload, |_| {});
        }
    }

    #[test]
    fn a_mark_is_told_from_events() {
        let text = "10000000000-0 5-2 99 5 7 {\"mark\":1}";
        let mark = entry(text).unwrap();
        assert_eq!(mark.prev(), Position { id: id(5), k: 2 });
        let mut heard = Vec::new();
        let (_, told) = text.split_once(' ').unwrap();
        push(told, |piece| heard.push(piece)).unwrap();
        assert_eq!(heard, [Heard::Doubt]);
    }

    #[test]
    fn a_watermark_is_heard_with_its_epoch() {
        let mut heard = Vec::new();
        push("S3 30000000007-2", |piece| heard.push(piece)).unwrap();
        let up_to = Position {
            id: id(30_000_000_007),
            k: 2,
        };
        assert_eq!(heard, [Heard::Stored { epoch: 3, up_to }]);
    }
}
