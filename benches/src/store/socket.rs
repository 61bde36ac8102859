//! Clients of a gateway: what they send, and how long the answers take.

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use mio::{Events, Interest, Poll, Token};
use parlance_loadgen::client::{Client, Received, message_id};
use parlance_testkit::{server::Parlance, tokens::Claims};

const SCRATCH_BYTES: usize = 256 * 1024;
/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Some clients, each in a conversation of its own.
pub(super) struct Sockets {
    poll: Poll,
    clients: Vec<Client>,
    scratch: Vec<u8>,
}

impl Sockets {
    /// One client in each.
    pub(super) fn connect(
        gateway: &Parlance,
        conversations: impl Iterator<Item = String>,
    ) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let mut clients = Vec::new();
        for conversation in conversations {
            let token = gateway.mint(&Claims::of("user-0"));
            let path = format!("/conversations/{conversation}/?token={token}");
            let mut client = Client::connect(gateway.address(), &path)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            let token = Token(clients.len());
            poll.registry()
                .register(&mut client.stream, token, interest)?;
            clients.push(client);
        }
        Ok(Self {
            poll,
            clients,
            scratch: vec![0; SCRATCH_BYTES],
        })
    }

    /// Asks the first client's conversation, and waits for the answer that fits.
    pub(super) fn ask(
        &mut self,
        text: &str,
        fits: impl Fn(&[u8]) -> bool,
    ) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.clients[0].send(text.as_bytes())?;
        let mut is_answered = false;
        while !is_answered {
            ensure!(begun.elapsed() < PATIENCE, "no answer to {text}");
            self.turn(Duration::from_secs(1), |_, text| is_answered |= fits(text))?;
        }
        Ok(begun.elapsed())
    }

    /// Waits for something to come, so long at most, and takes all that came.
    fn turn(&mut self, within: Duration, mut on: impl FnMut(usize, &[u8])) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(1024);
        match self.poll.poll(&mut events, Some(within)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result.context("waiting for sockets")?,
        }
        for event in &events {
            let index = event.token().0;
            let client = &mut self.clients[index];
            if event.is_writable() {
                client.flush().context("sending")?;
            }
            let mut closed = None;
            let open = client.receive(&mut self.scratch, |received| match received {
                Received::Text(text) => on(index, text),
                Received::Close(code) => closed = Some(code),
            });
            if let Some(code) = closed {
                bail!("client {index} was closed with {code}");
            }
            ensure!(open.context("receiving")?, "client {index} was cut off");
        }
        Ok(())
    }
}

/// Messages at an even pace over all sockets. Each client's own copy is its acknowledgement.
pub(super) struct Sending {
    sockets: Sockets,
    content: String,
    /// Messages so far.
    sent: u64,
    /// Of each client, the oldest first.
    under_way: Vec<VecDeque<(u64, Instant)>>,
}

impl Sending {
    pub(super) fn over(sockets: Sockets, content_bytes: usize) -> Self {
        Self {
            under_way: vec![VecDeque::new(); sockets.clients.len()],
            sockets,
            content: "x".repeat(content_bytes),
            sent: 0,
        }
    }

    /// Sends for so long, and waits for all answers. Gives how long each took, in ms, ascending.
    pub(super) fn send(&mut self, per_second: u32, lasts: Duration) -> anyhow::Result<Vec<f64>> {
        let begun = Instant::now();
        let pause = Duration::from_secs(1) / per_second;
        let messages = (lasts.as_secs_f64() * f64::from(per_second)) as u32;
        let mut took = Vec::new();
        for index in 0..messages {
            let due = begun + pause * index;
            while Instant::now() < due {
                self.take(due - Instant::now(), &mut took)?;
            }
            self.send_one()?;
        }
        let give_up = Instant::now() + PATIENCE;
        while self.under_way.iter().any(|under_way| !under_way.is_empty()) {
            ensure!(
                Instant::now() < give_up,
                "some messages were not acknowledged"
            );
            self.take(Duration::from_millis(100), &mut took)?;
        }
        took.sort_by(f64::total_cmp);
        Ok(took)
    }

    fn send_one(&mut self) -> anyhow::Result<()> {
        self.sent += 1;
        let index = self.sent as usize % self.under_way.len();
        let text = format!(
            r#"{{"action":"send_message","content":"{}","local_id":"{}"}}"#,
            self.content, self.sent
        );
        self.under_way[index].push_back((self.sent, Instant::now()));
        self.sockets.clients[index].send(text.as_bytes())?;
        Ok(())
    }

    fn take(&mut self, within: Duration, took: &mut Vec<f64>) -> anyhow::Result<()> {
        let under_way = &mut self.under_way;
        self.sockets.turn(within, |index, text| {
            let Some(id) = message_id(text) else {
                return;
            };
            let acknowledged = under_way[index].pop_front_if(|(first, _)| *first <= id);
            took.extend(acknowledged.map(|(_, at)| at.elapsed().as_secs_f64() * 1e3));
        })
    }
}
