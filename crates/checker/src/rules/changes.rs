//! Edits and deletions, and what was announced as stored.

use std::collections::{BTreeMap, HashMap};

use super::Case;
use crate::{
    recording::{Change, Event, Member, Told, root},
    verdict::Invariant,
};

pub(super) fn check(case: &mut Case<'_>) {
    let stands: HashMap<&str, &Told> = (case.conversation.history.iter())
        .map(|told| (&*told.content, told))
        .collect();
    for (number, member) in case.members() {
        check_changes(case, number, member, &stands);
        check_stored(case, number, member, &stands);
    }
}

/// Every change that its sender saw is in history or followed by another, and had one place unless
/// it was lost.
fn check_changes(
    case: &mut Case<'_>,
    number: usize,
    member: &Member,
    stands: &HashMap<&str, &Told>,
) {
    let mut acknowledged: BTreeMap<&str, &Change> = BTreeMap::new();
    for seen in &member.events {
        let change = seen.event.change();
        let Some(change) = change.filter(|change| change.sender == member.user) else {
            continue;
        };
        let first = *acknowledged.entry(&change.name).or_insert(change);
        if case.run.promise.keeps_ids() && first.position != change.position {
            let what = format!("{change:?}, which was acknowledged as {first:?}");
            case.saw(Invariant::StableAcknowledgement, number, seen.at_us, what);
        }
        // Where there is no message, that is told already.
        if let Some(told) = stands.get(root(&change.name))
            && !follows(told, change)
        {
            let what = format!("{change:?}, where {told} stands");
            case.saw(Invariant::NoLoss, number, seen.at_us, what);
        }
    }
}

/// What was said to be stored is there for ever, whatever the log loses.
fn check_stored(
    case: &mut Case<'_>,
    number: usize,
    member: &Member,
    stands: &HashMap<&str, &Told>,
) {
    let changes = member.events.iter().filter_map(|seen| seen.event.change());
    let changes: HashMap<&str, &Change> = changes.map(|change| (&*change.name, change)).collect();
    for seen in &member.events {
        let Event::Stored { name, position } = &seen.event else {
            continue;
        };
        let is_there = stands
            .get(root(name))
            .is_some_and(|told| match changes.get(&**name) {
                Some(change) => follows(told, change),
                None => told.position == *position && told.sender == member.user,
            });
        if !is_there {
            let what = format!("{name} announced as stored at {position}, where it is not");
            case.saw(Invariant::StoredIsTrue, number, seen.at_us, what);
        }
    }
}

/// Whether a message is as this change or a later one made it. They are made one after the other, and
/// a deletion is the last.
fn follows(told: &Told, change: &Change) -> bool {
    told.shows.is_empty() || (!change.shows.is_empty() && told.shows >= change.shows)
}
