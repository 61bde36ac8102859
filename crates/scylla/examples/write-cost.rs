//! What writing costs this process: messages per second of its CPU time, as a persister writes them.
//!
//! `cargo run --release -p parlance-scylla --example write-cost`, with `PARLANCE_CQL_NODES` for a
//! server elsewhere. The figure to compare is the CPU time: the server is on the same machine.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt, future::try_join3, stream};
use parlance_core::{
    entry::{Entry, Event},
    store::{Archive, ContentDigest, EpochRow, NameDigest, Named, StoredEvent},
};
use parlance_protocol::{ConversationId, LocalId, MessageId, Position, UnixMicros, UserId};
use parlance_scylla::{Options, Replication, Scylla, migrate};
use parlance_testkit::{cql::Cql, report};

const CONVERSATIONS: u64 = 32;
const BATCHES: u64 = 100;
const MESSAGES: u64 = 25;
const CONTENT_BYTES: usize = 120;

fn main() -> Result<()> {
    let server = Cql::start();
    let options = Options {
        nodes: server.contact_points(),
        keyspace: server.keyspace(),
        login: None,
        tls: None,
        datacenter: None,
        start_deadline: Duration::from_secs(60),
    };
    migrate(&options, &Replication { factor: 1 })?;
    let store = Scylla::connect(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for round in 0..3 {
        let (begun, cpu) = (Instant::now(), cpu_seconds()?);
        let all = stream::iter((0..CONVERSATIONS).map(|n| write(&store, round, n)));
        let all = all.buffer_unordered(CONVERSATIONS as usize);
        runtime.block_on(all.try_collect::<Vec<()>>())?;
        let cpu = cpu_seconds()? - cpu;
        let messages = (CONVERSATIONS * BATCHES * MESSAGES) as f64;
        report(&format!(
            "{messages} messages: {:.0} per second, {:.0} per second of CPU",
            messages / begun.elapsed().as_secs_f64(),
            messages / cpu
        ));
    }
    Ok(())
}

async fn write(store: &Scylla, round: u64, n: u64) -> Result<()> {
    let conversation = ConversationId::new(&format!("cost-{round}-{n}"))?;
    let senders = [UserId::new("user-one")?, UserId::new("user-two")?];
    for batch in 0..BATCHES {
        let events: Vec<_> = (1..=MESSAGES)
            .map(|n| event(batch * MESSAGES + n, &senders))
            .collect::<Result<_>>()?;
        let names = |of: usize| -> Vec<_> {
            let own = events
                .iter()
                .filter(|event| event.entry.sender == senders[of]);
            own.map(name).collect()
        };
        let (one, two) = (names(0), names(1));
        try_join3(
            store.put_events(&conversation, &events),
            store.put_names(&conversation, &senders[0], &one),
            store.put_names(&conversation, &senders[1], &two),
        )
        .await?;
        let last = &events.last().context("a batch has messages")?.entry;
        let row = EpochRow {
            epoch: 0,
            broke_at: None,
            head: last.position,
            t: last.t,
            ordinal: last.ordinal,
            count: last.ordinal,
        };
        store.put_epoch(&conversation, row).await?;
    }
    Ok(())
}

fn event(n: u64, senders: &[UserId; 2]) -> Result<StoredEvent> {
    let position = |n| MessageId::new(n).map(Position::of).context("ids are small");
    Ok(StoredEvent {
        entry: Entry {
            position: position(n)?,
            prev: position(n - 1)?,
            t: UnixMicros(1_700_000_000_000_000 + n),
            ordinal: n,
            sender: senders[(n % 2) as usize].clone(),
            local_id: Some(LocalId::new(&format!("local-id-{n:08}"))?),
            event: Event::Message { content: text(n) },
            trace: None,
        },
        count: n,
        revisions: Vec::new(),
    })
}

/// Letters that hardly compress, so that the size of the tables on disk is no flattery.
fn text(seed: u64) -> Box<str> {
    let mut dice = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let letter = |_| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        char::from(b'a' + (dice % 26) as u8)
    };
    (0..CONTENT_BYTES).map(letter).collect::<String>().into()
}

fn name(event: &StoredEvent) -> (NameDigest, Named) {
    let mut digest = [0; 12];
    digest.copy_from_slice(&text(event.count).as_bytes()[..12]);
    let named = Named {
        position: event.entry.position,
        content: ContentDigest([1; 4]),
    };
    (NameDigest(digest), named)
}

/// User and system time of this process.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, after_name) = stat.rsplit_once(')').context("a name in brackets")?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let mut ticks = || -> Result<f64> { Ok(fields.next().context("a field")?.parse()?) };
    // A hundred to the second on every Linux that there is.
    Ok((ticks()? + ticks()?) / 100.0)
}
