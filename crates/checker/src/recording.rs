//! What clients saw, as data.

use std::{collections::HashMap, fmt};

use parlance_protocol::Position;
use serde::{Deserialize, Serialize};

/// Everything that one run saw.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    /// What was promised.
    pub run: Run,
    /// One after the other.
    pub conversations: Vec<Conversation>,
    /// When something was broken.
    pub faults: Vec<Fault>,
    /// What was tried when all was well again.
    pub probes: Vec<Probe>,
    /// What processes used.
    pub samples: Vec<Sample>,
}

/// What was promised of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// What may happen to the log.
    pub promise: Promise,
    /// Whether all that was broken is among the [`Fault`]s, so that rules about time apply.
    pub timed: bool,
    /// When everybody had seen what they saw, on the clock of [`Seen::at_us`].
    pub ended_us: u64,
}

/// What may happen to the log in a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Promise {
    /// It keeps what it acknowledged.
    #[default]
    NothingLost,
    /// It keeps it, too, but nobody can know that: clients are told of a new epoch.
    EpochMayRise,
    /// It may lose its tail; what was acknowledged comes back under another id.
    TailMayBeLost,
}

impl Promise {
    pub(crate) fn keeps_ids(self) -> bool {
        match self {
            Self::NothingLost | Self::EpochMayRise => true,
            Self::TailMayBeLost => false,
        }
    }

    pub(crate) fn keeps_epoch(self) -> bool {
        match self {
            Self::NothingLost => true,
            Self::EpochMayRise | Self::TailMayBeLost => false,
        }
    }
}

/// What was seen of one conversation.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    /// Its id.
    pub name: String,
    /// What history says at the end, oldest first.
    pub history: Vec<Told>,
    /// What others read at the end.
    pub readings: Vec<Reading>,
    /// Its clients.
    pub members: Vec<Member>,
}

impl Conversation {
    /// Every message that somebody was told of, now or then.
    pub(crate) fn told(&self) -> impl Iterator<Item = &Told> {
        let events = self.members.iter().flat_map(|member| &member.events);
        let seen = events.filter_map(|seen| seen.event.message());
        self.history.iter().chain(seen)
    }

    /// Fills in what deleted messages of the readings were, from what members saw: no row says it.
    pub fn name_deleted(&mut self) {
        let known = self.told().filter(|told| !told.content.is_empty());
        let names: HashMap<Position, String> = known
            .map(|told| (told.position, told.content.clone()))
            .collect();
        let others = self.readings.iter_mut().flat_map(|read| &mut read.told);
        for told in self.history.iter_mut().chain(others) {
            if let Some(name) = names.get(&told.position) {
                told.content.clone_from(name);
            }
        }
    }
}

/// The whole of a conversation, read once more at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// Where it was read, and how.
    pub by: String,
    /// Oldest first.
    pub told: Vec<Told>,
}

/// What one client saw, over all of its connections.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its only user.
    pub user: String,
    /// What it speaks.
    pub layer: Layer,
    /// In the order in which it saw them.
    pub events: Vec<Seen>,
}

/// Which layer of the protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// Keeps nothing that was acknowledged.
    Base,
    /// Hears of epochs, and offers again what they may have lost.
    Extended,
}

/// Something that a client did or saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// When, in µs of one clock that all clients share.
    pub at_us: u64,
    /// What.
    pub event: Event,
}

/// A message as somebody was told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// Its place, which is its id.
    #[serde(with = "text")]
    pub position: Position,
    /// Who sent it.
    pub sender: String,
    /// Its content when it was sent, which is unique and is its `local_id`, too.
    pub content: String,
    /// Its content at present; empty, if it is deleted.
    pub shows: String,
}

/// An edit or a deletion as somebody was told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Its place.
    #[serde(with = "text")]
    pub position: Position,
    /// The place of its message.
    #[serde(with = "text")]
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

