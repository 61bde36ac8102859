//! A reader that is stopped costs the server nothing and the others nothing, and misses nothing.
//!
//! `PARLANCE_FULL=1` passes 100,000 messages instead of 10,000.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::{
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use parlance_testkit::{
    client::{Client, Incoming},
    report,
    server::Parlance,
    tokens::Claims,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// Unanswered sends: a stopped reader is cut after a minute, so this must be quick.
const WINDOW: usize = 64;
const CHUNK: usize = 50;
/// What a stopped reader misses does not fit into the buffers of its socket.
const MISSED_BYTES: usize = 30_000_000;
const MIB: f64 = 1024.0 * 1024.0;

#[tokio::test]
async fn a_stopped_reader_slows_nobody_costs_no_memory_and_misses_nothing() {
    let count = match std::env::var_os("PARLANCE_FULL") {
        Some(_) => 100_000,
        None => 10_000,
    };
    let mut running = Conversation::start(count).await;
    let mut stopped = Conversation::start(count).await;
    stopped.reader.signal(Signal::STOP);
    // In turns, so that whatever else this machine does slows both alike.
    while running.sent < count {
        running.pass(CHUNK).await;
        stopped.pass(CHUNK).await;
    }
    let (running_grown, stopped_grown) = (running.grown_bytes(), stopped.grown_bytes());
    stopped.reader.signal(Signal::CONT);
    for conversation in [&mut running, &mut stopped] {
        assert_eq!(conversation.reader.next_line(), "complete");
    }
    let (running, stopped) = (running.quantiles(), stopped.quantiles());
    let grown = stopped_grown - running_grown;
    report(&format!(
        "{count} messages: RSS {:+.2} MiB with a stopped reader, {:+.2} MiB with a running one; \
         ack p50 {:.2?} and {:.2?}, p99 {:.2?} and {:.2?}",
        stopped_grown / MIB,
        running_grown / MIB,
        stopped.0,
        running.0,
        stopped.1,
        running.1,
    ));
    // What a process holds swings by a megabyte or two by itself; a queue would hold all that is
    // missed.
    let bound = MISSED_BYTES as f64 / 8.0;
    assert!(
        grown < bound,
        "a stopped reader costs {:.2} MiB",
        grown / MIB
    );
    let slack = Duration::from_millis(1);
    assert!(
        stopped.0 < running.0 * 3 / 2 + slack,
        "a stopped reader costs time"
    );
}

/// A server of its own with a writer and a reader.
struct Conversation {
    server: Parlance,
    writer: Client,
    reader: Reader,
    content: String,
    sent: usize,
    latencies: Vec<Duration>,
    rss_before: u64,
}

impl Conversation {
    /// The first tenth of the messages has passed: caches are warm.
    async fn start(count: usize) -> Self {
        let setup = Parlance::setup().set("limits.actions_per_second", "0");
        let server = setup.set("limits.user_actions_per_second", "0").start();
        let writer = server.dial("stalled", "writer").connect().await;
        let reader = Reader::start(&server, "stalled", count);
        let mut conversation = Self {
            server,
            writer,
            reader,
            content: "x".repeat(MISSED_BYTES / count),
            sent: 0,
            latencies: Vec::new(),
            rss_before: 0,
        };
        conversation.pass(count / 10).await;
        conversation.latencies.clear();
        conversation.rss_before = conversation.server.rss_bytes();
        conversation
    }

    async fn pass(&mut self, messages: usize) {
        let latencies = write(&mut self.writer, &self.content, messages).await;
        self.latencies.extend(latencies);
        self.sent += messages;
    }

    fn grown_bytes(&self) -> f64 {
        self.server.rss_bytes() as f64 - self.rss_before as f64
    }

    /// Median and 99th percentile of the time to an acknowledgement.
    fn quantiles(&mut self) -> (Duration, Duration) {
        self.latencies.sort_unstable();
        let of = |percent: usize| self.latencies[self.latencies.len() * percent / 100];
        (of(50), of(99))
    }
}

/// Sends messages; the time to each acknowledgement.
async fn write(writer: &mut Client, content: &str, messages: usize) -> Vec<Duration> {
    let mut sent_at = Vec::new();
    let mut latencies = Vec::new();
    while latencies.len() < messages {
        while sent_at.len() < messages.min(latencies.len() + WINDOW) {
            sent_at.push(Instant::now());
            writer
                .send(json!({"action": "send_message", "content": content}))
                .await;
        }
        let seen = writer
            .next(Duration::from_secs(20))
            .await
            .expect("an acknowledgement");
        writer.seen.clear();
        match seen.what {
            Incoming::Json(frame) if frame["type"] == "chat_message" => {
                latencies.push(seen.at - sent_at[latencies.len()]);
            }
            Incoming::Json(_) | Incoming::Ping(_) | Incoming::Pong(_) => {}
            Incoming::Close(..) | Incoming::End => panic!("the writer was closed: {:?}", seen.what),
        }
    }
    latencies
}

/// The reader's process; killed when dropped.
struct Reader {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Reader {
    /// Returns when it has joined.
    fn start(server: &Parlance, room: &str, count: usize) -> Self {
        let token = server.mint(&Claims::of("reader"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_reader"))
            .args([
                &server.address().to_string(),
                room,
                &token,
                &count.to_string(),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut reader = Self { child, lines };
        assert_eq!(reader.next_line(), "joined");
        reader
    }

    fn next_line(&mut self) -> String {
        self.lines
            .next()
            .expect("the reader says why it ended")
            .unwrap()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
