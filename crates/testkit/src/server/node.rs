//! One process of parlance: its start line, its log, its signals and its end.
//!
//! Used by the handle of this module, which knows what the process is for.

use std::{
    ffi::OsString,
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, OnceLock},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::locked;
use crate::dial::DEADLINE;

/// A child process that has logged its start line.
#[derive(Debug)]
pub(super) struct Node {
    child: Child,
    pub(super) log: Arc<ServerLog>,
    log_reader: Option<JoinHandle<()>>,
    pub(super) listen: SocketAddr,
    pub(super) admin: SocketAddr,
}

// === impl Node ===

impl Node {
    /// Starts `parlance` with these arguments and returns when it accepts connections.
    pub(super) fn start(arguments: &[OsString], settings: &[(String, String)]) -> Self {
        let mut child = command()
            .args(arguments)
            .env("PARLANCE_LISTEN", "127.0.0.1:0")
            .env("PARLANCE_ADMIN__LISTEN", "127.0.0.1:0")
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

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The sum of a metric's samples. Panics when the admin listener does not answer.
    pub(super) fn metric(&self, name: &str) -> f64 {
        let page = self.admin_get("/metrics");
        let page = page.unwrap_or_else(|error| panic!("no metrics of {}: {error}", self.admin));
        let samples = page.lines().filter_map(|line| {
            let (sample, value) = line.rsplit_once(' ')?;
            let (named, _) = sample.split_once('{').unwrap_or((sample, ""));
            (named == name).then(|| value.parse::<f64>().ok())?
        });
        samples.sum()
    }

    /// Whether `/readyz` says so.
    pub(super) fn is_ready(&self) -> bool {
        let answer = self.admin_get("/readyz");
        answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    fn admin_get(&self, path: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.admin, DEADLINE)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )?;
        io::read_to_string(stream)
    }

    /// Waits for the end of a process that was asked to leave.
    pub(super) fn wait_for_exit(&mut self, at_most: Duration) -> ExitStatus {
        let started = Instant::now();
        loop {
            let status = self.child.try_wait().expect("the child is ours");
            if let Some(status) = status {
                return status;
            }
            assert!(started.elapsed() < at_most, "the server does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id is an i32");
        let pid = Pid::from_raw(pid).expect("a child's id is not 0");
        kill_process(pid, signal).expect("the child is ours to signal");
    }

    /// `kill -9`, and waits until the process is gone and its log is whole.
    pub(super) fn kill(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.log_reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn unspecified() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 0))
}

/// The addresses of the line that the server logs once it works; a persister has no public one.
fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = line.get("fields").unwrap_or(&line);
    let address = |name: &str| fields.get(name)?.as_str()?.parse().ok();
    let admin = address("admin")?;
    Some((address("listen").unwrap_or(admin), admin))
}

// === impl ServerLog ===

/// What the server wrote to stderr so far.
#[derive(Debug, Default)]
pub(super) struct ServerLog {
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

    pub(super) fn lines(&self) -> Vec<String> {
        locked(&self.state).lines.clone()
    }

    pub(super) fn wait_for<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
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

/// `parlance`, without the settings of this process's own environment.
pub(super) fn command() -> Command {
    let mut command = Command::new(binary());
    let own = |name: &OsString| name.to_string_lossy().starts_with("PARLANCE_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| own(name)) {
        command.env_remove(name);
    }
    command
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
