//! One connection for commands to one master, under one run of it.
//!
//! A run is one unbroken life of a master. It is read when the connection is made and with every
//! probe, and whatever shows that it may have ended ends the connection: so everything that is sent
//! over a link carries the run that it is answered under. A command is sent at the first poll of its
//! future, in the order of the polls.

use std::{borrow::Cow, cell::Cell, sync::Arc, time::Duration};

use parlance_core::ports::Unavailable;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, FromRedisValue, Pipeline,
    PushInfo, PushKind, RedisError, ServerErrorKind, Value,
    aio::{MultiplexedConnection, SendError},
    cmd,
};
use tokio::sync::Notify;

use crate::{
    gather::Gathering,
    scripts::{self, Script},
    server::{ServerFacts, server_facts},
};

/// To reach a node at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// For an answer. What takes longer may have been done: nobody knows.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Commands that wait to be written to a socket; beyond it their senders wait, in order.
const UNSENT_COMMANDS: usize = 4096;

/// A run: the beginnings of `run_id` and `master_replid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run(pub(crate) Arc<str>);

/// A connection to a master.
pub(crate) struct Link {
    connection: MultiplexedConnection,
    pub(crate) run: Run,
    /// What is about to be appended over it.
    pub(crate) gathering: Gathering,
    has_ended: Cell<bool>,
    end: Arc<Notify>,
}

/// Why a command has no result.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CallError {
    /// It was not done: the node is not, or not yet, the one to ask.
    #[error("not served there: {0}")]
    Elsewhere(Arc<str>),
    /// It was not done: the node refused it.
    #[error("refused: {0}")]
    Refused(Arc<str>),
    /// Whether it was done is not known.
    #[error("no answer: {0}")]
    Unknown(Arc<str>),
}

impl From<CallError> for Unavailable {
    fn from(error: CallError) -> Self {
        Self::new(format_args!("Redis: {error}"))
    }
}

/// A call of a script.
pub(crate) struct Call<'a> {
    script: &'static Script,
    keys: Vec<&'a [u8]>,
    arguments: Vec<Cow<'a, [u8]>>,
}

// === impl Call ===

impl<'a> Call<'a> {
    pub(crate) fn of<K: AsRef<[u8]> + ?Sized + 'a>(
        script: &'static Script,
        keys: impl IntoIterator<Item = &'a K>,
    ) -> Self {
        Self {
            script,
            keys: keys.into_iter().map(AsRef::as_ref).collect(),
            arguments: Vec::new(),
        }
    }

    /// Adds an argument.
    pub(crate) fn with(mut self, argument: impl Into<Argument<'a>>) -> Self {
        self.arguments.push(argument.into().0);
        self
    }

    /// By the hash of the script, or with its text.
    pub(crate) fn command(&self, by_hash: bool) -> Cmd {
        let mut command = if by_hash {
            let mut command = cmd("EVALSHA");
            command.arg(&*self.script.hash);
            command
        } else {
            let mut command = cmd("EVAL");
            command.arg(&*self.script.source);
            command
        };
        command.arg(self.keys.len());
        for key in &self.keys {
            command.arg(*key);
        }
        for argument in &self.arguments {
            command.arg(&**argument);
        }
        command
    }
}

/// Something that may stand as an argument.
pub(crate) struct Argument<'a>(Cow<'a, [u8]>);

impl<'a> From<&'a str> for Argument<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text.as_bytes()))
    }
}

impl<'a> From<&'a [u8]> for Argument<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(Cow::Borrowed(bytes))
    }
}

impl From<String> for Argument<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text.into_bytes()))
    }
}

impl From<Vec<u8>> for Argument<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Cow::Owned(bytes))
    }
}

impl From<u64> for Argument<'_> {
    fn from(number: u64) -> Self {
        Self::from(number.to_string())
    }
}

// === impl Link ===

impl Link {
    /// Connects, and loads the scripts. Refuses whatever is not a master that is ready to serve.
    ///
    /// # Errors
    /// What went wrong, without the password.
    pub(crate) async fn connect(info: ConnectionInfo) -> Result<(Self, ServerFacts), CallError> {
        let end = Arc::new(Notify::new());
        let ends = Arc::clone(&end);
        let settings = settings()
            .set_pipeline_buffer_size(UNSENT_COMMANDS)
            .set_push_sender(move |push: PushInfo| -> Result<(), SendError> {
                if push.kind == PushKind::Disconnection {
                    ends.notify_one();
                }
                Ok(())
            });
        let connection = open(info, &settings).await?;
        let facts = server_facts(&connection).await?;
        if !facts.is_master || facts.is_loading {
            return Err(CallError::Elsewhere(facts.standing().into()));
        }
        let link = Self {
            connection,
            run: facts.run.clone(),
            gathering: Gathering::default(),
            has_ended: Cell::new(false),
            end,
        };
        link.load_scripts().await?;
        Ok((link, facts))
    }

