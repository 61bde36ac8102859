//! Messages under way: what `fanout` and `send` have in common.
//!
//! Members connect and join, then messages flow for a while that is not counted (so that what is cold
//! at the beginning is warm), then for a while that is; then nothing more is sent, and what is under
//! way may arrive. Latencies are those of the messages that were *due* in the counted time, whenever
//! they arrive; rates and clocks are of the counted time itself.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::{
    connection::What,
    dialect::{Dialect, Seat},
    engine::{Engine, Incident},
    error::LoadError,
    meter::{Meter, note, resident, times, used},
    opening::open_all,
    order::{Acks, Progressed, Room, Verdict},
    progress::Teller,
    report::{Ended, Report, Times},
    target::{Control, Target},
};

/// Without any delivery for so long, a run is over.
const STALLED: Duration = Duration::from_secs(10);
/// When nothing is sent any more: so long without a delivery, and nothing more will come.
const SETTLED: Duration = Duration::from_secs(3);
/// And so long at most.
const SETTLING: Duration = Duration::from_secs(30);
/// In a closed loop, whoever was refused is left alone for so long: sending at once again would be a flood.
const REFUSED: Duration = Duration::from_secs(1);
/// At a fixed rate, the server is hopelessly behind with the messages of ten seconds under way, but not
/// with fewer than the first and surely with more than the last; all of them are in memory.
const BEHIND: std::ops::RangeInclusive<usize> = 100_000..=1_000_000;
/// However many are due, what comes is read after so many.
pub(crate) const MOST_AT_ONCE: usize = 1_000;

/// What decides when the next message is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// So many are under way, over all rooms.
    Window(usize),
    /// So many a second, over all rooms, whatever the server does.
    Rate(f64),
    /// Each member has one unacknowledged.
    OneEach,
}

/// What the rate and the costs are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    Deliveries,
    Acks,
}

