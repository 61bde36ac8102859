//! What a run measured, in one form for all workloads: for people, and as JSON.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Write as _},
    time::Duration,
};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::order::Verdict;

/// From here on the generator itself may have been what was measured.
pub const BUSY: f64 = 0.9;

/// What was measured.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its name.
    pub workload: &'static str,
    /// What is counted: "delivery", "connect", "send", "resume" or "page".
    pub unit: &'static str,
    /// How many of them, in the counted time.
    pub units: u64,
    /// Messages that were sent, in the counted time.
    pub messages: u64,
    /// The counted time.
    pub elapsed: Duration,
    /// Members that were in their rooms at once, at most.
    pub connections: usize,
    /// The watched processes, in the order in which they were given.
    pub processes: Vec<Used>,
    /// CPU time of this process in the counted time.
    pub generator_cpu: Duration,
    /// How long things took; the first is that of the unit.
    pub times: Vec<Times>,
    /// What was wrong with what arrived, over the whole run.
    pub verdict: Verdict,
    /// Messages that the server refused, by its code, over the whole run.
    pub refused: BTreeMap<String, u64>,
    /// Other errors that the server told of, by its code.
    pub errors: BTreeMap<String, u64>,
    /// Connections that were lost or never came to be, by close code, HTTP status or what the system
    /// said.
    pub lost: BTreeMap<String, u64>,
    /// What standing connections cost, where a workload holds them.
    pub hold: Option<Hold>,
    /// Why it ended.
    pub ended: Ended,
}

/// A watched process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// What the caller named it.
    pub label: String,
    /// CPU time in the counted time.
    pub cpu: Duration,
    /// Resident memory before the first connection, in bytes.
    pub before_bytes: u64,
    /// And with all connections, in bytes.
    pub after_bytes: u64,
    /// The most in between, where a workload looks at it; `before_bytes` is from its beginning then.
    pub peak_bytes: Option<u64>,
}

/// How long something took, in microseconds.
#[derive(Debug, Clone)]
pub struct Times {
    /// What took so long.
    pub what: &'static str,
    /// How long.
    pub us: Histogram<u64>,
}

/// What standing connections cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// How long they stood.
    pub elapsed: Duration,
    /// CPU time of each watched process in it.
    pub cpu: Vec<Duration>,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was complete.
    Complete,
    /// Somebody stopped it.
    Stopped,
    /// Nothing came for ten seconds.
    Stalled,
    /// The server was so far behind that there was no point in going on.
    FellBehind,
    /// All connections were lost.
    Deserted,
}

impl Ended {
    fn words(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Stopped => "stopped before its end",
            Self::Stalled => "ended: nothing came for 10 s",
            Self::FellBehind => "ended: the server fell too far behind the rate",
            Self::Deserted => "ended: all connections were lost",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Stopped => "stopped",
            Self::Stalled => "stalled",
            Self::FellBehind => "fell_behind",
            Self::Deserted => "deserted",
        }
    }
}

impl Report {
    /// Units per second of wall time.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.units as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Microseconds of the CPU of all watched processes per unit.
    #[must_use]
    pub fn us_per_unit(&self) -> f64 {
        let all: Duration = self.processes.iter().map(|process| process.cpu).sum();
        all.as_secs_f64() * 1e6 / self.units.max(1) as f64
    }

    /// Microseconds of the CPU of one watched process per message that was sent.
    #[must_use]
    pub fn us_per_message(&self, label: &str) -> Option<f64> {
        let used = self.processes.iter().find(|used| used.label == label)?;
        Some(used.cpu.as_secs_f64() * 1e6 / self.messages.max(1) as f64)
    }

    /// How many bytes the first watched process, the server, has grown by for each connection.
    #[must_use]
    pub fn bytes_per_connection(&self) -> Option<f64> {
        let server = self.processes.first()?;
        let grown = server.after_bytes.saturating_sub(server.before_bytes);
        Some(grown as f64 / self.connections.max(1) as f64)
    }