    async fn load_scripts(&self) -> Result<(), CallError> {
        let mut load = Pipeline::new();
        for script in scripts::all() {
            load.cmd("SCRIPT").arg("LOAD").arg(&*script.source).ignore();
        }
        self.pipeline::<()>(&load).await
    }

    /// Calls a script by its hash, and with its text where the node does not know it (any more).
    pub(crate) async fn call(&self, call: &Call<'_>) -> Result<Value, CallError> {
        match self.try_send(&call.command(true)).await {
            Err(error) if error.kind() == NO_SCRIPT => self.send(&call.command(false)).await,
            other => other.map_err(|error| self.judge(error)),
        }
    }

    /// Sends a command.
    pub(crate) async fn send(&self, command: &Cmd) -> Result<Value, CallError> {
        let answer = self.try_send(command).await;
        answer.map_err(|error| self.judge(error))
    }

    async fn try_send(&self, command: &Cmd) -> Result<Value, RedisError> {
        let mut connection = self.connection.clone();
        send(&mut connection, command).await
    }

    /// Sends several commands at once.
    pub(crate) async fn pipeline<T: FromRedisValue>(
        &self,
        commands: &Pipeline,
    ) -> Result<T, CallError> {
        let mut connection = self.connection.clone();
        let answers = commands.query_async(&mut connection).await;
        answers.map_err(|error| self.judge(error))
    }

    /// Reads again what tells whether this is the run of before.
    pub(crate) async fn facts(&self) -> Result<ServerFacts, CallError> {
        server_facts(&self.connection).await
    }

    /// Nothing is sent over it any more.
    pub(crate) fn end(&self) {
        self.has_ended.set(true);
        self.end.notify_one();
    }

    /// Completes when it has ended, for the one who keeps it.
    pub(crate) async fn ended(&self) {
        if !self.has_ended.get() {
            self.end.notified().await;
        }
    }

    fn judge(&self, error: RedisError) -> CallError {
        let is_over = error.is_connection_dropped()
            || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
        if is_over {
            self.end();
        }
        error_of(error)
    }
}

/// How long any connection waits.
pub(crate) fn settings() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(ANSWER_TIMEOUT))
}

pub(crate) async fn open(
    info: ConnectionInfo,
    settings: &AsyncConnectionConfig,
) -> Result<MultiplexedConnection, CallError> {
    let client = Client::open(info).map_err(error_of)?;
    let connected = client.get_multiplexed_async_connection_with_config(settings);
    connected.await.map_err(error_of)
}

/// Asks a server one thing, over a connection of its own.
pub(crate) async fn ask_once(info: ConnectionInfo, question: &Cmd) -> Result<Value, CallError> {
    let mut connection = open(info, &settings()).await?;
    send(&mut connection, question).await.map_err(error_of)
}

/// Sends a command over a connection. The library gives refusals as values.
pub(crate) async fn send(
    connection: &mut MultiplexedConnection,
    command: &Cmd,
) -> Result<Value, RedisError> {
    let answer = connection.send_packed_command(command).await?;
    if let Value::ServerError(error) = answer {
        return Err(error.into());
    }
    Ok(answer)
}

const NO_SCRIPT: ErrorKind = ErrorKind::Server(ServerErrorKind::NoScript);

/// What an error says about whether the command was done.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the client library's list grows; an unknown error of the server is a refusal"
)]
pub(crate) fn error_of(error: RedisError) -> CallError {
    let reason: Arc<str> = error.to_string().into();
    match error.kind() {
        ErrorKind::Server(
            ServerErrorKind::Moved
            | ServerErrorKind::Ask
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::BusyLoading
            | ServerErrorKind::ReadOnly,
        ) => CallError::Elsewhere(reason),
        // What a script meets that touches, in a slot that moves, a key which is not there (yet).
        ErrorKind::Server(_) if reason.contains("non local key") => CallError::Elsewhere(reason),
        ErrorKind::Server(_) | ErrorKind::Extension => CallError::Refused(reason),
        ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig => {
            CallError::Refused(reason)
        }
        _ => CallError::Unknown(reason),
    }
}
