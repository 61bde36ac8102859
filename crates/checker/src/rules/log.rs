//! What history says: nothing lost, doubled, invented or renamed, and the same for every reader.

use std::collections::{BTreeMap, HashMap, HashSet};

use parlance_protocol::Position;

use super::Case;
use crate::{
    recording::{Event, Member, Reading, Told, root},
    verdict::Invariant,
};

pub(super) fn check(case: &mut Case<'_>) {
    check_history(case);
    check_places(case);
    check_readings(case);
    let offered = offered(case);
    check_invention(case, &offered);
    let stands: HashMap<&str, Position> = (case.conversation.history.iter())
        .map(|told| (&*told.content, told.position))
        .collect();
    for (number, member) in case.members() {
        check_acknowledged(case, number, member, &stands);
        check_view(case, number, member);
    }
}

/// Ascending, and every content once.
fn check_history(case: &mut Case<'_>) {
    let mut contents: HashMap<&str, Position> = HashMap::new();
    let mut last = None;
    for told in &case.conversation.history {
        if last >= Some(told.position) {
            let what = format!("history says {told} too late");
            case.found(Invariant::OneOrder, what);
        }
        last = Some(told.position);
        if let Some(first) = contents.insert(&told.content, told.position) {
            let what = format!("history has {told} at {first}, too");
            case.found(Invariant::ExactlyOnce, what);
        }
    }
}

/// No place was ever seen with two contents, by anybody.
fn check_places(case: &mut Case<'_>) {
    let mut names: BTreeMap<Position, &Told> = BTreeMap::new();
    for told in case.conversation.told() {
        let first = names.entry(told.position).or_insert(told);
        if !told.shows.is_empty() && root(&told.shows) != told.content {
            let what = format!("{told} is of another message");
            case.found(Invariant::NoInvention, what);
        }
        if (&first.content, &first.sender) != (&told.content, &told.sender) {
            let what = format!("{told} was {first}");
            case.found(Invariant::OneOrder, what);
        }
    }
}

/// Every other reading says what the first says.
fn check_readings(case: &mut Case<'_>) {
    let conversation = case.conversation;
    let first = &conversation.history;
    for Reading { by, told } in &conversation.readings {
        let same = |(a, b): (&Told, &Told)| {
            (a.position, &a.sender, &a.shows) == (b.position, &b.sender, &b.shows)
        };
        let both = first.iter().zip(told);
        let what = match both.clone().find(|pair| !same(*pair)) {
            Some((a, b)) => format!("{by} says {b}, where history says {a}"),
            None if first.len() == told.len() => continue,
            None => format!("{by} says {} messages, history {}", told.len(), first.len()),
        };
        case.found(Invariant::HistoryIsLive, what);
    }
}

/// Names of what each user sent.
fn offered<'a>(case: &Case<'a>) -> HashMap<&'a str, HashSet<&'a str>> {
    let mut offered: HashMap<&str, HashSet<&str>> = HashMap::new();
    for (_, member) in case.members() {
        let names = offered.entry(&member.user).or_default();
        names.extend(member.events.iter().filter_map(|seen| match &seen.event {
            Event::Offered { name } => Some(&**name),
            _ => None,
        }));
    }
    offered
}

fn check_invention(case: &mut Case<'_>, offered: &HashMap<&str, HashSet<&str>>) {
    let is_known = |sender: &str, name: &str| {
        let names = offered.get(sender);
        names.is_some_and(|names| names.contains(name))
    };
    for told in &case.conversation.history {
        if !is_known(&told.sender, &told.content) {
            let what = format!("{told} of {}, who never sent it", told.sender);
            case.found(Invariant::NoInvention, what);
        }
    }
    for (number, member) in case.members() {
        for seen in &member.events {
            let told = seen.event.message();
            let told = told.map(|told| (&told.sender, &told.content));
            let changed = seen.event.change();
            let named = told.or(changed.map(|change| (&change.sender, &change.name)));
            if let Some((sender, name)) = named
                && !is_known(sender, name)
            {
                let what = format!("{name:?} of {sender}, who never sent it");
                case.saw(Invariant::NoInvention, number, seen.at_us, what);
            }
        }
    }
}

/// Every message that its sender saw is in history, and had one id unless it was lost.
fn check_acknowledged(
    case: &mut Case<'_>,
    number: usize,
    member: &Member,
    stands: &HashMap<&str, Position>,
) {
    let keeps_ids = case.run.promise.keeps_ids();
    let mut acknowledged: BTreeMap<&str, (Position, u64)> = BTreeMap::new();
    let mut of_epoch: HashMap<(&str, u32), Position> = HashMap::new();
    for seen in &member.events {
        let Some(told) = seen.event.message() else {
            continue;
        };
        if told.sender != member.user {
            continue;
        }
        let place = (told.position, seen.at_us);
        let (first, _) = *acknowledged.entry(&told.content).or_insert(place);
        let epoch = told.position.id.epoch();
        let within = *of_epoch
            .entry((&told.content, epoch))
            .or_insert(told.position);
        if within != told.position || (keeps_ids && first != told.position) {
            let first = if keeps_ids { first } else { within };
            let what = format!("{told}, which was acknowledged as {first}");
            case.saw(Invariant::StableAcknowledgement, number, seen.at_us, what);
        }
    }
    for (content, (position, at_us)) in acknowledged {
        let Some(stands) = stands.get(content) else {
            let what = format!("{content:?} acknowledged as {position}, and it is nowhere");
            case.saw(Invariant::NoLoss, number, at_us, what);
            continue;
        };
        if keeps_ids && *stands != position {
            let what = format!("{content:?} acknowledged as {position}, and it is {stands}");
            case.saw(Invariant::StableAcknowledgement, number, at_us, what);
        }
    }
}

/// No client shows a message at two places, unless it was told to forget one.
fn check_view(case: &mut Case<'_>, number: usize, member: &Member) {
    let mut shown: HashMap<&str, Position> = HashMap::new();
    for seen in &member.events {
        match &seen.event {
            Event::Resync { lost_after } => shown.retain(|_, place| *place <= *lost_after),
            Event::Message(told) if told.sender != member.user && case.run.promise.keeps_ids() => {
                let first = *shown.entry(&told.content).or_insert(told.position);
                if first != told.position {
                    let what = format!("{told} at {first}, too");
                    case.saw(Invariant::ExactlyOnce, number, seen.at_us, what);
                }
            }
            _ => {}
        }
    }
}
