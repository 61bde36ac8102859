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
    for seed in first..first + count {
        for profile in [Profile::Safe, Profile::Lossy] {
            if let Err(failure) = run(seed, profile, Rules::all()) {
                show(&failure);
                return ExitCode::FAILURE;
            }
        }
        let done = seed - first + 1;
        if stderr().is_terminal() && done.is_multiple_of(PROGRESS) {
            say(&format!("{done} of {count} seeds"));
        }
    }
    say(&format!(
        "{count} seeds, each with and without losses: no violation"
    ));
    ExitCode::SUCCESS
}

fn show(failure: &Failure) {
    let mut out = stdout().lock();
    for line in &failure.trace {
        // A closed pipe has no reader.
        let _ = writeln!(out, "{line}");
    }
    let Failure {
        seed,
        profile,
        what,
        ..
    } = failure;
    say(&format!(
        "seed {seed}, {profile:?}: {what}\nonce more: make simulate SEED={seed}"
    ));
}

fn say(text: &str) {
    let _ = writeln!(stderr().lock(), "{text}");
}
