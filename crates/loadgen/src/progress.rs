//! Telling once a second how far a run is.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::target::{Control, Progress};

const PERIOD: Duration = Duration::from_secs(1);

pub(crate) struct Teller {
    began: Instant,
    last: Instant,
    phase: &'static str,
    units: u64,
}

impl Teller {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            began: now,
            last: now,
            phase: "",
            units: 0,
        }
    }

    /// Tells, if it is time. Cheap enough for every turn.
    pub(crate) fn tell(
        &mut self,
        control: &mut Control<'_>,
        phase: &'static str,
        unit: &'static str,
        units: u64,
        joined: usize,
        trouble: &[&BTreeMap<String, u64>],
    ) {
        if phase != self.phase {
            self.phase = phase;
            self.units = units;
        }
        let since = self.last.elapsed();
        if since < PERIOD {
            return;
        }
        let came = units.saturating_sub(self.units);
        control.tell(&Progress {
            phase,
            elapsed: self.began.elapsed(),
            unit,
            units,
            per_second: came as f64 / since.as_secs_f64(),
            joined,
            trouble: trouble
                .iter()
                .flat_map(|counts| counts.iter())
                .map(|(code, count)| (code.clone(), *count))
                .collect(),
        });
        self.last = Instant::now();
        self.units = units;
    }
}
