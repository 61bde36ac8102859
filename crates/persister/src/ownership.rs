//! Which partitions a persister should have, and what it does next about those that it has.
//!
//! Called by the coordinator, which asks the log and hands the answers back; nothing here waits or
//! reads a clock. The wish is rendezvous hashing: for each partition, of all that live, the one with
//! the highest weight should have it. Whoever knows the same persisters wishes the same, nobody has
//! to lead, and one that goes leaves only its own partitions to others. The spread is that of
//! chance; a bound on it would move partitions between those that stay.
//!
//! Leases are not judged here. A persister that lost one without knowing reads and commits nothing
//! any more, because the log refuses it, and that ends its work on the partition.

use std::time::{Duration, Instant};

use parlance_core::{
    ingest::{PersisterId, Token},
    store::{PARTITIONS, Partition},
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What a persister has and what it wishes to have.
#[derive(Debug)]
pub(crate) struct Ownership {
    me: PersisterId,
    renew_every: Duration,
    seats: Vec<Seat>,
}

#[derive(Debug, Clone, Copy)]
struct Seat {
    is_wished: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not ours, as far as we know.
    Away,
    /// The log is asked for it.
    Asking,
    /// Ours.
    Held {
        token: Token,
        /// When its lease was last asked for.
        since: Instant,
        is_renewing: bool,
    },
    /// Ours, until the batch in flight is done.
    Leaving { token: Token },
    /// Being given back.
    Releasing,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask the log for the partition, or to keep it: the same question. The answer goes to
    /// [`Ownership::on_answer`].
    Hold(Partition),
    /// Finish the batch in flight and read no more. The end goes to [`Ownership::on_end`].
    Leave(Partition),
}

/// What an answer of the log means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// It is ours from now on: begin.
    Begin(Token),
    /// It stays ours, with this token.
    Keep(Token),
    /// It was ours: stop at once.
    Lost,
    /// Nothing changes.
    Nothing,
}

impl Ownership {
    /// Has nothing, and wishes nothing before it knows who lives.
    pub(crate) fn new(me: PersisterId, lease: Duration) -> Self {
        let seat = Seat {
            is_wished: false,
            state: State::Away,
        };
        Self {
            me,
            renew_every: lease / 3,
            seats: vec![seat; PARTITIONS],
        }
    }

    /// These persisters live.
    pub(crate) fn on_living(&mut self, living: &[PersisterId]) {
        for (partition, seat) in (0..=u8::MAX).map(Partition).zip(&mut self.seats) {
            let owner = wished_owner(partition, living);
            seat.is_wished = owner == Some(&self.me);
        }
    }

    /// What is to be done at `now`.
    pub(crate) fn next_steps(&mut self, now: Instant) -> Vec<Step> {
        let renew_every = self.renew_every;
        let seats = (0..=u8::MAX).map(Partition).zip(&mut self.seats);
        seats
            .filter_map(|(partition, seat)| seat.next_step(partition, now, renew_every))
            .collect()
    }

    /// The log answered a [`Step::Hold`] that was asked at `asked`. `Err`: it did not.
    pub(crate) fn on_answer(
        &mut self,
        partition: Partition,
        asked: Instant,
        answer: Result<Option<Token>, ()>,
    ) -> Meaning {
        let state = &mut self.seats[usize::from(partition.0)].state;
        let held = |token| State::Held {
            token,
            since: asked,
            is_renewing: false,
        };
        match (*state, answer) {
            (State::Asking, Ok(Some(token))) => {
                *state = held(token);
                Meaning::Begin(token)
            }
            (State::Asking, Ok(None) | Err(())) => {
                *state = State::Away;
                Meaning::Nothing
            }
            (State::Held { .. }, Ok(Some(token))) => {
                *state = held(token);
                Meaning::Keep(token)
            }
            (State::Held { .. }, Ok(None)) => {
                *state = State::Away;
                Meaning::Lost
            }
            (State::Held { token, since, .. }, Err(())) => {
                *state = State::Held {
                    token,
                    since,
                    is_renewing: false,
                };
                Meaning::Nothing
            }
            (State::Away | State::Leaving { .. } | State::Releasing, _) => Meaning::Nothing,
        }
    }

    /// The work on a partition ended by itself. What has to be released then, if anything.
    pub(crate) fn on_end(&mut self, partition: Partition) -> Option<Token> {
        let state = &mut self.seats[usize::from(partition.0)].state;
        match *state {
            State::Leaving { token } => {
                *state = State::Releasing;
                Some(token)
            }
            State::Held { .. } => {
                *state = State::Away;
                None
            }
            State::Away | State::Asking | State::Releasing => None,
        }
    }

