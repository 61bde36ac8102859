//! How long a page of history takes: from the log, and from the store at any depth.
//!
//! One conversation is written into the store alone, as if it had been persisted long ago. Redis does
//! not know it; the adapter restores its end from the store. Another one is in the log. Pages are asked
//! for one at a time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use parlance_core::{
    entry::{Entry, Event},
    ports::History as _,
    store::{Archive as _, EpochRow, RANGE_MAX, StoredEvent},
};
use parlance_protocol::{Anchor, ConversationId, LocalId, MessageId, Position, UnixMicros, UserId};
use parlance_scylla::Scylla;
use parlance_testkit::{
    cql::Cql,
    redis::{Redis, partition_of, tag},
    server::Parlance,
};

use super::{Spread, Tables, bare::Bare, heading, line, quantile, socket::Sockets, sorted};
use crate::{
    Arguments,
    redis::{
        CONTENT_BYTES,
        appends::{Adapter, Load, LocalIds, open_epochs_long_ago},
    },
    say,
};

const OLD: &str = "history";
/// As [`crate::redis::appends::conversation`] names the first.
const FRESH: &str = "room-0";
const FRESH_MESSAGES: u64 = 300;
/// Pages of each kind and round.
const TIMES: u64 = 300;
/// Whoever walks down from a quarter of it has so many rows.
const LEAST: u64 = 4 * (TIMES + 1) * 100;
/// Writes under way while the conversation is made.
const AT_ONCE: usize = 8;
const FIRST_MICROS: u64 = 1_700_000_000_000_000;

/// p50 and p99, in ms.
#[derive(Clone, Copy)]
struct Took {
    p50: f64,
    p99: f64,
}

/// A kind of page, and what the rounds were.
struct Kind {
    name: String,
    rounds: Vec<Took>,
}

/// Measures rounds, and prints them.
pub(super) fn measure(arguments: &Arguments, cql: &Cql) -> anyhow::Result<()> {
    let tables = Tables::make(cql)?;
    let store = tables.connect()?;
    let messages = arguments.store_history;
    ensure!(
        messages >= LEAST,
        "a conversation of {LEAST} messages is needed for all pages to differ"
    );
    say(&format!("writing a conversation of {messages} messages"))?;
    let begun = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(fill(&store, messages))?;
    let filled = begun.elapsed();

    let redis = Redis::setup().no_persistence().start();
    open_epochs_long_ago(&redis)?;
    let adapter = Adapter::connect(&redis, Some(store), |_, _| {})?;
    let load = Load {
        conversations: 1,
        tasks: 1,
        senders: 2,
        content_bytes: CONTENT_BYTES,
        local_ids: LocalIds::Given,
    };
    adapter.append(load, 0..FRESH_MESSAGES)?;
    let setup = Parlance::setup()
        .gateway(&redis.url())
        .set("limits.actions_per_second", "0")
        .set("limits.user_actions_per_second", "0");
    let gateway = tables.told_to(setup).start();
    let mut bench = Bench {
        messages,
        old: Sockets::connect(&gateway, [OLD.to_owned()].into_iter())?,
        fresh: Sockets::connect(&gateway, [FRESH.to_owned()].into_iter())?,
        adapter,
        redis,
        tables: &tables,
        kinds: Vec::new(),
    };
    for round in 0..=arguments.rounds {
        say(&format!("pages, round {round} of {}", arguments.rounds))?;
        for rows in [20, 100] {
            bench.round(rows)?;
        }
        if round == 0 {
            // Caches and the server's compiler were cold.
            bench.kinds.clear();
        }
    }
    print(&bench, filled)
}

struct Bench<'a> {
    messages: u64,
    old: Sockets,
    fresh: Sockets,
    adapter: Adapter<Scylla>,
    redis: Redis,
    tables: &'a Tables,
    kinds: Vec<Kind>,
}

