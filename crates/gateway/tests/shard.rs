//! Shards with a real log behind them and real sockets before them.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod house;

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use house::{House, guest};
use parlance_gateway::handover::{Census, SendAway, Terms};
use parlance_protocol::{ReconnectReason, limits::FRAME_BYTES};
use parlance_testkit::{
    client::{Client, Incoming},
    frames::{self, Frame, opcode},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(20);

fn ids(frames: &[Value]) -> Vec<u64> {
    let id = |frame: &Value| frame["message"]["id"].as_str()?.parse().ok();
    frames.iter().filter_map(id).collect()
}

/// Returns when the server has answered something: events that come later are delivered.
async fn until_live(socket: &mut TcpStream) {
    let fetch = json!({"action": "fetch_messages", "limit": 1}).to_string();
    socket
        .write_all(&Frame::text(&fetch).masked())
        .await
        .unwrap();
    loop {
        let frame = timeout(DEADLINE, frames::read(socket)).await;
        let payload = frame.unwrap().unwrap().payload;
        if String::from_utf8_lossy(&payload).contains("messages_fetched") {
            return;
        }
    }
}

// === Traffic ===

#[tokio::test]
async fn two_clients_chat_and_both_see_one_order() {
    let house = House::open();
    let mut ann = house.join("tea", "ann").await;
    let mut bob = house.join("tea", "bob").await;
    bob.fence().await;
    let mut of_ann = Vec::new();
    for nth in 0..50 {
        of_ann.push(ann.say("hello", &format!("a{nth}")).await);
        bob.send(json!({"action": "send_message", "content": "and hello", "local_id": format!("b{nth}")}))
            .await;
    }
    let mut seen = Vec::new();
    while seen.len() < 100 {
        seen.push(bob.expect("chat_message").await);
    }
    assert_eq!(ids(&seen), (1..=100).collect::<Vec<_>>());
    assert!(ids(&of_ann).is_sorted());
}

#[tokio::test]
async fn a_frame_that_came_with_the_handshake_is_the_first() {
    let house = House::open();
    let early = json!({"action": "send_message", "content": "early", "local_id": "e"});
    let guest = guest("tea", "ann").having_sent(Frame::text(&early.to_string()).masked());
    let (socket, _released) = house.admit(guest).await;
    let mut ann = Client::over(socket);
    let said = ann.expect("chat_message").await;
    assert_eq!(said["message"]["content"], "early");
}

#[tokio::test]
async fn a_frame_may_come_byte_by_byte_and_many_frames_at_once() {
    let house = House::open();
    let mut ann = house.join("tea", "ann").await;
    let say = |content: &str| {
        let action = json!({"action": "send_message", "content": content});
        Frame::text(&action.to_string()).masked()
    };
    for byte in say("slow") {
        ann.send_bytes(&[byte]).await;
    }
    let joined: Vec<u8> = (0..500)
        .flat_map(|nth| say(&format!("{nth:0>200}")))
        .collect();
    ann.send_bytes(&joined).await;
    for nth in 0..=500 {
        let said = ann.expect("chat_message").await;
        let content = if nth == 0 {
            "slow".into()
        } else {
            format!("{:0>200}", nth - 1)
        };
        assert_eq!(said["message"]["content"], content);
    }
}

#[tokio::test]
async fn a_ping_is_answered_with_its_payload() {
    let house = House::open();
    let mut ann = house.join("tea", "ann").await;
    ann.send_frame(&Frame::new(opcode::PING, *b"are you there"))
        .await;
    assert_eq!(ann.expect_pong().await, b"are you there");
}

#[tokio::test]
async fn pings_that_come_together_are_all_answered_in_their_order() {
    let house = House::open();
    let pings = (0..20).flat_map(|nth| Frame::new(opcode::PING, [nth]).masked());
    let guest = guest("tea", "ann").having_sent(pings.collect());
    let (socket, _released) = house.admit(guest).await;
    let mut ann = Client::over(socket);
    for nth in 0..20 {
        assert_eq!(ann.expect_pong().await, [nth]);
    }
}

#[tokio::test]
async fn a_reader_that_stands_still_slows_nobody_and_gets_everything_in_order_later() {
    let house = House::open();
    let (mut still, _released) = house.admit(guest("tea", "still")).await;
    until_live(&mut still).await;
    let mut ann = house.join("tea", "ann").await;
    let content = "x".repeat(16_000);
    let messages = 1_000;
    for nth in 0..messages {
        ann.say(&content, &format!("m{nth}")).await;
    }
    let mut still = Client::over(still);
    let mut seen = Vec::new();
    while seen.len() < messages {
        seen.push(still.expect("chat_message").await);
    }
    assert_eq!(ids(&seen), (1..=messages as u64).collect::<Vec<_>>());
    let said = still.say("I am back", "back").await;
    assert_eq!(said["message"]["id"], "1001");
}

// === Ends ===

#[tokio::test]
async fn a_client_that_says_goodbye_is_answered_in_kind_and_offline_at_once() {
    let house = House::open();
    let mut ann = house.join("tea", "ann").await;
    let (lost, _released) = house.admit(guest("tea", "cyd")).await;
    let (socket, released) = house.admit(guest("tea", "bob")).await;
    let mut bob = Client::over(socket);
    for _ in 0..2 {
        ann.expect_where("both online", |frame| frame["status"] == "online")
            .await;
    }
    bob.set_polite(false);
    // Held, since it may come back.
    drop(lost);
    bob.send_frame(&Frame::close(1000, "bye")).await;
    assert_eq!(bob.expect_close(1000).await, "");
    bob.expect_end().await;
    drop(bob);
    for gone in ["bob", "cyd"] {
        let offline = ann
            .expect_where("offline", |frame| frame["status"] == "offline")
            .await;
        assert_eq!(offline["user_id"], gone);
    }
    assert!(
        timeout(DEADLINE, released).await.is_ok(),
        "the permit is held"
    );
}

#[tokio::test]
async fn a_close_frame_without_a_code_is_answered_without_one() {
    let house = House::open();
    let (mut socket, _released) = house.admit(guest("tea", "ann")).await;
    let close = Frame::new(opcode::CLOSE, []).masked();
    socket.write_all(&close).await.unwrap();
    let mut all = Vec::new();
    timeout(DEADLINE, socket.read_to_end(&mut all))
        .await
        .unwrap()
        .unwrap();
    assert!(all.ends_with(&[0x88, 0x00]), "{all:x?}");
}

#[tokio::test]
async fn a_connection_ends_when_data_and_the_end_of_the_client_come_together() {
    let house = House::open();
    let (mut socket, handover, released) = house.arrive(guest("tea", "ann")).await;
    let last = json!({"action": "send_message", "content": "last words", "local_id": "l"});
    let last = Frame::text(&last.to_string()).masked();
    socket.write_all(&last).await.unwrap();
    socket.shutdown().await.unwrap();
    assert!(house.shards.hand_over(handover).is_ok());
    let mut all = Vec::new();
    let end = timeout(DEADLINE, socket.read_to_end(&mut all)).await;
    end.unwrap().unwrap();
    assert!(
        timeout(DEADLINE, released).await.is_ok(),
        "the permit is held"
    );
}

#[tokio::test]
async fn a_reset_connection_gives_its_permit_back() {
    let house = House::open();
    let (socket, released) = house.admit(guest("tea", "ann")).await;
    socket.set_zero_linger().unwrap();
    drop(socket);
    assert!(
        timeout(DEADLINE, released).await.is_ok(),
        "the permit is held"
    );
}

#[tokio::test]
async fn a_refused_token_ends_with_its_code_once_the_client_answers() {
    let house = House::open();
    let mut silent = house.join("tea", "silent").await;
    silent.set_polite(false);
    let mut ann = house.join("tea", "ann").await;
    for refused in [&silent, &ann] {
        refused
            .send(json!({"action": "auth", "token": "nonsense"}))
            .await;
    }
    for refused in [&mut ann, &mut silent] {
        refused.expect_close(4003).await;
        refused.expect_end().await;
    }
    let ended = |client: &Client| client.seen.last().unwrap().at;
    assert!(ended(&ann) < ended(&silent), "she answered");
}

#[tokio::test]
async fn a_client_that_never_answers_a_close_frame_is_cut_after_two_seconds() {
    let house = House::open();
    let (socket, released) = house.admit(guest("tea", "ann")).await;
    let mut ann = Client::over(socket);
    ann.set_polite(false);
    let began = Instant::now();
    ann.send(json!({"action": "auth", "token": "nonsense"}))
        .await;
    ann.expect_close(4003).await;
    ann.expect_end().await;
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(1), "{took:?}");
    assert!(
        timeout(DEADLINE, released).await.is_ok(),
        "the permit is held"
    );
}

