//! Who a connection belongs to: what a verified token says.

use parlance_protocol::{ConversationId, UnixMicros, UserId};

/// The verified claims of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `sub`.
    pub user: UserId,
    /// The name shown in `typing`; at most 64 characters.
    pub username: Box<str>,
    /// `exp`. The connection is closed 30 s after it.
    pub expires_at: UnixMicros,
    /// Which conversations the token opens.
    pub conversations: Conversations,
    /// May delete the messages of others.
    pub moderator: bool,
}

/// Which conversations a token opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conversations {
    /// `"*"`.
    All,
    /// These; none if the claim was missing or of another type.
    Only(Vec<ConversationId>),
}

impl Identity {
    /// Whether this token opens `conversation`.
    #[must_use]
    pub fn may_join(&self, conversation: &ConversationId) -> bool {
        match &self.conversations {
            Conversations::All => true,
            Conversations::Only(list) => list.contains(conversation),
        }
    }
}
