//! `send_message` and its acknowledgement.

use serde_json::{Value, json};

use super::support::{any, is_timestamp, join, room, shared};

#[tokio::test]
async fn a_message_goes_to_everyone_and_acknowledges_its_sender() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let mut ann_elsewhere = join(&server, &room, "ann").await;
    let mut bob = join(&server, &room, "bob").await;
    let acknowledged = ann
        .say("Hello! \u{1f44b} \"quoted\" \\ \n", "temp_123")
        .await;
    let message = &acknowledged["message"];
    assert!(is_timestamp(&message["timestamp"]), "{message}");
    let expected = json!({"type": "chat_message", "position": "1", "message": {
        "id": "1", "local_id": "temp_123", "sender_id": "ann",
        "content": "Hello! \u{1f44b} \"quoted\" \\ \n",
        "timestamp": message["timestamp"], "status": "sent"}});
    assert_eq!(acknowledged, expected);
    assert_eq!(bob.expect("chat_message").await, expected);
    assert_eq!(ann_elsewhere.expect("chat_message").await, expected);
}

#[tokio::test]
async fn ids_are_dense_and_everyone_sees_the_same_order() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let mut bob = join(&server, &room, "bob").await;
    for number in 0..15 {
        for (client, name) in [(&ann, "ann"), (&bob, "bob")] {
            let content = format!("{name} {number}");
            client
                .send(json!({"action": "send_message", "content": content}))
                .await;
        }
    }
    let mut orders = Vec::new();
    for client in [&mut ann, &mut bob] {
        let mut order = Vec::new();
        for _ in 0..30 {
            let message = client.expect("chat_message").await["message"].take();
            order.push((
                message["id"].clone(),
                message["content"].clone(),
                message["timestamp"].clone(),
            ));
        }
        orders.push(order);
    }
    assert_eq!(orders[0], orders[1]);
    let ids: Vec<&Value> = orders[0].iter().map(|(id, ..)| id).collect();
    let dense: Vec<Value> = (1..=30).map(|id| json!(id.to_string())).collect();
    assert_eq!(ids, dense.iter().collect::<Vec<_>>());
    for name in ["ann", "bob"] {
        let own = orders[0]
            .iter()
            .filter(|(_, content, _)| content.as_str().unwrap().starts_with(name));
        let numbers: Vec<String> = own
            .map(|(_, content, _)| content.as_str().unwrap().to_owned())
            .collect();
        let sent: Vec<String> = (0..15).map(|number| format!("{name} {number}")).collect();
        assert_eq!(numbers, sent);
    }
}

#[tokio::test]
async fn conversations_do_not_hear_each_other() {
    let server = shared();
    let mut here = join(&server, &room(), "ann").await;
    let mut there = join(&server, &room(), "ann").await;
    assert_eq!(here.say("here", "a").await["message"]["id"], "1");
    assert!(!any(&there.fence().await, "chat_message"));
    assert_eq!(there.say("there", "a").await["message"]["id"], "1");
}

#[tokio::test]
async fn a_repeated_local_id_is_the_same_message_answered_to_that_socket_alone() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let mut bob = join(&server, &room, "bob").await;
    let mut first = ann.say("once", "a").await;
    ann.say("between", "b").await;
    for retry in [false, true] {
        ann.send(
            json!({"action": "send_message", "content": "once", "local_id": "a", "retry": retry}),
        )
        .await;
        let mut again = ann.expect("chat_message").await;
        again["message"]["status"].take();
        first["message"]["status"].take();
        assert_eq!(again, first, "but for the status, which may have gone on");
    }
    ann.say("after", "c").await;
    let contents: Vec<Value> = [
        bob.expect("chat_message").await,
        bob.expect("chat_message").await,
        bob.expect("chat_message").await,
    ]
    .map(|mut frame| frame["message"]["content"].take())
    .into();
    assert_eq!(contents, ["once", "between", "after"]);
    assert!(!any(&bob.fence().await, "chat_message"));
}

#[tokio::test]
async fn a_repeat_is_found_again_over_another_connection_with_its_present_content() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let first = ann.say("before", "a").await;
    ann.send(json!({"action": "edit_message", "message_id": "1", "content": "present"}))
        .await;
    ann.expect("message.edited").await;
    ann.cut();
    let mut again = join(&server, &room, "ann").await;
    again
        .send(
            json!({"action": "send_message", "content": "before", "local_id": "a", "retry": true}),
        )
        .await;
    let answer = again.expect("chat_message").await;
    assert_eq!(answer["message"]["content"], "present");
    assert_eq!(answer["message"]["id"], first["message"]["id"]);
    assert_eq!(
        answer["message"]["timestamp"],
        first["message"]["timestamp"]
    );
}

#[tokio::test]
async fn another_content_for_a_local_id_is_a_conflict() {
    let server = shared();
    let mut ann = join(&server, &room(), "ann").await;
    ann.say("one", "a").await;
    ann.send(json!({"action": "send_message", "content": "other", "local_id": "a"}))
        .await;
    let failed = ann.expect("message.failed").await;
    assert_eq!(failed["code"], "local_id_conflict");
    assert_eq!(
        (&failed["local_id"], &failed["retryable"]),
        (&json!("a"), &json!(false))
    );
}

