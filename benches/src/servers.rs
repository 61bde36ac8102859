//! The servers that are compared, as child processes.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;
use parlance_loadgen::{
    Watched,
    dialect::{Dialect, Seat},
    parlance::{self as loadgen, Layer},
};
use parlance_testkit::{redis::Redis, server::Parlance, tokens::Claims};

use crate::floor::Floor;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only `send()`.
    Floor,
    /// The gateway as it is used: an acknowledged message is on the disk.
    Synced,
    /// The same with the disk's synchronisation switched off, to see the gateway alone.
    Unsynced,
    /// A gateway without a store, and the Redis that is its log; nothing is kept on the disk.
    OnRedis,
}

impl Kind {
    /// The floor first: the others are compared with it.
    pub(crate) const ALL: [Self; 4] = [Self::Floor, Self::Synced, Self::Unsynced, Self::OnRedis];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "raw send()",
            Self::Synced => "parlance, fsynced",
            Self::Unsynced => "parlance, not synced",
            Self::OnRedis => "gateway and Redis",
        }
    }
}

/// A running server. Dropping it ends it.
pub(crate) enum Server {
    Floor { child: Child, address: SocketAddr },
    Gateway(Box<Parlance>, Option<Box<Redis>>),
}

impl Server {
    /// Starts one. Rates are raised out of the way of the load.
    pub(crate) fn start(kind: Kind) -> anyhow::Result<Self> {
        let setup = Parlance::setup()
            .set("shards", "1")
            .set("limits.actions_per_second", "0")
            .set("limits.user_actions_per_second", "0");
        let (setup, redis) = match kind {
            Kind::Floor => return start_floor(),
            Kind::Synced => (setup.set("log.sync", "true"), None),
            Kind::Unsynced => (setup.set("log.sync", "false"), None),
            Kind::OnRedis => {
                let redis = Redis::setup().no_persistence().start();
                (setup.gateway(&redis.url()), Some(Box::new(redis)))
            }
        };
        Ok(Self::Gateway(Box::new(setup.start()), redis))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Floor { address, .. } => *address,
            Self::Gateway(gateway, _) => gateway.address(),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        match self {
            Self::Floor { child, .. } => child.id(),
            Self::Gateway(gateway, _) => gateway.pid(),
        }
    }

    /// The process, and after it that of its Redis, if it has one.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let redis = match self {
            Self::Floor { .. } | Self::Gateway(_, None) => None,
            Self::Gateway(_, Some(redis)) => Some(redis.pid()),
        };
        std::iter::once(self.pid()).chain(redis).collect()
    }

    /// Who is loaded, and how it is spoken to.
    pub(crate) fn dialect(&self) -> Box<dyn Dialect + '_> {
        match self {
            Self::Floor { .. } => Box::new(Floor),
            Self::Gateway(gateway, _) => {
                let path = |Seat { room, member }: Seat| {
                    let token = gateway.mint(&Claims::of(&format!("user-{room}-{member}")));
                    format!("/conversations/room-{room}/?token={token}")
                };
                Box::new(loadgen::Parlance::new(Layer::Extended, "bench", path))
            }
        }
    }

    /// Its processes, as reports name them.
    pub(crate) fn watched(&self) -> impl Iterator<Item = Watched> {
        let labels = ["server", "redis"].into_iter();
        labels.zip(self.pids()).map(|(label, pid)| Watched {
            label: label.to_owned(),
            pid,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Self::Floor { child, .. } = self {
            // Already gone is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn start_floor() -> anyhow::Result<Server> {
    let program = std::env::current_exe()?.with_file_name("raw");
    let mut child = Command::new(&program)
        .arg("send")
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}: build it with this package", program.display()))?;
    let stdout = child.stdout.take().context("stdout was asked for")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let address = line
        .trim()
        .parse()
        .with_context(|| format!("the floor said {line:?}"))?;
    Ok(Server::Floor { child, address })
}
