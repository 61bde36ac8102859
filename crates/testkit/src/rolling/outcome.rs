//! What came of a rolling restart, and what of it must not be.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    time::{Duration, Instant},
};

use parlance_loadgen::stay::Stayed;
use serde_json::{Value, json};

use super::{
    Ending, Plan,
    watch::{self, Look, Watch},
};

/// How much more than the budget may come in, as it is measured.
const OVER_BUDGET: f64 = 1.3;
/// How far from the mean a gateway's members may be in the end.
const SPREAD: f64 = 0.1;

/// One restart.
#[derive(Debug, Clone)]
pub(super) struct Restart {
    pub(super) gateway: String,
    /// Whom it had when it was told to leave.
    pub(super) members: f64,
    /// From the signal to the end of the process.
    pub(super) took: Duration,
    pub(super) exit_code: Option<i32>,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What the members saw.
    pub stayed: Stayed,
    /// What must not be. Empty, if all is well.
    pub faults: Vec<String>,
    restarts: Vec<Restart>,
    /// New members a second that a gateway says it takes, where it has such a setting.
    accepts_per_second: Option<f64>,
    /// The second in which most new members came to all gateways, against the budget of that second.
    peak: Option<Peak>,
    /// The most that came to one gateway in a second.
    peak_of_one: f64,
    /// Members by gateway when the added one had been watched, and when they had come within bounds.
    spread: Option<Spread>,
    looks: Vec<Look>,
    began: Instant,
    /// Cores that each kind of process used while the gateways were restarted and watched.
    cores: BTreeMap<&'static str, f64>,
}

/// The most in a second.
#[derive(Debug, Clone, Copy)]
struct Peak {
    per_second: f64,
    at: Duration,
    /// Against the sum of what the gateways that accepted then take.
    ratio: Option<f64>,
}

#[derive(Debug, Clone)]
struct Spread {
    members: BTreeMap<String, f64>,
    /// Against the mean.
    lowest: f64,
    highest: f64,
    /// After the added gateway was let in; nothing if it never was so.
    within_bounds_after: Option<Duration>,
}

/// What was done.
pub(super) struct Rolled {
    pub(super) began: Instant,
    pub(super) restarts: Vec<Restart>,
    pub(super) added: Option<Instant>,
    pub(super) ended: Instant,
    pub(super) cores: BTreeMap<&'static str, f64>,
}

impl Rolled {
    pub(super) fn outcome(
        self,
        plan: &Plan,
        watch: &Watch,
        stayed: Stayed,
        accepts_per_second: Option<f64>,
    ) -> Outcome {
        let mut looks = watch.since(self.began);
        looks.retain(|look| look.at <= self.ended);
        let rates = looks.iter().flat_map(|look| look.gateways.values());
        let rates = rates.filter_map(|figures| figures.joined_per_second);
        let mut outcome = Outcome {
            peak: peak(&looks, self.began, accepts_per_second),
            peak_of_one: rates.fold(0.0, f64::max),
            spread: self.added.and_then(|added| spread(&looks, added)),
            faults: stayed.faults(),
            stayed,
            restarts: self.restarts,
            accepts_per_second,
            looks,
            began: self.began,
            cores: self.cores,
        };
        outcome.judge(plan);
        outcome
    }
}

fn peak(looks: &[Look], began: Instant, accepts_per_second: Option<f64>) -> Option<Peak> {
    let peak = |look: &Look| Peak {
        per_second: look.joined_per_second(),
        at: look.at.duration_since(began),
        ratio: accepts_per_second
            .map(|each| look.joined_per_second() / (each * look.members().len().max(1) as f64)),
    };
    let weight = |peak: &Peak| peak.ratio.unwrap_or(peak.per_second);
    let peaks = looks.iter().map(peak);
    peaks.max_by(|one, other| weight(one).total_cmp(&weight(other)))
}

