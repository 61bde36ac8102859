//! `ws` with Redis, as `benches/peers/ws-redis.js` has it.

use parlance_loadgen::dialect::{Dialect, Heard, Seat, Upgrade, push_number};

use super::{Tokens, number_behind, room};

/// Speaks to it.
pub(crate) struct WsRedis(pub(crate) Tokens);

impl Dialect for WsRedis {
    fn upgrade(&self, seat: Seat, _: Option<u64>) -> Upgrade {
        format!("/{}?token={}", room(seat), self.0.of(seat)).into()
    }

    fn acks(&self) -> bool {
        true
    }

    fn message(&self, _: Seat, name: u64, content: &str, to: &mut Vec<u8>) {
        to.extend_from_slice(br#"{"content":""#);
        to.extend_from_slice(content.as_bytes());
        to.extend_from_slice(br#"","local_id":""#);
        push_number(to, name);
        to.extend_from_slice(br#""}"#);
    }

    fn hear(&self, _: Seat, text: &[u8], on: &mut dyn FnMut(Heard<'_>)) {
        if text.starts_with(br#"{"type":"joined""#) {
            return on(Heard::Joined);
        }
        let Some(name) = number_behind(text, br#""local_id":""#) else {
            return;
        };
        if text.starts_with(br#"{"type":"message""#) {
            on(Heard::Message { name, id: 0 });
        } else if text.starts_with(br#"{"type":"ack""#) {
            on(Heard::Acked { name });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::dialects::heard;

    #[test]
    fn joining_messages_and_acknowledgements_are_told_apart() {
        let dialect = WsRedis(Tokens::of_peer(1, 1));
        let said = |text| heard(&dialect, text);
        assert_eq!(said(r#"{"type":"joined"}"#), ["Joined"]);
        let message = r#"{"type":"message","message":{"local_id":"12","content":"x"}}"#;
        assert_eq!(said(message), ["Message { name: 12, id: 0 }"]);
        assert_eq!(
            said(r#"{"type":"ack","local_id":"12"}"#),
            ["Acked { name: 12 }"]
        );
        assert!(said("{}").is_empty());
    }
}
