//! What the kernel knows of this process, read when it is asked for.
//!
//! Written as text rather than through the recorder: the CPU time is a counter with a fraction,
//! which the recorder's counters cannot hold. On systems without `/proc` there is nothing of it.

use std::{fmt::Write, fs};

use parlance_telemetry::{Kind, Metric};
use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

/// Appends what can be read.
pub(super) fn write(text: &mut String) {
    let stat = fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|line| Stat::parse(&line));
    if let Some(stat) = stat {
        let ticks = clock_ticks_per_second() as f64;
        write_one(text, Metric::ProcessCpu, stat.cpu_ticks as f64 / ticks);
        let resident_bytes = stat.resident_pages * page_size() as u64;
        write_one(text, Metric::ProcessResidentMemory, resident_bytes as f64);
        write_one(text, Metric::ProcessThreads, stat.threads as f64);
        if let Some(boot_secs) = boot_secs() {
            let start_secs = boot_secs as f64 + stat.start_ticks as f64 / ticks;
            write_one(text, Metric::ProcessStartTime, start_secs);
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // The directory that is being read is one of them.
        write_one(
            text,
            Metric::ProcessOpenFds,
            open.count().saturating_sub(1) as f64,
        );
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        write_one(text, Metric::ProcessMaxFds, most as f64);
    }
}

fn write_one(text: &mut String, metric: Metric, value: f64) {
    let spec = metric.spec();
    let (name, help) = (spec.name, spec.help);
    let kind = match spec.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    };
    writeln!(
        text,
        "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
    )
    .expect("writing to a string does not fail");
}

/// The fields of `/proc/self/stat` that are used here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    /// Since boot.
    start_ticks: u64,
    resident_pages: u64,
}

impl Stat {
    /// `None` for what is no such line.
    fn parse(line: &str) -> Option<Self> {
        // The second field is the program's name in parentheses, and may hold anything.
        let (_, rest) = line.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // proc(5) counts from 1 and `rest` begins with the third field.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            resident_pages: field(24)?,
        })
    }
}

/// When the machine was started, in seconds since 1970.
fn boot_secs() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_shifts_no_field() {
        let line = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 100 20 13 14 15 16 7 18 5000 20 300 22";
        let stat = Stat::parse(line).unwrap();
        assert_eq!(
            stat,
            Stat {
                cpu_ticks: 120,
                threads: 7,
                start_ticks: 5000,
                resident_pages: 300
            }
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_described_in_full() {
        let mut text = String::new();
        write(&mut text);
        for metric in Metric::ALL.iter().map(|metric| metric.spec().name) {
            if metric.starts_with("process_") {
                let line = text
                    .lines()
                    .find(|line| line.starts_with(&format!("{metric} ")));
                let value: f64 = line.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
                assert!(
                    value > 0.0 || metric == "process_cpu_seconds_total",
                    "{metric}"
                );
            }
        }
    }
}
