//! Judges what clients saw against what history says in the end.
//!
//! Pure: a recording goes in, faults come out. It knows nothing of how a recording was made, so that
//! every kind of fault can be planted in one, see the tests below.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    ops::Bound,
};

use parlance_protocol::Position;

use super::recording::{Change, Conversation, Event, Layer, Member, Recording, Told, root};

/// What may happen to the log in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// It keeps what it acknowledged.
    NothingLost,
    /// It keeps it, too, but nobody can know that: clients are told of a new epoch.
    EpochMayRise,
    /// It may lose its tail; what was acknowledged comes back under another id.
    TailMayBeLost,
}

impl Promise {
    fn keeps_ids(self) -> bool {
        match self {
            Self::NothingLost | Self::EpochMayRise => true,
            Self::TailMayBeLost => false,
        }
    }

    fn keeps_epoch(self) -> bool {
        match self {
            Self::NothingLost => true,
            Self::EpochMayRise | Self::TailMayBeLost => false,
        }
    }
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which rule is broken.
    pub kind: Kind,
    /// In which conversation.
    pub conversation: String,
    /// Who saw what.
    pub what: String,
}

/// The rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An acknowledged message is not in history.
    Lost,
    /// One send is two messages.
    Doubled,
    /// Somebody saw another order than that of history.
    Reordered,
    /// Somebody missed a message between two that they saw, and was not told.
    Hole,
    /// An id names two messages.
    Reused,
    /// What a client was told to be stored is not where it was.
    Unstored,
    /// A message shows what its sender never made of it, or somebody shows it as it was.
    Stale,
    /// Somebody still shows a message that history does not have.
    Ghost,
    /// The server said something that it had no reason to say.
    Unfounded,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:?} in {}: {}",
            self.kind, self.conversation, self.what
        )
    }
}

/// All faults of a run.
#[must_use]
pub fn check(recording: &Recording, promise: Promise) -> Vec<Fault> {
    let mut faults = Vec::new();
    for conversation in &recording.conversations {
        let mut checker = Checker {
            conversation,
            promise,
            faults: &mut faults,
        };
        checker.check();
    }
    faults
}

struct Checker<'a> {
    conversation: &'a Conversation,
    promise: Promise,
    faults: &'a mut Vec<Fault>,
}

