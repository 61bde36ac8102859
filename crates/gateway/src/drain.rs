//! How a gateway leaves: one ordered list of steps, each with a deadline and a line in the log.
//!
//! From the first step on `/readyz` says no and the public listener answers 503 with `Retry-After`;
//! it stays open, because a client that is told to come back is better off than one whose
//! connection is reset. Members are sent away as fast as the other nodes take them, which a budget
//! that all nodes share says; without one, evenly over the window. Those of the extended layer come
//! first: they are asked to open their next connection elsewhere before they end this one. The others
//! are closed with 1012, as is who was asked and did not go. The window bounds it all: who is left
//! at its end is closed.

use std::{future::Future, ops::Range, thread, time::Duration};

use parlance_core::peers::Standing;
use parlance_protocol::ReconnectReason;
use tokio::{
    sync::oneshot,
    time::{Instant, interval, sleep, sleep_until, timeout},
};

use crate::{
    away,
    handover::{Census, SendAway, Terms},
    node::Node,
    pace::{Step, WindowPace},
};

/// Between two steps, by chance: who would always ask just behind another one would get nothing of a
/// budget.
const TICK_MS: Range<u64> = 150..350;
/// Whoever is asked or closed in a step comes back within this.
const SPREAD_MS: u64 = 250;
/// How long an extended member that was asked may take to go; half of the window if that is less.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at who is left.
const LOOK: Duration = Duration::from_millis(50);
/// Over how long those come back who are left at the end of the window: long enough for what the others
/// take, and short enough that nobody looks gone meanwhile.
const LAST_SPREAD_MS: Range<u64> = 1_400..4_000;
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
    away::tell(node, Standing::Leaving);
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
    let mut drain = Drain::begin(node, times.window);
    tokio::select! {
        biased;
        () = nobody_left(node) => return tracing::info!("draining: all have gone"),
        () = drain.step_by_step() => {}
    }
    let within_ms = drain.last_spread_ms();
    tracing::info!(
        members = node.members(),
        within_ms,
        "draining: the window is over, the rest is closed"
    );
    if timeout(times.grace, node.shards.close_all(within_ms))
        .await
        .is_err()
    {
        tracing::error!("draining: a shard does not take what it is told");
    }
    if timeout(times.grace, nobody_left(node)).await.is_err() {
        tracing::warn!(
            members = node.members(),
            "draining: some did not end in time"
        );
    }
}

async fn nobody_left(node: &Node) {
    let mut looks = interval(LOOK);
    while node.members() > 0 {
        looks.tick().await;
    }
}

/// The sending away.
struct Drain<'a> {
    node: &'a Node,
    terms: Terms,
    ends: Instant,
    pace: Pace,
    /// What the others took at the last answer.
    per_second: u32,
}

/// What says how many go at once.
#[derive(Debug, Clone, Copy)]
enum Pace {
    /// Nothing was asked yet.
    Unknown,
    /// The budget that all nodes share.
    Budget,
    /// What is left of the window, of which the last step was at `last`.
    Window {
        pace: WindowPace,
        begun: Instant,
        last: Instant,
    },
}

impl<'a> Drain<'a> {
    fn begin(node: &'a Node, window: Duration) -> Self {
        let patience = PATIENCE.min(window / 2);
        Self {
            node,
            terms: Terms {
                reason: ReconnectReason::Drain,
                patience_ms: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
            },
            ends: Instant::now() + window,
            pace: Pace::Unknown,
            per_second: 0,
        }
    }

    /// Takes one step after the other until the window is over.
    async fn step_by_step(&mut self) {
        let ends = self.ends;
        let steps = async {
            loop {
                self.step().await;
                sleep(Duration::from_millis(crate::random_in(TICK_MS))).await;
            }
        };
        tokio::select! {
            biased;
            () = sleep_until(ends) => {}
            () = steps => {}
        }
    }

    async fn step(&mut self) {
        let counts = self.node.shards.count(self.terms).await;
        let census = Census::sum(&counts);
        let wanted = census.askable + census.closable;
        if wanted == 0 {
            return;
        }
        away::tell(self.node, Standing::Leaving);
        let Step { ask, close } = match away::ask(self.node, wanted).await {
            Some(grant) => {
                self.goes_by_budget(grant.per_second, wanted);
                Step::granted(grant.members as usize, census)
            }
            None => self.step_of_window(census),
        };
        let away = SendAway {
            terms: self.terms,
            ask,
            close,
            within_ms: SPREAD_MS,
        };
        self.node.shards.send_away(away, &counts).await;
    }

    fn goes_by_budget(&mut self, per_second: u32, members: usize) {
        self.per_second = per_second;
        match self.pace {
            Pace::Budget => return,
            Pace::Unknown | Pace::Window { .. } => self.pace = Pace::Budget,
        }
        let needed =
            Duration::from_secs(1) * u32::try_from(members).unwrap_or(u32::MAX) / per_second;
        tracing::info!(per_second, ?needed, "draining: at the pace of the others");
        let left = self.ends.saturating_duration_since(Instant::now());
        if needed > left {
            tracing::warn!(
                members,
                per_second,
                ?needed,
                ?left,
                "draining: the others do not take all within the window; raise `drain.window`, or \
                 `limits.accepts_per_second` if they can take more"
            );
        }
    }

    fn step_of_window(&mut self, census: Census) -> Step {
        let now = Instant::now();
        let (pace, begun, last) = match self.pace {
            Pace::Window { pace, begun, last } => (pace, begun, last),
            Pace::Unknown | Pace::Budget => {
                let left = self.ends.saturating_duration_since(now);
                tracing::info!(
                    ?left,
                    "draining: no other node takes members, or none can be asked: evenly over the \
                     window"
                );
                (WindowPace::new(self.node.members(), left), now, now)
            }
        };
        let tick = (now - last).max(Duration::from_millis(TICK_MS.start));
        self.pace = Pace::Window {
            pace,
            begun,
            last: now,
        };
        pace.step(census, now - begun, tick)
    }

    /// So that who is left comes to the others no faster than they take them, if that can be.
    fn last_spread_ms(&self) -> u64 {
        let Range { start, end } = LAST_SPREAD_MS;
        let members = self.node.members() as u64;
        let needed = (members * 1_000).checked_div(self.per_second.into());
        needed.unwrap_or(start).clamp(start, end)
    }
}
