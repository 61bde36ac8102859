//! Centrifugo's JSON protocol over WebSocket: commands with ids, replies, and pushes.
//!
//! Several replies and pushes may come in one text, one a line. An empty object is its ping, and is
//! answered by one. The reply to a publish is the acknowledgement: with history on, it comes when the
//! message is in the stream.

use parlance_loadgen::dialect::{Dialect, Heard, Seat, Upgrade, find, push_number, string_behind};

use super::{Tokens, number_behind, room};

const CONNECT: u64 = 1;
const SUBSCRIBE: u64 = 2;
/// The id of a publish is the name of its message and this.
const PUBLISH: u64 = 10;

/// Speaks to it.
pub(crate) struct Centrifugo(pub(crate) Tokens);

impl Dialect for Centrifugo {
    fn upgrade(&self, _: Seat, _: Option<u64>) -> Upgrade {
        "/connection/websocket".to_owned().into()
    }

    fn greeting(&self, seat: Seat, step: usize, to: &mut Vec<u8>) {
        let (token, room) = (self.0.of(seat), room(seat));
        let command = match step {
            0 => format!(r#"{{"id":{CONNECT},"connect":{{"token":"{token}"}}}}"#),
            1 => format!(r#"{{"id":{SUBSCRIBE},"subscribe":{{"channel":"{room}"}}}}"#),
            _ => return,
        };
        to.extend_from_slice(command.as_bytes());
    }

    fn acks(&self) -> bool {
        true
    }

    fn message(&self, seat: Seat, name: u64, content: &str, to: &mut Vec<u8>) {
        to.extend_from_slice(br#"{"id":"#);
        push_number(to, name + PUBLISH);
        to.extend_from_slice(br#","publish":{"channel":""#);
        to.extend_from_slice(room(seat).as_bytes());
        to.extend_from_slice(br#"","data":{"content":""#);
        to.extend_from_slice(content.as_bytes());
        to.extend_from_slice(br#"","local_id":""#);
        push_number(to, name);
        to.extend_from_slice(br#""}}}"#);
    }

    fn hear(&self, _: Seat, text: &[u8], on: &mut dyn FnMut(Heard<'_>)) {
        for line in text.split(|byte| *byte == b'\n') {
            hear_line(line, on);
        }
    }
}

fn hear_line(line: &[u8], on: &mut dyn FnMut(Heard<'_>)) {
    if line == b"{}" {
        return on(Heard::Answer { text: "{}" });
    }
    if line.starts_with(br#"{"push":"#) {
        if let Some(name) = number_behind(line, br#""local_id":""#) {
            on(Heard::Message { name, id: 0 });
        }
        return;
    }
    let Some(id) = number_behind(line, br#"{"id":"#) else {
        return;
    };
    let is_error = find(line, br#","error":{"#).is_some();
    let code = string_behind(line, br#""message":""#).unwrap_or("unknown");
    match (id, is_error) {
        (CONNECT | SUBSCRIBE, true) => on(Heard::Error { code }),
        (CONNECT, false) => on(Heard::Next),
        (SUBSCRIBE, false) => on(Heard::Joined),
        (id, true) => on(Heard::Refused {
            name: id.saturating_sub(PUBLISH),
            code,
            unknown: true,
        }),
        (id, false) => on(Heard::Acked {
            name: id.saturating_sub(PUBLISH),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::dialects::heard;

    #[test]
    fn replies_and_pushes_are_told_apart_several_in_a_text() {
        let dialect = Centrifugo(Tokens::of_peer(1, 1));
        let said = |text| heard(&dialect, text);
        assert_eq!(
            said(r#"{"id":1,"connect":{"client":"c","ping":25,"pong":true}}"#),
            ["Next"]
        );
        assert_eq!(
            said(r#"{"id":2,"subscribe":{"recoverable":true}}"#),
            ["Joined"]
        );
        let push = r#"{"push":{"channel":"room-3","pub":{"data":{"content":"x","local_id":"12"},"offset":4}}}"#;
        let both = format!("{{\"id\":22,\"publish\":{{}}}}\n{push}");
        let expected = ["Acked { name: 12 }", "Message { name: 12, id: 0 }"];
        assert_eq!(said(&both), expected);
        assert_eq!(said("{}"), [r#"Answer { text: "{}" }"#]);
        let refused = r#"{"id":22,"error":{"code":103,"message":"permission denied"}}"#;
        let expected = r#"Refused { name: 12, code: "permission denied", unknown: true }"#;
        assert_eq!(said(refused), [expected]);
    }
}
