//! What all calls share: the session, which may be exchanged, and what watches over it.
//!
//! The driver connects anew by itself after an outage, but waits up to ten seconds between attempts
//! when no node is left. So the tables are read each second, and when that fails a session is made
//! beside the present one; it takes the place as soon as it reads them. A store that has gone through
//! an outage is thus in use again within about a second. While one node of several answers, the read
//! does not fail, and the driver is left alone.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::ArcSwap;
use parlance_core::ports::Unavailable;
use parlance_telemetry::StoreMetrics;
use scylla::{
    client::{execution_profile::ExecutionProfileHandle, session::Session},
    errors::{ExecutionError, PrepareError},
};
use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};

use crate::{
    conditional::Turns,
    failure::ReadError,
    gate::{Gate, READ_LIMIT},
    locked,
    members::Members,
    options::{Keyspace, Options},
    reading::Questions,
    session::{self, Profiles, SessionError},
    statements::Statements,
};

/// Between two looks at a store that answers.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two attempts to be back.
const TRY_EVERY: Duration = Duration::from_millis(300);
/// How long an attempt at a new session may take.
const SESSION_LIMIT: Duration = Duration::from_secs(3);

/// A session and its prepared statements.
pub(crate) struct Connected {
    pub(crate) session: Session,
    pub(crate) statements: Statements,
    pub(crate) writes: ExecutionProfileHandle,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Prepare(#[from] Box<PrepareError>),
}

impl Connected {
    /// Tries once.
    pub(crate) async fn new(options: &Options, keyspace: &Keyspace) -> Result<Self, ConnectError> {
        let session = session::connect(options).await?;
        Self::over(session, options, keyspace).await
    }

    pub(crate) async fn over(
        session: Session,
        options: &Options,
        keyspace: &Keyspace,
    ) -> Result<Self, ConnectError> {
        let profiles = Profiles::new(options);
        let statements = Statements::prepare(&session, keyspace.as_str(), &profiles).await;
        Ok(Self {
            session,
            statements: statements.map_err(Box::new)?,
            writes: profiles.writes,
        })
    }

    /// Reads one row at the usual consistency.
    async fn look(&self) -> Result<(), ReadError> {
        let read = self.session.execute_unpaged(&self.statements.layout, (0,));
        let read = timeout(READ_LIMIT, read).await;
        read.map_err(|_| ReadError::TooLate(READ_LIMIT))??;
        Ok(())
    }

    /// Asks each table that events are written to for a row that does not exist.
    pub(crate) async fn check_tables(&self) -> Result<(), ExecutionError> {
        let (session, all) = (&self.session, &self.statements);
        let nobody = "";
        let (bucket, id) = (-1_i64, 0_i64);
        session
            .execute_unpaged(&all.messages, ("-", bucket, id, id))
            .await?;
        session
            .execute_unpaged(&all.events, ("-", bucket, id, id, id, id, 1))
            .await?;
        session
            .execute_unpaged(&all.names, ("-", "-", nobody.as_bytes()))
            .await?;
        session.execute_unpaged(&all.epochs, ("-",)).await?;
        session.execute_unpaged(&all.cursors, ("-",)).await?;
        Ok(())
    }
}

/// What all calls share.
pub(crate) struct Core {
    pub(crate) connected: ArcSwap<Connected>,
    pub(crate) gate: Gate,
    pub(crate) questions: Questions,
    pub(crate) turns: Turns,
    pub(crate) members: Members,
    pub(crate) runtime: Handle,
    trouble: Mutex<Option<Unavailable>>,
}

impl Core {
    pub(crate) fn new(connected: Connected, runtime: Handle) -> Self {
        let metrics = StoreMetrics::register();
        metrics.up.set(1.0);
        Self {
            connected: ArcSwap::from_pointee(connected),
            gate: Gate::new(metrics),
            questions: Questions::default(),
            turns: Turns::default(),
            members: Members::default(),
            runtime,
            trouble: Mutex::new(None),
        }
    }

    /// Why the last look failed.
    pub(crate) fn trouble(&self) -> Option<Unavailable> {
        locked(&self.trouble).clone()
    }

    /// Watches for as long as the runtime lives.
    pub(crate) async fn watch(self: Arc<Self>, options: Options, keyspace: Keyspace) {
        loop {
            match self.connected.load_full().look().await {
                Ok(()) => {
                    self.note(None);
                    sleep(LOOK_EVERY).await;
                }
                Err(error) => {
                    self.note(Some(error));
                    self.replace(&options, &keyspace).await;
                    sleep(TRY_EVERY).await;
                }
            }
        }
    }

    /// Takes a new session, if one can be made that reads.
    async fn replace(&self, options: &Options, keyspace: &Keyspace) {
        let attempt = async {
            let connected = Connected::new(options, keyspace).await.ok()?;
            connected.look().await.ok()?;
            Some(connected)
        };
        // Whatever was wrong with it, the look that is next says so.
        let Ok(Some(connected)) = timeout(SESSION_LIMIT, attempt).await else {
            return;
        };
        self.gate.metrics.sessions.increment(1);
        self.connected.store(Arc::new(connected));
        self.note(None);
    }

    fn note(&self, error: Option<ReadError>) {
        let mut trouble = locked(&self.trouble);
        let is_up = if error.is_none() { 1.0 } else { 0.0 };
        self.gate.metrics.up.set(is_up);
        match (&*trouble, &error) {
            (None, Some(error)) => tracing::warn!(%error, "the store cannot be reached"),
            (Some(_), None) => tracing::info!("the store can be reached again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        *trouble = error.map(Unavailable::new);
    }
}
