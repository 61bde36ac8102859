//! What has to hold for any bytes on a socket, called by the target in `fuzz/` and, with its committed
//! corpus, by the test below. Not part of a build.

use parlance_core::clock::Mono;

use super::{Event, FRAGMENTS, FrameReader, FrameWriter, Violation};

/// Small, so that it is met often.
const LIMIT_BYTES: usize = 300;
/// Of the input, how the rest is cut into reads.
const CUTS: usize = 4;

/// What a stream came to.
#[derive(Debug, PartialEq)]
struct Outcome {
    events: Vec<Seen>,
    violation: Option<Violation>,
    is_complete: bool,
}

#[derive(Debug, PartialEq)]
enum Seen {
    Text(String),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl Seen {
    fn of(event: &Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text((*text).to_owned()),
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::Close(close) => {
                Self::Close(close.map(|(code, reason)| (code, reason.to_owned())))
            }
        }
    }
}

/// A stream means the same however reads cut it; what comes out keeps the limits; and what of it can
/// be written means the same when it is read again.
pub fn frames(data: &[u8]) {
    let (cuts, stream) = data.split_at(data.len().min(CUTS));
    let whole = read([stream]);
    let mut pieces = Vec::new();
    let mut rest = stream;
    for cut in cuts {
        let (piece, after) = rest.split_at(rest.len().min(usize::from(*cut)));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    assert_eq!(read(pieces), whole);
    assert_eq!(read(stream.chunks(1)), whole);
    for event in &whole.events {
        check(event);
    }
    let again = read([&written(&whole.events)[..]]);
    assert_eq!(again.events, whole.events);
    assert!(again.is_complete);
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut reader = FrameReader::default();
    let mut outcome = Outcome {
        events: Vec::new(),
        violation: None,
        is_complete: false,
    };
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut input = &mut piece[..];
        loop {
            match reader.next(&mut input, LIMIT_BYTES, Mono(7)) {
                Ok(Some(event)) => outcome.events.push(Seen::of(&event)),
                Ok(None) => break,
                Err(violation) => {
                    outcome.violation = Some(violation);
                    return outcome;
                }
            }
            if let Some(Seen::Close(_)) = outcome.events.last() {
                outcome.is_complete = true;
                return outcome;
            }
        }
        assert!(input.is_empty(), "what was not looked at is lost");
        assert!(reader.reserved_bytes() <= LIMIT_BYTES + 2 * 125);
    }
    // An event may be told before what it came in is let go.
    let nothing = reader.next(&mut &mut [][..], LIMIT_BYTES, Mono(7));
    assert_eq!(nothing, Ok(None));
    outcome.is_complete = reader.started_at().is_none();
    outcome
}

fn check(event: &Seen) {
    match event {
        Seen::Text(text) => assert!(text.len() <= LIMIT_BYTES),
        Seen::Ping(payload) | Seen::Pong(payload) => assert!(payload.len() <= 125),
        Seen::Close(Some((code, reason))) => {
            assert!((1000..5000).contains(code) && ![1004, 1005, 1006, 1015].contains(code));
            assert!(reason.len() <= 123);
        }
        Seen::Close(None) => {}
    }
}

/// As a client would write it, masked by zeros, each text in as many fragments as may be.
fn written(events: &[Seen]) -> Vec<u8> {
    let mut stream = Vec::new();
    for event in events {
        match event {
            Seen::Text(text) => fragmented(&mut stream, text.as_bytes()),
            Seen::Ping(payload) => masked(&mut stream, 0x89, payload),
            Seen::Pong(payload) => {
                let mut writer = FrameWriter::default();
                writer.pong(payload);
                let [first, _, written @ ..] = writer.as_slice() else {
                    unreachable!("a frame has a header")
                };
                masked(&mut stream, *first, written);
            }
            Seen::Close(close) => {
                let mut writer = FrameWriter::default();
                let reason = close.as_ref().map_or("", |(_, reason)| reason);
                writer.close(close.as_ref().map(|(code, _)| *code), reason);
                let [first, _, written @ ..] = writer.as_slice() else {
                    unreachable!("a frame has a header")
                };
                masked(&mut stream, *first, written);
            }
        }
    }
    stream
}

fn fragmented(stream: &mut Vec<u8>, text: &[u8]) {
    let piece_bytes = text.len().div_ceil(FRAGMENTS as usize).max(1);
    let mut pieces: Vec<&[u8]> = text.chunks(piece_bytes).collect();
    let last = pieces.pop().unwrap_or_default();
    for (nth, piece) in pieces.iter().enumerate() {
        masked(stream, u8::from(nth == 0), piece);
    }
    masked(stream, 0x80 | u8::from(pieces.is_empty()), last);
}

fn masked(stream: &mut Vec<u8>, first: u8, payload: &[u8]) {
    stream.push(first);
    match payload.len() {
        bytes @ 0..=125 => stream.push(0x80 | bytes as u8),
        bytes => {
            stream.push(0x80 | 126);
            stream.extend((bytes as u16).to_be_bytes());
        }
    }
    stream.extend([0; 4]);
    stream.extend(payload);
}

#[cfg(test)]
mod tests {
    use parlance_testkit::corpus::replay;

    #[test]
    fn what_fuzzing_began_with_holds() {
        replay("frames", super::frames);
    }
}
