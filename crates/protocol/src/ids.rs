//! Identifiers. Each is a newtype that can only hold a valid value.

use std::{borrow::Borrow, fmt, sync::Arc};

use crate::limits;

/// Why a text is no identifier of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct InvalidId {
    what: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $check:expr, $what:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and takes a copy of it.
            ///
            /// # Errors
            /// When `text` breaks the rules of the type.
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.into())) } else { Err(InvalidId { what: $what }) }
            }

            /// The id as it stands on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

text_id!(
    /// Names a conversation: 1–128 of `A-Z a-z 0-9 . _ ~ : -`. Cloning is cheap.
    ConversationId,
    |text| {
        (1..=limits::CONVERSATION_ID_BYTES).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~:-".contains(&b))
    },
    "a conversation id is 1 to 128 of A-Z a-z 0-9 . _ ~ : -"
);
text_id!(
    /// Names an authenticated user (`sub`): 1–128 bytes without control characters.
    UserId,
    |text| {
        (1..=limits::USER_ID_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
    },
    "a user id is 1 to 128 bytes without control characters"
);
text_id!(
    /// A client's own name for a message: 1–128 bytes, anything else goes.
    LocalId,
    |text| (1..=limits::LOCAL_ID_BYTES).contains(&text.len()),
    "a local_id is 1 to 128 bytes"
);

/// Names a message in its conversation: `epoch · 10^10 + n`, below 2^53. `0` is "before the first".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MessageId(u64);

impl MessageId {
    /// Before the first message.
    pub const ZERO: Self = Self(0);
    /// Ids of one epoch span this many numbers.
    pub const PER_EPOCH: u64 = 10_000_000_000;

    /// `None` at or above 2^53.
    #[must_use]
    pub const fn new(id: u64) -> Option<Self> {
        if id < limits::ID_BOUND {
            Some(Self(id))
        } else {
            None
        }
    }

    /// The `n`-th message of `epoch`. `None` when the epoch is full or above 2^53.
    #[must_use]
    pub const fn of_epoch(epoch: u32, n: u64) -> Option<Self> {
        if n >= Self::PER_EPOCH {
            return None;
        }
        match (epoch as u64).checked_mul(Self::PER_EPOCH) {
            Some(mark) if mark < limits::ID_BOUND => Self::new(mark + n),
            Some(_) | None => None,
        }
    }

    /// The plain number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The epoch that the id belongs to.
    #[must_use]
    pub const fn epoch(self) -> u32 {
        (self.0 / Self::PER_EPOCH) as u32
    }

    /// The number in its epoch: 1, 2, 3 …; 0 is the epoch's mark.
    #[must_use]
    pub const fn n(self) -> u64 {
        self.0 % Self::PER_EPOCH
    }

    /// Decimal, without sign, leading zero or blank, below 2^53.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let canonical = text == "0" || !text.starts_with('0');
        if digits && canonical {
            text.parse().ok().and_then(Self::new)
        } else {
            None
        }
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_message_id_is_read_as_it_is_written(id in 0..limits::ID_BOUND) {
            let id = MessageId::new(id).unwrap();
            prop_assert_eq!(MessageId::parse(&id.to_string()), Some(id));
            prop_assert_eq!(MessageId::of_epoch(id.epoch(), id.n()), Some(id));
        }

        #[test]
        fn only_canonical_text_is_a_message_id(text in "\\PC{0,4}|[-+ ]?[0-9]{0,20}") {
            let canonical = text.parse().ok().filter(|number: &u64| number.to_string() == text);
            prop_assert_eq!(MessageId::parse(&text), canonical.and_then(MessageId::new));
        }

        #[test]
        fn a_text_id_is_kept_as_given_or_refused_by_its_rule(text in "\\PC{0,130}|[a-z.:_~-]{0,130}") {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._~:-".contains(c);
            let fits = (1..=128).contains(&text.len());
            let kept = |id: Result<&str, InvalidId>| id == Ok(&*text);
            let conversation = ConversationId::new(&text);
            let as_conversation = fits && text.chars().all(plain);
            prop_assert_eq!(kept(conversation.as_ref().map(|id| id.as_str()).map_err(|e| *e)), as_conversation);
            let user = UserId::new(&text);
            prop_assert_eq!(kept(user.as_ref().map(|id| id.as_str()).map_err(|e| *e)), fits);
            let local = LocalId::new(&text);
            prop_assert_eq!(kept(local.as_ref().map(|id| id.as_str()).map_err(|e| *e)), fits);
        }
    }

    #[test]
    fn ids_end_below_2_to_the_53() {
        assert_eq!(MessageId::new(1 << 53), None);
        assert_eq!(MessageId::parse("9007199254740992"), None);
        assert_eq!(
            MessageId::parse("9007199254740991").map(MessageId::get),
            Some((1 << 53) - 1)
        );
        assert_eq!(MessageId::of_epoch(0, MessageId::PER_EPOCH), None);
        assert_eq!(MessageId::of_epoch(u32::MAX, 1), None);
        assert_eq!(
            MessageId::of_epoch(1, 1).map(MessageId::get),
            Some(10_000_000_001)
        );
    }

    #[test]
    fn a_user_id_holds_no_control_characters() {
        assert!(UserId::new("a\u{0}").is_err());
        assert!(UserId::new("a\u{85}").is_err());
        assert!(LocalId::new("a\u{0}").is_ok());
    }
}