/// Something that a client did or saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// A connection was opened that goes on after this place.
    Connected {
        /// Nothing is promised of what was before.
        #[serde(with = "maybe_text", default)]
        since: Option<Position>,
    },
    /// The token of the connection that was opened last is good until then.
    Granted {
        /// On the clock of [`Seen::at_us`].
        until_us: u64,
    },
    /// A message or a change of one's own was sent.
    Offered {
        /// Its `local_id`.
        name: String,
    },
    /// It was put off: the outcome is unknown, or it may be sent again later.
    PutOff {
        /// Its `local_id`; the refusal of a change does not say it.
        #[serde(default)]
        name: Option<String>,
        /// Why.
        code: String,
    },
    /// It was refused for ever.
    Refused {
        /// Its `local_id`; the refusal of a change does not say it.
        #[serde(default)]
        name: Option<String>,
        /// Why.
        code: String,
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
        #[serde(with = "text")]
        lost_after: Position,
    },
    /// The replay left out these messages, both included.
    Gap {
        /// The first.
        #[serde(with = "text")]
        from: Position,
        /// The last.
        #[serde(with = "text")]
        to: Position,
    },
    /// The replay could not begin where it was asked to, and goes on from somewhere.
    Cut,
    /// A message of one's own was lost for good.
    Failed {
        /// Where it was.
        #[serde(with = "text")]
        position: Position,
    },
    /// The server said that the store has this message or change of one's own, so it was forgotten here.
    Stored {
        /// Its `local_id`.
        name: String,
        /// Its place.
        #[serde(with = "text")]
        position: Position,
    },
    /// The newest page was fetched; it came now.
    Paged {
        /// When it was asked for.
        asked_us: u64,
        /// The newest first.
        #[serde(with = "texts")]
        ids: Vec<Position>,
    },
    /// Everything up to here was said to be read.
    Reads {
        /// The newest message.
        #[serde(with = "text")]
        up_to: Position,
    },
    /// Somebody else read up to this, and maybe further.
    ReadBy {
        /// Who.
        user: String,
        /// The highest that was listed.
        #[serde(with = "text")]
        up_to: Position,
    },
    /// How far somebody else has read, and what reached them.
    Cursor {
        /// Whose.
        user: String,
        /// Everything up to this was read.
        #[serde(with = "maybe_text", default)]
        read: Option<Position>,
        /// Everything up to this was delivered.
        #[serde(with = "maybe_text", default)]
        delivered: Option<Position>,
    },
    /// What became of a message of one's own.
    Status {
        /// Which.
        #[serde(with = "text")]
        message: Position,
        /// Read, or only delivered.
        is_read: bool,
    },
    /// Somebody came or went.
    Presence {
        /// Who.
        user: String,
        /// Came.
        is_online: bool,
    },
    /// One's own typing was told to the server.
    Types,
    /// Somebody types or stopped.
    Typing {
        /// Who.
        user: String,
        /// Whether.
        is_typing: bool,
    },
    /// The connection ended.
    Closed {
        /// Of the close frame, if there was one.
        #[serde(default)]
        code: Option<u16>,
    },
}

impl Event {
    /// The message that was told.
    #[must_use]
    pub fn message(&self) -> Option<&Told> {
        match self {
            Self::Message(told) | Self::Answer(told) => Some(told),
            _ => None,
        }
    }

    /// The change that was told.
    #[must_use]
    pub fn change(&self) -> Option<&Change> {
        match self {
            Self::Changed(change) | Self::ChangeAnswered(change) => Some(change),
            _ => None,
        }
    }

    /// Of an event of one's own that was told: its name and its place.
    pub(crate) fn acknowledged_by(&self, user: &str) -> Option<(&str, Position)> {
        let told = self.message().filter(|told| told.sender == user);
        let told = told.map(|told| (&*told.content, told.position));
        told.or_else(|| {
            let change = self.change().filter(|change| change.sender == user)?;
            Some((&*change.name, change.position))
        })
    }
}

/// Something was broken for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What.
    pub name: String,
    /// From then on.
    pub begun_us: u64,
    /// Until it was mended.
    pub ended_us: u64,
}

/// Something that has to happen soon when nothing is broken any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// What was waited for.
    pub what: String,
    /// Since then.
    pub began_us: u64,
    /// How long it took.
    pub took_us: u64,
    /// How long it may take.
    pub within_us: u64,
}

/// What a process used at a moment without load of its own making.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Which process; one that was started again is another.
    pub process: String,
    /// When.
    pub at_us: u64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Open file descriptors that are not for clients.
    pub descriptors: u64,
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

/// Positions as their text on the wire.
mod text {
    use super::Position;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::borrow::Cow;

    pub(super) fn serialize<S: Serializer>(place: &Position, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(place)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Position, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        parse(&text)
    }

    pub(super) fn parse<E: Error>(text: &str) -> Result<Position, E> {
        let place = Position::parse(text);
        place.ok_or_else(|| E::custom(format_args!("{text:?} is no position")))
    }
}

mod maybe_text {
    use super::{Position, text};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        place: &Option<Position>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match place {
            Some(place) => to.collect_str(place),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Position>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text::parse(&text)).transpose()
    }
}

mod texts {
    use super::{Position, text};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(places: &[Position], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(places.iter().map(Position::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Position>, D::Error> {
        let all = Vec::<String>::deserialize(from)?;
        all.iter().map(|text| text::parse(text)).collect()
    }
}
