//! Opening many connections: so many at a time, so many per second, or as clients come back by themselves.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::{Duration, Instant},
};

use crate::{
    chance::Chance,
    connection::What,
    engine::{Engine, Incident},
    error::LoadError,
    progress::Teller,
    target::Control,
    traffic::MOST_AT_ONCE,
};

/// In which way connections come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arrival {
    /// As many are being opened at any time: the server decides how fast they come.
    AtOnce(usize),
    /// As many begin each second, whatever the server does with them.
    PerSecond(f64),
    /// Each comes by itself after a pause as the protocol has it, and again after a longer one until it
    /// is in its room: half a second and by chance as much again, which doubles up to 20 s.
    Backoff,
}

/// What members of the other workloads come in.
pub(crate) const EASY: Arrival = Arrival::AtOnce(64);

impl Arrival {
    pub(crate) fn check(self) -> Result<(), LoadError> {
        let is_possible = match self {
            Self::AtOnce(count) => count > 0,
            Self::PerSecond(rate) => rate.is_finite() && rate > 0.0,
            Self::Backoff => true,
        };
        if is_possible {
            return Ok(());
        }
        Err(LoadError::Arguments(format!(
            "connections cannot come by {self:?}; give more than zero"
        )))
    }
}

/// Opens connections, each to be resumed behind an id or not.
pub(crate) struct Opener {
    arrival: Arrival,
    began: Instant,
    waiting: Vec<(usize, Option<u64>)>,
    /// How many of them were begun.
    begun: usize,
    /// Begun, and neither joined nor lost.
    under_way: usize,
    /// When each connection was due.
    due: BTreeMap<usize, Instant>,
    /// With [`Arrival::Backoff`]: when which connection tries next, and how often it did.
    pauses: BinaryHeap<Reverse<(Instant, usize, u32)>>,
    /// How often those that are under way did.
    tried: BTreeMap<usize, u32>,
    chance: Chance,
}

/// What became of a connection that was being opened.
pub(crate) enum Outcome {
    /// It joined; when it had been due.
    Joined(Instant),
    Lost,
    /// It was lost, and tries again.
    Again,
}

impl Opener {
    pub(crate) fn new(arrival: Arrival, waiting: Vec<(usize, Option<u64>)>) -> Self {
        let mut opener = Self {
            arrival,
            began: Instant::now(),
            waiting,
            begun: 0,
            under_way: 0,
            due: BTreeMap::new(),
            pauses: BinaryHeap::new(),
            tried: BTreeMap::new(),
            chance: Chance(0),
        };
        if arrival == Arrival::Backoff {
            for place in 0..opener.waiting.len() {
                opener.pause(opener.waiting[place].0, 0);
            }
        }
        opener
    }

    /// The connection tries after a pause.
    fn pause(&mut self, index: usize, tries: u32) {
        let at = Instant::now() + self.chance.backoff(tries);
        self.pauses.push(Reverse((at, index, tries)));
    }

    pub(crate) fn is_done(&self) -> bool {
        let is_begun = match self.arrival {
            Arrival::AtOnce(_) | Arrival::PerSecond(_) => self.begun == self.waiting.len(),
            Arrival::Backoff => self.pauses.is_empty(),
        };
        is_begun && self.under_way == 0
    }

    /// Begins no more.
    pub(crate) fn stop(&mut self) {
        self.waiting.truncate(self.begun);
        self.pauses.clear();
    }

    /// Begins what is due; until when nothing else is.
    pub(crate) fn step(&mut self, engine: &mut Engine<'_>, inbox: &mut Vec<Incident>) -> Instant {
        let far = Instant::now() + Duration::from_secs(1);
        if self.arrival == Arrival::Backoff {
            return self.step_back(engine, inbox).unwrap_or(far);
        }
        while let Some((index, since)) = self.waiting.get(self.begun).copied() {
            let now = Instant::now();
            let due = match self.arrival {
                Arrival::AtOnce(most) if self.under_way >= most => return far,
                Arrival::AtOnce(_) => now,
                Arrival::PerSecond(rate) => {
                    self.began + Duration::from_secs_f64(self.begun as f64 / rate)
                }
                Arrival::Backoff => return far,
            };
            if due > now {
                return due;
            }
            self.begun += 1;
            self.under_way += 1;
            self.due.insert(index, due);
            engine.set_since(index, since);
            open(engine, index, inbox);
        }
        far
    }

    /// Tries those whose pause is over; when the next is, if one has one. They were due when they were
    /// cut off, and resume behind the last that they have.
    fn step_back(&mut self, engine: &mut Engine<'_>, inbox: &mut Vec<Incident>) -> Option<Instant> {
        for _ in 0..MOST_AT_ONCE {
            let Reverse((at, ..)) = self.pauses.peek()?;
            if *at > Instant::now() {
                return Some(*at);
            }
            let Reverse((_, index, tries)) = self.pauses.pop()?;
            self.under_way += 1;
            self.due.insert(index, self.began);
            self.tried.insert(index, tries + 1);
            open(engine, index, inbox);
        }
        Some(Instant::now())
    }

    /// Takes note of an incident; what it means for a connection that was being opened.
    pub(crate) fn saw(&mut self, incident: &Incident) -> Option<Outcome> {
        let is_lost = match incident.what {
            What::Joined => false,
            What::Lost { .. } => true,
            What::Message { .. }
            | What::Acked { .. }
            | What::Refused { .. }
            | What::Error { .. }
            | What::Page { .. } => return None,
        };
        let due = self.due.remove(&incident.connection)?;
        self.under_way -= 1;
        let tries = self.tried.remove(&incident.connection);
        Some(match (is_lost, tries) {
            (false, _) => Outcome::Joined(due),
            (true, None) => Outcome::Lost,
            (true, Some(tries)) => {
                self.pause(incident.connection, tries);
                Outcome::Again
            }
        })
    }
}

fn open(engine: &mut Engine<'_>, index: usize, inbox: &mut Vec<Incident>) {
    if let Err(error) = engine.open(index) {
        inbox.push(Incident {
            connection: index,
            at: Instant::now(),
            what: What::Lost {
                why: error.to_string().into(),
            },
        });
    }
}

/// Opens all connections of `engine` and waits until they are in their rooms. False when it was stopped
/// meanwhile.
pub(crate) fn open_all(
    engine: &mut Engine<'_>,
    control: &mut Control<'_>,
    teller: &mut Teller,
) -> Result<bool, LoadError> {
    let waiting = (0..engine.len()).map(|index| (index, None)).collect();
    let mut opener = Opener::new(EASY, waiting);
    let mut inbox = Vec::new();
    while !opener.is_done() {
        if control.is_stopped() {
            return Ok(false);
        }
        let until = opener.step(engine, &mut inbox);
        engine.turn(until, &mut inbox)?;
        for incident in inbox.drain(..) {
            opener.saw(&incident);
            let seat = engine.seat(incident.connection);
            match incident.what {
                What::Lost { why } => {
                    return Err(LoadError::CannotJoin {
                        room: seat.room,
                        member: seat.member,
                        reason: why.into(),
                    });
                }
                What::Joined
                | What::Message { .. }
                | What::Acked { .. }
                | What::Refused { .. }
                | What::Error { .. }
                | What::Page { .. } => {}
            }
        }
        let joined = engine.joined();
        teller.tell(control, "connecting", "connect", joined as u64, joined, &[]);
    }
    Ok(true)
}
