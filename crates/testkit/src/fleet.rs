//! The gateways of a fault suite, and how much it does to them.
//!
//! Used by the suites of `tests` that break things while clients talk. `PARLANCE_FULL` in the
//! environment says that everything is done as often and as fast as is promised.

use std::{
    fmt,
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::{
    server::{Parlance, Setup},
    traffic::{Directory, Figures, Plan, Traffic, recording::Promise},
};

/// Gateways of a fleet.
pub const GATEWAYS: usize = 3;
/// A gateway's ring keeps 256 events of a conversation: what is lost must be less.
const LOST_PER_CONVERSATION: u64 = 150;
/// Between two looks at a metric.
const POLL: Duration = Duration::from_millis(100);

/// Whether everything is done as often and as fast as is promised.
fn full() -> bool {
    std::env::var_os("PARLANCE_FULL").is_some()
}

/// One number or the other.
#[must_use]
pub fn times(full_form: usize, short_form: usize) -> usize {
    if full() { full_form } else { short_form }
}

/// The load of a test; `name` begins the names of its conversations.
#[must_use]
pub fn plan(name: &str) -> Plan {
    Plan {
        name: format!("{name}-"),
        conversations: times(40, 8),
        sends_per_second: u32::try_from(times(2_000, 300)).expect("a few thousand"),
        changes: false,
        lively: false,
    }
}

/// As much talk as a gateway could restore.
#[must_use]
pub fn restorable(plan: &Plan) -> u64 {
    LOST_PER_CONVERSATION * plan.conversations as u64
}

/// About this long.
#[must_use]
pub fn seconds_of(plan: &Plan, seconds: f64) -> u64 {
    (f64::from(plan.sends_per_second) * seconds) as u64
}

/// Held by a test while it talks. In the full form two at a time would measure each other, and in
/// the short one more than two would only wait for each other.
#[derive(Debug)]
pub struct Turn;

static TALKING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// Waits for one.
#[must_use]
pub fn turn() -> Turn {
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
#[must_use]
pub fn unlimited() -> Setup {
    Parlance::setup()
        .set("limits.actions_per_second", "0")
        .set("limits.user_actions_per_second", "0")
        .set("limits.connections_per_user", "0")
        .set("drain.window", "1s")
        .set("drain.grace", "1s")
}

/// Gateways on one Redis.
#[derive(Debug)]
pub struct Fleet {
    gateways: Vec<Parlance>,
    setup: Setup,
    /// Where clients find them.
    pub directory: Directory,
}

impl Fleet {
    /// [`GATEWAYS`] with the usual settings.
    #[must_use]
    pub fn start(redis_url: &str) -> Self {
        Self::start_as(unlimited(), redis_url)
    }

    /// [`GATEWAYS`] with these settings.
    #[must_use]
    pub fn start_as(setup: Setup, redis_url: &str) -> Self {
        Self::of(GATEWAYS, &setup, redis_url)
    }

    /// So many, with these settings.
    #[must_use]
    pub fn of(count: usize, setup: &Setup, redis_url: &str) -> Self {
        let setup = setup.clone().gateway(redis_url);
        let start = |_| setup.clone().start();
        let gateways: Vec<Parlance> = (0..count).map(start).collect();
        let directory = Directory::new(gateways.iter().map(Parlance::address));
        Self {
            gateways,
            setup,
            directory,
        }
    }

    /// One more.
    pub fn add(&mut self) {
        let gateway = self.setup.clone().start();
        self.directory.join(self.gateways.len(), gateway.address());
        self.gateways.push(gateway);
    }

    /// A metric of each, over all its labels. All have to be up.
    #[must_use]
    pub fn metrics(&self, name: &str) -> Vec<f64> {
        let gateways = self.gateways.iter();
        gateways.map(|gateway| gateway.metric(name)).collect()
    }

    /// Waits until a metric of all of them is as it should be; how long that took.
    pub async fn until(
        &self,
        name: &str,
        within: Duration,
        is_right: impl Fn(&[f64]) -> bool,
    ) -> Duration {
        let began = Instant::now();
        loop {
            let values = self.metrics(name);
            if is_right(&values) {
                return began.elapsed();
            }
            assert!(
                began.elapsed() < within,
                "{name} is {values:?} after {within:?}"
            );
            sleep(POLL).await;
        }
    }

    /// One of them.
    #[must_use]
    pub fn gateway(&self, number: usize) -> &Parlance {
        &self.gateways[number]
    }

    /// `kill -9`
    pub fn kill(&mut self, number: usize) {
        self.gateways[number].kill();
        self.directory.leave(number);
    }

    /// SIGTERM; returns when the process has ended well.
    pub fn drain(&mut self, number: usize) {
        let gateway = &mut self.gateways[number];
        gateway.terminate();
        self.directory.leave(number);
        assert_eq!(gateway.wait_for_exit().code(), Some(0));
    }

    /// Starts it again, elsewhere.
    pub fn restart(&mut self, number: usize) {
        self.gateways[number].restart();
        let address = self.gateways[number].address();
        self.directory.join(number, address);
    }
}

/// How long it took until every client was acknowledged again, for a report.
#[derive(Debug, Default)]
pub struct Recoveries(Vec<Duration>);

impl Recoveries {
    /// Waits for that.
    pub async fn wait(&mut self, traffic: &mut Traffic) {
        self.0.push(traffic.flows_again().await);
    }
}

impl fmt::Display for Recoveries {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let worst = self.0.iter().max().copied().unwrap_or_default();
        let count = self.0.len();
        write!(formatter, "{count} recoveries, the slowest {worst:.1?}")
    }
}

/// Ends the talk, judges and reports it.
pub async fn finish(
    what: &str,
    traffic: Traffic,
    promise: Promise,
    recoveries: &Recoveries,
) -> Figures {
    let figures = traffic.finish(promise).await;
    crate::report(&format!(
        "{what}: {figures}; {recoveries}; 0 lost, doubled, reordered, missed or reused"
    ));
    figures
}
