//! The reader against valid streams in any pieces, every broken rule, and noise.

use parlance_core::clock::Mono;
use parlance_protocol::limits::FRAME_BYTES;
use proptest::prelude::*;

use super::{CONTROLS_PER_SECOND, Event, FRAGMENTS, FrameReader, Violation};

const NOW: Mono = Mono(5_000);
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// An [`Event`] that outlives its buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Text(String),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.into()),
            Event::Ping(payload) => Self::Ping(payload.into()),
            Event::Pong(payload) => Self::Pong(payload.into()),
            Event::Close(close) => Self::Close(close.map(|(code, reason)| (code, reason.into()))),
        }
    }
}

/// A masked frame. `first` is the first byte: FIN, RSV and opcode.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        0..=125 => bytes.push(0x80 | payload.len() as u8),
        126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((payload.len() as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend(KEY);
    bytes.extend(payload.iter().zip(KEY.iter().cycle()).map(|(b, k)| b ^ k));
    bytes
}

/// Feeds one piece, like a shard does.
fn feed(reader: &mut FrameReader, piece: &[u8], seen: &mut Vec<Seen>) -> Result<(), Violation> {
    let mut buffer = piece.to_vec();
    let mut rest = &mut buffer[..];
    while let Some(event) = reader.next(&mut rest, FRAME_BYTES, NOW)? {
        let event = Seen::from(event);
        let over = matches!(event, Seen::Close(_));
        seen.push(event);
        if over {
            break;
        }
    }
    Ok(())
}

/// Feeds `stream` cut at `cuts`; a close frame or violation ends it.
fn read(stream: &[u8], cuts: &[usize]) -> (Vec<Seen>, Result<(), Violation>) {
    let mut reader = FrameReader::default();
    let mut seen = Vec::new();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    cuts.push(stream.len());
    cuts.sort_unstable();
    let mut from = 0;
    for cut in cuts {
        let fed = feed(&mut reader, &stream[from..cut], &mut seen);
        from = cut;
        let reserved = reader.reserved_bytes();
        assert!(reserved <= FRAME_BYTES + 1024, "{reserved} bytes reserved");
        if fed.is_err() || matches!(seen.last(), Some(Seen::Close(_))) {
            return (seen, fed);
        }
    }
    (seen, Ok(()))
}

fn whole(stream: &[u8]) -> (Vec<Seen>, Result<(), Violation>) {
    read(stream, &[])
}

fn byte_by_byte(stream: &[u8]) -> (Vec<Seen>, Result<(), Violation>) {
    read(stream, &(0..stream.len()).collect::<Vec<_>>())
}

// === Valid streams ===

/// Frames of one message or of one control frame, and what they mean, in order.
fn conversation() -> impl Strategy<Value = (Vec<u8>, Vec<Seen>)> {
    let control = || proptest::collection::vec(any::<u8>(), 0..=125);
    let item = prop_oneof![
        4 => fragmented_text(),
        1 => control().prop_map(|p| (frame(0x89, &p), vec![Seen::Ping(p)])),
        1 => control().prop_map(|p| (frame(0x8a, &p), vec![Seen::Pong(p)])),
    ];
    let end = prop_oneof![
        2 => Just((vec![], vec![])),
        1 => Just((frame(0x88, &[]), vec![Seen::Close(None)])),
        1 => ("\\PC{0,30}").prop_map(|reason| {
            let payload = [&4_000_u16.to_be_bytes()[..], reason.as_bytes()].concat();
            (frame(0x88, &payload), vec![Seen::Close(Some((4_000, reason)))])
        }),
    ];
    (proptest::collection::vec(item, 0..12), end).prop_map(|(items, end)| {
        let (bytes, seen): (Vec<_>, Vec<_>) = items.into_iter().chain([end]).unzip();
        (bytes.concat(), seen.concat())
    })
}

/// A text cut anywhere, inside of characters too, with pings between some of its fragments.
fn fragmented_text() -> impl Strategy<Value = (Vec<u8>, Vec<Seen>)> {
    let near_the_limit = (FRAME_BYTES - 500..=FRAME_BYTES).prop_map(|bytes| "x".repeat(bytes));
    let text = prop_oneof![8 => "\\PC{0,40}", 1 => "[a-zä]{100,400}", 1 => near_the_limit];
    let cuts = proptest::collection::vec((any::<usize>(), any::<bool>()), 0..6);
    (text, cuts).prop_map(|(text, cuts)| {
        let mut cuts: Vec<_> = cuts
            .into_iter()
            .map(|(cut, ping)| (cut % (text.len() + 1), ping))
            .collect();
        cuts.sort_unstable();
        let (mut bytes, mut seen, mut from) = (Vec::new(), Vec::new(), 0);
        for (nth, (cut, ping)) in cuts.iter().enumerate() {
            bytes.extend(frame(u8::from(nth == 0), &text.as_bytes()[from..*cut]));
            from = *cut;
            if *ping {
                bytes.extend(frame(0x89, b"between"));
                seen.push(Seen::Ping(b"between".into()));
            }
        }
        let last = 0x80 | u8::from(cuts.is_empty());
        bytes.extend(frame(last, &text.as_bytes()[from..]));
        seen.push(Seen::Text(text));
        (bytes, seen)
    })
}

proptest! {
    #[test]
    fn a_valid_stream_means_the_same_in_any_pieces(
        (stream, expected) in conversation(),
        cuts in proptest::collection::vec(any::<usize>(), 0..20),
    ) {
        prop_assert_eq!(whole(&stream), (expected.clone(), Ok(())));
        prop_assert_eq!(read(&stream, &cuts), (expected, Ok(())));
    }

    #[test]
    fn a_damaged_stream_means_the_same_in_any_pieces(
        (mut stream, _) in conversation(),
        damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        cuts in proptest::collection::vec(any::<usize>(), 0..20),
    ) {
        for (at, byte) in damage {
            let at = at % (stream.len() + 1);
            if at == stream.len() { stream.push(byte) } else { stream[at] = byte }
        }
        prop_assert_eq!(read(&stream, &cuts), whole(&stream));
    }

    #[test]
    fn noise_means_the_same_in_any_pieces(
        stream in proptest::collection::vec(any::<u8>(), 0..300),
        cuts in proptest::collection::vec(any::<usize>(), 0..20),
    ) {
        prop_assert_eq!(read(&stream, &cuts), whole(&stream));
    }
}

#[test]
fn a_quiet_reader_holds_nothing() {
    let mut reader = FrameReader::default();
    let mut seen = Vec::new();
    let message = [frame(0x01, b"he"), frame(0x80, b"llo"), frame(0x89, b"!")].concat();
    for byte in message {
        feed(&mut reader, &[byte], &mut seen).unwrap();
    }
    feed(&mut reader, &[], &mut seen).unwrap();
    assert_eq!(seen, [Seen::Text("hello".into()), Seen::Ping(b"!".into())]);
    assert_eq!((reader.reserved_bytes(), reader.started_at()), (0, None));
    assert_eq!(size_of::<FrameReader>(), 16);
}

#[test]
fn a_message_that_is_not_complete_tells_when_it_began() {
    let mut reader = FrameReader::default();
    let bytes = [frame(0x01, b"he"), frame(0x89, b""), frame(0x80, b"llo")].concat();
    for (at, byte) in bytes.iter().enumerate() {
        assert_eq!(reader.started_at().is_some(), at > 0);
        let mut one = [*byte];
        let now = Mono(at as u64);
        let event = reader.next(&mut &mut one[..], FRAME_BYTES, now).unwrap();
        assert_eq!(matches!(event, Some(Event::Text(_))), at == bytes.len() - 1);
        if at < bytes.len() - 1 {
            assert_eq!(reader.started_at(), Some(Mono(0)));
        }
    }
}

// === Broken rules ===

#[test]
fn every_broken_rule_has_its_violation_in_whole_and_byte_by_byte() {
    let long = |first: u8, rest: &[u8]| [&[first][..], rest, &[0; 4]].concat();
    let text = |bytes: &[u8]| frame(0x81, bytes);
    let close = |code: u16| frame(0x88, &code.to_be_bytes());
    let full = [frame(0x01, &[b'x'; FRAME_BYTES]), frame(0x80, b"x")].concat();
    let mut fragments = frame(0x01, b"");
    (0..FRAGMENTS).for_each(|_| fragments.extend(frame(0x00, b"")));
    let mut table = vec![
        (vec![0x81, 0x01, b'x'], Violation::Unmasked),
        (vec![0x88, 0x00], Violation::Unmasked),
        (frame(0xc1, b""), Violation::ReservedBit),
        (frame(0xa1, b""), Violation::ReservedBit),
        (frame(0x91, b""), Violation::ReservedBit),
        (frame(0xc9, b""), Violation::ReservedBit),
        (frame(0x82, b""), Violation::Binary),
        (frame(0x02, b""), Violation::Binary),
        (frame(0x80, b""), Violation::LoneContinuation),
        (frame(0x00, b""), Violation::LoneContinuation),
        (
            [frame(0x01, b""), frame(0x81, b"")].concat(),
            Violation::Interleaved,
        ),
        (
            [frame(0x01, b""), frame(0x82, b"")].concat(),
            Violation::Binary,
        ),
        (
            [text(b"a"), frame(0x80, b"b")].concat(),
            Violation::LoneContinuation,
        ),
        (frame(0x09, b""), Violation::FragmentedControl),
        (frame(0x08, b""), Violation::FragmentedControl),
        (frame(0x89, &[0; 126]), Violation::LongControl),
        (
            long(0x89, &[0xff, 0, 0, 0, 0, 0, 0, 0, 1]),
            Violation::LongControl,
        ),
        (long(0x81, &[0xfe, 0, 125]), Violation::LengthEncoding),
        (
            long(0x81, &[0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
            Violation::LengthEncoding,
        ),
        (
            long(0x81, &[0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            Violation::LengthEncoding,
        ),
        (
            long(0x81, &[0xff, 0, 0, 0, 0, 0, 1, 0, 1]),
            Violation::TooBig,
        ),
        (
            long(
                0x81,
                &[0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            ),
            Violation::TooBig,
        ),
        (full, Violation::TooBig),
        (fragments, Violation::TooManyFragments),
        (frame(0x88, b"x"), Violation::MalformedClose),
        (frame(0x88, b"\x03\xe8\xff"), Violation::InvalidUtf8),
        (text(b"\xff"), Violation::InvalidUtf8),
        (text(b"a\xe2\x82"), Violation::InvalidUtf8),
        (
            [frame(0x01, b"\xe2\x82"), frame(0x80, b"a")].concat(),
            Violation::InvalidUtf8,
        ),
        (
            [frame(0x01, b"\xe2\x82"), frame(0x80, b"")].concat(),
            Violation::InvalidUtf8,
        ),
        (
            frame(0x89, b"").repeat(usize::from(CONTROLS_PER_SECOND) + 1),
            Violation::TooManyControls,
        ),
    ];
    let opcodes = (0x3..=0x7).chain(0xb..=0xf);
    table.extend(opcodes.map(|opcode| (frame(0x80 | opcode, b""), Violation::UnknownOpcode)));
    let codes = [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2999, 5000, 65_535,
    ];
    table.extend(codes.map(|code| (close(code), Violation::MalformedClose)));
    for (stream, violation) in table {
        let start = &stream[..stream.len().min(16)];
        assert_eq!(whole(&stream).1, Err(violation), "{start:x?}");
        assert_eq!(byte_by_byte(&stream).1, Err(violation), "{start:x?}");
    }
}

#[test]
fn every_violation_closes_with_its_code() {
    for (violation, code) in [
        (Violation::ReservedBit, 1002),
        (Violation::UnknownOpcode, 1002),
        (Violation::LoneContinuation, 1002),
        (Violation::Interleaved, 1002),
        (Violation::FragmentedControl, 1002),
        (Violation::Unmasked, 1002),
        (Violation::LongControl, 1002),
        (Violation::LengthEncoding, 1002),
        (Violation::MalformedClose, 1002),
        (Violation::Binary, 1003),
        (Violation::InvalidUtf8, 1007),
        (Violation::TooBig, 1009),
        (Violation::TooManyFragments, 1008),
        (Violation::TooManyControls, 1008),
        (Violation::TooSlow, 1008),
    ] {
        assert_eq!(violation.close_code().get(), code, "{violation}");
        assert!(violation.to_string().len() <= 123);
    }
}

#[test]
fn what_is_exactly_at_a_limit_is_fine() {
    let text = "x".repeat(FRAME_BYTES);
    let one = frame(0x81, text.as_bytes());
    let two = [frame(0x01, &[b'x'; FRAME_BYTES - 1]), frame(0x80, b"x")].concat();
    for stream in [one, two] {
        let expected = (vec![Seen::Text(text.clone())], Ok(()));
        assert_eq!(whole(&stream), expected);
        assert_eq!(byte_by_byte(&stream), expected);
    }
    let mut fragments = frame(0x01, b"");
    (2..FRAGMENTS).for_each(|_| fragments.extend(frame(0x00, b"")));
    fragments.extend(frame(0x80, b"end"));
    assert_eq!(whole(&fragments), (vec![Seen::Text("end".into())], Ok(())));
    for code in [
        1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 4999_u16,
    ] {
        let seen = whole(&frame(0x88, &code.to_be_bytes())).0;
        assert_eq!(seen, [Seen::Close(Some((code, String::new())))]);
    }
}

#[test]
fn control_frames_are_counted_anew_each_second() {
    let mut reader = FrameReader::default();
    let burst = frame(0x89, b"").repeat(usize::from(CONTROLS_PER_SECOND));
    for second in 0..3 {
        let mut bytes = burst.clone();
        let mut rest = &mut bytes[..];
        let now = Mono(second * 1_000 + 17);
        while reader.next(&mut rest, FRAME_BYTES, now).unwrap().is_some() {}
    }
    let mut ping = frame(0x89, b"");
    assert_eq!(
        reader.next(&mut &mut ping[..], FRAME_BYTES, Mono(2_999)),
        Err(Violation::TooManyControls)
    );
}

#[test]
fn nothing_is_reserved_for_what_a_header_only_announces() {
    let mut reader = FrameReader::default();
    let mut start = frame(0x81, &[b'x'; FRAME_BYTES]);
    start.truncate(20);
    feed(&mut reader, &start, &mut Vec::new()).unwrap();
    assert!(reader.reserved_bytes() < 64);
}

// === UTF-8 as it arrives ===

#[test]
fn text_fails_at_its_first_bad_byte_inside_an_unfinished_frame() {
    for (text, bad_at) in [
        (
            &b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"[..],
            12,
        ), // a surrogate
        (b"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80edited", 6), // above U+10FFFF
        (b"ab\x80cd", 2),                                   // a lone continuation
        (b"ab\xc0\xafcd", 2),                               // overlong, two bytes
        (b"ab\xe0\x80\xafcd", 3),                           // overlong, three bytes
        (b"ab\xf0\x80\x80\xafcd", 3),                       // overlong, four bytes
        (b"ab\xe2\x28\xa1cd", 3),                           // cut short by an ASCII character
        (b"ab\xf5cd", 2),                                   // never valid
        (b"ab\xfecd", 2),
    ] {
        let stream = frame(0x81, text);
        let bad_at = bad_at + stream.len() - text.len();
        let mut reader = FrameReader::default();
        for (at, byte) in stream.iter().enumerate() {
            let fed = feed(&mut reader, &[*byte], &mut Vec::new());
            if at == bad_at {
                assert_eq!(fed, Err(Violation::InvalidUtf8), "{text:x?}");
                break;
            }
            assert_eq!(fed, Ok(()), "{text:x?} at {at}");
        }
    }
}

#[test]
fn characters_may_be_cut_by_fragments_and_reads() {
    for text in [
        "κόσμε",
        "\u{0}",
        "\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}",
        "\u{fffe}",
        "🙂🙂",
    ] {
        for cut in 0..=text.len() {
            let (first, second) = text.as_bytes().split_at(cut);
            let stream = [frame(0x01, first), frame(0x00, b""), frame(0x80, second)].concat();
            let expected = (vec![Seen::Text(text.into())], Ok(()));
            assert_eq!(whole(&stream), expected, "cut at {cut}");
            assert_eq!(byte_by_byte(&stream), expected, "cut at {cut}");
        }
    }
}
