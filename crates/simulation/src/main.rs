//! `make simulate`: many seeds, or one with all that happened.

use std::{
    io::{IsTerminal, Write, stderr, stdout},
    process::ExitCode,
};

use parlance_simulation::{Failure, Profile, rule::Rules, run};

/// Seeds between two lines of progress.
const PROGRESS: u64 = 50;

fn main() -> ExitCode {
    let numbers: Option<Vec<u64>> = std::env::args()
        .skip(1)
        .map(|one| one.parse().ok())
        .collect();
    let (first, count) = match numbers.as_deref() {
        Some([count]) => (0, *count),
        Some([first, count]) => (*first, *count),
        Some(_) | None => {
            say("usage: simulate [FIRST_SEED] COUNT");
            return ExitCode::from(64);
        }
    };
    match failures(first, count).as_slice() {
        [] => {
            say(&format!(
                "{count} seeds, each with and without losses: no violation"
            ));
            ExitCode::SUCCESS
        }
        failures if count == 1 => {
            failures.iter().for_each(trace);
            ExitCode::FAILURE
        }
        failures => {
            say(&format!(
                "{} of {count} seeds, each with and without losses, failed; \
                 `make simulate SEED=n` shows all that happened in one",
                failures.len()
            ));
            ExitCode::FAILURE
        }
    }
}

/// Runs them all, and says each that fails.
fn failures(first: u64, count: u64) -> Vec<Failure> {
    let mut failures = Vec::new();
    for seed in first..first + count {
        for profile in [Profile::Safe, Profile::Lossy] {
            if let Err(failure) = run(seed, profile, Rules::all()) {
                say(&format!("seed {seed}, {profile:?}: {}", failure.what));
                failures.push(failure);
            }
        }
        let done = seed - first + 1;
        if stderr().is_terminal() && done.is_multiple_of(PROGRESS) {
            say(&format!("{done} of {count} seeds"));
        }
    }
    failures
}

/// What happened, up to the failure.
fn trace(failure: &Failure) {
    let mut out = stdout().lock();
    for line in &failure.trace {
        // A closed pipe has no reader.
        let _ = writeln!(out, "{line}");
    }
}

fn say(text: &str) {
    let _ = writeln!(stderr().lock(), "{text}");
}
