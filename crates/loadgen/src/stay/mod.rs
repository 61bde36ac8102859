//! Members that stay in their conversations and talk, whatever the deployment does meanwhile.
//!
//! For proving that a rolling restart has no gap: whoever runs it restarts, adds and takes away gateways,
//! and here is what their clients saw of it. Every other member speaks the extended layer: it resumes with
//! `since`, and when it is asked to `reconnect` it opens the second socket first. The others speak the base
//! layer and know no more than its simplest client: they come back when they are told to, and fetch from
//! history what they missed. Both send again what was not answered.
//!
//! It measures no server; for that are the other workloads. It neither starts nor stops processes.

mod cursor;
mod lines;
mod member;
mod report;
mod socket;
mod words;

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    net::SocketAddr,
    time::{Duration, Instant},
};

pub use self::report::Stayed;
use self::{
    cursor::{Cursor, Room, Step},
    lines::{Event, Lines, Role},
    member::{Member, Pending},
    socket::End,
    words::{Word, Words},
};
use crate::{
    chance::Chance,
    dialect::Seat,
    engine::request,
    error::LoadError,
    meter::{note, times},
    parlance::Layer,
    progress::Teller,
    target::{Control, check_files},
    traffic::{MOST_AT_ONCE, check_rate, check_shape, count, seats},
};

/// How long a member may take from the first packet until it is in its room.
const JOINING: Duration = Duration::from_secs(10);
/// How long a connection may take to end after the first close frame. The protocol says 2 s.
const LEAVING: Duration = Duration::from_secs(5);
/// Before something that was refused for the time being is asked for again.
const AGAIN: Duration = Duration::from_secs(1);
/// No turn waits longer.
const LONGEST_TURN: Duration = Duration::from_millis(50);
/// So long after the last send, and what is missing is missing.
const SETTLED: Duration = Duration::from_secs(20);
/// When everybody has everything: so long for what should not come any more.
const AFTERWARDS: Duration = Duration::from_millis(500);
/// How long they may all take to come in, beyond what their rate says.
const GATHERING: Duration = Duration::from_secs(60);

/// Who stays where, and how much they talk.
pub struct Stay<'a> {
    /// Where the deployment listens; members are spread over all of it in turn.
    pub addresses: Vec<SocketAddr>,
    /// How many conversations.
    pub rooms: usize,
    /// How many members each has. Those with even numbers speak the extended layer.
    pub members: usize,
    /// How many of them come in each second at the beginning.
    pub connects_per_second: f64,
    /// How many messages they send each second, all together.
    pub sends_per_second: f64,
    /// Tells this run from others; letters and digits. Conversations have to be new.
    pub run: &'a str,
    /// The path of a seat, its token in the query.
    pub path: &'a dyn Fn(Seat) -> String,
}

/// Brings them in, and lets them talk until it is stopped. Progress is told in three phases:
/// `connecting`, `talking`, `settling`.
///
/// # Errors
/// When the load cannot be made, or not everybody comes in.
pub fn run(load: &Stay<'_>, control: &mut Control<'_>) -> Result<Stayed, LoadError> {
    check_shape(load.rooms, load.members)?;
    check_rate(load.connects_per_second)?;
    check_rate(load.sends_per_second)?;
    let seats = seats(load.rooms, load.members);
    // An extended member has two sockets for a moment.
    check_files(seats.len() + extended(&seats))?;
    let mut run = Run::new(load, &seats)?;
    run.gather(control)?;
    run.talk(control)?;
    run.settle(control)?;
    Ok(run.judged())
}

fn extended(seats: &[Seat]) -> usize {
    let extended = seats.iter().map(|seat| layer(*seat));
    extended.filter(|layer| *layer == Layer::Extended).count()
}

fn layer(seat: Seat) -> Layer {
    if seat.member.is_multiple_of(2) {
        Layer::Extended
    } else {
        Layer::Base
    }
}