impl Checker<'_> {
    fn check(&mut self) {
        self.check_history();
        self.check_ids();
        let places: BTreeSet<Position> = self.positions().collect();
        for member in &self.conversation.members {
            self.check_acknowledged(member);
            self.check_changes(member);
            self.check_stored(member);
            self.check_words(member);
            self.check_stream(member, &places);
        }
    }

    fn positions(&self) -> impl Iterator<Item = Position> {
        self.conversation.history.iter().map(|told| told.position)
    }

    fn fault(&mut self, kind: Kind, what: String) {
        let conversation = self.conversation.name.clone();
        self.faults.push(Fault {
            kind,
            conversation,
            what,
        });
    }

    /// Ascending, and every content once.
    fn check_history(&mut self) {
        let mut contents: HashMap<&str, Position> = HashMap::new();
        let mut last = None;
        for told in &self.conversation.history {
            if last >= Some(told.position) {
                self.fault(Kind::Reordered, format!("history says {told} too late"));
            }
            last = Some(told.position);
            if let Some(first) = contents.insert(&told.content, told.position) {
                self.fault(Kind::Doubled, format!("history has {told} at {first}, too"));
            }
        }
    }

    /// No id was ever seen with two contents, by anybody.
    fn check_ids(&mut self) {
        let mut names: BTreeMap<Position, &Told> = BTreeMap::new();
        for told in self.conversation.told() {
            let first = names.entry(told.position).or_insert(told);
            if !told.shows.is_empty() && root(&told.shows) != told.content {
                let what = format!("{told} is of another message");
                self.fault(Kind::Stale, what);
            }
            if (&first.content, &first.sender) != (&told.content, &told.sender) {
                let what = format!("{told} was {first}");
                self.fault(Kind::Reused, what);
            }
        }
    }

    /// Every message that its sender saw is in history, and had one id unless it was lost.
    fn check_acknowledged(&mut self, member: &Member) {
        let stored: HashMap<&str, Position> = (self.conversation.history.iter())
            .map(|told| (&*told.content, told.position))
            .collect();
        let mut acknowledged: BTreeMap<&str, Position> = BTreeMap::new();
        for told in messages(member).filter(|told| told.sender == member.user) {
            let first = *acknowledged.entry(&told.content).or_insert(told.position);
            if self.promise.keeps_ids() && first != told.position {
                self.fault(Kind::Doubled, format!("{told} was acknowledged as {first}"));
            }
        }
        for (content, position) in acknowledged {
            let Some(stands) = stored.get(content) else {
                let what = format!("{content:?}, acknowledged as {position}");
                self.fault(Kind::Lost, what);
                continue;
            };
            if self.promise.keeps_ids() && *stands != position {
                let what = format!("{content:?}, acknowledged as {position}, is {stands}");
                self.fault(Kind::Doubled, what);
            }
        }
    }

    /// Every change that its sender saw is in history or followed by another, and had one place unless
    /// it was lost.
    fn check_changes(&mut self, member: &Member) {
        let conversation = self.conversation;
        let stands: HashMap<&str, &Told> = (conversation.history.iter())
            .map(|told| (&*told.content, told))
            .collect();
        let mut acknowledged: BTreeMap<&str, &Change> = BTreeMap::new();
        for change in member.events.iter().filter_map(Event::change) {
            if change.sender != member.user {
                continue;
            }
            let first = *acknowledged.entry(&change.name).or_insert(change);
            if self.promise.keeps_ids() && first.position != change.position {
                let what = format!("{change:?} was acknowledged as {first:?}");
                self.fault(Kind::Doubled, what);
            }
            // Where there is no message, that is told already.
            if let Some(told) = stands.get(root(&change.name))
                && !follows(told, change)
            {
                self.fault(Kind::Lost, format!("{change:?}, where {told} stands"));
            }
        }
    }

    /// What was said to be stored is there for ever, whatever the log loses.
    fn check_stored(&mut self, member: &Member) {
        let conversation = self.conversation;
        let history: HashMap<&str, &Told> = (conversation.history.iter())
            .map(|told| (&*told.content, told))
            .collect();
        let changes = member.events.iter().filter_map(Event::change);
        let changes: HashMap<&str, &Change> =
            changes.map(|change| (&*change.name, change)).collect();
        for event in &member.events {
            let Event::Stored { name, position } = event else {
                continue;
            };
            let is_there = history
                .get(root(name))
                .is_some_and(|told| match changes.get(&**name) {
                    Some(change) => follows(told, change),
                    None => told.position == *position && told.sender == member.user,
                });
            if !is_there {
                let what = format!("{name} at {position}, as {} was told", member.user);
                self.fault(Kind::Unstored, what);
            }
        }
    }

    /// Nobody was refused, sent away or told of a loss without a reason.
    fn check_words(&mut self, member: &Member) {
        for event in &member.events {
            let unfounded = match event {
                // Of a message that was lost, and is not back yet.
                Event::Refused { code } if code == "unknown_message" => self.promise.keeps_ids(),
                Event::Refused { .. } => true,
                Event::Closed { code: Some(code) } => is_final(*code),
                Event::Resync { .. } => self.promise.keeps_epoch(),
                Event::Cut | Event::Failed { .. } => self.promise.keeps_ids(),
                Event::Connected { .. }
                | Event::Message(_)
                | Event::Answer(_)
                | Event::Changed(_)
                | Event::ChangeAnswered(_)
                | Event::Stored { .. }
                | Event::Gap { .. }
                | Event::Closed { code: None } => false,
            };
            if unfounded {
                self.fault(Kind::Unfounded, format!("{} saw {event:?}", member.user));
            }
        }
    }

    /// In order and without holes, unless told otherwise.
    fn check_stream(&mut self, member: &Member, history: &BTreeSet<Position>) {
        let mut view = View::default();
        for event in &member.events {
            if let Err(late) = view.take(event) {
                self.fault(
                    Kind::Reordered,
                    format!("{} saw {late:?} after {:?}", member.user, view.last),
                );
            }
        }
        for hole in view.holes(history) {
            self.fault(Kind::Hole, format!("{} did not see {hole}", member.user));
        }
        // A base client is not told that what it shows was lost.
        let must_know = member.layer == Layer::Extended || self.promise.keeps_ids();
        if must_know {
            self.check_shown(member, &view);
        }
    }

    /// What is shown in the end is what history has.
    fn check_shown(&mut self, member: &Member, view: &View) {
        let conversation = self.conversation;
        let history: BTreeMap<Position, &Told> = (conversation.history.iter())
            .map(|told| (told.position, told))
            .collect();
        for (position, shown) in &view.shown {
            let Some(told) = history.get(position) else {
                let told = messages(member).find(|told| told.position == *position);
                let told = told.expect("what is shown was told");
                self.fault(Kind::Ghost, format!("{} shows {told}", member.user));
                continue;
            };
            if let Some(text) = &shown.text
                && *text != told.shows
            {
                let changes = member.events.iter().filter_map(Event::change);
                let changes: Vec<String> = changes
                    .filter(|change| change.message == *position)
                    .map(|change| format!("{} at {}", change.name, change.position))
                    .collect();
                let user = &member.user;
                let what = format!("{user} shows {text:?} for {told}; heard of {changes:?}");
                self.fault(Kind::Stale, what);
            }
        }
    }
}

