//! Everybody is cut at once, misses some messages, and comes back behind the last one that they had.
//!
//! Each room has one member more than is cut: the writer, who stays and says what the others miss. Its
//! copies are the order that everybody else has to see.

use std::{
    cell::Cell,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    connection::What,
    engine::{Engine, Incident},
    error::LoadError,
    fill::{Fill, Written, fill},
    meter::{Memory, Meter, note, resident, times},
    opening::{Arrival, Opener, Outcome, open_all},
    order::{Follower, Seen, Verdict},
    progress::Teller,
    report::{Ended, Report, Times},
    target::{Control, Target, Watched},
    traffic::{check_shape, count, seats},
};

/// When everybody has everything: so long for what should not come any more.
const AFTERWARDS: Duration = Duration::from_millis(500);
/// So long without anything new, and what is missing is missing.
const SETTLED: Duration = Duration::from_secs(5);

/// The load.
#[derive(Debug, Clone, PartialEq)]
pub struct Resume {
    /// How many conversations.
    pub rooms: usize,
    /// How many members of each are cut. Member number `members` of each room is its writer.
    pub members: usize,
    /// How many messages of its room each misses.
    pub missed: u64,
    /// How they come back.
    pub arrival: Arrival,
    /// How many bytes of content a message has.
    pub content_bytes: usize,
}

/// Runs the load. The unit is a resume: a member that is back in its room with everything that it missed.
///
/// # Errors
/// When the load cannot be made, somebody cannot join, or a watched process is gone.
pub fn run(
    target: &Target<'_>,
    load: &Resume,
    control: &mut Control<'_>,
) -> Result<Report, LoadError> {
    check_shape(load.rooms, load.members)?;
    load.arrival.check()?;
    let engine = Engine::new(target, seats(load.rooms, load.members + 1))?;
    let mut run = Run::new(engine, load, &target.processes);
    let is_ready = run.prepare(control)?;
    let before_bytes = resident(&target.processes)?;
    let meter = Meter::start(&target.processes)?;
    if is_ready {
        run.come_back(control)?;
    } else {
        run.ended = Ended::Stopped;
    }
    let spent = meter.stop()?;
    let after_bytes = resident(&target.processes)?;
    run.wait_for_more()?;
    let verdict = run.verdict();
    Ok(Report {
        workload: "resume",
        unit: "resume",
        units: run.resumed.us.len(),
        messages: run.load.missed * run.load.rooms as u64,
        elapsed: spent.elapsed,
        connections: run.engine.joined(),
        processes: run.memory.used(&spent.cpu, &before_bytes, &after_bytes),
        generator_cpu: spent.own_cpu,
        times: vec![run.resumed, run.joined, run.handshake],
        verdict,
        refused: run.turned_away,
        errors: run.errors,
        lost: run.lost,
        hold: None,
        ended: run.ended,
    })
}

/// Whether the server has said that it does not take this one now, and the client tries again.
fn is_planned(why: &str, outcome: &Option<Outcome>) -> bool {
    let is_tried_again = matches!(outcome, Some(Outcome::Again));
    is_tried_again && matches!(why, "HTTP 503" | "1012" | "1013")
}

/// A member that is cut.
struct Member {
    follower: Follower,
    due: Instant,
    has_joined: bool,
    is_back: bool,
}

struct Run<'a> {
    engine: Engine<'a>,
    load: &'a Resume,
    content: String,
    writers: Vec<usize>,
    /// From a member's last first packet to the answer of the upgrade.
    handshake: Times,
    /// Attempts that the server turned away for the time being, by status or close code.
    turned_away: BTreeMap<String, u64>,
    memory: Memory<'a>,
    /// By connection; of writers, too, so that indexes agree.
    members: Vec<Member>,
    /// The message that everybody has before they are cut, room by room.
    since: Vec<Option<u64>>,
    written: Vec<Written>,
    resumed: Times,
    joined: Times,
    duplicate: u64,
    differently_ordered: u64,
    is_cut: bool,
    last_news: Instant,
    errors: BTreeMap<String, u64>,
    lost: BTreeMap<String, u64>,
    ended: Ended,
    teller: Teller,
}

impl<'a> Run<'a> {
    fn new(engine: Engine<'a>, load: &'a Resume, watched: &'a [Watched]) -> Self {
        let now = Instant::now();
        let member = |_| Member {
            follower: Follower::default(),
            due: now,
            has_joined: false,
            is_back: false,
        };
        let per_room = load.members + 1;
        Self {
            content: "x".repeat(load.content_bytes),
            writers: (0..load.rooms)
                .map(|room| room * per_room + load.members)
                .collect(),
            members: (0..engine.len()).map(member).collect(),
            engine,
            load,
            since: Vec::new(),
            written: Vec::new(),
            resumed: times("resume"),
            joined: times("join"),
            handshake: times("handshake"),
            turned_away: BTreeMap::new(),
            memory: Memory::of(watched),
            duplicate: 0,
            differently_ordered: 0,
            is_cut: false,
            last_news: now,
            errors: BTreeMap::new(),
            lost: BTreeMap::new(),
            ended: Ended::Complete,
            teller: Teller::new(),
        }
    }

    /// Everybody joins and gets one message; then all but the writers are cut, and those say what the
    /// others miss. False when it was stopped.
    fn prepare(&mut self, control: &mut Control<'_>) -> Result<bool, LoadError> {
        if !open_all(&mut self.engine, control, &mut self.teller)? || !self.begin(control)? {
            return Ok(false);
        }
        for index in self.cut_ones() {
            self.engine.cut(index);
        }
        self.is_cut = true;
        let missed = Fill {
            writers: &self.writers,
            first: 2,
            count: self.load.missed,
            content: &self.content,
        };
        let (engine, teller) = (&mut self.engine, &mut self.teller);
        let written = fill(engine, &missed, control, teller, |_| {})?;
        let is_whole = written.is_some();
        self.written = written.unwrap_or_default();
        Ok(is_whole)
    }

