//! Floods, each on a server of its own with the limit that stops it.

use std::time::Duration;

use parlance_testkit::{client::Client, dial::DEADLINE, server::Parlance};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{interval, timeout},
};

/// Waits until the server counts itself as full, or no longer so.
async fn wait_until_ready_is(server: &Parlance, ready: bool) {
    let turned = async {
        let mut looks = interval(Duration::from_millis(5));
        while server.is_ready() != ready {
            looks.tick().await;
        }
    };
    let turned = timeout(DEADLINE, turned).await;
    turned.unwrap_or_else(|_| panic!("ready never became {ready}"));
}

fn is_refused(frame: &Value) -> bool {
    frame["code"] == "rate_limited"
}

/// Sends far more than it may.
async fn flood(client: &Client, count: usize) {
    for number in 0..count {
        let id = number.to_string();
        let action = json!({"action": "send_message", "content": id, "local_id": id});
        client.send(action).await;
    }
}

#[tokio::test]
async fn who_acts_beyond_the_limit_is_refused_then_closed_and_the_others_go_on() {
    let server = Parlance::start();
    let mut bob = server.dial("flood", "bob").connect().await;
    bob.fence().await;
    let mut ann = server.dial("flood", "ann").connect().await;
    flood(&ann, 600).await;
    let refused = ann.expect_where("a refusal", is_refused).await;
    assert_eq!(refused["type"], "message.failed", "{refused}");
    assert!(refused["retry_after_ms"].as_u64() > Some(0), "{refused}");
    ann.expect_close(4201).await;
    ann.expect_end().await;
    bob.say("still here", "bob-1").await;
    let told = bob.frames();
    let refused = ann.frames().into_iter().filter(is_refused);
    for id in refused.map(|frame| frame["local_id"].clone()) {
        let message = told.iter().find(|frame| frame["message"]["content"] == id);
        assert!(message.is_none(), "refused and told: {message:?}");
    }
}

#[tokio::test]
async fn connections_beyond_those_of_a_user_are_closed_and_the_first_ones_go_on() {
    let limit = 3;
    let setup = Parlance::setup().set("limits.connections_per_user", &limit.to_string());
    let server = setup.start();
    let mut first = vec![];
    for number in 0..limit {
        let mut client = server
            .dial(&format!("room-{number}"), "ann")
            .connect()
            .await;
        client.fence().await;
        first.push(client);
    }
    for _ in 0..100 {
        let mut more = server.dial("room", "ann").connect().await;
        more.expect_close(4201).await;
        more.expect_end().await;
    }
    for client in &mut first {
        client.fence().await;
    }
    let mut other = server.dial("room", "bob").connect().await;
    other.fence().await;
}

#[tokio::test]
async fn half_open_handshakes_up_to_the_limit_are_answered_busy_until_they_are_cut() {
    let limit = 50;
    let setup = Parlance::setup().set("limits.pre_auth", &limit.to_string());
    let server = setup.start();
    let mut member = server.dial("busy", "member").connect().await;
    member.fence().await;
    let mut half_open = vec![];
    for _ in 0..limit {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(b"GET /conversations/").await.unwrap();
        half_open.push(stream);
    }
    wait_until_ready_is(&server, false).await;
    for _ in 0..20 {
        let answer = server.dial("busy", "next").refused().await;
        assert_eq!(answer.status, 503, "{answer:?}");
        let seconds = answer.header("retry-after").map(str::parse::<u64>);
        assert!(matches!(seconds, Some(Ok(1..=5))), "{answer:?}");
    }
    member.say("members go on", "1").await;
    // The server's own time limit makes room: nobody here lets go.
    wait_until_ready_is(&server, true).await;
    let mut next = server.dial("busy", "next").connect().await;
    next.fence().await;
    assert_eq!(half_open.len(), limit);
}
