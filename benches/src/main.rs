//! `make bench`, `make bench-peers` and `make bench-page`: what the gateway costs, beside floors that
//! only call `send()` and beside other servers, in one run.
//!
//! Server and Redis are pinned to one core, the generator to the other; they take turns, round by
//! round, so that what else the machine does hits all alike. Ratios of medians are the figures;
//! absolute numbers say something about this machine only.
//!
//! What the log costs Redis is measured in the same way, without a gateway around it (`--only redis`);
//! so is what a store behind it costs, but without pinning (`--only store`).

mod compare;
mod redis;
mod store;

use std::{
    fs::{File, TryLockError},
    io::Write as _,
    path::PathBuf,
};

use anyhow::Context as _;
use clap::{Parser, ValueEnum as _};
use compare::{Table, Workload};
use parlance_loadgen::process;

/// Measures the gateway beside its floors. Examples: `bench --rounds 3 --gate`, `bench --only idle`,
/// `bench --only redis-cpu --redis-aof`.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often each server is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds that count, per server and round.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// One part only; `redis` and `store` are all that begins with it, and are measured only when asked
    /// for.
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// One workload of the tables only.
    #[arg(long, value_enum)]
    workload: Option<Workload>,
    /// Ends with an error if a row misses what it must come to.
    #[arg(long)]
    gate: bool,
    /// Measures beside other servers instead: those on Node.js are in this directory.
    #[arg(long, value_name = "DIRECTORY")]
    peers: Option<PathBuf>,
    /// The program of Centrifugo, for `--peers`.
    #[arg(long, env = "CENTRIFUGO_BIN", value_name = "FILE")]
    centrifugo: Option<PathBuf>,
    /// Keeps all rounds there, for the page.
    #[arg(long, value_name = "DIRECTORY")]
    results: Option<PathBuf>,
    /// Measures nothing and writes the page of the results that were kept.
    #[arg(long, value_name = "FILE", requires = "results")]
    page: Option<PathBuf>,
    /// Messages that count, per way of sending them to Redis and round.
    #[arg(long, default_value_t = 60_000)]
    redis_messages: u64,
    /// Redis keeps an append-only file, synced every second.
    #[arg(long)]
    redis_aof: bool,
    /// Messages that are moved into the store, per round.
    #[arg(long, default_value_t = 100_000)]
    store_messages: u64,
    /// Messages of the one conversation whose pages are read.
    #[arg(long, default_value_t = 1_000_000)]
    store_history: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Fanout,
    Paced,
    Connect,
    Idle,
    Send,
    Redis,
    RedisCpu,
    RedisMemory,
    Store,
    StoreDrain,
    StoreLag,
    StorePages,
    StoreOutage,
}

impl Part {
    /// Whether this is measured when `only` was asked for.
    fn is_in(self, only: Option<Self>) -> bool {
        match (only, self) {
            (None, part) => part.is_compared(),
            (Some(Self::Redis), Self::RedisCpu | Self::RedisMemory) => true,
            (Some(Self::Store), part) => part.is_of_store(),
            (Some(only), part) => only == part,
        }
    }

    /// Whether it is a part of the tables.
    fn is_compared(self) -> bool {
        match self {
            Self::Fanout | Self::Paced | Self::Connect | Self::Idle | Self::Send => true,
            Self::Redis
            | Self::RedisCpu
            | Self::RedisMemory
            | Self::Store
            | Self::StoreDrain
            | Self::StoreLag
            | Self::StorePages
            | Self::StoreOutage => false,
        }
    }

    fn is_of_store(self) -> bool {
        match self {
            Self::Fanout
            | Self::Paced
            | Self::Connect
            | Self::Idle
            | Self::Send
            | Self::Redis
            | Self::RedisCpu
            | Self::RedisMemory => false,
            Self::Store
            | Self::StoreDrain
            | Self::StoreLag
            | Self::StorePages
            | Self::StoreOutage => true,
        }
    }

