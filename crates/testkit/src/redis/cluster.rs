//! A Redis Cluster of three masters with a replica each.

use std::{collections::BTreeMap, process::Command, time::Duration};

use super::{PARTITIONS, Redis, Setup, resp::Value, seed, tag, wait_until};

const MASTERS: usize = 3;
const SLOTS: &str = "16384";
/// A failure is seen after `cluster-node-timeout`; the vote and its retries come on top.
const SETTLED_WITHIN: Duration = Duration::from_secs(40);

/// The six nodes, named by their place in [`Cluster::nodes`]; killed when dropped.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Redis>,
}

impl Cluster {
    /// Returns when all slots are served and the replicas follow.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(Redis::setup())
    }

    /// With settings of its own for all nodes.
    #[must_use]
    pub fn start_with(setup: Setup) -> Self {
        let setup = setup
            .config("cluster-enabled yes")
            .config("cluster-node-timeout 2000")
            .config("cluster-config-file nodes.conf");
        let nodes: Vec<Redis> = (0..MASTERS * 2).map(|_| setup.clone().start()).collect();
        create(&nodes);
        let cluster = Self { nodes };
        cluster.wait_until_settled();
        cluster
    }

    /// `redis+cluster://…`
    #[must_use]
    pub fn url(&self) -> String {
        let address = |node: &Redis| format!("127.0.0.1:{}", node.port());
        let addresses: Vec<String> = self.nodes.iter().map(address).collect();
        format!("redis+cluster://{}", addresses.join(","))
    }

    /// All nodes, also those that were killed.
    #[must_use]
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The nodes that are masters and live, by their places.
    #[must_use]
    pub fn masters(&self) -> Vec<usize> {
        let view = self.view();
        let serves = |node: &usize| view.iter().any(|entry| entry.serves(&self.nodes[*node]));
        (0..self.nodes.len()).filter(serves).collect()
    }

    /// The slot of keys with this hash tag, braces included.
    #[must_use]
    pub fn slot_of(&self, tag: &str) -> u16 {
        let slot = self.living().cmd(&["CLUSTER", "KEYSLOT", tag]).integer();
        u16::try_from(slot).expect("there are 16384 slots")
    }

    /// The place of the node that serves `slot`.
    #[must_use]
    pub fn master_of(&self, slot: u16) -> usize {
        let owners = self.living().cmd(&["CLUSTER", "SLOTS"]);
        let range = owners.list().iter().find(|range| covers(range, slot));
        let range = range.unwrap_or_else(|| panic!("nobody serves slot {slot}"));
        self.place(&range.list()[2].list()[1])
    }

    /// Moves a slot and its keys to the master at `to`, as a rebalancing operator's tool does.
    pub fn migrate_slot(&self, slot: u16, to: usize) {
        let from = self.master_of(slot);
        assert_ne!(from, to, "slot {slot} is there already");
        let number = slot.to_string();
        let (source_id, target_id) = (self.id(from), self.id(to));
        let mut source = self.nodes[from].connection();
        let mut target = self.nodes[to].connection();
        target.cmd(&["CLUSTER", "SETSLOT", &number, "IMPORTING", &source_id]);
        source.cmd(&["CLUSTER", "SETSLOT", &number, "MIGRATING", &target_id]);
        let port = self.nodes[to].port().to_string();
        loop {
            let keys = source.cmd(&["CLUSTER", "GETKEYSINSLOT", &number, "10"]);
            let keys: Vec<String> = keys.list().iter().map(Value::text).collect();
            if keys.is_empty() {
                break;
            }
            let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "10000", "KEYS"];
            migrate.extend(keys.iter().map(String::as_str));
            source.cmd(&migrate);
        }
        // The target first: if it came last and failed, nobody would serve the slot.
        target.cmd(&["CLUSTER", "SETSLOT", &number, "NODE", &target_id]);
        source.cmd(&["CLUSTER", "SETSLOT", &number, "NODE", &target_id]);
        for node in self.masters() {
            self.nodes[node].cmd(&["CLUSTER", "SETSLOT", &number, "NODE", &target_id]);
        }
    }

    /// `kill -9` to the master at `node`; returns the place of its replica, when that has taken
    /// over and the others agree.
    pub fn kill_master(&mut self, node: usize) -> usize {
        let before = self.masters();
        assert!(before.contains(&node), "node {node} is no master");
        self.nodes[node].kill();
        wait_until("a replica's promotion", SETTLED_WITHIN, || {
            let masters = self.masters();
            masters.len() == MASTERS && !masters.contains(&node) && self.all_serve()
        });
        let promoted = self.masters().into_iter().find(|new| !before.contains(new));
        promoted.expect("one is new")
    }

    /// Starts a killed node again; returns when it follows the one that took over.
    pub fn revive(&mut self, node: usize) {
        self.nodes[node].restart();
        self.wait_until_settled();
    }

    /// Stops a node for this long.
    pub fn pause(&mut self, node: usize, at_most: Duration) {
        self.nodes[node].pause(at_most);
    }

    /// The partitions of each master, by its place.
    #[must_use]
    pub fn masters_of_partitions(&self) -> BTreeMap<usize, Vec<u16>> {
        let mut masters: BTreeMap<usize, Vec<u16>> = BTreeMap::new();
        for partition in 0..PARTITIONS {
            let master = self.master_of(self.slot_of(&tag(partition)));
            masters.entry(master).or_default().push(partition);
        }
        masters
    }

    /// Opens every partition in epoch 0, so that ids begin at 1. Before gateways start.
    pub fn seed_first_epochs(&self) {
        for (master, partitions) in self.masters_of_partitions() {
            seed(&mut self.nodes[master].connection(), partitions.into_iter());
        }
    }

    fn wait_until_settled(&self) {
        wait_until("all replicas to follow", SETTLED_WITHIN, || {
            let follows =
                |node: &Redis| node.says("role", "slave") && node.says("master_link_status", "up");
            let following = self.nodes.iter().filter(|node| follows(node)).count();
            following == MASTERS && self.all_serve()
        });
    }

    /// Whether all living nodes find every slot served and know every node.
    fn all_serve(&self) -> bool {
        self.alive().all(|node| {
            let info = node.cmd(&["CLUSTER", "INFO"]).text();
            let says = |line: &str| info.lines().any(|have| have == line);
            says("cluster_state:ok")
                && says(&format!("cluster_slots_ok:{SLOTS}"))
                && says(&format!("cluster_known_nodes:{}", self.nodes.len()))
        })
    }

    fn alive(&self) -> impl Iterator<Item = &Redis> {
        self.nodes.iter().filter(|node| node.is_running())
    }

    fn living(&self) -> &Redis {
        self.alive().next().expect("a node lives")
    }

    fn id(&self, node: usize) -> String {
        self.nodes[node].cmd(&["CLUSTER", "MYID"]).text()
    }

    fn place(&self, port: &Value) -> usize {
        let port = port.integer();
        let found = self
            .nodes
            .iter()
            .position(|node| i64::from(node.port()) == port);
        found.unwrap_or_else(|| panic!("port {port} is of no node"))
    }

    /// The cluster as a living node sees it.
    fn view(&self) -> Vec<ViewEntry> {
        let nodes = self.living().cmd(&["CLUSTER", "NODES"]).text();
        nodes.lines().map(ViewEntry::parse).collect()
    }
}

/// A line of `CLUSTER NODES`.
#[derive(Debug)]
struct ViewEntry {
    address: String,
    flags: Vec<String>,
    slots: usize,
}

impl ViewEntry {
    fn parse(line: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        Self {
            address: words[1].to_owned(),
            flags: words[2].split(',').map(str::to_owned).collect(),
            slots: words.len().saturating_sub(8),
        }
    }

    fn serves(&self, node: &Redis) -> bool {
        let has = |flag: &str| self.flags.iter().any(|have| have == flag);
        let at = format!("127.0.0.1:{}@", node.port());
        self.address.starts_with(&at) && has("master") && !has("fail") && self.slots > 0
    }
}

fn covers(range: &Value, slot: u16) -> bool {
    let range = range.list();
    (range[0].integer()..=range[1].integer()).contains(&i64::from(slot))
}

fn create(nodes: &[Redis]) {
    let mut command = Command::new("redis-cli");
    command.args(["--cluster", "create"]);
    command.args(
        nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port())),
    );
    command.args(["--cluster-replicas", "1", "--cluster-yes"]);
    let output = command.output().expect("redis-cli is installed");
    assert!(output.status.success(), "no cluster was made: {output:?}");
}