    /// Microseconds of the CPU of all watched processes that a standing connection costs in a second.
    #[must_use]
    pub fn idle_us_per_second(&self) -> Option<f64> {
        let hold = self.hold.as_ref().filter(|hold| !hold.cpu.is_empty())?;
        let all: Duration = hold.cpu.iter().sum();
        let connection_seconds = hold.elapsed.as_secs_f64() * self.connections.max(1) as f64;
        Some(all.as_secs_f64() * 1e6 / connection_seconds.max(1e-9))
    }

    /// How long the unit took at this quantile (0 to 1), in microseconds.
    #[must_use]
    pub fn quantile_us(&self, quantile: f64) -> u64 {
        let times = self.times.first();
        times.map_or(0, |times| times.us.value_at_quantile(quantile))
    }

    /// How long `what` took.
    #[must_use]
    pub fn times(&self, what: &str) -> Option<&Histogram<u64>> {
        let times = self.times.iter().find(|times| times.what == what)?;
        Some(&times.us)
    }

    /// How much of one core the generator used, 0 to 1.
    #[must_use]
    pub fn generator_busy(&self) -> f64 {
        self.generator_cpu.as_secs_f64() / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Whether the generator may have been what was measured.
    #[must_use]
    pub fn is_generator_bound(&self) -> bool {
        self.generator_busy() >= BUSY
    }

    /// Whether everything arrived once and in order, and no connection was lost. Refused messages are
    /// no fault: the server said so. Nor is falling behind, as long as everything arrives.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.verdict.is_right() && self.lost.is_empty() && self.ended != Ended::Stalled
    }

    /// All of it, with derived figures.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let times: serde_json::Map<String, Value> = self
            .times
            .iter()
            .map(|times| (times.what.replace(' ', "_"), quantiles(&times.us)))
            .collect();
        let processes: Vec<Value> = self.processes.iter().map(Used::to_json).collect();
        json!({
            "workload": self.workload,
            "ended": self.ended.word(),
            "is_right": self.is_right(),
            "unit": self.unit,
            "units": self.units,
            "messages": self.messages,
            "elapsed_s": self.elapsed.as_secs_f64(),
            "per_second": self.per_second(),
            "connections": self.connections,
            "times_us": times,
            "missing": self.verdict.missing,
            "duplicate": self.verdict.duplicate,
            "reordered": self.verdict.reordered,
            "differently_ordered": self.verdict.differently_ordered,
            "refused": self.refused,
            "errors": self.errors,
            "lost": self.lost,
            "processes": processes,
            "cpu_us_per_unit": self.if_watched(self.us_per_unit()),
            "bytes_per_connection": self.bytes_per_connection(),
            "hold_s": self.hold.as_ref().map(|hold| hold.elapsed.as_secs_f64()),
            "idle_us_per_connection_second": self.idle_us_per_second(),
            "generator_busy": self.generator_busy(),
            "generator_bound": self.is_generator_bound(),
        })
    }

    fn if_watched<T>(&self, value: T) -> Option<T> {
        (!self.processes.is_empty()).then_some(value)
    }
}

impl Used {
    fn to_json(&self) -> Value {
        json!({
            "label": self.label,
            "cpu_s": self.cpu.as_secs_f64(),
            "resident_before_bytes": self.before_bytes,
            "resident_after_bytes": self.after_bytes,
            "resident_peak_bytes": self.peak_bytes,
        })
    }
}

pub(crate) fn quantiles(us: &Histogram<u64>) -> Value {
    json!({
        "count": us.len(),
        "p50": us.value_at_quantile(0.5),
        "p99": us.value_at_quantile(0.99),
        "p99_9": us.value_at_quantile(0.999),
        "max": us.max(),
    })
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = [
            vec![
                (self.workload.to_owned(), self.ended.words().to_owned()),
                ("rate".to_owned(), self.rate_line()),
            ],
            self.time_lines(),
            self.cost_lines(),
            self.verdict_lines(),
            vec![("generator".to_owned(), self.generator_line())],
        ];
        for (name, value) in lines.concat() {
            writeln!(f, "{name:<22} {value}")?;
        }
        Ok(())
    }
}

