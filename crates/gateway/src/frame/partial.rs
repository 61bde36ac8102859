//! A frame or message that has started and is not complete: the only thing that a reader keeps.

use parlance_core::clock::Mono;

use super::{
    CONTROL_BYTES, Violation,
    header::{Before, Data, HEADER_BYTES, Header, Kind},
    mask::unmask,
    reader::{Controls, Event, control, message},
};

/// What has arrived so far. Grows with what arrives, never with what a header announces.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) started_at: Mono,
    stage: Stage,
    /// What the message holds, once one was begun.
    data: Data,
    /// Unmasked payload of the message so far; a text is UTF-8 up to a character that may still be
    /// cut.
    message: Vec<u8>,
    /// How much of a text is whole characters.
    valid_bytes: usize,
    /// Frames of the message so far, the present one included. 0: no message is open.
    fragments: u32,
    /// Unmasked payload of a control frame that comes in pieces.
    control: Vec<u8>,
}

#[derive(Debug)]
enum Stage {
    /// Between frames, or inside of a header.
    Header {
        bytes: [u8; HEADER_BYTES],
        len: usize,
    },
    /// Inside of a payload; the header's length and key are those of what is still to come.
    Payload(Header),
    /// The last event ended the message, or was the only thing in here.
    Delivered,
}

/// What one step through the input came to.
enum Step {
    /// Nothing to tell yet.
    Go,
    /// The input is used up.
    Starved,
    /// A message or a control frame is complete.
    Complete(Kind),
}

impl Stage {
    const NEXT_HEADER: Self = Self::Header {
        bytes: [0; HEADER_BYTES],
        len: 0,
    };
}

impl Partial {
    pub(super) fn new(started_at: Mono) -> Self {
        Self {
            started_at,
            stage: Stage::NEXT_HEADER,
            data: Data::default(),
            message: Vec::new(),
            valid_bytes: 0,
            fragments: 0,
            control: Vec::new(),
        }
    }

    /// The last event left nothing to wait for.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Delivered)
    }

    /// How much memory the payloads take.
    #[cfg(any(test, fuzzing))]
    pub(super) fn reserved_bytes(&self) -> usize {
        self.message.capacity() + self.control.capacity()
    }

    /// Takes from `input` until an event is complete or nothing is left.
    pub(super) fn advance(
        &mut self,
        input: &mut &mut [u8],
        controls: &mut Controls,
        limit_bytes: usize,
        now: Mono,
    ) -> Result<Option<Event<'_>>, Violation> {
        loop {
            match self.step(input, controls, limit_bytes, now)? {
                Step::Go => {}
                Step::Starved => return Ok(None),
                Step::Complete(Kind::Data(data)) => {
                    return message(data, &self.message).map(Some);
                }
                Step::Complete(kind @ (Kind::Close | Kind::Ping | Kind::Pong)) => {
                    return control(kind, &self.control).map(Some);
                }
            }
        }
    }

    fn step(
        &mut self,
        input: &mut &mut [u8],
        controls: &mut Controls,
        limit_bytes: usize,
        now: Mono,
    ) -> Result<Step, Violation> {
        match self.stage {
            Stage::Header { mut bytes, mut len } => {
                let Some((next, rest)) = std::mem::take(input).split_first_mut() else {
                    return Ok(Step::Starved);
                };
                *input = rest;
                bytes[len] = *next;
                len += 1;
                self.stage = Stage::Header { bytes, len };
                if let Some((header, _)) = Header::parse(&bytes[..len], self.before(), limit_bytes)?
                {
                    self.begin(header, controls, now)?;
                }
                Ok(Step::Go)
            }
            Stage::Payload(mut header) => {
                let here = header.payload_bytes.min(input.len());
                let (piece, rest) = std::mem::take(input).split_at_mut(here);
                *input = rest;
                header.key = unmask(piece, header.key);
                header.payload_bytes -= here;
                self.stage = Stage::Payload(header);
                self.keep(header.kind, piece, limit_bytes)?;
                Ok(match header.payload_bytes {
                    0 => self.end(header),
                    _ => Step::Starved,
                })
            }
            Stage::Delivered => unreachable!("the reader drops what is over"),
        }
    }

    fn before(&self) -> Before {
        Before {
            fragments: self.fragments,
            bytes: self.message.len(),
            data: self.data,
        }
    }

    fn begin(
        &mut self,
        header: Header,
        controls: &mut Controls,
        now: Mono,
    ) -> Result<(), Violation> {
        match header.kind {
            Kind::Data(data) => {
                self.fragments += 1;
                self.data = data;
            }
            Kind::Close | Kind::Ping | Kind::Pong => {
                controls.count(now)?;
                self.control.clear();
            }
        }
        self.stage = Stage::Payload(header);
        Ok(())
    }

    fn keep(&mut self, kind: Kind, piece: &[u8], limit_bytes: usize) -> Result<(), Violation> {
        match kind {
            Kind::Data(Data::Text) => {
                append(&mut self.message, piece, limit_bytes);
                self.valid_bytes += whole_characters(&self.message[self.valid_bytes..])?;
            }
            #[cfg(feature = "echo")]
            Kind::Data(Data::Binary) => append(&mut self.message, piece, limit_bytes),
            Kind::Close | Kind::Ping | Kind::Pong => {
                append(&mut self.control, piece, CONTROL_BYTES);
            }
        }
        Ok(())
    }

    fn end(&mut self, header: Header) -> Step {
        let message_is_open = self.fragments > 0;
        match header.kind {
            Kind::Data(_) if !header.fin => {
                self.stage = Stage::NEXT_HEADER;
                Step::Go
            }
            Kind::Data(_) => {
                self.stage = Stage::Delivered;
                Step::Complete(header.kind)
            }
            Kind::Close | Kind::Ping | Kind::Pong => {
                self.stage = if message_is_open {
                    Stage::NEXT_HEADER
                } else {
                    Stage::Delivered
                };
                Step::Complete(header.kind)
            }
        }
    }
}

/// How many bytes of `text` are whole characters. What follows them may become one.
fn whole_characters(text: &[u8]) -> Result<usize, Violation> {
    match str::from_utf8(text) {
        Ok(_) => Ok(text.len()),
        Err(error) if error.error_len().is_none() => Ok(error.valid_up_to()),
        Err(_) => Err(Violation::InvalidUtf8),
    }
}

/// Doubles like a vector does, but never reserves more than `limit_bytes`.
fn append(to: &mut Vec<u8>, piece: &[u8], limit_bytes: usize) {
    let needed = to.len() + piece.len();
    if needed > to.capacity() {
        let capacity = needed.max(to.capacity() * 2).min(limit_bytes);
        to.reserve_exact(capacity.max(needed) - to.len());
    }
    to.extend_from_slice(piece);
}
