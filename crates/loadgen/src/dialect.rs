//! How a server is spoken to, so that one generator can load different ones.
//!
//! The engine knows WebSocket and nothing above it; a dialect knows what a server's texts mean and
//! nothing of sockets. The product's own is [`crate::parlance`]; those of other servers live with
//! whoever compares. A dialect keeps no state of a connection: it is asked for the next text by its
//! number, and judges each text that comes by itself, by a few byte searches. Parsing JSON here would
//! make the generator the bottleneck.

/// Which connection: a member of a room, both counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seat {
    /// The room.
    pub room: usize,
    /// The member in it.
    pub member: usize,
}

/// What the upgrade request asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Upgrade {
    /// Path and query, a token in it if the server wants one there.
    pub path: String,
    /// More header lines, each ended by `\r\n`.
    pub headers: String,
}

impl From<String> for Upgrade {
    fn from(path: String) -> Self {
        let headers = String::new();
        Self { path, headers }
    }
}

/// Which page of a history is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageAt {
    /// The newest one.
    Newest,
    /// What comes directly after the message with this id.
    After(u64),
    /// What comes directly before the message with this id.
    Before(u64),
}

/// What a server's text says. One text may say several things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard<'a> {
    /// The next [greeting](Dialect::greeting) is due.
    Next,
    /// The member is in its room: it gets everything from here on.
    Joined,
    /// A message that the generator sent, by the number that it was sent with.
    Message {
        /// Its number in the room.
        name: u64,
        /// What the server calls it, to resume behind it or to fetch before it; 0 where it has no such
        /// thing.
        id: u64,
    },
    /// The server took this message. Not needed where the sender's own copy says so.
    Acked {
        /// Its number in the room.
        name: u64,
    },
    /// The server refused a message.
    Refused {
        /// Its number in the room.
        name: u64,
        /// The server's word for it.
        code: &'a str,
        /// It may have happened all the same.
        unknown: bool,
    },
    /// Something else went wrong.
    Error {
        /// The server's word for it.
        code: &'a str,
    },
    /// A page of the history.
    Page {
        /// The number that it was asked for with.
        request: u64,
        /// How many messages are in it.
        rows: u64,
        /// Whether they are in order, and none is there twice.
        in_order: bool,
        /// The newest and the oldest id in it; 0 when it is empty.
        ids: (u64, u64),
    },
    /// The server wants this text as the answer, as to a ping of its own.
    Answer {
        /// To be sent as it is.
        text: &'a str,
    },
}

/// How one kind of server is spoken to. Everything is text frames; protocol-level pings (WebSocket's
/// own) are answered by the engine.
pub trait Dialect {
    /// The upgrade request of `seat`; with `since`, to resume behind the message with that id.
    fn upgrade(&self, seat: Seat, since: Option<u64>) -> Upgrade;

    /// Appends text number `step` (0 directly after the upgrade, each further one after
    /// [`Heard::Next`]) that `seat` says to join. Nothing by default.
    fn greeting(&self, seat: Seat, step: usize, to: &mut Vec<u8>) {
        let _ = (seat, step, to);
    }

    /// Whether a member is in its room as soon as it is upgraded, without [`Heard::Joined`].
    fn joined_by_upgrade(&self) -> bool {
        false
    }

    /// Whether a sender gets a copy of its own message like everybody else.
    fn echoes(&self) -> bool {
        true
    }

    /// Whether an accepted message is told by [`Heard::Acked`]; otherwise the sender's own copy, or
    /// without one the first delivery to anybody, is its acknowledgement.
    fn acks(&self) -> bool {
        false
    }

    /// Appends the text that sends message number `name` of the room. `content` needs no escapes.
    fn message(&self, seat: Seat, name: u64, content: &str, to: &mut Vec<u8>);

    /// Appends the text that asks for a page of `rows` messages; false if the server has no history.
    fn page(&self, seat: Seat, request: u64, at: PageAt, rows: u64, to: &mut Vec<u8>) -> bool {
        let _ = (seat, request, at, rows, to);
        false
    }

    /// Judges a text that `seat` received, and calls `on` for each thing that it says. Whatever is
    /// none of ours (presence, statuses, messages of others) says nothing.
    fn hear(&self, seat: Seat, text: &[u8], on: &mut dyn FnMut(Heard<'_>));
}

// === Searching bytes ===

/// Where `what` begins in `text`.
#[must_use]
pub fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    let (first, rest) = what.split_first()?;
    let mut from = 0;
    while let Some(place) = text[from..].iter().position(|byte| byte == first) {
        let place = from + place;
        if text[place + 1..].starts_with(rest) {
            return Some(place);
        }
        from = place + 1;
    }
    None
}

/// The decimal number at the front of `text`, and what is behind it.
#[must_use]
pub fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut value: u64 = 0;
    let mut digits = 0;
    for byte in text {
        match byte {
            b'0'..=b'9' => {
                let digit = u64::from(byte - b'0');
                value = value.checked_mul(10)?.checked_add(digit)?;
            }
            _ => break,
        }
        digits += 1;
    }
    (digits > 0).then(|| (value, &text[digits..]))
}

/// The characters between `key` and the next quotation mark, as of `"code":"…"`.
#[must_use]
pub fn string_behind<'a>(text: &'a [u8], key: &[u8]) -> Option<&'a str> {
    let behind = &text[find(text, key)? + key.len()..];
    let end = behind.iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&behind[..end]).ok()
}

/// Appends a decimal number.
pub fn push_number(to: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    to.extend_from_slice(&digits[first..]);
}
