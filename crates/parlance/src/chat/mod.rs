//! `parlance chat`: a terminal client, so that a person can see the protocol work.
//!
//! Everything that decides is in [`state`], without I/O; this loop carries events in and effects
//! out between it, one socket ([`socket`]) and the person ([`front`]).

mod command;
mod editor;
mod entered;
mod front;
mod incoming;
mod link;
mod outbox;
mod people;
mod screen;
mod socket;
mod state;
#[cfg(test)]
mod tests;
mod text;
mod transcript;

use std::{future, io, time::Duration};

use anyhow::Context;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};

use self::{
    front::Front,
    link::Moment,
    socket::{Connection, Place},
    state::{Effect, Farewell, Input, State},
};

/// Where tokens come from.
pub(crate) enum Tokens {
    /// Given; there will be no other.
    Given(String),
    /// Signed anew for every connection.
    Minted(Box<dyn Fn() -> anyhow::Result<String>>),
}

/// A conversation to be taken part in.
pub(crate) struct Chat {
    /// A valid id.
    pub(crate) conversation: String,
    /// The user that the tokens name.
    pub(crate) sub: String,
    /// The server's base URL.
    pub(crate) url: String,
    pub(crate) tokens: Tokens,
}

/// Chats until the person or the server has enough.
///
/// # Errors
/// When it cannot begin, when the server refuses, and when something said could not be sent.
pub(crate) fn run(chat: Chat) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    let farewell = runtime.block_on(Session::begin(chat)?.live())?;
    // The thread that reads keys or lines may never end.
    runtime.shutdown_background();
    match farewell {
        Farewell {
            refused: Some(why), ..
        } => anyhow::bail!("the server ended the chat: {why}"),
        Farewell { unsent: 0, .. } => Ok(()),
        Farewell { unsent, .. } => anyhow::bail!("not sent: {unsent} of what you said"),
    }
}

struct Session {
    chat: Chat,
    place: Place,
    state: State,
    front: Front,
    connection: Option<Connection>,
    started: Instant,
    input_ended: bool,
}

impl Session {
    fn begin(chat: Chat) -> anyhow::Result<Self> {
        let place = Place::new(&chat.url, &chat.conversation)?;
        let fresh_tokens = matches!(chat.tokens, Tokens::Minted(_));
        let prefix = format!("{:016x}", random()?);
        let state = State::new(&chat.conversation, &chat.sub, prefix, fresh_tokens);
        Ok(Self {
            chat,
            place,
            state,
            front: Front::open().context("open the terminal")?,
            connection: None,
            started: Instant::now(),
            input_ended: false,
        })
    }

    async fn live(mut self) -> anyhow::Result<Farewell> {
        let mut interrupt = signal(SignalKind::interrupt()).context("listen to SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("listen to SIGTERM")?;
        let mut input = Input::Tick;
        loop {
            self.state.handle(input, self.moment()?);
            while let Some(effect) = self.state.next_effect() {
                if let Some(farewell) = self.perform(effect)? {
                    return Ok(self.end(farewell).await);
                }
            }
            if gone(self.front.draw(&self.state))? {
                return Ok(self.end(NOBODY_READS).await);
            }
            input = self.next(&mut interrupt, &mut terminate).await;
        }
    }

    async fn next(&mut self, interrupt: &mut Signal, terminate: &mut Signal) -> Input {
        let wake = self.state.wake_ms();
        let wake = wake.map(|at_ms| self.started + Duration::from_millis(at_ms));
        tokio::select! {
            input = next_of(&mut self.connection) => {
                if let Input::Closed { .. } | Input::Refused { .. } = input {
                    self.connection = None;
                }
                input
            }
            input = self.front.next(), if !self.input_ended => {
                self.input_ended = matches!(input, Input::Ended);
                input
            }
            () = sleep_until(wake.unwrap_or(self.started)), if wake.is_some() => Input::Tick,
            _ = interrupt.recv() => Input::Leave,
            _ = terminate.recv() => Input::Leave,
        }
    }

    /// Does what the state wants; the end, if it wants that.
    fn perform(&mut self, effect: Effect) -> anyhow::Result<Option<Farewell>> {
        match effect {
            Effect::Connect { since } => {
                let token = self.token()?;
                self.connection = Some(Connection::open(self.place.clone(), token, since));
            }
            Effect::Drop => self.connection = None,
            Effect::Send(frame) => self.send(&frame),
            Effect::Authenticate => {
                if let Tokens::Minted(_) = self.chat.tokens {
                    let token = self.token()?;
                    self.send(&serde_json::json!({"action": "auth", "token": token}));
                }
            }
            Effect::Print(line) => {
                if gone(self.front.print(&line))? {
                    return Ok(Some(NOBODY_READS));
                }
            }
            Effect::Quit(farewell) => return Ok(Some(farewell)),
        }
        Ok(None)
    }

    fn send(&self, frame: &serde_json::Value) {
        if let Some(connection) = &self.connection {
            connection.send(frame.to_string());
        }
    }

    fn token(&self) -> anyhow::Result<String> {
        match &self.chat.tokens {
            Tokens::Given(token) => Ok(token.clone()),
            Tokens::Minted(mint) => mint(),
        }
    }

    async fn end(self, farewell: Farewell) -> Farewell {
        // The terminal first: what follows may take a second.
        drop(self.front);
        if let Some(connection) = self.connection {
            connection.close().await;
        }
        farewell
    }

    fn moment(&self) -> anyhow::Result<Moment> {
        let now_ms = self.started.elapsed().as_millis();
        Ok(Moment {
            now_ms: u64::try_from(now_ms).context("read the clock")?,
            random: random()?,
        })
    }
}

/// A reader that went away is an end, and no failure.
const NOBODY_READS: Farewell = Farewell {
    unsent: 0,
    refused: None,
};

fn gone(written: io::Result<()>) -> anyhow::Result<bool> {
    match written {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        Err(error) => Err(error).context("write to the terminal"),
    }
}

async fn next_of(connection: &mut Option<Connection>) -> Input {
    match connection {
        Some(connection) => connection.next().await,
        None => future::pending().await,
    }
}

fn random() -> anyhow::Result<u64> {
    getrandom::u64().context("ask the system for randomness")
}
