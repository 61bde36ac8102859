//! What is read of a conversation: `head.lua`, `opening.lua`, `range.lua`.

use std::collections::BTreeMap;

use parlance_core::ports::Cursor;
use parlance_protocol::{ConversationId, Position, UserId};

use super::{Call, Logged, Meta, Need, Redis};

/// What a room begins with: the end, who is present, and all cursors.
pub type Begin = (Meta, Vec<UserId>, Vec<(UserId, Cursor)>);

/// One reading of a conversation's log.
#[derive(Debug, Clone)]
pub struct Piece {
    /// The end.
    pub meta: Meta,
    /// All that the log has.
    pub log: BTreeMap<Position, Logged>,
}

impl Redis {
    /// The end of a conversation.
    ///
    /// # Errors
    /// What has to be done first.
    pub fn head(&self, call: Call, conversation: &ConversationId) -> Result<Meta, Need> {
        self.ready(call, conversation)
    }

    /// The end of a conversation and all of its log.
    ///
    /// # Errors
    /// What has to be done first.
    pub fn range(&self, call: Call, conversation: &ConversationId) -> Result<Piece, Need> {
        let meta = self.ready(call, conversation)?;
        let of = self.conversations.get(conversation);
        let log = of.map(|of| of.log.clone()).unwrap_or_default();
        Ok(Piece { meta, log })
    }

    /// The end of a conversation, who is present, and all cursors.
    ///
    /// # Errors
    /// What has to be done first.
    pub fn opening(&self, call: Call, conversation: &ConversationId) -> Result<Begin, Need> {
        let meta = self.ready(call, conversation)?;
        Ok((meta, self.present(conversation), self.cursors(conversation)))
    }
}