fn spread(looks: &[Look], added: Instant) -> Option<Spread> {
    let of = |look: &Look| {
        let members = look.members();
        let mean = members.iter().sum::<f64>() / members.len().max(1) as f64;
        let lowest = members.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = members.iter().copied().fold(0.0, f64::max);
        (lowest / mean.max(1.0), highest / mean.max(1.0))
    };
    let is_within = |(lowest, highest)| lowest >= 1.0 - SPREAD && highest <= 1.0 + SPREAD;
    let last = looks.last()?;
    let (lowest, highest) = of(last);
    // From then on it stayed so.
    let outside = looks.iter().rposition(|look| !is_within(of(look)));
    let first = outside.map_or(0, |place| place + 1);
    let within = looks.get(first);
    let accepting = last.gateways.iter().filter(|(_, figures)| figures.accepts);
    Some(Spread {
        members: accepting
            .map(|(name, figures)| (name.clone(), figures.members))
            .collect(),
        lowest,
        highest,
        within_bounds_after: within.map(|look| look.at.saturating_duration_since(added)),
    })
}

impl Outcome {
    fn judge(&mut self, plan: &Plan) {
        for restart in &self.restarts {
            if plan.ending == Ending::Terminated && restart.exit_code != Some(0) {
                self.faults.push(format!("{restart}, which is no good end"));
            }
        }
        if let Some(peak) = self.peak
            && let Some(ratio) = peak.ratio.filter(|ratio| *ratio > OVER_BUDGET)
        {
            self.faults.push(format!(
                "{:.0} new members came in a second, {ratio:.2} of the budget",
                peak.per_second
            ));
        }
        if let Some(spread) = &self.spread
            && spread.within_bounds_after.is_none()
        {
            self.faults.push(format!(
                "members are not within {SPREAD} of the mean, but at {:.2} to {:.2}",
                spread.lowest, spread.highest
            ));
        }
    }

    /// All of it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let restart = |restart: &Restart| {
            json!({
                "gateway": restart.gateway,
                "members": restart.members,
                "took_s": restart.took.as_secs_f64(),
                "exit_code": restart.exit_code,
            })
        };
        json!({
            "faults": self.faults,
            "clients": self.stayed.to_json(),
            "restarts": self.restarts.iter().map(restart).collect::<Vec<_>>(),
            "accepts_per_second": self.accepts_per_second,
            "peak": self.peak.map(|peak| json!({
                "per_second": peak.per_second,
                "at_s": peak.at.as_secs_f64(),
                "of_budget": peak.ratio,
            })),
            "peak_of_one_per_second": self.peak_of_one,
            "spread": self.spread.as_ref().map(|spread| json!({
                "members": spread.members,
                "lowest": spread.lowest,
                "highest": spread.highest,
                "within_bounds_after_s": spread.within_bounds_after.map(|after| after.as_secs_f64()),
            })),
            "cores": self.cores,
            "seconds": watch::to_json(&self.looks, self.began),
        })
    }
}

impl Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (members, took) = (self.members, self.took.as_secs_f64());
        let gateway = &self.gateway;
        write!(
            f,
            "{gateway} with {members} members ended after {took:.1} s"
        )?;
        match self.exit_code {
            Some(code) => write!(f, ", exit code {code}"),
            None => write!(f, " by a signal"),
        }
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.stayed)?;
        for restart in &self.restarts {
            writeln!(f, "{:<22} {restart}", "restart")?;
        }
        if let Some(peak) = self.peak {
            let at = peak.at.as_secs_f64();
            write!(
                f,
                "{:<22} {:.0}/s at {at:.0} s",
                "peak of accepts", peak.per_second
            )?;
            if let (Some(ratio), Some(each)) = (peak.ratio, self.accepts_per_second) {
                write!(
                    f,
                    ", {ratio:.2} of the budget of {each:.0}/s for each that accepts"
                )?;
            }
            writeln!(f, "; {:.0}/s at one gateway", self.peak_of_one)?;
        }
        if let Some(spread) = &self.spread {
            write!(
                f,
                "{:<22} {:.2} to {:.2} of the mean",
                "spread", spread.lowest, spread.highest
            )?;
            match spread.within_bounds_after {
                Some(after) => writeln!(f, ", within bounds after {:.0} s", after.as_secs_f64())?,
                None => writeln!(f, ", never within bounds")?,
            }
        }
        for (who, cores) in &self.cores {
            writeln!(f, "{:<22} {cores:.2} cores", who)?;
        }
        for fault in &self.faults {
            writeln!(f, "FAULT                  {fault}")?;
        }
        Ok(())
    }
}
