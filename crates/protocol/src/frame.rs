//! What the server sends: one JSON object per text frame.
//!
//! One type serves both sides: the server encodes it, clients and tests decode it. The order of
//! variants and fields is the order on the wire; the published schema is generated from here.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{
    ChatMessage, ErrorCode, HistoryRow, Limits, MessageId, Position, PresenceStatus,
    ReconnectReason, RequestId, Status, UnixMicros, json,
};

/// Room for most frames, so that encoding rarely has to make more.
const USUAL_FRAME_BYTES: usize = 512;

/// A frame from the server.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(tag = "type")]
pub enum ServerFrame<'a> {
    /// A message, to everyone in the conversation. For its sender: the acknowledgement.
    #[serde(rename = "chat_message")]
    ChatMessage {
        /// What was said.
        #[serde(borrow)]
        message: ChatMessage<'a>,
        /// Its place.
        position: Position,
    },
    /// A send that was refused, or whose outcome is unknown.
    #[serde(rename = "message.failed")]
    MessageFailed {
        /// As given; null when the send carried no valid one.
        local_id: Option<Cow<'a, str>>,
        /// What is wrong with which value, for people.
        error: Cow<'a, str>,
        /// The same, for programs.
        code: ErrorCode,
        /// Whether the same send may succeed later.
        retryable: bool,
        /// When to try again, in milliseconds.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        retry_after_ms: Option<u64>,
    },
    /// A user began or stopped typing.
    #[serde(rename = "typing")]
    Typing {
        /// Who.
        user_id: Cow<'a, str>,
        /// The name to show.
        username: Cow<'a, str>,
        /// Whether any of the user's devices types.
        is_typing: bool,
    },
    /// A user read these messages, and so all before them.
    #[serde(rename = "read")]
    Read {
        /// Who.
        user_id: Cow<'a, str>,
        /// The ids that the user listed and the cursor moved past.
        message_ids: Vec<MessageId>,
    },
    /// A page of history, newest first.
    #[serde(rename = "messages_fetched")]
    MessagesFetched {
        /// The connection's own conversation.
        conversation_id: Cow<'a, str>,
        /// Newest first.
        messages: Vec<HistoryRow<'a>>,
        /// Whether there are more in the direction of paging (`around_id`: older ones).
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
        /// The message; the status holds for all earlier ones of the user too.
        message_id: MessageId,
        /// How far it came.
        status: Status,
        /// When that became known.
        timestamp: UnixMicros,
    },
    /// Another user came or went.
    #[serde(rename = "user_status")]
    UserStatus {
        /// Who.
        user_id: Cow<'a, str>,
        /// Which of both.
        status: PresenceStatus,
        /// When.
        timestamp: UnixMicros,
    },
    /// Sign of life.
    #[serde(rename = "heartbeat")]
    Heartbeat {},
    /// A message has new content.
    #[serde(rename = "message.edited")]
    MessageEdited {
        /// Which message.
        message_id: MessageId,
        /// The new content.
        content: Cow<'a, str>,
        /// Who changed it.
        edited_by: Cow<'a, str>,
        /// When.
        timestamp: UnixMicros,
        /// The place of the edit.
        position: Position,
        /// The `local_id` of the edit, when one was given.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        local_id: Option<Cow<'a, str>>,
    },
    /// A message is gone.
    #[serde(rename = "message.deleted")]
    MessageDeleted {
        /// Which message.
        message_id: MessageId,
        /// Who deleted it.
        deleted_by: Cow<'a, str>,
        /// When.
        timestamp: UnixMicros,
        /// The place of the deletion.
        position: Position,
        /// The `local_id` of the deletion, when one was given.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        local_id: Option<Cow<'a, str>>,
    },
    /// An action other than a send was refused, or a resume was not possible.
    #[serde(rename = "error")]
    Error {
        /// As given; null when there was none or it is longer than 64 bytes.
        action: Option<Cow<'a, str>>,
        /// What is wrong with which value, for people.
        error: Cow<'a, str>,
        /// The same, for programs.
        code: ErrorCode,
        /// Whether the same action may succeed later.
        retryable: bool,
        /// When to try again, in milliseconds.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        retry_after_ms: Option<u64>,
    },
    /// The new token was accepted.
    #[serde(rename = "auth_ok")]
    AuthOk {
        /// When the new token ends.
        expires_at: UnixMicros,
    },
    /// Extended: the first frame; one consistent reading.
    #[serde(rename = "hello")]
    Hello {
        /// The connection's conversation.
        conversation_id: Cow<'a, str>,
        /// The token's user.
        user_id: Cow<'a, str>,
        /// Names this connection in the server's logs.
        connection_id: Cow<'a, str>,
        /// The epoch of the conversation's log.
        epoch: u32,
        /// The newest message; `"0"` if there is none.
        head_id: MessageId,
        /// The store has everything up to this message; `"0"` until something of this epoch is stored.
        stored_id: MessageId,
        /// The user's read cursor; `"0"` if there is none.
        read_id: MessageId,
        /// The number of messages above `read_id`.
        unread: u64,
        /// Whether the replay leaves nothing out.
        resumed: bool,
        /// Whether there is a store behind the log.
        durable: bool,
        /// The pause between two heartbeats of the server, in milliseconds.
        heartbeat_ms: u64,
        /// What the server accepts.
        limits: Limits,
    },
    /// Extended: everything from here on is live.
    #[serde(rename = "live")]
    Live {
        /// The last position that the replay covered.
        position: Position,
    },
    /// Extended: the store has everything up to this id.
    #[serde(rename = "stored")]
    Stored {
        /// The epoch that this speaks of.
        epoch: u32,
        /// The last message that is stored.
        up_to_id: MessageId,
    },
    /// Extended: read and delivered cursors, cumulative.
    #[serde(rename = "receipts")]
    Receipts {
        /// Read cursors by user.
        read: BTreeMap<Cow<'a, str>, MessageId>,
        /// Delivered cursors by user.
        delivered: BTreeMap<Cow<'a, str>, MessageId>,
    },
    /// Extended: who is here, where there are too many to name each change.
    #[serde(rename = "presence")]
    Presence {
        /// How many users.
        count: u64,
        /// Some of them.
        sample: Vec<Cow<'a, str>>,
    },
    /// Extended: the log may have lost its tail.
    #[serde(rename = "resync")]
    Resync {
        /// The epoch that begins.
        epoch: u32,
        /// The last position that survived.
        lost_after: Position,
        /// The store has everything up to this message.
        stored_id: MessageId,
    },
    /// Extended: the replay leaves these out.
    #[serde(rename = "gap")]
    Gap {
        /// The first message that is left out.
        from: MessageId,
        /// The last message that is left out.
        to: MessageId,
    },
    /// Extended: the token ends soon.
    #[serde(rename = "auth_expiring")]
    AuthExpiring {
        /// When.
        expires_at: UnixMicros,
    },
    /// Extended: open a second socket, then leave this one.
    #[serde(rename = "reconnect")]
    Reconnect {
        /// How long to wait first, in milliseconds.
        after_ms: u64,
        /// Why.
        reason: ReconnectReason,
    },
    /// Extended: precedes close 4004.
    #[serde(rename = "access_revoked")]
    AccessRevoked {
        /// Why, for people.
        reason: Cow<'a, str>,
    },
}

impl<'a> ServerFrame<'a> {
    /// Reads a frame's JSON text. `None` when it is none.
    #[must_use]
    pub fn decode(text: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }
}

impl ServerFrame<'_> {
    /// The frame as JSON text. The bytes hold no spare room: rings keep them for long.
    #[must_use]
    pub fn encode(&self) -> bytes::Bytes {
        let mut text = String::with_capacity(USUAL_FRAME_BYTES);
        json::write(&mut text, self).expect("frames are made of what can be written");
        text.into_bytes().into_boxed_slice().into()
    }
}
