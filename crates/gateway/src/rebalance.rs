//! What a gateway does about having more than its share, for as long as it serves: after a scale-up the
//! old nodes have everybody, and connections that live for hours do not spread by themselves.
//!
//! It also tells the other nodes how this one stands, since they judge by that. When and how many
//! members go is the [`Balance`]'s to say, who goes the shards', and how many the others take the
//! budget's. It ends when the drain begins, which sends away everybody.

use std::{ops::Range, sync::Arc, time::Duration};

use parlance_core::peers::{Peers, Standing};
use parlance_protocol::ReconnectReason;
use tokio::time::sleep;

use crate::{
    admin, away,
    balance::{Balance, Excess, Ready, Verdict},
    handover::{Census, SendAway, Terms},
    node::Node,
    pace::Step,
};

/// Between two looks, by chance, as between those of a drain.
const TICK_MS: Range<u64> = 750..1_250;
/// Whoever is asked or closed in a step comes back within this.
const SPREAD_MS: u64 = 500;
/// Who was asked and is still here is not asked again for so long, and counts as gone.
const PATIENCE_MS: u64 = 30_000;
const TERMS: Terms = Terms {
    reason: ReconnectReason::Rebalance,
    patience_ms: PATIENCE_MS,
};

/// Until the node leaves. Where there are no others to know of, it ends at once.
pub(crate) async fn run(node: Arc<Node>) {
    let Some(peers) = node.hooks.peers.clone() else {
        return;
    };
    let mut balance = Balance::default();
    while !node.is_draining() {
        let standing = look(&node, &*peers, &mut balance).await;
        let is_shedding = standing == Standing::Shedding;
        node.metrics.shedding.set(f64::from(u8::from(is_shedding)));
        // The drain may have begun meanwhile. It tells the others by itself.
        if !node.is_draining() {
            away::tell(&node, standing);
        }
        sleep(Duration::from_millis(crate::random_in(TICK_MS))).await;
    }
    node.metrics.shedding.set(0.0);
}

/// Compares this node with the others, and does what follows from it.
async fn look(node: &Node, peers: &dyn Peers, balance: &mut Balance) -> Standing {
    let is_ready = admin::of_gateway(node).is_ready();
    let members = node.members() as u64;
    let view = peers.view();
    let ready = view.as_ref().map(|view| Ready::with(members, view));
    let look = view.map_or(0, |view| view.look);
    let comparable = ready.filter(|_| is_ready);
    show(node, comparable.as_ref());
    let verdict = balance.judge(now_ms(node), look, members, comparable.as_ref());
    let goes_on = match (verdict, comparable) {
        (Verdict::Begin, Some(ready)) => {
            let (mean, nodes) = (ready.mean(), ready.nodes);
            tracing::info!(
                members,
                mean,
                nodes,
                "rebalancing: begins, down to the mean"
            );
            shed(node, balance, ready.mean()).await
        }
        (Verdict::GoOn, Some(ready)) => shed(node, balance, ready.mean()).await,
        (Verdict::BreakOff, _) => {
            tracing::info!(
                members,
                "rebalancing: broken off, a node leaves or is not ready"
            );
            false
        }
        (Verdict::Stay | Verdict::Begin | Verdict::GoOn, _) => false,
    };
    match (is_ready, goes_on) {
        (false, _) => Standing::Unready,
        (true, false) => Standing::Ready,
        (true, true) => Standing::Shedding,
    }
}

/// Sends away what the balance and the others allow. Whether it goes on.
async fn shed(node: &Node, balance: &mut Balance, mean: u64) -> bool {
    let counts = node.shards.count(TERMS).await;
    let census = Census::sum(&counts);
    let members = (census.askable + census.closable) as u64;
    let excess = match balance.excess(now_ms(node), members, mean) {
        Excess::Some(0) => return true,
        Excess::Some(excess) => usize::try_from(excess).unwrap_or(usize::MAX),
        Excess::Gone => {
            tracing::info!(members, mean, "rebalancing: done, at the mean");
            return false;
        }
        Excess::Returned => {
            tracing::warn!(
                members,
                mean,
                "rebalancing: given up for a while: as many came back as were sent away; check that \
                 the balancer sends new connections to the node with the fewest"
            );
            return false;
        }
    };
    let Some(grant) = away::ask(node, excess).await else {
        return true;
    };
    let Step { ask, close } = Step::granted(excess.min(grant.members as usize), census);
    let away = SendAway {
        terms: TERMS,
        ask,
        close,
        within_ms: SPREAD_MS,
    };
    node.shards.send_away(away, &counts).await;
    balance.sent((ask + close) as u64);
    true
}

fn show(node: &Node, ready: Option<&Ready>) {
    let (nodes, mean) = ready.map_or((0, 0), |ready| (ready.nodes, ready.mean()));
    node.metrics.ready_gateways.set(nodes as f64);
    node.metrics.mean_connections.set(mean as f64);
}

fn now_ms(node: &Node) -> u64 {
    node.clock.now().mono.0
}
