//! Redis broken in ways that no promise covers, and what gateways are asked beyond a conversation: to
//! be there again soon, and to use no more than before.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parlance_checker::Invariant;
use parlance_testkit::{
    dial::DEADLINE,
    fleet::{Fleet, turn, unlimited},
    redis::{Pair, Redis, partition_of, tag},
    server::Parlance,
    traffic::{Plan, Traffic, recording::Promise},
};
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    GATEWAYS, TALK, judge,
    liar::{Liars, Lie},
    lies, plan,
};

/// So many were said when the conversation is broken.
const SOME: u64 = 200;
/// More than clients take to be back after a cut.
const SOON: Duration = Duration::from_secs(1);
/// Connections that are not closed.
const KEPT: usize = 60;

/// A Redis of one's own, and gateways on it.
fn stage() -> (Redis, Fleet) {
    let redis = Redis::start();
    redis.seed_first_epochs();
    let fleet = Fleet::of(GATEWAYS, &unlimited(), &redis.url());
    (redis, fleet)
}

/// Acknowledgements that get lost on their way.
struct Losses {
    are: Arc<AtomicBool>,
    lost: Arc<Semaphore>,
}

impl Losses {
    fn none() -> Self {
        Self {
            are: Arc::default(),
            lost: Arc::new(Semaphore::new(0)),
        }
    }

    fn lie(&self) -> Lie {
        lies::loses_acknowledgements(self.are.clone(), self.lost.clone())
    }

    /// Returns when so many are lost.
    async fn begin(&self, count: u32) {
        self.are.store(true, Ordering::SeqCst);
        let lost = self.lost.acquire_many(count);
        drop(timeout(DEADLINE, lost).await.unwrap().unwrap());
    }

    fn end(&self) {
        self.are.store(false, Ordering::SeqCst);
    }
}

/// Conversations of a plan with their partitions' tags.
fn conversations(plan: &Plan) -> Vec<(String, String)> {
    let names = (0..plan.conversations).map(|number| format!("{}c{number}", plan.name));
    let tagged = |name: String| (tag(partition_of(&name)), name);
    names.map(tagged).collect()
}