impl Counted {
    fn unit(self) -> &'static str {
        match self {
            Self::Deliveries => "delivery",
            Self::Acks => "send",
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) workload: &'static str,
    pub(crate) counted: Counted,
    pub(crate) rooms: usize,
    pub(crate) members: usize,
    pub(crate) pace: Pace,
    pub(crate) content_bytes: usize,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// Seats of `rooms` times `members`, a room's together.
pub(crate) fn seats(rooms: usize, members: usize) -> Vec<Seat> {
    (0..rooms)
        .flat_map(|room| (0..members).map(move |member| Seat { room, member }))
        .collect()
}

pub(crate) fn acks(dialect: &dyn Dialect) -> Acks {
    match (dialect.acks(), dialect.echoes()) {
        (true, with_copy) => Acks::Frames { with_copy },
        (false, true) => Acks::OwnCopy,
        (false, false) => Acks::FirstCopy,
    }
}

pub(crate) fn check_shape(rooms: usize, members: usize) -> Result<(), LoadError> {
    if rooms > 0 && members > 0 {
        return Ok(());
    }
    Err(LoadError::Arguments(format!(
        "{rooms} rooms of {members} members hold nobody; give at least one of each"
    )))
}

pub(crate) fn check_rate(rate: f64) -> Result<(), LoadError> {
    if rate.is_finite() && rate > 0.0 {
        return Ok(());
    }
    Err(LoadError::Arguments(format!(
        "a rate of {rate} a second sends nothing; give more than zero"
    )))
}

/// Counts by code.
pub(crate) fn count(counts: &mut BTreeMap<String, u64>, code: &str) {
    match counts.get_mut(code) {
        Some(count) => *count += 1,
        None => drop(counts.insert(code.to_owned(), 1)),
    }
}

pub(crate) fn run(
    target: &Target<'_>,
    load: &Load,
    control: &mut Control<'_>,
) -> Result<Report, LoadError> {
    let before_bytes = resident(&target.processes)?;
    let mut engine = Engine::new(target, seats(load.rooms, load.members))?;
    let mut teller = Teller::new();
    let went_on = open_all(&mut engine, control, &mut teller)?;
    let connections = engine.joined();
    let mut run = Traffic::new(engine, load, acks(target.dialect), teller);
    if !went_on {
        run.ended = Ended::Stopped;
    }
    run.begin();
    run.go_on("warming up", Instant::now() + load.warm_up, control)?;
    let meter = Meter::start(&target.processes)?;
    run.count_from(meter.began());
    run.go_on("measuring", meter.began() + load.measured, control)?;
    let spent = meter.stop()?;
    run.count_to(meter.began() + spent.elapsed);
    let (units, messages) = (run.units(), run.messages);
    let after_bytes = resident(&target.processes)?;
    run.settle(control)?;
    Ok(Report {
        workload: load.workload,
        unit: load.counted.unit(),
        units,
        messages,
        elapsed: spent.elapsed,
        connections,
        processes: used(&target.processes, &spent.cpu, &before_bytes, &after_bytes),
        generator_cpu: spent.own_cpu,
        verdict: run.verdict(),
        times: run.times(),
        refused: run.refused,
        errors: run.errors,
        lost: run.lost,
        hold: None,
        ended: run.ended,
    })
}

struct Traffic<'a> {
    engine: Engine<'a>,
    load: &'a Load,
    content: String,
    rooms: Vec<Room>,
    /// Of each room, how many messages it had sent; whose turn is next follows from that.
    turns: Vec<usize>,
    /// Rooms in which something was completed in this turn.
    touched: Vec<usize>,
    /// Members whose message was acknowledged in this turn.
    free: Vec<usize>,
    /// Connections that were refused, and until when they are left alone; the oldest first.
    resting: VecDeque<(Instant, usize)>,
    /// Messages not everybody has, over all rooms.
    under_way: usize,
    /// At a fixed rate: when the first was due, and how many were sent.
    first_due: Instant,
    due_so_far: u64,
    /// For a window smaller than the number of rooms: the next room.
    next_room: usize,
    /// From when on things are counted, and until when.
    counted: Option<(Instant, Option<Instant>)>,
    deliveries: u64,
    acked: u64,
    messages: u64,
    delivery: Times,
    complete: Times,
    ack: Times,
    refused: BTreeMap<String, u64>,
    errors: BTreeMap<String, u64>,
    lost: BTreeMap<String, u64>,
    ended: Ended,
    /// When something came last, or began to be waited for.
    last_news: Instant,
    teller: Teller,
}

impl<'a> Traffic<'a> {
    fn new(engine: Engine<'a>, load: &'a Load, acks: Acks, teller: Teller) -> Self {
        let now = Instant::now();
        Self {
            engine,
            load,
            content: "x".repeat(load.content_bytes),
            rooms: (0..load.rooms)
                .map(|_| Room::new(load.members, acks))
                .collect(),
            turns: vec![0; load.rooms],
            touched: Vec::new(),
            free: Vec::new(),
            resting: VecDeque::new(),
            under_way: 0,
            first_due: now,
            due_so_far: 0,
            next_room: 0,
            counted: None,
            deliveries: 0,
            acked: 0,
            messages: 0,
            delivery: times("delivery"),
            complete: times("last delivery"),
            ack: times("ack"),
            refused: BTreeMap::new(),
            errors: BTreeMap::new(),
            lost: BTreeMap::new(),
            ended: Ended::Complete,
            last_news: now,
            teller,
        }
    }

    // === The run ===

    fn begin(&mut self) {
        let now = Instant::now();
        self.first_due = now;
        self.last_news = now;
        match self.load.pace {
            Pace::Window(_) => self.touched.extend(0..self.load.rooms),
            Pace::Rate(_) => {}
            Pace::OneEach => self.free.extend(0..self.engine.len()),
        }
    }

    fn count_from(&mut self, from: Instant) {
        self.counted = Some((from, None));
        (self.deliveries, self.acked, self.messages) = (0, 0, 0);
    }

    fn count_to(&mut self, to: Instant) {
        self.counted = self.counted.map(|(from, _)| (from, Some(to)));
    }

