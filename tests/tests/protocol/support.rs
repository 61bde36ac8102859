//! Words that the tests share.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use parlance_testkit::{client::Client, server::Parlance, tokens::Claims};
use serde_json::Value;

pub(crate) use crate::setup;

/// A server of one's own with the default settings.
pub(crate) fn start() -> Parlance {
    setup().start()
}

/// The server of all tests that run at the same time.
pub(crate) fn shared() -> Arc<Parlance> {
    setup().shared()
}

/// A conversation that no other test knows.
pub(crate) fn room() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("room-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A base client that has joined.
pub(crate) async fn join(server: &Parlance, room: &str, user: &str) -> Client {
    joined(server.dial(room, user).connect().await).await
}

/// A base client with these claims that has joined.
pub(crate) async fn join_as(server: &Parlance, room: &str, claims: &Claims) -> Client {
    joined(server.dial_with(room, claims).connect().await).await
}

async fn joined(mut client: Client) -> Client {
    client.fence().await;
    client
}

/// An extended client that is live, and its greeting.
pub(crate) async fn join_extended(server: &Parlance, room: &str, user: &str) -> (Client, Value) {
    let mut client = server.dial(room, user).extended().connect().await;
    let hello = client.next_json().await;
    assert_eq!(hello["type"], "hello", "the first frame: {hello}");
    client.expect("live").await;
    (client, hello)
}

/// Whether any of `frames` has this type.
pub(crate) fn any(frames: &[Value], kind: &str) -> bool {
    frames.iter().any(|frame| frame["type"] == kind)
}

/// RFC 3339, UTC, milliseconds.
pub(crate) fn is_timestamp(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    parlance_protocol::UnixMicros::parse(text).is_some()
}

/// The ids of a page's rows.
pub(crate) fn ids(page: &Value) -> Vec<&str> {
    let rows = page["messages"].as_array().unwrap();
    rows.iter().map(|row| row["id"].as_str().unwrap()).collect()
}

/// Sends `count` messages with the contents `m1`, `m2` …; all are acknowledged.
pub(crate) async fn fill(client: &mut Client, count: usize) {
    for number in 1..=count {
        client
            .say(&format!("m{number}"), &format!("fill-{number}"))
            .await;
    }
}

/// Waits until `client` has been told of this message: another node may hear of it a little later
/// than the one that its sender is connected to.
pub(crate) async fn told(client: &mut Client, content: &str) {
    let what = format!("the message {content:?}");
    client
        .expect_where(&what, |frame| frame["message"]["content"] == content)
        .await;
}

/// A server that never says "slow down".
pub(crate) fn unlimited() -> Parlance {
    let setup = setup().set("limits.actions_per_second", "0");
    setup
        .set("limits.user_actions_per_second", "0")
        .set("limits.connections_per_user", "0")
        .start()
}
