//! HAProxy in front of gateways, with the part of a control plane that adds and takes away servers.
//!
//! Used by the harness of this module. Every gateway that will ever run has a server in the configuration
//! from the start, in maintenance; a runtime socket lets it in when it is ready and takes it out before it
//! ends, as controllers of clusters do. Health checks of `/readyz` run besides.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

use crate::{dial::DEADLINE, ports};

/// Where a gateway listens, once it runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub(super) listen: SocketAddr,
    pub(super) admin: SocketAddr,
}

/// What the proxy does with a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// It gets new connections.
    Ready,
    /// It keeps those that it has.
    Drain,
    /// It does not exist.
    Maintenance,
}

impl Service {
    fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maintenance => "maint",
        }
    }
}

/// A running HAProxy; killed when dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    child: Child,
    pub(super) address: SocketAddr,
    dir: TempDir,
}

/// As `show servers state` has it.
const RUNS: &str = "2";
const MAINTENANCE: u32 = 0x01;
const DRAIN: u32 = 0x08;

/// Files that it has open besides its connections, checks included.
const OTHER_FILES: u64 = 200;

impl Proxy {
    /// Descriptors that a proxy for so many connections needs: two for each.
    pub(super) fn files(connections: usize) -> u64 {
        2 * connections as u64 + OTHER_FILES
    }

    /// Starts one for so many connections at a time, and waits until it listens.
    pub(super) fn start(slots: &[Slot], connections: usize) -> anyhow::Result<Self> {
        let binary = binary()?;
        let dir = tempfile::tempdir().context("making a directory for HAProxy")?;
        let give_up = Instant::now() + DEADLINE;
        loop {
            let address =
                SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free(&[Ipv4Addr::LOCALHOST])));
            let config = config(slots, connections, address, &socket(dir.path()));
            let file = dir.path().join("haproxy.cfg");
            std::fs::write(&file, config).context("writing HAProxy's configuration")?;
            let log = File::create(dir.path().join("haproxy.log"))?;
            let mut child = Command::new(&binary)
                .args(["-db", "-f"])
                .arg(&file)
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn()
                .with_context(|| format!("starting {}", binary.display()))?;
            if listens(&mut child, address)? {
                return Ok(Self {
                    child,
                    address,
                    dir,
                });
            }
            // Its port may have been taken meanwhile.
            ensure!(
                Instant::now() < give_up,
                "HAProxy does not start: {}",
                std::fs::read_to_string(dir.path().join("haproxy.log")).unwrap_or_default()
            );
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sets what it does with the gateway of a slot, and waits until it does.
    pub(super) fn set(&self, slot: usize, service: Service) -> anyhow::Result<()> {
        let word = service.word();
        let said = self.command(&format!("set server gateways/g{slot} state {word}"))?;
        ensure!(said.trim().is_empty(), "HAProxy: {said}");
        let give_up = Instant::now() + DEADLINE;
        while !self.does(slot, service)? {
            ensure!(
                Instant::now() < give_up,
                "HAProxy does not make gateway {slot} {word}"
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn does(&self, slot: usize, service: Service) -> anyhow::Result<bool> {
        let states = self.command("show servers state gateways")?;
        let name = format!("g{slot}");
        for line in states.lines() {
            // Id and name of the backend; id, name and address of the server; operational state; what an
            // administrator asked for.
            let fields: Vec<&str> = line.split(' ').collect();
            let [_, _, _, named, _, operates, flags, ..] = fields[..] else {
                continue;
            };
            if named == name {
                let flags: u32 = flags
                    .parse()
                    .context("the flags of a server are a number")?;
                return Ok(match service {
                    Service::Ready => operates == RUNS && flags & (MAINTENANCE | DRAIN) == 0,
                    Service::Drain => flags & DRAIN != 0,
                    Service::Maintenance => flags & MAINTENANCE != 0,
                });
            }
        }
        bail!("HAProxy does not know gateway {slot}: {states}");
    }

    fn command(&self, command: &str) -> anyhow::Result<String> {
        let ask = || -> io::Result<String> {
            let mut stream = UnixStream::connect(socket(self.dir.path()))?;
            writeln!(stream, "{command}")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().with_context(|| format!("asking HAProxy to {command}"))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `HAPROXY_BIN`, or where packages put it.
fn binary() -> anyhow::Result<PathBuf> {
    let named = std::env::var_os("HAPROXY_BIN").map(PathBuf::from);
    let path = named.unwrap_or_else(|| "/usr/sbin/haproxy".into());
    ensure!(
        path.exists(),
        "there is no {}: install HAProxy (`.ci/tools` does), or name one in HAPROXY_BIN",
        path.display()
    );
    Ok(path)
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("haproxy.sock")
}

/// False if it ended instead.
fn listens(child: &mut Child, address: SocketAddr) -> anyhow::Result<bool> {
    let give_up = Instant::now() + DEADLINE;
    while TcpStream::connect(address).is_err() {
        if child.try_wait()?.is_some() {
            return Ok(false);
        }
        ensure!(
            Instant::now() < give_up,
            "HAProxy does not listen on {address}"
        );
        thread::sleep(Duration::from_millis(20));
    }
    Ok(true)
}

/// One thread: the machine is shared with gateways and clients. `timeout tunnel` is that of WebSockets, far
/// above the server's heartbeats. Checks have patience: who leaves is taken out before, and a machine that
/// is busy for a moment is no reason to send clients away.
fn config(slots: &[Slot], connections: usize, address: SocketAddr, socket: &Path) -> String {
    let mut config = format!(
        "global
    maxconn {connections}
    nbthread 1
    stats socket {} mode 600 level admin
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout http-request 10s
    timeout tunnel 1h
    timeout check 5s
    option redispatch
frontend door
    bind {address}
    default_backend gateways
backend gateways
    balance leastconn
    option httpchk GET /readyz
    http-check expect status 200
    default-server check inter 1s fall 3 rise 1
",
        socket.display()
    );
    for (number, slot) in slots.iter().enumerate() {
        let (listen, admin) = (slot.listen, slot.admin.port());
        config.push_str(&format!(
            "    server g{number} {listen} port {admin} disabled\n"
        ));
    }
    config
}
