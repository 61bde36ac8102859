//! The frame reader: bytes as they arrive in, messages and control frames out.
//!
//! A shard reads a socket into its one buffer and calls [`FrameReader::next`] until that answers
//! `None`. Whole frames, nearly all, are unmasked in place and handed out as views into that
//! buffer; only what is incomplete at the end is copied to a [`Partial`]. So the reader of a quiet
//! connection holds 16 bytes, and nothing is lost when a read ends anywhere.

use parlance_core::clock::Mono;

use super::{
    CONTROLS_PER_SECOND, Violation,
    header::{Before, Data, Header, Kind},
    mask::unmask,
    partial::Partial,
};

/// Something complete from the client.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole message.
    Text(&'a str),
    /// A whole message that is no text.
    #[cfg(feature = "echo")]
    Binary(&'a [u8]),
    /// To be answered by a pong with the same payload.
    Ping(&'a [u8]),
    /// An answer to a ping, or an unasked one.
    Pong(&'a [u8]),
    /// Code and reason, if any were given. Nothing that follows counts.
    Close(Option<(u16, &'a str)>),
}

/// The reading side of one connection. After a [`Violation`] or a close frame it is not asked
/// again.
#[derive(Debug, Default)]
pub struct FrameReader {
    partial: Option<Box<Partial>>,
    controls: Controls,
}

/// How many control frames came in the present second.
#[derive(Debug, Default)]
pub(super) struct Controls {
    /// When that second began: milliseconds, the lower half. It wraps after 49 days, in which a
    /// connection that sends nothing is long closed.
    since_ms: u32,
    count: u8,
}

// === impl FrameReader ===

impl FrameReader {
    /// The next event in `input`, which is cut to what was not looked at yet. `None`: all of it
    /// was, and what is incomplete is kept. `limit_bytes` holds for a frame and for a message.
    ///
    /// # Errors
    /// A [`Violation`], as soon as the first byte that makes it one is there.
    pub fn next<'a, 'input: 'a>(
        &'a mut self,
        input: &mut &'input mut [u8],
        limit_bytes: usize,
        now: Mono,
    ) -> Result<Option<Event<'a>>, Violation> {
        if self
            .partial
            .as_ref()
            .is_some_and(|partial| partial.is_over())
        {
            self.partial = None;
        }
        if self.partial.is_none() {
            if let Some(event) = self.whole(input, limit_bytes, now)? {
                return Ok(Some(event));
            }
            if input.is_empty() {
                return Ok(None);
            }
        }
        self.partial
            .get_or_insert_with(|| Box::new(Partial::new(now)))
            .advance(input, &mut self.controls, limit_bytes, now)
    }

    /// When the frame or message began that is not complete yet. It has [`super::FRAME_MS`].
    #[must_use]
    pub fn started_at(&self) -> Option<Mono> {
        self.partial.as_ref().map(|partial| partial.started_at)
    }

    /// How much memory it holds besides itself.
    #[cfg(any(test, fuzzing))]
    pub(super) fn reserved_bytes(&self) -> usize {
        self.partial
            .as_ref()
            .map_or(0, |partial| partial.reserved_bytes())
    }

    /// A message of one frame, or a control frame, that is here from its first to its last byte.
    fn whole<'input>(
        &mut self,
        input: &mut &'input mut [u8],
        limit_bytes: usize,
        now: Mono,
    ) -> Result<Option<Event<'input>>, Violation> {
        let Some((header, header_bytes)) = Header::parse(input, Before::default(), limit_bytes)?
        else {
            return Ok(None);
        };
        let frame_bytes = header_bytes + header.payload_bytes;
        if !header.fin || frame_bytes > input.len() {
            return Ok(None);
        }
        let (frame, rest) = std::mem::take(input).split_at_mut(frame_bytes);
        *input = rest;
        let payload = &mut frame[header_bytes..];
        unmask(payload, header.key);
        match header.kind {
            Kind::Data(data) => message(data, payload).map(Some),
            Kind::Close | Kind::Ping | Kind::Pong => {
                self.controls.count(now)?;
                control(header.kind, payload).map(Some)
            }
        }
    }
}

// === impl Controls ===

impl Controls {
    /// Counts one more.
    pub(super) fn count(&mut self, now: Mono) -> Result<(), Violation> {
        let now_ms = (now.0 & u64::from(u32::MAX)) as u32;
        if self.count == 0 || now_ms.wrapping_sub(self.since_ms) >= 1_000 {
            self.since_ms = now_ms;
            self.count = 0;
        }
        if self.count == CONTROLS_PER_SECOND {
            return Err(Violation::TooManyControls);
        }
        self.count += 1;
        Ok(())
    }
}

/// The event of a whole message.
pub(super) fn message(data: Data, payload: &[u8]) -> Result<Event<'_>, Violation> {
    match data {
        Data::Text => str::from_utf8(payload)
            .map(Event::Text)
            .map_err(|_| Violation::InvalidUtf8),
        #[cfg(feature = "echo")]
        Data::Binary => Ok(Event::Binary(payload)),
    }
}

/// The event of a whole control frame.
pub(super) fn control(kind: Kind, payload: &[u8]) -> Result<Event<'_>, Violation> {
    match kind {
        Kind::Ping => Ok(Event::Ping(payload)),
        Kind::Pong => Ok(Event::Pong(payload)),
        Kind::Close => close(payload).map(Event::Close),
        Kind::Data(_) => unreachable!("data is no control frame"),
    }
}

fn close(payload: &[u8]) -> Result<Option<(u16, &str)>, Violation> {
    if payload.is_empty() {
        return Ok(None);
    }
    let (code, reason) = payload
        .split_first_chunk()
        .ok_or(Violation::MalformedClose)?;
    let code = u16::from_be_bytes(*code);
    if !may_be_sent(code) {
        return Err(Violation::MalformedClose);
    }
    let reason = str::from_utf8(reason).map_err(|_| Violation::InvalidUtf8)?;
    Ok(Some((code, reason)))
}

/// The codes of RFC 6455 and of the registry that may stand in a frame, and the free ranges.
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
