//! Socket.IO 4 over WebSocket alone, as `benches/peers/socket-io.js` has it.
//!
//! Its packets begin with a digit of Engine.IO (`0` open, `2` ping, `3` pong, `4` message), and those
//! of a message with one of Socket.IO behind it (`0` connect, `2` event, `3` acknowledgement, `4`
//! refused).

use parlance_loadgen::dialect::{Dialect, Heard, Seat, Upgrade, number, push_number};

use super::{Tokens, number_behind, room};

const LOCAL_ID: &[u8] = br#""local_id":""#;

/// Speaks to it.
pub(crate) struct SocketIo(pub(crate) Tokens);

impl Dialect for SocketIo {
    fn upgrade(&self, _: Seat, _: Option<u64>) -> Upgrade {
        "/socket.io/?EIO=4&transport=websocket".to_owned().into()
    }

    /// The server speaks first; then the token goes with the connect packet.
    fn greeting(&self, seat: Seat, step: usize, to: &mut Vec<u8>) {
        if step == 1 {
            let (room, token) = (room(seat), self.0.of(seat));
            to.extend_from_slice(format!(r#"40{{"token":"{token}","room":"{room}"}}"#).as_bytes());
        }
    }

    fn acks(&self) -> bool {
        true
    }

    fn message(&self, _: Seat, name: u64, content: &str, to: &mut Vec<u8>) {
        to.extend_from_slice(b"42");
        push_number(to, name);
        to.extend_from_slice(br#"["send",{"content":""#);
        to.extend_from_slice(content.as_bytes());
        to.extend_from_slice(br#"","local_id":""#);
        push_number(to, name);
        to.extend_from_slice(br#""}]"#);
    }

    fn hear(&self, _: Seat, text: &[u8], on: &mut dyn FnMut(Heard<'_>)) {
        match text {
            [b'0', ..] => on(Heard::Next),
            [b'2', ..] => on(Heard::Answer { text: "3" }),
            [b'4', b'2', event @ ..] => {
                if event.starts_with(br#"["joined""#) {
                    on(Heard::Joined);
                } else if let Some(name) = number_behind(event, LOCAL_ID) {
                    on(Heard::Message { name, id: 0 });
                }
            }
            [b'4', b'3', acknowledgement @ ..] => {
                if let Some((name, _)) = number(acknowledgement) {
                    on(Heard::Acked { name });
                }
            }
            [b'4', b'4', ..] => on(Heard::Error {
                code: "connect_error",
            }),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::dialects::heard;

    #[test]
    fn packets_are_told_apart() {
        let dialect = SocketIo(Tokens::of_peer(1, 1));
        let said = |text| heard(&dialect, text);
        assert_eq!(said(r#"0{"sid":"a","pingInterval":25000}"#), ["Next"]);
        assert!(said(r#"40{"sid":"b"}"#).is_empty());
        assert_eq!(said(r#"42["joined"]"#), ["Joined"]);
        let message = r#"42["message",{"local_id":"12","content":"x"}]"#;
        assert_eq!(said(message), ["Message { name: 12, id: 0 }"]);
        assert_eq!(said(r#"4312[{"local_id":"12"}]"#), ["Acked { name: 12 }"]);
        assert_eq!(said("2"), [r#"Answer { text: "3" }"#]);
        let refused = r#"44{"message":"unauthorized"}"#;
        assert_eq!(said(refused), [r#"Error { code: "connect_error" }"#]);
    }

    #[test]
    fn the_token_is_said_when_the_server_has_spoken() {
        let dialect = SocketIo(Tokens::of_peer(1, 1));
        let seat = Seat { room: 0, member: 0 };
        let said = |step| {
            let mut text = Vec::new();
            dialect.greeting(seat, step, &mut text);
            String::from_utf8(text).expect("text")
        };
        assert_eq!(said(0), "");
        let connect = format!(r#"40{{"token":"{}","room":"room-0"}}"#, dialect.0.of(seat));
        assert_eq!(said(1), connect);
    }
}
