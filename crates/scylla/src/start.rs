//! How the adapter starts: it connects, compares the tables with what it needs, and only then
//! serves.

use std::{
    collections::BTreeSet,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};
use scylla::{
    client::session::Session,
    errors::{
        ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError,
        ExecutionError, MetadataError, NewSessionError, RequestAttemptError,
    },
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    time::{sleep, timeout},
};

use crate::{
    Scylla,
    core::{ConnectError, Connected, Core},
    options::{Keyspace, Options},
    schema::{LAYOUT, VERSION},
    session::{self, SessionError},
};

/// Threads of the driver: they frame and unframe; rows are made and read where the callers are.
const THREADS: usize = 2;
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No node answers, or not enough of them.
    #[error("the store at {nodes} cannot be used after {waited:?}: {reason}")]
    Unreachable {
        /// The contact points.
        nodes: String,
        /// How long it was tried.
        waited: Duration,
        /// The last error.
        reason: String,
    },
    /// It refuses the user, the password or the rights.
    #[error("the store at {nodes} refuses: {reason}")]
    Refused {
        /// The contact points.
        nodes: String,
        /// Its words.
        reason: String,
    },
    /// The keyspace or tables are missing.
    #[error("keyspace `{keyspace}` has step {found} of {VERSION} of the tables")]
    NotMigrated {
        /// Which keyspace.
        keyspace: String,
        /// The last step that it has had; 0 when there are no tables.
        found: u32,
    },
    /// The tables are of a later version of this program.
    #[error(
        "keyspace `{keyspace}` has step {found} of the tables, and this program knows {VERSION}"
    )]
    Newer {
        /// Which keyspace.
        keyspace: String,
        /// The last step that it has had.
        found: u32,
    },
    /// Conversations were assigned to partitions otherwise.
    #[error("keyspace `{keyspace}` was set up as `{found}`, and would be used as `{LAYOUT}`")]
    Layout {
        /// Which keyspace.
        keyspace: String,
        /// What is written there.
        found: String,
    },
    /// The datacenter is not there, or there are several and none was chosen.
    #[error("the store has the datacenters {found}, and would be used in {}", shown(.chosen.as_deref()))]
    Datacenter {
        /// All that there are.
        found: String,
        /// The one that was chosen.
        chosen: Option<String>,
    },
    /// A name that not every server takes.
    #[error("`{name}` is no name of a keyspace")]
    Keyspace {
        /// The name.
        name: String,
    },
    /// Encryption cannot be set up.
    #[error("encrypted connections to the store are not possible: {reason}")]
    Tls {
        /// What is wrong.
        reason: String,
    },
    /// The system has no threads for it.
    #[error("starting the threads for the store failed")]
    Runtime(#[source] std::io::Error),
}

impl StartError {
    /// What to do about it.
    #[must_use]
    pub const fn fix(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => {
                "start it, or correct `store.nodes`; `store.start_deadline` is how long is waited"
            }
            Self::Refused { .. } => {
                "correct `store.username` and `store.password`, or give that role SELECT and MODIFY \
                 on the keyspace"
            }
            Self::NotMigrated { .. } => "run `parlance migrate`",
            Self::Newer { .. } => {
                "start the version of this program that made the tables, or later"
            }
            Self::Layout { .. } => "use another keyspace",
            Self::Datacenter { .. } => {
                "set `store.datacenter` to one of them, the same for all nodes of this deployment: \
                 what is written is at first in that one alone"
            }
            Self::Keyspace { .. } => {
                "give `store.keyspace` 1 to 48 letters, digits and underscores"
            }
            Self::Tls { .. } => "correct the file of authorities",
            Self::Runtime(_) => "raise the limit of threads or memory",
        }
    }

    /// Whether waiting may help.
    const fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { .. }
            | Self::NotMigrated { .. }
            | Self::Newer { .. }
            | Self::Layout { .. }
            | Self::Datacenter { .. }
            | Self::Keyspace { .. }
            | Self::Tls { .. }
            | Self::Runtime(_) => false,
        }
    }
}

pub(crate) fn connect(options: Options) -> Result<Scylla, StartError> {
    let keyspace = keyspace(&options)?;
    let (threads, runtime) = threads()?;
    let handle = runtime.clone();
    let core = block_on(&runtime, async move {
        let connected = reach(&options, || begin(&options, &keyspace).boxed()).await?;
        let core = Arc::new(Core::new(connected, handle));
        tokio::spawn(Arc::clone(&core).watch(options, keyspace));
        Ok::<_, StartError>(core)
    })?;
    Ok(Scylla {
        core,
        _threads: threads,
    })
}

