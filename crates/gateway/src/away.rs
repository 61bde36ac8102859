//! What a drain and a rebalance have in common: the others are told how this node stands, and asked how
//! many members they take.

use std::time::Duration;

use parlance_core::peers::{Grant, Load, Standing};
use tokio::time::timeout;

use crate::node::Node;

/// For the budget's answer. Without one in time, nobody can be asked.
const ANSWER: Duration = Duration::from_millis(500);

/// Tells the other nodes how this one stands.
pub(crate) fn tell(node: &Node, standing: Standing) {
    if let Some(peers) = &node.hooks.peers {
        peers.tell(Load {
            members: count(node.members()),
            accepts_per_second: node.config.limits.accepts_per_second,
            standing,
        });
    }
}

/// How many of `wanted` members the other nodes take now. `None`: nobody takes any, or nobody can be
/// asked.
pub(crate) async fn ask(node: &Node, wanted: usize) -> Option<Grant> {
    let peers = node.hooks.peers.as_ref()?;
    let answer = timeout(ANSWER, peers.take(count(wanted))).await;
    let grant = match answer {
        Ok(Ok(grant)) => grant,
        Ok(Err(error)) => {
            tracing::debug!(%error, "the budget of the other nodes cannot be asked");
            return None;
        }
        Err(_) => {
            tracing::debug!("the budget of the other nodes was not answered in {ANSWER:?}");
            return None;
        }
    };
    node.metrics.away_rate.set(f64::from(grant.per_second));
    node.metrics.away_granted.increment(grant.members.into());
    (grant.per_second > 0).then_some(grant)
}

fn count(members: usize) -> u32 {
    u32::try_from(members).unwrap_or(u32::MAX)
}
