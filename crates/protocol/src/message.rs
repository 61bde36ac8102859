//! What frames of the server hold: messages, how far they came, who is there, the limits.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{MessageId, Position, UnixMicros};

/// The message in `chat_message`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ChatMessage<'a> {
    /// Its name and order in the conversation.
    pub id: MessageId,
    /// The sender's own name for it, when one was given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub local_id: Option<Cow<'a, str>>,
    /// Who said it.
    pub sender_id: Cow<'a, str>,
    /// What was said.
    pub content: Cow<'a, str>,
    /// When; never decides order.
    pub timestamp: UnixMicros,
    /// How far it came.
    pub status: Status,
}

/// A message in `messages_fetched`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HistoryRow<'a> {
    /// Its name and order in the conversation.
    pub id: MessageId,
    /// Who said it.
    pub sender_id: Cow<'a, str>,
    /// What it says at present. Empty when deleted.
    pub content: Cow<'a, str>,
    /// When it was sent; never decides order.
    pub sent_at: UnixMicros,
    /// Whether its content was ever changed.
    pub is_edited: bool,
    /// Whether it was taken back.
    pub is_deleted: bool,
    /// How far it came.
    pub status: Status,
    /// Of the row's last change.
    pub position: Position,
    /// Who changed the content last.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub edited_by: Option<Cow<'a, str>>,
    /// The reader's own messages only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub local_id: Option<Cow<'a, str>>,
}

/// How far a message came. Never back, except to `failed`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is in the log.
    Sent,
    /// A device of another user is known to have it.
    Delivered,
    /// Another user read it.
    Read,
    /// The log lost it and it could not be restored.
    Failed,
}

/// Whether a user has a connection in the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PresenceStatus {
    /// At least one.
    Online,
    /// None any more.
    Offline,
}

/// Why a client is asked to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReconnectReason {
    /// This node is leaving.
    Drain,
    /// Another node has more room.
    Rebalance,
}

/// What the server accepts, told in `hello`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Limits {
    /// Longest frame and longest message on the socket, in bytes.
    pub frame_bytes: usize,
    /// Longest content, in bytes of UTF-8.
    pub content_bytes: usize,
    /// Longest `local_id`, in bytes.
    pub local_id_bytes: usize,
    /// Most ids in one `read`.
    pub read_ids: usize,
    /// Largest page of history.
    pub page: u8,
    /// Actions a second that one connection may keep up. 0: no limit.
    pub actions_per_second: u32,
    /// Actions that one connection may ask at once.
    pub actions_burst: u32,
    /// Most events that a resume replays.
    pub resume_events: u64,
}
