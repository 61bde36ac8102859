//! Real CQL servers as child processes: one node, or a ring.
//!
//! Used by tests of the store and of gateways. The server is Apache Cassandra, which
//! `tests/cql/server.py` fetches and runs; `tests/cql/README.md` says what it stands for and what
//! it cannot show. Each server has a directory and a block of loopback addresses of its own, and is
//! killed by its process ids when its handle is dropped. What a test asks a server goes through a
//! small blocking client ([`wire`]), so that the adapter's driver is never judged by itself.
//!
//! A start takes seconds: tests share one ([`Cql::shared`]) and have a keyspace each, unless they
//! break it. With `PARLANCE_CQL_NODES=host:port,…` the shared server is that one.
//!
//! Everything here blocks its thread: in a test on tokio, call it on a multi-threaded runtime.

mod node;
pub mod wire;

use std::{
    fs,
    hash::{BuildHasher, RandomState},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use self::{
    node::Node,
    wire::{Connection, Consistency, Login, Row},
};
use crate::{certificates, dial::DEADLINE, ports};

/// A start takes 5 to 15 s, and several times that where much else runs.
const START_DEADLINE: Duration = Duration::from_secs(120);
/// How long a node may take to answer the question whether it is ready.
const PROBE_LIMIT: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(50);

/// A server elsewhere, in place of one that is started.
const EXTERNAL: &str = "PARLANCE_CQL_NODES";
/// The user that Cassandra has from the beginning.
const LOGIN: Login = ("cassandra", "cassandra");
/// A keyspace has no more copies than this.
const COPIES_AT_MOST: usize = 3;

/// How a CQL server is to be started.
#[derive(Debug, Clone)]
pub struct Setup {
    nodes: usize,
    settings: Vec<String>,
    password: bool,
    tls: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            nodes: 1,
            settings: Vec::new(),
            password: false,
            tls: false,
        }
    }
}

impl Setup {
    /// A ring of this many nodes: 1, or 3 and more. Two could not agree without each other.
    #[must_use]
    pub fn nodes(mut self, nodes: usize) -> Self {
        assert!(nodes == 1 || nodes > 2, "a ring of {nodes} nodes");
        self.nodes = nodes;
        self
    }

    /// A line of `cassandra.yaml`, like `("commitlog_segment_size", "1MiB")`; the largest mutation
    /// is half a segment. The last value of a name wins.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push(format!("{name}={value}"));
        self
    }

    /// Clients have to log in ([`Cql::credentials`]).
    #[must_use]
    pub fn password(mut self) -> Self {
        self.password = true;
        self
    }

    /// Clients may speak TLS, with certificates for the nodes' addresses of an authority made for
    /// this server ([`Cql::ca_file`]). Without TLS the same ports answer, too.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Starts it in a new directory and waits until it answers.
    #[must_use]
    pub fn start(self) -> Cql {
        node::fetch();
        let hosts = block(self.nodes);
        let port = ports::free(&hosts);
        let storage_port = loop {
            let other = ports::free(&hosts);
            if other != port {
                break other;
            }
        };
        let mut cql = Cql {
            points: hosts.iter().map(|host| format!("{host}:{port}")).collect(),
            login: self.password.then_some(LOGIN),
            own: Some(Own {
                nodes: Vec::new(),
                arguments: self.arguments(&hosts, port, storage_port),
                dir: tempfile::tempdir().expect("a temporary directory can be made"),
            }),
        };
        if self.tls {
            cql.own().make_certificates(&hosts);
        }
        cql.launch();
        cql
    }

    fn arguments(&self, hosts: &[Ipv4Addr], port: u16, storage_port: u16) -> Vec<String> {
        let hosts: Vec<String> = hosts.iter().map(Ipv4Addr::to_string).collect();
        let mut arguments = vec![
            format!("--addresses={}", hosts.join(",")),
            format!("--port={port}"),
            format!("--storage-port={storage_port}"),
        ];
        let settings = self.settings.iter();
        arguments.extend(settings.map(|setting| format!("--set={setting}")));
        arguments.extend(self.password.then(|| "--password".to_owned()));
        arguments
    }
}

/// Loopback addresses that no other server has: a ring's nodes have the same ports, and tests of
/// several processes run at the same time. There are 65 000 such blocks.
fn block(nodes: usize) -> Vec<Ipv4Addr> {
    let random = RandomState::new().hash_one(()).to_be_bytes();
    // Not 127.0, where everybody else listens.
    let second = 1 + random[0] % 254;
    let nodes = u8::try_from(nodes).expect("a ring has less than 255 nodes");
    (1..=nodes)
        .map(|node| Ipv4Addr::new(127, second, random[1], node))
        .collect()
}

