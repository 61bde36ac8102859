//! What the server sends: one JSON object per text frame.
//!
//! One type serves both sides: the server encodes it, clients and tests decode it.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{ErrorCode, MessageId, Position, RequestId, UnixMicros};

/// A frame from the server.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(tag = "type")]
pub enum ServerFrame<'a> {
    /// A message, to everyone in the conversation. For its sender: the acknowledgement.
    #[serde(rename = "chat_message")]
    ChatMessage {
        #[serde(borrow)]
        message: ChatMessage<'a>,
        position: Position,
    },
    /// A send that was refused, or whose outcome is unknown.
    #[serde(rename = "message.failed")]
    MessageFailed {
        /// Null when the send carried no valid one.
        local_id: Option<Cow<'a, str>>,
        error: Cow<'a, str>,
        code: ErrorCode,
        retryable: bool,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        retry_after_ms: Option<u64>,
    },
    /// A user began or stopped typing.
    #[serde(rename = "typing")]
    Typing {
        user_id: Cow<'a, str>,
        username: Cow<'a, str>,
        is_typing: bool,
    },
    /// A user read these messages, and so all before them.
    #[serde(rename = "read")]
    Read {
        user_id: Cow<'a, str>,
        message_ids: Vec<MessageId>,
    },
    /// A page of history, newest first.
    #[serde(rename = "messages_fetched")]
    MessagesFetched {
        conversation_id: Cow<'a, str>,
        messages: Vec<HistoryRow<'a>>,
        has_more: bool,
        /// Only with `around_id`: whether newer ones exist.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        has_more_after: Option<bool>,
        /// As the client gave it: a string or a number.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        request_id: Option<RequestId>,
    },
    /// A message of this user was delivered to or read by somebody else, or was lost.
    #[serde(rename = "message.status")]
    MessageStatus {
        message_id: MessageId,
        status: Status,
        timestamp: UnixMicros,
    },
    /// Another user came or went.
    #[serde(rename = "user_status")]
    UserStatus {
        user_id: Cow<'a, str>,
        status: PresenceStatus,
        timestamp: UnixMicros,
    },
    /// Sign of life.
    #[serde(rename = "heartbeat")]
    Heartbeat {},
    /// A message has new content.
    #[serde(rename = "message.edited")]
    MessageEdited {
        message_id: MessageId,
        content: Cow<'a, str>,
        edited_by: Cow<'a, str>,
        timestamp: UnixMicros,
        position: Position,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        local_id: Option<Cow<'a, str>>,
    },
    /// A message is gone.
    #[serde(rename = "message.deleted")]
    MessageDeleted {
        message_id: MessageId,
        deleted_by: Cow<'a, str>,
        timestamp: UnixMicros,
        position: Position,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        local_id: Option<Cow<'a, str>>,
    },
    /// An action other than a send was refused, or a resume was not possible.
    #[serde(rename = "error")]
    Error {
        /// Null when there was none or it is longer than 64 bytes.
        action: Option<Cow<'a, str>>,
        error: Cow<'a, str>,
        code: ErrorCode,
        retryable: bool,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        retry_after_ms: Option<u64>,
    },
    /// The new token was accepted.
    #[serde(rename = "auth_ok")]
    AuthOk { expires_at: UnixMicros },
    /// Extended: the first frame; one consistent reading.
    #[serde(rename = "hello")]
    Hello {
        conversation_id: Cow<'a, str>,
        user_id: Cow<'a, str>,
        connection_id: Cow<'a, str>,
        epoch: u32,
        head_id: MessageId,
        stored_id: MessageId,
        read_id: MessageId,
        unread: u64,
        resumed: bool,
        durable: bool,
        heartbeat_ms: u64,
        limits: Limits,
    },
    /// Extended: everything from here on is live.
    #[serde(rename = "live")]
    Live { position: Position },
    /// Extended: the store has everything up to this id.
    #[serde(rename = "stored")]
    Stored { epoch: u32, up_to_id: MessageId },
    /// Extended: read and delivered cursors, cumulative.
    #[serde(rename = "receipts")]
    Receipts {
        read: BTreeMap<Cow<'a, str>, MessageId>,
        delivered: BTreeMap<Cow<'a, str>, MessageId>,
    },
    /// Extended: who is here, where there are too many to name each change.
    #[serde(rename = "presence")]
    Presence {
        count: u64,
        sample: Vec<Cow<'a, str>>,
    },
    /// Extended: the log may have lost its tail.
    #[serde(rename = "resync")]
    Resync {
        epoch: u32,
        lost_after: Position,
        stored_id: MessageId,
    },
    /// Extended: the replay leaves these out.
    #[serde(rename = "gap")]
    Gap { from: MessageId, to: MessageId },
    /// Extended: the token ends soon.
    #[serde(rename = "auth_expiring")]
    AuthExpiring { expires_at: UnixMicros },
    /// Extended: open a second socket, then leave this one.
    #[serde(rename = "reconnect")]
    Reconnect {
        after_ms: u64,
        reason: ReconnectReason,
    },
    /// Extended: precedes close 4004.
    #[serde(rename = "access_revoked")]
    AccessRevoked { reason: Cow<'a, str> },
}

/// The message in `chat_message`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct ChatMessage<'a> {
    pub id: MessageId,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub local_id: Option<Cow<'a, str>>,
    pub sender_id: Cow<'a, str>,
    pub content: Cow<'a, str>,
    pub timestamp: UnixMicros,
    pub status: Status,
}

/// A message in `messages_fetched`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct HistoryRow<'a> {
    pub id: MessageId,
    pub sender_id: Cow<'a, str>,
    /// Empty when deleted.
    pub content: Cow<'a, str>,
    pub sent_at: UnixMicros,
    pub is_edited: bool,
    pub is_deleted: bool,
    pub status: Status,
    /// Of the row's last change.
    pub position: Position,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub edited_by: Option<Cow<'a, str>>,
    /// The reader's own messages only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub local_id: Option<Cow<'a, str>>,
}

/// How far a message came. Never back, except to `failed`.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Sent,
    Delivered,
    Read,
    Failed,
}

/// Whether a user has a connection in the conversation.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum PresenceStatus {
    Online,
    Offline,
}

/// Why a client is asked to move.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ReconnectReason {
    Drain,
    Rebalance,
}

/// What the server accepts, told in `hello`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
pub struct Limits {
    pub frame_bytes: usize,
    pub content_bytes: usize,
    pub local_id_bytes: usize,
    pub read_ids: usize,
    pub page: u8,
    pub actions_per_second: u32,
    pub actions_burst: u32,
    pub resume_events: u64,
}

impl<'a> ServerFrame<'a> {
    /// Reads a frame's JSON text. `None` when it is none.
    #[must_use]
    pub fn decode(text: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }
}

impl ServerFrame<'_> {
    /// The frame as JSON text.
    #[must_use]
    pub fn encode(&self) -> bytes::Bytes {
        serde_json::to_vec(self)
            .expect("frames hold only strings as keys")
            .into()
    }
}