    /// A partition was released, or could not be, and its lease runs out.
    pub(crate) fn on_released(&mut self, partition: Partition) {
        let state = &mut self.seats[usize::from(partition.0)].state;
        if *state == State::Releasing {
            *state = State::Away;
        }
    }

    /// Everything that is ours.
    pub(crate) fn held(&self) -> Vec<(Partition, Token)> {
        let seats = (0..=u8::MAX).map(Partition).zip(&self.seats);
        seats
            .filter_map(|(partition, seat)| Some((partition, seat.state.token()?)))
            .collect()
    }
}

impl Seat {
    fn next_step(
        &mut self,
        partition: Partition,
        now: Instant,
        renew_every: Duration,
    ) -> Option<Step> {
        match self.state {
            State::Away if self.is_wished => {
                self.state = State::Asking;
                Some(Step::Hold(partition))
            }
            State::Held { token, .. } if !self.is_wished => {
                self.state = State::Leaving { token };
                Some(Step::Leave(partition))
            }
            State::Held {
                token,
                since,
                is_renewing: false,
            } if now.saturating_duration_since(since) >= renew_every => {
                self.state = State::Held {
                    token,
                    since,
                    is_renewing: true,
                };
                Some(Step::Hold(partition))
            }
            State::Away
            | State::Asking
            | State::Held { .. }
            | State::Leaving { .. }
            | State::Releasing => None,
        }
    }
}

impl State {
    fn token(self) -> Option<Token> {
        match self {
            Self::Held { token, .. } | Self::Leaving { token } => Some(token),
            Self::Away | Self::Asking | Self::Releasing => None,
        }
    }
}

/// Who of `living` should have a partition.
fn wished_owner(partition: Partition, living: &[PersisterId]) -> Option<&PersisterId> {
    living
        .iter()
        .max_by_key(|persister| (weight(partition, persister), *persister))
}

