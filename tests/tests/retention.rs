//! What a gateway without a store says of messages that its log does not keep any more.

use parlance_testkit::{
    client::Client,
    redis::Redis,
    server::{Parlance, Setup},
};
use serde_json::json;

const KEPT: usize = 100;
const SENT: usize = 400;

fn setup(redis: &Redis) -> Setup {
    Parlance::setup()
        .set("limits.actions_per_second", "0")
        .set("limits.user_actions_per_second", "0")
        .set("log.retention_entries", &KEPT.to_string())
        .gateway(&redis.url())
}

async fn fill(gateway: &Parlance) -> Client {
    let mut ann = gateway.dial("room", "ann").connect().await;
    for n in 1..=SENT {
        ann.say(&format!("m{n}"), &format!("{n}")).await;
    }
    ann
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_from_before_the_log_is_unavailable_and_never_looks_like_the_end() {
    let redis = Redis::start();
    redis.seed_first_epochs();
    let gateway = setup(&redis).start();
    let mut ann = fill(&gateway).await;

    ann.send(json!({"action": "fetch_messages", "limit": 50}))
        .await;
    let newest = ann.expect("messages_fetched").await;
    assert_eq!(newest["messages"].as_array().unwrap().len(), 50);
    assert_eq!(newest["has_more"], true);

    ann.send(json!({"action": "fetch_messages", "before_id": "150"}))
        .await;
    let older = ann.expect("error").await;
    assert_eq!(older["action"], "fetch_messages");
    assert_eq!(older["code"], "unavailable");
    assert_eq!(older["retryable"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_missed_more_than_the_log_keeps_is_told_of_the_gap_and_given_the_newest() {
    let redis = Redis::start();
    redis.seed_first_epochs();
    let gateway = setup(&redis).start();
    let _ann = fill(&gateway).await;

    let mut bob = gateway
        .dial("room", "bob")
        .extended()
        .since("5")
        .connect()
        .await;
    let hello = bob.expect("hello").await;
    assert_eq!(
        (&hello["resumed"], &hello["durable"]),
        (&json!(false), &json!(false))
    );
    let gap = bob.expect("gap").await;
    assert_eq!(gap["from"], "6");
    let to: usize = gap["to"].as_str().unwrap().parse().unwrap();
    for id in to + 1..=SENT {
        let told = bob.expect("chat_message").await;
        assert_eq!(told["message"]["id"], id.to_string());
    }
    bob.expect("live").await;
}
