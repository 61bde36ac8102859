//! Acknowledged by two servers: a failover loses nothing, however far the replica lags.

use parlance_testkit::{
    fleet::{Fleet, Recoveries, finish, plan, seconds_of, times, turn, unlimited},
    redis::Pair,
    traffic::{Traffic, recording::Promise},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_dies_while_its_replica_lags_loses_nothing() {
    let _turn = turn();
    let mut pair = Pair::start();
    pair.seed_first_epochs();
    let setup = unlimited().set("redis.durability", "replicated");
    let fleet = Fleet::start_as(setup, &pair.url());
    let plan = plan("replicated");
    let mut traffic = Traffic::start(&plan, &fleet.directory).await;
    let mut recoveries = Recoveries::default();
    for _ in 0..times(5, 1) {
        traffic.until_acknowledged(seconds_of(&plan, 0.5)).await;
        pair.lag();
        traffic.until_offered(seconds_of(&plan, 0.5)).await;
        pair.kill_primary();
        pair.revive_old_as_replica();
        recoveries.wait(&mut traffic).await;
    }
    let what = "replicated, primary killed while its replica lagged";
    finish(what, traffic, Promise::EpochMayRise, &recoveries).await;
}
