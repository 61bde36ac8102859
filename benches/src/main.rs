//! `make bench`: the gateway beside a floor that only calls `send()`, in one run.
//!
//! Server and floor are pinned to one core, the generator to the other; they take turns, round by
//! round, so that what else the machine does hits all alike. Ratios of medians are the figures;
//! absolute numbers say something about this machine only.
//!
//! What the log costs Redis is measured in the same way, without a gateway around it; so is what a
//! store behind it costs, but without pinning.

mod floor;
mod redis;
mod servers;
mod store;

use std::{io::Write as _, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use parlance_loadgen::{
    Arrival, Control, Target,
    fanout::{self, Fanout, Pace},
    process,
    report::{BUSY, Report},
    storm::{self, Storm},
};
use servers::{Kind, Server};

/// Measures fan-out, idle memory, Redis and the store. Example: `bench --rounds 3`,
/// `bench --only idle`.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often each server is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds that count, per server and round.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Conversations in the fan-out.
    #[arg(long, default_value_t = 100)]
    rooms: usize,
    /// Members of each.
    #[arg(long, default_value_t = 10)]
    members: usize,
    /// Messages under way in each conversation.
    #[arg(long, default_value_t = 2)]
    window: usize,
    /// Connections for the idle memory.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
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
    /// One part only. `redis` has the fan-out too; `store` is all that begins with it.
    #[arg(long, value_enum)]
    only: Option<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Fanout,
    Idle,
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
        match only {
            None => true,
            Some(Self::Redis) => self != Self::Idle && !self.is_of_store(),
            Some(Self::Store) => self.is_of_store(),
            Some(only) => self == only,
        }
    }

    fn is_of_store(self) -> bool {
        match self {
            Self::Fanout | Self::Idle | Self::Redis | Self::RedisCpu | Self::RedisMemory => false,
            Self::Store
            | Self::StoreDrain
            | Self::StoreLag
            | Self::StorePages
            | Self::StoreOutage => true,
        }
    }
}

const SERVER_CORE: usize = 0;
const GENERATOR_CORE: usize = 1;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let only = arguments.only;
    if only.is_none_or(Part::is_of_store) {
        store::measure(&arguments)?;
    }
    process::pin_to(GENERATOR_CORE)?;
    if Part::RedisCpu.is_in(only) {
        redis::measure_cpu(&arguments)?;
    }
    if Part::RedisMemory.is_in(only) {
        redis::measure_memory()?;
    }
    if Part::Fanout.is_in(only) {
        measure_fanout(&arguments)?;
    }
    if Part::Idle.is_in(only) {
        measure_idle(&arguments)?;
    }
    Ok(())
}

fn measure_fanout(arguments: &Arguments) -> anyhow::Result<()> {
    let mut reports: Vec<Vec<Report>> = vec![Vec::new(); Kind::ALL.len()];
    for round in 1..=arguments.rounds {
        for (kind, reports) in Kind::ALL.iter().zip(&mut reports) {
            say(&format!(
                "fan-out, round {round} of {}: {}",
                arguments.rounds,
                kind.name()
            ))?;
            let report = one_fanout(*kind, arguments).with_context(|| kind.name())?;
            reports.push(report);
        }
    }
    print_fanout(arguments, &reports)
}

fn one_fanout(kind: Kind, arguments: &Arguments) -> anyhow::Result<Report> {
    let server = Server::start(kind)?;
    for pid in server.pids() {
        process::pin_process(pid, SERVER_CORE)?;
    }
    let load = Fanout {
        rooms: arguments.rooms,
        members: arguments.members,
        pace: Pace::Window(arguments.window * arguments.rooms),
        content_bytes: 64,
        warm_up: Duration::from_secs(1),
        measured: Duration::from_secs(arguments.seconds),
    };
    let dialect = server.dialect();
    let target = Target::new(server.address(), &*dialect).watching(server.watched());
    Ok(fanout::run(&target, &load, &mut Control::default())?)
}

fn print_fanout(arguments: &Arguments, reports: &[Vec<Report>]) -> anyhow::Result<()> {
    let Arguments {
        rooms,
        members,
        window,
        ..
    } = arguments;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "\nfan-out, {rooms} rooms x {members} members, {window} under way in each"
    )?;
    writeln!(
        out,
        "{:<22} {:>13} {:>8} {:>11} {:>10} {:>10} {:>9} {:>9}",
        "server", "deliveries/s", "ratio", "us/delivery", "p50 ms", "p99 ms", "missing", "doubled"
    )?;
    let floor = median(&reports[0], Report::per_second);
    for (kind, reports) in Kind::ALL.iter().zip(reports) {
        let rate = median(reports, Report::per_second);
        let quantile = |q: f64| {
            median(reports, |report| {
                let last = report.times("last delivery");
                last.map_or(f64::NAN, |us| us.value_at_quantile(q) as f64 / 1_000.0)
            })
        };
        writeln!(
            out,
            "{:<22} {:>13.0} {:>8.2} {:>11.2} {:>10.2} {:>10.2} {:>9} {:>9}",
            kind.name(),
            rate,
            rate / floor,
            median(reports, Report::us_per_unit),
            quantile(0.5),
            quantile(0.99),
            reports.iter().map(|r| r.verdict.missing).sum::<u64>(),
            reports.iter().map(|r| r.verdict.duplicate).sum::<u64>(),
        )?;
        if *kind == Kind::OnRedis {
            let of_process =
                |label| median(reports, |r| r.us_per_message(label).unwrap_or(f64::NAN));
            writeln!(
                out,
                "  of it Redis: {:.2} us per message, {:.2} of what the gateway uses",
                of_process("redis"),
                of_process("redis") / of_process("server")
            )?;
        }
        let busy = median(reports, Report::generator_busy);
        if busy >= BUSY {
            writeln!(
                out,
                "  the generator used {busy:.2} of its core: it was the bottleneck"
            )?;
        }
    }
    Ok(())
}

fn measure_idle(arguments: &Arguments) -> anyhow::Result<()> {
    let server = Server::start(Kind::Synced)?;
    say(&format!(
        "idle: opening {} connections",
        arguments.connections
    ))?;
    // Two members in each conversation, each a user of its own.
    let load = Storm {
        rooms: arguments.connections / 2,
        members: 2,
        arrival: Arrival::AtOnce(64),
        hold: Duration::from_secs(3),
    };
    let dialect = server.dialect();
    let target = Target::new(server.address(), &*dialect).watching(server.watched());
    let report = storm::run(&target, &load, &mut Control::default())?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "\nidle, {} authenticated connections, two in each conversation: {:.2} kB resident each \
         (at most 3, better 1.6); {:.0} us of the server's CPU to connect one",
        report.connections,
        report.bytes_per_connection().unwrap_or(f64::NAN) / 1_000.0,
        report.us_per_unit(),
    )?;
    Ok(())
}

fn say(what: &str) -> anyhow::Result<()> {
    writeln!(std::io::stderr(), "{what}").context("writing progress")
}

fn median<T>(values: &[T], of: impl Fn(&T) -> f64) -> f64 {
    let mut values: Vec<f64> = values.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
