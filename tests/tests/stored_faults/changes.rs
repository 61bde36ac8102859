//! Members who edit and delete while persisters die and Redis is emptied.

use parlance_testkit::{
    cql::Cql,
    fleet::{plan, restorable, times, turn},
    redis::Redis,
    traffic::{Plan, recording::Promise},
};
use tokio::task::block_in_place;

use crate::deployment::Deployment;

fn changing(name: &str) -> Plan {
    Plan {
        changes: true,
        ..plan(name)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_and_deletions_survive_persisters_that_are_killed() {
    let (_turn, cql) = (turn(), Cql::shared());
    let redis = Redis::start();
    let mut deployment = Deployment::start(&cql, &redis.url(), [&redis.url(), &redis.url()]);
    let mut talk = deployment.talk(changing("edited")).await;
    for round in 0..times(10, 2) {
        talk.go_on(0.5).await;
        deployment.kill(round % 2);
        deployment.restart(round % 2);
        talk.recover().await;
    }
    let (what, promise) = ("persister killed among edits", Promise::NothingLost);
    deployment.finish(what, talk, promise, &redis, &cql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_and_deletions_survive_a_redis_that_is_emptied() {
    let (_turn, cql) = (turn(), Cql::shared());
    let mut redis = Redis::start();
    let deployment = Deployment::start(&cql, &redis.url(), [&redis.url(), &redis.url()]);
    for number in 0..times(3, 1) {
        let mut talk = deployment
            .talk(changing(&format!("re-edited-{number}")))
            .await;
        let third = restorable(&talk.plan) / 3;
        talk.traffic.until_acknowledged(third).await;
        // What it would have stored is lost.
        deployment.persisters[0].freeze();
        talk.traffic.until_acknowledged(third).await;
        block_in_place(|| redis.wipe_and_restart());
        talk.recover().await;
        deployment.persisters[0].thaw();
        talk.go_on(0.5).await;
        let (what, promise) = ("redis wiped among edits", Promise::TailMayBeLost);
        deployment.finish(what, talk, promise, &redis, &cql).await;
    }
}
