//! What a crashed gateway leaves behind: who was there, and who typed; and one that was taken for dead.

use std::time::{Duration, Instant};

use parlance_testkit::{
    client::Client,
    dial::{DEADLINE, Dial, TokenPlace},
    fleet::{Fleet, turn},
    redis::Redis,
    report,
};
use serde_json::{Value, json};

/// Users of the gateway that is killed.
const USERS: usize = 5;

async fn join(fleet: &Fleet, gateway: usize, user: &str) -> Client {
    let gateway = fleet.gateway(gateway);
    let token = gateway.mint(&parlance_testkit::tokens::Claims::of(user));
    let dial = Dial::new(gateway.address(), "crash").token(&token, TokenPlace::Query);
    let mut client = dial.connect().await;
    client.fence().await;
    client
}

fn is_status<'a>(user: &'a str, status: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |frame| {
        frame["type"] == "user_status" && frame["user_id"] == user && frame["status"] == status
    }
}

fn is_typing(frame: &Value, is_typing: bool) -> bool {
    frame["type"] == "typing" && frame["is_typing"] == is_typing
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_a_killed_gateway_stop_typing_and_are_offline() {
    let _turn = turn();
    let redis = Redis::start();
    let mut fleet = Fleet::start(&redis.url());
    let names: Vec<String> = (0..USERS).map(|number| format!("user-{number}")).collect();
    let mut users = Vec::new();
    for name in &names {
        users.push(join(&fleet, 0, name).await);
    }
    let mut watchers = vec![
        join(&fleet, 1, "watcher-1").await,
        join(&fleet, 2, "watcher-2").await,
    ];
    users[0]
        .send(json!({"action": "typing", "is_typing": true}))
        .await;
    for watcher in &mut watchers {
        watcher
            .expect_where("typing", |frame| is_typing(frame, true))
            .await;
    }
    let killed = Instant::now();
    fleet.kill(0);
    let (mut typed, mut shown) = (Duration::ZERO, Duration::ZERO);
    for watcher in &mut watchers {
        // Each of these may come at any time after the kill: looked for from there on.
        typed = typed.max(found(watcher, killed, "its end", |frame| is_typing(frame, false)).await);
        for name in &names {
            let offline = is_status(name, "offline");
            shown = shown.max(found(watcher, killed, name, offline).await);
        }
    }
    report(&format!(
        "gateway killed: {USERS} users offline at every watcher after {shown:.1?}, typing ended \
         after {typed:.1?}"
    ));
    // Far longer than they take, and than a machine stands still.
    assert!(typed <= Duration::from_secs(30), "typed for {typed:?}");
    assert!(shown <= Duration::from_secs(40), "shown for {shown:?}");
}

/// A gateway may find another one dead by what it read just before that came back, and take its users
/// out after it put them in again: only its own word can mend that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_who_are_taken_out_in_error_come_back() {
    let _turn = turn();
    let redis = Redis::start();
    let fleet = Fleet::start(&redis.url());
    let mut user = join(&fleet, 0, "user").await;
    let mut watcher = join(&fleet, 1, "watcher").await;
    take_out(&redis, "user");
    for status in ["offline", "online"] {
        watcher
            .expect_where(status, is_status("user", status))
            .await;
    }
    let began = Instant::now();
    let mut late = join(&fleet, 2, "late").await;
    found(&mut late, began, "the user", is_status("user", "online")).await;
    user.fence().await;
}

/// As a gateway does it that has the conversation open.
fn take_out(redis: &Redis, user: &str) {
    let presence = redis.cmd(&["KEYS", "*:p:crash"]).list()[0].text();
    let channel = presence.replace(":p:", ":c:");
    redis.cmd(&["HDEL", &presence, user]);
    redis.cmd(&["PUBLISH", &channel, &format!("-1 {user}")]);
}

/// How long after `since` a frame came, whether it was taken already or not.
async fn found(
    watcher: &mut Client,
    since: Instant,
    what: &str,
    fits: impl Fn(&Value) -> bool,
) -> Duration {
    let came = |watcher: &Client| {
        let mut seen = watcher.seen.iter();
        let found = seen.find(|seen| seen.at >= since && seen.json().is_some_and(&fits));
        found.map(|seen| seen.at - since)
    };
    if let Some(after) = came(watcher) {
        return after;
    }
    watcher.expect_within(what, 2 * DEADLINE, &fits).await;
    came(watcher).unwrap()
}
