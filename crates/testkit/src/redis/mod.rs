//! Real Redis servers as child processes: alone, as a watched pair, as a cluster.
//!
//! Used by tests of the Redis adapter and of gateways. Each server has a directory of its own and
//! loopback ports that were free, and is killed by its process id when its handle is dropped. What
//! a test asks a server goes through a small blocking client ([`resp`]), so that the adapter's
//! library is never judged by itself.
//!
//! Everything here blocks its thread: in a test on tokio, call it on a multi-threaded runtime.

mod cluster;
mod front;
mod process;
pub mod resp;
mod sentinel;
mod tap;
mod tls;

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;

pub use self::{cluster::Cluster, front::Front, sentinel::Pair, tap::Tap};
use self::{
    process::{Process, StartFailure},
    resp::{Connection, Login, Value},
};
use crate::{dial::DEADLINE, ports};

/// Partitions of a deployment; each has its keys under one hash tag.
pub const PARTITIONS: u16 = 256;

/// The hash tag of a partition: `{p00}` … `{pff}`.
#[must_use]
pub fn tag(partition: u16) -> String {
    format!("{{p{partition:02x}}}")
}

/// The partition of a conversation.
#[must_use]
pub fn partition_of(conversation: &str) -> u16 {
    let checksum = !conversation.bytes().fold(!0, crc32_step);
    u16::try_from(checksum % u32::from(PARTITIONS)).expect("less than there are partitions")
}

/// CRC-32 as in zip, one byte further.
fn crc32_step(crc: u32, byte: u8) -> u32 {
    (0..8).fold(crc ^ u32::from(byte), |crc, _| {
        let carry = crc & 1;
        (crc >> 1) ^ (carry * 0xEDB8_8320)
    })
}

/// How a Redis server is to be started.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    kind: Kind,
    persistence: Persistence,
    config: Vec<String>,
    acl: Option<String>,
    tls: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Server,
    Sentinel,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Persistence {
    #[default]
    EverySecond,
    Always,
    None,
}

impl Setup {
    /// Keeps nothing on the disk.
    #[must_use]
    pub fn no_persistence(mut self) -> Self {
        self.persistence = Persistence::None;
        self
    }

    /// Writes the append-only file through to the disk before each answer.
    #[must_use]
    pub fn appendfsync_always(mut self) -> Self {
        self.persistence = Persistence::Always;
        self
    }

    /// One more line of `redis.conf`; a later line wins.
    #[must_use]
    pub fn config(mut self, line: &str) -> Self {
        self.config.push(line.to_owned());
        self
    }

    /// With the users of this ACL file, and one for the test kit itself.
    #[must_use]
    pub fn aclfile(mut self, path: &Path) -> Self {
        let users = std::fs::read_to_string(path);
        let users = users.unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        self.acl = Some(users);
        self
    }

    /// Speaks TLS, with a certificate for 127.0.0.1 of an authority made for this server.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Starts it in a new directory and waits until it answers.
    #[must_use]
    pub fn start(self) -> Redis {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let give_up = Instant::now() + DEADLINE;
        loop {
            let free = || ports::free(&[Ipv4Addr::LOCALHOST]);
            let (port, tls_port) = (free(), self.tls.then(free));
            match self.launch(dir.path(), port, tls_port) {
                Ok(process) => {
                    return Redis {
                        process,
                        port,
                        tls_port,
                        setup: self,
                        dir,
                    };
                }
                Err(taken) => assert!(Instant::now() < give_up, "{taken}"),
            }
        }
    }

    fn launch(
        &self,
        dir: &Path,
        port: u16,
        tls_port: Option<u16>,
    ) -> Result<Process, StartFailure> {
        let data = dir.join("data");
        std::fs::create_dir_all(&data).expect("the directory is ours");
        let mut lines = vec![
            format!("port {port}"),
            "bind 127.0.0.1".to_owned(),
            format!("dir {}", data.display()),
        ];
        if self.kind == Kind::Server {
            self.push_server_lines(&mut lines);
        }
        if let Some(users) = &self.acl {
            let path = dir.join("users.acl");
            let users = format!("{}\n{}\n", users.trim_end(), Login::TestKit.acl_line());
            std::fs::write(&path, users).expect("the directory is ours");
            lines.push(format!("aclfile {}", path.display()));
        }
        if let Some(tls_port) = tls_port {
            lines.extend(tls::config(dir, tls_port));
        }
        lines.extend(self.config.iter().cloned());
        Process::start(dir, &lines, self.kind == Kind::Sentinel, port, self.login())
    }

    fn push_server_lines(&self, lines: &mut Vec<String>) {
        let persistence: &[&str] = match self.persistence {
            Persistence::EverySecond => &["appendonly yes", "appendfsync everysec"],
            Persistence::Always => &["appendonly yes", "appendfsync always"],
            Persistence::None => &["appendonly no"],
        };
        let usual = [
            "save \"\"",
            "stream-node-max-bytes 512",
            "maxmemory-policy noeviction",
            // Replicas of a test need not wait for others that could share a transfer.
            "repl-diskless-sync-delay 0",
        ];
        let all = persistence.iter().chain(&usual);
        lines.extend(all.map(|line| (*line).to_owned()));
    }

