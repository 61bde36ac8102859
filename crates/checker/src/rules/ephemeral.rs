//! Receipts, presence and typing: lost without harm, but never wrong for long.

use std::collections::HashMap;

use parlance_protocol::Position;

use super::Case;
use crate::{
    recording::{Event, Layer, Member, Seen},
    verdict::Invariant,
};

/// Presence is right after this, in µs without a fault: a crashed node's users are gone in 15 s.
const PRESENCE_US: u64 = 20_000_000;
/// Typing ends after 6 s by itself, and a node that crashed is found out after its lease.
const TYPING_US: u64 = 10_000_000;
/// A receipt may wait to be merged with others, and at a gateway for its turn.
const RECEIPTS_US: u64 = 10_000_000;

pub(super) fn check(case: &mut Case<'_>) {
    let newest = case.conversation.told().map(|told| told.position).max();
    for (number, member) in case.members() {
        check_cursors(case, number, member, newest.unwrap_or_default());
        check_statuses(case, number, member);
    }
    if case.run.timed {
        check_agreement(case);
        for (watcher, _) in case.members() {
            check_typing(case, watcher);
            for (subject, _) in case.members().filter(|(other, _)| *other != watcher) {
                check_presence(case, watcher, subject);
            }
        }
    }
}

// --- receipts ---

/// Within a connection: what another node shows first may lack what is under way to it.
fn check_cursors(case: &mut Case<'_>, number: usize, member: &Member, newest: Position) {
    let (mut known, mut listed) = (HashMap::new(), HashMap::new());
    for seen in &member.events {
        match &seen.event {
            Event::Connected { .. } | Event::Resync { .. } => {
                known.clear();
                listed.clear();
            }
            // What is under way when a cursor is told comes behind it, so it is held to its like only.
            Event::ReadBy { user, up_to } => {
                let before = listed.insert(&**user, *up_to).unwrap_or_default();
                if *up_to < before || *up_to > newest {
                    let what = format!("{user} read {up_to} after {before}; newest is {newest}");
                    case.saw(Invariant::ReceiptsRise, number, seen.at_us, what);
                }
            }
            Event::Cursor {
                user,
                read,
                delivered,
            } => {
                let read = read.unwrap_or_default();
                let before: Position = known.get(&**user).copied().unwrap_or_default();
                let wrong = if read < before {
                    format!("what {user} read go back from {before} to {read}")
                } else if read > newest {
                    format!("{user} read {read}, above all that there is, {newest}")
                } else if delivered.is_some_and(|delivered| delivered < read) {
                    format!("{user} read {read}, delivered only up to {delivered:?}")
                } else {
                    known.insert(&**user, read);
                    continue;
                };
                case.saw(Invariant::ReceiptsRise, number, seen.at_us, wrong);
            }
            _ => {}
        }
    }
}

/// What was read is never only delivered again.
fn check_statuses(case: &mut Case<'_>, number: usize, member: &Member) {
    let mut read = Position::ZERO;
    for seen in &member.events {
        match &seen.event {
            Event::Connected { .. } | Event::Resync { .. } => read = Position::ZERO,
            Event::Status {
                message,
                is_read: true,
            } => read = read.max(*message),
            Event::Status {
                message,
                is_read: false,
            } if *message <= read => {
                let what = format!("{message} delivered after {read} was read");
                case.saw(Invariant::ReceiptsRise, number, seen.at_us, what);
            }
            _ => {}
        }
    }
}

/// What somebody read last, when nothing is broken, everybody who is there knows soon.
fn check_agreement(case: &mut Case<'_>) {
    // Otherwise what was read may be no more.
    if !case.run.promise.keeps_ids() {
        return;
    }
    let senders: HashMap<Position, &str> = (case.conversation.history.iter())
        .map(|told| (told.position, &*told.sender))
        .collect();
    let end = end_us(case);
    for (reader, reads) in case.members() {
        let said = reads.events.iter().rev().find_map(|seen| match seen.event {
            Event::Reads { up_to } => Some((seen.at_us, up_to)),
            _ => None,
        });
        let Some((said_us, up_to)) = said else {
            continue;
        };
        // Whoever sends has read what they send, and nobody is told that.
        if senders.get(&up_to) == Some(&&*reads.user) {
            continue;
        }
        let was_calm = case.calm.before(end, 0) >= end - said_us;
        let is_settled = end - said_us > RECEIPTS_US;
        // It is answered over the connection that said it, if that stands.
        if !was_calm || !is_settled || connected_us(reads).is_none_or(|since| since > said_us) {
            continue;
        }
        for (number, member) in case.members().filter(|(other, _)| *other != reader) {
            let knows = connected_us(member).is_some_and(|since| {
                since < said_us || member.layer == Layer::Extended && end - since > RECEIPTS_US
            });
            let known = cursor(member, &reads.user);
            if knows && known < up_to {
                let what = format!("{} read up to {known}, who read {up_to}", reads.user);
                case.saw(Invariant::ReceiptsRise, number, end, what);
            }
        }
    }
}