impl Bench<'_> {
    fn round(&mut self, rows: u8) -> anyhow::Result<()> {
        let (newest, count) = (self.messages, u64::from(rows));
        let middle = newest / 2;
        let took = self.log_alone(rows)?;
        self.add(format!("log: XREVRANGE alone, {rows} rows"), took);
        let took = self.page(FRESH, rows, |_| Ok(Anchor::Newest))?;
        self.add(format!("log: adapter, {rows} rows"), took);
        let took = asked(&mut self.fresh, rows, |_| String::new())?;
        self.add(format!("log: socket, {rows} rows"), took);

        let (p50, p99) = Bare(self.tables).read(OLD, newest / 4, count, TIMES)?;
        self.add(
            format!("store: the driver alone, {rows} rows"),
            Took { p50, p99 },
        );
        let took = self.page(OLD, rows, |turn| before(middle - turn * count))?;
        self.add(format!("store: adapter, {rows} rows"), took);
        let below = newest / 4 * 3;
        let took = asked(&mut self.old, rows, |turn| {
            format!(r#""before_id":"{}","#, below - turn * count)
        })?;
        self.add(format!("store: socket, {rows} rows"), took);

        let took = self.page(OLD, rows, |_| Ok(Anchor::Newest))?;
        self.add(format!("depth: newest, {rows} rows"), took);
        let took = self.page(OLD, rows, |_| before(middle))?;
        self.add(format!("depth: middle, {rows} rows"), took);
        let took = self.page(OLD, rows, |_| before(count + 1))?;
        self.add(format!("depth: oldest, {rows} rows"), took);
        Ok(())
    }

    fn add(&mut self, name: String, took: Took) {
        match self.kinds.iter_mut().find(|kind| kind.name == name) {
            Some(kind) => kind.rounds.push(took),
            None => self.kinds.push(Kind {
                name,
                rounds: vec![took],
            }),
        }
    }

    fn log_alone(&self, rows: u8) -> anyhow::Result<Took> {
        let key = format!("{}:l:{FRESH}", tag(partition_of(FRESH)));
        let rows = rows.to_string();
        let mut connection = self.redis.connection();
        timed(|_| {
            let begun = Instant::now();
            let answer = connection.cmd(&["XREVRANGE", &key, "+", "-", "COUNT", &rows]);
            let took = begun.elapsed();
            let found = answer.list().len();
            ensure!(found.to_string() == rows, "{found} entries in {key}");
            Ok(took)
        })
    }

    fn page(
        &self,
        conversation: &str,
        rows: u8,
        anchor: impl Fn(u64) -> anyhow::Result<Anchor>,
    ) -> anyhow::Result<Took> {
        let conversation = &ConversationId::new(conversation)?;
        timed(|turn| {
            let anchor = anchor(turn)?;
            self.adapter.run(|handle| async move {
                let begun = Instant::now();
                let page = handle.page(conversation, anchor, rows).await?;
                let took = begun.elapsed();
                let found = page.rows.len();
                ensure!(found == usize::from(rows), "{found} rows at {anchor:?}");
                Ok(took)
            })
        })
    }

    fn p50(&self, name: &str) -> f64 {
        let kind = self.kinds.iter().find(|kind| kind.name == name);
        let rounds = kind.iter().flat_map(|kind| &kind.rounds);
        Spread::of(rounds.map(|took| took.p50)).median
    }
}

