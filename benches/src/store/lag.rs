//! How far the store is behind: from the answer to an append until `stored` is heard of it.
//!
//! A shard sends evenly to many conversations that it is subscribed to. Once nobody persists, once a
//! persister does: the difference is what persisting costs Redis while messages come one by one. The
//! floor is the driver alone that writes the same messages at the same pace.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    ops::Range,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use parlance_core::{
    ports::{Appended, Heard, Log as _},
    store::Store,
};
use parlance_protocol::{ConversationId, Position};
use parlance_redis::Handle;
use parlance_testkit::{cql::Cql, redis::Redis, store::MemoryStore};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval_at, sleep, timeout},
};

use super::{
    Spread, Tables,
    bare::Bare,
    behind::{Persister, wait_until_owned, wait_until_stored},
    columns, heading, line, quantile, row, sorted,
};
use crate::{
    Arguments,
    redis::{
        BODY_BYTES, CONTENT_BYTES,
        appends::{Adapter, Load, LocalIds, conversation, draft, open_epochs_long_ago},
        floor::Floor,
        main_thread_seconds,
    },
    say,
};

const CONVERSATIONS: u64 = 100;
const PER_SECOND: u64 = 2_000;
const LOAD: Load = Load {
    conversations: CONVERSATIONS,
    tasks: CONVERSATIONS,
    senders: 1,
    content_bytes: CONTENT_BYTES,
    local_ids: LocalIds::Given,
};
/// For what is under way when the last message is answered.
const PATIENCE: Duration = Duration::from_secs(10);

/// What one round had.
struct Round {
    /// ms.
    bare_p50: f64,
    bare_p99: f64,
    p50: f64,
    p99: f64,
    /// Of the persister, in cores.
    cores: f64,
    /// Of Redis, µs per message.
    xadd: f64,
    append: f64,
    persist: f64,
}

/// Measures rounds, and prints them beside the floors.
pub(super) fn measure(arguments: &Arguments, cql: &Cql) -> anyhow::Result<()> {
    let mut rounds = Vec::new();
    for round in 1..=arguments.rounds {
        say(&format!("lag, round {round} of {}", arguments.rounds))?;
        rounds.push(one(cql, arguments.seconds)?);
    }
    print(&rounds)
}

fn one(cql: &Cql, seconds: u64) -> anyhow::Result<Round> {
    let tables = Tables::make(cql)?;
    let (bare_p50, bare_p99) =
        Bare(&tables).pace(CONVERSATIONS, PER_SECOND, seconds, CONTENT_BYTES)?;
    let xadd = xadd(PER_SECOND * seconds)?;

    let redis = Redis::setup().no_persistence().start();
    open_epochs_long_ago(&redis)?;
    let lags = Rc::new(Lags::default());
    let hears = Rc::clone(&lags);
    let store = Some(std::sync::Arc::new(MemoryStore::default()));
    let adapter = Adapter::connect(&redis, store, move |conversation, heard| {
        hears.on_heard(conversation, &heard);
    })?;
    adapter.subscribe(CONVERSATIONS)?;
    let mut connection = redis.connection();
    let turns = PER_SECOND * seconds / CONVERSATIONS;
    let messages = (turns * CONVERSATIONS) as f64;
    let mut redis_seconds = || main_thread_seconds(&mut connection);
    let send =
        |rounds: Range<u64>| adapter.run(|handle| send_evenly(handle, Rc::clone(&lags), rounds));

    send(0..2)?;
    let before = redis_seconds()?;
    send(2..2 + turns)?;
    let append = (redis_seconds()? - before) / messages;

    let persister = Persister::start(&redis, &tables);
    wait_until_owned(&persister)?;
    wait_until_stored(&redis)?;
    send(2 + turns..4 + turns)?;
    adapter.run(|_| lags.settle())?;
    lags.done.borrow_mut().clear();
    let (before, cpu_before, begun) = (redis_seconds()?, persister.cpu()?, Instant::now());
    send(4 + turns..4 + 2 * turns)?;
    let both = (redis_seconds()? - before) / messages;
    let cores = (persister.cpu()? - cpu_before).as_secs_f64() / begun.elapsed().as_secs_f64();
    adapter.run(|_| lags.settle())?;
    let all = sorted(
        lags.done
            .take()
            .into_iter()
            .map(|lag| lag.as_secs_f64() * 1e3),
    );
    Ok(Round {
        bare_p50,
        bare_p99,
        p50: quantile(&all, 0.5),
        p99: quantile(&all, 0.99),
        cores,
        xadd: xadd * 1e6,
        append: append * 1e6,
        persist: (both - append) * 1e6,
    })
}

