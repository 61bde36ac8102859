//! The floor of the store: the driver alone, with the statements, batches and rows of the adapter.
//!
//! No log, no ports, no retries, no metrics: rows are made here and sent. It runs as a process of its
//! own, because processor time is a process's, does one thing that its arguments name, and prints one
//! line of numbers. `benches/src/store/bare.rs` calls it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use futures_util::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use parlance_loadgen::process;
use scylla::{
    client::{
        execution_profile::ExecutionProfile, session::Session, session_builder::SessionBuilder,
    },
    serialize::row::SerializeRow,
    statement::{
        Consistency,
        batch::{Batch, BatchStatement, BatchType},
        prepared::PreparedStatement,
    },
};
use tokio::{
    runtime::Builder,
    time::{MissedTickBehavior, interval_at},
};

/// Conversations that are written at once: with three writes of each, about as many as a persister
/// has under way.
const AT_ONCE: usize = 48;
const SENDERS: [&str; 2] = ["user-0", "user-1"];
const BUCKET_IDS: i64 = 10_000;
const FIRST_MICROS: i64 = 1_700_000_000_000_000;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [nodes, keyspace, what, rest @ ..] = &arguments[..] else {
        bail!("wanted: NODES KEYSPACE write|pace|read …");
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let driver = Driver::connect(nodes, keyspace).await?;
        match (*what, rest) {
            ("write", [conversations, batches, messages, bytes]) => {
                let (conversations, batches) = (conversations.parse()?, batches.parse()?);
                driver
                    .write(conversations, batches, messages.parse()?, bytes.parse()?)
                    .await
            }
            ("pace", [conversations, per_second, seconds, bytes]) => {
                let (conversations, per_second) = (conversations.parse()?, per_second.parse()?);
                driver
                    .pace(conversations, per_second, seconds.parse()?, bytes.parse()?)
                    .await
            }
            ("read", [conversation, newest, rows, times]) => {
                let (newest, rows) = (newest.parse()?, rows.parse()?);
                driver
                    .read(conversation, newest, rows, times.parse()?)
                    .await
            }
            _ => bail!("unknown: {what} {rest:?}"),
        }
    })
}

struct Driver {
    session: Session,
    put_message: Put,
    put_name: Put,
    put_epoch: PreparedStatement,
    messages: PreparedStatement,
}

/// A statement, and the batches of it: made once for each number of rows, which is the least that
/// they can cost.
struct Put {
    statement: PreparedStatement,
    batches: Mutex<HashMap<usize, Arc<Batch>>>,
}

impl Put {
    fn of(statement: PreparedStatement) -> Self {
        let batches = Mutex::default();
        Self { statement, batches }
    }

    fn batch(&self, rows: usize) -> Arc<Batch> {
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        let made = batches.entry(rows).or_insert_with(|| {
            let statement = BatchStatement::PreparedStatement(self.statement.clone());
            let statements = vec![statement; rows];
            let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements);
            batch.set_is_idempotent(true);
            Arc::new(batch)
        });
        Arc::clone(made)
    }
}

impl Driver {
    async fn connect(nodes: &str, keyspace: &str) -> anyhow::Result<Self> {
        let profile = ExecutionProfile::builder().consistency(Consistency::LocalQuorum);
        let session = SessionBuilder::new()
            .known_nodes(nodes.split(','))
            .default_execution_profile_handle(profile.build().into_handle())
            .keyspaces_to_fetch([keyspace])
            .fetch_full_schema_metadata(false)
            .tcp_nodelay(true);
        let session = session.build().await?;
        let prepare = async |text: String| -> anyhow::Result<PreparedStatement> {
            let mut statement = session.prepare(text).await?;
            statement.set_is_idempotent(true);
            Ok(statement)
        };
        Ok(Self {
            put_message: Put::of(prepare(format!(
                "INSERT INTO \"{keyspace}\".messages (conversation_id, bucket, id, rev_id, rev_k, \
                 kind, sender, local_id, content, t, ordinal, count, prev_id, prev_k) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
            ))
            .await?),
            put_name: Put::of(prepare(format!(
                "INSERT INTO \"{keyspace}\".local_ids \
                 (conversation_id, sender_id, digest, id, k, content) \
                 VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP 1"
            ))
            .await?),
            put_epoch: prepare(format!(
                "INSERT INTO \"{keyspace}\".epochs (conversation_id, epoch, \
                 head_id, head_k, t, ordinal, count) VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
            ))
            .await?,
            messages: prepare(format!(
                "SELECT id, rev_id, rev_k, kind, sender, local_id, content, t, ordinal, count, \
                 prev_id, prev_k FROM \"{keyspace}\".messages \
                 WHERE conversation_id = ? AND bucket = ? AND id >= ? AND id <= ? \
                 ORDER BY id ASC, rev_id ASC, rev_k ASC"
            ))
            .await?,
            session,
        })
    }

    /// Prints messages and seconds of this process's processor.
    async fn write(
        &self,
        conversations: i64,
        batches: i64,
        messages: i64,
        bytes: usize,
    ) -> anyhow::Result<()> {
        let content = "x".repeat(bytes);
        let of_one = |conversation: i64| {
            let (name, content) = (format!("floor-{conversation}"), &content);
            async move {
                for batch in 0..batches {
                    let ids = batch * messages + 1..(batch + 1) * messages + 1;
                    self.store(&name, ids, content).await?;
                }
                anyhow::Ok(())
            }
        };
        let before = process::cpu_time(std::process::id())?;
        let all = stream::iter((0..conversations).map(of_one)).buffer_unordered(AT_ONCE);
        all.try_collect::<Vec<()>>().await?;
        let used = process::cpu_time(std::process::id())? - before;
        say(&format!(
            "{} {}",
            conversations * batches * messages,
            used.as_secs_f64()
        ));
        Ok(())
    }