fn cursor(member: &Member, of: &str) -> Position {
    let told = member.events.iter().filter_map(|seen| match &seen.event {
        Event::Cursor { user, read, .. } if user == of => *read,
        Event::ReadBy { user, up_to } if user == of => Some(*up_to),
        _ => None,
    });
    told.max().unwrap_or_default()
}

/// Since when the last connection stands, if it does.
fn connected_us(member: &Member) -> Option<u64> {
    let changes = member.events.iter().rev();
    let last = changes.into_iter().find_map(|seen| match seen.event {
        Event::Connected { .. } => Some(Some(seen.at_us)),
        Event::Closed { .. } => Some(None),
        _ => None,
    });
    last.flatten()
}

fn end_us(case: &Case<'_>) -> u64 {
    let ends = case
        .members()
        .filter_map(|(_, member)| member.events.last());
    let last = ends.map(|seen| seen.at_us).max();
    last.unwrap_or_default().max(case.run.ended_us)
}

// --- presence ---

/// What changes a watcher's view of a subject, or the truth of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// The subject is there, or not.
    True(bool),
    /// The watcher is told so.
    Told(bool),
    /// The watcher is connected, and knows of nobody yet; or it is not, and knows nothing.
    Watches(bool),
}

fn check_presence(case: &mut Case<'_>, watcher: usize, subject: usize) {
    let members = &case.conversation.members;
    let user = &members[subject].user;
    let truth = members[subject].events.iter().filter_map(|seen| {
        let is_there = connection(seen)?;
        Some((seen.at_us, Turn::True(is_there)))
    });
    let view = members[watcher].events.iter().filter_map(|seen| {
        let turn = match &seen.event {
            Event::Presence {
                user: told,
                is_online,
            } if told == user => Turn::Told(*is_online),
            Event::Connected { .. } | Event::Closed { .. } => Turn::Watches(connection(seen)?),
            _ => return None,
        };
        Some((seen.at_us, turn))
    });
    let mut turns: Vec<(u64, Turn)> = truth.chain(view).collect();
    turns.sort_by_key(|(at_us, _)| *at_us);
    turns.push((end_us(case), Turn::Watches(false)));
    let (mut is_there, mut is_shown, mut watches, mut wrong_since) = (false, false, false, None);
    for (at_us, turn) in turns {
        if let Some(since) = wrong_since
            && case.calm.before(at_us, since) > PRESENCE_US
        {
            let calm_ms = case.calm.before(at_us, since) / 1000;
            let shown = if is_shown { "online" } else { "offline" };
            let what = format!("{user} {shown} for {calm_ms} ms, which is not true");
            case.saw(Invariant::PresenceIsTrue, watcher, at_us, what);
            return;
        }
        match turn {
            Turn::True(now) => is_there = now,
            Turn::Told(now) => is_shown = now,
            Turn::Watches(now) => (watches, is_shown) = (now, false),
        }
        wrong_since = match watches && is_there != is_shown {
            true => wrong_since.or(Some(at_us)),
            false => None,
        };
    }
}

fn connection(seen: &Seen) -> Option<bool> {
    match seen.event {
        Event::Connected { .. } => Some(true),
        Event::Closed { .. } => Some(false),
        _ => None,
    }
}

// --- typing ---

fn check_typing(case: &mut Case<'_>, watcher: usize) {
    let members = &case.conversation.members;
    let typed: HashMap<&str, Vec<u64>> = members.iter().map(typed).collect();
    let mut shown: HashMap<&str, u64> = HashMap::new();
    let mut wrong = Vec::new();
    let mut ends = |user: &str, since: u64, at_us: u64| {
        let typed = typed.get(user).map_or(&[][..], Vec::as_slice);
        let last = typed[..typed.partition_point(|typed| *typed <= at_us)].last();
        let last = last.copied().unwrap_or(since).max(since.min(at_us));
        if case.calm.before(at_us, last) > TYPING_US {
            wrong.push((at_us, format!("{user} type after it had ended")));
        }
    };
    for seen in &members[watcher].events {
        match &seen.event {
            Event::Typing {
                user,
                is_typing: true,
            } => {
                shown.entry(user).or_insert(seen.at_us);
            }
            Event::Typing {
                user,
                is_typing: false,
            } => {
                if let Some(since) = shown.remove(&**user) {
                    ends(user, since, seen.at_us);
                }
            }
            Event::Message(told) => {
                if let Some(since) = shown.remove(&*told.sender) {
                    ends(&told.sender, since, seen.at_us);
                }
            }
            Event::Connected { .. } | Event::Closed { .. } => {
                for (user, since) in shown.drain() {
                    ends(user, since, seen.at_us);
                }
            }
            _ => {}
        }
    }
    let end = end_us(case);
    for (user, since) in shown {
        ends(user, since, end);
    }
    for (at_us, what) in wrong {
        case.saw(Invariant::TypingEnds, watcher, at_us, what);
    }
}

fn typed(member: &Member) -> (&str, Vec<u64>) {
    let types = member.events.iter();
    let types = types.filter(|seen| matches!(seen.event, Event::Types));
    (&member.user, types.map(|seen| seen.at_us).collect())
}
