//! What a gateway can be told. The binary fills it from its settings; nothing here reads any.

use std::{num::NonZeroUsize, time::Duration};

use parlance_core::settings::Settings;

/// The tunables of one gateway. Every default is the documented one.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// What stands before `/conversations/…` in the path, without a last slash. Empty by default.
    pub base_path: String,
    /// Which browser origins may connect. None by default; requests without an Origin may.
    pub origins: Origins,
    /// How many threads own connections. By default one per core.
    pub shards: NonZeroUsize,
    /// How much this node takes on.
    pub limits: NodeLimits,
    /// How long a peer may take before it is a member of its conversation.
    pub deadlines: Deadlines,
    /// How this node leaves.
    pub drain: DrainTimes,
    /// The tunables of rooms and sessions.
    pub room: Settings,
}

/// Which values of the `Origin` header are not foreign.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    /// Compared byte by byte.
    pub allowed: Vec<String>,
    /// For development: whoever connects from a loopback address may have any origin.
    pub any_from_loopback: bool,
}

/// Caps of one node. `0` is no limit for each of them.
#[derive(Debug, Clone, Copy)]
pub struct NodeLimits {
    /// Open sockets, from accept to end.
    pub connections: usize,
    /// Open sockets that are no members yet.
    pub pre_auth: usize,
    /// Members of one user, over all conversations.
    pub connections_per_user: usize,
    /// Actions of one user over all of its connections; twice that at once.
    pub user_actions_per_second: u32,
    /// New members that the other nodes may send here in a second when they leave or have too many.
    /// Nobody is refused by it. Here `0` is none.
    pub accepts_per_second: u32,
}

/// Deadlines of a connection before it belongs to a shard.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// For the head of a request.
    pub header: Duration,
    /// From accept to the end of the upgrade; then the connection is cut.
    pub upgrade: Duration,
    /// For a refused peer to end its side after the last answer.
    pub linger: Duration,
}

/// How long leaving takes, at most.
#[derive(Debug, Clone, Copy)]
pub struct DrainTimes {
    /// For asking clients to go elsewhere, one after the other.
    pub window: Duration,
    /// For the last close frames to be answered; then the rest is cut.
    pub grace: Duration,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            base_path: String::new(),
            origins: Origins::default(),
            shards: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            limits: NodeLimits::default(),
            deadlines: Deadlines::default(),
            drain: DrainTimes::default(),
            room: Settings::default(),
        }
    }
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self {
            connections: 0,
            pre_auth: 1024,
            connections_per_user: 20,
            user_actions_per_second: 100,
            accepts_per_second: 250,
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(5),
            upgrade: Duration::from_secs(5),
            linger: Duration::from_secs(2),
        }
    }
}

impl Default for DrainTimes {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(30),
            grace: Duration::from_secs(5),
        }
    }
}
