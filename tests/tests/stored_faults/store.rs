//! A store that hangs, dies, or loses one of its nodes.

use std::time::{Duration, Instant};

use parlance_protocol::Position;
use parlance_testkit::{
    client::Client,
    cql::Cql,
    dial::{Dial, TokenPlace},
    fleet::{plan, times, turn},
    redis::{Redis, Tap, partition_of, resp::Value::Bytes, tag},
    report,
    tokens::Claims,
    traffic::{
        history::{page_through, replay},
        recording::Promise,
    },
};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::{
    deployment::{Deployment, Talk, Waiting},
    persisters::is_commit,
};

/// How long a store may refuse readings when it is back and busy.
const PATIENCE: Duration = Duration::from_secs(30);
const BEFORE_READING_AGAIN: Duration = Duration::from_millis(100);

/// Who reads while the store is gone.
struct Reader {
    client: Client,
}

impl Reader {
    async fn join(deployment: &Deployment, conversation: &str) -> Self {
        let gateway = deployment.fleet.gateway(0);
        let token = gateway.mint(&Claims::of("historian"));
        let dial = Dial::new(gateway.address(), conversation).token(&token, TokenPlace::Query);
        Self {
            client: dial.connect().await,
        }
    }

    /// The first page of all, or the error.
    async fn first_page(&mut self) -> Value {
        let action = json!({"action": "fetch_messages", "after_id": "0"});
        self.fetch(action).await
    }

    /// Panics unless what is not stored can be read, as far as it fits on a page.
    async fn check_unstored(&mut self, redis: &Redis, conversation: &str) {
        let limit = unstored(redis, conversation).min(100);
        let action = json!({"action": "fetch_messages", "limit": limit});
        let page = self.fetch(action).await;
        let rows = page["messages"].as_array();
        let rows = rows.unwrap_or_else(|| panic!("{limit} that are not stored: {page}"));
        let id = |row: &Value| row["id"].as_str().unwrap().parse::<u64>().unwrap();
        let ids: Vec<u64> = rows.iter().map(id).collect();
        assert!(ids.len() as u64 >= limit, "{limit} rows, not {}", ids.len());
        assert!(ids.windows(2).all(|pair| pair[0] == pair[1] + 1), "{ids:?}");
    }

    async fn fetch(&mut self, action: Value) -> Value {
        self.client.send(action).await;
        let is_answer = |frame: &Value| {
            frame["type"] == "messages_fetched"
                || (frame["type"] == "error" && frame["action"] == "fetch_messages")
        };
        self.client.expect_where("a page", is_answer).await
    }
}

/// Messages behind the last that is stored, of a conversation that never lost anything.
fn unstored(redis: &Redis, conversation: &str) -> u64 {
    let meta = format!("{}:m:{conversation}", tag(partition_of(conversation)));
    let Bytes(meta) = redis.cmd(&["GET", &meta]) else {
        panic!("{conversation} has no end")
    };
    // As packed by `crates/redis/lua/lib.lua`: n behind version and epoch; the stored id further on.
    let number = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
    number(&meta[5..10]) - number(&meta[32..39])
}

/// A commit of the conversation that is looked at.
fn is_commit_of_hung(command: &str) -> bool {
    is_commit(command) && command.contains(":m:hung-c0\r\n")
}

/// Lets the store hang while a commit is on its way behind which much more has been said, if the
/// machine is quick enough for that to happen within a lease.
async fn hang(cql: &mut Cql, tap: &Tap, talk: &mut Talk) {
    let caught = tap.catch(is_commit_of_hung).await;
    talk.go_on(2.0).await;
    cql.pause(0);
    caught.pass();
    talk.go_on(0.5).await;
}

/// Waits until the log does not have the conversation's beginning any more.
async fn until_trimmed(talk: &mut Talk, redis: &Redis, conversation: &str) {
    let log = format!("{}:l:{conversation}", tag(partition_of(conversation)));
    let begins_at_1 = || {
        let first = redis.cmd(&["XRANGE", &log, "-", "+", "COUNT", "1"]);
        let id = first.list().first().map(|entry| entry.list()[0].text());
        id.is_none_or(|id| Position::parse(id.trim_end_matches("-0")) <= Position::parse("1"))
    };
    while begins_at_1() {
        talk.go_on(0.2).await;
    }
}

/// Reads what a store that is busy with what waited may refuse: refused is not wrong.
async fn patiently<T>(read: impl AsyncFn() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match read().await {
            Ok(answer) => return answer,
            Err(refused) => {
                assert!(begun.elapsed() < PATIENCE, "still {refused}");
                tokio::time::sleep(BEFORE_READING_AGAIN).await;
            }
        }
    }
}

