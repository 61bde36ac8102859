//! Two devices of a user say the same thing through two gateways at once.

use std::collections::{BTreeMap, BTreeSet};

use parlance_testkit::{
    client::{Client, Incoming},
    dial::{Dial, TokenPlace},
    fleet::{Fleet, times, turn},
    redis::Redis,
    report,
    tokens::Claims,
};
use serde_json::json;

const CONVERSATIONS: usize = 10;
/// Raced before the next are begun.
const AT_ONCE: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_retries_that_race_through_two_gateways_are_one_message() {
    let _turn = turn();
    let redis = Redis::start();
    let fleet = Fleet::start(&redis.url());
    let races = times(10_000, 1_000) / CONVERSATIONS;
    let conversations: Vec<String> = (0..CONVERSATIONS)
        .map(|number| format!("race-{number}"))
        .collect();
    let mut rooms = tokio::task::JoinSet::new();
    for conversation in &conversations {
        let (one, other) = (
            join(&fleet, 0, conversation).await,
            join(&fleet, 1, conversation).await,
        );
        rooms.spawn(race(one, other, races));
    }
    let ids: usize = rooms.join_all().await.into_iter().sum();
    assert_eq!(ids, races * CONVERSATIONS);
    for conversation in &conversations {
        let mut reader = join(&fleet, 2, conversation).await;
        assert_eq!(count(&mut reader).await, races, "in {conversation}");
    }
    report(&format!("{ids} pairs of racing retries: one message each"));
}

async fn join(fleet: &Fleet, gateway: usize, conversation: &str) -> Client {
    let gateway = fleet.gateway(gateway);
    let token = gateway.mint(&Claims::of("ann"));
    let dial = Dial::new(gateway.address(), conversation).token(&token, TokenPlace::Query);
    let mut client = dial.connect().await;
    client.fence().await;
    client
}

/// How many messages it became. Panics when two answers name two messages.
async fn race(mut one: Client, mut other: Client, races: usize) -> usize {
    let mut ids = BTreeSet::new();
    let names: Vec<String> = (0..races).map(|number| format!("r{number}")).collect();
    for names in names.chunks(AT_ONCE) {
        for name in names {
            let action = json!({"action": "send_message", "content": name, "local_id": name,
                "retry": true});
            tokio::join!(one.send(action.clone()), other.send(action));
        }
        let (told, repeated) = tokio::join!(answers(&mut one, names), answers(&mut other, names));
        assert_eq!(told, repeated, "one name, two messages");
        ids.extend(told.into_values());
    }
    ids.len()
}

/// The id that each name has for this client.
async fn answers(client: &mut Client, names: &[String]) -> BTreeMap<String, String> {
    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    while ids.len() < names.len() {
        let frame = match client.take().await.what {
            Incoming::Json(frame) => frame,
            Incoming::Ping(_) | Incoming::Pong(_) => continue,
            Incoming::Close(..) | Incoming::End => panic!("a racing client was closed"),
        };
        assert_ne!(frame["type"], "message.failed", "{frame}");
        let message = &frame["message"];
        let Some(name) = message["local_id"].as_str() else {
            continue;
        };
        let id = message["id"].as_str().unwrap().to_owned();
        if names.iter().any(|own| own == name) {
            let first = ids.entry(name.to_owned()).or_insert_with(|| id.clone());
            assert_eq!(*first, id, "{name} is two messages");
        }
    }
    ids
}

/// Messages in history.
async fn count(reader: &mut Client) -> usize {
    let mut contents = BTreeSet::new();
    let (mut rows, mut after) = (0, "0".to_owned());
    loop {
        reader
            .send(json!({"action": "fetch_messages", "after_id": after, "limit": 100}))
            .await;
        let page = reader.expect("messages_fetched").await;
        let page = page["messages"].as_array().unwrap();
        let Some(newest) = page.first() else {
            assert_eq!(contents.len(), rows, "a message stands twice");
            return rows;
        };
        newest["id"].as_str().unwrap().clone_into(&mut after);
        rows += page.len();
        contents.extend(page.iter().map(|row| row["content"].to_string()));
    }
}
