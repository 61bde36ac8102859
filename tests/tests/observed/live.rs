//! A real Prometheus that scrapes two gateways and a persister, on a real Redis and a real store, while
//! clients talk; and one that scrapes gateways which belong together and cannot know it.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use parlance_testkit::{
    client::Client,
    cql::Cql,
    dial::{DEADLINE, Dial, TokenPlace},
    fleet::{Fleet, unlimited},
    redis::Redis,
    report,
    server::Parlance,
};
use serde_json::json;
use tokio::time::interval;

use crate::{
    given::{Query, answered_while_all_is_well},
    prometheus::{Prometheus, promtool, scrape},
};

const GATEWAYS: usize = 2;
const SAID: usize = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// Ended in the order of the fields.
struct Deployment {
    persister: Parlance,
    fleet: Fleet,
    _redis: Redis,
    _cql: Arc<Cql>,
}

impl Deployment {
    fn start() -> Self {
        let (redis, cql) = (Redis::start(), Cql::shared());
        let setup = unlimited().store(&cql, &cql.keyspace());
        setup.migrate();
        Self {
            persister: setup.clone().persister(&redis.url()).start(),
            fleet: Fleet::of(GATEWAYS, &setup, &redis.url()),
            _redis: redis,
            _cql: cql,
        }
    }

    fn gateways(&self) -> impl Iterator<Item = &Parlance> {
        (0..GATEWAYS).map(|number| self.fleet.gateway(number))
    }

    fn admin_addresses(&self) -> Vec<SocketAddr> {
        self.gateways().map(Parlance::admin_address).collect()
    }

    /// Somebody on each gateway who stays.
    async fn members(&self) -> Vec<Client> {
        let mut members = Vec::new();
        for gateway in self.gateways() {
            members.push(gateway.dial("lobby", "bob").extended().connect().await);
        }
        members
    }

    /// A conversation on each gateway, and somebody who may not come in.
    async fn talk(&self, round: usize) {
        for gateway in self.gateways() {
            let conversation = format!("{round}-{}", gateway.pid());
            let mut ann = gateway.dial(&conversation, "ann").connect().await;
            for number in 0..SAID {
                ann.say("hello", &format!("{round}-{number}")).await;
            }
            ann.send(json!({"action": "fetch_messages"})).await;
            ann.expect("messages_fetched").await;
            ann.close(1000).await;
            let stranger = Dial::new(gateway.address(), &conversation);
            let stranger = stranger.token("a.b.c", TokenPlace::Query);
            stranger.connect().await.expect_close(4003).await;
        }
    }
}

/// Whether some series of the answer has a number; what is divided by nothing has none.
fn is_answered(prometheus: &Prometheus, query: &Query) -> bool {
    let values = prometheus.ask(&query.text);
    let values = values.unwrap_or_else(|wrong| panic!("{}: {wrong}", query.place));
    values.iter().any(|value| !value.is_nan())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_is_answered_while_a_real_deployment_is_scraped() {
    let deployment = Deployment::start();
    let _members = deployment.members().await;
    let gateways = deployment.admin_addresses();
    let persister = deployment.persister.admin_address();
    let prometheus = Prometheus::start(&gateways, &[persister]);
    let mut open = answered_while_all_is_well(&prometheus.rules());
    let count = open.len();
    let began = Instant::now();
    let give_up = began + 3 * DEADLINE;
    for round in 0.. {
        deployment.talk(round).await;
        open.retain(|query| !is_answered(&prometheus, query));
        if open.is_empty() {
            break;
        }
        let unanswered = open
            .iter()
            .map(|query| format!("{}: {}", query.place, query.text));
        let unanswered: Vec<String> = unanswered.collect();
        let is_late = Instant::now() > give_up;
        assert!(!is_late, "without an answer:\n{}", unanswered.join("\n"));
    }
    let took = began.elapsed();
    report(&format!(
        "observed: {count} queries answered after {took:.1?}"
    ));
    let firing = prometheus.ask("count(ALERTS{alertstate=\"firing\"})");
    assert_eq!(firing, Ok(vec![]), "alerts fire while all is well");
    for admin in gateways.into_iter().chain([persister]) {
        promtool(&["check", "metrics"], &scrape(admin));
    }
}

/// Their members do not hear each other. The alert fires after minutes; what it asks for is there at once.
#[tokio::test(flavor = "multi_thread")]
async fn gateways_of_one_deployment_on_different_redis_are_found_out() {
    let redis = [Redis::start(), Redis::start()];
    let start = |redis: &Redis| unlimited().gateway(&redis.url()).start();
    let gateways = redis.each_ref().map(start);
    let prometheus = Prometheus::start(&gateways.each_ref().map(Parlance::admin_address), &[]);
    let seen = "count by (alertname) (ALERTS{alertname=\"ParlanceGatewaysUnseen\"})";
    let give_up = Instant::now() + 3 * DEADLINE;
    let mut looks = interval(BETWEEN_LOOKS);
    loop {
        looks.tick().await;
        let answer = prometheus.ask(seen).expect("the query is one");
        if answer == [gateways.len() as f64] {
            break;
        }
        assert!(Instant::now() < give_up, "of two gateways: {answer:?}");
    }
}