/// Talks through a lie on a Redis that loses everything meanwhile, as may happen.
async fn expose_wiped(bug: &str, lie: Lie, expected: &[Invariant]) {
    let _turn = turn();
    let (mut redis, fleet) = stage();
    let began = Instant::now();
    let liars = Liars::before(&fleet.directory, lie).await;
    let mut traffic = Traffic::start(&plan(bug), &liars.directory).await;
    traffic.until_acknowledged(SOME).await;
    tokio::task::block_in_place(|| redis.wipe_and_restart());
    traffic.flows_again().await;
    judge(bug, traffic, Promise::TailMayBeLost, began, expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_do_not_hear_of_a_loss() {
    let bug = "clients do not hear of a loss";
    expose_wiped(bug, lies::hides_losses(), &[Invariant::HistoryIsLive]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_only_acknowledged_is_announced_as_stored() {
    let bug = "what is only acknowledged is announced as stored";
    expose_wiped(bug, lies::announces_as_stored(), &[Invariant::StoredIsTrue]).await;
}

/// Cuts clients before they hear what became of their sends, and forgets names meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_forgotten_before_retries() {
    let (_turn, bug) = (turn(), "names are forgotten before retries");
    let (redis, fleet) = stage();
    let began = Instant::now();
    let losses = Losses::none();
    let lie = losses.lie();
    let liars = Liars::before(&fleet.directory, lie).await;
    let plan = plan(bug);
    let mut traffic = Traffic::start(&plan, &liars.directory).await;
    traffic.until_acknowledged(SOME).await;
    losses.begin(50).await;
    for (tag, conversation) in conversations(&plan) {
        let names = redis.cmd(&["KEYS", &format!("{tag}:d:*:{conversation}")]);
        for name in names.list() {
            redis.cmd(&["DEL", &name.text()]);
        }
    }
    liars.cut();
    losses.end();
    traffic.until_acknowledged(SOME).await;
    let expected = [Invariant::ExactlyOnce];
    judge(bug, traffic, Promise::NothingLost, began, &expected).await;
}

/// An old one: more was said since than gateways keep in memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_of_the_log_is_overwritten_by_the_next() {
    const OVERWRITE: &str = "local entries = redis.call('XRANGE', KEYS[1], '-', '+') \
        redis.call('DEL', KEYS[1]) \
        entries[20][2] = entries[21][2] \
        for _, entry in ipairs(entries) do \
            redis.call('XADD', KEYS[1], entry[1], unpack(entry[2])) \
        end";
    let (_turn, bug) = (turn(), "an entry of the log is overwritten by the next");
    let (redis, fleet) = stage();
    let began = Instant::now();
    let plan = Plan {
        conversations: 1,
        ..plan(bug)
    };
    let mut traffic = Traffic::start(&plan, &fleet.directory).await;
    traffic.until_acknowledged(TALK * 2).await;
    for (tag, conversation) in conversations(&plan) {
        let log = format!("{tag}:l:{conversation}");
        redis.cmd(&["EVAL", OVERWRITE, "1", &log]);
    }
    let expected = [Invariant::NoInvention, Invariant::HistoryIsLive];
    judge(bug, traffic, Promise::NothingLost, began, &expected).await;
}

/// As when somebody brings an old copy of a server's keys back, and nothing says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_copy_of_a_conversation_comes_back() {
    const COPY: &str =
        "for i = 1, #KEYS, 2 do redis.call('COPY', KEYS[i], KEYS[i + 1], 'REPLACE') end";
    let (_turn, bug) = (turn(), "an old copy of a conversation comes back");
    let (redis, fleet) = stage();
    let began = Instant::now();
    let plan = plan(bug);
    let mut traffic = Traffic::start(&plan, &fleet.directory).await;
    traffic.until_acknowledged(SOME).await;
    let keys = |what: &str| {
        let of = |(tag, name): (String, String)| format!("{tag}:{what}:{name}");
        conversations(&plan).into_iter().map(of).collect::<Vec<_>>()
    };
    let (ends, logs) = (keys("m"), keys("l"));
    let copy = |from: &[String], to: &[String]| {
        let count = (from.len() * 2).to_string();
        let mut command = vec!["EVAL", COPY, &count];
        let pairs = from.iter().zip(to);
        command.extend(pairs.flat_map(|(from, to)| [&**from, &**to]));
        redis.cmd(&command);
    };
    let (all, copies) = (
        [ends, logs].concat(),
        [keys("copy-m"), keys("copy-l")].concat(),
    );
    copy(&all, &copies);
    traffic.until_acknowledged(SOME).await;
    copy(&copies, &all);
    traffic.until_acknowledged(SOME).await;
    let expected = [Invariant::OneOrder, Invariant::NoLoss];
    judge(bug, traffic, Promise::NothingLost, began, &expected).await;
}

/// It may happen with `local` durability, but not where it is promised that nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lagging_replica_takes_over_where_nothing_may_be_lost() {
    let (_turn, bug) = (
        turn(),
        "a lagging replica takes over where nothing may be lost",
    );
    let mut pair = Pair::start();
    pair.seed_first_epochs();
    let fleet = Fleet::of(GATEWAYS, &unlimited(), &pair.url());
    let began = Instant::now();
    let mut traffic = Traffic::start(&plan(bug), &fleet.directory).await;
    traffic.until_acknowledged(SOME / 2).await;
    pair.lag();
    traffic.until_acknowledged(SOME / 2).await;
    tokio::task::block_in_place(|| pair.kill_primary());
    traffic.flows_again().await;
    let expected = [Invariant::StableAcknowledgement];
    judge(bug, traffic, Promise::EpochMayRise, began, &expected).await;
}

/// Acknowledgements get lost until as many were as are made in two seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_answered_for_two_seconds() {
    let (_turn, bug) = (turn(), "nobody is answered for two seconds");
    let began = Instant::now();
    let losses = Losses::none();
    let lie = losses.lie();
    let stage = crate::stage();
    let liars = Liars::before(&stage.fleet.directory, lie).await;
    let plan = plan(bug);
    let mut traffic = Traffic::start(&plan, &liars.directory).await;
    traffic.until_acknowledged(SOME).await;
    let asked_us = traffic.now_us();
    losses.begin(plan.sends_per_second * 2).await;
    losses.end();
    liars.cut();
    traffic.flows_again().await;
    traffic.probe("an acknowledgement of every client", asked_us, SOON);
    let expected = [Invariant::Liveness];
    judge(bug, traffic, Promise::NothingLost, began, &expected).await;
}

/// A gateway is left with connections that nobody uses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_kept_for_ever() {
    let (_turn, bug) = (turn(), "connections are kept for ever");
    let (_redis, fleet) = stage();
    let began = Instant::now();
    let mut traffic = Traffic::start(&plan(bug), &fleet.directory).await;
    traffic.until_acknowledged(SOME).await;
    let gateway = fleet.gateway(0);
    sample(&mut traffic, gateway);
    let mut kept = Vec::new();
    for _ in 0..KEPT {
        kept.push(gateway.dial("elsewhere", "nobody").connect().await);
    }
    sample(&mut traffic, gateway);
    let expected = [Invariant::Bounded];
    judge(bug, traffic, Promise::NothingLost, began, &expected).await;
}

fn sample(traffic: &mut Traffic, gateway: &Parlance) {
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap();
    traffic.sample("gateway", gateway.rss_bytes(), descriptors.count() as u64);
}
