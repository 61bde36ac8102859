//! The little that a floor has to know of WebSocket.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha1_smol::Sha1;

/// Given by RFC 6455.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What stands at the front of what a member sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A whole text, unmasked.
    Text {
        payload: &'a [u8],
        rest: &'a mut [u8],
    },
    /// A whole frame that asks for nothing here.
    Other { rest: &'a mut [u8] },
    /// The member leaves.
    Close,
    /// Not a whole frame, perhaps nothing.
    Cut(&'a [u8]),
}

impl<'a> Frame<'a> {
    /// Splits the first frame off. Frames are masked and below 64 KiB, and texts are not fragmented:
    /// the generator sends no others.
    pub(crate) fn first(bytes: &'a mut [u8]) -> Self {
        let (head, length) = match *bytes {
            [_, second, high, low, ..] if second & 0x7f == 126 => {
                (4, usize::from(u16::from_be_bytes([high, low])))
            }
            [_, second, ..] if second & 0x7f < 126 => (2, usize::from(second & 0x7f)),
            _ => return Self::Cut(bytes),
        };
        let whole = head + 4 + length;
        if bytes.len() < whole {
            return Self::Cut(bytes);
        }
        let opcode = bytes[0] & 0x0f;
        let (frame, rest) = bytes.split_at_mut(whole);
        let (mask, payload) = frame[head..].split_at_mut(4);
        match opcode {
            0x1 => {
                for (index, byte) in payload.iter_mut().enumerate() {
                    *byte ^= mask[index & 3];
                }
                Self::Text { payload, rest }
            }
            0x8 => Self::Close,
            _ => Self::Other { rest },
        }
    }
}

/// Appends a text frame of `frame_bytes`, or of as many as the payload needs.
pub(crate) fn push_padded(to: &mut Vec<u8>, payload: &[u8], frame_bytes: usize) {
    let length = payload.len().max(frame_bytes.saturating_sub(4)).max(126);
    let short = u16::try_from(length).expect("the generator sends less than 64 KiB");
    to.extend_from_slice(&[0x81, 126]);
    to.extend_from_slice(&short.to_be_bytes());
    let end = to.len() + length;
    to.extend_from_slice(payload);
    to.resize(end, b' ');
}

/// The path without its query, and the answer to the request of an upgrade.
pub(crate) fn answer(request: &[u8]) -> Option<(&[u8], Vec<u8>)> {
    let target = request.split(|byte| *byte == b' ').nth(1)?;
    let path = target.split(|byte| *byte == b'?').next()?;
    let key = request.split(|byte| *byte == b'\n').find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let is_key = line[..colon].eq_ignore_ascii_case(b"sec-websocket-key");
        is_key.then(|| line[colon + 1..].trim_ascii())
    })?;
    let mut sha1 = Sha1::from(key);
    sha1.update(ACCEPT_SUFFIX);
    let accept = STANDARD.encode(sha1.digest().bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    Some((path, answer.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![first];
        match u8::try_from(payload.len()) {
            Ok(short @ 0..126) => frame.push(0x80 | short),
            _ => {
                frame.push(0x80 | 126);
                let length = u16::try_from(payload.len()).expect("short");
                frame.extend_from_slice(&length.to_be_bytes());
            }
        }
        frame.extend_from_slice(&mask);
        let bytes = payload.iter().enumerate();
        frame.extend(bytes.map(|(index, byte)| byte ^ mask[index % 4]));
        frame
    }

    #[test]
    fn frames_are_taken_one_by_one_and_a_cut_one_is_left() {
        let long = [b'x'; 300];
        let mut bytes = masked(0x81, b"one");
        bytes.extend(masked(0x8a, b""));
        bytes.extend(masked(0x81, &long));
        let mut cut = masked(0x81, &long);
        cut.pop();
        bytes.extend_from_slice(&cut);
        let Frame::Text { payload, rest } = Frame::first(&mut bytes) else {
            panic!("a text stands first");
        };
        assert_eq!(payload, b"one");
        let Frame::Other { rest } = Frame::first(rest) else {
            panic!("then a pong");
        };
        let Frame::Text { payload, rest } = Frame::first(rest) else {
            panic!("then a long text");
        };
        assert_eq!(payload, long);
        assert_eq!(Frame::first(rest), Frame::Cut(&cut));
    }

    #[test]
    fn a_close_and_nothing_are_told_apart() {
        assert_eq!(Frame::first(&mut masked(0x88, b"")), Frame::Close);
        assert_eq!(Frame::first(&mut []), Frame::Cut(&[]));
    }

    #[test]
    fn a_delivered_frame_has_the_size_that_was_asked_for() {
        let mut frame = Vec::new();
        push_padded(&mut frame, b"short", 250);
        assert_eq!(frame.len(), 250);
        assert_eq!(&frame[..9], b"\x81\x7e\x00\xf6short");
    }

    #[test]
    fn the_answer_is_the_one_of_the_rfc() {
        let request = b"GET /conversations/a/?token=b HTTP/1.1\r\nHost: x\r\n\
            sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let (path, answer) = answer(request).expect("a good request");
        assert_eq!(path, b"/conversations/a/");
        let answer = String::from_utf8(answer).expect("text");
        assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    }
}
