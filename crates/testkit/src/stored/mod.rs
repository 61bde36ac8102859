//! Whether everybody reads the same in the end: through gateways, and straight from the store.
//!
//! Used by the suites that break what stands behind gateways. It compares with a recording's history,
//! which the checker of the traffic has judged before.

mod rows;

use std::net::SocketAddr;

use tokio::task::JoinSet;

pub use self::rows::check as check_rows;
use crate::{
    redis::{self, Cluster, PARTITIONS, Redis, resp::Connection},
    traffic::{
        history::{insist, page_through, replay},
        recording::{Conversation, Recording, Told},
    },
};

/// Panics unless everybody is told what the recording's history has: paged, and in a replay from the
/// beginning. Gives how many readings there were.
pub async fn check_readings(recording: &Recording, gateways: &[SocketAddr]) -> usize {
    let mut readers = JoinSet::new();
    for address in gateways.iter().copied() {
        let conversations = recording.conversations.clone();
        readers.spawn(async move {
            for conversation in conversations {
                let Conversation { name, history, .. } = conversation;
                let paged = insist(&name, || page_through(address, &name)).await;
                assert_eq!(shown(&paged), shown(&history), "paged, {name}");
                let told = insist(&name, || replay(address, &name)).await;
                assert_eq!(shown(&told), shown(&history), "replayed, {name}");
            }
        });
    }
    while let Some(read) = readers.join_next().await {
        if let Err(ended) = read {
            std::panic::resume_unwind(ended.into_panic());
        }
    }
    recording.conversations.len() * gateways.len() * 2
}

fn shown(told: &[Told]) -> Vec<rows::Shown> {
    told.iter().map(rows::shown).collect()
}

/// Entries that wait to be stored.
#[must_use]
pub fn waiting(redis: &Redis) -> i64 {
    waiting_of(&mut redis.connection(), 0..PARTITIONS)
}

/// The same of a cluster.
#[must_use]
pub fn waiting_in(cluster: &Cluster) -> i64 {
    let masters = cluster.masters_of_partitions();
    let nodes = masters.into_iter().map(|(node, partitions)| {
        let mut connection = cluster.nodes()[node].connection();
        waiting_of(&mut connection, partitions.into_iter())
    });
    nodes.sum()
}

fn waiting_of(connection: &mut Connection, partitions: impl Iterator<Item = u16>) -> i64 {
    let length = |partition| {
        let ingest = format!("{}:in", redis::tag(partition));
        connection.cmd(&["XLEN", &ingest]).integer()
    };
    partitions.map(length).sum()
}