/// Seconds of Redis per message that is only added, in more conversations than are under way.
fn xadd(messages: u64) -> anyhow::Result<f64> {
    let redis = Redis::setup().no_persistence().start();
    let mut connection = redis.connection();
    let mut floor = Floor::open(redis.port(), CONVERSATIONS * 10, BODY_BYTES)?;
    floor.send(messages)?;
    let before = main_thread_seconds(&mut connection)?;
    let sent = floor.send(messages * 4)?;
    Ok((main_thread_seconds(&mut connection)? - before) / sent as f64)
}

// === sending ===

async fn send_evenly<S: Store>(
    handle: Handle<S>,
    lags: Rc<Lags>,
    rounds: Range<u64>,
) -> anyhow::Result<()> {
    let period = Duration::from_secs(CONVERSATIONS) / u32::try_from(PER_SECOND)?;
    let begun = tokio::time::Instant::now();
    let mut tasks = JoinSet::new();
    for index in 0..CONVERSATIONS {
        let (handle, lags, rounds) = (handle.clone(), Rc::clone(&lags), rounds.clone());
        let first = begun + period * u32::try_from(index)? / u32::try_from(CONVERSATIONS)?;
        let mut turns = interval_at(first, period);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let conversation = conversation(index)?;
        tasks.spawn_local(async move {
            for round in rounds {
                turns.tick().await;
                let draft = draft(&LOAD, 0, round)?;
                match handle.append(&conversation, draft).await? {
                    Appended::New(entry) => lags.on_answer(&conversation, entry.position),
                    other @ (Appended::Duplicate(_) | Appended::Conflict | Appended::TooMany) => {
                        bail!("a new message was taken for {other:?}")
                    }
                }
            }
            Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.context("a task that sends")??;
    }
    Ok(())
}

// === what was heard ===

/// Messages that were answered, and are not stored as far as is known.
#[derive(Default)]
struct Lags {
    of: RefCell<HashMap<ConversationId, Waiting>>,
    /// How many, of all conversations.
    waiting: Cell<usize>,
    done: RefCell<Vec<Duration>>,
}

#[derive(Default)]
struct Waiting {
    stored: Option<Position>,
    answered: VecDeque<(Position, Instant)>,
}

impl Lags {
    fn on_answer(&self, conversation: &ConversationId, position: Position) {
        let mut all = self.of.borrow_mut();
        let of = all.entry(conversation.clone()).or_default();
        if of.stored.is_some_and(|stored| stored >= position) {
            self.done.borrow_mut().push(Duration::ZERO);
            return;
        }
        of.answered.push_back((position, Instant::now()));
        self.waiting.set(self.waiting.get() + 1);
    }

    fn on_heard(&self, conversation: ConversationId, heard: &Heard) {
        let Heard::Stored { up_to, .. } = heard else {
            return;
        };
        let mut all = self.of.borrow_mut();
        let of = all.entry(conversation).or_default();
        of.stored = of.stored.max(Some(*up_to));
        while let Some((_, at)) = of
            .answered
            .pop_front_if(|(position, _)| *position <= *up_to)
        {
            self.done.borrow_mut().push(at.elapsed());
            self.waiting.set(self.waiting.get() - 1);
        }
    }

    /// Waits until everything is stored.
    async fn settle(&self) -> anyhow::Result<()> {
        let all = async {
            while self.waiting.get() > 0 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, all)
            .await
            .with_context(|| format!("{} messages are not heard to be stored", self.waiting.get()))
    }
}

fn print(rounds: &[Round]) -> anyhow::Result<()> {
    let of = |value: fn(&Round) -> f64| Spread::of(rounds.iter().map(value));
    heading(&format!(
        "{PER_SECOND} messages a second in {CONVERSATIONS} conversations, {} rounds",
        rounds.len()
    ))?;
    columns("from the answer to an append until stored")?;
    row(
        "the driver alone, both writes: p50 ms",
        of(|round| round.bare_p50),
    )?;
    row("  p99 ms", of(|round| round.bare_p99))?;
    row("heard to be stored: p50 ms", of(|round| round.p50))?;
    row("  p99 ms", of(|round| round.p99))?;
    row(
        "processor of the persister, in cores",
        of(|round| round.cores),
    )?;
    line("µs of Redis's processor per message")?;
    row("one XADD", of(|round| round.xadd))?;
    row("append", of(|round| round.append))?;
    row("read, commit and trim", of(|round| round.persist))?;
    row("  of one XADD", of(|round| round.persist / round.xadd))
}
