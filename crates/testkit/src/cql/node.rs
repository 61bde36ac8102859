//! One node's process: its start, its signals and its end.
//!
//! `tests/cql/server.py` writes the settings and becomes the server, so the process id is that of
//! the node. It is killed, too, when this process is gone, however it went.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};

use super::START_DEADLINE;

const LOG_LINES_SHOWN: usize = 20;

/// Where the script is that fetches and runs servers.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/cql/server.py");

/// Fills the cache once; at once, if it is.
pub(super) fn fetch() {
    static FETCHED: OnceLock<()> = OnceLock::new();
    FETCHED.get_or_init(|| {
        let fetched = Command::new("python3").args([SCRIPT, "fetch"]).output();
        let fetched = fetched.expect("python3 is installed");
        let said = String::from_utf8_lossy(&fetched.stderr);
        assert!(fetched.status.success(), "there is no CQL server:\n{said}");
    });
}

#[derive(Debug)]
pub(super) struct Node {
    child: Child,
    state: State,
    log: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Runs,
    Paused,
    Gone,
}

impl Node {
    /// Returns at once; the node answers some seconds later.
    pub(super) fn start(dir: &Path, arguments: &[String]) -> Self {
        std::fs::create_dir_all(dir).expect("the directory is ours");
        let log = dir.join("log");
        let opened = File::options().create(true).append(true).open(&log);
        let output = opened.expect("the directory is ours");
        let errors = output.try_clone().expect("a file can be held twice");
        let child = Command::new("python3")
            .args([SCRIPT, "run", "--until-stdin-ends", "--dir"])
            .arg(dir)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .expect("python3 is installed");
        Self {
            child,
            state: State::Runs,
            log,
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process was neither killed nor stopped.
    pub(super) fn is_running(&self) -> bool {
        self.state != State::Gone
    }

    /// Whether the process can answer.
    pub(super) fn is_up(&self) -> bool {
        self.state == State::Runs
    }

    /// Panics when the process has ended by itself.
    pub(super) fn assert_alive(&mut self) {
        let ended = self.child.try_wait().expect("the child is ours");
        if let Some(status) = ended {
            panic!(
                "the CQL server ended with {status}; the end of its log:\n{}",
                self.log_tail()
            );
        }
    }

    /// `kill -9`, and waits until the process is gone.
    pub(super) fn kill(&mut self) {
        self.state = State::Gone;
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and waits until the process is gone.
    pub(super) fn stop(&mut self) {
        assert!(self.is_up(), "a node that does not run cannot end well");
        self.signal(Signal::TERM);
        let give_up = Instant::now() + START_DEADLINE;
        // Not `wait`, which closes stdin first: that is a kill.
        while self.child.try_wait().expect("the child is ours").is_none() {
            assert!(Instant::now() < give_up, "the CQL server does not end");
            thread::sleep(super::POLL);
        }
        self.state = State::Gone;
    }

    pub(super) fn pause(&mut self) {
        self.signal(Signal::STOP);
        self.state = State::Paused;
    }

    pub(super) fn resume(&mut self) {
        self.signal(Signal::CONT);
        self.state = State::Runs;
    }

    fn signal(&self, signal: Signal) {
        assert!(self.is_running(), "the node has no process");
        let pid = i32::try_from(self.pid()).expect("a process id is an i32");
        let pid = Pid::from_raw(pid).expect("a child's id is not 0");
        kill_process(pid, signal).expect("the child is ours to signal");
    }

    pub(super) fn log_tail(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
