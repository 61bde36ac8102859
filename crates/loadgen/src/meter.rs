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

/// The resident memory of processes at its highest, as far as it is looked at.
pub(crate) struct Memory<'a> {
    processes: &'a [Watched],
    peak_bytes: Vec<u64>,
    looked: Instant,
}

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

impl<'a> Memory<'a> {
    pub(crate) fn of(processes: &'a [Watched]) -> Self {
        Self {
            processes,
            peak_bytes: vec![0; processes.len()],
            looked: Instant::now(),
        }
    }

    /// Looks, if it is time. Cheap enough for every turn.
    pub(crate) fn look(&mut self) -> Result<(), LoadError> {
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            let now_bytes = resident(self.processes)?;
            for (peak, bytes) in self.peak_bytes.iter_mut().zip(now_bytes) {
                *peak = bytes.max(*peak);
            }
        }
        Ok(())
    }

    /// As [`used`], with the peaks.
    pub(crate) fn used(
        &self,
        cpu: &[Duration],
        before_bytes: &[u64],
        after_bytes: &[u64],
    ) -> Vec<Used> {
        let mut all = used(self.processes, cpu, before_bytes, after_bytes);
        for (used, peak) in all.iter_mut().zip(&self.peak_bytes) {
            let ends = used.before_bytes.max(used.after_bytes);
            used.peak_bytes = Some(ends.max(*peak));
        }
        all
    }
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
        peak_bytes: None,
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
