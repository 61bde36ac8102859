//! Where the frames of the three protocols end, and which answer belongs to which question.
//!
//! Used by the relay, which cuts at such places. It reads only as much as that takes; what it cannot
//! read, the relay passes on as it comes.

/// What is spoken through a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Nothing that the relay would have to know.
    Opaque,
    /// An upgrade request and its answer, then frames.
    WebSocket,
    /// Redis's protocol, second and third version.
    Resp,
    /// The fourth version of CQL's binary protocol.
    Cql,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// From who has dialled to the server.
    Asks,
    /// Back.
    Answers,
}

/// What the first bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A frame of so many bytes.
    Frame(usize),
    /// The beginning of one.
    Beginning,
    /// No frame at all.
    Unreadable,
}

/// Something that was asked, known again by its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    /// The answer has these bytes in it.
    Named(Vec<u8>),
    /// The answer is the one with this number.
    Numbered(u64),
    /// The answer has this stream in its header.
    Streamed([u8; 2]),
}

/// What an answer says, as far as somebody counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// A client's send is refused for the moment.
    PutOff,
    /// A client is told of a loss.
    Resync,
    /// A subscriber of Redis is told of something that was published.
    Push,
    Other,
}

const HEAD_END: &[u8] = b"\r\n\r\n";
/// An upgrade request is shorter; more without an end is none.
const HEAD_AT_MOST: usize = 64 * 1024;
/// The opcodes of CQL's `QUERY`, `EXECUTE` and `BATCH`.
const CQL_STATEMENTS: [u8; 3] = [0x07, 0x0A, 0x0D];
const CQL_HEADER: usize = 9;

impl Framing {
    /// Whether a connection begins with the head of an HTTP message.
    pub(super) fn begins_with_head(self) -> bool {
        match self {
            Self::WebSocket => true,
            Self::Opaque | Self::Resp | Self::Cql => false,
        }
    }

    /// The first frame of these bytes.
    pub(super) fn first(self, bytes: &[u8]) -> Found {
        let length = match self {
            Self::Opaque => Ok(Some(bytes.len())),
            Self::WebSocket => Ok(web_socket(bytes)),
            Self::Resp => resp(bytes, 0),
            Self::Cql => Ok(cql(bytes)),
        };
        match length {
            Ok(Some(length)) if length <= bytes.len() => Found::Frame(length),
            Ok(Some(_) | None) => Found::Beginning,
            Err(Unreadable) => Found::Unreadable,
        }
    }

    /// The question of a frame that changes something; `number` counts the frames before it.
    pub(super) fn question(self, frame: &[u8], number: u64) -> Option<Question> {
        match self {
            Self::Opaque => None,
            Self::WebSocket => {
                let text = unmasked(frame)?;
                let is_send = contains(&text, b"\"send_message\"");
                is_send.then(|| local_id(&text).map(Question::Named))?
            }
            Self::Resp => {
                let changes = contains(frame, b"EVALSHA") || contains(frame, b"XADD");
                changes.then_some(Question::Numbered(number))
            }
            Self::Cql => {
                let (stream, opcode) = (frame.get(2..4)?, frame.get(4)?);
                let asks = CQL_STATEMENTS.contains(opcode);
                asks.then(|| Question::Streamed([stream[0], stream[1]]))
            }
        }
    }

    /// Whether this is its answer; `number` counts the answers before it.
    pub(super) fn answers(self, frame: &[u8], number: u64, question: &Question) -> bool {
        match question {
            Question::Named(name) => contains(frame, name),
            Question::Numbered(asked) => *asked == number,
            Question::Streamed(stream) => frame.get(2..4) == Some(stream),
        }
    }

    /// What an answer says.
    pub(super) fn tone(self, frame: &[u8]) -> Tone {
        match self {
            Self::Opaque | Self::Cql => Tone::Other,
            Self::Resp => resp_tone(frame),
            Self::WebSocket => {
                // The type stands first.
                let begin = &frame[..frame.len().min(48)];
                match () {
                    () if contains(begin, b"\"message.failed\"") => Tone::PutOff,
                    () if contains(begin, b"\"resync\"") => Tone::Resync,
                    () => Tone::Other,
                }
            }
        }
    }
}

