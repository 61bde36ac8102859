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

/// Unanswered sends: enough to keep the server busy, few enough to measure its latency.
const WINDOW: usize = 8;
const MIB: f64 = 1024.0 * 1024.0;

#[tokio::test]
async fn a_stopped_reader_slows_nobody_costs_no_memory_and_misses_nothing() {
    let count = match std::env::var_os("PARLANCE_FULL") {
        Some(_) => 100_000,
        None => 10_000,
    };
    let running = pass(count, false).await;
    let stopped = pass(count, true).await;
    report(&format!("{count} messages, reader running: {running}"));
    report(&format!("{count} messages, reader stopped: {stopped}"));
    let grown = stopped.grown_bytes - running.grown_bytes;
    report(&format!(
        "the stopped reader alone: {:+.2} MiB",
        grown / MIB
    ));
    assert!(grown < MIB, "a stopped reader costs memory");
    let slack = Duration::from_millis(1);
    assert!(
        stopped.median < running.median * 3 / 2 + slack,
        "a stopped reader costs time"
    );
}

#[derive(Debug)]
struct Figures {
    grown_bytes: f64,
    median: Duration,
    p99: Duration,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            grown_bytes,
            median,
            p99,
        } = self;
        write!(
            f,
            "RSS {:+.2} MiB, ack p50 {median:.2?}, p99 {p99:.2?}",
            grown_bytes / MIB
        )
    }
}

/// A new server, a writer and a reader, which is stopped while all but the first messages pass.
async fn pass(count: usize, stop: bool) -> Figures {
    let setup = Parlance::setup().set("limits.actions_per_second", "0");
    let server = setup.set("limits.user_actions_per_second", "0").start();
    let mut writer = server.dial("stalled", "writer").connect().await;
    let mut reader = Reader::start(&server, "stalled", count);
    let warm_up = count / 10;
    write(&mut writer, 0, warm_up).await;
    if stop {
        reader.signal(Signal::STOP);
    }
    let before = server.rss_bytes();
    let mut latencies = write(&mut writer, warm_up, count).await;
    let after = server.rss_bytes();
    if stop {
        reader.signal(Signal::CONT);
    }
    assert_eq!(reader.next_line(), "complete");
    latencies.sort_unstable();
    Figures {
        grown_bytes: after as f64 - before as f64,
        median: latencies[latencies.len() / 2],
        p99: latencies[latencies.len() * 99 / 100],
    }
}

/// Sends the messages `from + 1` to `to`; the time to each acknowledgement.
async fn write(writer: &mut Client, from: usize, to: usize) -> Vec<Duration> {
    let mut sent_at = Vec::new();
    let mut latencies = Vec::new();
    while latencies.len() < to - from {
        while sent_at.len() < to - from && sent_at.len() < latencies.len() + WINDOW {
            sent_at.push(Instant::now());
            let content = format!("message {} {}", from + sent_at.len(), "x".repeat(100));
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
