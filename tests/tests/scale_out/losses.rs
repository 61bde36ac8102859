//! A log that loses what it acknowledged: the clients are told, offer it again, and gateways bring
//! back what base clients had said.
//!
//! Every round has conversations of its own, with no more in them than a gateway keeps.

use parlance_testkit::{
    fleet::{Fleet, Recoveries, finish, plan, restorable, seconds_of, times, turn},
    redis::{Pair, Redis},
    traffic::{Plan, Traffic, recording::Promise},
};

/// Loses something in the middle of talk, then judges.
async fn round(what: &str, plan: &Plan, fleet: &Fleet, before: impl FnOnce(), lose: impl FnOnce()) {
    let mut traffic = Traffic::start(plan, &fleet.directory).await;
    traffic.until_acknowledged(restorable(plan) / 3).await;
    before();
    traffic.until_acknowledged(restorable(plan) / 3).await;
    lose();
    let mut recoveries = Recoveries::default();
    recoveries.wait(&mut traffic).await;
    traffic.until_acknowledged(seconds_of(plan, 0.5)).await;
    let figures = finish(what, traffic, Promise::TailMayBeLost, &recoveries).await;
    let extended = plan.conversations * 3;
    assert!(figures.resyncs >= extended, "{figures}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_emptied_redis_lost_comes_back_under_new_ids() {
    let _turn = turn();
    let mut redis = Redis::start();
    redis.seed_first_epochs();
    let fleet = Fleet::start(&redis.url());
    for number in 0..times(5, 1) {
        let flushed = plan(&format!("flushed-{number}"));
        let flush = || drop(redis.cmd(&["FLUSHALL"]));
        round("redis flushed", &flushed, &fleet, || {}, flush).await;
        let wiped = plan(&format!("wiped-{number}"));
        let wipe = || redis.wipe_and_restart();
        round("redis wiped", &wiped, &fleet, || {}, wipe).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_lagging_replica_never_had_comes_back_under_new_ids() {
    let _turn = turn();
    let mut pair = Pair::start();
    pair.seed_first_epochs();
    let fleet = Fleet::start(&pair.url());
    for number in 0..times(5, 1) {
        let plan = plan(&format!("lagged-{number}"));
        let mut traffic = Traffic::start(&plan, &fleet.directory).await;
        traffic.until_acknowledged(restorable(&plan) / 3).await;
        pair.lag();
        traffic.until_acknowledged(restorable(&plan) / 3).await;
        pair.kill_primary();
        let mut recoveries = Recoveries::default();
        recoveries.wait(&mut traffic).await;
        let what = "failed over to a lagging replica";
        let figures = finish(what, traffic, Promise::TailMayBeLost, &recoveries).await;
        assert!(figures.resyncs >= plan.conversations * 3, "{figures}");
        pair.revive_old_as_replica();
    }
}
