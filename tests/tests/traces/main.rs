//! Traces of real messages, from real processes to something that takes them as a collector does.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod collector;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use parlance_testkit::{
    client::Client,
    cql::Cql,
    fleet::{Fleet, unlimited},
    redis::{Redis, partition_of, tag},
    server::{Parlance, Setup},
};
use serde_json::{Value, json};

use crate::collector::{Collector, Span};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{SPAN}-{flags}")
}

/// What is traced is told at once.
fn traced(setup: Setup, endpoint: &str) -> Setup {
    let setup = setup.set("traces.endpoint", endpoint);
    setup.variable("OTEL_BSP_SCHEDULE_DELAY", "100")
}

/// Sends an action, and waits for what comes of it.
async fn does(client: &mut Client, action: Value, answer: &str) -> Value {
    client.send(action).await;
    client.expect(answer).await
}

async fn says(client: &mut Client, content: &str, flags: &str) -> String {
    let traceparent = traceparent(flags);
    let action = json!({"action": "send_message", "content": content, "traceparent": traceparent});
    let message = does(client, action, "chat_message").await;
    message["message"]["id"].as_str().unwrap().to_owned()
}

/// What stands in the log of a conversation.
fn log_of(redis: &Redis, conversation: &str) -> String {
    let log = format!("{}:l:{conversation}", tag(partition_of(conversation)));
    let entries = redis.connection().cmd(&["XRANGE", &log, "-", "+"]);
    let texts = entries.list().iter();
    let texts: Vec<_> = texts
        .map(|entry| entry.list()[1].list()[1].text())
        .collect();
    texts.join("\n")
}

