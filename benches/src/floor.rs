//! How the floor is spoken to: whatever a member says comes back to everybody as it is.

use parlance_loadgen::dialect::{Dialect, Heard, Seat, Upgrade, find, number, push_number};

/// The dialect of `raw-send`.
pub(crate) struct Floor;

const NAME: &[u8] = br#""local_id":""#;

impl Dialect for Floor {
    fn upgrade(&self, seat: Seat, _: Option<u64>) -> Upgrade {
        format!("/conversations/room-{}/", seat.room).into()
    }

    fn joined_by_upgrade(&self) -> bool {
        true
    }

    fn message(&self, _: Seat, name: u64, content: &str, to: &mut Vec<u8>) {
        to.push(b'{');
        to.extend_from_slice(NAME);
        push_number(to, name);
        to.extend_from_slice(br#"","action":"send_message","content":""#);
        to.extend_from_slice(content.as_bytes());
        to.extend_from_slice(br#""}"#);
    }

    fn hear(&self, _: Seat, text: &[u8], on: &mut dyn FnMut(Heard<'_>)) {
        let name = find(text, NAME).and_then(|place| number(&text[place + NAME.len()..]));
        if let Some((name, _)) = name {
            on(Heard::Message { name, id: 0 });
        }
    }
}
