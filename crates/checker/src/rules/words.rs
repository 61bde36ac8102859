//! Refusals, closes and silence.

use std::collections::{HashMap, HashSet};

use super::Case;
use crate::{
    recording::{Event, Member},
    verdict::Invariant,
};

/// Everything is answered after this at most, if only that the outcome is not known: µs without a fault.
const ANSWERED_US: u64 = 12_000_000;

pub(super) fn check(case: &mut Case<'_>) {
    let stands: HashSet<&str> = (case.conversation.history.iter())
        .map(|told| &*told.content)
        .collect();
    for (number, member) in case.members() {
        check_words(case, number, member, &stands);
        if case.run.timed {
            check_silence(case, number, member);
        }
    }
}

/// Nobody was refused, sent away or told of a loss without a reason.
fn check_words(case: &mut Case<'_>, number: usize, member: &Member, stands: &HashSet<&str>) {
    let promise = case.run.promise;
    for seen in &member.events {
        let unfounded = match &seen.event {
            // Of a message that was lost, and is not back yet.
            Event::Refused { code, .. } if code == "unknown_message" => promise.keeps_ids(),
            Event::Refused { .. } => true,
            Event::Closed { code: Some(code) } => is_final(*code),
            Event::Resync { .. } => promise.keeps_epoch(),
            Event::Cut | Event::Failed { .. } => promise.keeps_ids(),
            _ => false,
        };
        if unfounded {
            let what = format!("{:?}", seen.event);
            case.saw(Invariant::HonestRefusal, number, seen.at_us, what);
        }
        if let Event::Refused {
            name: Some(name), ..
        } = &seen.event
            && stands.contains(&**name)
        {
            let what = format!("{name} refused, and history has it");
            case.saw(Invariant::HonestRefusal, number, seen.at_us, what);
        }
    }
}

/// Codes after which a client that did nothing wrong would have to stop. A token runs out, see `access`.
fn is_final(code: u16) -> bool {
    matches!(code, 1002 | 1003 | 1007..=1009 | 4004 | 4201 | 4400..=4499)
}

/// Nothing is met with silence as long as the connection stands.
fn check_silence(case: &mut Case<'_>, number: usize, member: &Member) {
    let mut open: HashMap<&str, u64> = HashMap::new();
    for seen in &member.events {
        match &seen.event {
            Event::Connected { .. } | Event::Closed { .. } => open.clear(),
            // Asking again is no answer.
            Event::Offered { name } => {
                open.entry(name).or_insert(seen.at_us);
            }
            Event::PutOff { name: None, .. } | Event::Refused { name: None, .. } => open.clear(),
            Event::PutOff {
                name: Some(name), ..
            }
            | Event::Refused {
                name: Some(name), ..
            } => drop(open.remove(&**name)),
            event => {
                let told = event.acknowledged_by(&member.user);
                let answered = told.and_then(|(name, _)| Some((name, open.remove(name)?)));
                if let Some((name, offered_us)) = answered {
                    check_answer(case, number, name, (offered_us, seen.at_us));
                }
            }
        }
    }
    let end = case.run.ended_us;
    for (name, offered_us) in open {
        check_answer(case, number, name, (offered_us, end));
    }
}

fn check_answer(case: &mut Case<'_>, number: usize, name: &str, (from, to): (u64, u64)) {
    let waited_us = case.calm.before(to, from);
    if waited_us > ANSWERED_US {
        let what = format!(
            "nothing of {name} for {} ms without a fault",
            waited_us / 1000
        );
        case.saw(Invariant::HonestRefusal, number, to, what);
    }
}
