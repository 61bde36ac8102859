//! Gateways that are killed and gateways that leave.

use parlance_testkit::{
    fleet::{Fleet, GATEWAYS, Recoveries, finish, plan, seconds_of, times, turn},
    redis::Redis,
    traffic::{Traffic, recording::Promise},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_gateway_loses_nothing() {
    let _turn = turn();
    let redis = Redis::start();
    let mut fleet = Fleet::start(&redis.url());
    let plan = plan("killed");
    let mut traffic = Traffic::start(&plan, &fleet.directory).await;
    let mut recoveries = Recoveries::default();
    for round in 0..times(10, 3) {
        traffic.until_acknowledged(seconds_of(&plan, 0.5)).await;
        let gateway = round % GATEWAYS;
        fleet.kill(gateway);
        recoveries.wait(&mut traffic).await;
        fleet.restart(gateway);
    }
    let what = "gateway killed";
    finish(what, traffic, Promise::NothingLost, &recoveries).await;
}

/// In the last round every gateway has been replaced: a deployment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_cuts_nobody_off_and_shows_nobody_offline() {
    let _turn = turn();
    let redis = Redis::start();
    let mut fleet = Fleet::start(&redis.url());
    let plan = plan("drained");
    let mut traffic = Traffic::start(&plan, &fleet.directory).await;
    let mut recoveries = Recoveries::default();
    for round in 0..times(10, GATEWAYS) {
        traffic.until_acknowledged(seconds_of(&plan, 0.5)).await;
        let gateway = round % GATEWAYS;
        fleet.drain(gateway);
        recoveries.wait(&mut traffic).await;
        fleet.restart(gateway);
    }
    let what = "gateway drained";
    let figures = finish(what, traffic, Promise::NothingLost, &recoveries).await;
    assert_eq!(figures.cut, 0, "closes without a close frame");
    assert_eq!(figures.offline, 0, "users who came back were shown offline");
    assert!(figures.closed > 0, "base clients are closed by a drain");
}