#[tokio::test]
async fn each_broken_rule_of_framing_closes_with_its_code_and_ends() {
    let house = House::open();
    let reserved = Frame {
        rsv: 4,
        ..Frame::text("{}")
    };
    let fragments: Vec<u8> = std::iter::once(Frame::text("").unfinished())
        .chain((0..64).map(|_| Frame::new(opcode::CONTINUATION, []).unfinished()))
        .flat_map(|frame| frame.masked())
        .collect();
    for (bytes, code) in [
        (Frame::text("{}").unmasked(), 1002),
        (reserved.masked(), 1002),
        (Frame::new(opcode::BINARY, [0]).masked(), 1003),
        (Frame::new(opcode::TEXT, [0xff]).masked(), 1007),
        (fragments, 1008),
        (Frame::new(opcode::PING, []).masked().repeat(101), 1008),
        (Frame::text(&"x".repeat(FRAME_BYTES + 1)).masked(), 1009),
    ] {
        let mut ann = house.join("tea", "ann").await;
        ann.send_bytes(&bytes).await;
        ann.expect_close(code).await;
        ann.expect_end().await;
    }
}

#[tokio::test]
async fn a_ping_right_before_a_broken_rule_or_a_close_frame_is_answered() {
    let house = House::open();
    let ping = Frame::new(opcode::PING, *b"still here").masked();
    for (end, code) in [
        (Frame::text("{}").unmasked(), 1002),
        (Frame::close(1000, "").masked(), 1000),
    ] {
        let guest = guest("tea", "ann").having_sent([ping.clone(), end].concat());
        let (socket, _released) = house.admit(guest).await;
        let mut ann = Client::over(socket);
        assert_eq!(ann.expect_pong().await, b"still here");
        ann.expect_close(code).await;
        ann.expect_end().await;
    }
}

