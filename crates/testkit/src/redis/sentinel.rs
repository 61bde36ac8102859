//! A primary with one replica, watched by three sentinels.
//!
//! The replica is made to lag by refusing its login, not by stopping it: what a stopped process has
//! in its socket it would still apply, and sentinels do not promote who does not answer.

use std::time::Duration;

use super::{Kind, Redis, Setup, resp::Value, wait_until};

/// The name that the sentinels know the primary by.
pub(super) const MASTER: &str = "mymaster";
/// Twice what lies between two pings: a sentinel with less fails over a server that is well.
const DOWN_AFTER_MS: u32 = 2_000;
/// The replica's user on the primary.
const REPLICA_USER: &str = "user replica on nopass +psync +replconf +ping";
/// Sentinels try a failed election again after twice `failover-timeout`.
const PROMOTED_WITHIN: Duration = Duration::from_secs(40);

/// The two servers and their sentinels; killed when dropped.
#[derive(Debug)]
pub struct Pair {
    servers: [Redis; 2],
    primary: usize,
    sentinels: Vec<Redis>,
}

impl Pair {
    /// Returns when the replica follows and the sentinels know of each other.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(Redis::setup())
    }

    /// With settings of its own for both servers.
    #[must_use]
    pub fn start_with(setup: Setup) -> Self {
        let setup = setup
            .config(REPLICA_USER)
            .config("masteruser replica")
            .config("masterauth any");
        let primary = setup.clone().start();
        let replica = setup.config(&replica_of(&primary)).start();
        let pair = Self {
            sentinels: (0..3).map(|_| sentinel(&primary)).collect(),
            servers: [primary, replica],
            primary: 0,
        };
        pair.wait_for_replica();
        pair.wait_for_sentinels();
        pair
    }

    /// `redis+sentinel://…`
    #[must_use]
    pub fn url(&self) -> String {
        let address = |sentinel: &Redis| format!("127.0.0.1:{}", sentinel.port());
        let addresses: Vec<String> = self.sentinels.iter().map(address).collect();
        format!("redis+sentinel://{}/{MASTER}", addresses.join(","))
    }

    /// The server that takes writes.
    #[must_use]
    pub fn primary(&self) -> &Redis {
        &self.servers[self.primary]
    }

    /// The server that follows.
    #[must_use]
    pub fn replica(&self) -> &Redis {
        &self.servers[1 - self.primary]
    }

    /// The servers, by their places; the primary is one of them.
    #[must_use]
    pub fn servers(&self) -> &[Redis] {
        &self.servers
    }

    /// Who watches them.
    #[must_use]
    pub fn sentinels(&self) -> &[Redis] {
        &self.sentinels
    }

    /// Stops the primary for this long. Less than two seconds are not seen by the sentinels.
    pub fn pause_primary(&mut self, at_most: Duration) {
        self.servers[self.primary].pause(at_most);
    }

    /// Stops the replica for this long.
    pub fn pause_replica(&mut self, at_most: Duration) {
        self.servers[1 - self.primary].pause(at_most);
    }

    /// `kill -9` to the primary, and starts it again before the sentinels replace it.
    pub fn restart_primary(&mut self) {
        let primary = &mut self.servers[self.primary];
        // A promoted one was started as a replica.
        primary.reconfigure(|lines| lines.retain(|line| !line.starts_with("replicaof")));
        primary.restart();
        self.follow_sentinels();
        self.wait_for_replica();
    }

    /// Stops the primary until it is replaced, and lets it go on as one that does not know it yet;
    /// returns when it follows the promoted one.
    pub fn replace_paused_primary(&mut self) {
        self.servers[self.primary].pause(PROMOTED_WITHIN * 2);
        self.primary = 1 - self.primary;
        self.wait_for_promotion();
        self.servers[1 - self.primary].resume();
        self.wait_for_replica();
        wait_until("the sentinels to see the replica", PROMOTED_WITHIN, || {
            self.sentinels.iter().all(sees_replica)
        });
    }

    /// Takes for the primary whom the sentinels do: a start that took long looks like an end.
    fn follow_sentinels(&mut self) {
        wait_until(
            "the sentinels to agree on a primary",
            PROMOTED_WITHIN,
            || {
                let named: Vec<String> = self.sentinels.iter().map(primary_port).collect();
                let is_named =
                    |server: &Redis| named.iter().all(|port| *port == server.port().to_string());
                let primary = self.servers.iter().position(is_named);
                self.primary = primary.unwrap_or(self.primary);
                primary.is_some() && self.servers[self.primary].says("role", "master")
            },
        );
    }

    /// Cuts the replica off. The sentinels promote one that was cut off for less than twenty seconds
    /// when the primary fails.
    pub fn lag(&self) {
        let mut primary = self.primary().connection();
        primary.cmd(&["ACL", "SETUSER", "replica", "off"]);
        primary.cmd(&["CLIENT", "KILL", "TYPE", "replica"]);
        self.wait_for_link("down");
    }

    /// Lets the replica follow again.
    pub fn catch_up(&self) {
        self.primary().cmd(&["ACL", "SETUSER", "replica", "on"]);
        self.wait_for_replica();
    }

    /// `kill -9` to the primary; returns when the sentinels agree on the promoted replica.
    pub fn kill_primary(&mut self) {
        self.servers[self.primary].kill();
        self.primary = 1 - self.primary;
        self.wait_for_promotion();
    }

    fn wait_for_promotion(&self) {
        let promoted = self.primary().port().to_string();
        wait_until("the promotion", PROMOTED_WITHIN, || {
            let agrees = |sentinel: &Redis| primary_port(sentinel) == promoted;
            self.primary().says("role", "master") && self.sentinels.iter().all(agrees)
        });
    }

    /// Starts the killed primary as a replica of the promoted one; returns when it follows.
    pub fn revive_old_as_replica(&mut self) {
        let follow = replica_of(self.primary());
        let old = &mut self.servers[1 - self.primary];
        old.reconfigure(|lines| {
            lines.retain(|line| !line.starts_with("replicaof"));
            lines.push(follow);
        });
        old.restart();
        self.wait_for_replica();
        wait_until("the sentinels to see the replica", PROMOTED_WITHIN, || {
            self.sentinels.iter().all(sees_replica)
        });
    }

    /// Opens every partition in epoch 0, so that ids begin at 1. Before gateways start.
    pub fn seed_first_epochs(&self) {
        self.primary().seed_first_epochs();
    }

    fn wait_for_replica(&self) {
        self.wait_for_link("up");
        let offset = |server: &Redis, field: &str| {
            let found = server.find_info(field);
            found.and_then(|found| found.parse::<u64>().ok())
        };
        let mut written = None;
        wait_until("the primary's offset", PROMOTED_WITHIN, || {
            written = offset(self.primary(), "master_repl_offset");
            written.is_some()
        });
        wait_until("the replica to catch up", PROMOTED_WITHIN, || {
            offset(self.replica(), "slave_repl_offset") >= written
        });
    }

    fn wait_for_link(&self, state: &str) {
        let what = format!("the replica's link to be {state}");
        wait_until(&what, PROMOTED_WITHIN, || {
            self.replica().says("master_link_status", state)
        });
    }

    fn wait_for_sentinels(&self) {
        wait_until("the sentinels to meet", PROMOTED_WITHIN, || {
            self.sentinels.iter().all(|sentinel| {
                field(sentinel, "num-other-sentinels") == "2" && sees_replica(sentinel)
            })
        });
    }
}

