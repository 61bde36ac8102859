//! The driver's session and how it is set up.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use scylla::{
    client::{
        execution_profile::{ExecutionProfile, ExecutionProfileHandle},
        session::Session,
        session_builder::SessionBuilder,
    },
    errors::NewSessionError,
    policies::{
        load_balancing::DefaultPolicy,
        retry::{DefaultRetryPolicy, FallthroughRetryPolicy},
        speculative_execution::SimpleSpeculativeExecutionPolicy,
    },
    statement::{Consistency, SerialConsistency},
};

use crate::{gate::READ_LIMIT, options::Options, tls};

/// How long one write may take, with all its attempts. Longer than a read: nobody waits at a screen,
/// and what was given up too early is sent a second time to a store that has enough to do.
pub(crate) const WRITE_LIMIT: Duration = Duration::from_secs(3);
/// How long a change of the schema may take.
const SCHEMA_LIMIT: Duration = Duration::from_secs(30);
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// A connection without an answer for both of these together is given up, so that a node that
/// vanished without a word (no RST) is not waited for by every request.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// How the requests of each kind are made.
pub(crate) struct Profiles {
    pub(crate) reads: ExecutionProfileHandle,
    pub(crate) writes: ExecutionProfileHandle,
    pub(crate) conditional: ExecutionProfileHandle,
}

impl Profiles {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            reads: profile(options, READ_LIMIT)
                // What a replica does not answer in 100 ms, which is 50 times the usual, another one
                // is asked for. One node that hangs then costs no read more than that, at one
                // request more for the few that are slow.
                .speculative_execution_policy(Some(speculation(2, Duration::from_millis(100))))
                // Once more on another node after a broken connection, an overload or a missing
                // replica: all within the limit.
                .retry_policy(Arc::new(DefaultRetryPolicy::new()))
                .build()
                .into_handle(),
            writes: profile(options, WRITE_LIMIT)
                // One coordinator that hangs; not replicas that are slow, which this does not help.
                .speculative_execution_policy(Some(speculation(1, Duration::from_secs(1))))
                .retry_policy(Arc::new(DefaultRetryPolicy::new()))
                .build()
                .into_handle(),
            // Never a second time: each attempt may win by itself.
            conditional: profile(options, WRITE_LIMIT)
                .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
                .build()
                .into_handle(),
        }
    }
}

fn speculation(
    max_retry_count: usize,
    retry_interval: Duration,
) -> Arc<SimpleSpeculativeExecutionPolicy> {
    Arc::new(SimpleSpeculativeExecutionPolicy {
        max_retry_count,
        retry_interval,
    })
}

fn profile(
    options: &Options,
    limit: Duration,
) -> scylla::client::execution_profile::ExecutionProfileBuilder {
    let balancing = DefaultPolicy::builder().token_aware(true);
    let balancing = match &options.datacenter {
        Some(name) => balancing
            .prefer_datacenter(name.clone())
            .permit_dc_failover(false),
        None => balancing,
    };
    ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .serial_consistency(Some(SerialConsistency::Serial))
        .request_timeout(Some(limit))
        .load_balancing_policy(balancing.build())
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("{0}")]
    Tls(String),
    #[error(transparent)]
    Driver(#[from] Box<NewSessionError>),
}

/// Connects once.
pub(crate) async fn connect(options: &Options) -> Result<Session, SessionError> {
    let default = profile(options, SCHEMA_LIMIT).build().into_handle();
    let mut builder = SessionBuilder::new()
        .known_nodes(&options.nodes)
        .default_execution_profile_handle(default)
        .connection_timeout(CONNECT_LIMIT)
        .hostname_resolution_timeout(Some(CONNECT_LIMIT))
        .keepalive_interval(KEEPALIVE_INTERVAL)
        .keepalive_timeout(KEEPALIVE_TIMEOUT)
        .tcp_nodelay(true)
        // Which tables there are is known here; what routing needs is fetched.
        .keyspaces_to_fetch([options.keyspace.as_str()])
        .fetch_full_schema_metadata(false)
        .driver_config_reporting(false)
        .schema_agreement_timeout(SCHEMA_LIMIT)
        .tracing_info_fetch_attempts(NonZeroU32::MIN);
    if let Some(login) = &options.login {
        builder = builder.user(&login.username, &login.password);
    }
    if let Some(tls) = &options.tls {
        let context = tls::context(tls).map_err(SessionError::Tls)?;
        builder = builder.tls_context(Some(context));
    }
    let session = builder.build().await;
    session.map_err(|error| SessionError::Driver(Box::new(error)))
}
