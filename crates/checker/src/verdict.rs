//! What must hold, and where it did not.

use std::fmt;

/// What must hold of every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Invariant {
    /// What was acknowledged is in every history in the end.
    NoLoss = 1,
    /// A send is one message at most, in any history and in anybody's view.
    ExactlyOnce,
    /// What is told was sent, by its sender, in its conversation.
    NoInvention,
    /// All acknowledgements of a send tell the same place.
    StableAcknowledgement,
    /// A place is one message, for everybody and for ever.
    OneOrder,
    /// A client hears everything in the order of places.
    NoReorder,
    /// Nothing is missing between two things that a client heard, unless it was told so.
    NoGap,
    /// A connection goes on right behind where the one before ended.
    ExactResume,
    /// What was seen live is what history says.
    HistoryIsLive,
    /// What was sent after an acknowledgement stands behind it.
    RealTimeOrder,
    /// What one connection sent stands in the order in which it was sent.
    SessionOrder,
    /// Whoever reads finds what anybody was told before.
    ReadYourAcknowledgements,
    /// Receipts only move up, to messages that there are, and read is delivered.
    ReceiptsRise,
    /// Who is shown as present is, and nobody else.
    PresenceIsTrue,
    /// Nobody types for ever.
    TypingEnds,
    /// Whoever may not hear any more does not.
    Access,
    /// When nothing is broken any more, everything works soon.
    Liveness,
    /// What was announced as stored survives everything.
    StoredIsTrue,
    /// What cannot be kept is refused, in words that are true, and nothing is met with silence.
    HonestRefusal,
    /// What processes use does not grow with what is done to them.
    Bounded,
}

impl Invariant {
    /// All of them, in order.
    pub const ALL: [Self; 20] = [
        Self::NoLoss,
        Self::ExactlyOnce,
        Self::NoInvention,
        Self::StableAcknowledgement,
        Self::OneOrder,
        Self::NoReorder,
        Self::NoGap,
        Self::ExactResume,
        Self::HistoryIsLive,
        Self::RealTimeOrder,
        Self::SessionOrder,
        Self::ReadYourAcknowledgements,
        Self::ReceiptsRise,
        Self::PresenceIsTrue,
        Self::TypingEnds,
        Self::Access,
        Self::Liveness,
        Self::StoredIsTrue,
        Self::HonestRefusal,
        Self::Bounded,
    ];

    /// In a few words.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::NoLoss => "no loss",
            Self::ExactlyOnce => "exactly once",
            Self::NoInvention => "no invention",
            Self::StableAcknowledgement => "stable acknowledgement",
            Self::OneOrder => "one order",
            Self::NoReorder => "no reorder",
            Self::NoGap => "no silent gap",
            Self::ExactResume => "exact resume",
            Self::HistoryIsLive => "history is live",
            Self::RealTimeOrder => "real-time order",
            Self::SessionOrder => "session order",
            Self::ReadYourAcknowledgements => "read your acknowledgements",
            Self::ReceiptsRise => "receipts rise",
            Self::PresenceIsTrue => "presence is true",
            Self::TypingEnds => "typing ends",
            Self::Access => "access",
            Self::Liveness => "liveness",
            Self::StoredIsTrue => "stored is true",
            Self::HonestRefusal => "honest refusal",
            Self::Bounded => "bounded",
        }
    }
}

/// `I1 no loss`
impl fmt::Display for Invariant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "I{} {}", *self as u8, self.title())
    }
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What does not hold.
    pub invariant: Invariant,
    /// In which conversation, or of which process.
    pub subject: String,
    /// Which of the conversation's members saw it, if one did.
    pub member: Option<usize>,
    /// When it was seen; the end of the run, if only that shows it.
    pub at_us: Option<u64>,
    /// Who saw what.
    pub what: String,
}

/// `I1 no loss, in room-1: …`
impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            invariant,
            subject,
            what,
            ..
        } = self;
        write!(formatter, "{invariant}, in {subject}: {what}")
    }
}
