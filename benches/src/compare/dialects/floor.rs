//! The floors: what a member says comes back, filled up with blanks.

use parlance_loadgen::dialect::{Dialect, Heard, Seat, Upgrade, push_number};

use super::{number_behind, room};

/// Speaks to a floor.
pub(crate) struct Floor;

impl Dialect for Floor {
    fn upgrade(&self, seat: Seat, _: Option<u64>) -> Upgrade {
        format!("/conversations/{}/", room(seat)).into()
    }

    fn joined_by_upgrade(&self) -> bool {
        true
    }

    /// The same bytes as are said to the gateway.
    fn message(&self, _: Seat, name: u64, content: &str, to: &mut Vec<u8>) {
        to.extend_from_slice(br#"{"action":"send_message","content":""#);
        to.extend_from_slice(content.as_bytes());
        to.extend_from_slice(br#"","local_id":""#);
        push_number(to, name);
        to.extend_from_slice(br#""}"#);
    }

    fn hear(&self, _: Seat, text: &[u8], on: &mut dyn FnMut(Heard<'_>)) {
        if let Some(name) = number_behind(text, br#""local_id":""#) {
            on(Heard::Message { name, id: name });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::dialects::heard;

    #[test]
    fn what_was_said_is_heard() {
        let mut said = Vec::new();
        Floor.message(Seat { room: 0, member: 0 }, 17, "xx", &mut said);
        said.extend_from_slice(b"     ");
        let said = String::from_utf8(said).expect("text");
        assert_eq!(heard(&Floor, &said), ["Message { name: 17, id: 17 }"]);
    }
}
