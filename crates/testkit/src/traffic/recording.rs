//! What clients saw, as data: made by the clients of this module, judged by [`super::checker`].

use std::fmt;

use parlance_protocol::Position;

/// Everything that one run saw.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    /// One after the other.
    pub conversations: Vec<Conversation>,
}

/// What was seen of one conversation.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    /// Its id.
    pub name: String,
    /// What history says at the end, oldest first.
    pub history: Vec<Told>,
    /// Its clients.
    pub members: Vec<Member>,
}

/// What one client saw, over all of its connections.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its only user.
    pub user: String,
    /// What it speaks.
    pub layer: Layer,
    /// In the order in which it saw them.
    pub events: Vec<Event>,
}

/// Which layer of the protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// Keeps nothing that was acknowledged.
    Base,
    /// Hears of epochs, and offers again what they may have lost.
    Extended,
}

/// A message as somebody was told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its place, which is its id.
    pub position: Position,
    /// Who sent it.
    pub sender: String,
    /// Its content, which is unique and is its `local_id`, too.
    pub content: String,
}

/// Something that a client saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A connection was opened that goes on after this place.
    Connected {
        /// Nothing is promised of what was before.
        since: Option<Position>,
    },
    /// A message in its turn.
    Message(Told),
    /// A message of one's own that had been offered more than once: told in its turn, or in answer
    /// to a repeat. The wire does not tell which.
    Answer(Told),
    /// What was seen above this place may be lost.
    Resync {
        /// Not itself lost.
        lost_after: Position,
    },
    /// The replay left out these messages, both included.
    Gap {
        /// The first.
        from: Position,
        /// The last.
        to: Position,
    },
    /// The replay could not begin where it was asked to, and goes on from somewhere.
    Cut,
    /// A message of one's own was lost for good.
    Failed {
        /// Where it was.
        position: Position,
    },
    /// A send was refused for ever.
    Refused {
        /// Why.
        code: String,
    },
    /// The server said that the store has this message of one's own, so it was forgotten here.
    Stored(Told),
    /// The connection ended.
    Closed {
        /// Of the close frame, if there was one.
        code: Option<u16>,
    },
}

impl fmt::Display for Told {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({:?})", self.position, self.content)
    }
}