/// Pages over a socket; `below` says from where on, as a field of the question.
fn asked(sockets: &mut Sockets, rows: u8, below: impl Fn(u64) -> String) -> anyhow::Result<Took> {
    timed(|turn| {
        let below = below(turn);
        let text = format!(
            r#"{{"action":"fetch_messages",{below}"limit":{rows},"request_id":"r{turn}"}}"#
        );
        // It comes last in a page.
        let own = format!(r#","request_id":"r{turn}"}}"#);
        sockets.ask(&text, |frame| frame.ends_with(own.as_bytes()))
    })
}

fn timed(mut one: impl FnMut(u64) -> anyhow::Result<Duration>) -> anyhow::Result<Took> {
    let all: anyhow::Result<Vec<Duration>> = (0..TIMES).map(&mut one).collect();
    let all = sorted(all?.into_iter().map(|took| took.as_secs_f64() * 1e3));
    Ok(Took {
        p50: quantile(&all, 0.5),
        p99: quantile(&all, 0.99),
    })
}

fn before(id: u64) -> anyhow::Result<Anchor> {
    let id = MessageId::new(id).context("ids are small")?;
    Ok(Anchor::Before(id))
}

// === filling ===

async fn fill(store: &Arc<Scylla>, messages: u64) -> anyhow::Result<()> {
    let conversation = ConversationId::new(OLD)?;
    let sender = UserId::new("user-0")?;
    let parts = (1..=messages).step_by(RANGE_MAX).map(|first| {
        let last = messages.min(first + RANGE_MAX as u64 - 1);
        let (conversation, sender) = (&conversation, &sender);
        async move {
            let events: anyhow::Result<Vec<StoredEvent>> =
                (first..=last).map(|id| event(id, sender)).collect();
            let events = events?;
            // What a server that is too busy did not answer is written again.
            for _ in 0..5 {
                if store.put_events(conversation, &events).await.is_ok() {
                    return Ok(());
                }
            }
            bail!("the store does not take the messages from {first} on")
        }
    });
    let parts = stream::iter(parts).buffer_unordered(AT_ONCE);
    parts.try_collect::<Vec<()>>().await?;
    let row = EpochRow {
        epoch: 0,
        broke_at: None,
        head: position(messages)?,
        t: UnixMicros(FIRST_MICROS + messages),
        ordinal: messages,
        count: messages,
    };
    store.put_epoch(&conversation, row).await?;
    Ok(())
}

fn event(id: u64, sender: &UserId) -> anyhow::Result<StoredEvent> {
    Ok(StoredEvent {
        entry: Entry {
            position: position(id)?,
            prev: position(id - 1)?,
            t: UnixMicros(FIRST_MICROS + id),
            ordinal: id,
            sender: sender.clone(),
            local_id: Some(LocalId::new(&format!("000-{id:016}"))?),
            event: Event::Message {
                content: "x".repeat(CONTENT_BYTES).into(),
            },
            trace: None,
        },
        count: id,
        revisions: Vec::new(),
    })
}

fn position(id: u64) -> anyhow::Result<Position> {
    let id = MessageId::new(id).context("ids are small")?;
    Ok(Position::of(id))
}

fn print(bench: &Bench<'_>, filled: Duration) -> anyhow::Result<()> {
    heading(&format!(
        "a page of a conversation of {} messages, written in {:.0} s, and of one in the log",
        bench.messages,
        filled.as_secs_f64()
    ))?;
    line(&format!(
        "{:<44} {:>10} {:>10} {:>10} {:>10}",
        "ms, medians of rounds", "p50", "most", "p99", "most"
    ))?;
    for Kind { name, rounds } in &bench.kinds {
        let p50 = Spread::of(rounds.iter().map(|took| took.p50));
        let p99 = Spread::of(rounds.iter().map(|took| took.p99));
        line(&format!(
            "{name:<44} {:>10.2} {:>10.2} {:>10.2} {:>10.2}",
            p50.median, p50.most, p99.median, p99.most
        ))?;
    }
    for rows in [20, 100] {
        let depths = ["newest", "middle", "oldest"];
        let depths = depths.map(|depth| bench.p50(&format!("depth: {depth}, {rows} rows")));
        let depths = Spread::of(depths.into_iter());
        line(&format!(
            "slowest of the fastest depth, {rows} rows, p50: {:.2}",
            depths.most / depths.least
        ))?;
    }
    Ok(())
}
