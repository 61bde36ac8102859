//! A Redis that loses what it acknowledged: nothing that was stored goes with it, and the rest is
//! offered again.
//!
//! Every round has conversations of its own, with no more in them that is not stored than a gateway
//! keeps.

use parlance_testkit::{
    cql::Cql,
    fleet::{plan, restorable, times, turn},
    redis::{Pair, Redis},
    traffic::recording::Promise,
};
use tokio::task::block_in_place;

use crate::deployment::{Deployment, Talk};

/// A third of what gateways could bring back.
async fn go_on(talk: &mut Talk) {
    let count = restorable(&talk.plan) / 3;
    talk.traffic.until_acknowledged(count).await;
}

/// Loses something in the middle of talk, then judges.
async fn round(
    what: &str,
    name: &str,
    deployment: &Deployment,
    cql: &Cql,
    redis: &mut Redis,
    lose: fn(&mut Redis),
) {
    let mut talk = deployment.talk(plan(name)).await;
    go_on(&mut talk).await;
    go_on(&mut talk).await;
    block_in_place(|| lose(redis));
    talk.recover().await;
    talk.go_on(0.5).await;
    finish(what, deployment, talk, redis, cql).await;
}

/// Judges talk that lost something, of which every extended client was told.
async fn finish(what: &str, deployment: &Deployment, talk: Talk, redis: &Redis, cql: &Cql) {
    let extended = talk.plan.conversations * deployment.fleet.directory.count();
    let figures = deployment
        .finish(what, talk, Promise::TailMayBeLost, redis, cql)
        .await;
    assert!(figures.resyncs >= extended, "{figures}");
}

fn flush(redis: &mut Redis) {
    redis.cmd(&["FLUSHALL"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_redis_loses_nothing_that_was_stored() {
    let (_turn, cql) = (turn(), Cql::shared());
    let mut redis = Redis::start();
    let deployment = Deployment::start(&cql, &redis.url(), [&redis.url(), &redis.url()]);
    for number in 0..times(3, 1) {
        let name = format!("flushed-{number}");
        let what = "redis flushed";
        round(what, &name, &deployment, &cql, &mut redis, flush).await;
        let (name, what) = (format!("wiped-{number}"), "redis wiped");
        let wipe = Redis::wipe_and_restart;
        round(what, &name, &deployment, &cql, &mut redis, wipe).await;
    }
}

/// Of what was under way, the store may have any part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn persisters_that_die_with_redis_leave_nothing_half_done() {
    let (_turn, cql) = (turn(), Cql::shared());
    let mut redis = Redis::start();
    let mut deployment = Deployment::start(&cql, &redis.url(), [&redis.url(), &redis.url()]);
    for number in 0..times(5, 1) {
        let mut talk = deployment.talk(plan(&format!("both-{number}"))).await;
        go_on(&mut talk).await;
        go_on(&mut talk).await;
        deployment.kill(0);
        deployment.kill(1);
        block_in_place(|| redis.wipe_and_restart());
        talk.recover().await;
        deployment.restart(0);
        deployment.restart(1);
        talk.recover().await;
        let what = "redis wiped and persisters killed at once";
        finish(what, &deployment, talk, &redis, &cql).await;
    }
}

/// What it wakes up with is of an epoch that is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_persister_that_slept_through_the_loss_of_redis_brings_nothing_back() {
    let (_turn, cql) = (turn(), Cql::shared());
    let mut redis = Redis::start();
    let deployment = Deployment::start(&cql, &redis.url(), [&redis.url(), &redis.url()]);
    for number in 0..times(3, 1) {
        let mut talk = deployment.talk(plan(&format!("slept-{number}"))).await;
        go_on(&mut talk).await;
        deployment.persisters[0].freeze();
        go_on(&mut talk).await;
        block_in_place(|| redis.wipe_and_restart());
        talk.recover().await;
        deployment.persisters[0].thaw();
        talk.recover().await;
        let what = "redis wiped while a persister slept";
        finish(what, &deployment, talk, &redis, &cql).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lagging_replica_that_takes_over_loses_nothing_that_was_stored() {
    let (_turn, cql) = (turn(), Cql::shared());
    let mut pair = block_in_place(Pair::start);
    let url = pair.url();
    let deployment = Deployment::start(&cql, &url, [&url, &url]);
    for number in 0..times(5, 1) {
        let mut talk = deployment.talk(plan(&format!("lagged-{number}"))).await;
        go_on(&mut talk).await;
        pair.lag();
        go_on(&mut talk).await;
        block_in_place(|| pair.kill_primary());
        talk.recover().await;
        let what = "failed over to a lagging replica";
        finish(what, &deployment, talk, pair.primary(), &cql).await;
        block_in_place(|| pair.revive_old_as_replica());
    }
}