/// Something that is to be done at a time. Lines are named with their serial, members by their index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// A member opens a socket, if it still needs one.
    Open { member: usize },
    /// A message is sent again that was refused for the time being.
    SendAgain { member: usize, name: u64 },
    /// What was missed is asked for again.
    Fetch { line: usize, serial: u64 },
    /// A socket that is not in its room by now is given up.
    EndOpening { line: usize, serial: u64 },
    /// So is one that has not ended by now.
    EndLeaving { line: usize, serial: u64 },
}

struct Run<'a> {
    load: &'a Stay<'a>,
    words: Words<'a>,
    lines: Lines,
    members: Vec<Member>,
    rooms: Vec<Room>,
    /// How many are in their rooms.
    present: usize,
    due: BinaryHeap<Reverse<(Instant, Due)>>,
    chance: Chance,
    began: Instant,
    talked_since: Instant,
    seen: Stayed,
    teller: Teller,
}

impl<'a> Run<'a> {
    fn new(load: &'a Stay<'a>, seats: &[Seat]) -> Result<Self, LoadError> {
        let now = Instant::now();
        let mut due = BinaryHeap::new();
        for member in 0..seats.len() {
            let after = Duration::from_secs_f64(member as f64 / load.connects_per_second);
            due.push(Reverse((now + after, Due::Open { member })));
        }
        Ok(Self {
            load,
            words: Words::new(load.run, load.path),
            lines: Lines::new()?,
            members: seats
                .iter()
                .map(|seat| Member::new(*seat, layer(*seat)))
                .collect(),
            rooms: (0..load.rooms).map(|_| Room::default()).collect(),
            present: 0,
            due,
            chance: Chance(0),
            began: now,
            talked_since: now,
            seen: nothing_seen(seats),
            teller: Teller::new(),
        })
    }

    // --- phases ---

    fn gather(&mut self, control: &mut Control<'_>) -> Result<(), LoadError> {
        let all = self.members.len();
        let by_rate = Duration::from_secs_f64(all as f64 / self.load.connects_per_second);
        let until = self.began + by_rate + GATHERING;
        while self.present < all && !control.is_stopped() {
            self.turn("connecting", LONGEST_TURN, control)?;
            let missing = self.members.iter().find(|member| member.now.is_none());
            if let Some(member) = missing.filter(|_| Instant::now() > until) {
                return Err(LoadError::CannotJoin {
                    room: member.seat.room,
                    member: member.seat.member,
                    reason: format!("turned away: {:?}", self.seen.turned_away),
                });
            }
        }
        Ok(())
    }

    fn talk(&mut self, control: &mut Control<'_>) -> Result<(), LoadError> {
        self.talked_since = Instant::now();
        while !control.is_stopped() {
            let wait = self.make_messages();
            self.turn("talking", wait, control)?;
        }
        self.seen.talked = self.talked_since.elapsed();
        Ok(())
    }

    /// Until everybody has everything, or it does not come.
    fn settle(&mut self, control: &mut Control<'_>) -> Result<(), LoadError> {
        let mut until = Instant::now() + SETTLED;
        let mut is_complete = false;
        while Instant::now() < until {
            self.turn("settling", LONGEST_TURN, control)?;
            if !is_complete && self.has_everything() {
                is_complete = true;
                until = Instant::now() + AFTERWARDS;
            }
        }
        Ok(())
    }

    fn has_everything(&self) -> bool {
        let has = |member: &Member| {
            let head = self.rooms[member.seat.room].head;
            member.now.is_some() && member.outbox.is_empty() && member.has == head
        };
        self.members.iter().all(has)
    }

    fn judged(mut self) -> Stayed {
        for index in 0..self.members.len() {
            let (seat, has) = (self.members[index].seat, self.members[index].has);
            let head = self.rooms[seat.room].head;
            let before = self.rooms[seat.room].first.saturating_sub(1);
            let left_out = head.saturating_sub(has.max(before));
            self.seen.missing += left_out;
            if left_out > 0 {
                self.tell(index, || format!("has up to {has} of {head} in the end"));
            }
            let unanswered = self.members[index].outbox.len() as u64;
            self.seen.unanswered += unanswered;
            if unanswered > 0 {
                self.tell(index, || {
                    format!("waits for {unanswered} answers in the end")
                });
            }
        }
        self.seen
    }

