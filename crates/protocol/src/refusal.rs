//! An action that was refused, and the frame that says so.
//!
//! The parser refuses what is malformed, a room what it may not or cannot do; both answer with the
//! same type, so a client sees one shape.

use std::borrow::Cow;

use crate::{ErrorCode, LocalId, ServerFrame};

/// What the frame that answers a refused action needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal<'a> {
    /// The action as given; `None` when there was none or it is longer than 64 bytes.
    pub action: Option<Cow<'a, str>>,
    /// From the closed list.
    pub code: ErrorCode,
    /// One sentence with the value and what would be right. Never empty.
    pub error: Cow<'static, str>,
    /// The valid `local_id` that the action carried, if any.
    pub local_id: Option<LocalId>,
    /// When the same may be asked again, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

impl<'a> Refusal<'a> {
    /// A refusal without `local_id` and `retry_after_ms`: both are set by struct update.
    #[must_use]
    pub fn new(
        action: Option<Cow<'a, str>>,
        code: ErrorCode,
        error: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            action,
            code,
            error: error.into(),
            local_id: None,
            retry_after_ms: None,
        }
    }

    /// `message.failed` for a `send_message`, `error` for everything else.
    #[must_use]
    pub fn to_frame(&self) -> ServerFrame<'_> {
        let error = Cow::Borrowed(&*self.error);
        let (code, retryable) = (self.code, self.code.retryable());
        if self.action.as_deref() == Some("send_message") {
            return ServerFrame::MessageFailed {
                local_id: self.local_id.as_ref().map(|id| id.as_str().into()),
                error,
                code,
                retryable,
                retry_after_ms: self.retry_after_ms,
            };
        }
        ServerFrame::Error {
            action: self.action.as_deref().map(Cow::Borrowed),
            error,
            code,
            retryable,
            retry_after_ms: self.retry_after_ms,
        }
    }
}
