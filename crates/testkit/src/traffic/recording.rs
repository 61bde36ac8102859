//! What clients saw, as data: made by the clients of this module, judged by [`super::checker`].

use std::{collections::HashMap, fmt};

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

impl Conversation {
    /// Every message that somebody was told of, now or then.
    pub(super) fn told(&self) -> impl Iterator<Item = &Told> {
        let events = self.members.iter().flat_map(|member| &member.events);
        let seen = events.filter_map(Event::message);
        self.history.iter().chain(seen)
    }

    /// Fills in what deleted messages of the history were, from what members saw.
    pub(super) fn name_deleted(&mut self) {
        let known = self.told().filter(|told| !told.content.is_empty());
        let names: HashMap<Position, String> = known
            .map(|told| (told.position, told.content.clone()))
            .collect();
        for told in &mut self.history {
            if let Some(name) = names.get(&told.position) {
                told.content.clone_from(name);
            }
        }
    }
}

impl Event {
    /// The message that was told.
    pub(super) fn message(&self) -> Option<&Told> {
        match self {
            Self::Message(told) | Self::Answer(told) => Some(told),
            Self::Connected { .. }
            | Self::Changed(_)
            | Self::ChangeAnswered(_)
            | Self::Resync { .. }
            | Self::Gap { .. }
            | Self::Cut
            | Self::Failed { .. }
            | Self::Refused { .. }
            | Self::Stored { .. }
            | Self::Closed { .. } => None,
        }
    }

    /// The change that was told.
    pub(super) fn change(&self) -> Option<&Change> {
        match self {
            Self::Changed(change) | Self::ChangeAnswered(change) => Some(change),
            Self::Connected { .. }
            | Self::Message(_)
            | Self::Answer(_)
            | Self::Resync { .. }
            | Self::Gap { .. }
            | Self::Cut
            | Self::Failed { .. }
            | Self::Refused { .. }
            | Self::Stored { .. }
            | Self::Closed { .. } => None,
        }
    }
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
    /// Its content when it was sent, which is unique and is its `local_id`, too.
    pub content: String,
    /// Its content at present; empty, if it is deleted.
    pub shows: String,
}

/// An edit or a deletion as somebody was told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its place.
    pub position: Position,
    /// The place of its message.
    pub message: Position,
    /// Who made it.
    pub sender: String,
    /// Its `local_id`: that of its message, and behind it which change it is.
    pub name: String,
    /// What the message shows from now on.
    pub shows: String,
}

/// The name of the message that this is a change of; a message's own name.
#[must_use]
pub fn root(name: &str) -> &str {
    name.split_once('~').map_or(name, |(root, _)| root)
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
    /// A change in its turn.
    Changed(Change),
    /// As [`Event::Answer`], of a change of one's own.
    ChangeAnswered(Change),
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
    /// A send or a change was refused.
    Refused {
        /// Why.
        code: String,
    },
    /// The server said that the store has this message or change of one's own, so it was forgotten here.
    Stored {
        /// Its `local_id`.
        name: String,
        /// Its place.
        position: Position,
    },
    /// The connection ended.
    Closed {
        /// Of the close frame, if there was one.
        code: Option<u16>,
    },
}

impl fmt::Display for Told {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({:?}", self.position, self.content)?;
        match self.shows == self.content {
            true => write!(formatter, ")"),
            false => write!(formatter, ", now {:?})", self.shows),
        }
    }
}
