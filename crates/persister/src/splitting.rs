//! Finds what a store refuses among things that it was given together.
//!
//! Called by the writer. What is refused together is tried in halves; what is refused alone is tried
//! some times more and then given up. The order stays, and everything else is taken.

use std::ops::Range;

/// So often a single thing is tried.
const TRIES: u32 = 3;

/// What is left to be written.
#[derive(Debug)]
pub(crate) struct Splitting {
    /// The next one is the last.
    waiting: Vec<Range<usize>>,
    /// Of the next one, if it is a single thing.
    refusals: u32,
}

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Go on with smaller parts.
    Split,
    /// Try this single one again, after a pause.
    Again,
    /// This one is not taken. It does not wait any more.
    GivenUp(usize),
}

impl Splitting {
    /// Of `count` things.
    pub(crate) fn of(count: usize) -> Self {
        let all = 0..count;
        Self {
            waiting: if all.is_empty() { vec![] } else { vec![all] },
            refusals: 0,
        }
    }

    /// What to write next.
    pub(crate) fn part(&self) -> Option<Range<usize>> {
        self.waiting.last().cloned()
    }

    /// It was taken.
    pub(crate) fn on_taken(&mut self) {
        self.waiting.pop();
        self.refusals = 0;
    }

    /// It was refused.
    pub(crate) fn on_refused(&mut self) -> Refusal {
        let part = self.waiting.pop().expect("only what waits is refused");
        if part.len() > 1 {
            let middle = part.start + part.len() / 2;
            self.waiting.push(middle..part.end);
            self.waiting.push(part.start..middle);
            return Refusal::Split;
        }
        self.refusals += 1;
        if self.refusals < TRIES {
            self.waiting.push(part);
            return Refusal::Again;
        }
        self.refusals = 0;
        Refusal::GivenUp(part.start)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Writes all to a store that does not take `poison`: what it has in the end, what was given
    /// up, and how often it was asked.
    fn write(count: usize, poison: &BTreeSet<usize>) -> (Vec<usize>, Vec<usize>, usize) {
        let (mut taken, mut given_up, mut asked) = (Vec::new(), Vec::new(), 0);
        let mut splitting = Splitting::of(count);
        while let Some(part) = splitting.part() {
            asked += 1;
            if part.clone().any(|index| poison.contains(&index)) {
                if let Refusal::GivenUp(index) = splitting.on_refused() {
                    given_up.push(index);
                }
            } else {
                taken.extend(part);
                splitting.on_taken();
            }
        }
        (taken, given_up, asked)
    }

    #[test]
    fn what_is_taken_is_asked_once() {
        assert_eq!(write(500, &BTreeSet::new()).2, 1);
        assert_eq!(write(0, &BTreeSet::new()).2, 0);
    }

    #[test]
    fn a_single_refused_one_is_found_in_few_tries() {
        let (taken, given_up, asked) = write(500, &BTreeSet::from([123]));
        assert_eq!(given_up, [123]);
        assert_eq!(taken.len(), 499);
        assert!(asked < 25, "asked {asked} times");
    }

    #[test]
    fn a_single_one_is_tried_three_times() {
        assert_eq!(write(1, &BTreeSet::from([0])).2, 3);
    }

    proptest! {
        #[test]
        fn exactly_what_is_refused_is_given_up_and_the_order_stays(
            count in 0_usize..80,
            poison in prop::collection::btree_set(0_usize..80, 0..10),
        ) {
            let (taken, given_up, _) = write(count, &poison);
            let expected: Vec<_> = (0..count).filter(|index| !poison.contains(index)).collect();
            prop_assert_eq!(taken, expected);
            let expected: Vec<_> = poison.into_iter().filter(|index| *index < count).collect();
            prop_assert_eq!(given_up, expected);
        }
    }
}
