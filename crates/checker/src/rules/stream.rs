//! What each client is told, one thing after the other: in order, without holes, and in the end what
//! history says.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use parlance_protocol::Position;

use super::Case;
use crate::{
    recording::{Change, Event, Layer, Member, Told},
    verdict::Invariant,
};

pub(super) fn check(case: &mut Case<'_>) {
    let history: BTreeMap<Position, &Told> = (case.conversation.history.iter())
        .map(|told| (told.position, told))
        .collect();
    for (number, member) in case.members() {
        let mut view = View::default();
        for seen in &member.events {
            if let Err((invariant, what)) = view.take(&seen.event) {
                case.saw(invariant, number, seen.at_us, what);
            }
        }
        for (hole, invariant) in view.holes(&history) {
            let at_us = view.passed(hole, member);
            let what = format!("what came after {hole}, and not {}", history[&hole]);
            case.saw(invariant, number, at_us, what);
        }
        // A base client is not told that what it shows was lost.
        if member.layer == Layer::Extended || case.run.promise.keeps_ids() {
            check_shown(case, number, member, &view, &history);
        }
    }
}

/// What is shown in the end is what history has.
fn check_shown(
    case: &mut Case<'_>,
    number: usize,
    member: &Member,
    view: &View,
    history: &BTreeMap<Position, &Told>,
) {
    let end = member.events.last().map_or(0, |seen| seen.at_us);
    for (position, shown) in &view.shown {
        let Some(told) = history.get(position) else {
            let mut messages = (member.events.iter()).filter_map(|seen| seen.event.message());
            let told = messages.find(|told| told.position == *position);
            let told = told.expect("what is shown was told");
            let what = format!("{told}, which history does not have, and no word that it was lost");
            case.saw(Invariant::HistoryIsLive, number, end, what);
            continue;
        };
        if let Some(text) = &shown.text
            && *text != told.shows
        {
            let changes = member.events.iter().filter_map(|seen| seen.event.change());
            let changes: Vec<String> = changes
                .filter(|change| change.message == *position)
                .map(|change| format!("{} at {}", change.name, change.position))
                .collect();
            let what = format!("{text:?} for {told} in the end; heard of {changes:?}");
            case.saw(Invariant::HistoryIsLive, number, end, what);
        }
    }
}

/// What a client shows, and over which stretches it must show everything.
#[derive(Debug, Default)]
struct View {
    shown: BTreeMap<Position, Shown>,
    /// Where the present stretch begins.
    start: Option<Bound<Position>>,
    /// The last that came in its turn.
    last: Option<Position>,
    /// Nothing came in its turn since the connection was opened.
    is_fresh: bool,
    /// Where connections went on.
    resumed: BTreeSet<Position>,
    stretches: Vec<(Bound<Position>, Position)>,
    left_out: Vec<(Position, Position)>,
}

/// What a client shows of one message.
#[derive(Debug)]
struct Shown {
    /// `None`: it has to be fetched, or is told next.
    text: Option<String>,
    /// The place of what made it so.
    since: Position,
}

impl Shown {
    /// A message that was changed already is followed by its changes.
    fn of(told: &Told) -> Self {
        Self {
            text: (told.shows == told.content).then(|| told.shows.clone()),
            since: told.position,
        }
    }
}

impl View {
    /// What came too late.
    fn take(&mut self, event: &Event) -> Result<(), (Invariant, String)> {
        match event {
            Event::Connected { since } => {
                self.start = self.start.or(since.map(Bound::Excluded));
                self.resumed.extend(since);
                self.is_fresh = true;
            }
            Event::Message(told) => {
                self.shown.insert(told.position, Shown::of(told));
                return self.move_on(told.position);
            }
            Event::Answer(told) => {
                let shown = self.shown.entry(told.position);
                shown.or_insert_with(|| Shown::of(told));
            }
            Event::Changed(change) => {
                self.change(change);
                return self.move_on(change.position);
            }
            Event::ChangeAnswered(change) => self.change(change),
            Event::Resync { lost_after } => self.resync(*lost_after),
            Event::Gap { from, to } => self.left_out.push((*from, *to)),
            Event::Cut => self.end_stretch(),
            _ => {}
        }
        Ok(())
    }

    fn move_on(&mut self, position: Position) -> Result<(), (Invariant, String)> {
        let is_fresh = std::mem::take(&mut self.is_fresh);
        if let Some(last) = self.last
            && last >= position
        {
            let invariant = match is_fresh {
                true => Invariant::ExactResume,
                false => Invariant::NoReorder,
            };
            return Err((invariant, format!("{position} after {last}")));
        }
        self.start.get_or_insert(Bound::Included(position));
        self.last = Some(position);
        Ok(())
    }

    /// An edit that follows a deletion changes nothing.
    fn change(&mut self, change: &Change) {
        if let Some(shown) = self.shown.get_mut(&change.message)
            && shown.since < change.position
            && shown.text.as_deref() != Some("")
        {
            shown.text = Some(change.shows.clone());
            shown.since = change.position;
        }
    }

    /// Forgets what may be lost; all that follows will be told again.
    fn resync(&mut self, lost_after: Position) {
        self.shown.retain(|position, _| *position <= lost_after);
        for shown in self.shown.values_mut() {
            if shown.since > lost_after {
                shown.text = None;
                shown.since = lost_after;
            }
        }
        let after = Bound::Excluded(lost_after);
        let start = self.start.filter(|start| match start {
            Bound::Included(start) | Bound::Excluded(start) => *start <= lost_after,
            Bound::Unbounded => true,
        });
        self.start = Some(start.unwrap_or(after));
        self.last = Some(lost_after);
    }

    fn end_stretch(&mut self) {
        let stretch = self.start.take().zip(self.last.take());
        self.stretches.extend(stretch);
    }

    fn holes(&mut self, history: &BTreeMap<Position, &Told>) -> Vec<(Position, Invariant)> {
        self.end_stretch();
        let within = |(start, last): &(Bound<Position>, Position)| {
            let nothing = match start {
                Bound::Included(start) => start > last,
                Bound::Excluded(start) => start >= last,
                Bound::Unbounded => false,
            };
            let range = (*start, Bound::Included(*last));
            let places = (!nothing).then(|| history.range(range).map(|(place, _)| *place));
            places.into_iter().flatten()
        };
        let told = |place: &Position| {
            let left_out = |(from, to): &(Position, Position)| from <= place && place <= to;
            self.shown.contains_key(place) || self.left_out.iter().any(left_out)
        };
        let owed = self.stretches.iter().flat_map(within);
        let holes = owed.filter(|place| !told(place));
        holes.map(|place| (place, self.kind(place))).collect()
    }

    /// A hole right behind where a connection went on is one of resuming.
    fn kind(&self, hole: Position) -> Invariant {
        let before = self.shown.range(..hole).next_back();
        let before = before.map_or(Position::ZERO, |(place, _)| *place);
        match self.resumed.range(before..hole).next() {
            Some(_) => Invariant::ExactResume,
            None => Invariant::NoGap,
        }
    }

    /// When something above the hole was told first.
    fn passed(&self, hole: Position, member: &Member) -> u64 {
        let above = |event: &Event| match event {
            Event::Message(told) => told.position > hole,
            Event::Changed(change) => change.position > hole,
            _ => false,
        };
        let passed = member.events.iter().find(|seen| above(&seen.event));
        passed.map_or(0, |seen| seen.at_us)
    }
}
