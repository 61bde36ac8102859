//! The real `parlance serve` as a child process.
//!
//! Each handle has its own data directory, ports chosen by the system and its own secret. Dropping
//! the last handle of a directory kills the process and fails the test if the server panicked or
//! wrote a token to its log.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, Weak},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    dial::{DEADLINE, Dial, TokenPlace},
    tokens::Claims,
};

const SECRET: &str = "a secret of the test kit, long enough for HS512: 0123456789abcdef0123456789";

/// How a server is to be started.
#[derive(Debug, Default)]
pub struct Setup {
    settings: Vec<(String, String)>,
}

impl Setup {
    /// Sets `key` as in the configuration's documentation, like `limits.connections`.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        let name = format!("PARLANCE_{}", key.replace('.', "__").to_uppercase());
        self.settings.push((name, value.to_owned()));
        self
    }

    /// Starts it on a new directory and waits until it is ready.
    #[must_use]
    pub fn start(self) -> Parlance {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        Parlance::launch(dir, self.settings)
    }
}

/// A running server.
#[derive(Debug)]
pub struct Parlance {
    running: Running,
    settings: Vec<(String, String)>,
    minted: Mutex<Vec<String>>,
    dir: TempDir,
}

#[derive(Debug)]
struct Running {
    child: Child,
    log: Arc<ServerLog>,
    log_reader: Option<JoinHandle<()>>,
    listen: SocketAddr,
    admin: SocketAddr,
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

    /// One server for all tests that run at the same time in this process. Users are not limited
    /// there, so that tests may share their names.
    #[must_use]
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Parlance>> = Mutex::new(Weak::new());
        let mut shared = locked(&SHARED);
        if let Some(running) = shared.upgrade() {
            return running;
        }
        let setup = Setup::default().set("limits.connections_per_user", "0");
        let started = Arc::new(setup.set("limits.user_actions_per_second", "0").start());
        *shared = Arc::downgrade(&started);
        started
    }

    fn launch(dir: TempDir, settings: Vec<(String, String)>) -> Self {
        Self {
            running: Running::start(dir.path(), &settings),
            settings,
            minted: Mutex::default(),
            dir,
        }
    }

    /// Where the WebSocket listener is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.running.listen
    }

    /// Where the admin listener is.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.running.admin
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.dir.path()
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
        Dial::new(self.address(), conversation).token(&self.mint(claims), TokenPlace::Query)
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running.child.id()
    }

    /// Resident memory of the process, in bytes.
    #[must_use]
    pub fn rss_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.running.child.id());
        let status = std::fs::read_to_string(path).expect("the server runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.and_then(|kib| kib.parse::<u64>().ok())
            .expect("a process has a resident size")
            * 1024
    }

    /// Lines that the server has logged so far.
    #[must_use]
    pub fn log_lines(&self) -> Vec<String> {
        locked(&self.running.log.state).lines.clone()
    }

    /// Waits for a line of the log.
    pub fn wait_for_log(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        self.running
            .log
            .wait_for(what, |line| fits(line).then(|| line.to_owned()))
    }

    /// Asks the server to leave.
    pub fn terminate(&self) {
        self.running.signal(Signal::TERM);
    }

    /// Waits for the end of a server that was asked to leave.
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            let status = self.running.child.try_wait().expect("the child is ours");
            if let Some(status) = status {
                return status;
            }
            assert!(started.elapsed() < DEADLINE, "the server does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(&mut self) {
        self.running.kill();
    }

    /// Stops the process where it stands.
    pub fn freeze(&self) {
        self.running.signal(Signal::STOP);
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) {
        self.running.signal(Signal::CONT);
    }

    /// Starts again on the same directory, on new ports; kills what still runs.
    pub fn restart(&mut self) {
        self.check_log();
        self.running = Running::start(self.dir.path(), &self.settings);
    }

    fn check_log(&mut self) {
        self.running.kill();
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

// === impl Running ===

impl Running {
    fn start(dir: &Path, settings: &[(String, String)]) -> Self {
        let mut serve = Command::new(binary());
        let own = |name: &OsString| name.to_string_lossy().starts_with("PARLANCE_");
        for (name, _) in std::env::vars_os().filter(|(name, _)| own(name)) {
            serve.env_remove(name);
        }
        let mut child = serve
            .args(["serve", "--data-dir"])
            .arg(dir)
            .env("PARLANCE_LISTEN", "127.0.0.1:0")
            .env("PARLANCE_ADMIN__LISTEN", "127.0.0.1:0")
            .env("PARLANCE_AUTH__HMAC_SECRET", SECRET)
            .envs(settings.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server's binary can be run");
        let stderr = child.stderr.take().expect("stderr was asked for");
        let log = Arc::new(ServerLog::default());
        let log_reader = Some(log.clone().collect(stderr));
        let mut running = Self {
            child,
            log,
            log_reader,
            listen: unspecified(),
            admin: unspecified(),
        };
        (running.listen, running.admin) = running.log.wait_for("the start line", addresses);
        running
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id is an i32");
        let pid = Pid::from_raw(pid).expect("a child's id is not 0");
        kill_process(pid, signal).expect("the child is ours to signal");
    }

    fn kill(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.log_reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn unspecified() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 0))
}

/// The addresses of the line that the server logs once it accepts connections.
fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = line.get("fields").unwrap_or(&line);
    let address = |name: &str| fields.get(name)?.as_str()?.parse().ok();
    Some((address("listen")?, address("admin")?))
}

// === impl ServerLog ===

/// What the server wrote to stderr so far.
#[derive(Debug, Default)]
struct ServerLog {
    state: Mutex<LogState>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct LogState {
    lines: Vec<String>,
    ended: bool,
}

impl ServerLog {
    fn collect(self: Arc<Self>, stderr: ChildStderr) -> JoinHandle<()> {
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let Ok(line) = line else { break };
                locked(&self.state).lines.push(line);
                self.grown.notify_all();
            }
            locked(&self.state).ended = true;
            self.grown.notify_all();
        })
    }

    fn wait_for<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let mut state = locked(&self.state);
        let mut judged = 0;
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(found) = state.lines[judged..].iter().find_map(|line| find(line)) {
                return found;
            }
            judged = state.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                let lines = state.lines.join("\n");
                drop(state);
                panic!("the server's log has no {what}:\n{lines}");
            }
            state = match self.grown.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

/// A failed test must not hide its message behind poisoned locks.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// `PARLANCE_BIN`, or the one that cargo makes for the profile of this test, brought up to date.
#[must_use]
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("PARLANCE_BIN") {
        Some(path) => path.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let profile_dir = test.ancestors().nth(2).expect("tests lie in PROFILE/deps");
    let target_dir = profile_dir
        .parent()
        .expect("PROFILE lies in the target directory");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .args(["build", "--quiet", "--package", "parlance", "--target-dir"])
        .arg(target_dir);
    if profile_dir.ends_with("release") {
        build.arg("--release");
    }
    let status = build.status().expect("cargo can be run");
    assert!(status.success(), "the server does not build: {status}");
    profile_dir.join("parlance")
}
