//! The peers on Node.js, from `benches/peers`.

use std::{path::Path, process::Command};

use anyhow::Context as _;
use parlance_loadgen::dialect::Dialect;

use super::{Owned, Programs, REDIS, Server, fresh_redis, watched};
use crate::compare::{
    dialects::{SECRET, SocketIo, Tokens, WsRedis},
    workloads::Crowd,
};

/// Why they cannot be started.
pub(super) fn lacks(directory: &Path) -> Option<String> {
    let version = Command::new("node").arg("--version").output();
    match version {
        Err(error) => return Some(format!("running node: {error}")),
        Ok(done) if !done.status.success() => return Some("node does not run".to_owned()),
        Ok(_) => {}
    }
    let packages = directory.join("node_modules");
    (!packages.is_dir()).then(|| "their packages are not installed: `npm ci` does it".to_owned())
}

pub(super) fn ws_redis(programs: &Programs, crowd: Crowd) -> anyhow::Result<Server> {
    let dialect = Box::new(WsRedis(Tokens::of_peer(crowd.rooms, crowd.members)));
    start(programs, "ws-redis.js", dialect)
}

pub(super) fn socket_io(programs: &Programs, crowd: Crowd) -> anyhow::Result<Server> {
    let dialect = Box::new(SocketIo(Tokens::of_peer(crowd.rooms, crowd.members)));
    start(programs, "socket-io.js", dialect)
}

fn start(programs: &Programs, file: &str, dialect: Box<dyn Dialect>) -> anyhow::Result<Server> {
    let directory = programs.node_peers.as_deref();
    let directory = directory.context("the directory of the peers was not given")?;
    let redis = fresh_redis();
    let mut command = Command::new("node");
    command
        .arg(directory.join(file))
        .env("NODE_ENV", "production")
        .env("TOKEN_SECRET", SECRET)
        .env("REDIS_URL", redis.url());
    let (child, address) = Owned::start(&mut command)?;
    Ok(Server {
        addresses: vec![address],
        dialect,
        processes: vec![watched("server", child.pid()), watched(REDIS, redis.pid())],
        alive: vec![Box::new(child), Box::new(redis)],
    })
}
