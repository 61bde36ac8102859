//! Processor time of Redis per accepted message.

use std::io::Write as _;

use anyhow::Context as _;
use parlance_testkit::redis::{Redis, resp::Connection};

use super::{
    appends::{Adapter, Behind, Load, LocalIds},
    floor::Floor,
    start,
};
use crate::{Arguments, say};

/// The value of the floor, and the body of a message of the adapter: JSON around the content.
pub(crate) const BODY_BYTES: usize = 190;
pub(crate) const CONTENT_BYTES: usize =
    BODY_BYTES - r#"{"s":"user-0","l":"000-0000000000000000","m":""}"#.len();
const CONVERSATIONS: u64 = 1_000;

/// A way to get a message into Redis.
struct Way {
    name: &'static str,
    kind: Kind,
}

enum Kind {
    Floor,
    Adapter {
        behind: Behind,
        load: Load,
        is_heard: bool,
    },
}

/// What one round of one way used.
struct Used {
    us_per_message: f64,
    messages_per_call: f64,
}

fn ways() -> [Way; 7] {
    let adapter = |name, behind, (conversations, in_each), is_heard| {
        let tasks = match in_each {
            1 => 128,
            several => conversations * several,
        };
        let load = Load {
            conversations,
            tasks,
            senders: in_each,
            content_bytes: CONTENT_BYTES,
            local_ids: LocalIds::Given,
        };
        let kind = Kind::Adapter {
            behind,
            load,
            is_heard,
        };
        Way { name, kind }
    };
    let single = (CONVERSATIONS, 1);
    [
        Way {
            name: "XADD alone",
            kind: Kind::Floor,
        },
        adapter("single, no store", Behind::Nothing, single, false),
        adapter("single, no store, heard", Behind::Nothing, single, true),
        adapter("single, store", Behind::Store, single, false),
        adapter("8 in each of 32, no store", Behind::Nothing, (32, 8), false),
        adapter("8 in each of 32, store", Behind::Store, (32, 8), false),
        adapter("16 in one, store", Behind::Store, (1, 16), false),
    ]
}

/// Measures all ways, in turns, and prints them beside the floor.
pub(crate) fn measure_cpu(arguments: &Arguments) -> anyhow::Result<()> {
    let ways = ways();
    let mut used: Vec<Vec<Used>> = ways.iter().map(|_| Vec::new()).collect();
    for round in 1..=arguments.rounds {
        say(&format!("Redis, round {round} of {}", arguments.rounds))?;
        for (way, used) in ways.iter().zip(&mut used) {
            let setup = match arguments.redis_aof {
                true => Redis::setup(),
                false => Redis::setup().no_persistence(),
            };
            let one = way.measure(&start(setup)?, arguments.redis_messages);
            used.push(one.context(way.name)?);
        }
    }
    print(arguments, &ways, &used)
}

impl Way {
    /// A tenth more messages come before those that count, and at least one per conversation: so
    /// epochs are open and senders are known.
    fn measure(&self, server: &Redis, messages: u64) -> anyhow::Result<Used> {
        match &self.kind {
            Kind::Floor => {
                let mut floor = Floor::open(server.port(), CONVERSATIONS, BODY_BYTES)?;
                floor.send(messages / 10)?;
                metered(server, || floor.send(messages))
            }
            Kind::Adapter {
                behind,
                load,
                is_heard,
            } => {
                let adapter = Adapter::open(server, *behind)?;
                if *is_heard {
                    adapter.subscribe(load.conversations)?;
                }
                let rounds = messages.div_ceil(load.messages_per_round());
                let warm_up = rounds.div_ceil(10).max(load.senders);
                adapter.append(*load, 0..warm_up)?;
                metered(server, || adapter.append(*load, warm_up..warm_up + rounds))
            }
        }
    }
}

/// Runs something that sends messages, and divides what Redis used by their number.
fn metered(server: &Redis, send: impl FnOnce() -> anyhow::Result<u64>) -> anyhow::Result<Used> {
    let mut connection = server.connection();
    let before = main_thread_seconds(&mut connection)?;
    let calls_before = script_calls(&mut connection);
    let messages = send()? as f64;
    let seconds = main_thread_seconds(&mut connection)? - before;
    let calls = script_calls(&mut connection) - calls_before;
    Ok(Used {
        us_per_message: seconds * 1e6 / messages,
        messages_per_call: messages / calls as f64,
    })
}

/// Processor time of a server so far, without the threads that sync and free in the background.
pub(crate) fn main_thread_seconds(connection: &mut Connection) -> anyhow::Result<f64> {
    let mut seconds = 0.0;
    for field in ["used_cpu_sys_main_thread", "used_cpu_user_main_thread"] {
        seconds += connection.info(field).parse::<f64>().context(field)?;
    }
    Ok(seconds)
}

/// How often a script was called by its hash.
fn script_calls(connection: &mut Connection) -> u64 {
    let text = connection.cmd(&["INFO", "commandstats"]).text();
    let prefix = "cmdstat_evalsha:calls=";
    let calls = text.lines().find_map(|line| line.strip_prefix(prefix));
    let calls = calls.and_then(|rest| rest.split(',').next()?.parse().ok());
    calls.unwrap_or(0)
}

fn print(arguments: &Arguments, ways: &[Way], used: &[Vec<Used>]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let disk = match arguments.redis_aof {
        true => "append-only file, synced every second",
        false => "nothing on the disk",
    };
    writeln!(
        out,
        "\nprocessor of Redis per message of {BODY_BYTES} bytes, {} rounds in turns, {disk}",
        arguments.rounds
    )?;
    writeln!(
        out,
        "{:<28} {:>8} {:>8} {:>10} {:>10} {:>13}",
        "way", "us min", "median", "ratio min", "median", "messages/call"
    )?;
    for (way, rounds) in ways.iter().zip(used) {
        let us = sorted(rounds.iter().map(|used| used.us_per_message));
        let of_floor = rounds.iter().zip(&used[0]);
        let ratios = sorted(of_floor.map(|(own, floor)| own.us_per_message / floor.us_per_message));
        let per_call = sorted(rounds.iter().map(|used| used.messages_per_call));
        writeln!(
            out,
            "{:<28} {:>8.2} {:>8.2} {:>10.2} {:>10.2} {:>13}",
            way.name,
            us[0],
            middle(&us),
            ratios[0],
            middle(&ratios),
            match way.kind {
                Kind::Floor => String::new(),
                Kind::Adapter { .. } => format!("{:.1}", middle(&per_call)),
            }
        )?;
    }
    Ok(())
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn middle(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}
