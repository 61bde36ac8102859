//! The real server as child processes: `parlance serve`, or `parlance gateway` nodes on Redis, and
//! persisters behind them.
//!
//! A handle of `serve` has a data directory of its own; one of gateways has none. Ports are chosen
//! by the system. Dropping a handle kills its processes and fails the test if one of them panicked
//! or wrote a token to its log.

mod behind;
mod node;

use std::{
    ffi::OsString,
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    path::Path,
    process::ExitStatus,
    sync::{Arc, Mutex, MutexGuard, Weak},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tempfile::TempDir;

pub use self::node::binary;
use self::{behind::Behind, node::Node};
use crate::{
    cql::Cql,
    dial::{DEADLINE, Dial, TokenPlace},
    tokens::Claims,
};

pub(crate) const SECRET: &str =
    "a secret of the test kit, long enough for HS512: 0123456789abcdef0123456789";

/// How a server is to be started.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    settings: Vec<(String, String)>,
    form: Form,
    one_node: bool,
}

/// What a handle stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Form {
    /// `parlance serve`.
    #[default]
    Serve,
    /// A `parlance gateway` on a Redis that somebody else holds.
    Gateway,
    /// A `parlance persister` on a Redis and a store that somebody else holds.
    Persister,
    /// Two gateways and a Redis of their own.
    Pair,
    /// As a pair, with two persisters and a store behind them.
    Stored,
}

impl Setup {
    /// Sets `key` as in the configuration's documentation, like `limits.connections`.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        let name = format!("PARLANCE_{}", key.replace('.', "__").to_uppercase());
        self.settings.push((name, value.to_owned()));
        self
    }

    /// Sets a variable of the environment that is none of parlance's own.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A gateway on this Redis: one URL, or several independent ones with commas between them.
    #[must_use]
    pub fn gateway(mut self, redis_url: &str) -> Self {
        self.form = Form::Gateway;
        self.set("redis.urls", redis_url)
    }

    /// A persister on this Redis; it needs a [store](Setup::store), too.
    #[must_use]
    pub fn persister(mut self, redis_url: &str) -> Self {
        self.form = Form::Persister;
        self.set("redis.urls", redis_url)
    }

    /// With this keyspace as the store behind Redis. Its tables are made by [`Setup::migrate`].
    #[must_use]
    pub fn store(self, cql: &Cql, keyspace: &str) -> Self {
        self.set("store.nodes", &cql.contact_points().join(","))
            .set("store.keyspace", keyspace)
    }

    /// Makes the tables of the store.
    pub fn migrate(&self) {
        self.run(&["migrate"]);
    }

    /// Runs a command of `parlance` with these settings to its end; what it printed. Panics with what
    /// it said when it fails.
    pub fn run(&self, arguments: &[&str]) -> String {
        let mut command = node::command();
        command.args(arguments).envs(self.settings.iter().cloned());
        let done = command.output().expect("the binary can be run");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{arguments:?} failed: {said}");
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Two gateways on a fresh Redis in which ids begin at 1; a user's name decides which of them
    /// they are connected to.
    #[must_use]
    pub fn pair_of_gateways(mut self) -> Self {
        self.form = Form::Pair;
        self
    }

    /// As [`Setup::pair_of_gateways`], and all that is said is moved into a real store by two
    /// persisters, while a log keeps `tail_entries`.
    #[must_use]
    pub fn stored(mut self, tail_entries: u64) -> Self {
        self.form = Form::Stored;
        self.set("log.tail_entries", &tail_entries.to_string())
    }

    /// One node where there would be two, for limits that a node has.
    #[must_use]
    pub fn one_node(mut self) -> Self {
        self.one_node = true;
        self
    }

    /// Starts it and waits until it is ready.
    #[must_use]
    pub fn start(self) -> Parlance {
        Parlance::launch(self)
    }

    /// One server for all tests that run at the same time in this process, all of which ask for
    /// the same. Users are not limited there, so that tests may share their names.
    #[must_use]
    pub fn shared(self) -> Arc<Parlance> {
        static SHARED: Mutex<Weak<Parlance>> = Mutex::new(Weak::new());
        let mut shared = locked(&SHARED);
        if let Some(running) = shared.upgrade() {
            return running;
        }
        let setup = self.set("limits.connections_per_user", "0");
        let started = Arc::new(setup.set("limits.user_actions_per_second", "0").start());
        *shared = Arc::downgrade(&started);
        started
    }
}

