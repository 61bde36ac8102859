//! Ports for servers that come back on the port that they had.
//!
//! Not port 0: the system then gives a port of the range from which it also serves connections that
//! go out. While the server is down, somebody's connection may take it, or a client that tries to
//! reconnect may even reach itself. So these lie below that range, by chance and tested to be free;
//! whoever loses a race against another test starts again on another one.

use std::{
    hash::{BuildHasher, RandomState},
    net::{Ipv4Addr, TcpListener},
    ops::Range,
};

/// Below the system's ephemeral range, and so is the bus of a cluster's node.
const PORTS: Range<u16> = 10_000..22_000;
/// A cluster's node listens this much higher, too.
const BUS_OFFSET: u16 = 10_000;

/// A port that is free on all these hosts, and so is the one for the bus of a cluster's node.
#[must_use]
pub fn free(hosts: &[Ipv4Addr]) -> u16 {
    let free = |port: u16| {
        hosts
            .iter()
            .all(|host| TcpListener::bind((*host, port)).is_ok())
    };
    let mut attempts = 0..1_000;
    attempts
        .find_map(|_| Some(any()).filter(|port| free(*port) && free(port + BUS_OFFSET)))
        .expect("loopback has a free port")
}

fn any() -> u16 {
    let random = RandomState::new().hash_one(());
    let within = u64::from(PORTS.end - PORTS.start);
    PORTS.start + u16::try_from(random % within).expect("less than the range is wide")
}