    // --- turns ---

    fn turn(
        &mut self,
        phase: &'static str,
        wait: Duration,
        control: &mut Control<'_>,
    ) -> Result<(), LoadError> {
        let next = self.do_due();
        let mut inbox = Vec::new();
        let (words, members) = (&self.words, &self.members);
        let read = |member: usize, text: &[u8]| words.read(members[member].seat, text);
        self.lines.turn(wait.min(next), &read, &mut inbox)?;
        let at = Instant::now();
        for (line, event) in inbox {
            self.take(line, event, at);
        }
        let trouble = [
            &self.seen.closes,
            &self.seen.unclean,
            &self.seen.turned_away,
            &self.seen.errors,
        ];
        let acknowledged = self.seen.acknowledged;
        self.teller
            .tell(control, phase, "send", acknowledged, self.present, &trouble);
        Ok(())
    }

    /// Does what is due; how long until the next is.
    fn do_due(&mut self) -> Duration {
        let now = Instant::now();
        while let Some(Reverse((at, _))) = self.due.peek() {
            if *at > now {
                return *at - now;
            }
            if let Some(Reverse((_, due))) = self.due.pop() {
                self.act(due, now);
            }
        }
        LONGEST_TURN
    }

    fn act(&mut self, due: Due, now: Instant) {
        match due {
            Due::Open { member } => self.open(member, now),
            Due::SendAgain { member, name } => self.send_again(member, name),
            Due::Fetch { line, serial } if self.is(line, serial, Role::Opening) => self.fetch(line),
            Due::EndOpening { line, serial } if self.is(line, serial, Role::Opening) => {
                let end = End::Refused {
                    why: "no answer in 10 s".into(),
                    retry_after_s: None,
                };
                self.ended(line, end, now);
            }
            Due::EndLeaving { line, serial } if self.is(line, serial, Role::Leaving) => {
                self.ended(line, End::Cut("no end in 5 s".into()), now);
            }
            Due::Fetch { .. } | Due::EndOpening { .. } | Due::EndLeaving { .. } => {}
        }
    }

    /// Whether this is still that line, in this role.
    fn is(&mut self, line: usize, serial: u64, role: Role) -> bool {
        let line = self.lines.get(line);
        line.is_some_and(|line| line.serial == serial && line.role == role)
    }

    fn at(&mut self, at: Instant, due: Due) {
        self.due.push(Reverse((at, due)));
    }

    /// Lets a socket that is leaving end by itself, for some time.
    fn watch_leaving(&mut self, line: usize, now: Instant) {
        if let Some(serial) = self.lines.get(line).map(|it| it.serial) {
            self.at(now + LEAVING, Due::EndLeaving { line, serial });
        }
    }

    // --- sending ---

    /// Makes the messages that are due, in one conversation after the other, their members in turn; how
    /// long until the next one is.
    fn make_messages(&mut self) -> Duration {
        for _ in 0..MOST_AT_ONCE {
            let number = self.seen.made;
            let due = Duration::from_secs_f64(number as f64 / self.load.sends_per_second);
            let due = self.talked_since + due;
            let now = Instant::now();
            if due > now {
                return due - now;
            }
            self.seen.made += 1;
            let (rooms, members) = (self.load.rooms as u64, self.load.members as u64);
            let room = number % rooms;
            let index = room * members + (number / rooms) % members;
            let index = usize::try_from(index).expect("there are so many members");
            let name = self.rooms[self.members[index].seat.room].name();
            self.members[index].outbox.push(Pending {
                name,
                due,
                was_sent: false,
            });
            self.send(index, self.members[index].outbox.len() - 1);
        }
        Duration::ZERO
    }

    /// Sends what stands at this place of the outbox, if its member has a socket.
    fn send(&mut self, index: usize, place: usize) {
        let member = &mut self.members[index];
        let (Some(line), Some(pending)) = (member.now, member.outbox.get_mut(place)) else {
            return;
        };
        let is_again = std::mem::replace(&mut pending.was_sent, true);
        if is_again {
            member.sent_again.push(pending.name);
            self.seen.sent_again += 1;
        }
        let text = self.words.send(member.seat, pending.name, is_again);
        self.lines.say(line, &text);
    }