fn replica_of(primary: &Redis) -> String {
    format!("replicaof 127.0.0.1 {}", primary.port())
}

fn sentinel(primary: &Redis) -> Redis {
    let setup = Setup {
        kind: Kind::Sentinel,
        ..Setup::default()
    };
    setup
        .config(&format!(
            "sentinel monitor {MASTER} 127.0.0.1 {} 2",
            primary.port()
        ))
        .config(&format!(
            "sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}"
        ))
        .config(&format!("sentinel failover-timeout {MASTER} 3000"))
        .start()
}

/// What a sentinel knows of the primary.
fn field(sentinel: &Redis, name: &str) -> String {
    let fields = sentinel.cmd(&["SENTINEL", "MASTER", MASTER]);
    value_of(fields.list(), name)
}

fn primary_port(sentinel: &Redis) -> String {
    let address = sentinel.cmd(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]);
    address.list()[1].text()
}

/// Whether a sentinel has a replica that it would promote.
fn sees_replica(sentinel: &Redis) -> bool {
    let replicas = sentinel.cmd(&["SENTINEL", "REPLICAS", MASTER]);
    replicas.list().iter().any(|replica| {
        let fields = replica.list();
        value_of(fields, "flags") == "slave" && value_of(fields, "master-link-status") == "ok"
    })
}

/// From a list of names and values in turns.
fn value_of(fields: &[Value], name: &str) -> String {
    let mut pairs = fields.chunks_exact(2);
    let found = pairs.find(|pair| pair[0].text() == name);
    found.map_or_else(String::new, |pair| pair[1].text())
}