#[tokio::test]
async fn a_broken_rule_after_our_close_frame_ends_the_connection_without_another_frame() {
    let house = House::open();
    let (mut socket, _released) = house.admit(guest("tea", "ann")).await;
    let nonsense = json!({"action": "auth", "token": "nonsense"}).to_string();
    let frame = Frame::text(&nonsense).masked();
    socket.write_all(&frame).await.unwrap();
    while timeout(DEADLINE, frames::read(&mut socket))
        .await
        .unwrap()
        .unwrap()
        .opcode
        != opcode::CLOSE
    {}
    let unmasked = Frame::text("{}").unmasked();
    socket.write_all(&unmasked).await.unwrap();
    let mut rest = Vec::new();
    let end = timeout(DEADLINE, socket.read_to_end(&mut rest)).await;
    end.unwrap().unwrap();
    assert_eq!(rest, [0_u8; 0]);
}

#[tokio::test]
async fn a_frame_that_is_not_complete_in_ten_seconds_closes_with_1008() {
    let house = House::open();
    let mut ann = house.join("tea", "ann").await;
    let began = Instant::now();
    ann.send_bytes(&Frame::text("{}").masked()[..3]).await;
    ann.expect_close_within(1008, 3 * DEADLINE).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(5), "{took:?}");
}

// === What the process tells ===

const DRAIN: Terms = Terms {
    reason: ReconnectReason::Drain,
    patience_ms: 60_000,
};

async fn extended(house: &House, conversation: &'static str, user: &'static str) -> Client {
    let (socket, _) = house.admit(guest(conversation, user).extended()).await;
    let mut client = Client::over(socket);
    client.expect("live").await;
    client
}

/// Sends away as the process does.
async fn send_away(house: &House, terms: Terms, ask: usize, close: usize) {
    let counts = house.shards.count(terms).await;
    let away = SendAway {
        terms,
        ask,
        close,
        within_ms: 1_000_000,
    };
    house.shards.send_away(away, &counts).await;
}

async fn census(house: &House, terms: Terms) -> (usize, usize, usize) {
    let census = Census::sum(&house.shards.count(terms).await);
    (census.askable, census.waiting, census.closable)
}

/// What comes first, a telling to go or the answer to a ping.
async fn is_sent_away(client: &mut Client) -> bool {
    client.send_frame(&Frame::new(opcode::PING, [])).await;
    loop {
        match client.next(DEADLINE).await.map(|seen| seen.what) {
            Some(Incoming::Close(1012, _)) => return true,
            Some(Incoming::Json(frame)) if frame["type"] == "reconnect" => return true,
            Some(Incoming::Pong(_)) => return false,
            Some(_) => {}
            None => panic!("neither sent away nor answered"),
        }
    }
}