/// The length of the head of an HTTP message, its empty line included.
pub(super) fn head(bytes: &[u8]) -> Found {
    match find(bytes, HEAD_END) {
        Some(at) => Found::Frame(at + HEAD_END.len()),
        None if bytes.len() > HEAD_AT_MOST => Found::Unreadable,
        None => Found::Beginning,
    }
}

fn web_socket(bytes: &[u8]) -> Option<usize> {
    let second = *bytes.get(1)?;
    let (header, payload) = match second & 0x7F {
        126 => (4, usize::from(u16::from_be_bytes(array(bytes, 2)?))),
        127 => {
            let length = u64::from_be_bytes(array(bytes, 2)?);
            (10, usize::try_from(length).unwrap_or(usize::MAX / 2))
        }
        short => (2, usize::from(short)),
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    Some(header + mask + payload)
}

/// What a client's frame says, if it is whole in itself.
fn unmasked(frame: &[u8]) -> Option<Vec<u8>> {
    let second = *frame.get(1)?;
    let header = match second & 0x7F {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let mask: [u8; 4] = array(frame, header)?;
    let payload = frame.get(header + 4..)?;
    let mask = mask.iter().cycle();
    Some(
        payload
            .iter()
            .zip(mask)
            .map(|(byte, mask)| byte ^ mask)
            .collect(),
    )
}

/// `"local_id":"…"`, which stands in the answer, too.
fn local_id(text: &[u8]) -> Option<Vec<u8>> {
    const KEY: &[u8] = b"\"local_id\":\"";
    let from = find(text, KEY)?;
    let value = &text[from + KEY.len()..];
    let end = value.iter().position(|byte| *byte == b'"')?;
    Some(text[from..from + KEY.len() + end + 1].to_vec())
}

/// Not a value of the protocol.
#[derive(Debug)]
struct Unreadable;

/// Where the value that begins `at` ends, or nothing when that is further on.
fn resp(bytes: &[u8], at: usize) -> Result<Option<usize>, Unreadable> {
    let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else {
        return Ok(None);
    };
    let Some(line) = find(rest, b"\r\n") else {
        return Ok(None);
    };
    let after = at + line + 2;
    let count = || -> Result<usize, Unreadable> {
        let number = std::str::from_utf8(&rest[1..line]).map_err(|_| Unreadable)?;
        let number: i64 = number.parse().map_err(|_| Unreadable)?;
        // Of nothing there is nothing.
        Ok(usize::try_from(number).unwrap_or(0))
    };
    match rest[0] {
        b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => Ok(Some(after)),
        b'$' | b'!' | b'=' if &rest[1..line] == b"-1" => Ok(Some(after)),
        b'$' | b'!' | b'=' => Ok(Some(after + count()? + 2)),
        b'*' | b'~' | b'>' => resp_values(bytes, after, count()?),
        b'%' => resp_values(bytes, after, count()? * 2),
        // An attribute, and what has it.
        b'|' => resp_values(bytes, after, count()? * 2 + 1),
        _ => Err(Unreadable),
    }
}

fn resp_values(bytes: &[u8], from: usize, count: usize) -> Result<Option<usize>, Unreadable> {
    let mut at = from;
    for _ in 0..count {
        match resp(bytes, at)? {
            Some(end) => at = end,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

fn resp_tone(frame: &[u8]) -> Tone {
    let begin = &frame[..frame.len().min(24)];
    let is_push = frame.first() == Some(&b'>');
    let is_message = contains(begin, b"\r\nmessage\r\n") || contains(begin, b"\r\nsmessage\r\n");
    match is_push && is_message {
        true => Tone::Push,
        false => Tone::Other,
    }
}

fn cql(bytes: &[u8]) -> Option<usize> {
    let body = u32::from_be_bytes(array(bytes, 5)?);
    Some(CQL_HEADER + usize::try_from(body).expect("a size has 32 bits"))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

pub(super) fn contains(bytes: &[u8], part: &[u8]) -> bool {
    find(bytes, part).is_some()
}

pub(super) fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    let first = *part.first()?;
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(part) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each frame alone, and with another behind it, is found; no beginning of it is.
    fn is_told_apart(framing: Framing, frame: &[u8]) {
        let both = [frame, frame].concat();
        assert_eq!(framing.first(&both), Found::Frame(frame.len()), "{frame:?}");
        for cut in 0..frame.len() {
            assert_eq!(framing.first(&frame[..cut]), Found::Beginning, "{cut}");
        }
    }

    #[test]
    fn values_of_redis_are_told_apart() {
        for value in [
            &b"*2\r\n$4\r\nECHO\r\n$4\r\n*\r\n$\r\n"[..],
            b"+OK\r\n",
            b"-MOVED 3999 127.0.0.1:6381\r\n",
            b":-5\r\n",
            b"$-1\r\n",
            b"*-1\r\n",
            b"$0\r\n\r\n",
            b"*0\r\n",
            b"%1\r\n+proto\r\n:3\r\n",
            b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$3\r\nabc\r\n",
            b"|1\r\n+ttl\r\n:3\r\n*2\r\n_\r\n#t\r\n",
            b"=15\r\ntxt:Some string\r\n",
        ] {
            is_told_apart(Framing::Resp, value);
        }
        assert_eq!(Framing::Resp.first(b"GET / \r\n"), Found::Unreadable);
        assert_eq!(Framing::Resp.first(b"$x\r\n"), Found::Unreadable);
    }

    #[test]
    fn only_what_was_published_is_a_push() {
        let push = b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$3\r\nabc\r\n";
        assert_eq!(Framing::Resp.tone(push), Tone::Push);
        let sharded = b">3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$3\r\nabc\r\n";
        assert_eq!(Framing::Resp.tone(sharded), Tone::Push);
        let confirmed = b">3\r\n$9\r\nsubscribe\r\n$7\r\nmessage\r\n:1\r\n";
        assert_eq!(Framing::Resp.tone(confirmed), Tone::Other);
        let list = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$3\r\nabc\r\n";
        assert_eq!(Framing::Resp.tone(list), Tone::Other);
    }

    /// As a client masks it.
    fn masked(text: &[u8]) -> Vec<u8> {
        let mask = [7, 1, 200, 33];
        let length = u8::try_from(text.len()).unwrap();
        let mut frame = match length {
            0..126 => vec![0x81, 0x80 | length],
            126.. => vec![0x81, 0xFE, 0, length],
        };
        frame.extend(mask);
        frame.extend(text.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
        frame
    }

    #[test]
    fn frames_of_web_sockets_are_told_apart() {
        is_told_apart(Framing::WebSocket, &[0x81, 2, b'h', b'i']);
        is_told_apart(Framing::WebSocket, &[0x8A, 0]);
        is_told_apart(Framing::WebSocket, &masked(b"hi"));
        is_told_apart(Framing::WebSocket, &masked(&[b'x'; 200]));
        let mut long = vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0];
        long.extend([b'x'; 65_536]);
        assert_eq!(Framing::WebSocket.first(&long), Found::Frame(long.len()));
        assert_eq!(head(b"GET / HTTP/1.1\r\n\r\n\x81"), Found::Frame(18));
        assert_eq!(head(b"GET / HTTP/1.1\r\n\r"), Found::Beginning);
    }

    #[test]
    fn a_send_is_answered_by_the_message_with_its_name() {
        let framing = Framing::WebSocket;
        let send = br#"{"action":"send_message","content":"a","local_id":"ann-1"}"#;
        let question = framing.question(&masked(send), 0).unwrap();
        let answer = br#"..{"type":"chat_message","message":{"id":"1","local_id":"ann-1"}}"#;
        assert!(framing.answers(answer, 9, &question));
        let other = br#"..{"type":"chat_message","message":{"id":"1","local_id":"ann-11"}}"#;
        assert!(!framing.answers(other, 9, &question));
        assert_eq!(framing.question(&masked(br#"{"action":"ping"}"#), 0), None);
    }

    #[test]
    fn frames_of_cql_are_told_apart_and_answered_on_their_stream() {
        let query = [4, 0, 1, 2, 7, 0, 0, 0, 3, b'a', b'b', b'c'];
        is_told_apart(Framing::Cql, &query);
        let question = Framing::Cql.question(&query, 0).unwrap();
        assert!(Framing::Cql.answers(&[0x84, 0, 1, 2, 8, 0, 0, 0, 0], 5, &question));
        assert!(!Framing::Cql.answers(&[0x84, 0, 1, 3, 8, 0, 0, 0, 0], 5, &question));
        assert_eq!(Framing::Cql.question(&[4, 0, 0, 1, 1, 0, 0, 0, 0], 0), None);
    }
}
