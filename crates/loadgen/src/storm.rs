//! Many connections that then do nothing: how fast they come, and what each costs.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    connection::What,
    engine::Engine,
    error::LoadError,
    meter::{Meter, note, resident, times, used},
    opening::{Arrival, Opener, Outcome},
    order::Verdict,
    progress::Teller,
    report::{Ended, Hold, Report, Times},
    target::{Control, Target},
    traffic::{check_shape, count, seats},
};

/// The load.
#[derive(Debug, Clone, PartialEq)]
pub struct Storm {
    /// How many conversations.
    pub rooms: usize,
    /// How many members each has; each is a connection.
    pub members: usize,
    /// How they come.
    pub arrival: Arrival,
    /// How long they are held. Pings of the server are answered meanwhile.
    pub hold: Duration,
}

/// Runs the load. The unit is a connect: from the first packet, or from when it was due, until the member
/// is in its room. Connections that fail are counted as lost and do not end the run.
///
/// # Errors
/// When the load cannot be made, nobody at all can join, or a watched process is gone.
pub fn run(
    target: &Target<'_>,
    load: &Storm,
    control: &mut Control<'_>,
) -> Result<Report, LoadError> {
    check_shape(load.rooms, load.members)?;
    load.arrival.check()?;
    let before_bytes = resident(&target.processes)?;
    let engine = Engine::new(target, seats(load.rooms, load.members))?;
    let mut run = Run {
        engine,
        connect: times("connect"),
        errors: BTreeMap::new(),
        lost: BTreeMap::new(),
        ended: Ended::Complete,
        teller: Teller::new(),
    };
    let meter = Meter::start(&target.processes)?;
    run.connect(load.arrival, control)?;
    let spent = meter.stop()?;
    let connections = run.engine.joined();
    if connections == 0 && run.ended == Ended::Complete {
        return Err(run.nobody());
    }
    let holding = Meter::start(&target.processes)?;
    run.hold(holding.began() + load.hold, control)?;
    let held = holding.stop()?;
    let after_bytes = resident(&target.processes)?;
    Ok(Report {
        workload: "storm",
        unit: "connect",
        units: run.connect.us.len(),
        messages: 0,
        elapsed: spent.elapsed,
        connections,
        processes: used(&target.processes, &spent.cpu, &before_bytes, &after_bytes),
        generator_cpu: spent.own_cpu,
        times: vec![run.connect],
        verdict: Verdict::default(),
        refused: BTreeMap::new(),
        errors: run.errors,
        lost: run.lost,
        hold: Some(Hold {
            elapsed: held.elapsed,
            cpu: held.cpu,
        }),
        ended: run.ended,
    })
}

struct Run<'a> {
    engine: Engine<'a>,
    connect: Times,
    errors: BTreeMap<String, u64>,
    lost: BTreeMap<String, u64>,
    ended: Ended,
    teller: Teller,
}

impl Run<'_> {
    fn connect(&mut self, arrival: Arrival, control: &mut Control<'_>) -> Result<(), LoadError> {
        let waiting = (0..self.engine.len()).map(|index| (index, None)).collect();
        let mut opener = Opener::new(arrival, waiting);
        let mut inbox = Vec::new();
        while !opener.is_done() {
            if control.is_stopped() && self.ended == Ended::Complete {
                opener.stop();
                self.ended = Ended::Stopped;
            }
            let until = opener.step(&mut self.engine, &mut inbox);
            self.engine.turn(until, &mut inbox)?;
            for incident in inbox.drain(..) {
                if let Some(Outcome::Joined(due)) = opener.saw(&incident) {
                    note(&mut self.connect, due, incident.at);
                }
                self.take(&incident.what);
            }
            self.tell("connecting", control);
        }
        Ok(())
    }

    fn hold(&mut self, until: Instant, control: &mut Control<'_>) -> Result<(), LoadError> {
        let mut inbox = Vec::new();
        while Instant::now() < until && self.ended == Ended::Complete {
            self.engine.turn(until, &mut inbox)?;
            for incident in inbox.drain(..) {
                self.take(&incident.what);
            }
            self.tell("holding", control);
            if control.is_stopped() {
                self.ended = Ended::Stopped;
            }
        }
        Ok(())
    }

    fn take(&mut self, what: &What) {
        match what {
            What::Error { code } => count(&mut self.errors, code),
            What::Lost { why } => count(&mut self.lost, why),
            What::Joined
            | What::Message { .. }
            | What::Acked { .. }
            | What::Refused { .. }
            | What::Page { .. } => {}
        }
    }

    fn tell(&mut self, phase: &'static str, control: &mut Control<'_>) {
        let joined = self.engine.joined();
        let connected = self.connect.us.len();
        let trouble = [&self.errors, &self.lost];
        self.teller
            .tell(control, phase, "connect", connected, joined, &trouble);
    }

    fn nobody(&self) -> LoadError {
        let reasons: Vec<&str> = self.lost.keys().map(String::as_str).collect();
        LoadError::CannotJoin {
            room: 0,
            member: 0,
            reason: reasons.join(", "),
        }
    }
}