#[tokio::test]
async fn extended_members_are_asked_and_the_others_closed_and_stop_ends_the_shards() {
    let house = House::open();
    let mut clients = Vec::new();
    for conversation in ["a", "b", "c", "d"] {
        clients.push(extended(&house, conversation, "ann").await);
    }
    let mut base = house.join("a", "bob").await;
    base.fence().await;
    assert_eq!(census(&house, DRAIN).await, (4, 0, 1));

    send_away(&house, DRAIN, 4, 1).await;
    let mut times = HashSet::new();
    for client in &mut clients {
        let asked = client.expect("reconnect").await;
        assert_eq!(asked["reason"], "drain");
        let after_ms = asked["after_ms"].as_u64().unwrap();
        assert!(after_ms <= 1_000_000, "{after_ms}");
        times.insert(after_ms);
    }
    assert!(times.len() > 1, "they all leave at once: {times:?}");
    let reason: Value = serde_json::from_str(&base.expect_close(1012).await).unwrap();
    assert!(reason["retry_after_ms"].is_u64(), "{reason}");
    base.expect_end().await;
    assert_eq!(census(&house, DRAIN).await, (0, 4, 0));

    house.shards.close_all(1_000).await;
    for client in &mut clients {
        client.expect_close(1012).await;
        client.expect_end().await;
    }
    let (socket, released) = house.admit(guest("e", "ann")).await;
    let mut late = Client::over(socket);
    late.say("still open", "s").await;
    house.shards.stop().await;
    late.expect_end().await;
    assert!(
        timeout(DEADLINE, released).await.is_ok(),
        "the permit is held"
    );
    assert!(house.is_refused(guest("e", "ann")).await);
}

#[tokio::test]
async fn who_did_nothing_for_the_longest_time_goes_first() {
    let house = House::open();
    let mut clients = Vec::new();
    for user in ["a", "b", "c", "d"] {
        let mut client = house.join("tea", user).await;
        client.fence().await;
        clients.push(client);
    }
    for talker in [0, 2] {
        // Their instants have milliseconds.
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(5) {
            clients[talker].say("hello", "t").await;
        }
    }
    // A sign of life is nothing done.
    clients[1].send(json!({"action": "heartbeat"})).await;
    clients[1].send_frame(&Frame::new(opcode::PING, [])).await;
    clients[1].expect_pong().await;

    send_away(&house, DRAIN, 0, 2).await;
    let mut closed = Vec::new();
    for client in &mut clients {
        closed.push(is_sent_away(client).await);
    }
    assert_eq!(closed, [false, true, false, true]);
}

#[tokio::test]
async fn who_was_asked_and_did_not_go_is_closed_by_a_node_that_leaves_and_asked_again_by_another() {
    let house = House::open();
    let mut ann = extended(&house, "tea", "ann").await;
    let impatient = |reason| Terms {
        reason,
        patience_ms: 0,
    };
    let (drain, rebalance) = (
        impatient(ReconnectReason::Drain),
        impatient(ReconnectReason::Rebalance),
    );
    for _ in 0..2 {
        send_away(&house, rebalance, 1, 1).await;
        assert_eq!(ann.expect("reconnect").await["reason"], "rebalance");
    }
    assert_eq!(census(&house, DRAIN).await, (0, 1, 0));
    assert_eq!(census(&house, rebalance).await, (1, 0, 0));
    assert_eq!(census(&house, drain).await, (0, 0, 1));
    send_away(&house, drain, 1, 1).await;
    ann.expect_close(1012).await;
}

/// Whoever is asked may be connected elsewhere and not be seen there yet.
#[tokio::test]
async fn who_goes_as_asked_is_not_offline_at_once() {
    let house = House::open();
    let ann = extended(&house, "tea", "ann").await;
    let mut bob = house.join("tea", "bob").await;
    bob.fence().await;
    let mut cyd = extended(&house, "tea", "cyd").await;
    let mut dan = house.join("tea", "dan").await;
    dan.fence().await;
    send_away(&house, DRAIN, 2, 0).await;
    cyd.expect("reconnect").await;
    ann.close(1000).await;
    // A real goodbye later is told before the held one.
    dan.close(1000).await;
    let gone = bob
        .expect_where("offline", |frame| {
            frame["type"] == "user_status" && frame["status"] == "offline"
        })
        .await;
    assert_eq!(gone["user_id"], "dan");
}
