//! Breaks a whole deployment under load as a seed says, and writes a report and the history.
//!
//! Ends with 1 when something is not as it must be; Ctrl-C ends it and all that it started.

use std::{
    fs::File,
    io::{BufWriter, Write, stdout},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, bail};
use parlance_testkit::{
    nemesis::{Fault, Outcome, Run, draw, two_at_once},
    traffic::describe,
};

const USAGE: &str = "usage: chaos SEED MINUTES DIRECTORY [FAULT]…
Breaks a deployment for MINUTES as SEED says, every third time in two ways at once; the report and the
history go to DIRECTORY. With names of faults, as a run shows them, only those are done, one at a time.
Examples:
  chaos 7 30 target/chaos/7
  chaos 7 1 target/chaos/7 RedisFailedOver RedisRestarted";
/// Kills of each round, at least.
const KILLS_PER_ROUND: usize = 34;
/// More rounds than that are not done in a minute.
const ROUNDS_PER_MINUTE: usize = 1;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [seed, minutes, directory, only @ ..] = arguments.as_slice() else {
        bail!(USAGE);
    };
    let seed: u64 = parsed(seed, "SEED")?;
    let minutes: usize = parsed(minutes, "MINUTES")?;
    let rounds = minutes.max(1) * ROUNDS_PER_MINUTE;
    let mut steps = draw(seed, rounds, rounds * KILLS_PER_ROUND);
    if only.is_empty() {
        steps = two_at_once(steps);
    } else {
        steps.retain(|step| only.contains(&step.fault.to_string()));
    }
    if steps.is_empty() {
        bail!(
            "no fault has a name of {only:?}; there are {:?}",
            Fault::ALL
        );
    }
    let run = Run {
        seed,
        steps,
        at_most: Duration::from_secs(60 * minutes as u64),
        // A sender has 20,000 names in a conversation: of these, half an hour takes 18,750.
        conversations: 12,
        sends_per_second: 750,
        acknowledged: 0,
    };
    let outcome = tokio::select! {
        outcome = run.perform(say) => outcome,
        _ = tokio::signal::ctrl_c() => bail!("stopped"),
    };
    keep(&PathBuf::from(directory), &outcome)
}

fn parsed<T: std::str::FromStr>(text: &str, name: &str) -> anyhow::Result<T> {
    let number = text.parse().ok();
    number.with_context(|| format!("{name} is {text:?}, which is no whole number\n{USAGE}"))
}

fn keep(directory: &PathBuf, outcome: &Outcome) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory)?;
    let (report, history) = (
        directory.join("report.json"),
        directory.join("history.jsonl"),
    );
    std::fs::write(&report, format!("{:#}\n", outcome.report))?;
    let file = File::create(&history)?;
    parlance_testkit::traffic::write(&outcome.recording, BufWriter::new(file))?;
    say(&format!("report   {}", report.display()));
    say(&format!("history  {}", history.display()));
    if !outcome.violations.is_empty() {
        bail!("{}", describe(&outcome.recording, &outcome.violations));
    }
    Ok(())
}

fn say(line: &str) {
    // A closed stdout has no reader.
    let _ = writeln!(stdout().lock(), "{line}");
}