    fn send_again(&mut self, index: usize, name: u64) {
        if let Some(place) = self.members[index].place_of(name) {
            self.send(index, place);
        }
    }

    // --- coming and going ---

    /// Opens a socket for a member that has none, or is asked to have another one.
    fn open(&mut self, index: usize, now: Instant) {
        let member = &self.members[index];
        let is_needed = match member.now {
            None => true,
            Some(line) => self.lines.get(line).is_some_and(|line| line.is_asked),
        };
        if !is_needed || member.next.is_some() {
            return;
        }
        // Both layers are spread evenly: neighbours speak different ones.
        let address = self.load.addresses[(index / 2) % self.load.addresses.len()];
        let upgrade = self.words.upgrade(member.layer, member.seat, member.has);
        let request = request(&address.to_string(), &upgrade);
        let cursor = match member.layer {
            Layer::Extended => Cursor::Following(member.has),
            Layer::Base => Cursor::fetching(member.has),
        };
        match self.lines.open(address, request, index, cursor) {
            Ok(line) => {
                self.members[index].next = Some(line);
                if let Some(serial) = self.lines.get(line).map(|it| it.serial) {
                    self.at(now + JOINING, Due::EndOpening { line, serial });
                }
            }
            Err(error) => {
                count(&mut self.seen.turned_away, &error.kind().to_string());
                self.open_later(index, None, now);
            }
        }
    }

    /// Opens one after the pause that was asked for, or else as the protocol has it.
    fn open_later(&mut self, index: usize, asked: Option<Duration>, now: Instant) {
        let member = &mut self.members[index];
        let pause = asked.unwrap_or_else(|| self.chance.backoff(member.tries));
        member.tries += 1;
        self.at(now + pause, Due::Open { member: index });
    }

    fn fetch(&mut self, line: usize) {
        let Some(it) = self.lines.get(line) else {
            return;
        };
        let (seat, has) = (self.members[it.member].seat, it.cursor.has());
        let text = self.words.fetch(seat, has);
        self.lines.say(line, &text);
    }

    /// A socket is in its room: it takes over.
    fn joined(&mut self, line: usize, now: Instant) {
        let Some(it) = self.lines.get(line) else {
            return;
        };
        if it.role != Role::Opening {
            return;
        }
        it.role = Role::Joined;
        let (index, has) = (it.member, it.cursor.has());
        let member = &mut self.members[index];
        member.has = member.has.max(has);
        member.next = None;
        member.joined_at = now;
        let old = member.now.replace(line);
        let gaps = match member.layer {
            Layer::Extended => &mut self.seen.extended_gaps,
            Layer::Base => &mut self.seen.base_gaps,
        };
        match (old, member.alone_since.take()) {
            (Some(_), _) => {
                self.seen.second_first += 1;
                note(gaps, now, now);
            }
            (None, Some(since)) => {
                self.seen.came_back += 1;
                note(gaps, since, now);
            }
            (None, None) => {}
        }
        match old {
            Some(old) => {
                self.lines.close(old);
                self.watch_leaving(old, now);
            }
            None => self.present += 1,
        }
        for place in 0..self.members[index].outbox.len() {
            self.send(index, place);
        }
    }

    /// A socket is of no more use to its member, which comes back after `pause`, if it does.
    fn lost(&mut self, index: usize, line: usize, pause: Pause, now: Instant) {
        let member = &mut self.members[index];
        if member.next == Some(line) {
            member.next = None;
        } else if member.now == Some(line) {
            member.now = None;
            member.alone_since = Some(now);
            if now.duration_since(member.joined_at) >= STEADY {
                member.tries = 0;
            }
            self.present -= 1;
        } else {
            return;
        }
        let asked = match pause {
            Pause::Backoff => None,
            Pause::Asked(pause) => Some(pause),
            Pause::Never => {
                self.seen.stopped += 1;
                return;
            }
        };
        if self.members[index].next.is_none() {
            self.open_later(index, asked, now);
        }
    }

    // --- events ---

