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
        Self::new(epoch as u64 * Self::PER_EPOCH + n)
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
