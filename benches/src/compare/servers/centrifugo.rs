//! Centrifugo with the Redis engine and a history that a client can recover from, which is what comes
//! nearest to a log: a publish is answered when Redis has it in the channel's stream.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use parlance_testkit::{ports, redis::Redis};
use serde_json::json;

use super::{Owned, Programs, REDIS, Server, fresh_redis, watched};
use crate::compare::{
    dialects::{Centrifugo, SECRET, Tokens},
    workloads::Crowd,
};

const START: Duration = Duration::from_secs(15);

pub(super) fn start(programs: &Programs, crowd: Crowd) -> anyhow::Result<Server> {
    let program = programs.centrifugo.as_deref();
    let program = program.context("CENTRIFUGO_BIN does not name its program")?;
    let redis = fresh_redis();
    let directory = tempfile::tempdir()?;
    let port = ports::free(&[Ipv4Addr::LOCALHOST]);
    let settings = directory.path().join("config.json");
    std::fs::write(&settings, config(port, &redis).to_string())?;
    let child = Command::new(program)
        .arg("--config")
        .arg(&settings)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let child = child.with_context(|| format!("starting {}", program.display()))?;
    let mut child = Owned(child);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    wait_for(&mut child, address)?;
    Ok(Server {
        addresses: vec![address],
        dialect: Box::new(Centrifugo(Tokens::of_peer(crowd.rooms, crowd.members))),
        processes: vec![watched("server", child.pid()), watched(REDIS, redis.pid())],
        alive: vec![Box::new(child), Box::new(redis), Box::new(directory)],
    })
}

/// As from its sixth version on.
fn config(port: u16, redis: &Redis) -> serde_json::Value {
    json!({
        "http_server": {"address": "127.0.0.1", "port": port},
        "log": {"level": "error"},
        "client": {"token": {"hmac_secret_key": SECRET}},
        "channel": {"without_namespace": {
            "allow_subscribe_for_client": true,
            "allow_publish_for_subscriber": true,
            "history_size": 1_000,
            "history_ttl": "300s",
            "force_recovery": true,
        }},
        "engine": {"type": "redis", "redis": {"address": redis.url()}},
    })
}

/// It does not say when it serves.
fn wait_for(child: &mut Owned, address: SocketAddr) -> anyhow::Result<()> {
    let give_up = Instant::now() + START;
    while TcpStream::connect(address).is_err() {
        if let Some(status) = child.0.try_wait()? {
            bail!("it ended with {status} instead of serving: is it version 6?");
        }
        if Instant::now() > give_up {
            bail!("nothing listened on {address} within {START:?}");
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