/// A CQL server; killed when dropped, unless it is somebody else's.
#[derive(Debug)]
pub struct Cql {
    points: Vec<String>,
    login: Option<Login>,
    own: Option<Own>,
}

/// What a server that was started here has.
#[derive(Debug)]
struct Own {
    /// Before the directory: dropped first.
    nodes: Vec<Node>,
    /// Those that all nodes have in common.
    arguments: Vec<String>,
    dir: TempDir,
}

impl Cql {
    /// A server with settings of its own.
    #[must_use]
    pub fn setup() -> Setup {
        Setup::default()
    }

    /// One node; that of `PARLANCE_CQL_NODES`, if there is one.
    #[must_use]
    pub fn start() -> Self {
        match std::env::var(EXTERNAL) {
            Ok(points) if !points.is_empty() => Self::at(&points),
            Ok(_) | Err(_) => Setup::default().start(),
        }
    }

    /// A ring of this many nodes, which can be killed one by one.
    #[must_use]
    pub fn ring(nodes: usize) -> Self {
        Setup::default().nodes(nodes).start()
    }

    /// A server that somebody else runs, without passwords: `host:port` of its nodes, with commas
    /// between them. It cannot be killed here.
    #[must_use]
    pub fn at(points: &str) -> Self {
        let points = points.split(',').map(|point| point.trim().to_owned());
        let cql = Self {
            points: points.collect(),
            login: None,
            own: None,
        };
        for (node, point) in cql.points.iter().enumerate() {
            assert!(cql.answers(node, DEADLINE), "no CQL server at {point}");
        }
        cql
    }

