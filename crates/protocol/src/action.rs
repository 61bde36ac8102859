//! What a client asks for: one JSON object per text frame.
//!
//! [`Action`] is both what [`crate::parse_action`] answers with and what a client encodes; the
//! published schema of client frames is generated from it.

use std::borrow::Cow;

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{LocalId, MessageId, RequestId, TraceParent, schema};

/// A well-formed action. Everything that can be judged without state has been judged.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
#[schemars(transform = schema::with_conversation)]
pub enum Action<'a> {
    /// Say something. The answer is its `chat_message`, or `message.failed`.
    SendMessage {
        /// 1 byte up to the configured limit (16,384 bytes) of UTF-8.
        #[schemars(schema_with = "schema::content")]
        content: Cow<'a, str>,
        /// The client's own name for the message; without it the send is not idempotent.
        #[serde(skip_serializing_if = "Option::is_none")]
        local_id: Option<LocalId>,
        /// Whether the same was sent before.
        #[schemars(default, schema_with = "schema::flag_or_null")]
        retry: bool,
        /// The trace that this belongs to.
        #[serde(skip_serializing_if = "Option::is_none")]
        traceparent: Option<TraceParent>,
    },
    /// Give a message of one's own another content. The answer is `message.edited`.
    EditMessage {
        /// Which message.
        #[schemars(schema_with = "schema::given_id")]
        message_id: MessageId,
        /// 1 byte up to the configured limit (16,384 bytes) of UTF-8.
        #[schemars(schema_with = "schema::content")]
        content: Cow<'a, str>,
        /// The client's own name for the edit.
        #[serde(skip_serializing_if = "Option::is_none")]
        local_id: Option<LocalId>,
        /// The trace that this belongs to.
        #[serde(skip_serializing_if = "Option::is_none")]
        traceparent: Option<TraceParent>,
    },
    /// Take a message back. The answer is `message.deleted`.
    DeleteMessage {
        /// Which message.
        #[schemars(schema_with = "schema::given_id")]
        message_id: MessageId,
        /// The client's own name for the deletion.
        #[serde(skip_serializing_if = "Option::is_none")]
        local_id: Option<LocalId>,
        /// The trace that this belongs to.
        #[serde(skip_serializing_if = "Option::is_none")]
        traceparent: Option<TraceParent>,
    },
    /// Begin, renew or stop typing.
    Typing {
        /// Whether the user types.
        is_typing: bool,
    },
    /// Move the read cursor to the highest of these.
    Read {
        /// 1–500 ids, as listed.
        #[schemars(schema_with = "schema::given_ids")]
        message_ids: Vec<MessageId>,
    },
    /// Ask for a page of history. The answer is `messages_fetched`.
    FetchMessages {
        /// Where the page lies.
        #[serde(flatten)]
        anchor: Anchor,
        /// How many messages: 20 when not given, clamped to 1–100.
        #[schemars(
            default = "schema::page_default",
            schema_with = "schema::integer_or_null"
        )]
        limit: u8,
        /// Echoed in the answer as it came.
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<RequestId>,
    },
    /// Sign of life, without an answer. `heartbeat_ack` is the same.
    #[schemars(transform = schema::both_heartbeats)]
    Heartbeat,
    /// Replace the token of this connection. The answer is `auth_ok`.
    Auth {
        /// A JWT of the same user.
        token: Cow<'a, str>,
    },
}

/// Where a page of history lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// The newest page.
    Newest,
    /// The newest messages below this id: `before_id`.
    Before(MessageId),
    /// The oldest messages above this id: `after_id`.
    After(MessageId),
    /// The message itself and what is next to it on both sides: `around_id`.
    Around(MessageId),
}

impl Action<'_> {
    /// The value of `action` on the wire.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SendMessage { .. } => "send_message",
            Self::EditMessage { .. } => "edit_message",
            Self::DeleteMessage { .. } => "delete_message",
            Self::Typing { .. } => "typing",
            Self::Read { .. } => "read",
            Self::FetchMessages { .. } => "fetch_messages",
            Self::Heartbeat => "heartbeat",
            Self::Auth { .. } => "auth",
        }
    }

    /// The client's own name for what it asks, where the action has one.
    #[must_use]
    pub const fn local_id(&self) -> Option<&LocalId> {
        match self {
            Self::SendMessage { local_id, .. }
            | Self::EditMessage { local_id, .. }
            | Self::DeleteMessage { local_id, .. } => local_id.as_ref(),
            Self::Typing { .. }
            | Self::Read { .. }
            | Self::FetchMessages { .. }
            | Self::Heartbeat
            | Self::Auth { .. } => None,
        }
    }

    /// The action as JSON text, for clients.
    #[must_use]
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("actions hold only strings as keys")
    }
}

/// As the fields of `fetch_messages`: one of three, or none.
impl Serialize for Anchor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Newest => {}
            Self::Before(id) => map.serialize_entry("before_id", id)?,
            Self::After(id) => map.serialize_entry("after_id", id)?,
            Self::Around(id) => map.serialize_entry("around_id", id)?,
        }
        map.end()
    }
}
