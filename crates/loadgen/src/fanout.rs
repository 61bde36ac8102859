//! Rooms of members: one of each room sends, all of it receive, in a closed loop.
//!
//! A room has a window of messages under way; one counts as done when every member has it, and the
//! next is sent. So the load is what the server bears. Ids are sent in order, so each member must
//! see 1, 2, 3 …: that is checked, at every member, for every message.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};

use crate::{
    client::{Client, Received},
    process,
};

/// The load.
#[derive(Debug, Clone)]
pub struct Fanout {
    /// Where the server listens.
    pub address: SocketAddr,
    /// How many conversations.
    pub rooms: usize,
    /// How many members each has.
    pub members: usize,
    /// How many messages of a room are under way at once.
    pub window: usize,
    /// How many bytes of content a message has.
    pub content_bytes: usize,
    /// Not counted: the beginning.
    pub warm_up: Duration,
    /// Counted.
    pub measured: Duration,
    /// Whose CPU time is counted: the server, and what it does not work without.
    pub server_pids: Vec<u32>,
}

/// What was seen.
#[derive(Debug, Clone)]
pub struct Report {
    /// Messages times members, in the counted time.
    pub deliveries: u64,
    /// The counted time.
    pub elapsed: Duration,
    /// CPU time of each server process in it.
    pub server_cpu: Vec<Duration>,
    /// How many members got each message.
    pub members: usize,
    /// CPU time of this process in it.
    pub generator_cpu: Duration,
    /// From sending a message to the last member's having it, in microseconds.
    pub latency_us: Histogram<u64>,
    /// Messages that a member saw twice, over the whole run.
    pub duplicates: u64,
    /// Messages that a member did not see when it saw a later one, over the whole run.
    pub missing: u64,
}

impl Report {
    /// Per second of wall time.
    #[must_use]
    pub fn deliveries_per_second(&self) -> f64 {
        self.deliveries as f64 / self.elapsed.as_secs_f64()
    }

    /// Microseconds of the CPU of all server processes per delivery.
    #[must_use]
    pub fn server_us_per_delivery(&self) -> f64 {
        let all: Duration = self.server_cpu.iter().sum();
        all.as_secs_f64() * 1e6 / self.deliveries.max(1) as f64
    }

    /// Microseconds of the CPU of one server process per message.
    #[must_use]
    pub fn us_per_message(&self, process: usize) -> Option<f64> {
        let cpu = self.server_cpu.get(process)?;
        let messages = self.deliveries.max(1) as f64 / self.members as f64;
        Some(cpu.as_secs_f64() * 1e6 / messages)
    }

    /// How much of one core the generator used, 0 to 1.
    #[must_use]
    pub fn generator_busy(&self) -> f64 {
        self.generator_cpu.as_secs_f64() / self.elapsed.as_secs_f64()
    }
}

struct Room {
    /// The last id sent.
    sent: u64,
    /// Under way, oldest first: how many members lack it, and when it was sent.
    under_way: std::collections::VecDeque<(usize, Instant)>,
    /// The id of the oldest under way.
    oldest: u64,
}

struct Run<'a> {
    load: &'a Fanout,
    clients: Vec<Client>,
    rooms: Vec<Room>,
    /// The last id that each client saw.
    seen: Vec<u64>,
    deliveries: u64,
    duplicates: u64,
    missing: u64,
    latency_us: Histogram<u64>,
    content: String,
}

/// Runs the load. `path` gives the path, with its token, of member `m` of room `r`.
///
/// # Errors
/// When a client cannot connect, is cut off, or nothing arrives for 10 s.
pub fn run(load: &Fanout, path: impl Fn(usize, usize) -> String) -> anyhow::Result<Report> {
    let mut clients = Vec::with_capacity(load.rooms * load.members);
    for room in 0..load.rooms {
        for member in 0..load.members {
            let client = Client::connect(load.address, &path(room, member))
                .with_context(|| format!("member {member} of room {room}"))?;
            clients.push(client);
        }
    }
    let room = || Room {
        sent: 0,
        under_way: std::collections::VecDeque::new(),
        oldest: 1,
    };
    let mut run = Run {
        load,
        seen: vec![0; clients.len()],
        clients,
        rooms: (0..load.rooms).map(|_| room()).collect(),
        deliveries: 0,
        duplicates: 0,
        missing: 0,
        latency_us: Histogram::new(3)?,
        content: "x".repeat(load.content_bytes),
    };
    run.go()
}

