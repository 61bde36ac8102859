//! Places against time: what was acknowledged, sent or read before what.

use std::collections::{BTreeMap, HashMap, HashSet};

use parlance_protocol::Position;

use super::Case;
use crate::{
    recording::{Event, Member},
    verdict::Invariant,
};

/// So many places in a row that were told after a page was asked for: the rest was, too.
const NEWER: usize = 300;

pub(super) fn check(case: &mut Case<'_>) {
    check_real_time(case);
    for (number, member) in case.members() {
        check_session(case, number, member);
    }
    check_pages(case);
}

/// One's own event: when it was first sent, and when and where it was first acknowledged.
#[derive(Debug, Clone, Copy)]
struct Sent {
    offered_us: u64,
    acknowledged: Option<(u64, Position)>,
}

fn sent(member: &Member) -> HashMap<&str, Sent> {
    let mut sent: HashMap<&str, Sent> = HashMap::new();
    for seen in &member.events {
        if let Event::Offered { name } = &seen.event {
            sent.entry(name).or_insert(Sent {
                offered_us: seen.at_us,
                acknowledged: None,
            });
        } else if let Some((name, place)) = seen.event.acknowledged_by(&member.user)
            && let Some(sent) = sent.get_mut(name)
        {
            sent.acknowledged.get_or_insert((seen.at_us, place));
        }
    }
    sent
}

/// What was sent after an acknowledgement, by anybody, stands behind it.
fn check_real_time(case: &mut Case<'_>) {
    let mut acknowledged: Vec<(u64, Position)> = Vec::new();
    let mut offers: Vec<(u64, Position, usize, &str)> = Vec::new();
    for (number, member) in case.members() {
        for (name, sent) in sent(member) {
            if let Some((at_us, place)) = sent.acknowledged {
                acknowledged.push((at_us, place));
                offers.push((sent.offered_us, place, number, name));
            }
        }
    }
    acknowledged.sort_unstable();
    offers.sort_unstable();
    let mut highest = Position::ZERO;
    let mut earlier = acknowledged.into_iter().peekable();
    for (offered_us, place, number, name) in offers {
        while let Some((_, before)) = earlier.next_if(|(at_us, _)| *at_us < offered_us) {
            highest = highest.max(before);
        }
        if place < highest {
            let what = format!("{name:?} stand at {place}, sent when {highest} was acknowledged");
            case.saw(Invariant::RealTimeOrder, number, offered_us, what);
        }
    }
}

/// What one connection sent for the first time, and was not put off, stands in that order.
fn check_session(case: &mut Case<'_>, number: usize, member: &Member) {
    let mut session = Session::default();
    let mut ever = HashSet::new();
    for seen in &member.events {
        match &seen.event {
            Event::Connected { .. } | Event::Resync { .. } => session = Session::default(),
            Event::Offered { name } if ever.insert(&**name) => session.offer(name),
            Event::Offered { name } => session.forget(name),
            Event::PutOff { name, .. } | Event::Refused { name, .. } => {
                match name {
                    Some(name) => session.forget(name),
                    // It may be any of them.
                    None => session = Session::default(),
                }
            }
            event => {
                if let Some((name, place)) = event.acknowledged_by(&member.user)
                    && let Some(later) = session.acknowledge(name, place)
                {
                    let what = format!("{name:?} at {place}, behind what was sent later: {later}");
                    case.saw(Invariant::SessionOrder, number, seen.at_us, what);
                }
            }
        }
    }
}

#[derive(Debug, Default)]
struct Session<'a> {
    numbered: usize,
    numbers: HashMap<&'a str, usize>,
    /// Places of what was acknowledged, by the number of its offer.
    places: BTreeMap<usize, Position>,
}

impl<'a> Session<'a> {
    fn offer(&mut self, name: &'a str) {
        self.numbered += 1;
        self.numbers.insert(name, self.numbered);
    }

    fn forget(&mut self, name: &str) {
        self.numbers.remove(name);
    }

    /// What was sent later and stands before it.
    fn acknowledge(&mut self, name: &str, place: Position) -> Option<Position> {
        let number = self.numbers.remove(name)?;
        let later = self.places.range(number..).next();
        let later = later
            .map(|(_, later)| *later)
            .filter(|later| *later < place);
        self.places.insert(number, place);
        // Only the latest can be passed by what comes.
        while self.places.len() > NEWER {
            self.places.pop_first();
        }
        later
    }
}

/// A page has everything of its range that anybody was told before it was asked for.
fn check_pages(case: &mut Case<'_>) {
    let mut first_told: HashMap<Position, u64> = HashMap::new();
    for (_, member) in case.members() {
        for seen in &member.events {
            if let Some(told) = seen.event.message() {
                let first = first_told.entry(told.position).or_insert(seen.at_us);
                *first = seen.at_us.min(*first);
            }
        }
    }
    let history: Vec<Position> = (case.conversation.history.iter())
        .map(|told| told.position)
        .collect();
    for (number, member) in case.members() {
        for seen in &member.events {
            let Event::Paged { asked_us, ids } = &seen.event else {
                continue;
            };
            if let Some(missing) = missing(&history, &first_told, *asked_us, ids) {
                let newest = ids.first().copied().unwrap_or_default();
                let what = format!("a page up to {newest} without {missing}, told before");
                case.saw(
                    Invariant::ReadYourAcknowledgements,
                    number,
                    seen.at_us,
                    what,
                );
            }
        }
    }
}

fn missing(
    history: &[Position],
    first_told: &HashMap<Position, u64>,
    asked_us: u64,
    ids: &[Position],
) -> Option<Position> {
    let lowest = ids.iter().min().copied().unwrap_or_default();
    let page: HashSet<&Position> = ids.iter().collect();
    let from = history.partition_point(|place| *place < lowest);
    let mut newer = 0;
    for place in &history[from..] {
        match first_told.get(place).is_some_and(|at| *at < asked_us) {
            true if !page.contains(place) => return Some(*place),
            true => newer = 0,
            false => newer += 1,
        }
        if newer > NEWER {
            break;
        }
    }
    None
}
