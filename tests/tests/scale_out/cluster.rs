//! Slots that move and masters that die.

use parlance_testkit::{
    fleet::{Fleet, Recoveries, finish, plan, seconds_of, times, turn},
    redis::{Cluster, partition_of, tag},
    traffic::{Traffic, recording::Promise},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_under_load_lose_nothing() {
    let _turn = turn();
    let cluster = Cluster::start();
    cluster.seed_first_epochs();
    let fleet = Fleet::start(&cluster.url());
    let plan = plan("moved");
    let mut traffic = Traffic::start(&plan, &fleet.directory).await;
    let mut recoveries = Recoveries::default();
    for round in 0..times(5, 2) {
        traffic.until_acknowledged(seconds_of(&plan, 0.5)).await;
        let conversation = format!("{}c{}", plan.name, round % plan.conversations);
        let slot = cluster.slot_of(&tag(partition_of(&conversation)));
        let from = cluster.master_of(slot);
        let to = cluster.masters().into_iter().find(|node| *node != from);
        cluster.migrate_slot(slot, to.unwrap());
        recoveries.wait(&mut traffic).await;
    }
    finish("slot moved", traffic, Promise::EpochMayRise, &recoveries).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_master_took_with_it_comes_back() {
    let _turn = turn();
    let mut cluster = Cluster::start();
    cluster.seed_first_epochs();
    let fleet = Fleet::start(&cluster.url());
    let plan = plan("failover");
    let mut traffic = Traffic::start(&plan, &fleet.directory).await;
    let mut recoveries = Recoveries::default();
    for round in 0..times(3, 1) {
        traffic.until_acknowledged(seconds_of(&plan, 0.5)).await;
        let masters = cluster.masters();
        let dead = masters[round % masters.len()];
        cluster.kill_master(dead);
        recoveries.wait(&mut traffic).await;
        cluster.revive(dead);
    }
    let what = "master of a cluster killed";
    finish(what, traffic, Promise::TailMayBeLost, &recoveries).await;
}