/// A running server.
#[derive(Debug)]
pub struct Parlance {
    nodes: Vec<Node>,
    arguments: Vec<OsString>,
    setup: Setup,
    minted: Mutex<Vec<String>>,
    /// What `serve` keeps; a gateway keeps nothing.
    dir: Option<TempDir>,
    /// Lives as long as the gateways on it.
    behind: Option<Behind>,
}

impl Parlance {
    /// A server with settings of its own.
    #[must_use]
    pub fn setup() -> Setup {
        Setup::default()
    }

    /// A server of one's own with the default settings.
    #[must_use]
    pub fn start() -> Self {
        Setup::default().start()
    }

    fn launch(setup: Setup) -> Self {
        let mut setup = setup.set("auth.hmac_secret", SECRET);
        let (mut count, mut dir, mut behind) = (1, None, None);
        let mut arguments = vec![OsString::from("gateway")];
        match setup.form {
            Form::Serve => {
                let made = tempfile::tempdir().expect("a temporary directory can be made");
                arguments = vec!["serve".into(), "--data-dir".into(), made.path().into()];
                dir = Some(made);
            }
            Form::Gateway => {}
            Form::Persister => arguments = vec!["persister".into()],
            Form::Pair | Form::Stored => {
                let own = match setup.form {
                    Form::Stored => Behind::with_store(&setup.settings),
                    Form::Serve | Form::Gateway | Form::Persister | Form::Pair => Behind::alone(),
                };
                setup.settings.extend(own.settings());
                behind = Some(own);
                count = if setup.one_node { 1 } else { 2 };
            }
        }
        let start = |_| Node::start(&arguments, &setup.settings);
        Self {
            nodes: (0..count).map(start).collect(),
            arguments,
            setup,
            minted: Mutex::default(),
            dir,
            behind,
        }
    }

