//! What members send: frames and JSON.

use parlance_testkit::frames::{Frame, opcode};

use super::{Answer, Case, Sent};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = frames();
    cases.extend(texts());
    cases
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

fn frames() -> Vec<Case> {
    let mut cases = vec![];
    let mut add = |name: String, bytes, answer| {
        cases.push(Case::new(
            format!("frame: {name}"),
            Sent::Bytes(bytes),
            answer,
        ));
    };
    let heartbeat = br#"{"action":"heartbeat"}"#;
    for rsv in 1..8 {
        add(
            format!("rsv {rsv}"),
            raw(true, rsv, opcode::TEXT, heartbeat),
            Answer::Close(1002),
        );
    }
    for code in (3..8).chain(11..16) {
        add(
            format!("opcode {code}"),
            raw(true, 0, code, b""),
            Answer::Close(1002),
        );
    }
    for code in [opcode::TEXT, opcode::PING, opcode::PONG, opcode::CLOSE] {
        let frame = Frame::new(code, *b"").unmasked();
        add(format!("unmasked {code}"), frame, Answer::Close(1002));
    }
    for code in [opcode::PING, opcode::PONG, opcode::CLOSE] {
        add(
            format!("fragmented {code}"),
            raw(false, 0, code, b""),
            Answer::Close(1002),
        );
        add(
            format!("long {code}"),
            raw(true, 0, code, &[b'x'; 126]),
            Answer::Close(1002),
        );
    }
    add(
        "ping of 125 bytes".into(),
        raw(true, 0, opcode::PING, &[0; 125]),
        Answer::Lives,
    );
    add(
        "pong unasked".into(),
        raw(true, 0, opcode::PONG, b"x"),
        Answer::Lives,
    );
    add(
        "binary".into(),
        raw(true, 0, opcode::BINARY, b"x"),
        Answer::Close(1003),
    );
    for fin in [true, false] {
        let lone = raw(fin, 0, opcode::CONTINUATION, b"");
        add(
            format!("lone continuation, fin {fin}"),
            lone,
            Answer::Close(1002),
        );
    }
    let inside = [raw(false, 0, 1, b"{"), raw(true, 0, 1, b"}")].concat();
    add("text inside a text".into(), inside, Answer::Close(1002));
    let mut bomb = raw(false, 0, 1, b"");
    bomb.extend(raw(false, 0, 0, b"").repeat(64));
    add("65 empty fragments".into(), bomb, Answer::Close(1008));
    for (name, piece) in [("empty", &b""[..]), ("one byte", b"x")] {
        let mut million = raw(false, 0, 1, b"");
        million.extend(raw(false, 0, 0, piece).repeat(1_000_000));
        add(
            format!("a million fragments, {name}"),
            million,
            Answer::Close(1008),
        );
    }
    let mut total = raw(false, 0, 1, &[b' '; 30_000]);
    total.extend(raw(false, 0, 0, &[b' '; 30_000]));
    let whole = [
        &total[..],
        &raw(true, 0, 0, br#"{"action":"heartbeat"}"#)[..],
    ];
    add(
        "60022 bytes in fragments".into(),
        whole.concat(),
        Answer::Lives,
    );
    total.extend(raw(false, 0, 0, &[b' '; 5_537]));
    add(
        "65537 bytes in fragments".into(),
        total,
        Answer::Close(1009),
    );
    let between = [
        raw(false, 0, 1, &heartbeat[..5]),
        raw(true, 0, opcode::PING, b""),
        raw(true, 0, 0, &heartbeat[5..]),
    ];
    add("ping inside a text".into(), between.concat(), Answer::Lives);
    let pings = raw(true, 0, opcode::PING, b"").repeat(250);
    add("ping flood".into(), pings, Answer::Close(1008));
    let pongs = raw(true, 0, opcode::PONG, b"").repeat(250);
    add("pong flood".into(), pongs, Answer::Close(1008));
    for (name, length, code) in [
        ("64 MiB", 64_u64 << 20, 1009),
        ("65537", 65_537, 1009),
        ("2^62", 1 << 62, 1009),
        ("2^63", 1 << 63, 1002),
        ("2^64-1", u64::MAX, 1002),
        ("5 in eight bytes", 5, 1002),
        ("65535 in eight bytes", 65_535, 1002),
    ] {
        let mut header = vec![0x81, 0xff];
        header.extend(length.to_be_bytes());
        add(format!("length {name}"), header, Answer::Close(code));
    }
    for length in [0_u16, 5, 125] {
        let mut header = vec![0x81, 0xfe];
        header.extend(length.to_be_bytes());
        add(
            format!("length {length} in two bytes"),
            header,
            Answer::Close(1002),
        );
    }
    for bad in [
        &b"\xff"[..],
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf5\x80\x80\x80",
        b"\x80",
        b"a\xc3",
        b"\xe2\x82",
        b"\xf0\x9f\xa6",
        b"\xe0\x80\xaf",
        b"\xf4\x90\x80\x80",
    ] {
        add(
            format!("no UTF-8 {bad:x?}"),
            raw(true, 0, 1, bad),
            Answer::Close(1007),
        );
        let cut = [raw(false, 0, 1, &bad[..1]), raw(true, 0, 0, &bad[1..])].concat();
        add(
            format!("no UTF-8 {bad:x?} in fragments"),
            cut,
            Answer::Close(1007),
        );
    }
    for code in [
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ] {
        let frame = Frame::close(code, "").masked();
        add(format!("close {code}"), frame, Answer::Close(1002));
    }
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999,
    ] {
        let frame = Frame::close(code, "bye").masked();
        add(format!("close {code}"), frame, Answer::Close(code));
    }
    add(
        "close of one byte".into(),
        raw(true, 0, 8, b"x"),
        Answer::Close(1002),
    );
    add(
        "close reason no UTF-8".into(),
        raw(true, 0, 8, b"\x03\xe8\xff"),
        Answer::Close(1007),
    );
    let mut later = Frame::close(1000, "").masked();
    later.extend(raw(true, 7, 15, b"x"));
    add("data after close".into(), later, Answer::Close(1000));
    cases
}

