//! One `redis-server` process: its start, its signals and its end.
//!
//! Used by the servers of this module. It knows nothing of roles and data.

use std::{
    fmt,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::resp::{Connection, Login};
use crate::dial::DEADLINE;

#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pause: Option<Pause>,
    running: bool,
    log: PathBuf,
}

/// Somebody else listens on the port.
#[derive(Debug)]
pub(super) struct StartFailure {
    port: u16,
}

impl fmt::Display for StartFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "port {} is taken", self.port)
    }
}

impl Process {
    /// Returns when the server answers. Panics with its log when it ends for another reason than
    /// a taken port.
    pub(super) fn start(
        dir: &Path,
        config: &[String],
        sentinel: bool,
        port: u16,
        login: Login,
    ) -> Result<Self, StartFailure> {
        let (config_file, log) = (dir.join("redis.conf"), dir.join("redis.log"));
        std::fs::write(&config_file, config.join("\n")).expect("the directory is ours");
        let output = File::create(&log).expect("the directory is ours");
        let mut command = Command::new("redis-server");
        command.arg(&config_file);
        if sentinel {
            command.arg("--sentinel");
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let process = Self {
            child,
            pause: None,
            running: true,
            log,
        };
        process.until_ready(port, login)
    }

    fn until_ready(mut self, port: u16, login: Login) -> Result<Self, StartFailure> {
        let give_up = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                if log.contains("Failed listening on port") {
                    return Err(StartFailure { port });
                }
                panic!("redis-server ended with {status}:\n{log}");
            }
            if answers(port, login, self.child.id()) {
                return Ok(self);
            }
            assert!(Instant::now() < give_up, "no answer from port {port}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn is_running(&self) -> bool {
        self.running
    }

    pub(super) fn kill(&mut self) {
        self.running = false;
        // Before the child is reaped: until then its id is nobody else's.
        self.pause = None;
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(super) fn pause(&mut self, at_most: Duration) {
        self.pause = None;
        self.pause = Some(Pause::begin(self.pid(), at_most));
    }

    pub(super) fn resume(&mut self) {
        self.pause = None;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let newest = log.lines().rev().take(20).collect::<Vec<_>>();
            for line in newest.iter().rev() {
                eprintln!("redis {}: {line}", self.pid());
            }
        }
    }
}

/// Whether this very process has loaded its data. Another's server may have the port.
fn answers(port: u16, login: Login, pid: u32) -> bool {
    let Ok(mut connection) = Connection::open(port, login) else {
        return false;
    };
    let ready = connection.try_cmd(&["PING"]).is_ok_and(|pong| pong.is_ok());
    ready && connection.find_info("process_id") == Some(pid.to_string())
}

/// A stopped process; it goes on when this is dropped, and by itself after a while, so that a test
/// that failed leaves nothing stopped.
#[derive(Debug)]
struct Pause {
    over: Option<Sender<()>>,
    timer: Option<JoinHandle<()>>,
}

impl Pause {
    fn begin(pid: u32, at_most: Duration) -> Self {
        signal(pid, Signal::STOP);
        let (over, ended) = mpsc::channel();
        let timer = thread::spawn(move || {
            // Told or timed out: go on.
            let _ = ended.recv_timeout(at_most);
            signal(pid, Signal::CONT);
        });
        Self {
            over: Some(over),
            timer: Some(timer),
        }
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(timer) = self.timer.take() {
            let _ = timer.join();
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).expect("a process id is an i32");
    let pid = Pid::from_raw(pid).expect("a child's id is not 0");
    kill_process(pid, signal).expect("the child is ours to signal");
}
