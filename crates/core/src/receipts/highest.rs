//! The two highest cursors of a kind, which give every message its state, and what a move changed.

use parlance_protocol::{MessageId, UserId};

/// A range of messages: `above < id <= up_to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Not in it.
    pub above: MessageId,
    /// In it.
    pub up_to: MessageId,
}

/// Which of an author's messages have a new state. The spans do not overlap: what became read is
/// not told as delivered before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moved {
    /// These are delivered.
    pub delivered: Option<Span>,
    /// These are read.
    pub read: Option<Span>,
}

/// What one heard cursor changed, for every author there can be.
#[derive(Debug, Default)]
pub struct Progress {
    pub(super) before: [Highest; 2],
    pub(super) after: [Highest; 2],
}

/// The two highest cursors of one kind, of different users.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Highest {
    pub(super) first: Option<(UserId, MessageId)>,
    second: Option<(UserId, MessageId)>,
}

impl Progress {
    /// Which messages of `author` have a new state.
    #[must_use]
    pub fn of(&self, author: &UserId) -> Moved {
        self.moved(|highest| highest.other_than(author))
    }

    /// The smallest range that holds every message with a new state. `None`: there is none.
    #[must_use]
    pub fn span(&self) -> Option<Span> {
        let firsts = self.before.iter().chain(&self.after);
        let special = firsts.filter_map(|highest| highest.first.as_ref());
        special
            .map(|(author, _)| self.of(author))
            .chain([self.moved(Highest::upper)])
            .flat_map(|moved| [moved.delivered, moved.read])
            .flatten()
            .reduce(|one, other| Span {
                above: one.above.min(other.above),
                up_to: one.up_to.max(other.up_to),
            })
    }

    /// What is new for an author to whom `told` applies.
    fn moved(&self, told: impl Fn(&Highest) -> MessageId) -> Moved {
        let [delivered_before, read_before] = self.before.each_ref().map(&told);
        let [delivered, read] = self.after.each_ref().map(&told);
        Moved {
            delivered: Span::between(delivered_before.max(read), delivered),
            read: Span::between(read_before, read),
        }
    }
}

impl Span {
    /// Whether `id` is in it.
    #[must_use]
    pub fn contains(self, id: MessageId) -> bool {
        self.above < id && id <= self.up_to
    }

    fn between(above: MessageId, up_to: MessageId) -> Option<Self> {
        (above < up_to).then_some(Self { above, up_to })
    }
}

impl Highest {
    /// The highest of all users but `user`; zero if there is none.
    pub(super) fn other_than(&self, user: &UserId) -> MessageId {
        match &self.first {
            Some((whose, _)) if whose == user => self.lower(),
            Some((_, id)) => *id,
            None => MessageId::ZERO,
        }
    }

    fn upper(&self) -> MessageId {
        self.first.as_ref().map_or(MessageId::ZERO, |(_, id)| *id)
    }

    fn lower(&self) -> MessageId {
        self.second.as_ref().map_or(MessageId::ZERO, |(_, id)| *id)
    }

    pub(super) fn raise(&mut self, user: &UserId, id: MessageId) {
        let is_first = self.first.as_ref().is_some_and(|(whose, _)| whose == user);
        if id > self.upper() {
            let old = self.first.replace((user.clone(), id));
            if !is_first {
                self.second = old;
            }
        } else if !is_first && id > self.lower() {
            self.second = Some((user.clone(), id));
        }
    }
}
