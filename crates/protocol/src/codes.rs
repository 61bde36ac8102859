//! Close codes and error codes: closed lists.

/// Why a connection was closed by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// Nothing is wrong.
    Normal = 1000,
    /// The peer is going away.
    GoingAway = 1001,
    /// WebSocket framing was broken.
    ProtocolError = 1002,
    /// A binary frame came.
    Unsupported = 1003,
    /// Text that is not UTF-8.
    InvalidUtf8 = 1007,
    /// Too many fragments or control frames, or a frame that never ended.
    Flood = 1008,
    /// A frame or message over the limit.
    TooBig = 1009,
    /// A fault of the server.
    ServerFault = 1011,
    /// This node is leaving; the reason is `{"retry_after_ms":N}`.
    NodeLeaving = 1012,
    /// Overloaded; the reason is `{"retry_after_ms":N}`.
    Overloaded = 1013,
    /// Token missing, invalid, expired or revoked.
    Unauthorized = 4003,
    /// This user may not see this conversation.
    AccessDenied = 4004,
    /// Reconnect at once with `since`.
    Resync = 4100,
    /// Nothing was heard for 60 s.
    Idle = 4200,
    /// Too many refusals, or too many connections of this user.
    RateLimited = 4201,
    /// Something this node depends on is down.
    DependencyDown = 4202,
    /// Too many malformed actions.
    TooManyErrors = 4400,
}

impl CloseCode {
    /// Every code, in numeric order.
    pub const ALL: [Self; 17] = [
        Self::Normal,
        Self::GoingAway,
        Self::ProtocolError,
        Self::Unsupported,
        Self::InvalidUtf8,
        Self::Flood,
        Self::TooBig,
        Self::ServerFault,
        Self::NodeLeaving,
        Self::Overloaded,
        Self::Unauthorized,
        Self::AccessDenied,
        Self::Resync,
        Self::Idle,
        Self::RateLimited,
        Self::DependencyDown,
        Self::TooManyErrors,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn get(self) -> u16 {
        self as u16
    }
}

/// Why an action was refused. Serialized in snake case.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not a JSON object.
    InvalidJson,
    /// No `action`, or none that exists.
    UnknownAction,
    /// A field is missing, of the wrong type or out of range.
    InvalidField,
    /// `content` is empty.
    InvalidContent,
    /// `content` is over the limit.
    ContentTooLong,
    /// `local_id` is empty, too long or no string.
    InvalidLocalId,
    /// This `local_id` was used for another content.
    LocalIdConflict,
    /// `conversation_id` is not the URL's.
    WrongConversation,
    /// No such message, or it is deleted.
    UnknownMessage,
    /// Somebody else's message.
    NotAuthor,
    /// Not allowed.
    AccessDenied,
    /// `since` names something that does not exist any more.
    ResumeLost,
    /// More was missed than is replayed.
    ResumeTooOld,
    /// Slow down.
    RateLimited,
    /// Could not be done now; the outcome is unknown.
    Unavailable,
    /// A fault of the server; the outcome is unknown.
    Internal,
}

impl ErrorCode {
    /// Whether the same action may succeed later.
    #[must_use]
    pub const fn retryable(self) -> bool {
        match self {
            Self::RateLimited | Self::Unavailable | Self::Internal => true,
            Self::InvalidJson
            | Self::UnknownAction
            | Self::InvalidField
            | Self::InvalidContent
            | Self::ContentTooLong
            | Self::InvalidLocalId
            | Self::LocalIdConflict
            | Self::WrongConversation
            | Self::UnknownMessage
            | Self::NotAuthor
            | Self::AccessDenied
            | Self::ResumeLost
            | Self::ResumeTooOld => false,
        }
    }
}