    /// The part that a workload is in.
    fn of(workload: Workload) -> Self {
        match workload {
            Workload::Rooms10 | Workload::Rooms100 | Workload::Rooms1000 | Workload::Backlog => {
                Self::Fanout
            }
            Workload::Paced => Self::Paced,
            Workload::Storm | Workload::Resume => Self::Connect,
            Workload::Hold => Self::Idle,
            Workload::Send | Workload::PacedSend => Self::Send,
        }
    }
}

const SERVER_CORE: usize = 0;
const GENERATOR_CORE: usize = 1;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let only = arguments.only;
    if let Some(path) = &arguments.page {
        return compare::write_page(path, &arguments);
    }
    let _alone = be_alone()?;
    if only.is_some_and(Part::is_of_store) {
        store::measure(&arguments)?;
    }
    if Part::RedisCpu.is_in(only) || Part::RedisMemory.is_in(only) {
        process::pin_to(GENERATOR_CORE)?;
    }
    if Part::RedisCpu.is_in(only) {
        redis::measure_cpu(&arguments)?;
    }
    if Part::RedisMemory.is_in(only) {
        redis::measure_memory()?;
    }
    if only.is_some_and(|only| !only.is_compared()) {
        return Ok(());
    }
    let table = match arguments.peers {
        Some(_) => Table::Peers,
        None => Table::Floors,
    };
    let one = arguments.workload;
    compare::measure(table, &arguments, |workload| {
        Part::of(workload).is_in(only) && one.is_none_or(|one| one == workload)
    })
}

impl Arguments {
    /// Those that decide what a table shows, as they can be given again.
    fn shown(&self) -> String {
        let mut shown = Vec::new();
        if self.rounds != 3 {
            shown.push(format!("--rounds {}", self.rounds));
        }
        if self.seconds != 2 {
            shown.push(format!("--seconds {}", self.seconds));
        }
        if let Some(only) = self.only.and_then(|only| only.to_possible_value()) {
            shown.push(format!("--only {}", only.get_name()));
        }
        if let Some(one) = self.workload.and_then(|one| one.to_possible_value()) {
            shown.push(format!("--workload {}", one.get_name()));
        }
        shown.join(" ")
    }
}

/// Waits for the end of another measurement on this machine, and keeps others from beginning. Two at
/// once take the cores from each other at real-time priority, until nothing at all arrives.
fn be_alone() -> anyhow::Result<File> {
    let path = std::env::temp_dir().join("parlance-bench.lock");
    let doing = || format!("locking {}", path.display());
    let file = File::create(&path).with_context(doing)?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => say("another measurement runs here: waiting for its end")?,
        Err(TryLockError::Error(error)) => return Err(error).with_context(doing),
    }
    file.lock().with_context(doing)?;
    Ok(file)
}

fn say(what: &str) -> anyhow::Result<()> {
    writeln!(std::io::stderr(), "{what}").context("writing progress")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_measured_unless_another_part_is_asked_for() {
        assert!(Part::Fanout.is_in(None) && Part::Idle.is_in(None));
        assert!(!Part::RedisCpu.is_in(None) && !Part::StoreLag.is_in(None));
        assert!(Part::RedisCpu.is_in(Some(Part::Redis)));
        assert!(!Part::Fanout.is_in(Some(Part::Redis)));
        assert!(Part::StoreLag.is_in(Some(Part::Store)));
        assert!(Part::Send.is_in(Some(Part::Send)) && !Part::Send.is_in(Some(Part::Idle)));
    }

    #[test]
    fn what_is_shown_are_the_arguments_that_differ_from_the_usual() {
        let parse = |text: &str| Arguments::parse_from(text.split(' '));
        assert_eq!(parse("bench --gate").shown(), "");
        let given = "bench --rounds 1 --seconds 1 --only idle --results x";
        assert_eq!(parse(given).shown(), "--rounds 1 --seconds 1 --only idle");
    }
}