    /// Where the WebSocket listener is; that of the first of several nodes.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.nodes[0].listen
    }

    /// Where the admin listener is; that of the first of several nodes.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.nodes[0].admin
    }

    /// The data directory of `serve`.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.dir.as_ref().expect("only serve has data").path()
    }

    /// Whether messages reach a store, so that clients are told of it.
    #[must_use]
    pub fn has_store(&self) -> bool {
        match self.setup.form {
            Form::Serve | Form::Stored => true,
            Form::Persister | Form::Gateway | Form::Pair => false,
        }
    }

    /// The secret that tokens are signed with.
    #[must_use]
    pub fn secret(&self) -> &'static str {
        SECRET
    }

    /// Signs `claims` with this server's secret.
    #[must_use]
    pub fn mint(&self, claims: &Claims) -> String {
        let token = claims.sign(SECRET);
        locked(&self.minted).push(token.clone());
        token
    }

    /// A connection of user `sub` on the base layer.
    #[must_use]
    pub fn dial(&self, conversation: &str, sub: &str) -> Dial {
        self.dial_with(conversation, &Claims::of(sub))
    }

    /// A connection with these claims on the base layer.
    #[must_use]
    pub fn dial_with(&self, conversation: &str, claims: &Claims) -> Dial {
        let node = &self.nodes[self.node_of(claims.subject())];
        Dial::new(node.listen, conversation).token(&self.mint(claims), TokenPlace::Query)
    }

    /// Always the same one for all devices of a user.
    fn node_of(&self, user: &str) -> usize {
        let mut hasher = DefaultHasher::new();
        user.hash(&mut hasher);
        let nodes = self.nodes.len() as u64;
        usize::try_from(hasher.finish() % nodes).expect("less than there are nodes")
    }

    /// The process; that of the first of several nodes.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.nodes[0].pid()
    }

    /// What a metric has now, over all its labels and nodes; nothing while none of them has it.
    #[must_use]
    pub fn metric(&self, name: &str) -> f64 {
        self.nodes.iter().map(|node| node.metric(name)).sum()
    }

    /// Whether it would be sent clients: what `parlance healthcheck` says.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.nodes.iter().all(Node::is_ready)
    }

    /// Resident memory of the process, in bytes.
    #[must_use]
    pub fn rss_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(path).expect("the server runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.and_then(|kib| kib.parse::<u64>().ok())
            .expect("a process has a resident size")
            * 1024
    }

    /// Lines that the server has logged so far, node by node.
    #[must_use]
    pub fn log_lines(&self) -> Vec<String> {
        let behind = self.behind.iter().flat_map(Behind::persisters);
        let all = self.nodes.iter().chain(behind);
        all.flat_map(|node| node.log.lines()).collect()
    }

    /// Waits for a line of the log of any node.
    pub fn wait_for_log(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let fitting = |line: &str| fits(line).then(|| line.to_owned());
        if let [node] = &self.nodes[..] {
            return node.log.wait_for(what, fitting);
        }
        let give_up = Instant::now() + DEADLINE;
        loop {
            let lines = self.log_lines();
            if let Some(found) = lines.iter().find_map(|line| fitting(line)) {
                return found;
            }
            assert!(Instant::now() < give_up, "no log has {what}: {lines:#?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks the server to leave.
    pub fn terminate(&self) {
        for node in &self.nodes {
            node.signal(Signal::TERM);
        }
    }

    /// Waits for the end of a server that was asked to leave. The worst of several nodes' ends.
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        self.wait_for_exit_within(DEADLINE)
    }

    /// As [`Parlance::wait_for_exit`], for one that may take longer than a test likes to wait.
    pub fn wait_for_exit_within(&mut self, at_most: Duration) -> ExitStatus {
        let end = |node: &mut Node| node.wait_for_exit(at_most);
        let ends: Vec<ExitStatus> = self.nodes.iter_mut().map(end).collect();
        let bad = ends.iter().find(|end| !end.success());
        *bad.unwrap_or(&ends[0])
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(&mut self) {
        for node in &mut self.nodes {
            node.kill();
        }
    }

    /// Stops the process where it stands.
    pub fn freeze(&self) {
        for node in &self.nodes {
            node.signal(Signal::STOP);
        }
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) {
        for node in &self.nodes {
            node.signal(Signal::CONT);
        }
    }

    /// Starts again on the same data, on new ports; kills what still runs.
    pub fn restart(&mut self) {
        self.check_log();
        for node in &mut self.nodes {
            *node = Node::start(&self.arguments, &self.setup.settings);
        }
    }

    fn check_log(&mut self) {
        self.kill();
        let lines = self.log_lines();
        if thread::panicking() {
            let newest = lines.iter().rev().take(20).rev();
            for line in newest {
                eprintln!("server: {line}");
            }
            return;
        }
        let panic = lines.iter().find(|line| line.contains("panicked at"));
        assert!(panic.is_none(), "the server panicked: {panic:?}");
        for token in locked(&self.minted).iter() {
            let secret = token.rsplit('.').next().unwrap_or(token);
            let leak = lines.iter().find(|line| line.contains(secret));
            assert!(leak.is_none(), "a token stands in the log: {leak:?}");
        }
    }
}

impl Drop for Parlance {
    fn drop(&mut self) {
        self.check_log();
    }
}

/// A failed test must not hide its message behind poisoned locks.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