    /// One message in each room, which everybody gets. False when it was stopped.
    fn begin(&mut self, control: &mut Control<'_>) -> Result<bool, LoadError> {
        let came = Cell::new(0);
        let count = |incident: &Incident| {
            let is_message = matches!(incident.what, What::Message { .. });
            came.set(came.get() + usize::from(is_message));
        };
        let first = Fill {
            writers: &self.writers,
            first: 1,
            count: 1,
            content: &self.content,
        };
        let (engine, teller) = (&mut self.engine, &mut self.teller);
        let Some(written) = fill(engine, &first, control, teller, count)? else {
            return Ok(false);
        };
        let first_id = |room: &Written| room.ids.first().copied();
        self.since = written.iter().map(first_id).collect();
        // Who misses even this one resumes behind it all the same, and is not waited for.
        let until = Instant::now() + SETTLED;
        let mut inbox = Vec::new();
        let all = self.load.rooms * self.load.members;
        while came.get() < all && Instant::now() < until {
            engine.turn(until, &mut inbox)?;
            inbox.drain(..).for_each(|incident| count(&incident));
        }
        Ok(true)
    }

    /// The connections of all who are cut.
    fn cut_ones(&self) -> Vec<usize> {
        let all = 0..self.engine.len();
        all.filter(|index| self.engine.seat(*index).member < self.load.members)
            .collect()
    }

    fn come_back(&mut self, control: &mut Control<'_>) -> Result<(), LoadError> {
        let since = |index| (index, self.since[self.engine.seat(index).room]);
        let waiting: Vec<_> = self.cut_ones().into_iter().map(since).collect();
        let all = waiting.len() as u64;
        for (index, since) in &waiting {
            self.engine.set_since(*index, *since);
        }
        let mut opener = Opener::new(self.load.arrival, waiting);
        self.last_news = Instant::now();
        let mut inbox = Vec::new();
        loop {
            let until = opener.step(&mut self.engine, &mut inbox);
            self.engine.turn(until, &mut inbox)?;
            for incident in inbox.drain(..) {
                self.take(&incident, opener.saw(&incident));
            }
            self.memory.look()?;
            let back = self.resumed.us.len();
            let trouble = [&self.errors, &self.lost, &self.turned_away];
            let joined = self.engine.joined();
            self.teller
                .tell(control, "coming back", "resume", back, joined, &trouble);
            let is_settled = opener.is_done() && self.last_news.elapsed() > SETTLED;
            if back == all || is_settled {
                return Ok(());
            }
            if control.is_stopped() {
                self.ended = Ended::Stopped;
                return Ok(());
            }
        }
    }

    fn take(&mut self, incident: &Incident, outcome: Option<Outcome>) {
        let index = incident.connection;
        match &incident.what {
            What::Message { name, id } => {
                self.take_message(index, (*name, *id), incident.at);
            }
            What::Error { code } => count(&mut self.errors, code),
            What::Lost { why } if is_planned(why, &outcome) => count(&mut self.turned_away, why),
            What::Lost { why } => count(&mut self.lost, why),
            What::Joined | What::Acked { .. } | What::Refused { .. } | What::Page { .. } => {}
        }
        let member = &mut self.members[index];
        if let Some(Outcome::Joined(due)) = outcome {
            member.has_joined = true;
            member.due = due;
            note(&mut self.joined, due, incident.at);
            let handshake = self.engine.handshake(index);
            note(&mut self.handshake, incident.at - handshake, incident.at);
            self.last_news = incident.at;
        }
        let has_all = member.follower.count() == self.load.missed;
        if member.has_joined && has_all && !member.is_back {
            member.is_back = true;
            note(&mut self.resumed, member.due, incident.at);
        }
    }

    fn take_message(&mut self, index: usize, (name, id): (u64, u64), at: Instant) {
        let room = self.engine.seat(index).room;
        if self.writers[room] == index {
            return;
        }
        self.last_news = at;
        let place = name.checked_sub(2);
        let place = place.and_then(|place| usize::try_from(place).ok());
        let rank = place.and_then(|place| self.written[room].ranks.get(place));
        self.engine.set_since(index, Some(id));
        let Some(rank @ 1..) = rank.copied() else {
            // What it had before it was cut.
            self.duplicate += 1;
            return;
        };
        match self.members[index].follower.see(rank) {
            Seen::Forward => {}
            Seen::Late => self.differently_ordered += 1,
            Seen::Again => self.duplicate += 1,
        }
    }

    /// Whether something comes that should not.
    fn wait_for_more(&mut self) -> Result<(), LoadError> {
        let until = Instant::now() + AFTERWARDS;
        let mut inbox = Vec::new();
        while self.is_cut && self.ended == Ended::Complete && Instant::now() < until {
            self.engine.turn(until, &mut inbox)?;
            for incident in inbox.drain(..) {
                self.take(&incident, None);
            }
        }
        Ok(())
    }

    fn verdict(&self) -> Verdict {
        let mut missing = 0;
        // Of a run that was stopped nobody knows what would have come, nor of members that did not.
        if self.ended == Ended::Complete {
            let back = self
                .cut_ones()
                .into_iter()
                .map(|index| &self.members[index]);
            for member in back.filter(|member| member.has_joined) {
                missing += self.load.missed - member.follower.count();
            }
        }
        Verdict {
            missing,
            duplicate: self.duplicate,
            reordered: 0,
            differently_ordered: self.differently_ordered,
        }
    }
}
