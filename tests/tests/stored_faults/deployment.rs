//! Two gateways and two persisters on a Redis and a store, and the judgement in the end.

use std::time::{Duration, Instant};

use parlance_testkit::{
    cql::Cql,
    fleet::{Fleet, Recoveries, unlimited},
    redis::{self, Redis},
    report,
    server::{Parlance, Setup},
    stored::{check_readings, check_rows, waiting},
    traffic::{Figures, Plan, Traffic, recording::Promise},
};
use tokio::time::sleep;

const GATEWAYS: usize = 2;
/// Stored entries that a log keeps: so few that most readings cross from the log into the store.
const TAIL_ENTRIES: &str = "64";
/// What an outage of the store left takes this long at most.
const DRAINED_WITHIN: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// What runs between clients and the two things that keep everything.
pub(crate) struct Deployment {
    pub(crate) fleet: Fleet,
    pub(crate) persisters: Vec<Parlance>,
    keyspace: String,
    setup: Setup,
    redis_url: String,
}

/// Talk that is being broken.
pub(crate) struct Talk {
    pub(crate) plan: Plan,
    pub(crate) traffic: Traffic,
    pub(crate) recoveries: Recoveries,
}

impl Deployment {
    /// On a keyspace of its own. Persisters reach Redis by a URL each.
    pub(crate) fn start(cql: &Cql, redis_url: &str, persisters: [&str; 2]) -> Self {
        Self::start_as(unlimited(), cql, redis_url, persisters)
    }

    /// The same with other settings.
    pub(crate) fn start_as(
        setup: Setup,
        cql: &Cql,
        redis_url: &str,
        persisters: [&str; 2],
    ) -> Self {
        let keyspace = cql.keyspace();
        let setup = setup
            .set("log.tail_entries", TAIL_ENTRIES)
            .set("limits.resume_events", "1000000")
            .store(cql, &keyspace);
        setup.migrate();
        let persister = |url: &str| setup.clone().persister(url).start();
        Self {
            persisters: persisters.into_iter().map(persister).collect(),
            fleet: Fleet::of(GATEWAYS, &setup, redis_url),
            keyspace,
            setup,
            redis_url: redis_url.to_owned(),
        }
    }

    pub(crate) async fn talk(&self, plan: Plan) -> Talk {
        Talk {
            traffic: Traffic::start(&plan, &self.fleet.directory).await,
            plan,
            recoveries: Recoveries::default(),
        }
    }

    /// A gateway that has just started, and knows nothing.
    pub(crate) fn fresh_gateway(&self) -> Parlance {
        self.setup.clone().gateway(&self.redis_url).start()
    }

    /// What a command of `parlance` prints.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let setup = self.setup.clone().gateway(&self.redis_url);
        setup.run(arguments)
    }

    /// `kill -9`
    pub(crate) fn kill(&mut self, persister: usize) {
        self.persisters[persister].kill();
    }

    pub(crate) fn restart(&mut self, persister: usize) {
        self.persisters[persister].restart();
    }

    /// Waits until a persister has as many partitions as this says.
    pub(crate) async fn until_owned(&self, persister: usize, fits: impl Fn(u32) -> bool) {
        let give_up = Instant::now() + DRAINED_WITHIN;
        let owned = || self.persisters[persister].metric("parlance_persister_partitions") as u32;
        while !fits(owned()) {
            assert!(
                Instant::now() < give_up,
                "persister {persister} has {} partitions",
                owned()
            );
            sleep(POLL).await;
        }
    }

    /// Waits until nothing waits to be stored, and both persisters know it.
    pub(crate) async fn until_drained(&self, redis: &Redis) {
        let give_up = Instant::now() + DRAINED_WITHIN;
        loop {
            let persisters = self.persisters.iter();
            let told = persisters.map(|persister| persister.metric("parlance_persister_backlog"));
            let (waiting, told) = (waiting(redis), told.sum::<f64>());
            if waiting == 0 && told == 0.0 {
                return;
            }
            assert!(
                Instant::now() < give_up,
                "{waiting} wait to be stored, persisters say {told}"
            );
            sleep(POLL).await;
        }
    }

    /// Ends the talk, judges and reports it.
    pub(crate) async fn finish(
        &self,
        what: &str,
        talk: Talk,
        promise: Promise,
        redis: &Redis,
        cql: &Cql,
    ) -> Figures {
        let (figures, recording) = talk.traffic.finish_recorded(promise).await;
        self.until_drained(redis).await;
        let fresh = self.fresh_gateway();
        let mut gateways = self.fleet.directory.all();
        gateways.push(fresh.address());
        let readings = check_readings(&recording, &gateways).await;
        for conversation in &recording.conversations {
            check_rows(cql, &self.keyspace, conversation);
        }
        report(&format!(
            "{what}: {figures}; {}; all stored {:.1} s after the last, {} told so; 0 lost, doubled, \
             reordered, missed or reused, the same in {readings} readings and in the store",
            talk.recoveries, figures.stored_seconds, figures.stored
        ));
        figures
    }
}

impl Talk {
    /// About this long.
    pub(crate) async fn go_on(&mut self, seconds: f64) {
        let count = parlance_testkit::fleet::seconds_of(&self.plan, seconds);
        self.traffic.until_acknowledged(count).await;
    }

    /// Until every client was acknowledged again.
    pub(crate) async fn recover(&mut self) {
        self.recoveries.wait(&mut self.traffic).await;
    }
}

/// What of a conversation's partition waits to be stored at a moment.
pub(crate) struct Waiting {
    ingest: String,
    newest: Option<String>,
    /// How many messages the conversation has, if nothing of it was ever lost.
    pub(crate) head: usize,
}

impl Waiting {
    pub(crate) fn now(redis: &Redis, conversation: &str) -> Self {
        let tag = redis::tag(redis::partition_of(conversation));
        let (ingest, log) = (format!("{tag}:in"), format!("{tag}:l:{conversation}"));
        let newest = |stream: &str| {
            let newest = redis.cmd(&["XREVRANGE", stream, "+", "-", "COUNT", "1"]);
            let newest = newest.list().first();
            newest.map(|entry| entry.list()[0].text())
        };
        let head = newest(&log).and_then(|id| id.split_once('-')?.0.parse().ok());
        Self {
            newest: newest(&ingest),
            head: head.unwrap_or_default(),
            ingest,
        }
    }

    pub(crate) fn is_left(&self, redis: &Redis) -> bool {
        self.newest.as_ref().is_some_and(|newest| {
            let oldest = ["XRANGE", &self.ingest, "-", newest, "COUNT", "1"];
            !redis.cmd(&oldest).list().is_empty()
        })
    }

    pub(crate) async fn until_stored(&self, redis: &Redis) {
        let give_up = Instant::now() + DRAINED_WITHIN;
        while self.is_left(redis) {
            assert!(Instant::now() < give_up, "{} waits", self.ingest);
            sleep(POLL).await;
        }
    }
}