/// What a line is about, and what it says.
type Line = (String, String);

impl Report {
    fn rate_line(&self) -> String {
        format!(
            "{} ({} in {:.1} s, {} connections)",
            rate(self.unit, self.per_second()),
            self.units,
            self.elapsed.as_secs_f64(),
            self.connections
        )
    }

    fn time_lines(&self) -> Vec<Line> {
        let line = |times: &Times| (format!("{}, ms", times.what), shown(&times.us));
        self.times.iter().map(line).collect()
    }

    fn cost_lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for used in &self.processes {
            let each = used.cpu.as_secs_f64() * 1e6 / self.units.max(1) as f64;
            let busy = used.cpu.as_secs_f64() / self.elapsed.as_secs_f64().max(1e-9);
            let (unit, resident) = (self.unit, used.after_bytes as f64 / 1e6);
            let cost =
                format!("{each:.2} us per {unit}, {busy:.2} cores; {resident:.1} MB resident");
            lines.push((format!("{} CPU", used.label), cost));
            if let Some(peak) = used.peak_bytes {
                let [before, peak, after] =
                    [used.before_bytes, peak, used.after_bytes].map(|bytes| bytes as f64 / 1e6);
                let memory = format!("{before:.1} before, {peak:.1} at most, {after:.1} after");
                lines.push((format!("{} memory, MB", used.label), memory));
            }
        }
        if let Some(hold) = &self.hold {
            if let Some(bytes) = self.bytes_per_connection() {
                let memory = format!("{:.2} kB per connection", bytes / 1e3);
                lines.push(("memory".to_owned(), memory));
            }
            let idle = self.idle_us_per_second();
            let idle = idle.map_or_else(String::new, |us| {
                format!(", {us:.2} us of CPU per connection and second")
            });
            let stood = format!("{:.1} s{idle}", hold.elapsed.as_secs_f64());
            lines.push(("held for".to_owned(), stood));
        }
        lines
    }

    fn verdict_lines(&self) -> Vec<Line> {
        let wrong = [
            ("missing", self.verdict.missing),
            ("duplicate", self.verdict.duplicate),
            ("reordered", self.verdict.reordered),
            ("differently ordered", self.verdict.differently_ordered),
        ];
        let wrong = wrong.map(|(name, count)| (name.to_owned(), count.to_string()));
        let trouble = [
            ("refused", &self.refused),
            ("errors", &self.errors),
            ("lost connections", &self.lost),
        ];
        let trouble = trouble.into_iter().filter(|(_, counts)| !counts.is_empty());
        let trouble = trouble.map(|(name, counts)| (name.to_owned(), listed(counts)));
        wrong.into_iter().chain(trouble).collect()
    }

    fn generator_line(&self) -> String {
        let bound = if self.is_generator_bound() {
            ": IT WAS THE BOTTLENECK, the server can do more than this"
        } else {
            ""
        };
        format!("{:.2} of a core{bound}", self.generator_busy())
    }
}

/// Like `1234 deliveries/s`.
pub(crate) fn rate(unit: &str, per_second: f64) -> String {
    let units = match unit.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{unit}s"),
    };
    let decimals = usize::from(per_second < 100.0);
    format!("{per_second:.decimals$} {units}/s")
}

pub(crate) fn shown(us: &Histogram<u64>) -> String {
    if us.is_empty() {
        return "none".to_owned();
    }
    let ms = |value: u64| value as f64 / 1e3;
    let mut text = String::new();
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        // Writing to a String does not fail.
        let _ = write!(text, "{name} {:.2}  ", ms(us.value_at_quantile(quantile)));
    }
    let _ = write!(text, "max {:.2}", ms(us.max()));
    text
}

pub(crate) fn listed(counts: &BTreeMap<String, u64>) -> String {
    let each: Vec<String> = counts
        .iter()
        .map(|(code, count)| format!("{count} x {code}"))
        .collect();
    each.join(", ")
}
