//! The rules that keep a conversation whole, each of which can be left out.
//!
//! The fakes and the harness ask [`Rules::has`] where they keep a rule. A test leaves out one at a time
//! and expects that some seed shows the harm, so that neither a rule nor a check is there for nothing.

/// A rule of the log, the store, the persister's order, the gateways or the clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Another run of the log's server opens an epoch.
    RunOpensEpoch,
    /// An epoch is set only by whoever has the claim on it.
    ClaimBeforeOpening,
    /// A break is at or above the store's head.
    BreakKnowsStore,
    /// A break is at or above the log's head.
    BreakKnowsLog,
    /// A break counts only if its epoch is reached by walking down from the head.
    BreaksAreWalked,
    /// The log remembers breaks that are not stored.
    UnstoredBreaksAreKept,
    /// It does so until the next mark, even if they are stored meanwhile.
    BreaksAreKeptUntilNextMark,
    /// Whoever reads a conversation sets its mark first.
    ReadersSetMark,
    /// What the store said holds for the epoch that it was asked in.
    BaseIsOfItsEpoch,
    /// What the store said, and an action, hold for ten seconds.
    TenSeconds,
    /// A name is looked up after the mark was set.
    LookUpAfterMark,
    /// A name that is sent again is looked up in the store.
    LookUpOnRetry,
    /// So is a name of a sender of whom the log remembers no names.
    LookUpWithoutNames,
    /// So is every name in a young epoch.
    LookUpInYoungEpoch,
    /// The log judges whether what was found exists.
    HitsAreJudged,
    /// Names are forgotten only when what they name is stored.
    NamesUntilStored,
    /// A change of a message that was lost is not appended.
    NoChangeOfLost,
    /// Appending takes a conversation's expiry away.
    AppendStopsExpiry,
    /// A commit counts only in the epoch that was read.
    CommitInItsEpoch,
    /// What is below an epoch's mark is not said to be stored in it.
    StoredAboveMark,
    /// Names are durable before the head that covers them.
    NamesBeforeHead,
    /// Events are durable before the head that covers them.
    EventsBeforeHead,
    /// The next event is the one that names the last as the one before it.
    PrevIsNext,
    /// What nothing told of is found by comparing heads.
    Sweep,
    /// A client that hears of another epoch offers all of its outbox again.
    OutboxOnNewEpoch,
    /// What is said to be stored counts for what was acknowledged since its epoch is known.
    StoredOfKnownEpoch,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::RunOpensEpoch,
        Self::ClaimBeforeOpening,
        Self::BreakKnowsStore,
        Self::BreakKnowsLog,
        Self::BreaksAreWalked,
        Self::UnstoredBreaksAreKept,
        Self::BreaksAreKeptUntilNextMark,
        Self::ReadersSetMark,
        Self::BaseIsOfItsEpoch,
        Self::TenSeconds,
        Self::LookUpAfterMark,
        Self::LookUpOnRetry,
        Self::LookUpWithoutNames,
        Self::LookUpInYoungEpoch,
        Self::HitsAreJudged,
        Self::NamesUntilStored,
        Self::NoChangeOfLost,
        Self::AppendStopsExpiry,
        Self::CommitInItsEpoch,
        Self::StoredAboveMark,
        Self::NamesBeforeHead,
        Self::EventsBeforeHead,
        Self::PrevIsNext,
        Self::Sweep,
        Self::OutboxOnNewEpoch,
        Self::StoredOfKnownEpoch,
    ];
}

/// The rules that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules(u64);

impl Rules {
    /// All of them.
    #[must_use]
    pub const fn all() -> Self {
        Self(u64::MAX)
    }

    /// All but these.
    #[must_use]
    pub fn without(left_out: &[Rule]) -> Self {
        let bits = left_out
            .iter()
            .fold(0, |bits, rule| bits | 1 << *rule as u64);
        Self(!bits)
    }

    /// Whether a rule is kept.
    #[must_use]
    pub const fn has(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u64) != 0
    }
}