    /// Events and names side by side, then the row of the epoch.
    async fn store(
        &self,
        conversation: &str,
        ids: std::ops::Range<i64>,
        content: &str,
    ) -> anyhow::Result<()> {
        let last = ids.end - 1;
        let local_ids: Vec<String> = ids.clone().map(|id| format!("000-{id:016}")).collect();
        let events = ids.clone().zip(&local_ids).map(|(id, local_id)| {
            let key = (conversation, id / BUCKET_IDS, id, id, 0_i64, 0_i8);
            let (t, prev) = (FIRST_MICROS + id, id - 1);
            let sender = SENDERS[usize::from(id % 2 == 1)];
            (
                key.0,
                key.1,
                key.2,
                key.3,
                key.4,
                key.5,
                sender,
                local_id.as_str(),
                content,
                t,
                id,
                id,
                prev,
                0_i64,
                t,
            )
        });
        let events: Vec<_> = events.collect();
        let names = SENDERS.iter().enumerate().map(|(index, sender)| {
            let own = ids.clone().filter(|id| (id % 2) as usize == index);
            let own = own.map(|id| (conversation, *sender, digest(id), id, 0_i64, [1_u8; 4]));
            own.collect::<Vec<_>>()
        });
        let names: Vec<Vec<_>> = names.filter(|names| !names.is_empty()).collect();
        let names = names.iter().map(|names| self.send(&self.put_name, names));
        let (events, names) =
            tokio::join!(self.send(&self.put_message, &events), try_join_all(names));
        events?;
        names?;
        let t = FIRST_MICROS + last;
        let row = (conversation, 0_i64, last, 0_i64, t, last, last, t);
        self.session.execute_unpaged(&self.put_epoch, row).await?;
        Ok(())
    }

    async fn send(&self, put: &Put, rows: &[impl SerializeRow]) -> anyhow::Result<()> {
        match rows {
            [row] => drop(self.session.execute_unpaged(&put.statement, row).await?),
            rows => drop(self.session.batch(&put.batch(rows.len()), rows).await?),
        }
        Ok(())
    }

    /// One message at a time, evenly. Prints p50 and p99 of its two steps, in µs.
    async fn pace(
        self,
        conversations: u32,
        per_second: u32,
        seconds: u32,
        bytes: usize,
    ) -> anyhow::Result<()> {
        let driver = Arc::new(self);
        let content: Arc<str> = "x".repeat(bytes).into();
        let period = Duration::from_secs(conversations.into()) / per_second;
        let rounds = i64::from(per_second * seconds / conversations);
        let begun = tokio::time::Instant::now();
        let tasks = (0..conversations).map(|index| {
            let (driver, content) = (Arc::clone(&driver), Arc::clone(&content));
            let mut turns = interval_at(begun + period * index / conversations, period);
            turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
            tokio::spawn(async move {
                let name = format!("paced-{index}");
                let mut took = Vec::new();
                for id in 1..=rounds {
                    turns.tick().await;
                    let begun = Instant::now();
                    driver.store(&name, id..id + 1, &content).await?;
                    took.push(begun.elapsed());
                }
                anyhow::Ok(took)
            })
        });
        let tasks: Vec<_> = tasks.collect();
        let mut took = Vec::new();
        for task in tasks {
            took.extend(task.await.context("a task that writes")??);
        }
        say_quantiles(took);
        Ok(())
    }

    /// The rows that end with `newest`, again and again. Prints p50 and p99 in µs.
    async fn read(
        &self,
        conversation: &str,
        newest: i64,
        rows: i64,
        times: usize,
    ) -> anyhow::Result<()> {
        let mut took = Vec::new();
        for turn in 0..times as i64 {
            let newest = newest - turn * rows;
            let begun = Instant::now();
            let mut found = 0;
            let oldest = newest - rows + 1;
            for bucket in oldest / BUCKET_IDS..=newest / BUCKET_IDS {
                let values = (conversation, bucket, oldest, newest);
                let read = self.session.execute_unpaged(&self.messages, values).await?;
                let read = read.into_rows_result()?;
                type Row<'f> = (
                    i64,
                    i64,
                    i64,
                    i8,
                    &'f str,
                    Option<&'f str>,
                    &'f str,
                    i64,
                    i64,
                    i64,
                    i64,
                    i64,
                );
                for row in read.rows::<Row<'_>>()? {
                    row?;
                    found += 1;
                }
            }
            took.push(begun.elapsed());
            anyhow::ensure!(found == rows, "{found} of {rows} rows below {newest}");
        }
        say_quantiles(took);
        Ok(())
    }
}

/// Nobody looks these up: they only have to differ.
fn digest(id: i64) -> [u8; 12] {
    let mixed = id.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed());
    let mut digest = [0; 12];
    digest[..8].copy_from_slice(&mixed.to_be_bytes());
    digest
}

fn say_quantiles(mut took: Vec<Duration>) {
    took.sort_unstable();
    let at = |hundredths: usize| {
        let index = (took.len() * hundredths / 100).min(took.len().saturating_sub(1));
        took.get(index).map_or(0, Duration::as_micros)
    };
    say(&format!("{} {}", at(50), at(99)));
}

#[expect(clippy::print_stdout, reason = "the one line that the caller reads")]
fn say(line: &str) {
    println!("{line}");
}
