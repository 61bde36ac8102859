//! Pages of what was said before: how many a server reads, and how long one takes.
//!
//! The history is written first, by member 0 of each room, so every page is known: how many messages it
//! has, which, and that they are in order is checked for each.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::{
    chance::Chance,
    connection::What,
    dialect::PageAt,
    engine::{Engine, Incident},
    error::LoadError,
    fill::{Fill, Written, fill},
    meter::{Meter, note, resident, times, used},
    opening::open_all,
    order::Verdict,
    progress::Teller,
    report::{Ended, Report, Times},
    target::{Control, Target},
    traffic::{MOST_AT_ONCE, check_rate, check_shape, count, seats},
};

/// An answer that takes longer is missing.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which pages are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The newest, as by somebody who opens a conversation.
    Newest,
    /// The oldest, as by somebody who has scrolled all the way.
    Oldest,
    /// Any.
    Random,
}

/// What decides when the next page is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Closed loop: every member has asked for one page and asks for the next when it has it.
    OneEach,
    /// Open loop: so many pages a second, by all members in turn.
    PerSecond(f64),
}

/// The load.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// How many conversations.
    pub rooms: usize,
    /// How many members each has; all of them read.
    pub members: usize,
    /// How many messages are written into each before.
    pub messages: u64,
    /// How many of them are on a page.
    pub page_rows: u64,
    /// Which pages are read.
    pub which: Which,
    /// When they are asked for.
    pub pace: Pace,
    /// How many bytes of content a message has.
    pub content_bytes: usize,
    /// Not counted: the beginning.
    pub warm_up: Duration,
    /// Counted.
    pub measured: Duration,
}

/// Runs the load. The unit is a page.
///
/// # Errors
/// When the load cannot be made, the dialect has no pages, somebody cannot join, or a watched process is
/// gone.
pub fn run(
    target: &Target<'_>,
    load: &History,
    control: &mut Control<'_>,
) -> Result<Report, LoadError> {
    check(load)?;
    let before_bytes = resident(&target.processes)?;
    let mut engine = Engine::new(target, seats(load.rooms, load.members))?;
    let mut teller = Teller::new();
    let mut written = None;
    if open_all(&mut engine, control, &mut teller)? {
        let writers: Vec<usize> = (0..load.rooms).map(|room| room * load.members).collect();
        let history = Fill {
            writers: &writers,
            first: 1,
            count: load.messages,
            content: &"x".repeat(load.content_bytes),
        };
        written = fill(&mut engine, &history, control, &mut teller, |_| {})?;
    }
    let connections = engine.joined();
    let is_ready = written.is_some();
    let mut run = Run::new(engine, load, written.unwrap_or_default(), teller);
    if !is_ready {
        run.ended = Ended::Stopped;
    }
    run.go_on("warming up", Instant::now() + load.warm_up, control)?;
    let meter = Meter::start(&target.processes)?;
    run.counted_from = Some(meter.began());
    run.pages = 0;
    run.go_on("measuring", meter.began() + load.measured, control)?;
    let spent = meter.stop()?;
    let pages = run.pages;
    let after_bytes = resident(&target.processes)?;
    run.settle()?;
    Ok(Report {
        workload: "history",
        unit: "page",
        units: pages,
        messages: 0,
        elapsed: spent.elapsed,
        connections,
        processes: used(&target.processes, &spent.cpu, &before_bytes, &after_bytes),
        generator_cpu: spent.own_cpu,
        verdict: run.verdict,
        times: vec![run.page],
        refused: BTreeMap::new(),
        errors: run.errors,
        lost: run.lost,
        hold: None,
        ended: run.ended,
    })
}

fn check(load: &History) -> Result<(), LoadError> {
    check_shape(load.rooms, load.members)?;
    if let Pace::PerSecond(rate) = load.pace {
        check_rate(rate)?;
    }
    if (1..=100).contains(&load.page_rows) && load.messages >= load.page_rows {
        return Ok(());
    }
    Err(LoadError::Arguments(format!(
        "pages of {} out of {} messages cannot be read; a page has 1 to 100, and there must be at least \
         as many messages",
        load.page_rows, load.messages
    )))
}

/// A page that was asked for.
struct Asked {
    request: u64,
    due: Instant,
    /// The newest and the oldest message that are on it.
    ids: (u64, u64),
}

struct Run<'a> {
    engine: Engine<'a>,
    load: &'a History,
    written: Vec<Written>,
    /// What each connection has asked for, the oldest first.
    asked: Vec<VecDeque<Asked>>,
    /// How many answers are awaited.
    awaited: usize,
    requests: u64,
    /// Members that wait for nothing.
    free: Vec<usize>,
    first_due: Instant,
    due_so_far: u64,
    counted_from: Option<Instant>,
    pages: u64,
    page: Times,
    verdict: Verdict,
    chance: Chance,
    errors: BTreeMap<String, u64>,
    lost: BTreeMap<String, u64>,
    ended: Ended,
    last_page: Instant,
    teller: Teller,
}

impl<'a> Run<'a> {
    fn new(engine: Engine<'a>, load: &'a History, written: Vec<Written>, teller: Teller) -> Self {
        let now = Instant::now();
        Self {
            written,
            asked: (0..engine.len()).map(|_| VecDeque::new()).collect(),
            awaited: 0,
            requests: 0,
            free: (0..engine.len()).collect(),
            engine,
            load,
            first_due: now,
            due_so_far: 0,
            counted_from: None,
            pages: 0,
            page: times("page"),
            verdict: Verdict::default(),
            chance: Chance(1),
            errors: BTreeMap::new(),
            lost: BTreeMap::new(),
            ended: Ended::Complete,
            last_page: now,
            teller,
        }
    }

