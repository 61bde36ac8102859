//! One gateway in front of its shards: public listener, admin listener, and how it ends. Several may
//! run in one process; nothing is global. Which backend the shards stand on is the caller's affair.

use std::{future::Future, io, net::SocketAddr, sync::Arc};

use parlance_core::ports::Verifier;
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    admin::{self, AdminPages},
    clock::Clock,
    config::GatewayConfig,
    drain::{self, Drained},
    handover::Shards,
    listener,
    node::{Hooks, Node},
    rebalance,
};

/// A gateway that serves. Dropping it cuts everything.
pub struct Running {
    node: Arc<Node>,
    local_addr: SocketAddr,
    admin_addr: SocketAddr,
    /// Aborted when dropped.
    listeners: JoinSet<()>,
}

/// The two listening sockets of a gateway, bound by the caller; the public one with an accept queue
/// that holds a storm of reconnects.
#[derive(Debug)]
pub struct Listeners {
    /// For users.
    pub public: TcpListener,
    /// For whoever runs the node.
    pub admin: TcpListener,
}

fn admin_pages(node: &Arc<Node>) -> Arc<AdminPages> {
    let (judged, counted) = (Arc::clone(node), Arc::clone(node));
    Arc::new(AdminPages {
        readiness: Box::new(move || admin::of_gateway(&judged)),
        metrics_text: Box::new(move || (counted.hooks.metrics_text)()),
        header_deadline: node.config.deadlines.header,
    })
}

impl Running {
    /// Begins to serve, in front of shards that exist already. Call it inside a tokio runtime with
    /// time and I/O: it runs what comes before a connection belongs to a shard.
    ///
    /// # Errors
    /// When the addresses of `listeners` cannot be read.
    pub fn before(
        shards: Shards,
        listeners: Listeners,
        config: GatewayConfig,
        clock: Clock,
        verifier: Arc<dyn Verifier>,
        hooks: Hooks,
    ) -> io::Result<Self> {
        let local_addr = listeners.public.local_addr()?;
        let admin_addr = listeners.admin.local_addr()?;
        let node = Arc::new(Node::new(config, clock, verifier, shards, hooks));
        let mut tasks = JoinSet::new();
        tasks.spawn(listener::run(listeners.public, Arc::clone(&node)));
        tasks.spawn(admin::run(listeners.admin, admin_pages(&node)));
        tasks.spawn(rebalance::run(Arc::clone(&node)));
        Ok(Self {
            node,
            local_addr,
            admin_addr,
            listeners: tasks,
        })
    }

    /// Where users connect.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where `/readyz` and its neighbours are.
    #[must_use]
    pub const fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Leaves in order; cuts what is left when `at_once` completes (a second
    /// signal). Without members it returns at once.
    pub async fn shutdown(mut self, at_once: impl Future<Output = ()>) -> Drained {
        let drained = drain::run(&self.node, at_once).await;
        self.listeners.shutdown().await;
        drained
    }
}
