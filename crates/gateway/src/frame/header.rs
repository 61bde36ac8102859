//! Frame headers: what can be judged before any payload is looked at.

use super::{CONTROL_BYTES, FRAGMENTS, Violation};

/// Longest header of a client's frame: two bytes, eight of length, four of mask.
pub(super) const HEADER_BYTES: usize = 14;

/// A checked header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// The last frame of its message. Always so for control frames.
    pub(super) fin: bool,
    pub(super) key: [u8; 4],
    pub(super) payload_bytes: usize,
}

/// What a frame is. A continuation is what its message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Data(Data),
    Close,
    Ping,
    Pong,
}

/// What a message holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Data {
    #[default]
    Text,
    #[cfg(feature = "echo")]
    Binary,
}

/// What came before in the same message.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Before {
    pub(super) fragments: u32,
    pub(super) bytes: usize,
    /// Of no meaning without fragments.
    pub(super) data: Data,
}

impl Header {
    /// Reads the header at the start of `input`, and how many bytes it takes. `None`: more is
    /// needed. Rules are judged in the order of the bytes, so that a header that comes in pieces
    /// fails like a whole one.
    pub(super) fn parse(
        input: &[u8],
        before: Before,
        limit_bytes: usize,
    ) -> Result<Option<(Self, usize)>, Violation> {
        let Some(&first) = input.first() else {
            return Ok(None);
        };
        let fin = first & 0x80 != 0;
        let kind = Kind::parse(first, before)?;
        let Some(&second) = input.get(1) else {
            return Ok(None);
        };
        let short = second & 0x7f;
        if second & 0x80 == 0 {
            return Err(Violation::Unmasked);
        }
        if kind.is_control() && usize::from(short) > CONTROL_BYTES {
            return Err(Violation::LongControl);
        }
        let Some((length, after_length)) = length(short, &input[2..])? else {
            return Ok(None);
        };
        let payload_bytes = usize::try_from(length).unwrap_or(usize::MAX);
        if !kind.is_control() && payload_bytes > limit_bytes.saturating_sub(before.bytes) {
            return Err(Violation::TooBig);
        }
        if kind == Kind::Close && payload_bytes == 1 {
            return Err(Violation::MalformedClose);
        }
        let Some(key) = after_length.first_chunk() else {
            return Ok(None);
        };
        let header = Self {
            kind,
            fin,
            key: *key,
            payload_bytes,
        };
        Ok(Some((header, input.len() - after_length.len() + key.len())))
    }
}

impl Kind {
    /// Judges the first byte.
    fn parse(first: u8, before: Before) -> Result<Self, Violation> {
        if first & 0x70 != 0 {
            return Err(Violation::ReservedBit);
        }
        let in_message = before.fragments > 0;
        let kind = match first & 0x0f {
            0x0 if !in_message => return Err(Violation::LoneContinuation),
            0x1 if in_message => return Err(Violation::Interleaved),
            0x0 if before.fragments >= FRAGMENTS => return Err(Violation::TooManyFragments),
            0x0 => Self::Data(before.data),
            0x1 => Self::Data(Data::Text),
            #[cfg(not(feature = "echo"))]
            0x2 => return Err(Violation::Binary),
            #[cfg(feature = "echo")]
            0x2 if in_message => return Err(Violation::Interleaved),
            #[cfg(feature = "echo")]
            0x2 => Self::Data(Data::Binary),
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return Err(Violation::UnknownOpcode),
        };
        if kind.is_control() && first & 0x80 == 0 {
            return Err(Violation::FragmentedControl);
        }
        Ok(kind)
    }

    const fn is_control(self) -> bool {
        match self {
            Self::Data(_) => false,
            Self::Close | Self::Ping | Self::Pong => true,
        }
    }
}

/// The payload's length, and what follows it. `None`: more is needed.
fn length(short: u8, input: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    let (length, least, rest) = match short {
        126 => {
            let Some((bytes, rest)) = input.split_first_chunk() else {
                return Ok(None);
            };
            (u64::from(u16::from_be_bytes(*bytes)), 126, rest)
        }
        127 => {
            let Some((bytes, rest)) = input.split_first_chunk() else {
                return Ok(None);
            };
            (u64::from_be_bytes(*bytes), 1 << 16, rest)
        }
        _ => (u64::from(short), 0, input),
    };
    if length < least || length >> 63 != 0 {
        return Err(Violation::LengthEncoding);
    }
    Ok(Some((length, rest)))
}
