//! The servers that are compared, as child processes: which there are, and how each is started.
//!
//! Every run gets a fresh one with a fresh Redis, and dropping it ends both. Limits of rate are out of
//! the way of the load; everything else is as a user has it: tokens are verified, names remembered,
//! metrics counted.

mod centrifugo;
mod floor;
mod gateway;
mod node;

use std::{
    any::Any,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;
use parlance_loadgen::{Target, Watched, dialect::Dialect, process};
use parlance_testkit::redis::Redis;
use serde::{Deserialize, Serialize};

pub(crate) use self::floor::frame_bytes;
use super::workloads::Crowd;

/// What reports call the process of a server's Redis.
pub(crate) const REDIS: &str = "redis";

/// What is compared.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// One `send()` per delivery, and nothing else.
    RawSend,
    /// One `send()` per member and turn, and nothing else.
    RawCoalesce,
    /// A gateway without a store, with one shard, and the Redis that is its log.
    Gateway,
    /// Two of them on one Redis; each room has members on both.
    TwoNodes,
    /// As [`Kind::Gateway`], not pinned.
    OneShard,
    /// The same with two shards.
    TwoShards,
    /// `parlance serve`: an acknowledged message is on the disk.
    Serve,
    /// `ws` and ioredis on Node.js.
    WsRedis,
    /// Socket.IO with the adapter for Redis streams on Node.js.
    SocketIo,
    /// Centrifugo with history in Redis.
    Centrifugo,
}

/// Where a server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// On a core of its own, with its Redis.
    Pinned,
    /// Where the system puts it, the generator too.
    Anywhere,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RawSend => "raw-send",
            Self::RawCoalesce => "raw-coalesce",
            Self::Gateway => "parlance",
            Self::TwoNodes => "parlance, two nodes",
            Self::OneShard => "parlance, one shard",
            Self::TwoShards => "parlance, two shards",
            Self::Serve => "parlance serve",
            Self::WsRedis => "ws + Redis",
            Self::SocketIo => "Socket.IO + streams",
            Self::Centrifugo => "Centrifugo + history",
        }
    }

    pub(crate) fn place(self) -> Place {
        match self {
            Self::OneShard | Self::TwoShards => Place::Anywhere,
            Self::RawSend
            | Self::RawCoalesce
            | Self::Gateway
            | Self::TwoNodes
            | Self::Serve
            | Self::WsRedis
            | Self::SocketIo
            | Self::Centrifugo => Place::Pinned,
        }
    }

    /// Whether what it gets wrong is our fault.
    pub(crate) fn is_ours(self) -> bool {
        match self {
            Self::RawSend
            | Self::RawCoalesce
            | Self::Gateway
            | Self::TwoNodes
            | Self::OneShard
            | Self::TwoShards
            | Self::Serve => true,
            Self::WsRedis | Self::SocketIo | Self::Centrifugo => false,
        }
    }
}

/// Peers that would belong here, and why they do not.
pub(crate) const NOT_HERE: [(&str, &str); 1] = [(
    "Sockudo",
    "its crate (5.2.0) did not build in a quarter of an hour on two cores, protoc and the types of \
     protobuf being there",
)];

/// Where the peers' programs are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Programs {
    /// A directory with the Node.js peers, their packages installed.
    pub(crate) node_peers: Option<PathBuf>,
    /// The program of Centrifugo.
    pub(crate) centrifugo: Option<PathBuf>,
}

impl Programs {
    /// Why a server cannot be started here; none if it can.
    pub(crate) fn lacks(&self, kind: Kind) -> Option<String> {
        match kind {
            Kind::WsRedis | Kind::SocketIo => match &self.node_peers {
                Some(directory) => node::lacks(directory),
                None => Some("the directory of the peers was not given".to_owned()),
            },
            Kind::Centrifugo if self.centrifugo.is_none() => {
                Some("CENTRIFUGO_BIN does not name its program".to_owned())
            }
            Kind::Centrifugo
            | Kind::RawSend
            | Kind::RawCoalesce
            | Kind::Gateway
            | Kind::TwoNodes
            | Kind::OneShard
            | Kind::TwoShards
            | Kind::Serve => None,
        }
    }
}

/// A running server. Dropping it ends it.
pub(crate) struct Server {
    addresses: Vec<SocketAddr>,
    dialect: Box<dyn Dialect>,
    processes: Vec<Watched>,
    /// What ends when this is dropped, in this order.
    alive: Vec<Box<dyn Any>>,
}

impl Server {
    /// Starts one that is ready for these members, on core `core` if it is pinned.
    pub(crate) fn start(
        kind: Kind,
        programs: &Programs,
        crowd: Crowd,
        core: usize,
    ) -> anyhow::Result<Self> {
        let server = match kind {
            Kind::RawSend => floor::start("send")?,
            Kind::RawCoalesce => floor::start("coalesce")?,
            Kind::Gateway | Kind::OneShard => gateway::on_redis(1, 1, crowd),
            Kind::TwoShards => gateway::on_redis(1, 2, crowd),
            Kind::TwoNodes => gateway::on_redis(2, 1, crowd),
            Kind::Serve => gateway::alone(crowd),
            Kind::WsRedis => node::ws_redis(programs, crowd)?,
            Kind::SocketIo => node::socket_io(programs, crowd)?,
            Kind::Centrifugo => centrifugo::start(programs, crowd)?,
        };
        if kind.place() == Place::Pinned {
            for watched in &server.processes {
                process::pin_process(watched.pid, core)?;
            }
        }
        Ok(server)
    }

    /// For the generator.
    pub(crate) fn target(&self) -> Target<'_> {
        let mut target = Target::new(self.addresses[0], &*self.dialect);
        target.more_addresses = self.addresses[1..].to_vec();
        target.watching(self.processes.iter().cloned())
    }
}

fn watched(label: &str, pid: u32) -> Watched {
    let label = label.to_owned();
    Watched { label, pid }
}

/// A child process that is killed when this is dropped.
struct Owned(Child);

impl Owned {
    /// Starts a program that prints its address when it serves.
    fn start(command: &mut Command) -> anyhow::Result<(Self, SocketAddr)> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut owned = Self(child.with_context(|| format!("starting {program}"))?);
        let stdout = owned.0.stdout.take().context("stdout was asked for")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().parse();
        let address =
            address.with_context(|| format!("{program} said {line:?}, not its address"))?;
        Ok((owned, address))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Keeps nothing on the disk.
fn fresh_redis() -> Redis {
    Redis::setup().no_persistence().start()
}

/// A program that was built with this one.
fn beside_this(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    anyhow::ensure!(
        Path::exists(&path),
        "{} is not there: build it with this package",
        path.display()
    );
    Ok(path)
}