fn texts() -> Vec<Case> {
    let mut cases = vec![];
    let mut add = |name: &str, text: &str, code| {
        let sent = Sent::Bytes(Frame::text(text).masked());
        let name: String = name.chars().take(80).collect();
        let number = cases.len();
        cases.push(Case::new(format!("json {number}: {name}"), sent, code));
    };
    let deep = "[".repeat(30_000);
    for text in [
        "",
        " ",
        "x",
        "null",
        "true",
        "1",
        "1e400",
        "\"a\"",
        "[]",
        "[{}]",
        "{",
        "}",
        "{]",
        "{\"action\"}",
        "{\"action\":}",
        "{'action':1}",
        "{\"action\":\"heartbeat\",}",
        "{\"action\":\"heartbeat\"}{}",
        "\u{feff}{\"action\":\"heartbeat\"}",
        "\0",
        "{\0}",
        "{\"action\":\"a\",\"action\":\"a\"}",
        "{\"action\":\"heartbeat\"} x",
        &deep,
        "{\"action\":\"\\ud800\"}",
        "{\"action\":\"\u{1}\"}",
        "{\"action\":NaN}",
        "{\"action\":\"send_message\",\"content\":\"\\udfff\"}",
    ] {
        add(text, text, Answer::Refused("invalid_json"));
    }
    for text in [
        "{}",
        r#"{"action":null}"#,
        r#"{"action":1}"#,
        r#"{"action":[]}"#,
        r#"{"action":{}}"#,
        r#"{"action":""}"#,
        r#"{"action":"SEND_MESSAGE"}"#,
        r#"{"action":"send_message "}"#,
        r#"{"action":"__proto__"}"#,
        r#"{"Action":"heartbeat"}"#,
    ] {
        add(text, text, Answer::Refused("unknown_action"));
    }
    for value in [
        "\"01\"",
        "\"-1\"",
        "-1",
        "1.5",
        "1e1",
        "\"x\"",
        "\"\"",
        "9007199254740992",
        "18446744073709551616",
        "1e400",
        "[]",
        "{}",
        "true",
        "\" 1\"",
        "\"+1\"",
        "-0",
    ] {
        for (action, field) in [
            ("edit_message", "message_id"),
            ("delete_message", "message_id"),
            ("fetch_messages", "before_id"),
            ("fetch_messages", "after_id"),
        ] {
            let text = format!(r#"{{"action":"{action}","content":"x","{field}":{value}}}"#);
            add(&text, &text, Answer::Refused("invalid_field"));
        }
        let text = format!(r#"{{"action":"read","message_ids":[{value}]}}"#);
        add(&text, &text, Answer::Refused("invalid_field"));
    }
    for (field, action, values) in [
        ("content", "send_message", ["1", "true", "[]", "{}"]),
        ("is_typing", "typing", ["1", "\"true\"", "[]", "{}"]),
        ("message_ids", "read", ["1", "\"1\"", "[]", "{}"]),
        ("limit", "fetch_messages", ["\"1\"", "1.5", "[]", "{}"]),
        (
            "request_id",
            "fetch_messages",
            ["true", "false", "[]", "{}"],
        ),
        ("token", "auth", ["1", "true", "[]", "{}"]),
    ] {
        for value in values {
            let text = format!(r#"{{"action":"{action}","{field}":{value}}}"#);
            add(&text, &text, Answer::Refused("invalid_field"));
        }
    }
    for value in ["1", "true", "[]", "{}", "\"\""] {
        let text = format!(r#"{{"action":"send_message","content":"x","local_id":{value}}}"#);
        add(&text, &text, Answer::Refused("invalid_local_id"));
    }
    for bytes in [129, 20_000] {
        let id = "x".repeat(bytes);
        let text = format!(r#"{{"action":"send_message","content":"x","local_id":"{id}"}}"#);
        let name = format!("local_id of {bytes} bytes");
        add(&name, &text, Answer::Refused("invalid_local_id"));
        let text = format!(r#"{{"action":"fetch_messages","request_id":"{id}"}}"#);
        let name = format!("request_id of {bytes} bytes");
        add(&name, &text, Answer::Refused("invalid_field"));
    }
    let long = "x".repeat(16_385);
    let text = format!(r#"{{"action":"send_message","content":"{long}"}}"#);
    add("long content", &text, Answer::Refused("content_too_long"));
    let empty = r#"{"action":"send_message","content":""}"#;
    add("empty content", empty, Answer::Refused("invalid_content"));
    let other = r#"{"action":"typing","is_typing":true,"conversation_id":"other"}"#;
    add(
        "other conversation",
        other,
        Answer::Refused("wrong_conversation"),
    );
    let unknown = r#"{"action":"read","message_ids":["7"]}"#;
    add(
        "unknown message",
        unknown,
        Answer::Refused("unknown_message"),
    );
    let wide: String = (0..5_000).map(|n| format!(r#","k{n}":1"#)).collect();
    add(
        "wide",
        &format!(r#"{{"action":"heartbeat"{wide}}}"#),
        Answer::Lives,
    );
    let filled: String = (0..7_000).map(|n| format!(r#","{n:x}":0"#)).collect();
    add(
        "as many keys as a frame holds",
        &format!(r#"{{"action":"heartbeat"{filled}}}"#),
        Answer::Lives,
    );
    let nested = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    add(
        "deep",
        &format!(r#"{{"action":"heartbeat","x":{nested}}}"#),
        Answer::Lives,
    );
    cases
}
