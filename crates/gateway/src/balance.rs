//! When a node has more than its share, and how many members it sends away then. Called by the
//! rebalance with the time, and only arithmetic.
//!
//! What moves must settle. So a node sheds only what is above the mean, which moving does not change; not
//! before it was clearly above for two looks, so that nothing follows a passing crowd; and slowly. Where
//! they go is the balancer's affair: when it sends them to where they came from, shedding is in vain
//! and would never end. So a node that sent away its excess and still has it rests, each time longer.

use parlance_core::peers::{Load, Standing, View};

/// Above this part of the mean a node has too many, in percent.
const TOO_MANY_PERCENT: u64 = 115;
/// With fewer members in the mean there is nothing to be gained.
const LEAST_MEAN: u64 = 20;
/// Looks at which a node has too many before it does anything.
const LOOKS: u32 = 2;
/// A member is sent away by this much credit: in each second a node gets as much as a hundredth of its
/// members is worth, a thousandth of that in a millisecond.
const CREDIT_EACH: u64 = 100_000;
/// How long a node rests that shed in vain, the first time. Twice as long each further time.
const REST_MS: u64 = 5 * 60 * 1_000;
/// How often that doubles: up to more than an hour.
const DOUBLINGS: u32 = 4;

/// All nodes that are ready, this one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ready {
    /// How many there are.
    pub(crate) nodes: u64,
    /// Their members.
    pub(crate) members: u64,
    /// Those of the one with the fewest.
    least: u64,
    /// The budget is for those who leave.
    anybody_leaves: bool,
}

/// Whether and how this node sheds.
#[derive(Debug, Default)]
pub(crate) struct Balance {
    state: State,
    /// The last look at the others, and at how many in a row this node had too many.
    look: u64,
    looks_above: u32,
    /// How often in a row it shed in vain.
    in_vain: u32,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Calm,
    Shedding(Shedding),
    Resting {
        until_ms: u64,
    },
}

#[derive(Debug)]
struct Shedding {
    /// What would bring it down to the mean, when it began, and a tenth more.
    at_most: u64,
    sent: u64,
    credit: u64,
    at_ms: u64,
}

/// What a look says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing is to be done.
    Stay,
    /// From now on members are sent away.
    Begin,
    /// Members are being sent away.
    GoOn,
    /// No more: somebody leaves, or there is nobody to be compared with.
    BreakOff,
}

/// How many may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    /// So many now.
    Some(u64),
    /// The node is at the mean. It sheds no more.
    Gone,
    /// All that was too much was sent away, and as much is here again. It sheds no more for a while.
    Returned,
}

impl Ready {
    /// This node with so many members, and those of the others that count.
    pub(crate) fn with(members: u64, view: &View) -> Self {
        let mut ready = Self {
            nodes: 1,
            members,
            least: members,
            anybody_leaves: false,
        };
        for Load {
            members, standing, ..
        } in &view.others
        {
            match standing {
                Standing::Ready | Standing::Shedding => {
                    ready.nodes += 1;
                    ready.members += u64::from(*members);
                    ready.least = ready.least.min(u64::from(*members));
                }
                Standing::Leaving => ready.anybody_leaves = true,
                Standing::Unready => {}
            }
        }
        ready
    }

    /// Rounded up, so that who comes down to it is not below.
    pub(crate) fn mean(&self) -> u64 {
        self.members.div_ceil(self.nodes)
    }

    fn may_balance(&self) -> bool {
        self.nodes > 1 && !self.anybody_leaves && self.mean() >= LEAST_MEAN
    }

    /// Clearly above the mean; or above it while another one has less than half of it, since among
    /// many nodes a new one lowers the mean by little.
    fn is_too_many(&self, members: u64) -> bool {
        let is_clearly_above = members * 100 * self.nodes > self.members * TOO_MANY_PERCENT;
        let is_one_empty = self.least * 2 < self.mean();
        is_clearly_above || (is_one_empty && members > self.mean())
    }
}

impl Balance {
    /// Judges how this node with its `members` stands to the others. `ready`: `None` when it is not ready
    /// itself, or knows nothing of them.
    pub(crate) fn judge(
        &mut self,
        now_ms: u64,
        look: u64,
        members: u64,
        ready: Option<&Ready>,
    ) -> Verdict {
        let ready = ready.filter(|ready| ready.may_balance());
        match self.state {
            State::Shedding(_) if ready.is_none() => {
                self.calm();
                return Verdict::BreakOff;
            }
            State::Shedding(_) => return Verdict::GoOn,
            State::Resting { until_ms } if now_ms < until_ms => return Verdict::Stay,
            State::Resting { .. } => self.calm(),
            State::Calm => {}
        }
        let Some(ready) = ready.filter(|ready| ready.is_too_many(members)) else {
            self.looks_above = 0;
            return Verdict::Stay;
        };
        if look != self.look {
            self.look = look;
            self.looks_above += 1;
        }
        if self.looks_above < LOOKS {
            return Verdict::Stay;
        }
        let excess = members.saturating_sub(ready.mean());
        self.state = State::Shedding(Shedding {
            at_most: excess + excess.div_ceil(10),
            sent: 0,
            credit: 0,
            at_ms: now_ms,
        });
        Verdict::Begin
    }