/// Reads a conversation that never lost anything, again and again, until all that waits now is stored;
/// how often. At no time there is a hole between the store and the log.
async fn read_until_stored(deployment: &Deployment, redis: &Redis, conversation: &str) -> usize {
    let mut readings = 0;
    let waits = Waiting::now(redis, conversation);
    loop {
        let is_last = !waits.is_left(redis);
        for gateway in deployment.fleet.directory.all() {
            let paged = patiently(async || page_through(gateway, conversation).await).await;
            let told = patiently(async || replay(gateway, conversation).await).await;
            for read in [paged, told] {
                let ids = read.iter().map(|told| told.position.id.get());
                assert!(ids.eq(1..=read.len() as u64), "a hole in {conversation}");
                assert!(read.len() >= waits.head, "{conversation} ends early");
                readings += 1;
            }
        }
        if is_last {
            return readings;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_hangs_puts_off_nothing_but_old_history() {
    let _turn = turn();
    let mut cql = Cql::setup().start();
    let redis = Redis::start();
    let tap = Tap::to(&redis).await;
    let deployment = Deployment::start(&cql, &redis.url(), [&tap.url(), &tap.url()]);
    let mut talk = deployment.talk(plan("hung")).await;
    let conversation = "hung-c0";
    until_trimmed(&mut talk, &redis, conversation).await;
    let mut reader = Reader::join(&deployment, conversation).await;
    let outage = Duration::from_secs(times(60, 5) as u64);
    for _ in 0..times(3, 1) {
        hang(&mut cql, &tap, &mut talk).await;
        let began = Instant::now();
        while began.elapsed() < outage {
            talk.go_on(0.5).await;
            reader.check_unstored(&redis, conversation).await;
            let answer = reader.first_page().await;
            assert_eq!(answer["code"], "unavailable", "{answer}");
            assert_eq!(answer["retryable"], true, "{answer}");
        }
        let waiting = parlance_testkit::stored::waiting(&redis);
        cql.resume(0);
        let resumed = Instant::now();
        for gateway in deployment.fleet.directory.all() {
            while page_through(gateway, conversation).await.is_err() {
                talk.go_on(0.1).await;
            }
        }
        let seconds = resumed.elapsed().as_secs_f64();
        report(&format!(
            "store hung: {waiting} entries waited, history again after {seconds:.1} s"
        ));
        let readings = read_until_stored(&deployment, &redis, conversation).await;
        report(&format!(
            "store hung: {readings} readings while all was stored"
        ));
        talk.recover().await;
    }
    let what = "store hung";
    let figures = deployment
        .finish(what, talk, Promise::NothingLost, &redis, &cql)
        .await;
    assert_eq!(figures.put_off, 0, "sends need no store");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_killed_keeps_what_it_took() {
    let _turn = turn();
    let mut cql = Cql::setup().start();
    let redis = Redis::start();
    let deployment = Deployment::start(&cql, &redis.url(), [&redis.url(), &redis.url()]);
    let mut talk = deployment.talk(plan("dead")).await;
    for _ in 0..times(3, 1) {
        talk.go_on(1.0).await;
        cql.kill(0);
        talk.go_on(1.0).await;
        block_in_place(|| cql.restart(0));
        talk.recover().await;
    }
    let what = "store killed";
    let figures = deployment
        .finish(what, talk, Promise::NothingLost, &redis, &cql)
        .await;
    assert_eq!(figures.put_off, 0, "sends need no store");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_that_loses_a_node_refuses_nothing() {
    let _turn = turn();
    let mut cql = block_in_place(|| Cql::ring(3));
    let redis = Redis::start();
    let deployment = Deployment::start(&cql, &redis.url(), [&redis.url(), &redis.url()]);
    let mut talk = deployment.talk(plan("ring")).await;
    let conversation = "ring-c0";
    // Judged in the end, when all else is known.
    let (mut readings, mut refused) = (0, Vec::new());
    for node in 0..times(3, 1) {
        // The last one first: rows are read through the first.
        let node = 2 - node;
        until_trimmed(&mut talk, &redis, conversation).await;
        cql.kill(node);
        let killed = Instant::now();
        for _ in 0..times(20, 6) {
            talk.go_on(0.5).await;
            let gateways = deployment.fleet.directory.all();
            for gateway in gateways {
                readings += 1;
                if let Err(error) = page_through(gateway, conversation).await {
                    refused.push(format!("{:.1?} after: {error}", killed.elapsed()));
                }
            }
        }
        block_in_place(|| cql.restart(node));
        talk.recover().await;
    }
    let what = "node of the store's ring killed";
    let figures = deployment
        .finish(what, talk, Promise::NothingLost, &redis, &cql)
        .await;
    assert_eq!(figures.put_off, 0, "a quorum was there");
    assert!(refused.is_empty(), "of {readings} readings: {refused:#?}");
}
