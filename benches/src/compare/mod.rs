//! The gateway beside floors and beside other servers: what is measured, judged, printed and kept.
//!
//! `rows` has the tables as data, and `workloads` and `servers` what their runs are made of; `rounds`
//! makes the runs, `judge` compares them, `print` and `page` show them. To add a comparison, add a row;
//! to add a server, a `Kind` with its start and its dialect.

mod dialects;
mod judge;
mod machine;
mod page;
mod print;
mod results;
mod rounds;
mod rows;
mod servers;
mod workloads;

use std::{
    io::Write as _,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use parlance_protocol::UnixMicros;

use self::{
    judge::{Mark, Verdict},
    machine::Machine,
    results::{Measured, Results},
    rounds::{Outcome, Plan, is_at_fault},
    rows::Row,
    servers::Programs,
    workloads::Length,
};
use crate::{Arguments, say};

pub(crate) use self::workloads::Workload;

/// Which of the two tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    /// The gateway beside the floors.
    Floors,
    /// The gateway beside other servers.
    Peers,
}

impl Table {
    fn rows(self) -> Vec<Row> {
        match self {
            Self::Floors => rows::beside_floors(),
            Self::Peers => rows::beside_peers(),
        }
    }

    fn not_here(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Floors => &[],
            Self::Peers => &servers::NOT_HERE,
        }
    }

    /// What the second figure of a row is.
    pub(crate) fn other(self) -> &'static str {
        match self {
            Self::Floors => "floor",
            Self::Peers => "peer",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Floors => "floors.json",
            Self::Peers => "peers.json",
        }
    }

    fn command(self) -> &'static str {
        match self {
            Self::Floors => "make bench",
            Self::Peers => "make bench-peers",
        }
    }

    /// Programs that compile themselves while they run have to be warm.
    fn warm_up(self) -> Duration {
        match self {
            Self::Floors => Duration::from_secs(1),
            Self::Peers => Duration::from_secs(2),
        }
    }
}

/// Measures a table, prints it, and keeps its results if there is a place for them.
pub(crate) fn measure(
    table: Table,
    arguments: &Arguments,
    is_wanted: impl Fn(Workload) -> bool,
) -> anyhow::Result<()> {
    let begun = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let mut rows = table.rows();
    rows.retain(|row| row.form.runs().all(|run| is_wanted(run.workload)));
    let length = Length {
        warm_up: table.warm_up(),
        measured: Duration::from_secs(arguments.seconds),
    };
    let plan = Plan::of(&rows, arguments.rounds, length, programs(arguments));
    for skipped in &plan.skipped {
        say(&format!(
            "left out: {}: {}",
            skipped.server.name(),
            skipped.reason
        ))?;
    }
    for (name, reason) in table.not_here() {
        say(&format!("left out: {name}: {reason}"))?;
    }
    let outcome = plan.measure()?;
    let verdicts: Vec<Verdict> = rows
        .into_iter()
        .filter_map(|row| judge::judge(row, &outcome.samples))
        .collect();
    print(table, &verdicts, &outcome)?;
    let faults = is_at_fault(&outcome.failed);
    if let Some(directory) = &arguments.results {
        let began = UnixMicros(u64::try_from(begun.as_micros())?);
        let results = results(table, arguments, plan, outcome, began)?;
        results.save(&directory.join(table.file()))?;
    }
    if faults {
        bail!("a run of ours does not count: see above");
    }
    let missed = verdicts
        .iter()
        .filter(|verdict| verdict.mark == Mark::Missed);
    match (arguments.gate, missed.count()) {
        (true, missed @ 1..) => bail!("rows that missed what they must come to: {missed}"),
        (_, _) => Ok(()),
    }
}

/// Writes the page from the results that were kept.
pub(crate) fn write_page(path: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let directory = arguments.results.as_deref();
    let directory = directory.context("where the results are was not given: give --results")?;
    let load = |table: Table| Results::load(&directory.join(table.file()));
    let (floors, peers) = (load(Table::Floors)?, load(Table::Peers)?);
    if floors.is_none() && peers.is_none() {
        let directory = directory.display();
        bail!("there are no results in {directory}: run `make bench` or `make bench-peers` first");
    }
    let (floor_rows, peer_rows) = (Table::Floors.rows(), Table::Peers.rows());
    let text = page::page(
        floors.as_ref().map(|results| (results, &floor_rows[..])),
        peers.as_ref().map(|results| (results, &peer_rows[..])),
        Table::Peers.not_here(),
    );
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn programs(arguments: &Arguments) -> Programs {
    Programs {
        node_peers: arguments.peers.clone(),
        centrifugo: arguments.centrifugo.clone(),
    }
}

fn print(table: Table, verdicts: &[Verdict], outcome: &Outcome) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    write!(out, "\n{}", print::table(table.other(), verdicts))?;
    for (run, rounds) in &outcome.samples {
        let busy = rounds
            .iter()
            .filter_map(|sample| sample.get(&rows::Measure::GeneratorBusy));
        let busy = judge::median(&busy.copied().collect::<Vec<f64>>());
        if busy > parlance_loadgen::report::BUSY {
            writeln!(
                out,
                "{}, {}: the generator used {busy:.2} of its core: the server can do more",
                run.server.name(),
                run.workload.name()
            )?;
        }
    }
    for failed in &outcome.failed {
        writeln!(
            out,
            "round {} of {}, {}, does not count: {}",
            failed.round,
            failed.server.name(),
            failed.workload.name(),
            failed.reason
        )?;
    }
    for remark in &outcome.remarks {
        writeln!(out, "{remark}")?;
    }
    Ok(())
}

fn results(
    table: Table,
    arguments: &Arguments,
    plan: Plan,
    outcome: Outcome,
    began: UnixMicros,
) -> anyhow::Result<Results> {
    let options = arguments.shown();
    let command = match options.as_str() {
        "" => table.command().to_owned(),
        options => format!("{} ARGS=\"{options}\"", table.command()),
    };
    let measured = outcome.samples.into_iter();
    Ok(Results {
        machine: Machine::read(&plan.programs)?,
        command,
        began: began.to_string(),
        rounds: arguments.rounds,
        seconds: arguments.seconds,
        remarks: outcome.remarks,
        measured: measured
            .map(|(run, rounds)| Measured { run, rounds })
            .collect(),
        skipped: plan.skipped,
        failed: outcome.failed,
    })
}
