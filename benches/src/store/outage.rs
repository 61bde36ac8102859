//! What those who send notice of a store that does not answer.
//!
//! Conversations and senders are known to Redis, so nothing has to be asked of the store. Its process
//! is stopped where it stands, and goes on, in turns; between them everything is stored, so that no
//! turn pays for the one before.
//!
//! A store that stands still leaves its processor to all others here, so it is compared with two
//! others: one that takes messages, and one that only waits, because the persister is stopped.

use std::time::Duration;

use parlance_testkit::{cql::Cql, redis::Redis, server::Parlance};

use super::{
    Spread, Tables,
    behind::{Persister, wait_until_owned, wait_until_stored},
    columns, heading, line, quantile, row,
    socket::{Sending, Sockets},
    sorted,
};
use crate::{
    Arguments,
    redis::{CONTENT_BYTES, appends::open_epochs_long_ago},
    say,
};

const CONVERSATIONS: usize = 50;
const PER_SECOND: u32 = 1_000;
/// Rounds are short, so there are more of them.
const TURNS_PER_ROUND: usize = 3;

/// How long acknowledgements took in one turn, in ms, ascending.
struct Turn {
    /// The store takes what the persister brings.
    busy: Vec<f64>,
    /// It is there, and nobody brings anything.
    idle: Vec<f64>,
    /// It is stopped, and the persister tries again and again.
    stopped: Vec<f64>,
}

/// Measures turns, and prints both sides.
pub(super) fn measure(arguments: &Arguments, cql: &mut Cql) -> anyhow::Result<()> {
    let tables = Tables::make(cql)?;
    let redis = Redis::setup().no_persistence().start();
    open_epochs_long_ago(&redis)?;
    let setup = Parlance::setup()
        .gateway(&redis.url())
        .set("limits.actions_per_second", "0")
        .set("limits.connections_per_user", "0")
        .set("limits.user_actions_per_second", "0");
    let gateway = tables.told_to(setup).start();
    let persister = Persister::start(&redis, &tables);
    wait_until_owned(&persister)?;
    let names = (0..CONVERSATIONS).map(|index| format!("room-{index}"));
    let sockets = Sockets::connect(&gateway, names)?;
    let mut sending = Sending::over(sockets, CONTENT_BYTES);
    let lasts = Duration::from_secs(arguments.seconds);
    sending.send(PER_SECOND, lasts)?;

    let turns = arguments.rounds * TURNS_PER_ROUND;
    let mut all = Vec::new();
    for turn in 1..=turns {
        say(&format!("the store is stopped, turn {turn} of {turns}"))?;
        wait_until_stored(&redis)?;
        let busy = sending.send(PER_SECOND, lasts)?;
        wait_until_stored(&redis)?;
        persister.freeze();
        let idle = sending.send(PER_SECOND, lasts);
        persister.thaw();
        let idle = idle?;
        wait_until_stored(&redis)?;
        cql.pause(0);
        let stopped = sending.send(PER_SECOND, lasts);
        cql.resume(0);
        let stopped = stopped?;
        all.push(Turn {
            busy,
            idle,
            stopped,
        });
    }
    print(&all)
}

fn print(turns: &[Turn]) -> anyhow::Result<()> {
    heading(&format!(
        "{PER_SECOND} messages a second over {CONVERSATIONS} sockets of one gateway, {} turns",
        turns.len()
    ))?;
    columns("until acknowledged, ms")?;
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let busy = |turn: &Turn| quantile(&turn.busy, share);
        let idle = |turn: &Turn| quantile(&turn.idle, share);
        let stopped = |turn: &Turn| quantile(&turn.stopped, share);
        let of = |value: &dyn Fn(&Turn) -> f64| Spread::of(turns.iter().map(value));
        row(&format!("{name}, the store takes messages"), of(&busy))?;
        row(&format!("{name}, the store only waits"), of(&idle))?;
        row(&format!("{name}, the store is stopped"), of(&stopped))?;
        let of_busy = |turn: &Turn| stopped(turn) / busy(turn);
        row("  of one that takes messages, per turn", of(&of_busy))?;
        let of_idle = |turn: &Turn| stopped(turn) / idle(turn);
        row("  of one that only waits, per turn", of(&of_idle))?;
    }
    let all = |of: fn(&Turn) -> &Vec<f64>| {
        let all = turns.iter().flat_map(|turn| of(turn).iter().copied());
        quantile(&sorted(all), 0.99)
    };
    let stopped = all(|turn| &turn.stopped);
    line(&format!(
        "{:<44} {:>10.2}",
        "p99 of all turns together, of one that waits",
        stopped / all(|turn| &turn.idle)
    ))
}