impl Run<'_> {
    fn go(&mut self) -> anyhow::Result<Report> {
        let mut poll = Poll::new()?;
        for (index, client) in self.clients.iter_mut().enumerate() {
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(&mut client.stream, Token(index), interest)?;
        }
        for room in 0..self.load.rooms {
            for _ in 0..self.load.window {
                self.send_next(room)?;
            }
        }
        self.turn_until(&mut poll, Instant::now() + self.load.warm_up)?;
        self.deliveries = 0;
        self.latency_us.reset();
        let (servers, generator) = self.cpu()?;
        let begun = Instant::now();
        self.turn_until(&mut poll, begun + self.load.measured)?;
        let elapsed = begun.elapsed();
        let (servers_after, generator_after) = self.cpu()?;
        let used = servers_after.iter().zip(&servers);
        Ok(Report {
            deliveries: self.deliveries,
            elapsed,
            server_cpu: used
                .map(|(after, before)| after.saturating_sub(*before))
                .collect(),
            members: self.load.members,
            generator_cpu: generator_after.saturating_sub(generator),
            latency_us: self.latency_us.clone(),
            duplicates: self.duplicates,
            missing: self.missing,
        })
    }

    fn cpu(&self) -> anyhow::Result<(Vec<Duration>, Duration)> {
        let own = process::cpu_time(std::process::id())?;
        let pids = self.load.server_pids.iter();
        let servers: anyhow::Result<_> = pids.map(|pid| process::cpu_time(*pid)).collect();
        Ok((servers?, own))
    }

    fn turn_until(&mut self, poll: &mut Poll, end: Instant) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(4096);
        let mut scratch = vec![0; 256 * 1024];
        let mut progress = (self.deliveries, Instant::now());
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            if self.deliveries != progress.0 {
                progress = (self.deliveries, now);
            } else if now - progress.1 > Duration::from_secs(10) {
                bail!("nothing was delivered for 10 s");
            }
            match poll.poll(&mut events, Some((end - now).min(Duration::from_secs(1)))) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result.context("waiting for sockets")?,
            }
            for event in &events {
                self.on_ready(event.token().0, event.is_writable(), &mut scratch)?;
            }
        }
    }

    fn on_ready(&mut self, index: usize, writable: bool, scratch: &mut [u8]) -> anyhow::Result<()> {
        let mut ids: Vec<u64> = Vec::new();
        let mut closed = None;
        let client = &mut self.clients[index];
        if writable {
            client.flush().context("sending")?;
        }
        let open = client.receive(scratch, |received| match received {
            Received::Text(text) => ids.extend(message_id(text)),
            Received::Close(code) => closed = Some(code),
        });
        if let Some(code) = closed {
            bail!("client {index} was closed with {code}");
        }
        if !open.context("receiving")? {
            bail!("client {index} was cut off");
        }
        for id in ids {
            self.on_message(index, id)?;
        }
        Ok(())
    }

    fn on_message(&mut self, index: usize, id: u64) -> anyhow::Result<()> {
        let seen = &mut self.seen[index];
        if id <= *seen {
            self.duplicates += 1;
            return Ok(());
        }
        self.missing += id - *seen - 1;
        *seen = id;
        self.deliveries += 1;
        let index = index / self.load.members;
        let room = &mut self.rooms[index];
        let Some(place) = id.checked_sub(room.oldest) else {
            return Ok(());
        };
        let Some((lacking, _)) = room.under_way.get_mut(usize::try_from(place)?) else {
            bail!("message {id} was never sent");
        };
        *lacking -= 1;
        let mut done = 0;
        while let Some((0, at)) = room.under_way.front().copied() {
            room.under_way.pop_front();
            room.oldest += 1;
            done += 1;
            let latency_us = u64::try_from(at.elapsed().as_micros())?;
            self.latency_us
                .record(latency_us.max(1))
                .context("recording a latency")?;
        }
        for _ in 0..done {
            self.send_next(index)?;
        }
        Ok(())
    }

    fn send_next(&mut self, index: usize) -> anyhow::Result<()> {
        let room = &mut self.rooms[index];
        room.sent += 1;
        room.under_way
            .push_back((self.load.members, Instant::now()));
        let text = format!(
            r#"{{"action":"send_message","content":"{}","local_id":"{}"}}"#,
            self.content, room.sent
        );
        self.clients[index * self.load.members]
            .send(text.as_bytes())
            .context("sending")
    }
}

/// The `local_id` of a frame that carries a message.
#[must_use]
pub fn message_id(text: &[u8]) -> Option<u64> {
    const KEY: &[u8] = br#""local_id":""#;
    let start = text.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let end = text[start..].iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&text[start..start + end])
        .ok()?
        .parse()
        .ok()
}
