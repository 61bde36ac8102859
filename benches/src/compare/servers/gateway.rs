//! Our own server, by the kit that tests start it with.

use std::any::Any;

use parlance_loadgen::parlance::{Layer, Parlance as Speaks};
use parlance_testkit::server::{Parlance, Setup};

use super::{REDIS, Server, fresh_redis, watched};
use crate::compare::{
    dialects::{Tokens, room},
    workloads::Crowd,
};

/// `nodes` gateways with so many shards, on one Redis.
pub(super) fn on_redis(nodes: usize, shards: usize, crowd: Crowd) -> Server {
    let redis = fresh_redis();
    let start = |_| setup(shards).gateway(&redis.url()).start();
    let gateways: Vec<Parlance> = (0..nodes).map(start).collect();
    let mut server = speaking(gateways, crowd);
    server.processes.push(watched(REDIS, redis.pid()));
    server.alive.push(Box::new(redis));
    server
}

/// `serve`, which syncs before it acknowledges.
pub(super) fn alone(crowd: Crowd) -> Server {
    speaking(vec![setup(1).set("log.sync", "true").start()], crowd)
}

fn setup(shards: usize) -> Setup {
    Parlance::setup()
        .set("shards", &shards.to_string())
        .set("limits.actions_per_second", "0")
        .set("limits.user_actions_per_second", "0")
}

fn speaking(nodes: Vec<Parlance>, crowd: Crowd) -> Server {
    let tokens = Tokens::sign(crowd.rooms, crowd.members, |claims| nodes[0].mint(claims));
    let path = move |seat| format!("/conversations/{}/?token={}", room(seat), tokens.of(seat));
    Server {
        addresses: nodes.iter().map(Parlance::address).collect(),
        dialect: Box::new(Speaks::new(Layer::Extended, "bench", path)),
        processes: nodes
            .iter()
            .map(|node| watched("server", node.pid()))
            .collect(),
        alive: nodes
            .into_iter()
            .map(|node| Box::new(node) as Box<dyn Any>)
            .collect(),
    }
}