    /// How many of its `members`, without those that are about to go, may be sent away now. Only while
    /// it sheds.
    pub(crate) fn excess(&mut self, now_ms: u64, members: u64, mean: u64) -> Excess {
        let State::Shedding(shedding) = &mut self.state else {
            return Excess::Some(0);
        };
        let above = members.saturating_sub(mean);
        if above == 0 {
            self.in_vain = 0;
            self.calm();
            return Excess::Gone;
        }
        let may = shedding.at_most.saturating_sub(shedding.sent);
        if may == 0 {
            let rest_ms = REST_MS << self.in_vain.min(DOUBLINGS);
            self.in_vain += 1;
            let until_ms = now_ms + rest_ms;
            self.state = State::Resting { until_ms };
            return Excess::Returned;
        }
        let elapsed_ms = now_ms.saturating_sub(shedding.at_ms);
        shedding.at_ms = now_ms;
        // Of what was not used no more than a second is kept.
        let most = (members * 1_000).max(CREDIT_EACH);
        shedding.credit = (shedding.credit + members * elapsed_ms).min(most);
        Excess::Some(above.min(may).min(shedding.credit / CREDIT_EACH))
    }

    /// So many were sent away.
    pub(crate) fn sent(&mut self, members: u64) {
        if let State::Shedding(shedding) = &mut self.state {
            shedding.sent += members;
            let spent = members * CREDIT_EACH;
            shedding.credit = shedding.credit.saturating_sub(spent);
        }
    }

