//! Processor time of the persister, and of Redis, per message that is moved into the store.
//!
//! The log is filled before the persister starts, so that each reading has a batch of each
//! conversation. Appending is measured on the way, and beside it one `XADD` per message.

use std::{
    thread,
    time::{Duration, Instant},
};

use parlance_testkit::{cql::Cql, redis::Redis};

use super::{
    Spread, Tables,
    bare::Bare,
    behind::{Persister, wait_until_stored},
    columns, heading, line, row,
};
use crate::{
    Arguments,
    redis::{
        BODY_BYTES, CONTENT_BYTES,
        appends::{Adapter, Behind, Load, LocalIds},
        floor::Floor,
        main_thread_seconds,
    },
    say,
};

/// Of one conversation: together they are in one reading.
const MESSAGES: u64 = 25;
/// The first of each sender asks for more than the others.
const WARM_UP: u64 = 2;

/// What one round used.
struct Used {
    /// Messages per second of the persister's processor.
    persisted: f64,
    /// The same of the driver alone.
    bare: f64,
    /// Messages of one conversation in one batch.
    together: f64,
    /// Of Redis, µs per message.
    xadd: f64,
    append: f64,
    persist: f64,
    /// Of Redis, ms per second, while a persister finds nothing.
    quiet: f64,
}

/// How long it is measured what a persister costs that finds nothing.
const QUIET: Duration = Duration::from_secs(2);

/// Measures rounds, and prints them beside the floors.
pub(super) fn measure(arguments: &Arguments, cql: &Cql) -> anyhow::Result<()> {
    let conversations = arguments.store_messages.div_ceil(MESSAGES);
    let mut rounds = Vec::new();
    for round in 1..=arguments.rounds {
        say(&format!("drain, round {round} of {}", arguments.rounds))?;
        rounds.push(one(cql, conversations)?);
    }
    print(conversations, &rounds)
}

fn one(cql: &Cql, conversations: u64) -> anyhow::Result<Used> {
    let tables = Tables::make(cql)?;
    let bare = Bare(&tables).write(conversations, 1, MESSAGES, CONTENT_BYTES)?;
    let xadd = xadd(conversations)?;

    let redis = Redis::setup().no_persistence().start();
    let mut connection = redis.connection();
    let append = {
        let load = Load {
            conversations,
            tasks: 128,
            senders: 2,
            content_bytes: CONTENT_BYTES,
            local_ids: LocalIds::Given,
        };
        let adapter = Adapter::open(&redis, Behind::Store)?;
        adapter.append(load, 0..WARM_UP)?;
        let before = main_thread_seconds(&mut connection)?;
        let appended = adapter.append(load, WARM_UP..MESSAGES)?;
        (main_thread_seconds(&mut connection)? - before) / appended as f64
    };

    let messages = (conversations * MESSAGES) as f64;
    let before = main_thread_seconds(&mut connection)?;
    let persister = Persister::start(&redis, &tables);
    let cpu_before = persister.cpu()?;
    wait_until_stored(&redis)?;
    let cpu = persister.cpu()? - cpu_before;
    let persist = (main_thread_seconds(&mut connection)? - before) / messages;
    let batches = persister.metric("parlance_persister_stored_duration_seconds_count")?;
    // Pauses have to be long again before that.
    thread::sleep(QUIET / 4);
    let (before, begun) = (main_thread_seconds(&mut connection)?, Instant::now());
    thread::sleep(QUIET);
    let quiet = main_thread_seconds(&mut connection)? - before;
    let quiet = quiet / begun.elapsed().as_secs_f64();
    Ok(Used {
        quiet: quiet * 1e3,
        persisted: messages / cpu.as_secs_f64(),
        bare,
        together: messages / batches,
        xadd: xadd * 1e6,
        append: append * 1e6,
        persist: persist * 1e6,
    })
}

/// Seconds of Redis per message that is only added.
fn xadd(conversations: u64) -> anyhow::Result<f64> {
    let redis = Redis::setup().no_persistence().start();
    let mut connection = redis.connection();
    let mut floor = Floor::open(redis.port(), conversations, BODY_BYTES)?;
    floor.send(conversations * WARM_UP)?;
    let before = main_thread_seconds(&mut connection)?;
    let sent = floor.send(conversations * (MESSAGES - WARM_UP))?;
    Ok((main_thread_seconds(&mut connection)? - before) / sent as f64)
}

fn print(conversations: u64, rounds: &[Used]) -> anyhow::Result<()> {
    let of = |value: fn(&Used) -> f64| Spread::of(rounds.iter().map(value));
    heading(&format!(
        "moving {} messages of {CONTENT_BYTES} bytes into the store, {:.0} of one conversation at a \
         time, {} rounds",
        conversations * MESSAGES,
        of(|used| used.together).median,
        rounds.len()
    ))?;
    columns("messages per second of processor")?;
    row("the driver alone", of(|used| used.bare))?;
    row("the persister", of(|used| used.persisted))?;
    row(
        "  of the driver alone",
        of(|used| used.persisted / used.bare),
    )?;
    line("µs of Redis's processor per message")?;
    row("one XADD", of(|used| used.xadd))?;
    row("append", of(|used| used.append))?;
    row("read, commit and trim", of(|used| used.persist))?;
    row("  of one XADD", of(|used| used.persist / used.xadd))?;
    let all = |used: &Used| (used.append + used.persist) / used.xadd;
    row("  with the append, of one XADD", of(all))?;
    row(
        "ms of it per second, by looking for nothing",
        of(|used| used.quiet),
    )
}
