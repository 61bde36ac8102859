//! Prints what `docs/storage.md` says of speed, on this machine:
//!
//! ```text
//! cargo run --release -p parlance-embedded --example measure -- DIR 1000000
//! cargo run --release -p parlance-embedded --example measure -- DIR 0
//! ```
//!
//! The first makes `DIR` and fills it with so many messages of 200 bytes in 1,000 conversations,
//! without syncing. The second opens it again and measures with it. Closed loop: so many appends
//! are always in flight. CPU is that of the whole process, this program's own part included.
#![expect(clippy::print_stdout, reason = "it prints a table")]

use std::{
    collections::VecDeque,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use parlance_core::{
    entry::{Draft, Event},
    ports::{Appended, Backend, History, Log},
};
use parlance_embedded::{Embedded, Handle, Options};
use parlance_protocol::{Anchor, ConversationId, LocalId, MessageId, UnixMicros, UserId};

const CONVERSATIONS: u64 = 1_000;
const CONTENT_BYTES: usize = 200;
const ROUND: Duration = Duration::from_secs(5);

struct Load {
    conversations: Vec<ConversationId>,
    senders: Vec<UserId>,
    sent: u64,
}

impl Load {
    fn new() -> Result<Self> {
        let conversation = |n| ConversationId::new(&format!("conversation-{n}"));
        let sender = |n| UserId::new(&format!("user-{n}"));
        Ok(Self {
            conversations: (0..CONVERSATIONS)
                .map(conversation)
                .collect::<Result<_, _>>()?,
            senders: (0..10).map(sender).collect::<Result<_, _>>()?,
            sent: 0,
        })
    }

    fn next(&mut self, run: u32) -> Result<(ConversationId, Draft)> {
        self.sent += 1;
        let n = self.sent.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        let conversation = &self.conversations[(n % CONVERSATIONS) as usize];
        let sender = &self.senders[(n / CONVERSATIONS % 10) as usize];
        let mut content = format!("message {} ", self.sent);
        content.extend(std::iter::repeat_n('x', CONTENT_BYTES - content.len()));
        let draft = Draft {
            sender: sender.clone(),
            local_id: Some(LocalId::new(&format!("{run}-{}", self.sent))?),
            retry: false,
            event: Event::Message {
                content: content.into(),
            },
            at: UnixMicros(self.sent),
            restores: None,
            trace: None,
        };
        Ok((conversation.clone(), draft))
    }
}

async fn append(
    handle: &Handle,
    load: &mut Load,
    in_flight: usize,
    until: impl Fn(u64, Duration) -> bool,
) -> Result<u64> {
    let started = Instant::now();
    let mut waiting = VecDeque::with_capacity(in_flight);
    let (mut offered, mut done) = (0, 0);
    loop {
        let more = !until(offered, started.elapsed());
        if more {
            let (conversation, draft) = load.next(std::process::id())?;
            waiting.push_back(handle.append(&conversation, draft));
            offered += 1;
        }
        if waiting.len() >= in_flight || !more {
            let Some(next) = waiting.pop_front() else {
                return Ok(done);
            };
            if !matches!(next.await?, Appended::New(_)) {
                bail!("an append was not new");
            }
            done += 1;
        }
    }
}

async fn measure(handle: &Handle, load: &mut Load, in_flight: usize, name: &str) -> Result<()> {
    let (started, cpu) = (Instant::now(), cpu()?);
    let done = append(handle, load, in_flight, |_, elapsed| elapsed > ROUND).await?;
    let rate = done as f64 / started.elapsed().as_secs_f64();
    let per_append = (self::cpu()? - cpu).as_secs_f64() * 1e6 / done as f64;
    println!("{name}, {in_flight} in flight: {rate:.0} appends/s, {per_append:.1} µs CPU each");
    Ok(())
}

async fn pages(handle: &Handle, load: &Load, name: &str, spread: bool) -> Result<()> {
    let mut times = Vec::new();
    for n in 0..2_000 {
        let index = if spread { n * 7919 % 1000 } else { 5 };
        let anchor = if spread {
            Anchor::Before(MessageId::new(500).context("an id")?)
        } else {
            Anchor::Newest
        };
        let started = Instant::now();
        handle.page(&load.conversations[index], anchor, 100).await?;
        times.push(started.elapsed());
    }
    times.sort();
    println!("{name}: p50 {:?}, p99 {:?}", times[1_000], times[1_980]);
    Ok(())
}

fn cpu() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').context("a command name")?.1;
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().unwrap_or(0))
        .sum();
    Ok(Duration::from_millis(ticks * 10))
}

fn rss_mb() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kb = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kb.context("VmRSS")?.parse::<u64>()? / 1024)
}

async fn fill(dir: &Path, load: &mut Load, messages: u64) -> Result<()> {
    let unsynced = Options {
        sync: false,
        ..Options::default()
    };
    let backend = Embedded::open(dir, unsynced)?;
    let (handle, _feed) = backend.attach();
    for in_flight in [1, 10, 100] {
        measure(&handle, load, in_flight, "sync off").await?;
    }
    println!("RSS {} MB after {} messages", rss_mb()?, load.sent);
    let (started, cpu) = (Instant::now(), cpu()?);
    let rest = messages.saturating_sub(load.sent);
    append(&handle, load, 1_000, |offered, _| offered >= rest).await?;
    let per_append = (self::cpu()? - cpu).as_secs_f64() * 1e6 / rest as f64;
    let rate = rest as f64 / started.elapsed().as_secs_f64();
    println!("sync off, 1000 in flight: {rate:.0} appends/s, {per_append:.1} µs CPU each");
    println!("RSS {} MB after {} messages", rss_mb()?, load.sent);
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().context("usage: measure DIR MESSAGES")?;
    let messages: u64 = arguments
        .next()
        .context("usage: measure DIR MESSAGES")?
        .parse()?;
    let mut load = Load::new()?;
    if messages > 0 {
        fill(Path::new(&dir), &mut load, messages).await?;
        return Ok(());
    }
    let started = Instant::now();
    let backend = Embedded::open(Path::new(&dir), Options::default())?;
    println!("opening again: {:?}", started.elapsed());
    let (handle, _feed) = backend.attach();
    for in_flight in [1, 10, 100] {
        measure(&handle, &mut load, in_flight, "sync on").await?;
    }
    pages(&handle, &load, "page of 100, old, any conversation", true).await?;
    pages(
        &handle,
        &load,
        "page of 100, newest, one conversation",
        false,
    )
    .await?;
    println!("RSS {} MB after {} messages", rss_mb()?, load.sent);
    Ok(())
}