    fn calm(&mut self) {
        self.state = State::Calm;
        self.looks_above = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND_MS: u64 = 1_000;
    /// Looks of a lease are two seconds apart.
    const LOOK_EVERY: u64 = 2;

    fn load(members: u64, standing: Standing) -> Load {
        Load {
            members: u32::try_from(members).unwrap(),
            accepts_per_second: 250,
            standing,
        }
    }

    fn ready(members: u64, others: &[(u64, Standing)]) -> Ready {
        let others = others.iter().map(|(members, of)| load(*members, *of));
        let view = View {
            look: 0,
            others: others.collect(),
        };
        Ready::with(members, &view)
    }

    /// The verdict after so many looks.
    fn judged(looks: u64, members: u64, others: &[(u64, Standing)]) -> Verdict {
        let mut balance = Balance::default();
        let ready = ready(members, others);
        let mut verdict = Verdict::Stay;
        for look in 1..=looks {
            verdict = balance.judge(look * SECOND_MS, look, members, Some(&ready));
        }
        verdict
    }

    #[test]
    fn only_who_is_clearly_above_the_mean_for_two_looks_sheds() {
        use Standing::Ready;
        assert_eq!(judged(1, 120, &[(80, Ready)]), Verdict::Stay);
        assert_eq!(judged(2, 120, &[(80, Ready)]), Verdict::Begin);
        assert_eq!(judged(9, 115, &[(85, Ready)]), Verdict::Stay);
        assert_eq!(judged(9, 80, &[(120, Ready)]), Verdict::Stay);
        assert_eq!(judged(9, 30, &[(1, Ready)]), Verdict::Stay, "too few");
    }

    #[test]
    fn the_same_look_seen_twice_is_one() {
        let mut balance = Balance::default();
        let ready = ready(200, &[(0, Standing::Ready)]);
        for now_ms in [1_000, 2_000, 3_000] {
            let verdict = balance.judge(now_ms, 7, 200, Some(&ready));
            assert_eq!(verdict, Verdict::Stay);
        }
        assert_eq!(balance.judge(4_000, 8, 200, Some(&ready)), Verdict::Begin);
    }

    #[test]
    fn among_many_nodes_an_empty_one_is_filled_too() {
        let mut others = vec![(100, Standing::Ready); 9];
        assert_eq!(judged(2, 100, &others), Verdict::Stay);
        others.push((0, Standing::Ready));
        assert_eq!(judged(2, 100, &others), Verdict::Begin);
    }

    #[test]
    fn nodes_that_are_not_ready_do_not_count_and_nobody_sheds_while_one_leaves() {
        use Standing::{Leaving, Ready, Shedding, Unready};
        assert_eq!(judged(2, 120, &[(0, Unready)]), Verdict::Stay);
        assert_eq!(judged(2, 120, &[(80, Ready), (0, Unready)]), Verdict::Begin);
        assert_eq!(judged(2, 120, &[(80, Ready), (0, Leaving)]), Verdict::Stay);
        assert_eq!(
            judged(2, 200, &[(200, Shedding), (0, Ready)]),
            Verdict::Begin
        );
    }

    #[test]
    fn a_node_that_is_not_ready_any_more_or_alone_breaks_off() {
        let mut balance = Balance::default();
        let both = ready(200, &[(0, Standing::Ready)]);
        balance.judge(0, 1, 200, Some(&both));
        assert_eq!(balance.judge(0, 2, 200, Some(&both)), Verdict::Begin);
        assert_eq!(balance.judge(0, 3, 200, Some(&both)), Verdict::GoOn);
        assert_eq!(balance.judge(0, 3, 200, None), Verdict::BreakOff);
        assert_eq!(balance.judge(0, 4, 200, Some(&both)), Verdict::Stay);
    }

    /// They all come back to where they were.
    #[test]
    fn what_is_in_vain_ends_and_is_tried_again_ever_later() {
        let mut balance = Balance::default();
        let both = ready(200, &[(0, Standing::Ready)]);
        let (mut begun, mut sent) = (Vec::new(), 0);
        for second in 0..7_200 {
            let now_ms = second * SECOND_MS;
            match balance.judge(now_ms, second, 200, Some(&both)) {
                Verdict::Begin => begun.push(second),
                Verdict::GoOn => {
                    if let Excess::Some(count) = balance.excess(now_ms, 200, both.mean()) {
                        balance.sent(count);
                        sent += count;
                    }
                }
                Verdict::Stay | Verdict::BreakOff => {}
            }
        }
        let pauses: Vec<u64> = begun.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(pauses.len() >= 3, "{begun:?}");
        assert!(pauses.iter().all(|pause| *pause > REST_MS / SECOND_MS));
        assert!(pauses.is_sorted_by(|a, b| a < b), "{pauses:?}");
        assert!(sent <= 110 * begun.len() as u64, "{sent}");
    }

    /// Nodes, and a balancer that sends whoever comes to the one with the fewest.
    struct World {
        members: Vec<u64>,
        balances: Vec<Balance>,
        /// What all have told at the last look.
        told: Vec<u64>,
    }

    impl World {
        fn new(members: Vec<u64>) -> Self {
            Self {
                balances: members.iter().map(|_| Balance::default()).collect(),
                told: members.clone(),
                members,
            }
        }

        fn second(&mut self, second: u64) {
            if second.is_multiple_of(LOOK_EVERY) {
                self.told.clone_from(&self.members);
            }
            for node in 0..self.members.len() {
                let sent = self.shed(node, second);
                self.members[node] -= sent;
                for _ in 0..sent {
                    *self.members.iter_mut().min().unwrap() += 1;
                }
            }
        }

        fn shed(&mut self, node: usize, second: u64) -> u64 {
            let (own, balance) = (self.members[node], &mut self.balances[node]);
            let others = self.told.iter().enumerate().filter(|(at, _)| *at != node);
            let others: Vec<_> = others.map(|(_, told)| (*told, Standing::Ready)).collect();
            let ready = ready(own, &others);
            let look = second / LOOK_EVERY + 1;
            match balance.judge(second * SECOND_MS, look, own, Some(&ready)) {
                Verdict::Begin | Verdict::GoOn => {}
                Verdict::Stay | Verdict::BreakOff => return 0,
            }
            let Excess::Some(count) = balance.excess(second * SECOND_MS, own, ready.mean()) else {
                return 0;
            };
            assert!(own - count >= ready.mean(), "below the mean");
            balance.sent(count);
            count
        }
    }

    proptest! {
        #[test]
        fn nodes_settle_in_three_minutes_at_one_percent_a_second_and_nobody_falls_below_the_mean(
            mut members in prop::collection::vec(1_000_u64..4_000, 2..8),
            empty in 1_usize..3,
        ) {
            members.extend(std::iter::repeat_n(0, empty));
            let total: u64 = members.iter().sum();
            let mut world = World::new(members.clone());
            let mut shed = vec![0; members.len()];
            for second in 0..180 {
                let before = world.members.clone();
                world.second(second);
                for (node, (was, is)) in before.iter().zip(&world.members).enumerate() {
                    let gone = was.saturating_sub(*is);
                    shed[node] += gone;
                    // A whole one may have been saved up.
                    prop_assert!(gone * 100 <= *was + 100, "{gone} of {was} in a second");
                }
            }
            prop_assert_eq!(world.members.iter().sum::<u64>(), total);
            for (was, shed) in members.iter().zip(&shed) {
                prop_assert!(shed * 100 <= was * 180 + 100);
            }
            let mean = total / world.members.len() as u64;
            for is in &world.members {
                prop_assert!(is * 100 <= mean * TOO_MANY_PERCENT + 200, "{:?}", world.members);
                if mean >= LEAST_MEAN {
                    prop_assert!(is * 2 + 2 >= mean, "{:?}", world.members);
                }
            }
        }
    }
}
