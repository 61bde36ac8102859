//! Why and how a connection ends.

use std::time::{Duration, Instant};

use parlance_testkit::{
    client::Client,
    frames::{Frame, opcode},
};
use serde_json::{Value, json};

use super::support::{any, join, join_extended, room, setup, shared, start};

async fn closed_after(frames: &[Vec<u8>], code: u16) {
    let server = shared();
    let mut client = join(&server, &room(), "ann").await;
    for frame in frames {
        client.send_bytes(frame).await;
    }
    client.expect_close(code).await;
    client.expect_end().await;
}

/// How long is waited for what takes its time by design.
const LONG: Duration = Duration::from_secs(60);

/// At least so long ago something began that was to take longer. There is no upper bound but the waiting
/// for it: a machine that stands still for seconds makes everything late.
#[track_caller]
fn assert_lasted(began: Instant, at_least: Duration) {
    let lasted = began.elapsed();
    assert!(lasted >= at_least, "{lasted:?}");
}

fn raw(fin: bool, rsv: u8, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let payload = payload.to_vec();
    Frame {
        fin,
        rsv,
        opcode,
        payload,
    }
    .masked()
}

#[tokio::test]
async fn broken_framing_is_1002() {
    let text = br#"{"action":"heartbeat"}"#;
    let cases = [
        vec![Frame::text("{}").unmasked()],
        vec![raw(true, 4, opcode::TEXT, text)],
        vec![raw(true, 1, opcode::TEXT, text)],
        vec![raw(true, 0, 0x3, text)],
        vec![raw(true, 0, 0xB, b"")],
        vec![raw(true, 0, opcode::CONTINUATION, text)],
        vec![
            raw(false, 0, opcode::TEXT, b"{"),
            raw(true, 0, opcode::TEXT, b"}"),
        ],
        vec![raw(false, 0, opcode::PING, b"x")],
        vec![raw(true, 0, opcode::PING, &[b'x'; 126])],
        vec![raw(true, 0, opcode::CLOSE, b"x")],
        vec![Frame::close(1005, "").masked()],
        vec![Frame::close(999, "").masked()],
    ];
    for frames in cases {
        closed_after(&frames, 1002).await;
    }
}