#[track_caller]
fn assert_in_trace(span: &Span, parent: &str, service: &str, kind: SpanKind) {
    assert_eq!(span.trace_id, TRACE, "{span:?}");
    assert_eq!(span.parent_id, parent, "{span:?}");
    assert_eq!((&*span.service, span.kind), (service, kind), "{span:?}");
    assert_eq!(span.attribute("messaging.system"), "parlance");
    assert_eq!(span.attribute("messaging.destination.name"), "lobby");
    assert!(!span.has_failed, "{span:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_followed_from_its_sender_to_everybody_and_into_the_store() {
    let mut collector = Collector::start().await;
    let (redis, cql) = (Redis::start(), Cql::shared());
    let setup = unlimited().store(&cql, &cql.keyspace());
    setup.migrate();
    let setup = traced(setup, &collector.url()).set("traces.one_in", "0");
    let _persister = setup.clone().persister(&redis.url()).start();
    let fleet = Fleet::of(2, &setup, &redis.url());
    let mut ann = fleet.gateway(0).dial("lobby", "ann").connect().await;
    let mut bob = fleet.gateway(1).dial("lobby", "bob").connect().await;
    bob.fence().await;
    // Nobody wants these traced.
    ann.say("without", "1").await;
    says(&mut ann, "not sampled", "00").await;

    let id = says(&mut ann, "sampled", "01").await;
    bob.expect_where("the traced message", |frame| frame["message"]["id"] == *id)
        .await;

    collector.wait_for("send_message", 1).await;
    collector.wait_for("deliver", 2).await;
    collector.wait_for("store", 1).await;
    let [send] = *collector.named("send_message") else {
        panic!("{:#?}", collector.spans);
    };
    assert_in_trace(send, SPAN, "parlance-gateway", SpanKind::Producer);
    assert_eq!(send.attribute("parlance.outcome"), "new");
    assert_eq!(send.attribute("messaging.message.id"), id);
    for deliver in collector.named("deliver") {
        assert_in_trace(
            deliver,
            &send.span_id,
            "parlance-gateway",
            SpanKind::Consumer,
        );
        assert_eq!(deliver.attribute("messaging.message.id"), id);
        assert_eq!(deliver.attribute("parlance.members"), "1");
    }
    let [store] = *collector.named("store") else {
        panic!("{:#?}", collector.spans);
    };
    assert_in_trace(
        store,
        &send.span_id,
        "parlance-persister",
        SpanKind::Consumer,
    );
    assert_eq!(store.attribute("parlance.outcome"), "stored");
    assert_eq!(store.attribute("messaging.message.id"), id);
    assert_eq!(collector.spans.len(), 4, "{:#?}", collector.spans);
    let log = log_of(&redis, "lobby");
    let continued = format!("00-{TRACE}-{}-01", send.span_id);
    assert_eq!(log.matches(&continued).count(), 1, "{log}");
    assert_eq!(log.matches(TRACE).count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_traced_too_and_a_repeat_says_that_it_is_one() {
    let mut collector = Collector::start().await;
    let setup = traced(unlimited(), &collector.url()).set("traces.one_in", "0");
    let server = setup.start();
    let mut ann = server.dial("lobby", "ann").connect().await;
    let traceparent = traceparent("01");
    let send = json!({"action": "send_message", "content": "a", "local_id": "1", "traceparent": traceparent});
    let message = does(&mut ann, send.clone(), "chat_message").await;
    does(&mut ann, send, "chat_message").await;
    let id = &message["message"]["id"];
    let edit = json!({"action": "edit_message", "message_id": id, "content": "b", "traceparent": traceparent});
    does(&mut ann, edit, "message.edited").await;
    let delete = json!({"action": "delete_message", "message_id": id, "traceparent": traceparent});
    does(&mut ann, delete, "message.deleted").await;

    collector.wait_for("delete_message", 1).await;
    collector.wait_for("deliver", 3).await;

    let outcomes: Vec<_> = ["send_message", "edit_message", "delete_message"]
        .iter()
        .flat_map(|name| collector.named(name))
        .map(|span| (&*span.name, span.attribute("parlance.outcome")))
        .collect();
    let expected = [
        ("send_message", "new"),
        ("send_message", "duplicate"),
        ("edit_message", "new"),
        ("delete_message", "new"),
    ];
    assert_eq!(
        outcomes,
        expected.map(|(name, outcome)| (name, outcome.to_owned()))
    );
    for span in &collector.spans {
        assert_eq!((&*span.trace_id, &*span.service), (TRACE, "parlance-serve"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_no_trace_begins_its_own_by_chance() {
    let mut collector = Collector::start().await;
    let server = traced(unlimited(), &collector.url())
        .set("traces.one_in", "1")
        .start();
    let mut ann = server.dial("lobby", "ann").connect().await;
    ann.say("one", "1").await;
    ann.say("two", "2").await;
    // A caller that traces and does not want this one traced is obeyed.
    says(&mut ann, "not sampled", "00").await;
    ann.say("three", "3").await;

    collector.wait_for("send_message", 3).await;

    let mut traces: Vec<_> = collector.named("send_message");
    assert!(
        traces.iter().all(|span| span.parent_id.is_empty()),
        "{traces:#?}"
    );
    traces.sort_by(|a, b| a.trace_id.cmp(&b.trace_id));
    traces.dedup_by(|a, b| a.trace_id == b.trace_id);
    assert_eq!(traces.len(), 3, "{traces:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_nothing_of_a_trace_is_kept() {
    let redis = Redis::start();
    let gateway = unlimited().gateway(&redis.url()).start();
    let mut ann = gateway.dial("lobby", "ann").connect().await;
    says(&mut ann, "sampled", "01").await;
    let log = log_of(&redis, "lobby");
    assert!(log.contains("sampled") && !log.contains(TRACE), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_is_told_in_the_log_and_holds_up_nothing() {
    let collector = Collector::start().await;
    let nowhere = collector.url();
    drop(collector);
    let mut server: Parlance = traced(unlimited(), &nowhere).start();
    let mut ann = server.dial("lobby", "ann").connect().await;
    says(&mut ann, "sampled", "01").await;
    server.wait_for_log("that the spans are lost", |line| {
        line.contains("opentelemetry") && line.contains("\"level\":\"ERROR\"")
    });
    says(&mut ann, "sampled as well", "01").await;
    ann.close(1000).await;
    server.terminate();
    assert!(server.wait_for_exit().success());
}
