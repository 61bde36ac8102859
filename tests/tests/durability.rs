//! What was acknowledged survives `kill -9`: exactly once, densely numbered, in the order told.
//!
//! `PARLANCE_FULL=1` runs ten rounds of up to 10,000 sends instead of two of 2,000.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parlance_testkit::{
    client::{Client, Incoming},
    report,
    server::Parlance,
};
use serde_json::json;
use tokio::{sync::Notify, task::JoinSet};

const CONNECTIONS: usize = 50;
const ROOMS: usize = 5;
/// Unanswered sends of a connection.
const WINDOW: usize = 8;

/// Content of an acknowledged message by its id.
type Acknowledged = BTreeMap<u64, String>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_message_survives_a_kill_exactly_once_and_in_order() {
    let full = std::env::var_os("PARLANCE_FULL").is_some();
    let (rounds, sends) = if full { (10, 10_000) } else { (2, 2_000) };
    let setup = Parlance::setup().set("limits.actions_per_second", "0");
    let setup = setup.set("limits.user_actions_per_second", "0");
    let mut server = setup.set("limits.connections_per_user", "0").start();
    let mut acknowledged: HashMap<String, Acknowledged> = HashMap::new();
    for round in 1..=rounds {
        let kill_after = random_below(sends);
        let began = Instant::now();
        let told = send_until_killed(&mut server, round, sends, kill_after).await;
        let count: usize = told.values().map(BTreeMap::len).sum();
        let took = began.elapsed();
        for (room, messages) in told {
            acknowledged.entry(room).or_default().extend(messages);
        }
        server.restart();
        let mut stored = 0;
        for (room, messages) in &acknowledged {
            stored += check(&server, room, messages).await;
        }
        report(&format!(
            "round {round}: killed after {kill_after} of {sends} sends, {count} acknowledged in \
             {took:.1?}; {stored} messages in history"
        ));
    }
}

/// Fifty connections send until `kill_after` acknowledgements came, then the server is killed.
/// What was acknowledged, by room.
async fn send_until_killed(
    server: &mut Parlance,
    round: usize,
    sends: usize,
    kill_after: usize,
) -> HashMap<String, Acknowledged> {
    let count = Arc::new(AtomicUsize::new(0));
    let reached = Arc::new(Notify::new());
    let mut senders = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let room = format!("room-{}", connection % ROOMS);
        let client = server
            .dial(&room, &format!("user-{connection}"))
            .connect()
            .await;
        let name = format!("{round}-{connection}");
        let (count, reached) = (count.clone(), reached.clone());
        senders.spawn(async move {
            let told = send_all(client, &name, sends / CONNECTIONS, || {
                if count.fetch_add(1, Ordering::SeqCst) == kill_after {
                    reached.notify_one();
                }
            });
            (room, told.await)
        });
    }
    tokio::time::timeout(Duration::from_secs(300), reached.notified())
        .await
        .unwrap();
    server.kill();
    let mut told: HashMap<String, Acknowledged> = HashMap::new();
    for (room, messages) in senders.join_all().await {
        told.entry(room).or_default().extend(messages);
    }
    told
}

/// Sends `sends` messages with at most [`WINDOW`] unanswered, until the end of the connection.
async fn send_all(
    mut client: Client,
    name: &str,
    sends: usize,
    on_acknowledged: impl Fn(),
) -> Acknowledged {
    let mut told = Acknowledged::new();
    let mut sent = 0;
    let mut last_id = 0;
    loop {
        while sent < sends && sent < told.len() + WINDOW {
            let content = format!("{name}-{sent}");
            client
                .send(json!({"action": "send_message", "content": content, "local_id": content}))
                .await;
            sent += 1;
        }
        if told.len() == sends {
            return told;
        }
        let Some(seen) = client.next(Duration::from_secs(60)).await else {
            panic!("{name}: {} of {sent} sends were answered", told.len());
        };
        client.seen.clear();
        let message = match seen.what {
            Incoming::Json(frame) if frame["type"] == "chat_message" => frame["message"].clone(),
            Incoming::Json(frame) => {
                assert_ne!(frame["type"], "message.failed", "{frame}");
                continue;
            }
            Incoming::End => return told,
            Incoming::Ping(_) | Incoming::Pong(_) | Incoming::Close(..) => continue,
        };
        let content = message["content"].as_str().unwrap();
        if content.starts_with(&format!("{name}-")) {
            let id = message["id"].as_str().unwrap().parse().unwrap();
            assert!(id > last_id, "acknowledgements come in order");
            assert_eq!(
                content,
                format!("{name}-{}", told.len()),
                "and in that of the sends"
            );
            last_id = id;
            told.insert(id, content.to_owned());
            on_acknowledged();
        }
    }
}

/// Reads a whole conversation; how many messages it has.
async fn check(server: &Parlance, room: &str, acknowledged: &Acknowledged) -> usize {
    let mut client = server.dial(room, "checker").connect().await;
    let mut contents: Vec<String> = Vec::new();
    loop {
        let after = contents.len().to_string();
        client
            .send(json!({"action": "fetch_messages", "after_id": after, "limit": 100}))
            .await;
        let page = client.expect("messages_fetched").await;
        let rows = page["messages"].as_array().unwrap();
        for row in rows.iter().rev() {
            let expected = (contents.len() + 1).to_string();
            assert_eq!(row["id"], expected, "ids of {room} are dense");
            contents.push(row["content"].as_str().unwrap().to_owned());
        }
        if rows.is_empty() {
            break;
        }
    }
    for (id, content) in acknowledged {
        let at = usize::try_from(id - 1).unwrap();
        assert_eq!(contents.get(at), Some(content), "message {id} of {room}");
    }
    let total = contents.len();
    contents.sort_unstable();
    contents.dedup();
    assert_eq!(contents.len(), total, "a message stands twice in {room}");
    total
}

/// Seeded by the system; the outcome is printed with each round.
fn random_below(bound: usize) -> usize {
    let random = RandomState::new().hash_one(Instant::now());
    usize::try_from(random % bound as u64).unwrap()
}