pub(crate) fn keyspace(options: &Options) -> Result<Keyspace, StartError> {
    Keyspace::new(&options.keyspace).ok_or_else(|| StartError::Keyspace {
        name: options.keyspace.clone(),
    })
}

/// The threads of the driver. Whoever drops them may be on a thread that must not block, so their end
/// is not waited for.
pub(crate) struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

pub(crate) fn threads() -> Result<(Threads, Handle), StartError> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(THREADS).enable_all();
    builder.thread_name("parlance-store");
    let runtime = builder.build().map_err(StartError::Runtime)?;
    let handle = runtime.handle().clone();
    Ok((Threads(Some(runtime)), handle))
}

/// Waits for `future` on the runtime's threads: the caller's may belong to another runtime, which
/// must not be entered twice.
pub(crate) fn block_on<T: Send + 'static, E: From<StartError> + Send + 'static>(
    runtime: &Handle,
    future: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, E> {
    let (done, is_done) = mpsc::channel();
    runtime.spawn(async move {
        // Fails when the caller is gone, which is as good.
        let _ = done.send(future.await);
    });
    let ended = |_| {
        let ended = std::io::Error::other("it ended at once");
        E::from(StartError::Runtime(ended))
    };
    is_done.recv().map_err(ended)?
}

async fn begin(options: &Options, keyspace: &Keyspace) -> Result<Connected, StartError> {
    let session = open(options).await?;
    check(&session, keyspace, options).await?;
    let connected = Connected::over(session, options, keyspace).await;
    connected.map_err(|error| connect_error(options, error))
}

/// Connects once.
pub(crate) async fn open(options: &Options) -> Result<Session, StartError> {
    let session = session::connect(options).await;
    let session = session.map_err(|error| session_error(options, error))?;
    let state = session.get_cluster_state();
    let nodes = state.get_nodes_info().iter();
    let datacenters = nodes.filter_map(|node| node.datacenter.clone()).collect();
    check_datacenter(&datacenters, options.datacenter.as_deref())?;
    Ok(session)
}

/// A quorum is one of a datacenter. A head that is read in another one than it was written in may be
/// an older one, and what lies behind it would be given up.
fn check_datacenter(found: &BTreeSet<String>, chosen: Option<&str>) -> Result<(), StartError> {
    let is_clear = match chosen {
        Some(chosen) => found.contains(chosen),
        None => found.len() <= 1,
    };
    if is_clear {
        return Ok(());
    }
    let found: Vec<_> = found.iter().map(String::as_str).collect();
    Err(StartError::Datacenter {
        found: found.join(", "),
        chosen: chosen.map(str::to_owned),
    })
}

fn shown(datacenter: Option<&str>) -> &str {
    datacenter.unwrap_or("any of them")
}

/// Tries until the deadline, unless waiting cannot help.
pub(crate) async fn reach<'a, T>(
    options: &Options,
    attempt: impl Fn() -> BoxFuture<'a, Result<T, StartError>>,
) -> Result<T, StartError> {
    let patience = options.start_deadline;
    let deadline = Instant::now() + patience;
    let mut has_told = false;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let outcome = timeout(left.max(TRY_AGAIN), attempt()).await;
        let error = match outcome {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => error,
            Err(_) => unreachable(options, "it does not answer"),
        };
        if !error.may_pass() || Instant::now() > deadline {
            return Err(error);
        }
        if !has_told {
            tracing::warn!(%error, ?patience, "waiting for the store");
            has_told = true;
        }
        sleep(TRY_AGAIN).await;
    }
}

/// Whether the tables are those that this program knows.
pub(crate) async fn check(
    session: &Session,
    keyspace: &Keyspace,
    options: &Options,
) -> Result<(), StartError> {
    let found = version(session, keyspace, options).await?;
    let name = || keyspace.as_str().to_owned();
    if found < VERSION {
        let keyspace = name();
        return Err(StartError::NotMigrated { keyspace, found });
    }
    if found > VERSION {
        let keyspace = name();
        return Err(StartError::Newer { keyspace, found });
    }
    match layout(session, keyspace, options).await? {
        Some(found) if found == LAYOUT => Ok(()),
        Some(found) => Err(StartError::Layout {
            keyspace: name(),
            found,
        }),
        None => Err(StartError::NotMigrated {
            keyspace: name(),
            found: 0,
        }),
    }
}

