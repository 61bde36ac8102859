//! Breaks a whole deployment under load as a seed says, and writes a report.
//!
//! `chaos SEED ROUNDS REPORT` does every fault ROUNDS times. Ends with 1 at the first thing that must not
//! be; Ctrl-C ends it and all that it started.

use std::{
    io::{Write, stdout},
    path::Path,
};

use anyhow::{Context, bail};
use parlance_testkit::nemesis::{Run, draw};

/// Faults that kill, and quick kills beside them.
const KILLS_PER_ROUND: usize = 25;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [seed, rounds, path] = arguments.as_slice() else {
        bail!("usage: chaos SEED ROUNDS REPORT");
    };
    let (seed, rounds): (u64, usize) = (seed.parse()?, rounds.parse()?);
    let run = Run {
        seed,
        steps: draw(seed, rounds, rounds * KILLS_PER_ROUND),
        conversations: 8,
        sends_per_second: 2_000,
        acknowledged: 0,
    };
    let report = tokio::select! {
        report = run.perform(say) => report,
        _ = tokio::signal::ctrl_c() => bail!("stopped"),
    };
    let path = Path::new(path);
    let dir = path.parent().context("the report has no directory")?;
    std::fs::create_dir_all(dir)?;
    std::fs::write(path, format!("{report:#}\n"))?;
    Ok(())
}

fn say(line: &str) {
    // A closed stdout has no reader.
    let _ = writeln!(stdout().lock(), "{line}");
}
