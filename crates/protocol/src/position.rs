//! The place of a durable event in its conversation.

use std::fmt;

use crate::MessageId;

/// `N` for message N, `N-k` for the k-th other durable event after it. Order is (id, k).
///
/// ```
/// use parlance_protocol::Position;
/// let edit = Position::parse("460-1").unwrap();
/// assert!(edit > Position::parse("460").unwrap());
/// assert_eq!(edit.to_string(), "460-1");
/// assert_eq!(Position::parse("460-0"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// The message at or before this place.
    pub id: MessageId,
    /// 0 for the message itself.
    pub k: u32,
}

impl Position {
    /// Before everything.
    pub const ZERO: Self = Self {
        id: MessageId::ZERO,
        k: 0,
    };

    /// The place of message `id`.
    #[must_use]
    pub const fn of(id: MessageId) -> Self {
        Self { id, k: 0 }
    }

    /// Canonical text only: `"456"`, `"456-1"`, `"0"`; never `"456-0"`, `"0456"`, `""`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let Some((id, k)) = text.split_once('-') else {
            return MessageId::parse(text).map(Self::of);
        };
        let digits = !k.is_empty() && k.bytes().all(|b| b.is_ascii_digit());
        if !digits || k.starts_with('0') {
            return None;
        }
        Some(Self {
            id: MessageId::parse(id)?,
            k: k.parse().ok()?,
        })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.k {
            0 => fmt::Display::fmt(&self.id, f),
            k => write!(f, "{}-{k}", self.id),
        }
    }
}
