//! The gateways of a test, and how much it does to them.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

use parlance_testkit::{
    server::{Parlance, Setup},
    traffic::{Directory, Figures, Plan, Traffic, checker::Promise},
};

/// Gateways of a fleet.
pub(crate) const GATEWAYS: usize = 3;
/// A gateway's ring keeps 256 events of a conversation: what is lost must be less.
const LOST_PER_CONVERSATION: u64 = 150;

/// Whether everything is done as often and as fast as is promised.
fn full() -> bool {
    std::env::var_os("PARLANCE_FULL").is_some()
}

/// One number or the other.
pub(crate) fn times(full_form: usize, short_form: usize) -> usize {
    if full() { full_form } else { short_form }
}

/// The load of a test; `name` begins the names of its conversations.
pub(crate) fn plan(name: &str) -> Plan {
    Plan {
        name: format!("{name}-"),
        conversations: times(40, 8),
        sends_per_second: u32::try_from(times(2_000, 300)).unwrap(),
    }
}

/// As much talk as a gateway could restore.
pub(crate) fn restorable(plan: &Plan) -> u64 {
    LOST_PER_CONVERSATION * plan.conversations as u64
}

/// About this long.
pub(crate) fn seconds_of(plan: &Plan, seconds: f64) -> u64 {
    (f64::from(plan.sends_per_second) * seconds) as u64
}

/// Held by a test while it talks. In the full form two at a time would measure each other, and in
/// the short one more than two would only wait for each other.
pub(crate) struct Turn;

static TALKING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// Waits for one.
pub(crate) fn turn() -> Turn {
    let (talking, ended) = &TALKING;
    let at_once = times(1, 2);
    let talks = talking.lock().unwrap_or_else(PoisonError::into_inner);
    let talks = ended.wait_while(talks, |talks| *talks >= at_once);
    *talks.unwrap_or_else(PoisonError::into_inner) += 1;
    Turn
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (talking, ended) = &TALKING;
        *talking.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ended.notify_one();
    }
}

/// Settings for load and quick drains.
pub(crate) fn unlimited() -> Setup {
    Parlance::setup()
        .set("limits.actions_per_second", "0")
        .set("limits.user_actions_per_second", "0")
        .set("limits.connections_per_user", "0")
        .set("drain.window", "1s")
        .set("drain.grace", "1s")
}

/// Gateways on one Redis.
pub(crate) struct Fleet {
    gateways: Vec<Parlance>,
    pub(crate) directory: Directory,
}

impl Fleet {
    pub(crate) fn start(redis_url: &str) -> Self {
        Self::start_as(unlimited(), redis_url)
    }

    pub(crate) fn start_as(setup: Setup, redis_url: &str) -> Self {
        let start = |_| setup.clone().gateway(redis_url).start();
        let gateways: Vec<Parlance> = (0..GATEWAYS).map(start).collect();
        let directory = Directory::new(gateways.iter().map(Parlance::address));
        Self {
            gateways,
            directory,
        }
    }

    pub(crate) fn gateway(&self, number: usize) -> &Parlance {
        &self.gateways[number]
    }

    /// `kill -9`
    pub(crate) fn kill(&mut self, number: usize) {
        self.gateways[number].kill();
        self.directory.leave(number);
    }

    /// SIGTERM; returns when the process has ended well.
    pub(crate) fn drain(&mut self, number: usize) {
        let gateway = &mut self.gateways[number];
        gateway.terminate();
        self.directory.leave(number);
        assert_eq!(gateway.wait_for_exit().code(), Some(0));
    }

    pub(crate) fn restart(&mut self, number: usize) {
        self.gateways[number].restart();
        let address = self.gateways[number].address();
        self.directory.join(number, address);
    }
}

/// How long it took until every client was acknowledged again, for a report.
#[derive(Default)]
pub(crate) struct Recoveries(Vec<Duration>);

impl Recoveries {
    pub(crate) async fn wait(&mut self, traffic: &mut Traffic) {
        self.0.push(traffic.flows_again().await);
    }
}

/// Ends the talk, judges and reports it.
pub(crate) async fn finish(
    what: &str,
    traffic: Traffic,
    promise: Promise,
    recoveries: &Recoveries,
) -> Figures {
    let figures = traffic.finish(promise).await;
    let worst = recoveries.0.iter().max().copied().unwrap_or_default();
    parlance_testkit::report(&format!(
        "{what}: {figures}; {} recoveries, the slowest {worst:.1?}; 0 lost, doubled, reordered, \
         missed or reused",
        recoveries.0.len()
    ));
    figures
}
