//! Makes the keyspace and the tables, step by step.
//!
//! Run by `parlance migrate`. Each step may be run again, so an aborted run is followed by another.
//! Two at once are safe: all changes go to one node, the same one for both (the one with the lowest
//! host id), because Cassandra orders what one coordinator changes, but may make a table twice that
//! two coordinators create at the same time. ScyllaDB orders them anyway.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use scylla::{
    client::session::Session,
    errors::ExecutionError,
    policies::load_balancing::{
        LoadBalancingPolicy, NodeIdentifier, SingleTargetLoadBalancingPolicy,
    },
    statement::Statement,
};

use crate::{
    options::{Keyspace, Options},
    schema::{LAYOUT, MIGRATIONS, STEPS, SchemaStep},
    start::{self, StartError},
};

/// How long one change of the schema may take, with the agreement on it.
const STEP_LIMIT: Duration = Duration::from_secs(30);

/// On how many nodes each row is.
#[derive(Debug, Clone, Copy)]
pub struct Replication {
    /// Of each datacenter. Used when the keyspace is made; later it is the database's to change.
    pub factor: u8,
}

/// A step that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// From 1 on.
    pub number: u32,
    /// What it made.
    pub name: &'static str,
}

/// Why a migration ended.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// It cannot begin.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A statement failed. What was done before it stays.
    #[error("step {step} ({name}) failed: {reason}")]
    Step {
        /// Its number; 0 is the keyspace and the table of steps.
        step: u32,
        /// What it would have made.
        name: &'static str,
        /// The server's words.
        reason: String,
    },
}

impl MigrateError {
    /// What to do about it.
    #[must_use]
    pub const fn fix(&self) -> &'static str {
        match self {
            Self::Start(error) => error.fix(),
            Self::Step { .. } => {
                "see that all nodes are up and agree on the schema, and that the role may CREATE; \
                 then run it again"
            }
        }
    }
}

pub(crate) fn migrate(
    options: Options,
    replication: Replication,
) -> Result<Vec<Step>, MigrateError> {
    let keyspace = start::keyspace(&options)?;
    let (_threads, runtime) = start::threads()?;
    start::block_on(&runtime, async move {
        let session = start::reach(&options, || start::open(&options).boxed()).await?;
        let migration = Migration {
            target: one_node(&session),
            session,
            keyspace,
            options,
        };
        migration.run(replication).await
    })
}

struct Migration {
    session: Session,
    keyspace: Keyspace,
    options: Options,
    target: Option<Arc<dyn LoadBalancingPolicy>>,
}

/// The same one for all who migrate at the same time.
fn one_node(session: &Session) -> Option<Arc<dyn LoadBalancingPolicy>> {
    let state = session.get_cluster_state();
    let first = state.get_nodes_info().iter().map(|node| node.host_id).min();
    let node = NodeIdentifier::HostId(first?);
    Some(SingleTargetLoadBalancingPolicy::new(node, None))
}

impl Migration {
    async fn run(&self, replication: Replication) -> Result<Vec<Step>, MigrateError> {
        let base = SchemaStep {
            number: 0,
            name: "keyspace",
            text: MIGRATIONS,
        };
        self.change(base, self.keyspace_statement(replication))
            .await?;
        let failed = |reason: String| step_failed(base, reason);
        let used = self.session.use_keyspace(self.keyspace.as_str(), true);
        used.await.map_err(|error| failed(error.to_string()))?;
        self.change(base, base.text.to_owned()).await?;

        let (session, keyspace, options) = (&self.session, &self.keyspace, &self.options);
        let had = start::version(session, keyspace, options).await?;
        let mut done = Vec::new();
        for step in STEPS.iter().filter(|step| step.number > had) {
            self.change(*step, step.text.to_owned()).await?;
            self.record(*step).await?;
            let (number, name) = (step.number, step.name);
            tracing::info!(
                step = number,
                name,
                "the store's tables are one step further"
            );
            done.push(Step { number, name });
        }
        self.write_layout().await?;
        start::check(session, keyspace, options).await?;
        Ok(done)
    }

    fn keyspace_statement(&self, replication: Replication) -> String {
        format!(
            "CREATE KEYSPACE IF NOT EXISTS \"{}\" WITH replication = \
             {{'class': 'NetworkTopologyStrategy', 'replication_factor': {}}}",
            self.keyspace.as_str(),
            replication.factor
        )
    }

    /// Runs a statement and waits until all nodes agree on the schema.
    async fn change(&self, step: SchemaStep, text: String) -> Result<(), MigrateError> {
        let mut statement = Statement::new(text);
        statement.set_request_timeout(Some(STEP_LIMIT));
        statement.set_load_balancing_policy(self.target.clone());
        let failed = |error: ExecutionError| step_failed(step, error.to_string());
        self.session
            .query_unpaged(statement, ())
            .await
            .map_err(failed)?;
        let agreed = self.session.await_schema_agreement().await;
        agreed.map_err(|error| step_failed(step, error.to_string()))?;
        Ok(())
    }

    async fn record(&self, step: SchemaStep) -> Result<(), MigrateError> {
        let text = format!(
            "INSERT INTO \"{}\".migrations (step, name, applied_at) \
             VALUES ({}, '{}', toTimestamp(now()))",
            self.keyspace.as_str(),
            step.number,
            step.name
        );
        let recorded = self.session.query_unpaged(text, ()).await;
        recorded.map_err(|error| step_failed(step, error.to_string()))?;
        Ok(())
    }

    /// Once: what is there is compared, never written over.
    async fn write_layout(&self) -> Result<(), MigrateError> {
        let (session, keyspace, options) = (&self.session, &self.keyspace, &self.options);
        if start::layout(session, keyspace, options).await?.is_some() {
            return Ok(());
        }
        let text = format!(
            "INSERT INTO \"{}\".layout (id, value) VALUES (0, '{LAYOUT}') USING TIMESTAMP 1",
            keyspace.as_str()
        );
        let written = session.query_unpaged(text, ()).await;
        written.map_err(|error| start::execution_error(options, &error))?;
        Ok(())
    }
}

fn step_failed(step: SchemaStep, reason: String) -> MigrateError {
    MigrateError::Step {
        step: step.number,
        name: step.name,
        reason,
    }
}
