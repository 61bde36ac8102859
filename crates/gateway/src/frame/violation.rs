//! How a client can break the rules of framing.

use parlance_protocol::CloseCode;

/// A broken rule. The words are the close reason: short, and with nothing of the client's in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Violation {
    /// RSV1–3, which only extensions may use.
    #[error("a reserved bit is set")]
    ReservedBit,
    /// Opcodes 3–7 and 11–15.
    #[error("unknown opcode")]
    UnknownOpcode,
    /// Opcode 2.
    #[error("binary frames are not accepted")]
    Binary,
    /// Opcode 0 outside a message.
    #[error("a continuation without a message")]
    LoneContinuation,
    /// A new message inside a message.
    #[error("a message inside an unfinished message")]
    Interleaved,
    /// A control frame without FIN.
    #[error("a fragmented control frame")]
    FragmentedControl,
    /// Frames of clients are masked, always.
    #[error("the frame is not masked")]
    Unmasked,
    /// A control frame over 125 bytes.
    #[error("a control frame over 125 bytes")]
    LongControl,
    /// The length could be written in fewer bytes.
    #[error("the length is not written in the fewest bytes")]
    LengthEncoding,
    /// A close frame of one byte, or with a code that must not be sent.
    #[error("a malformed close frame")]
    MalformedClose,
    /// A text or a close reason.
    #[error("text that is not UTF-8")]
    InvalidUtf8,
    /// Over the limit for frames and messages.
    #[error("the message is too big")]
    TooBig,
    /// Too many fragments in one message.
    #[error("too many fragments")]
    TooManyFragments,
    /// Too many control frames in one second.
    #[error("too many control frames")]
    TooManyControls,
    /// A frame or message that was started and not finished in time. The shard watches this.
    #[error("the message took too long")]
    TooSlow,
}

impl Violation {
    /// What the connection is closed with.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::ReservedBit
            | Self::UnknownOpcode
            | Self::LoneContinuation
            | Self::Interleaved
            | Self::FragmentedControl
            | Self::Unmasked
            | Self::LongControl
            | Self::LengthEncoding
            | Self::MalformedClose => CloseCode::ProtocolError,
            Self::Binary => CloseCode::Unsupported,
            Self::InvalidUtf8 => CloseCode::InvalidUtf8,
            Self::TooBig => CloseCode::TooBig,
            Self::TooManyFragments | Self::TooManyControls | Self::TooSlow => CloseCode::Flood,
        }
    }
}
