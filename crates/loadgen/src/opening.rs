//! Opening many connections: so many at a time, or so many per second.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    connection::What,
    engine::{Engine, Incident},
    error::LoadError,
    progress::Teller,
    target::Control,
};

/// In which way connections come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arrival {
    /// As many are being opened at any time: the server decides how fast they come.
    AtOnce(usize),
    /// As many begin each second, whatever the server does with them.
    PerSecond(f64),
}

/// What members of the other workloads come in.
pub(crate) const EASY: Arrival = Arrival::AtOnce(64);

impl Arrival {
    pub(crate) fn check(self) -> Result<(), LoadError> {
        let is_possible = match self {
            Self::AtOnce(count) => count > 0,
            Self::PerSecond(rate) => rate.is_finite() && rate > 0.0,
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
}

/// What became of a connection that was being opened.
pub(crate) enum Outcome {
    /// It joined; when it had been due.
    Joined(Instant),
    Lost,
}

impl Opener {
    pub(crate) fn new(arrival: Arrival, waiting: Vec<(usize, Option<u64>)>) -> Self {
        Self {
            arrival,
            began: Instant::now(),
            waiting,
            begun: 0,
            under_way: 0,
            due: BTreeMap::new(),
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.begun == self.waiting.len() && self.under_way == 0
    }

    /// Begins no more.
    pub(crate) fn stop(&mut self) {
        self.waiting.truncate(self.begun);
    }

    /// Begins what is due; until when nothing else is.
    pub(crate) fn step(&mut self, engine: &mut Engine<'_>, inbox: &mut Vec<Incident>) -> Instant {
        let far = Instant::now() + Duration::from_secs(1);
        while let Some((index, since)) = self.waiting.get(self.begun).copied() {
            let now = Instant::now();
            let due = match self.arrival {
                Arrival::AtOnce(most) if self.under_way >= most => return far,
                Arrival::AtOnce(_) => now,
                Arrival::PerSecond(rate) => {
                    self.began + Duration::from_secs_f64(self.begun as f64 / rate)
                }
            };
            if due > now {
                return due;
            }
            self.begun += 1;
            self.under_way += 1;
            self.due.insert(index, due);
            if let Err(error) = engine.open_since(index, since) {
                inbox.push(Incident {
                    connection: index,
                    at: now,
                    what: What::Lost {
                        why: error.to_string().into(),
                    },
                });
            }
        }
        far
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
        Some(if is_lost {
            Outcome::Lost
        } else {
            Outcome::Joined(due)
        })
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
