//! Persisters that die between the store and the log, and persisters that wake up too late.

use parlance_testkit::{
    cql::Cql,
    fleet::{plan, times, turn},
    redis::{Redis, Tap},
    traffic::{Plan, recording::Promise},
};

use crate::deployment::Deployment;

/// With so many that neither persister is left without any, whichever partitions chance gives it: each
/// conversation is as likely one's as the other's.
fn spread(name: &str) -> Plan {
    Plan {
        conversations: 40,
        ..plan(name)
    }
}

/// A commit of something that was said: what it is of is durable in the store.
pub(crate) fn is_commit(command: &str) -> bool {
    [":own\r\n", ":in\r\n", ":m:"]
        .iter()
        .all(|key| command.contains(key))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_persister_that_is_killed_around_its_commits_stores_everything_once() {
    let (_turn, cql) = (turn(), Cql::shared());
    let redis = Redis::start();
    let tap = Tap::to(&redis).await;
    let urls = [&*tap.url(), &redis.url()];
    let mut deployment = Deployment::start(&cql, &redis.url(), urls);
    let mut talk = deployment.talk(spread("killed")).await;
    for round in 0..times(20, 3) {
        talk.go_on(0.5).await;
        match round % 4 {
            // Stored, and Redis never hears of it.
            0 => {
                let caught = tap.catch(is_commit).await;
                deployment.kill(0);
                drop(caught);
                deployment.restart(0);
            }
            // Committed, and the persister never hears of it.
            1 => {
                let caught = tap.catch(is_commit).await;
                caught.pass_unanswered().await;
                deployment.kill(0);
                deployment.restart(0);
            }
            // Wherever it stands.
            2 => {
                deployment.kill(0);
                deployment.restart(0);
            }
            _ => {
                deployment.kill(1);
                deployment.restart(1);
            }
        }
        talk.recover().await;
    }
    let what = "persister killed";
    deployment
        .finish(what, talk, Promise::NothingLost, &redis, &cql)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_persister_that_commits_after_its_lease_was_over_changes_nothing() {
    let (_turn, cql) = (turn(), Cql::shared());
    let redis = Redis::start();
    let tap = Tap::to(&redis).await;
    let urls = [&*tap.url(), &redis.url()];
    let deployment = Deployment::start(&cql, &redis.url(), urls);
    let mut talk = deployment.talk(spread("frozen")).await;
    for _ in 0..times(10, 1) {
        talk.go_on(0.5).await;
        let caught = tap.catch(is_commit).await;
        deployment.persisters[0].freeze();
        let all = u32::from(parlance_testkit::redis::PARTITIONS);
        deployment.until_owned(1, |owned| owned == all).await;
        deployment.persisters[0].thaw();
        caught.pass();
        deployment
            .until_owned(0, |owned| 0 < owned && owned < all)
            .await;
        deployment.until_owned(1, |owned| owned < all).await;
        talk.recover().await;
    }
    let what = "persister frozen past its lease";
    deployment
        .finish(what, talk, Promise::NothingLost, &redis, &cql)
        .await;
}