/// Whether a message is as this change or a later one made it. They are made one after the other, and
/// a deletion is the last.
fn follows(told: &Told, change: &Change) -> bool {
    told.shows.is_empty() || (!change.shows.is_empty() && told.shows >= change.shows)
}

fn messages(member: &Member) -> impl Iterator<Item = &Told> {
    member.events.iter().filter_map(Event::message)
}

/// Codes after which a client that did nothing wrong would have to stop, or to fetch a token.
fn is_final(code: u16) -> bool {
    matches!(code, 1002 | 1003 | 1007..=1009 | 4003 | 4004 | 4201 | 4400..=4499)
}

/// What a client shows, and over which stretches it must show everything.
#[derive(Debug, Default)]
struct View {
    shown: BTreeMap<Position, Shown>,
    /// Where the present stretch begins.
    start: Option<Bound<Position>>,
    /// The last that came in its turn.
    last: Option<Position>,
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
    fn take<'a>(&mut self, event: &'a Event) -> Result<(), &'a Event> {
        match event {
            Event::Connected { since } => {
                let start = since.map(Bound::Excluded);
                self.start = self.start.or(start);
            }
            Event::Message(told) => {
                self.shown.insert(told.position, Shown::of(told));
                return self.move_on(told.position, event);
            }
            Event::Answer(told) => {
                let shown = self.shown.entry(told.position);
                shown.or_insert_with(|| Shown::of(told));
            }
            Event::Changed(change) => {
                self.change(change);
                return self.move_on(change.position, event);
            }
            Event::ChangeAnswered(change) => self.change(change),
            Event::Resync { lost_after } => self.resync(*lost_after),
            Event::Gap { from, to } => self.left_out.push((*from, *to)),
            Event::Cut => self.end_stretch(),
            Event::Failed { .. }
            | Event::Refused { .. }
            | Event::Stored { .. }
            | Event::Closed { .. } => {}
        }
        Ok(())
    }

    fn move_on<'a>(&mut self, position: Position, event: &'a Event) -> Result<(), &'a Event> {
        if self.last >= Some(position) {
            return Err(event);
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

    fn holes(&mut self, history: &BTreeSet<Position>) -> Vec<Position> {
        self.end_stretch();
        let within = |(start, last): &(Bound<Position>, Position)| {
            let nothing = match start {
                Bound::Included(start) => start > last,
                Bound::Excluded(start) => start >= last,
                Bound::Unbounded => false,
            };
            let range = (*start, Bound::Included(*last));
            let places = (!nothing).then(|| history.range(range).copied());
            places.into_iter().flatten()
        };
        let told = |place: &Position| {
            let left_out = |(from, to): &(Position, Position)| from <= place && place <= to;
            self.shown.contains_key(place) || self.left_out.iter().any(left_out)
        };
        let owed = self.stretches.iter().flat_map(within);
        owed.filter(|place| !told(place)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parlance_protocol::MessageId;

    fn place(id: u64) -> Position {
        Position::of(MessageId::new(id).unwrap())
    }

    fn told(id: u64, content: &str) -> Told {
        let (sender, _) = content.split_once('-').unwrap();
        Told {
            position: place(id),
            sender: sender.to_owned(),
            content: content.to_owned(),
            shows: content.to_owned(),
        }
    }

    fn message(id: u64, content: &str) -> Event {
        Event::Message(told(id, content))
    }

    /// Ann sends, bob listens; both see 1 to 4.
    fn good() -> Conversation {
        let all = ["ann-1", "bob-1", "ann-2", "ann-3"];
        let numbered = || (1..).zip(all);
        let member = |user: &str, layer| Member {
            user: user.to_owned(),
            layer,
            events: [Event::Connected {
                since: Some(place(0)),
            }]
            .into_iter()
            .chain(numbered().map(|(id, content)| message(id, content)))
            .collect(),
        };
        Conversation {
            name: "room".to_owned(),
            history: numbered().map(|(id, content)| told(id, content)).collect(),
            members: vec![member("ann", Layer::Base), member("bob", Layer::Extended)],
        }
    }

    fn kinds(conversation: Conversation, promise: Promise) -> Vec<Kind> {
        let recording = Recording {
            conversations: vec![conversation],
        };
        let mut kinds: Vec<Kind> = check(&recording, promise)
            .into_iter()
            .map(|fault| fault.kind)
            .collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    #[track_caller]
    fn finds(change: impl FnOnce(&mut Conversation), expected: &[Kind]) {
        let mut conversation = good();
        change(&mut conversation);
        assert_eq!(kinds(conversation, Promise::NothingLost), expected);
    }

    #[track_caller]
    fn finds_after_a_loss(change: impl FnOnce(&mut Conversation), expected: &[Kind]) {
        let mut conversation = lossy();
        change(&mut conversation);
        assert_eq!(kinds(conversation, Promise::TailMayBeLost), expected);
    }

    /// The log loses 3 and 4; both come back in epoch 1.
    fn lossy() -> Conversation {
        let mut conversation = good();
        let back = [told(10_000_000_001, "ann-2"), told(10_000_000_002, "ann-3")];
        conversation.history.truncate(2);
        conversation.history.extend(back.clone());
        conversation.members[1].events.push(Event::Resync {
            lost_after: place(2),
        });
        for member in &mut conversation.members {
            member.events.extend(back.clone().map(Event::Message));
        }
        conversation
    }

    #[test]
    fn nothing_is_found_where_nothing_is_wrong() {
        finds(|_| {}, &[]);
        finds_after_a_loss(|_| {}, &[]);
    }

    #[test]
    fn a_lost_acknowledgement_is_found() {
        let lose = |room: &mut Conversation| drop(room.history.pop());
        finds(lose, &[Kind::Lost, Kind::Ghost]);
        finds_after_a_loss(lose, &[Kind::Lost, Kind::Ghost]);
    }

    #[test]
    fn a_lost_acknowledgement_that_only_an_answer_told_is_found() {
        finds(
            |room| {
                let answer = Event::Answer(told(9, "ann-4"));
                room.members[0].events.push(answer);
            },
            &[Kind::Lost, Kind::Ghost],
        );
    }

    #[test]
    fn what_was_said_to_be_stored_and_is_not_there_is_found() {
        let stored = |id, name: &str| Event::Stored {
            name: name.to_owned(),
            position: place(id),
        };
        finds(|room| room.members[1].events.push(stored(2, "bob-1")), &[]);
        finds(
            |room| room.members[0].events.push(stored(5, "ann-4")),
            &[Kind::Unstored],
        );
        finds_after_a_loss(
            |room| room.members[0].events.push(stored(4, "ann-3")),
            &[Kind::Unstored],
        );
    }

    #[test]
    fn a_message_that_stands_twice_is_found() {
        let double = |room: &mut Conversation| {
            room.history.push(told(10_000_000_009, "ann-3"));
        };
        finds(double, &[Kind::Doubled]);
        finds_after_a_loss(double, &[Kind::Doubled]);
    }

    #[test]
    fn an_acknowledgement_under_another_id_is_found_unless_the_first_was_lost() {
        let again = Event::Answer(told(9, "ann-3"));
        finds(
            |room| room.members[0].events.push(again),
            &[Kind::Doubled, Kind::Ghost],
        );
        finds(
            |room| room.history[3] = told(9, "ann-3"),
            &[Kind::Doubled, Kind::Ghost],
        );
    }

    #[test]
    fn a_swap_is_found() {
        finds(|room| room.members[1].events.swap(2, 3), &[Kind::Reordered]);
        finds(|room| room.history.swap(1, 2), &[Kind::Reordered]);
        finds_after_a_loss(|room| room.members[0].events.swap(5, 6), &[Kind::Reordered]);
    }

    #[test]
    fn a_message_that_comes_twice_is_found() {
        finds(
            |room| {
                let again = room.members[1].events[4].clone();
                room.members[1].events.push(again);
            },
            &[Kind::Reordered],
        );
    }

    #[test]
    fn a_hole_is_found_unless_it_was_announced() {
        let miss = |room: &mut Conversation| drop(room.members[1].events.remove(2));
        finds(miss, &[Kind::Hole]);
        let tell = |room: &mut Conversation| {
            let (from, to) = (place(2), place(2));
            room.members[1].events.insert(2, Event::Gap { from, to });
        };
        finds(
            |room| {
                miss(room);
                tell(room);
            },
            &[],
        );
    }

    #[test]
    fn a_hole_over_a_reconnect_is_found() {
        finds(
            |room| {
                let events = &mut room.members[1].events;
                events[2] = Event::Connected {
                    since: Some(place(1)),
                };
            },
            &[Kind::Hole],
        );
    }

    #[test]
    fn a_hole_at_the_beginning_is_found() {
        finds(|room| drop(room.members[1].events.remove(1)), &[Kind::Hole]);
    }

    #[test]
    fn a_hole_after_a_resync_is_found() {
        finds_after_a_loss(|room| drop(room.members[1].events.remove(6)), &[Kind::Hole]);
        finds_after_a_loss(|room| drop(room.members[0].events.remove(5)), &[Kind::Hole]);
    }

    #[test]
    fn what_survived_a_resync_must_be_shown_still() {
        let too_deep = Event::Resync {
            lost_after: place(1),
        };
        finds_after_a_loss(|room| room.members[1].events[5] = too_deep, &[Kind::Hole]);
    }

    #[test]
    fn a_loss_that_an_extended_client_was_not_told_of_is_found() {
        finds_after_a_loss(
            |room| drop(room.members[1].events.remove(5)),
            &[Kind::Ghost],
        );
    }

    #[test]
    fn a_reused_id_is_found() {
        let other = message(4, "bob-9");
        finds(
            |room| room.members[1].events[4] = other.clone(),
            &[Kind::Lost, Kind::Reused, Kind::Stale],
        );
        finds_after_a_loss(
            |room| {
                room.history[2] = told(3, "ann-3");
                room.history[3] = told(4, "ann-2");
            },
            &[Kind::Hole, Kind::Reused, Kind::Ghost],
        );
    }

    #[test]
    fn a_client_that_was_cut_off_owes_nothing_of_what_was_between() {
        finds_after_a_loss(
            |room| {
                let events = &mut room.members[0].events;
                events.remove(5);
                events.insert(5, Event::Cut);
            },
            &[],
        );
    }

    /// Ann edits her first message, and everybody sees it.
    fn edited() -> Conversation {
        let mut conversation = good();
        conversation.history[0].shows = "ann-1~1".to_owned();
        for member in &mut conversation.members {
            member.events.push(Event::Changed(edit(1, "ann-1~1")));
        }
        conversation
    }

    fn edit(k: u32, name: &str) -> Change {
        Change {
            position: Position { k, ..place(4) },
            message: place(1),
            sender: "ann".to_owned(),
            name: name.to_owned(),
            shows: name.to_owned(),
        }
    }

    #[track_caller]
    fn finds_after_an_edit(change: impl FnOnce(&mut Conversation), expected: &[Kind]) {
        let mut conversation = edited();
        change(&mut conversation);
        assert_eq!(kinds(conversation, Promise::NothingLost), expected);
    }

    #[test]
    fn a_lost_edit_is_found() {
        finds_after_an_edit(|_| {}, &[]);
        finds_after_an_edit(
            |room| room.history[0].shows = "ann-1".to_owned(),
            &[Kind::Lost, Kind::Stale],
        );
    }

    #[test]
    fn a_member_who_missed_an_edit_is_found() {
        finds_after_an_edit(|room| drop(room.members[1].events.pop()), &[Kind::Stale]);
    }

    #[test]
    fn an_edit_that_comes_too_late_is_found() {
        finds_after_an_edit(|room| room.members[1].events.swap(4, 5), &[Kind::Reordered]);
    }

    #[test]
    fn an_edit_that_was_made_twice_is_found() {
        let again = Event::ChangeAnswered(edit(2, "ann-1~1"));
        finds_after_an_edit(|room| room.members[0].events.push(again), &[Kind::Doubled]);
    }

    #[test]
    fn what_follows_an_edit_is_as_good() {
        let deleted = Change {
            shows: String::new(),
            ..edit(2, "ann-1~2")
        };
        finds_after_an_edit(
            |room| {
                room.history[0].shows = String::new();
                for member in &mut room.members {
                    member.events.push(Event::Changed(deleted.clone()));
                }
            },
            &[],
        );
    }

    #[test]
    fn an_edit_behind_a_deletion_changes_nothing() {
        let deleted = Change {
            shows: String::new(),
            ..edit(2, "ann-1~2")
        };
        finds_after_an_edit(
            |room| {
                room.history[0].shows = String::new();
                for member in &mut room.members {
                    member.events.push(Event::Changed(deleted.clone()));
                    member.events.push(Event::Changed(edit(3, "ann-1~3")));
                }
            },
            &[],
        );
    }

    #[test]
    fn words_without_a_reason_are_found() {
        let lost_after = place(4);
        for event in [
            Event::Resync { lost_after },
            Event::Cut,
            Event::Failed { position: place(3) },
            Event::Refused {
                code: "invalid_content".to_owned(),
            },
            Event::Closed { code: Some(4003) },
        ] {
            finds(
                |room| room.members[1].events.push(event),
                &[Kind::Unfounded],
            );
        }
        let leaving = Event::Closed { code: Some(1012) };
        finds(|room| room.members[1].events.push(leaving), &[]);
    }
}