#[tokio::test]
async fn a_binary_frame_is_1003() {
    closed_after(&[raw(true, 0, opcode::BINARY, b"{}")], 1003).await;
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_1007() {
    closed_after(&[raw(true, 0, opcode::TEXT, b"\"\xff\"")], 1007).await;
    closed_after(&[raw(true, 0, opcode::TEXT, b"\"\xed\xa0\x80\"")], 1007).await;
    closed_after(&[raw(true, 0, opcode::TEXT, b"\"\xc3")], 1007).await;
}

#[tokio::test]
async fn a_character_may_be_split_over_fragments() {
    let server = shared();
    let mut client = join(&server, &room(), "ann").await;
    let text = r#"{"action":"send_message","content":"é"}"#.as_bytes();
    let middle = text.iter().position(|byte| *byte == 0xC3).unwrap() + 1;
    client
        .send_bytes(&raw(false, 0, opcode::TEXT, &text[..middle]))
        .await;
    client
        .send_frame(&Frame::new(opcode::PING, *b"between"))
        .await;
    client
        .send_bytes(&raw(true, 0, opcode::CONTINUATION, &text[middle..]))
        .await;
    assert_eq!(client.expect_pong().await, b"between");
    assert_eq!(
        client.expect("chat_message").await["message"]["content"],
        "é"
    );
}

#[tokio::test]
async fn a_frame_or_message_over_64_kib_is_1009() {
    let half = vec![b' '; 40_000];
    closed_after(&[Frame::text(&" ".repeat(65_537)).masked()], 1009).await;
    closed_after(
        &[
            raw(false, 0, opcode::TEXT, &half),
            raw(true, 0, opcode::CONTINUATION, &half),
        ],
        1009,
    )
    .await;
    let server = shared();
    let mut client = join(&server, &room(), "ann").await;
    client.send_text(&" ".repeat(65_536)).await;
    assert_eq!(
        client.expect("error").await["code"],
        "invalid_json",
        "the limit itself is fine"
    );
}

#[tokio::test]
async fn more_than_64_fragments_are_1008() {
    let mut frames = vec![raw(false, 0, opcode::TEXT, b" ")];
    frames.extend(vec![raw(false, 0, opcode::CONTINUATION, b" "); 64]);
    closed_after(&frames, 1008).await;
}

#[tokio::test]
async fn over_100_control_frames_a_second_are_1008() {
    let pings = vec![Frame::new(opcode::PING, *b"x").masked(); 250];
    closed_after(&[pings.concat()], 1008).await;
}

#[tokio::test]
async fn a_frame_that_never_ends_is_1008_after_10_s() {
    let server = shared();
    let mut client = join(&server, &room(), "ann").await;
    let frame = Frame::text(r#"{"action":"heartbeat"}"#).masked();
    let began = Instant::now();
    client.send_bytes(&frame[..frame.len() - 1]).await;
    client.expect_close_within(1008, LONG).await;
    assert_lasted(began, Duration::from_secs(5));
}

#[tokio::test]
async fn a_ping_is_answered_with_its_payload() {
    let server = shared();
    let mut client = join(&server, &room(), "ann").await;
    client
        .send_frame(&Frame::new(opcode::PING, [b'p'; 125]))
        .await;
    assert_eq!(client.expect_pong().await, [b'p'; 125]);
}

#[tokio::test]
async fn tcp_ends_after_a_close_frame_from_either_side_that_is_not_answered() {
    let server = shared();
    for code in [1000, 1001, 4999] {
        let mut client = join(&server, &room(), "ann").await;
        client.set_polite(false);
        client.send_frame(&Frame::close(code, "bye")).await;
        client.expect_close(code).await;
        client.expect_end().await;
    }
    let mut client = join(&server, &room(), "ann").await;
    client.set_polite(false);
    client.send_frame(&Frame::new(opcode::BINARY, *b"x")).await;
    client.expect_close(1003).await;
    client.expect_end().await;
}

#[tokio::test]
async fn a_heartbeat_comes_with_a_ping_and_silence_of_60_s_is_4200() {
    let server = shared();
    let room = room();
    let began = Instant::now();
    let mut silent = join(&server, &room, "silent").await;
    silent.set_polite(false);
    let mut polite = join(&server, &room, "polite").await;
    assert_eq!(
        silent.expect_within("heartbeat", LONG, is_heartbeat).await,
        json!({"type": "heartbeat"})
    );
    // The first comes after 12.5 s to 25 s, the second 25 s later.
    assert_lasted(began, Duration::from_secs(6));
    silent.expect_ping().await;
    silent.expect_within("heartbeat", LONG, is_heartbeat).await;
    assert_lasted(began, Duration::from_secs(18));
    silent.expect_close_within(4200, LONG).await;
    assert_lasted(began, Duration::from_secs(50));
    polite.fence().await;
}

fn is_heartbeat(frame: &Value) -> bool {
    frame["type"] == "heartbeat"
}

#[tokio::test]
async fn a_leaving_node_asks_extended_clients_to_move_and_closes_all_with_1012() {
    // Its window is the usual one, which does not pass while a machine stands still.
    let mut server = start();
    let mut base = join(&server, "drain", "ann").await;
    let (mut extended, _) = join_extended(&server, "drain", "bob").await;
    server.terminate();
    let asked = extended.expect("reconnect").await;
    assert_eq!(asked["reason"], "drain");
    assert!(asked["after_ms"].is_u64(), "{asked}");
    for client in [&mut base, &mut extended] {
        let reason: Value = serde_json::from_str(&client.expect_close(1012).await).unwrap();
        assert!(reason["retry_after_ms"].is_u64(), "{reason}");
        client.expect_end().await;
    }
    let told: Vec<Value> = base.frames();
    assert!(!any(&told, "reconnect"), "base clients do not know it");
    assert_eq!(server.wait_for_exit().code(), Some(0));
}

#[tokio::test]
async fn without_clients_a_leaving_node_ends_at_once() {
    // Longer than its end is waited for.
    let mut server = setup().set("drain.window", "2m").start();
    server.terminate();
    assert_eq!(server.wait_for_exit().code(), Some(0));
}

#[tokio::test]
async fn what_was_sent_before_a_close_is_still_done() {
    let server = shared();
    let room = room();
    let mut bob = join(&server, &room, "bob").await;
    let ann: Client = join(&server, &room, "ann").await;
    ann.send(json!({"action": "send_message", "content": "last words"}))
        .await;
    ann.close(1000).await;
    assert_eq!(
        bob.expect("chat_message").await["message"]["content"],
        "last words"
    );
}
