//! The clocks and the memory of the watched processes, over a part of a run.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::{
    error::LoadError,
    process,
    report::{Times, Used},
    target::Watched,
};

/// A part of a run that is being measured.
pub(crate) struct Meter<'a> {
    processes: &'a [Watched],
    cpu: Vec<Duration>,
    own_cpu: Duration,
    began: Instant,
}

/// What it cost.
pub(crate) struct Spent {
    pub(crate) elapsed: Duration,
    /// Of each watched process.
    pub(crate) cpu: Vec<Duration>,
    pub(crate) own_cpu: Duration,
}

impl<'a> Meter<'a> {
    pub(crate) fn start(processes: &'a [Watched]) -> Result<Self, LoadError> {
        Ok(Self {
            processes,
            cpu: read(processes, process::cpu_time)?,
            own_cpu: process::own_cpu_time(),
            began: Instant::now(),
        })
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    pub(crate) fn stop(&self) -> Result<Spent, LoadError> {
        let elapsed = self.began.elapsed();
        let own_cpu = process::own_cpu_time().saturating_sub(self.own_cpu);
        let after = read(self.processes, process::cpu_time)?;
        let used = after.iter().zip(&self.cpu);
        Ok(Spent {
            elapsed,
            cpu: used
                .map(|(after, before)| after.saturating_sub(*before))
                .collect(),
            own_cpu,
        })
    }
}

/// Resident memory of each, in bytes.
pub(crate) fn resident(processes: &[Watched]) -> Result<Vec<u64>, LoadError> {
    read(processes, process::resident_bytes)
}

fn read<T>(
    processes: &[Watched],
    value: impl Fn(u32) -> anyhow::Result<T>,
) -> Result<Vec<T>, LoadError> {
    let one = |watched: &Watched| {
        value(watched.pid).map_err(|source| LoadError::Clocks {
            label: watched.label.clone(),
            pid: watched.pid,
            source,
        })
    };
    processes.iter().map(one).collect()
}

/// What each process used, for the report.
pub(crate) fn used(
    processes: &[Watched],
    cpu: &[Duration],
    before_bytes: &[u64],
    after_bytes: &[u64],
) -> Vec<Used> {
    let one = |(index, watched): (usize, &Watched)| Used {
        label: watched.label.clone(),
        cpu: cpu[index],
        before_bytes: before_bytes[index],
        after_bytes: after_bytes[index],
    };
    processes.iter().enumerate().map(one).collect()
}

/// An empty histogram of microseconds up to ten minutes; longer is counted as that.
pub(crate) fn times(what: &'static str) -> Times {
    let us = Histogram::new_with_bounds(1, 600_000_000, 3);
    let us = us.expect("the bounds are in order and three digits are allowed");
    Times { what, us }
}

/// Notes how long it was from `due` to `at`.
pub(crate) fn note(times: &mut Times, due: Instant, at: Instant) {
    let us = at.saturating_duration_since(due).as_micros();
    times
        .us
        .saturating_record(u64::try_from(us).unwrap_or(u64::MAX));
}