    fn login(&self) -> Login {
        match self.acl {
            Some(_) => Login::TestKit,
            None => Login::Default,
        }
    }
}

/// A Redis server; killed when dropped.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    port: u16,
    tls_port: Option<u16>,
    setup: Setup,
    dir: TempDir,
}

impl Redis {
    /// A server with settings of its own.
    #[must_use]
    pub fn setup() -> Setup {
        Setup::default()
    }

    /// A server alone, with an append-only file that is synced every second.
    #[must_use]
    pub fn start() -> Self {
        Setup::default().start()
    }

    /// `redis://…`, or `rediss://…` when it speaks TLS.
    #[must_use]
    pub fn url(&self) -> String {
        match self.tls_port {
            Some(port) => format!("rediss://127.0.0.1:{port}"),
            None => format!("redis://127.0.0.1:{}", self.port),
        }
    }

    /// The port without TLS.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the authority that vouches for a server with TLS.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        tls::ca_file(self.dir.path())
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Whether the process was started and not killed since.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.is_running()
    }

    // --- faults ---

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts again with the same port and directory; kills what still runs.
    pub fn restart(&mut self) {
        self.process.kill();
        let give_up = Instant::now() + DEADLINE;
        loop {
            let started = self.setup.launch(self.dir.path(), self.port, self.tls_port);
            match started {
                Ok(process) => {
                    self.process = process;
                    return;
                }
                Err(taken) => assert!(Instant::now() < give_up, "{taken}"),
            }
        }
    }

    /// Kills it, empties its directory and starts it again on the same port.
    pub fn wipe_and_restart(&mut self) {
        self.process.kill();
        let data = self.dir.path().join("data");
        std::fs::remove_dir_all(data).expect("the directory is ours");
        self.restart();
    }

    /// Stops the process where it stands, until [`Redis::resume`] or for this long.
    pub fn pause(&mut self, at_most: Duration) {
        self.process.pause(at_most);
    }

    /// Lets a paused process go on.
    pub fn resume(&mut self) {
        self.process.resume();
    }

    // --- questions ---

    /// A connection of one's own, for many commands in a row.
    #[must_use]
    pub fn connection(&self) -> Connection {
        let opened = Connection::open(self.port, self.setup.login());
        opened.unwrap_or_else(|error| panic!("redis on port {}: {error}", self.port))
    }

    /// Runs one command. Panics when Redis refuses it.
    pub fn cmd(&self, command: &[&str]) -> Value {
        self.connection().cmd(command)
    }

    /// A field of `INFO`.
    #[must_use]
    pub fn info(&self, field: &str) -> String {
        self.connection().info(field)
    }

    /// Whether the server answers, and has this field of `INFO` with this value.
    fn says(&self, field: &str, value: &str) -> bool {
        self.find_info(field).is_some_and(|found| found == value)
    }

    /// A field of `INFO`, if the server answers and has it.
    fn find_info(&self, field: &str) -> Option<String> {
        let connection = Connection::open(self.port, self.setup.login());
        connection.ok()?.find_info(field)
    }

    /// Processor time that the server has used so far.
    #[must_use]
    pub fn cpu_seconds(&self) -> f64 {
        let used = |field: &str| {
            self.info(field)
                .parse::<f64>()
                .expect("a number of seconds")
        };
        used("used_cpu_sys") + used("used_cpu_user")
    }

    /// Bytes that the server has allocated.
    #[must_use]
    pub fn memory_used(&self) -> u64 {
        self.info("used_memory").parse().expect("a number of bytes")
    }

    /// Opens every partition in epoch 0, so that ids begin at 1. Before gateways start.
    pub fn seed_first_epochs(&self) {
        seed(&mut self.connection(), 0..PARTITIONS);
    }

    /// Replaces the settings of the next start.
    fn reconfigure(&mut self, change: impl FnOnce(&mut Vec<String>)) {
        change(&mut self.setup.config);
    }
}

/// Opens these partitions of one primary in epoch 0.
fn seed(connection: &mut Connection, partitions: impl Iterator<Item = u16>) {
    let id = connection.info("run_id");
    let replication = connection.info("master_replid");
    let opened_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is past 1970")
        .as_millis();
    let epoch = format!("{}{} {opened_ms:013} 0", &id[..8], &replication[..8]);
    for partition in partitions {
        connection.cmd(&["SET", &format!("{}:e", tag(partition)), &epoch]);
    }
}

/// Waits for a condition that no event tells.
fn wait_until(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
    let give_up = Instant::now() + within;
    while !holds() {
        assert!(Instant::now() < give_up, "waited {within:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_follow_the_usual_crc32() {
        let checksum = !b"123456789".iter().copied().fold(!0, crc32_step);
        assert_eq!(checksum, 0xCBF4_3926);
        assert_eq!(partition_of("123456789"), 0x26);
    }
}