    /// Lets messages flow until then, unless it ends before.
    fn go_on(
        &mut self,
        phase: &'static str,
        end: Instant,
        control: &mut Control<'_>,
    ) -> Result<(), LoadError> {
        let mut inbox = Vec::new();
        while self.ended == Ended::Complete && Instant::now() < end {
            let next = self.send_due();
            self.engine.turn(end.min(next), &mut inbox)?;
            self.take(&mut inbox);
            self.tell(phase, control);
            self.ended = self.verdict_so_far(control);
        }
        Ok(())
    }

    /// Sends no more, and waits for what is under way.
    fn settle(&mut self, control: &mut Control<'_>) -> Result<(), LoadError> {
        let mut inbox = Vec::new();
        let began = Instant::now();
        self.last_news = began;
        while self.under_way > 0 && began.elapsed() < SETTLING && self.last_news.elapsed() < SETTLED
        {
            self.engine.turn(began + SETTLING, &mut inbox)?;
            self.take(&mut inbox);
            self.touched.clear();
            self.free.clear();
            self.tell("settling", control);
        }
        Ok(())
    }

    fn verdict_so_far(&self, control: &Control<'_>) -> Ended {
        let is_behind = match self.load.pace {
            Pace::Rate(rate) => {
                let most = (rate * 10.0) as usize;
                self.under_way > most.clamp(*BEHIND.start(), *BEHIND.end())
            }
            Pace::Window(_) | Pace::OneEach => false,
        };
        if control.is_stopped() {
            Ended::Stopped
        } else if self.engine.joined() == 0 {
            Ended::Deserted
        } else if is_behind {
            Ended::FellBehind
        } else if self.under_way > 0 && self.last_news.elapsed() > STALLED {
            Ended::Stalled
        } else {
            Ended::Complete
        }
    }

    // === Sending ===

    /// Sends what is due; until when nothing else is.
    fn send_due(&mut self) -> Instant {
        let now = Instant::now();
        while let Some((_, index)) = self.resting.pop_front_if(|(until, _)| *until <= now) {
            self.touched.push(self.engine.seat(index).room);
            self.free.push(index);
        }
        let far = now + Duration::from_secs(1);
        let mut next = self.resting.front().map_or(far, |(until, _)| *until);
        match self.load.pace {
            Pace::Window(window) if window < self.load.rooms => self.fill_in_turn(window),
            Pace::Window(window) => self.fill_rooms(window),
            Pace::Rate(rate) => next = self.send_at_rate(rate),
            Pace::OneEach => self.send_from_free(),
        }
        self.touched.clear();
        self.free.clear();
        next
    }

    /// Each room has its share of the window.
    fn fill_rooms(&mut self, window: usize) {
        let (share, more) = (window / self.load.rooms, window % self.load.rooms);
        while let Some(room) = self.touched.pop() {
            let share = share + usize::from(room < more);
            // Those that were refused count as under way while they are left alone.
            let resting = self.resting.iter();
            let resting = resting.filter(|(_, index)| self.engine.seat(*index).room == room);
            let share = share.saturating_sub(resting.count());
            while self.rooms[room].under_way() < share {
                if !self.send_in(room, Instant::now()) {
                    break;
                }
            }
        }
    }

    /// There is less than one for each room, so they take turns.
    fn fill_in_turn(&mut self, window: usize) {
        for _ in 0..self.load.rooms {
            if self.under_way + self.resting.len() >= window {
                return;
            }
            let room = self.next_room;
            self.next_room = (room + 1) % self.load.rooms;
            self.send_in(room, Instant::now());
        }
    }

    fn send_at_rate(&mut self, rate: f64) -> Instant {
        for _ in 0..MOST_AT_ONCE {
            let due = self.first_due + Duration::from_secs_f64(self.due_so_far as f64 / rate);
            if due > Instant::now() {
                return due;
            }
            let room = self.due_so_far as usize % self.load.rooms;
            self.due_so_far += 1;
            self.send_in(room, due);
        }
        Instant::now()
    }

    fn send_from_free(&mut self) {
        let now = Instant::now();
        for index in std::mem::take(&mut self.free) {
            if self.engine.is_joined(index) {
                self.send_from(index, now);
            }
        }
    }