    fn take(&mut self, line: usize, event: Event, now: Instant) {
        let Some(it) = self.lines.get(line) else {
            return;
        };
        let index = it.member;
        match event {
            Event::Upgraded => match self.members[index].layer {
                Layer::Base => self.fetch(line),
                Layer::Extended => {}
            },
            Event::Heard(word) => self.hear(line, index, word, now),
            Event::Closed {
                code,
                retry_after_ms,
            } => {
                count(&mut self.seen.closes, &code.to_string());
                it.role = Role::Leaving;
                self.watch_leaving(line, now);
                let pause = Pause::after(code, retry_after_ms);
                if pause == Pause::Never {
                    self.tell(index, || format!("is closed with {code}"));
                }
                self.lost(index, line, pause, now);
            }
            Event::Ended(end) => self.ended(line, end, now),
        }
    }

    fn ended(&mut self, line: usize, end: End, now: Instant) {
        let Some(it) = self.lines.remove(line) else {
            return;
        };
        let pause = match end {
            End::Whole => Pause::Backoff,
            End::Cut(why) => {
                count(&mut self.seen.unclean, &why);
                let role = it.role;
                self.tell(it.member, || format!("a socket ({role:?}) ended: {why}"));
                Pause::Backoff
            }
            End::Refused { why, retry_after_s } => {
                count(&mut self.seen.turned_away, &why);
                let asked = retry_after_s.map(Duration::from_secs);
                asked.map_or(Pause::Backoff, Pause::Asked)
            }
        };
        self.lost(it.member, line, pause, now);
    }

    fn hear(&mut self, line: usize, index: usize, word: Word, now: Instant) {
        match word {
            Word::Hello { resumed: true } => {}
            Word::Hello { resumed: false } => {
                count(&mut self.seen.errors, "not resumed");
                let has = self.members[index].has;
                self.tell(index, || format!("is not resumed behind {has}"));
            }
            Word::Live => self.joined(line, now),
            Word::Message { name, id } => self.hear_message(line, index, (name, id), now),
            Word::Page { rows, has_more } => self.hear_page(line, index, &rows, has_more, now),
            Word::Refused {
                name,
                code,
                is_retryable,
            } => {
                count(&mut self.seen.refused, &code);
                if is_retryable {
                    self.at(
                        now + AGAIN,
                        Due::SendAgain {
                            member: index,
                            name,
                        },
                    );
                } else {
                    self.tell(index, || format!("is refused message {name}: {code}"));
                }
            }
            Word::Error { code } => {
                count(&mut self.seen.errors, &code);
                self.tell(index, || format!("is told the error {code}"));
                if self.members[index].layer == Layer::Base
                    && let Some(serial) = self.lines.get(line).map(|it| it.serial)
                {
                    self.at(now + AGAIN, Due::Fetch { line, serial });
                }
            }
            Word::Reconnect { after_ms } => {
                if let Some(it) = self.lines.get(line)
                    && !std::mem::replace(&mut it.is_asked, true)
                {
                    let after = Duration::from_millis(after_ms);
                    self.at(now + after, Due::Open { member: index });
                }
            }
            Word::Offline { user } => {
                self.seen.offline += 1;
                self.tell(index, || format!("is told that {user} is away"));
            }
        }
    }

    fn hear_message(&mut self, line: usize, index: usize, (name, id): (u64, u64), now: Instant) {
        let seat = self.members[index].seat;
        self.saw(seat, name, id);
        let member = &mut self.members[index];
        if let Some(place) = member.place_of(name) {
            let pending = member.outbox.remove(place);
            note(&mut self.seen.answers, pending.due, now);
            self.seen.acknowledged += 1;
        }
        let Some(it) = self.lines.get(line) else {
            return;
        };
        let step = it.cursor.judge(id, self.rooms[seat.room].first);
        // The answer to something sent again comes beside the order of events.
        let is_beside = step != Step::Next || id <= it.cursor.has();
        if is_beside && member.is_answer(name) {
            return;
        }
        if step != Step::Again {
            it.cursor.advance(id);
            member.has = member.has.max(it.cursor.has());
        }
        self.judge(index, step, id);
    }