    fn go_on(
        &mut self,
        phase: &'static str,
        end: Instant,
        control: &mut Control<'_>,
    ) -> Result<(), LoadError> {
        let mut inbox = Vec::new();
        while self.ended == Ended::Complete && Instant::now() < end {
            let next = self.ask_due()?;
            self.engine.turn(end.min(next), &mut inbox)?;
            self.take(&mut inbox);
            let trouble = [&self.errors, &self.lost];
            let joined = self.engine.joined();
            self.teller
                .tell(control, phase, "page", self.pages, joined, &trouble);
            if control.is_stopped() {
                self.ended = Ended::Stopped;
            } else if self.awaited > 0 && self.last_page.elapsed() > PATIENCE {
                self.ended = Ended::Stalled;
            }
        }
        Ok(())
    }

    /// Waits for the answers that are due; those that do not come are missing.
    fn settle(&mut self) -> Result<(), LoadError> {
        let until = Instant::now() + PATIENCE;
        let mut inbox = Vec::new();
        while self.awaited > 0 && Instant::now() < until {
            self.engine.turn(until, &mut inbox)?;
            self.take(&mut inbox);
        }
        self.verdict.missing += self.awaited as u64 * self.load.page_rows;
        Ok(())
    }

    fn ask_due(&mut self) -> Result<Instant, LoadError> {
        match self.load.pace {
            Pace::OneEach => {
                let now = Instant::now();
                for index in std::mem::take(&mut self.free) {
                    self.ask(index, now)?;
                }
                Ok(now + Duration::from_secs(1))
            }
            Pace::PerSecond(rate) => {
                self.free.clear();
                for _ in 0..MOST_AT_ONCE {
                    let due = self.due_so_far as f64 / rate;
                    let due = self.first_due + Duration::from_secs_f64(due);
                    if due > Instant::now() {
                        return Ok(due);
                    }
                    // Neighbours ask in different rooms.
                    let turn = self.due_so_far as usize;
                    let (room, member) = (turn % self.load.rooms, turn / self.load.rooms);
                    let member = member % self.load.members;
                    self.due_so_far += 1;
                    self.ask(room * self.load.members + member, due)?;
                }
                Ok(Instant::now())
            }
        }
    }

    fn ask(&mut self, index: usize, due: Instant) -> Result<(), LoadError> {
        if !self.engine.is_joined(index) {
            return Ok(());
        }
        let (at, ids) = self.choose(self.engine.seat(index).room);
        self.requests += 1;
        let (request, rows) = (self.requests, self.load.page_rows);
        let mut is_possible = false;
        self.engine.say(index, |dialect, seat, to| {
            is_possible = dialect.page(seat, request, at, rows, to);
        });
        if !is_possible {
            let error = "this kind of server has no history that can be read";
            return Err(LoadError::Arguments(error.to_owned()));
        }
        if self.awaited == 0 {
            self.last_page = Instant::now();
        }
        self.awaited += 1;
        self.asked[index].push_back(Asked { request, due, ids });
        Ok(())
    }

    /// A page that is whole, and the newest and the oldest message on it.
    fn choose(&mut self, room: usize) -> (PageAt, (u64, u64)) {
        let (rows, all) = (self.load.page_rows, self.load.messages);
        // How many messages of the room are on the page or before it.
        let up_to = match self.load.which {
            Which::Newest => all,
            Which::Oldest => rows,
            Which::Random => rows + self.chance.draw() % (all - rows + 1),
        };
        let ids = &self.written[room].ids;
        let id = |place: u64| ids.get(usize::try_from(place).ok()?).copied();
        let at = id(up_to).map_or(PageAt::Newest, PageAt::Before);
        let end = |place| id(place).unwrap_or(0);
        (at, (end(up_to - 1), end(up_to - rows)))
    }

    fn take(&mut self, inbox: &mut Vec<Incident>) {
        for incident in inbox.drain(..) {
            let index = incident.connection;
            match incident.what {
                What::Page {
                    request,
                    rows,
                    in_order,
                    ids,
                } => {
                    self.last_page = incident.at;
                    self.take_page(index, request, ids, incident.at);
                    self.verdict.missing += self.load.page_rows.saturating_sub(rows);
                    self.verdict.duplicate += rows.saturating_sub(self.load.page_rows);
                    self.verdict.reordered += u64::from(!in_order);
                }
                What::Error { code } => {
                    // It answers the oldest question, as far as anybody can tell.
                    self.awaited -= usize::from(self.asked[index].pop_front().is_some());
                    self.free.push(index);
                    count(&mut self.errors, &code);
                }
                What::Lost { why } => {
                    self.awaited -= self.asked[index].len();
                    self.asked[index].clear();
                    count(&mut self.lost, &why);
                }
                What::Joined | What::Message { .. } | What::Acked { .. } | What::Refused { .. } => {
                }
            }
        }
    }

    fn take_page(&mut self, index: usize, request: u64, ids: (u64, u64), at: Instant) {
        let asked = &mut self.asked[index];
        let place = asked.iter().position(|asked| asked.request == request);
        let Some(asked) = place.and_then(|place| asked.remove(place)) else {
            self.verdict.duplicate += 1;
            return;
        };
        self.awaited -= 1;
        // It may be whole and in order, and still another page.
        self.verdict.differently_ordered += u64::from(ids != asked.ids);
        self.free.push(index);
        self.pages += 1;
        if self.counted_from.is_some_and(|from| asked.due >= from) {
            note(&mut self.page, asked.due, at);
        }
    }
}
