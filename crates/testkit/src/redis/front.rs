//! Relays before all servers of a Redis, for one of its users.
//!
//! Used by tests that make the network to Redis bad. What servers and sentinels say of each other's
//! addresses is renamed on the way, so that whoever asks them stays behind the relays. The servers
//! themselves see each other without.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
};

use super::{Cluster, Pair, Redis};
use crate::relay::{Framing, Relay};

/// The relays; connections through them end when it is dropped.
#[derive(Debug)]
pub struct Front {
    data: Vec<Relay>,
    sentinels: Vec<Relay>,
}

impl Front {
    /// Before a watched pair.
    pub async fn before_pair(pair: &Pair) -> Self {
        let front = Self {
            data: relays(pair.servers()).await,
            sentinels: relays(pair.sentinels()).await,
        };
        front.rename(pair.servers().iter().chain(pair.sentinels()));
        front
    }

    /// Before a cluster.
    pub async fn before_cluster(cluster: &Cluster) -> Self {
        let front = Self {
            data: relays(cluster.nodes()).await,
            sentinels: Vec::new(),
        };
        front.rename(cluster.nodes().iter());
        front
    }

    /// In the place of the same URL of what stands behind.
    #[must_use]
    pub fn url(&self) -> String {
        let list = |relays: &[Relay]| {
            let addresses: Vec<String> = relays
                .iter()
                .map(|relay| relay.address().to_string())
                .collect();
            addresses.join(",")
        };
        match self.sentinels.is_empty() {
            true => format!("redis+cluster://{}", list(&self.data)),
            false => format!(
                "redis+sentinel://{}/{}",
                list(&self.sentinels),
                super::sentinel::MASTER
            ),
        }
    }

    /// Those before servers with data.
    #[must_use]
    pub fn relays(&self) -> &[Relay] {
        &self.data
    }

    fn rename<'a>(&'a self, servers: impl Iterator<Item = &'a Redis>) {
        let all = || self.data.iter().chain(&self.sentinels);
        let ports = servers.map(Redis::port);
        let relayed = all().map(|relay| relay.address().port());
        let renames: HashMap<u16, u16> = ports.zip(relayed).collect();
        for relay in all() {
            relay.rename(renames.clone());
        }
    }
}

async fn relays(servers: &[Redis]) -> Vec<Relay> {
    let mut relays = Vec::new();
    for server in servers {
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
        relays.push(Relay::to(Framing::Resp, target).await);
    }
    relays
}