    fn hear_page(
        &mut self,
        line: usize,
        index: usize,
        rows: &[(u64, u64)],
        has_more: bool,
        now: Instant,
    ) {
        let seat = self.members[index].seat;
        for (name, id) in rows {
            self.saw(seat, *name, *id);
            let first = self.rooms[seat.room].first;
            if let Some(it) = self.lines.get(line) {
                let step = it.cursor.row(*id, first);
                self.judge(index, step, *id);
            }
        }
        self.seen.fetched += rows.len() as u64;
        if has_more {
            return self.fetch(line);
        }
        let Some(it) = self.lines.get(line) else {
            return;
        };
        let left_out = it.cursor.caught_up(self.rooms[seat.room].first);
        if left_out > 0 {
            self.seen.missing += left_out;
            self.tell(index, || format!("{left_out} are between history and live"));
        }
        self.joined(line, now);
    }

    fn saw(&mut self, seat: Seat, name: u64, id: u64) {
        if !self.rooms[seat.room].saw(name, id) {
            self.seen.foreign += 1;
            let room = seat.room;
            self.seen
                .tell(|| format!("message {name} of room {room} has id {id}, too"));
        }
    }

    fn judge(&mut self, index: usize, step: Step, id: u64) {
        match step {
            Step::Next => {}
            Step::Again => {
                self.seen.doubled += 1;
                self.tell(index, || format!("is told {id} again"));
            }
            Step::Skips(left_out) => {
                self.seen.missing += left_out;
                self.tell(index, || format!("is not told {left_out} before {id}"));
            }
        }
    }

    fn tell(&mut self, index: usize, what: impl FnOnce() -> String) {
        let Seat { room, member } = self.members[index].seat;
        let since = self.began.elapsed().as_secs_f64();
        let layer = self.members[index].layer;
        self.seen.tell(|| {
            let what = what();
            format!("{since:.1} s: member {member} of room {room} ({layer:?}) {what}")
        });
    }
}

/// A connection that held for so long was none in vain.
const STEADY: Duration = Duration::from_secs(5);

/// When a member comes back after a socket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    /// By chance, and longer with each try.
    Backoff,
    Asked(Duration),
    Never,
}

impl Pause {
    /// What the protocol says of a close code.
    fn after(code: u16, retry_after_ms: Option<u64>) -> Self {
        match (code, retry_after_ms) {
            (1012 | 1013, Some(after_ms)) => Self::Asked(Duration::from_millis(after_ms)),
            (4100..=4199, _) => Self::Asked(Duration::ZERO),
            (1000 | 1002 | 1003 | 1007..=1009 | 4003 | 4004 | 4400..=4499, _) => Self::Never,
            _ => Self::Backoff,
        }
    }
}

fn nothing_seen(seats: &[Seat]) -> Stayed {
    Stayed {
        members: seats.len(),
        extended: extended(seats),
        talked: Duration::ZERO,
        made: 0,
        acknowledged: 0,
        unanswered: 0,
        sent_again: 0,
        refused: Default::default(),
        missing: 0,
        doubled: 0,
        foreign: 0,
        fetched: 0,
        closes: Default::default(),
        unclean: Default::default(),
        turned_away: Default::default(),
        errors: Default::default(),
        offline: 0,
        stopped: 0,
        second_first: 0,
        came_back: 0,
        extended_gaps: times("gap extended"),
        base_gaps: times("gap base"),
        answers: times("answer"),
        told: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_are_followed_as_the_protocol_says() {
        let asked = Pause::Asked(Duration::from_millis(250));
        assert_eq!(Pause::after(1012, Some(250)), asked);
        assert_eq!(Pause::after(1012, None), Pause::Backoff);
        assert_eq!(Pause::after(4100, None), Pause::Asked(Duration::ZERO));
        for code in [1000, 1002, 1009, 4003, 4004, 4400] {
            assert_eq!(Pause::after(code, None), Pause::Never, "{code}");
        }
        for code in [1001, 1005, 1011, 4200, 4999] {
            assert_eq!(Pause::after(code, None), Pause::Backoff, "{code}");
        }
    }
}
