//! What the store refuses, and what nobody can read.

use parlance_testkit::{
    client::Client,
    cql::Cql,
    dial::{Dial, TokenPlace},
    fleet::{plan, turn, unlimited},
    redis::{Redis, partition_of, tag},
    report,
    server::Parlance,
    tokens::Claims,
    traffic::{
        history::page_through,
        recording::{Promise, Told},
    },
};
use tokio::task::block_in_place;

use crate::deployment::{Deployment, Talk, Waiting};

/// More than half a segment of the server's log, which is the most that it takes at once.
const SEGMENT: (&str, &str) = ("commitlog_segment_size", "1MiB");
const LARGER_SEGMENT: &str = "8MiB";
const POISON_BYTES: usize = 600_000;
const CONVERSATION: &str = "poisoned";
/// More than a log keeps.
const BEHIND: usize = 150;

async fn author(gateway: &Parlance) -> Client {
    let token = gateway.mint(&Claims::of("author"));
    let dial = Dial::new(gateway.address(), CONVERSATION).token(&token, TokenPlace::Query);
    dial.extended().connect().await
}

/// The ids of the dead letters, when there are so many.
async fn letters(deployment: &Deployment, talk: &mut Talk, count: usize) -> Vec<Vec<String>> {
    loop {
        let list = deployment.run(&["dead-letters", "list"]);
        let lines: Vec<&str> = list.lines().collect();
        if lines.len() >= count && list != "no dead letters\n" {
            assert_eq!(lines.len(), count, "{list}");
            let words = |line: &&str| line.split("  ").map(str::to_owned).collect();
            return lines.iter().map(words).collect();
        }
        talk.go_on(0.2).await;
    }
}

/// What somebody sees who comes now, of these messages.
async fn seen(deployment: &Deployment, ids: std::ops::Range<usize>) -> Vec<Told> {
    let fresh = deployment.fresh_gateway();
    let history = page_through(fresh.address(), CONVERSATION).await.unwrap();
    history[ids].to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_store_refuses_is_laid_aside_and_all_else_flows() {
    let _turn = turn();
    let (name, size) = SEGMENT;
    let mut cql = Cql::setup().set(name, size).start();
    let redis = Redis::start();
    let setup = unlimited()
        .set("limits.content_bytes", "700000")
        .set("limits.frame_bytes", "1000000");
    let urls = [&*redis.url(), &redis.url()];
    let deployment = Deployment::start_as(setup, &cql, &redis.url(), urls);
    let mut talk = deployment.talk(plan("beside")).await;

    let mut author = author(deployment.fleet.gateway(0)).await;
    let poison = "p".repeat(POISON_BYTES);
    author.say("before", "before").await;
    author.say(&poison, "poison").await;
    let ingest = format!("{}:in", tag(partition_of(CONVERSATION)));
    redis.cmd(&["XADD", &ingest, "*", CONVERSATION, "garbage"]);
    for number in 0..BEHIND {
        author
            .say(&format!("after {number}"), &format!("after {number}"))
            .await;
    }

    let found = letters(&deployment, &mut talk, 2).await;
    let (garbled, refused): (Vec<_>, Vec<_>) =
        (found.iter()).partition(|letter| letter[2].contains("cannot be read"));
    let (garbled, refused) = (garbled[0], refused[0]);
    assert_eq!((&*refused[1], &*garbled[1]), (CONVERSATION, CONVERSATION));
    report(&format!("poison: {}; {}", refused[2], garbled[2]));
    let last = (BEHIND + 2).to_string();
    let what = "that all behind the poison is stored";
    author
        .expect_where(what, |frame| {
            frame["type"] == "stored" && frame["up_to_id"] == *last
        })
        .await;
    let shows = |told: &[Told]| {
        told.iter()
            .map(|told| told.shows.clone())
            .collect::<Vec<_>>()
    };
    let history = seen(&deployment, 0..3).await;
    assert_eq!(shows(&history), ["before", "", "after 0"]);

    // A letter whose cause is still there comes back.
    deployment.run(&["dead-letters", "drop", &garbled[0]]);
    deployment.run(&["dead-letters", "retry", &refused[0]]);
    let again = letters(&deployment, &mut talk, 1).await;

    block_in_place(|| {
        cql.set(name, LARGER_SEGMENT);
        cql.restart(0);
    });
    talk.go_on(0.5).await;
    deployment.run(&["dead-letters", "retry", &again[0][0]]);
    Waiting::now(&redis, CONVERSATION)
        .until_stored(&redis)
        .await;
    assert_eq!(
        deployment.run(&["dead-letters", "list"]),
        "no dead letters\n"
    );
    let history = seen(&deployment, 0..3).await;
    assert_eq!(shows(&history), ["before", &poison, "after 0"]);
    talk.recover().await;
    let what = "poison";
    let figures = deployment
        .finish(what, talk, Promise::NothingLost, &redis, &cql)
        .await;
    assert_eq!(figures.put_off, 0, "nobody else was held up");
}
