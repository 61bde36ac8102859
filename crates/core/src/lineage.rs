//! Which ids exist in a conversation, and the ordinal of each.
//!
//! Ids are dense within an epoch (1, 2, 3 …), and a break says where the epoch before ended. So a
//! few numbers per epoch answer "does message N exist?" and "the how-manieth is it?" without a
//! look-up. Who walks the breaks of a store into these spans is the adapter.
//!
//! An epoch after the first begins with a mark, `n == 0`, which is no message. A span that ends
//! with its mark holds none; it may still hold edits and deletes, which stand at `n == 0`, `k > 0`.

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

    /// Up to where a client that was told `position` surely holds what stands here, and nothing else.
    ///
    /// Of an epoch that left no trace nobody knows where it began: what it had left out may have come
    /// back since (written late, or with an older copy). Then this is the beginning. The `k` is not
    /// checked inside the surviving range.
    #[must_use]
    pub fn shared_with(&self, position: Position) -> Position {
        self.span(position.id.epoch())
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
        self.up_to(MessageId::new(id.get().checked_sub(1)?)?)
    }

    /// The last message at or before `id`, if there is one.
    #[must_use]
    pub fn up_to(&self, id: MessageId) -> Option<MessageId> {
        let not_later = self.spans.iter().filter(|span| span.epoch <= id.epoch());
        not_later
            .map(|span| span.last.id.min(id))
            .rfind(|last| last.n() > 0)
    }

    /// The `count` highest messages at or below `top`, the highest first.
    #[must_use]
    pub fn down_from(&self, top: MessageId, count: usize) -> Vec<MessageId> {
        let first = self.up_to(top);
        let ids = std::iter::successors(first, |id| self.before(*id));
        ids.take(count).collect()
    }

    /// The `count` lowest messages above `below`, the lowest first.
    #[must_use]
    pub fn up_from(&self, below: MessageId, count: usize) -> Vec<MessageId> {
        let first = self.next_after(below);
        let ids = std::iter::successors(first, |id| self.next_after(*id));
        ids.take(count).collect()
    }

    /// Whether an event that stands at `position` survives.
    #[must_use]
    pub fn is_visible(&self, position: Position) -> bool {
        let span = self.span(position.id.epoch());
        span.is_some_and(|span| position <= span.last)
    }

    /// The last event at or before `position`, which may be a mark: none stands there.
    #[must_use]
    pub fn event_up_to(&self, position: Position) -> Position {
        let is_mark = |position: Position| position.id.n() == 0 && position.k == 0;
        let lower = self.spans.iter().rev();
        let mut lower = lower.filter(|span| span.epoch < position.id.epoch());
        let mut at = position;
        while is_mark(at) {
            let Some(span) = lower.next() else {
                return Position::ZERO;
            };
            at = span.last;
        }
        at
    }

    /// The next part of an epoch that has events after `position`: what they are behind, and the
    /// last position of it.
    #[must_use]
    pub fn part_after(&self, position: Position) -> Option<(Position, Position)> {
        let begin = |span: &Span| MessageId::of_epoch(span.epoch, 0).map(Position::of);
        self.spans.iter().find_map(|span| {
            let after = begin(span)?.max(position);
            (after < span.last).then_some((after, span.last))
        })
    }

    /// The last position up to which both are the same: what was told by one of them holds in the
    /// other up to here.
    #[must_use]
    pub fn fork(&self, other: &Self) -> Position {
        let mut fork = Position::ZERO;
        for (one, two) in self.spans.iter().zip(&other.spans) {
            if one.epoch != two.epoch {
                break;
            }
            fork = one.last.min(two.last);
            if one.last != two.last {
                break;
            }
        }
        fork
    }

    /// The last surviving position of all.
    #[must_use]
    pub fn head(&self) -> Position {
        self.spans.last().map_or(Position::ZERO, |span| span.last)
    }

    /// Takes a new head into account. One of an earlier epoch is known.
    pub fn advance(&mut self, head: Position) {
        let epoch = head.id.epoch();
        match self.spans.last_mut() {
            Some(span) if span.epoch > epoch => {}
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn id(epoch: u32, n: u64) -> MessageId {
        MessageId::of_epoch(epoch, n).unwrap()
    }

    fn at(epoch: u32, n: u64, k: u32) -> Position {
        let id = id(epoch, n);
        Position { id, k }
    }

    /// From epochs and the last position of each.
    fn lineage(ends: &[(u32, u64, u32)]) -> Lineage {
        let mut before = 0;
        let spans = ends.iter().map(|(epoch, n, k)| {
            let ordinal_before = before;
            before += n;
            Span {
                epoch: *epoch,
                last: at(*epoch, *n, *k),
                ordinal_before,
            }
        });
        Lineage::new(spans.collect())
    }

    #[test]
    fn a_mark_is_no_message() {
        let lineage = lineage(&[(0, 5, 1), (1, 0, 0), (3, 0, 2), (4, 2, 0)]);

        assert!(!lineage.contains(id(1, 0)) && !lineage.contains(id(3, 0)));
        assert_eq!(lineage.next_after(id(0, 5)), Some(id(4, 1)));
        assert_eq!(lineage.next_after(id(1, 0)), Some(id(4, 1)));
        assert_eq!(lineage.before(id(4, 1)), Some(id(0, 5)));
        assert_eq!(lineage.before(id(3, 0)), Some(id(0, 5)));
        assert_eq!(lineage.up_to(id(3, 0)), Some(id(0, 5)));
        assert_eq!(
            (lineage.ordinal(id(3, 0)), lineage.ordinal(id(4, 1))),
            (5, 6)
        );
    }

    #[test]
    fn what_survives_may_be_a_mark() {
        let lineage = lineage(&[(0, 5, 1), (1, 0, 0), (3, 2, 0)]);

        assert_eq!(lineage.shared_with(at(0, 9, 0)), at(0, 5, 1));
        assert_eq!(lineage.shared_with(at(1, 4, 2)), at(1, 0, 0));
        assert_eq!(lineage.shared_with(at(1, 0, 0)), at(1, 0, 0));
    }

    #[test]
    fn nothing_is_sure_about_an_epoch_without_a_trace() {
        let lineage = lineage(&[(0, 5, 1), (1, 0, 0), (3, 2, 0)]);

        assert_eq!(lineage.shared_with(at(2, 1, 0)), Position::ZERO);
        assert_eq!(lineage.shared_with(at(2, 0, 0)), Position::ZERO);
        assert_eq!(lineage.shared_with(at(1, 4, 2)), at(1, 0, 0));
        assert_eq!(lineage.shared_with(at(0, 9, 0)), at(0, 5, 1));
        assert_eq!(lineage.shared_with(at(3, 1, 0)), at(3, 1, 0));
        assert_eq!(lineage.shared_with(Position::ZERO), Position::ZERO);
    }

    #[test]
    fn nothing_is_lost_before_a_first_epoch_above_zero() {
        let lineage = lineage(&[(7, 3, 0)]);

        assert_eq!(lineage.shared_with(Position::ZERO), Position::ZERO);
        assert_eq!(lineage.shared_with(at(0, 3, 0)), Position::ZERO);
        assert_eq!(lineage.next_after(MessageId::ZERO), Some(id(7, 1)));
        assert_eq!(lineage.before(id(7, 1)), None);
        assert_eq!(lineage.ordinal(id(6, 9)), 0);
    }

    #[test]
    fn two_lineages_agree_up_to_the_first_break_that_only_one_has() {
        let old = lineage(&[(0, 5, 0), (1, 3, 0)]);
        for (new, fork) in [
            (lineage(&[(0, 5, 0), (1, 2, 4), (2, 0, 0)]), at(1, 2, 4)),
            (lineage(&[(0, 5, 0), (1, 9, 0), (2, 0, 0)]), at(1, 3, 0)),
            (lineage(&[(0, 5, 0), (2, 0, 0)]), at(0, 5, 0)),
            // A copy from before epoch 1 came back, with what epoch 1 had left out.
            (lineage(&[(0, 8, 0), (2, 0, 0)]), at(0, 5, 0)),
            (lineage(&[(2, 0, 0)]), Position::ZERO),
            (Lineage::default(), Position::ZERO),
        ] {
            assert_eq!(old.fork(&new), fork, "{new:?}");
            assert_eq!(new.fork(&old), fork, "{new:?}");
        }
    }

    #[test]
    fn a_position_of_an_earlier_epoch_is_no_new_head() {
        let mut lineage = lineage(&[(0, 5, 0), (2, 0, 0)]);
        let before = lineage.clone();

        lineage.advance(at(0, 5, 0));
        assert_eq!(lineage, before);
        lineage.advance(at(2, 1, 0));
        lineage.advance(at(3, 0, 0));
        assert_eq!(lineage.head(), at(3, 0, 0));
        assert_eq!(lineage.ordinal(id(3, 0)), 6);
    }

    #[test]
    fn no_event_stands_at_a_mark() {
        let lineage = lineage(&[(0, 5, 1), (1, 0, 0), (3, 0, 2), (4, 2, 0)]);

        assert_eq!(lineage.event_up_to(at(4, 1, 0)), at(4, 1, 0));
        assert_eq!(lineage.event_up_to(at(4, 0, 0)), at(3, 0, 2));
        assert_eq!(lineage.event_up_to(at(3, 0, 0)), at(0, 5, 1));
        assert_eq!(lineage.event_up_to(at(1, 0, 0)), at(0, 5, 1));
        assert_eq!(lineage.event_up_to(Position::ZERO), Position::ZERO);
    }

    #[test]
    fn events_after_a_position_are_found_epoch_by_epoch() {
        let lineage = lineage(&[(0, 5, 1), (1, 0, 0), (3, 0, 2), (4, 2, 0)]);

        assert_eq!(
            lineage.part_after(at(0, 5, 0)),
            Some((at(0, 5, 0), at(0, 5, 1)))
        );
        for before in [at(0, 5, 1), at(0, 9, 0), at(1, 0, 0), at(2, 7, 0)] {
            let part = (at(3, 0, 0), at(3, 0, 2));
            assert_eq!(lineage.part_after(before), Some(part), "{before}");
        }
        assert_eq!(lineage.part_after(at(4, 2, 0)), None);
    }

    #[test]
    fn only_what_is_not_beyond_an_epochs_end_is_visible() {
        let lineage = lineage(&[(0, 5, 1), (2, 0, 0)]);

        for (position, is_visible) in [
            (at(0, 5, 1), true),
            (at(0, 3, 9), true),
            (at(0, 5, 2), false),
            (at(0, 6, 0), false),
            (at(1, 1, 0), false),
            (at(2, 0, 1), false),
        ] {
            assert_eq!(lineage.is_visible(position), is_visible, "{position}");
        }
    }

    proptest! {
        #[test]
        fn ids_are_found_as_in_a_list_of_all_messages(
            ends in prop::collection::btree_map(0_u32..5, 0_u64..4, 0..5),
            asked in (0_u32..6, 0_u64..6),
        ) {
            let list: Vec<_> = ends.iter().map(|(epoch, n)| (*epoch, *n, 0)).collect();
            let lineage = lineage(&list);
            let all: BTreeSet<MessageId> = ends
                .iter()
                .flat_map(|(epoch, last)| (1..=*last).map(|n| id(*epoch, n)))
                .collect();
            let asked = id(asked.0, asked.1);

            prop_assert_eq!(lineage.contains(asked), all.contains(&asked));
            prop_assert_eq!(lineage.ordinal(asked), all.range(..=asked).count() as u64);
            prop_assert_eq!(lineage.up_to(asked), all.range(..=asked).next_back().copied());
            prop_assert_eq!(lineage.before(asked), all.range(..asked).next_back().copied());
            let next = all.iter().find(|id| **id > asked).copied();
            prop_assert_eq!(lineage.next_after(asked), next);
            let down: Vec<_> = all.range(..=asked).rev().take(3).copied().collect();
            prop_assert_eq!(lineage.down_from(asked, 3), down);
            let up: Vec<_> = all.iter().filter(|id| **id > asked).take(3).copied().collect();
            prop_assert_eq!(lineage.up_from(asked, 3), up);
        }
    }
}