#[tokio::test]
async fn a_local_id_belongs_to_its_sender_and_conversation() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    let mut bob = join(&server, &room, "bob").await;
    ann.say("of ann", "same").await;
    bob.expect("chat_message").await;
    let of_bob = bob.say("of bob", "same").await;
    assert_eq!(
        (&of_bob["message"]["id"], &of_bob["message"]["content"]),
        (&json!("2"), &json!("of bob"))
    );
}

#[tokio::test]
async fn without_a_local_id_every_send_is_a_message_and_the_key_is_left_out() {
    let server = shared();
    let mut ann = join(&server, &room(), "ann").await;
    for id in ["1", "2"] {
        ann.send(json!({"action": "send_message", "content": "again"}))
            .await;
        let message = ann.expect("chat_message").await["message"].take();
        assert_eq!(message["id"], id);
        assert!(message.get("local_id").is_none(), "{message}");
    }
}

#[tokio::test]
async fn content_is_1_to_16384_bytes_of_utf_8() {
    let server = shared();
    let mut ann = join(&server, &room(), "ann").await;
    let longest = "é".repeat(8_192);
    assert_eq!(
        ann.say(&longest, "longest").await["message"]["content"],
        longest
    );
    let cases = [
        (json!(""), "invalid_content"),
        (json!(format!("{longest}x")), "content_too_long"),
        (json!(7), "invalid_field"),
        (Value::Null, "invalid_field"),
    ];
    for (content, code) in cases {
        ann.send(json!({"action": "send_message", "content": content, "local_id": "refused"}))
            .await;
        let failed = ann.expect("message.failed").await;
        assert_eq!(failed["code"], code, "{failed}");
        assert_eq!(failed["local_id"], "refused");
        assert_eq!(failed["retryable"], false);
        assert!(!failed["error"].as_str().unwrap().is_empty());
    }
    assert_eq!(
        ann.say("x", "refused").await["message"]["id"],
        "2",
        "a refusal uses nothing up"
    );
}

#[tokio::test]
async fn a_local_id_is_1_to_128_bytes_and_null_in_a_failure_otherwise() {
    let server = shared();
    let mut ann = join(&server, &room(), "ann").await;
    ann.say("hello", &"l".repeat(128)).await;
    for local_id in [json!(""), json!("l".repeat(129)), json!(5)] {
        ann.send(json!({"action": "send_message", "content": "x", "local_id": local_id}))
            .await;
        let failed = ann.expect("message.failed").await;
        assert_eq!(failed["code"], "invalid_local_id", "{local_id}");
        assert_eq!(failed.get("local_id"), Some(&Value::Null), "{failed}");
    }
}

#[tokio::test]
async fn a_conversation_id_must_be_that_of_the_url() {
    let server = shared();
    let room = room();
    let mut ann = join(&server, &room, "ann").await;
    ann.send(json!({"action": "send_message", "conversation_id": "another", "content": "x", "local_id": "a"})).await;
    assert_eq!(
        ann.expect("message.failed").await["code"],
        "wrong_conversation"
    );
    ann.send(json!({"action": "typing", "conversation_id": "another", "is_typing": true}))
        .await;
    assert_eq!(ann.expect("error").await["code"], "wrong_conversation");
    ann.send(json!({"action": "send_message", "conversation_id": room, "content": "x", "local_id": "a", "from_the_future": {"x": [1]}})).await;
    assert_eq!(ann.expect("chat_message").await["message"]["id"], "1");
}

#[tokio::test]
async fn heartbeats_have_no_answer() {
    let server = shared();
    let mut ann = join(&server, &room(), "ann").await;
    ann.send(json!({"action": "heartbeat"})).await;
    ann.send(json!({"action": "heartbeat_ack"})).await;
    assert_eq!(ann.fence().await, [] as [Value; 0]);
}

#[tokio::test]
async fn a_failing_action_other_than_a_send_is_answered_by_an_error_with_its_name() {
    let server = shared();
    let mut ann = join(&server, &room(), "ann").await;
    let long = "n".repeat(65);
    let cases = [
        (
            json!({"action": "read", "message_ids": ["999"]}),
            json!("read"),
            "unknown_message",
        ),
        (
            json!({"action": "typing"}),
            json!("typing"),
            "invalid_field",
        ),
        (json!({"action": "dance"}), json!("dance"), "unknown_action"),
        (json!({"action": long}), Value::Null, "unknown_action"),
        (json!({"action": 5}), Value::Null, "unknown_action"),
        (json!({}), Value::Null, "unknown_action"),
        (json!([1]), Value::Null, "invalid_json"),
        (json!("text"), Value::Null, "invalid_json"),
    ];
    for (frame, action, code) in cases {
        ann.send(frame.clone()).await;
        let error = ann.expect("error").await;
        assert_eq!(error["code"], code, "{frame} {error}");
        assert_eq!(error.get("action"), Some(&action), "{frame}");
        assert_eq!(error["retryable"], false);
        assert!(!error["error"].as_str().unwrap().is_empty());
    }
    ann.send_text("{\"action\":").await;
    assert_eq!(ann.expect("error").await["code"], "invalid_json");
    ann.say("alive", "a").await;
}