    /// Sends the room's next message, by the member whose turn it is. False when nobody is there.
    fn send_in(&mut self, room: usize, due: Instant) -> bool {
        for _ in 0..self.load.members {
            let member = self.turns[room] % self.load.members;
            self.turns[room] += 1;
            let index = room * self.load.members + member;
            if self.engine.is_joined(index) {
                self.send_from(index, due);
                return true;
            }
        }
        false
    }

    fn send_from(&mut self, index: usize, due: Instant) {
        let Seat { room, member } = self.engine.seat(index);
        let name = self.rooms[room].send(member, due);
        if self.under_way == 0 {
            self.last_news = Instant::now();
        }
        self.under_way += 1;
        self.messages += u64::from(self.is_counted(due));
        self.engine.say_message(index, name, &self.content);
    }

    // === Receiving ===

    fn take(&mut self, inbox: &mut Vec<Incident>) {
        for incident in inbox.drain(..) {
            let index = incident.connection;
            let Seat { room, member } = self.engine.seat(index);
            let under_way = self.rooms[room].under_way();
            match incident.what {
                What::Message { name, .. } => {
                    let progressed = self.rooms[room].deliver(member, name);
                    self.last_news = incident.at;
                    self.on_progress(room, progressed, incident.at);
                }
                What::Acked { name } => {
                    let progressed = self.rooms[room].ack(name);
                    self.on_progress(room, progressed, incident.at);
                }
                What::Refused {
                    name,
                    code,
                    unknown,
                } => {
                    count(&mut self.refused, &code);
                    if self.rooms[room].refuse(name, unknown) {
                        self.resting.push_back((incident.at + REFUSED, index));
                    }
                }
                What::Error { code } => count(&mut self.errors, &code),
                What::Lost { why } => {
                    count(&mut self.lost, &why);
                    self.rooms[room].leave(member);
                }
                What::Joined | What::Page { .. } => {}
            }
            let now_under_way = self.rooms[room].under_way();
            if now_under_way != under_way {
                self.under_way -= under_way - now_under_way;
                self.touched.push(room);
            }
        }
    }

    fn on_progress(&mut self, room: usize, progressed: Progressed, at: Instant) {
        let Progressed {
            delivered,
            acked,
            complete,
        } = progressed;
        if let Some(due) = delivered {
            self.deliveries += 1;
            if self.is_counted(due) {
                note(&mut self.delivery, due, at);
            }
        }
        if let Some((sender, due)) = acked {
            self.acked += 1;
            self.free.push(room * self.load.members + sender);
            if self.is_counted(due) {
                note(&mut self.ack, due, at);
            }
        }
        if let Some(due) = complete
            && self.is_counted(due)
        {
            note(&mut self.complete, due, at);
        }
    }

    fn is_counted(&self, due: Instant) -> bool {
        match self.counted {
            None => false,
            Some((from, None)) => due >= from,
            Some((from, Some(to))) => due >= from && due < to,
        }
    }

    // === Results ===

    fn units(&self) -> u64 {
        match self.load.counted {
            Counted::Acks => self.acked,
            Counted::Deliveries => self.deliveries,
        }
    }

    fn verdict(&self) -> Verdict {
        let mut all = Verdict::default();
        for room in &self.rooms {
            all.add(room.verdict());
        }
        all
    }

    fn times(&self) -> Vec<Times> {
        let (delivery, complete) = (self.delivery.clone(), self.complete.clone());
        let ack = self.ack.clone();
        match self.load.counted {
            Counted::Acks => vec![ack, delivery, complete],
            Counted::Deliveries => vec![delivery, complete, ack],
        }
    }

    fn tell(&mut self, phase: &'static str, control: &mut Control<'_>) {
        let trouble = [&self.refused, &self.errors, &self.lost];
        let (unit, units) = (self.load.counted.unit(), self.units());
        let joined = self.engine.joined();
        self.teller
            .tell(control, phase, unit, units, joined, &trouble);
    }
}
