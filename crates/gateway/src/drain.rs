//! How a gateway leaves: one ordered list of steps, each with a deadline and a line in the log.
//!
//! From the first step on `/readyz` says no and the public listener answers 503 with `Retry-After`;
//! it stays open, because a client that is told to come back is better off than one whose
//! connection is reset. Clients of the extended layer are asked to open their next connection
//! elsewhere before they close this one; then everybody who is left is closed with 1012, a few at a
//! time, so that the other nodes are not met by all at once. The window bounds both; a node with
//! few clients needs less of it, one without none.

use std::{future::Future, num::NonZeroU32, thread, time::Duration};

use parlance_core::room::retry_after_reason;
use parlance_protocol::CloseCode;
use tokio::{
    sync::oneshot,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::node::Node;

/// Between two rounds of closes, and between two looks at who is left.
const ROUND: Duration = Duration::from_millis(50);
/// A node with fewer clients than fill the window sends away so many in a second.
const CLIENTS_PER_SECOND: u32 = 100;
/// So much time is left in any case for clients that open their next connection first.
const SHORTEST: Duration = Duration::from_secs(2);
/// What a closed client waits before it comes to another node: by chance, within this range.
const RETRY_AFTER_MS: std::ops::Range<u64> = 100..1_500;
/// For the shards' threads to end.
const STOP: Duration = Duration::from_secs(5);
/// For the goodbye to the other nodes. They notice by themselves, only later.
const LEAVE: Duration = Duration::from_secs(2);

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut without a close handshake.
    pub cut: usize,
}

/// Sends all members away, until `at_once` completes at the latest, and ends the shards.
pub(crate) async fn run(node: &Node, at_once: impl Future<Output = ()>) -> Drained {
    node.begin_draining();
    tracing::info!(
        members = node.members(),
        "draining: not ready, nobody is let in"
    );
    tokio::select! {
        biased;
        () = at_once => tracing::info!("draining: cut short"),
        () = send_away(node) => {}
    }
    let cut = node.members();
    if timeout(STOP, node.shards.stop()).await.is_err() {
        tracing::error!("draining: a shard did not end in {STOP:?}");
    }
    leave(node).await;
    tracing::info!(cut, "draining: done");
    Drained { cut }
}

/// On a thread of its own: one of the runtime's would keep the process until it returns.
async fn leave(node: &Node) {
    let Some(leave) = node.hooks.leave.clone() else {
        return;
    };
    let (left, has_left) = oneshot::channel();
    let spawned = thread::Builder::new().name("leave".into()).spawn(move || {
        leave();
        // The deadline may have passed.
        let _ = left.send(());
    });
    match spawned {
        Ok(_) => match timeout(LEAVE, has_left).await {
            Ok(Ok(())) => tracing::info!("draining: the other nodes were told"),
            Ok(Err(_)) => tracing::error!("draining: telling the other nodes failed"),
            Err(_) => tracing::error!("draining: the other nodes were not told in {LEAVE:?}"),
        },
        Err(error) => tracing::error!(%error, "draining: the other nodes cannot be told"),
    }
}

async fn send_away(node: &Node) {
    let times = node.config.drain;
    let span = span(node.members(), times.window);
    let begin = Instant::now();
    tokio::select! {
        biased;
        () = nobody_left(node) => return,
        done = timeout(span + times.grace, in_order(node, begin, span)) => match done {
            Ok(()) => tracing::info!(members = node.members(), "draining: all are told"),
            Err(_) => tracing::error!("draining: a shard does not take what it is told"),
        },
    }
    if timeout(times.grace, nobody_left(node)).await.is_err() {
        tracing::warn!(
            members = node.members(),
            "draining: some did not end in time"
        );
    }
}

/// The asking takes the first half of the span, the closing the second.
async fn in_order(node: &Node, begin: Instant, span: Duration) {
    let half = span / 2;
    let within_ms = u64::try_from(half.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(
        within_ms,
        "draining: extended clients are asked to reconnect elsewhere"
    );
    node.shards.drain(within_ms).await;
    tokio::time::sleep_until(begin + half).await;
    tracing::info!(members = node.members(), "draining: closing the others");
    close_paced(node, half).await;
}

/// Closes one in `n` of the members, then one in `n - 1` of the rest, and so on: the same number
/// each time.
async fn close_paced(node: &Node, span: Duration) {
    let rounds = u32::try_from(span.as_millis() / ROUND.as_millis()).unwrap_or(u32::MAX);
    let mut ticks = interval(ROUND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for one_in in (1..=rounds.max(1)).rev().filter_map(NonZeroU32::new) {
        ticks.tick().await;
        let reason = retry_after_reason(crate::random_in(RETRY_AFTER_MS)).into();
        let code = CloseCode::NodeLeaving;
        node.shards.close_part(one_in, code, &reason).await;
    }
}

async fn nobody_left(node: &Node) {
    let mut looks = interval(ROUND);
    while node.members() > 0 {
        looks.tick().await;
    }
}

/// How much of the window so many members need.
fn span(members: usize, window: Duration) -> Duration {
    let members = u32::try_from(members).unwrap_or(u32::MAX);
    let needed = Duration::from_secs(1) * members / CLIENTS_PER_SECOND;
    needed.max(SHORTEST).min(window)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_members_get_the_window_and_few_only_what_they_need() {
        let window = Duration::from_secs(30);
        assert_eq!(span(1, window), SHORTEST);
        assert_eq!(span(1_000, window), Duration::from_secs(10));
        assert_eq!(span(usize::MAX, window), window);
        assert_eq!(span(10, Duration::ZERO), Duration::ZERO);
    }
}
