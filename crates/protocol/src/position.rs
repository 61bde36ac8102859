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

    /// Whether this is the mark with which a conversation enters an epoch: a place in the order,
    /// where no event stands.
    ///
    /// ```
    /// use parlance_protocol::Position;
    /// let is_mark = |text| Position::parse(text).unwrap().is_mark();
    /// assert!(is_mark("10000000000"));
    /// assert!(!is_mark("0") && !is_mark("10000000001") && !is_mark("10000000000-1"));
    /// ```
    #[must_use]
    pub const fn is_mark(self) -> bool {
        self.id.n() == 0 && self.k == 0 && self.id.get() > 0
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits;

    fn any_position() -> impl Strategy<Value = Position> {
        let ks = prop_oneof![Just(0), 1..20_u32, any::<u32>()];
        (0..limits::ID_BOUND, ks).prop_map(|(id, k)| Position {
            id: MessageId::new(id).unwrap(),
            k,
        })
    }

    proptest! {
        #[test]
        fn every_position_is_read_as_it_is_written(position in any_position()) {
            prop_assert_eq!(Position::parse(&position.to_string()), Some(position));
        }

        #[test]
        fn only_canonical_text_is_a_position(text in "\\PC{0,6}|[0-9]{0,17}(-[0-9+-]{0,11})?") {
            if let Some(position) = Position::parse(&text) {
                prop_assert_eq!(position.to_string(), text);
            }
        }

        #[test]
        fn order_is_by_message_then_by_event(a in any_position(), b in any_position()) {
            let key = |p: Position| (u128::from(p.id.get()) << 32) + u128::from(p.k);
            prop_assert_eq!(a.cmp(&b), key(a).cmp(&key(b)));
        }
    }

    #[test]
    fn texts_that_are_almost_positions_are_refused() {
        let almost = [
            "",
            "-",
            "-1",
            "1-",
            "1-0",
            "1-01",
            "01",
            "01-1",
            "1-1-1",
            "1--1",
            "1-+1",
            "1-4294967296",
        ];
        for text in almost {
            assert_eq!(Position::parse(text), None, "{text}");
        }
        assert_eq!(Position::parse("0"), Some(Position::ZERO));
    }
}