/// As good as random, and the same in every process.
fn weight(partition: Partition, persister: &PersisterId) -> u64 {
    xxh3_64_with_seed(persister.0.as_bytes(), u64::from(partition.0))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const LEASE: Duration = Duration::from_secs(6);

    fn persister(name: &str) -> PersisterId {
        PersisterId(name.into())
    }

    fn owners(living: &[PersisterId]) -> Vec<PersisterId> {
        let partitions = (0..=u8::MAX).map(Partition);
        let owner = |partition| wished_owner(partition, living).unwrap().clone();
        partitions.map(owner).collect()
    }

    fn ownership_of(me: &str, living: &[&str]) -> Ownership {
        let mut ownership = Ownership::new(persister(me), LEASE);
        let living: Vec<_> = living.iter().map(|name| persister(name)).collect();
        ownership.on_living(&living);
        ownership
    }

    /// Takes everything that is wished, with token 1.
    fn settle(ownership: &mut Ownership, now: Instant) -> usize {
        let steps = ownership.next_steps(now);
        for step in &steps {
            let Step::Hold(partition) = *step else {
                panic!("expected only holds, got {step:?}");
            };
            let meaning = ownership.on_answer(partition, now, Ok(Some(Token(1))));
            assert_eq!(meaning, Meaning::Begin(Token(1)));
        }
        steps.len()
    }

    proptest! {
        #[test]
        fn a_partition_has_one_wished_owner_whatever_the_order_of_the_list(
            names in prop::collection::btree_set("[a-z0-9-]{1,20}", 1..8),
        ) {
            let living: Vec<_> = names.iter().map(|name| persister(name)).collect();
            let reversed: Vec<_> = living.iter().rev().cloned().collect();
            let wished: Vec<_> = living.iter().map(|me| {
                let mut ownership = Ownership::new(me.clone(), LEASE);
                ownership.on_living(&reversed);
                ownership.seats.iter().map(|seat| seat.is_wished).collect::<Vec<_>>()
            }).collect();
            for partition in 0..PARTITIONS {
                let owners = wished.iter().filter(|wished| wished[partition]).count();
                prop_assert_eq!(owners, 1);
            }
            prop_assert_eq!(owners(&living), owners(&reversed));
        }

        #[test]
        fn one_that_goes_moves_only_its_own_partitions(
            names in prop::collection::btree_set("[a-z0-9-]{1,20}", 2..8),
            gone in any::<prop::sample::Index>(),
        ) {
            let living: Vec<_> = names.iter().map(|name| persister(name)).collect();
            let gone = gone.get(&living).clone();
            let stay: Vec<_> = living.iter().filter(|other| **other != gone).cloned().collect();
            for (before, after) in owners(&living).into_iter().zip(owners(&stay)) {
                prop_assert!(before == after || before == gone);
            }
        }
    }

    #[test]
    fn two_to_five_persisters_share_within_thirty_percent() {
        for count in 2..=5 {
            let names = (0..count).map(|number| persister(&format!("persister-{number}")));
            let living: Vec<_> = names.collect();
            let owners = owners(&living);
            for one in &living {
                let share = owners.iter().filter(|owner| *owner == one).count();
                let even = PARTITIONS as f64 / f64::from(count);
                let off = (share as f64 / even - 1.0).abs();
                assert!(off <= 0.3, "{count} persisters: {one:?} has {share}");
            }
        }
    }

    #[test]
    fn nothing_is_wished_before_it_is_known_who_lives() {
        let mut ownership = Ownership::new(persister("a"), LEASE);
        assert_eq!(ownership.next_steps(Instant::now()), []);
    }

    #[test]
    fn one_alone_takes_everything_and_asks_once_at_a_time() {
        let now = Instant::now();
        let mut ownership = ownership_of("a", &["a"]);
        assert_eq!(ownership.next_steps(now).len(), PARTITIONS);
        assert_eq!(ownership.next_steps(now), []);
    }

    #[test]
    fn a_partition_that_another_has_is_asked_for_again() {
        let now = Instant::now();
        let mut ownership = ownership_of("a", &["a"]);
        ownership.next_steps(now);
        let taken = Partition(7);
        assert_eq!(ownership.on_answer(taken, now, Ok(None)), Meaning::Nothing);
        assert_eq!(ownership.next_steps(now), [Step::Hold(taken)]);
    }

    #[test]
    fn what_is_held_is_renewed_at_a_third_of_the_lease() {
        let start = Instant::now();
        let mut ownership = ownership_of("a", &["a"]);
        settle(&mut ownership, start);
        let early = start + LEASE / 3 - Duration::from_millis(1);
        assert_eq!(ownership.next_steps(early), []);

        let due = start + LEASE / 3;
        assert_eq!(ownership.next_steps(due).len(), PARTITIONS);
        assert_eq!(ownership.next_steps(due), [], "a renewal is under way");

        let answer = ownership.on_answer(Partition(0), due, Ok(Some(Token(2))));
        assert_eq!(answer, Meaning::Keep(Token(2)));
        let failed = ownership.on_answer(Partition(1), due, Err(()));
        assert_eq!(failed, Meaning::Nothing);
        assert_eq!(ownership.next_steps(due), [Step::Hold(Partition(1))]);
        let lost = ownership.on_answer(Partition(2), due, Ok(None));
        assert_eq!(lost, Meaning::Lost);
    }

    #[test]
    fn what_another_should_have_is_left_and_released_after_the_work_ended() {
        let now = Instant::now();
        let mut ownership = ownership_of("persister-0", &["persister-0"]);
        settle(&mut ownership, now);
        ownership.on_living(&[persister("persister-0"), persister("persister-1")]);
        let steps = ownership.next_steps(now);
        let left: BTreeSet<_> = steps
            .iter()
            .map(|step| match step {
                Step::Leave(partition) => *partition,
                Step::Hold(partition) => panic!("{partition:?} is asked for"),
            })
            .collect();
        assert!(!left.is_empty() && left.len() < PARTITIONS);

        let one = *left.first().unwrap();
        assert_eq!(ownership.on_end(one), Some(Token(1)));
        ownership.on_released(one);
        assert_eq!(ownership.next_steps(now), []);
        assert_eq!(ownership.held().len(), PARTITIONS - 1);
    }

    #[test]
    fn a_partition_whose_work_was_refused_is_asked_for_again() {
        let now = Instant::now();
        let mut ownership = ownership_of("a", &["a"]);
        settle(&mut ownership, now);
        assert_eq!(ownership.on_end(Partition(3)), None);
        assert_eq!(ownership.next_steps(now), [Step::Hold(Partition(3))]);
    }

    #[test]
    fn an_answer_that_comes_when_the_partition_is_left_changes_nothing() {
        let now = Instant::now();
        let mut ownership = ownership_of("a", &["a"]);
        settle(&mut ownership, now);
        ownership.next_steps(now + LEASE);
        ownership.on_living(&[persister("b")]);
        assert_eq!(ownership.next_steps(now + LEASE).len(), PARTITIONS);
        let late = ownership.on_answer(Partition(0), now, Ok(Some(Token(9))));
        assert_eq!(late, Meaning::Nothing);
        assert_eq!(ownership.on_end(Partition(0)), Some(Token(1)));
    }
}
