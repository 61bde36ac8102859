//! A Redis that dies and keeps its data, hangs, forgets scripts or drops subscribers.

use std::time::Duration;

use parlance_testkit::{
    fleet::{Fleet, Recoveries, finish, plan, seconds_of, times, turn},
    redis::Redis,
    traffic::{Plan, Traffic, recording::Promise},
};

/// A fleet on one Redis under load.
struct Scene {
    redis: Redis,
    _fleet: Fleet,
    plan: Plan,
    traffic: Traffic,
    recoveries: Recoveries,
}

impl Scene {
    async fn start(name: &str) -> Self {
        let redis = Redis::start();
        let fleet = Fleet::start(&redis.url());
        let plan = plan(name);
        let traffic = Traffic::start(&plan, &fleet.directory).await;
        Self {
            redis,
            _fleet: fleet,
            plan,
            traffic,
            recoveries: Recoveries::default(),
        }
    }

    async fn talk(&mut self, seconds: f64) {
        let count = seconds_of(&self.plan, seconds);
        self.traffic.until_acknowledged(count).await;
    }

    async fn recover(&mut self) {
        self.recoveries.wait(&mut self.traffic).await;
    }

    async fn finish(self, what: &str, promise: Promise) {
        finish(what, self.traffic, promise, &self.recoveries).await;
    }
}

/// Redis answers before it writes while a sync of the last second is under way, so even with its
/// append-only file it may lose the newest; then that has to come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_and_comes_back_loses_nothing() {
    let _turn = turn();
    let mut scene = Scene::start("aof").await;
    for _ in 0..times(5, 2) {
        scene.talk(0.5).await;
        scene.redis.kill();
        scene.redis.restart();
        scene.recover().await;
    }
    scene.finish("redis killed", Promise::TailMayBeLost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgotten_scripts_and_dropped_subscribers_are_not_noticed() {
    let _turn = turn();
    let mut scene = Scene::start("dropped").await;
    scene.talk(0.5).await;
    scene.redis.cmd(&["SCRIPT", "FLUSH"]);
    for _ in 0..times(20, 4) {
        scene.talk(0.25).await;
        let kill = ["CLIENT", "KILL", "TYPE", "pubsub"];
        let killed = scene.redis.cmd(&kill).integer();
        assert!(killed >= 3, "{killed} subscribers of 3 gateways");
    }
    scene.recover().await;
    let what = "scripts flushed, subscribers killed";
    scene.finish(what, Promise::NothingLost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_for_5_s_loses_nothing() {
    let _turn = turn();
    let mut scene = Scene::start("paused").await;
    for _ in 0..times(3, 1) {
        scene.talk(0.5).await;
        scene.redis.pause(Duration::from_secs(5));
        scene.recover().await;
    }
    scene.finish("redis paused", Promise::NothingLost).await;
}