    /// One server for all tests that run at the same time in this process. Each has a keyspace
    /// there ([`Cql::keyspace`]).
    #[must_use]
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Cql>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return running;
        }
        let started = Arc::new(Self::start());
        *shared = Arc::downgrade(&started);
        started
    }

    /// `host:port` of each node, also of those that were killed.
    #[must_use]
    pub fn contact_points(&self) -> Vec<String> {
        self.points.clone()
    }

    /// User and password, if clients have to log in.
    #[must_use]
    pub fn credentials(&self) -> Option<(&'static str, &'static str)> {
        self.login
    }

    /// The certificate of the authority that vouches for the nodes of a server with TLS.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        certificates::ca_file(self.own_ref().dir.path())
    }

    /// The process of a node.
    #[must_use]
    pub fn pid(&self, node: usize) -> u32 {
        self.own_ref().nodes[node].pid()
    }

    /// Whether the process of a node was started and neither killed nor stopped since.
    #[must_use]
    pub fn is_running(&self, node: usize) -> bool {
        self.own_ref().nodes[node].is_running()
    }

    // --- questions ---

    /// A connection to a node, for many statements in a row.
    #[must_use]
    pub fn connection(&self, node: usize) -> Connection {
        let opened = Connection::open(&self.points[node], self.login, DEADLINE);
        opened.unwrap_or_else(|error| panic!("CQL server {}: {error}", self.points[node]))
    }

    /// Runs one statement on a quorum, through the first node. Panics when the server refuses it.
    pub fn query(&self, statement: &str) -> Vec<Row> {
        self.connection(0).query(statement)
    }

    /// Runs a statement that changes the schema, through the first node, and waits until all nodes
    /// that run have the new one.
    pub fn define(&self, statement: &str) {
        self.query(statement);
        let give_up = Instant::now() + START_DEADLINE;
        while !self.agrees() {
            self.go_on(give_up, "agree on the schema");
        }
    }

    /// Makes a keyspace that is nobody else's; returns its name. As many copies as nodes, up to 3.
    #[must_use]
    pub fn keyspace(&self) -> String {
        let name = format!("t{:016x}", RandomState::new().hash_one(()));
        let copies = self.points.len().min(COPIES_AT_MOST);
        self.define(&format!(
            "CREATE KEYSPACE {name} WITH replication = \
             {{'class': 'NetworkTopologyStrategy', 'replication_factor': {copies}}}"
        ));
        name
    }

    /// Whether a node answers a query within this time.
    #[must_use]
    pub fn answers(&self, node: usize, within: Duration) -> bool {
        self.ask(
            node,
            within,
            "SELECT key FROM system.local",
            Consistency::One,
        )
        .is_some()
    }

    fn ask(
        &self,
        node: usize,
        within: Duration,
        statement: &str,
        consistency: Consistency,
    ) -> Option<Vec<Row>> {
        let connection = Connection::open(&self.points[node], self.login, within);
        let answer = connection.ok()?.try_query(statement, consistency);
        answer.ok()?.ok()
    }

    // --- faults ---

    /// `kill -9` to a node, and waits until its process is gone.
    pub fn kill(&mut self, node: usize) {
        self.own().nodes[node].kill();
    }

    /// SIGTERM to a node, and waits until its process is gone.
    pub fn stop(&mut self, node: usize) {
        self.own().nodes[node].stop();
    }

    /// Starts a node again with its address and data; kills what still runs. Returns when it
    /// answers, and when the nodes can reach each other, if all run.
    pub fn restart(&mut self, node: usize) {
        let own = self.own();
        own.nodes[node].kill();
        own.nodes[node] = own.start(node);
        self.wait_until_ready();
    }

    /// Another line of `cassandra.yaml` for all nodes, from their next start on; see [`Setup::set`].
    pub fn set(&mut self, name: &str, value: &str) {
        self.own().arguments.push(format!("--set={name}={value}"));
    }

    /// Stops the process of a node where it stands.
    pub fn pause(&mut self, node: usize) {
        self.own().nodes[node].pause();
    }

    /// Lets a paused node go on. The others of a ring may take it for dead a moment longer.
    pub fn resume(&mut self, node: usize) {
        self.own().nodes[node].resume();
    }

    /// Waits until each node of a ring takes all others for reachable; at once, if some are killed
    /// or paused.
    pub fn wait_until_joined(&self) {
        let give_up = Instant::now() + START_DEADLINE;
        while !self.is_joined() {
            self.go_on(give_up, "reach each other");
        }
    }

    fn own(&mut self) -> &mut Own {
        self.own.as_mut().expect(NOT_OURS)
    }

    fn own_ref(&self) -> &Own {
        self.own.as_ref().expect(NOT_OURS)
    }

    // --- start ---

    fn launch(&mut self) {
        let nodes = self.points.len();
        let own = self.own();
        own.nodes = (0..nodes).map(|node| own.start(node)).collect();
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let give_up = Instant::now() + START_DEADLINE;
        for node in 0..self.points.len() {
            while self.is_up(node) && !self.answers(node, PROBE_LIMIT) {
                self.own().nodes[node].assert_alive();
                self.go_on(give_up, "answer");
            }
        }
        while !self.agrees() {
            self.go_on(give_up, "agree on the schema");
        }
        self.wait_until_joined();
    }

    /// Whether all nodes that can answer have the same schema.
    fn agrees(&self) -> bool {
        let version = "SELECT CAST(schema_version AS text) FROM system.local";
        let running = (0..self.points.len()).filter(|node| self.is_up(*node));
        let versions: Option<Vec<Vec<Row>>> = running
            .map(|node| self.ask(node, PROBE_LIMIT, version, Consistency::One))
            .collect();
        versions.is_some_and(|versions| versions.windows(2).all(|pair| pair[0] == pair[1]))
    }

    /// Whether each node takes all others for reachable; true when some of them cannot be.
    fn is_joined(&self) -> bool {
        let nodes = self.points.len();
        // Of this table every ring has three copies, and a look at all of it asks all nodes.
        let everything = "SELECT keyspace_name FROM system_distributed.view_build_status";
        let mut all = 0..nodes;
        nodes == 1
            || (0..nodes).any(|node| !self.is_up(node))
            || all.all(|node| {
                self.ask(node, PROBE_LIMIT, everything, Consistency::All)
                    .is_some()
            })
    }

    fn is_up(&self, node: usize) -> bool {
        self.own.as_ref().is_none_or(|own| own.nodes[node].is_up())
    }

    /// One more round of waiting, or a panic with what the nodes logged last.
    fn go_on(&self, give_up: Instant, what: &str) {
        if Instant::now() > give_up {
            let nodes = self.own.iter().flat_map(|own| &own.nodes);
            let logs: Vec<String> = nodes.map(Node::log_tail).collect();
            panic!(
                "the CQL server does not {what} in time; the ends of its logs:\n{}",
                logs.join("\n\n")
            );
        }
        thread::sleep(POLL);
    }
}

const NOT_OURS: &str =
    "a test can ask this only of a server that it has started: unset PARLANCE_CQL_NODES";

impl Own {
    fn start(&self, node: usize) -> Node {
        let mut arguments = self.arguments.clone();
        arguments.push(format!("--index={node}"));
        Node::start(&self.dir.path().join(format!("node-{node}")), &arguments)
    }

    fn make_certificates(&mut self, hosts: &[Ipv4Addr]) {
        let dir = self.dir.path();
        let names: Vec<String> = hosts.iter().map(Ipv4Addr::to_string).collect();
        certificates::make(dir, &names);
        let both = dir.join("server.pem");
        let parts = [
            certificates::key_file(dir),
            certificates::certificate_file(dir),
        ];
        let read = |path: &PathBuf| fs::read_to_string(path).expect("it was made");
        fs::write(&both, parts.iter().map(read).collect::<String>()).expect("ours to write");
        self.arguments.push(tls_argument(&both));
    }
}

fn tls_argument(pem: &Path) -> String {
    format!("--tls={}", pem.display())
}
