//! Makes the runs that rows need, in turns, each with a fresh server.
//!
//! A run has a thread of its own, which is pinned when its server is up: what a server starts with is
//! inherited, and a server has to be pinned to another core than the generator.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use parlance_loadgen::process::{self, Urgency};

use super::{
    judge::{Sample, Samples},
    results::{Failed, Skipped},
    rows::{Row, Run},
    servers::{Kind, Place, Programs, Server},
    workloads::Length,
};
use crate::{GENERATOR_CORE, SERVER_CORE, say};

/// What is measured, and how.
pub(crate) struct Plan {
    pub(crate) runs: Vec<Run>,
    pub(crate) rounds: usize,
    pub(crate) length: Length,
    pub(crate) programs: Programs,
    pub(crate) skipped: Vec<Skipped>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) samples: Samples,
    pub(crate) failed: Vec<Failed>,
    pub(crate) remarks: Vec<String>,
}

impl Plan {
    /// The runs of these rows, each once, less those of servers that are not here.
    pub(crate) fn of(rows: &[Row], rounds: usize, length: Length, programs: Programs) -> Self {
        let mut plan = Self {
            runs: Vec::new(),
            rounds,
            length,
            programs,
            skipped: Vec::new(),
        };
        for run in rows.iter().flat_map(|row| row.form.runs()) {
            plan.add(run);
        }
        plan
    }

    fn add(&mut self, run: Run) {
        let server = run.server;
        if self.runs.contains(&run) || self.skipped.iter().any(|one| one.server == server) {
            return;
        }
        match self.programs.lacks(server) {
            Some(reason) => self.skipped.push(Skipped { server, reason }),
            None => self.runs.push(run),
        }
    }

    /// Makes all of them.
    pub(crate) fn measure(&self) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome {
            remarks: remarks(),
            ..Outcome::default()
        };
        for round in 1..=self.rounds {
            for run in &self.runs {
                if round > 1 && run.workload.is_once() {
                    continue;
                }
                let begun = Instant::now();
                let sample = self.one(*run);
                self.note(*run, round, begun.elapsed(), sample, &mut outcome)?;
            }
        }
        Ok(outcome)
    }

    fn note(
        &self,
        run: Run,
        round: usize,
        took: Duration,
        sample: anyhow::Result<Sample>,
        outcome: &mut Outcome,
    ) -> anyhow::Result<()> {
        let Run { server, workload } = run;
        let (name, of) = (server.name(), workload.name());
        let head = format!("round {round} of {}: {name}, {of}", self.rounds);
        match sample {
            Ok(sample) => {
                say(&format!("{head}: {:.1} s", took.as_secs_f64()))?;
                outcome.samples.entry(run).or_default().push(sample);
            }
            Err(error) => {
                let reason = format!("{error:#}");
                say(&format!("{head}: DOES NOT COUNT: {reason}"))?;
                outcome.failed.push(Failed {
                    server,
                    workload,
                    round,
                    reason,
                });
            }
        }
        Ok(())
    }

    fn one(&self, run: Run) -> anyhow::Result<Sample> {
        let measure = || -> anyhow::Result<Sample> {
            let Run { server, workload } = run;
            let running = Server::start(server, &self.programs, workload.crowd(), SERVER_CORE);
            let running = running.context("starting it")?;
            match server.place() {
                Place::Pinned => process::pin_to(GENERATOR_CORE)?,
                Place::Anywhere => {}
            }
            workload.run(&running.target(), self.length)
        };
        thread::scope(|scope| match scope.spawn(measure).join() {
            Ok(sample) => sample,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }
}

/// Asks for priority for this process, which everything that it starts inherits; says what a reader of
/// the figures has to know.
fn remarks() -> Vec<String> {
    match process::make_realtime(std::process::id()) {
        Urgency::Realtime => Vec::new(),
        Urgency::Ordinary(why) => vec![format!(
            "Nothing ran at real-time priority, so other work on the machine is in the figures: {why}"
        )],
    }
}

/// Whether something of ours went wrong.
pub(crate) fn is_at_fault(failed: &[Failed]) -> bool {
    failed.iter().any(|one| Kind::is_ours(one.server))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::rows::{beside_floors, beside_peers};

    fn plan(rows: &[Row]) -> Plan {
        let length = Length {
            warm_up: Duration::ZERO,
            measured: Duration::ZERO,
        };
        Plan::of(rows, 1, length, Programs::default())
    }

    #[test]
    fn what_several_rows_need_is_run_once() {
        let runs = plan(&beside_floors()).runs;
        for (index, run) in runs.iter().enumerate() {
            assert!(!runs[..index].contains(run), "{run:?} is run twice");
        }
        let needed = beside_floors();
        let needed = needed.iter().flat_map(|row| row.form.runs());
        assert!(needed.into_iter().all(|run| runs.contains(&run)));
    }

    #[test]
    fn a_server_that_is_not_here_is_left_out_once_and_by_name() {
        let plan = plan(&beside_peers());
        let left_out: Vec<Kind> = plan.skipped.iter().map(|one| one.server).collect();
        assert_eq!(left_out, [Kind::WsRedis, Kind::SocketIo, Kind::Centrifugo]);
        assert!(plan.runs.iter().all(|run| run.server == Kind::Gateway));
    }
}