/// The last step that the keyspace has had; 0: none, or there is no keyspace.
pub(crate) async fn version(
    session: &Session,
    keyspace: &Keyspace,
    options: &Options,
) -> Result<u32, StartError> {
    let text = format!("SELECT step FROM \"{}\".migrations", keyspace.as_str());
    let rows = match session.query_unpaged(text, ()).await {
        Ok(rows) => rows,
        Err(error) if is_missing(&error) => return Ok(0),
        Err(error) => return Err(execution_error(options, &error)),
    };
    let garbled = |error: String| unreachable(options, &error);
    let rows = rows
        .into_rows_result()
        .map_err(|error| garbled(error.to_string()))?;
    let mut steps = Vec::new();
    let all = rows.rows::<(i32,)>();
    for row in all.map_err(|error| garbled(error.to_string()))? {
        let (step,) = row.map_err(|error| garbled(error.to_string()))?;
        steps.extend(u32::try_from(step));
    }
    steps.sort_unstable();
    // Only what has no gap below it: steps are done in their order.
    let unbroken = steps.iter().zip(1..).take_while(|(step, n)| **step == *n);
    Ok(unbroken.count() as u32)
}

pub(crate) async fn layout(
    session: &Session,
    keyspace: &Keyspace,
    options: &Options,
) -> Result<Option<String>, StartError> {
    let text = format!(
        "SELECT value FROM \"{}\".layout WHERE id = 0",
        keyspace.as_str()
    );
    let rows = session.query_unpaged(text, ()).await;
    let rows = rows.map_err(|error| execution_error(options, &error))?;
    let garbled = |error: String| unreachable(options, &error);
    let rows = rows
        .into_rows_result()
        .map_err(|error| garbled(error.to_string()))?;
    let row = rows.maybe_first_row::<(Option<String>,)>();
    let row = row.map_err(|error| garbled(error.to_string()))?;
    Ok(row.and_then(|(value,)| value))
}

/// That a keyspace or table does not exist.
pub(crate) const fn is_missing(error: &ExecutionError) -> bool {
    matches!(
        error,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Invalid, _))
    )
}

fn unreachable(options: &Options, reason: &str) -> StartError {
    StartError::Unreachable {
        nodes: options.nodes.join(", "),
        waited: options.start_deadline,
        reason: reason.to_owned(),
    }
}

fn refused(options: &Options, reason: &str) -> StartError {
    StartError::Refused {
        nodes: options.nodes.join(", "),
        reason: reason.to_owned(),
    }
}

pub(crate) fn execution_error(options: &Options, error: &ExecutionError) -> StartError {
    let reason = error.to_string();
    let is_refused = matches!(
        error,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(
            DbError::Unauthorized | DbError::AuthenticationError,
            _,
        ))
    );
    if is_refused {
        refused(options, &reason)
    } else {
        unreachable(options, &reason)
    }
}

fn connect_error(options: &Options, error: ConnectError) -> StartError {
    match error {
        ConnectError::Session(error) => session_error(options, error),
        ConnectError::Prepare(error) => unreachable(options, &error.to_string()),
    }
}

fn session_error(options: &Options, error: SessionError) -> StartError {
    match error {
        SessionError::Tls(reason) => StartError::Tls { reason },
        SessionError::Driver(error) if is_refused(&error) => refused(options, &error.to_string()),
        SessionError::Driver(error) => unreachable(options, &error.to_string()),
    }
}

/// Whether a node answered that it does not take this user.
fn is_refused(error: &NewSessionError) -> bool {
    let NewSessionError::MetadataError(MetadataError::ConnectionPoolError(
        ConnectionPoolError::Broken {
            last_connection_error: ConnectionError::ConnectionSetupRequestError(error),
        },
    )) = error
    else {
        return false;
    };
    matches!(
        error.get_error(),
        ConnectionSetupRequestErrorKind::DbError(
            DbError::AuthenticationError | DbError::Unauthorized,
            _
        ) | ConnectionSetupRequestErrorKind::MissingAuthentication
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_several_datacenters_one_has_to_be_chosen_that_is_there() {
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert!(check_datacenter(&all(&["a"]), None).is_ok());
        assert!(check_datacenter(&all(&["a", "b"]), Some("b")).is_ok());
        assert!(check_datacenter(&all(&["a", "b"]), None).is_err());
        let wrong = check_datacenter(&all(&["a", "b"]), Some("c")).unwrap_err();
        assert_eq!(
            wrong.to_string(),
            "the store has the datacenters a, b, and would be used in c"
        );
    }
}
