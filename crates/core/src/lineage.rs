//! Which ids exist in a conversation, and the ordinal of each.
//!
//! Ids are dense within an epoch (1, 2, 3 …), and a break says where the epoch before ended. So a
//! few numbers per epoch answer "does message N exist?" and "the how-manieth is it?" without a
//! look-up. Who walks the breaks of a store into these spans is the adapter.

use parlance_protocol::{MessageId, Position};

/// The surviving part of one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The epoch.
    pub epoch: u32,
    /// The last surviving position of it (in a closed epoch: the break of the next one).
    pub last: Position,
    /// How many messages there were in all earlier epochs.
    pub ordinal_before: u64,
}

/// All surviving epochs of a conversation, oldest first. Empty: nothing was ever sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lineage {
    spans: Vec<Span>,
}

impl Lineage {
    /// From spans, oldest epoch first.
    #[must_use]
    pub fn new(spans: Vec<Span>) -> Self {
        Self { spans }
    }

    fn span(&self, epoch: u32) -> Option<&Span> {
        self.spans.iter().rev().find(|span| span.epoch == epoch)
    }

    /// Whether message `id` exists.
    #[must_use]
    pub fn contains(&self, id: MessageId) -> bool {
        id.n() > 0 && self.span(id.epoch()).is_some_and(|span| id <= span.last.id)
    }

    /// The dense count of messages up to `id`. An id that does not exist counts as the last
    /// surviving one below it.
    #[must_use]
    pub fn ordinal(&self, id: MessageId) -> u64 {
        self.spans
            .iter()
            .rev()
            .find(|span| span.epoch <= id.epoch())
            .map_or(0, |span| {
                let n = if span.epoch == id.epoch() {
                    id.n().min(span.last.id.n())
                } else {
                    span.last.id.n()
                };
                span.ordinal_before + n
            })
    }

    /// The greatest surviving position at or below `position`; its `k` is not checked inside the
    /// surviving range.
    #[must_use]
    pub fn surviving(&self, position: Position) -> Position {
        self.spans
            .iter()
            .rev()
            .find(|span| span.epoch <= position.id.epoch())
            .map_or(Position::ZERO, |span| span.last.min(position))
    }

    /// The first message after `id`, if there is one.
    #[must_use]
    pub fn next_after(&self, id: MessageId) -> Option<MessageId> {
        let same = MessageId::new(id.get() + 1).filter(|next| self.contains(*next));
        same.or_else(|| {
            let later = self
                .spans
                .iter()
                .find(|span| span.epoch > id.epoch() && span.last.id.n() > 0)?;
            MessageId::of_epoch(later.epoch, 1)
        })
    }

    /// The last message before `id`, if there is one.
    #[must_use]
    pub fn before(&self, id: MessageId) -> Option<MessageId> {
        let below = MessageId::new(id.get().checked_sub(1)?)?;
        let last = self
            .surviving(Position {
                id: below,
                k: u32::MAX,
            })
            .id;
        self.contains(last).then_some(last)
    }

    /// The last surviving position of all.
    #[must_use]
    pub fn head(&self) -> Position {
        self.spans.last().map_or(Position::ZERO, |span| span.last)
    }

    /// Takes a new head into account.
    pub fn advance(&mut self, head: Position) {
        let epoch = head.id.epoch();
        match self.spans.last_mut() {
            Some(span) if span.epoch == epoch => span.last = span.last.max(head),
            _ => {
                let ordinal_before = self.ordinal(self.head().id);
                self.spans.push(Span {
                    epoch,
                    last: head,
                    ordinal_before,
                });
            }
        }
    }
}
