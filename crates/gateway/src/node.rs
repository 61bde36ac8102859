//! What the parts of one gateway share: the listener's connections, the admin listener, the drain.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use hyper::http::request;
use parlance_core::{peers::Peers, ports::Verifier};
use parlance_telemetry::Metrics;

use crate::{
    clock::Clock,
    config::GatewayConfig,
    handover::Shards,
    http::Answer,
    listener::admission::{Gate, Users},
};

/// How many connections above a cap are told so at the same time; the others are only closed.
const REFUSED_AT_ONCE: usize = 256;

/// Asks the outside whether the backend works; the error says what does not.
pub type HealthCheck = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Gives the metrics in the text format of Prometheus.
pub type MetricsText = Box<dyn Fn() -> String + Send + Sync>;

/// Says goodbye to the other nodes; may block.
pub type Leave = Arc<dyn Fn() + Send + Sync>;

/// Answers requests of the public listener that are under no conversation's path, if it knows theirs;
/// told the head of the request and who asks. Each answer ends its connection. Must not block.
pub type PageHandler = Box<dyn Fn(&request::Parts, IpAddr) -> Option<Answer> + Send + Sync>;

/// What the process knows and the gateway asks for.
pub struct Hooks {
    /// Asked at each `/readyz`; must not block.
    pub backend_health: HealthCheck,
    /// Asked at each `/metrics`.
    pub metrics_text: MetricsText,
    /// Asked instead of a 404.
    pub pages: Option<PageHandler>,
    /// The other gateways, if there can be any.
    pub peers: Option<Arc<dyn Peers>>,
    /// Called once, at the end of a drain: the shards are gone, and no member is left.
    pub leave: Option<Leave>,
}

/// One gateway.
pub(crate) struct Node {
    pub(crate) config: GatewayConfig,
    pub(crate) clock: Clock,
    pub(crate) verifier: Arc<dyn Verifier>,
    pub(crate) shards: Shards,
    pub(crate) hooks: Hooks,
    pub(crate) metrics: Metrics,
    /// All open sockets, members included.
    pub(crate) connections: Arc<Gate>,
    /// Open sockets that are no members (yet).
    pub(crate) unverified: Arc<Gate>,
    /// Sockets over the caps that are being told so; counted nowhere else.
    pub(crate) refused: Arc<Gate>,
    pub(crate) users: Arc<Users>,
    draining: AtomicBool,
}

impl Node {
    pub(crate) fn new(
        config: GatewayConfig,
        clock: Clock,
        verifier: Arc<dyn Verifier>,
        shards: Shards,
        hooks: Hooks,
    ) -> Self {
        let limits = config.limits;
        Self {
            clock,
            verifier,
            shards,
            hooks,
            metrics: Metrics::register(),
            connections: Gate::new(limits.connections),
            unverified: Gate::new(limits.pre_auth),
            refused: Gate::new(REFUSED_AT_ONCE),
            users: Users::new(limits.connections_per_user, limits.user_actions_per_second),
            draining: AtomicBool::new(false),
            config,
        }
    }

    /// Connections that a shard has or is being given.
    pub(crate) fn members(&self) -> usize {
        let all = self.connections.inside();
        all.saturating_sub(self.unverified.inside())
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// From now on the node is not ready and lets nobody in.
    pub(crate) fn begin_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.metrics.draining.set(1.0);
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}
