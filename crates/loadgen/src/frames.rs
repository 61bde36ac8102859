//! WebSocket frames as a client sees them: masked on the way out, plain on the way in.
//!
//! One fixed mask for all. A mask protects proxies from pages that a browser loaded; what is sent here
//! is the same everywhere and comes from no page. It is not zero: that would spare the server its
//! unmasking.

/// Text.
pub(crate) const TEXT: u8 = 0x81;
/// The answer to a ping.
pub(crate) const PONG: u8 = 0x8a;
/// The end.
pub(crate) const CLOSE: u8 = 0x88;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Appends a masked frame with this first byte.
pub(crate) fn push_frame(to: &mut Vec<u8>, first: u8, payload: &[u8]) {
    to.push(first);
    match payload.len() {
        short @ 0..126 => to.push(0x80 | short as u8),
        medium @ 126..65_536 => {
            to.push(0x80 | 126);
            to.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            to.push(0x80 | 127);
            to.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    to.extend_from_slice(&MASK);
    let from = to.len();
    to.extend_from_slice(payload);
    mask(&mut to[from..]);
}

/// Eight bytes at a time.
fn mask(payload: &mut [u8]) {
    let [a, b, c, d] = MASK;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (eights, rest) = payload.as_chunks_mut::<8>();
    for eight in eights {
        *eight = (u64::from_ne_bytes(*eight) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(MASK.iter().cycle()) {
        *byte ^= mask;
    }
}

/// A frame that a server sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) opcode: u8,
    pub(crate) is_final: bool,
    pub(crate) payload: &'a [u8],
    /// Of the whole frame.
    pub(crate) bytes: usize,
}

/// The frame at the front, if all of it is there.
pub(crate) fn first_frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let [first, second, ..] = bytes else {
        return None;
    };
    let (head, length): (usize, usize) = match second & 0x7f {
        126 => {
            let length = bytes.get(2..4)?.try_into().ok()?;
            (4, usize::from(u16::from_be_bytes(length)))
        }
        127 => {
            let length = bytes.get(2..10)?.try_into().ok()?;
            (10, usize::try_from(u64::from_be_bytes(length)).ok()?)
        }
        short => (2, usize::from(short)),
    };
    let end = head.checked_add(length)?;
    Some(Frame {
        opcode: first & 0x0f,
        is_final: first & 0x80 != 0,
        payload: bytes.get(head..end)?,
        bytes: end,
    })
}

/// The code of a close frame; 1005 when it has none.
pub(crate) fn close_code(payload: &[u8]) -> u16 {
    match payload {
        [high, low, ..] => u16::from_be_bytes([*high, *low]),
        _ => 1005,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_found_only_when_all_of_it_is_there() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![7; length];
            let mut masked = Vec::new();
            push_frame(&mut masked, TEXT, &payload);
            let head = masked.len() - length - 4;
            let mut plain = masked[..head].to_vec();
            plain[1] &= 0x7f;
            plain.extend_from_slice(&payload);
            let found = first_frame(&plain).unwrap();
            assert_eq!((found.opcode, found.is_final), (1, true));
            assert_eq!((found.payload, found.bytes), (&payload[..], plain.len()));
            assert_eq!(first_frame(&plain[..plain.len() - 1]), None);
        }
    }

    #[test]
    fn masking_byte_by_byte_gives_the_same() {
        for length in 0..40 {
            let payload: Vec<u8> = (0..length).collect();
            let expected: Vec<u8> = payload
                .iter()
                .zip(MASK.iter().cycle())
                .map(|(byte, mask)| byte ^ mask)
                .collect();
            let mut masked = payload;
            mask(&mut masked);
            assert_eq!(masked, expected);
        }
    }
}
