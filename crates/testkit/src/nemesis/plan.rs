//! What is broken when, drawn from a seed: the same seed gives the same plan.

use std::fmt;

/// Something that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    GatewayKilled,
    GatewayDrained,
    GatewayPaused,
    PersisterKilled,
    PersisterPaused,
    RedisRestarted,
    RedisFailedOver,
    RedisFailedOverLagging,
    RedisPaused,
    RedisReplacedAsleep,
    ReplicaPaused,
    RedisMemoryFull,
    ScriptsForgotten,
    SubscribersKilled,
    PushesLost,
    RedisHalfOpen,
    RedisAnswersCut,
    DialsRefused,
    ClientsCut,
    ClientsSlow,
    FramesCut,
    AnswersCut,
    StoreKilled,
    StorePaused,
    StoreSlow,
    StoreAnswersCut,
}

impl Fault {
    /// Each, once.
    pub const ALL: [Self; 26] = [
        Self::GatewayKilled,
        Self::GatewayDrained,
        Self::GatewayPaused,
        Self::PersisterKilled,
        Self::PersisterPaused,
        Self::RedisRestarted,
        Self::RedisFailedOver,
        Self::RedisFailedOverLagging,
        Self::RedisPaused,
        Self::RedisReplacedAsleep,
        Self::ReplicaPaused,
        Self::RedisMemoryFull,
        Self::ScriptsForgotten,
        Self::SubscribersKilled,
        Self::PushesLost,
        Self::RedisHalfOpen,
        Self::RedisAnswersCut,
        Self::DialsRefused,
        Self::ClientsCut,
        Self::ClientsSlow,
        Self::FramesCut,
        Self::AnswersCut,
        Self::StoreKilled,
        Self::StorePaused,
        Self::StoreSlow,
        Self::StoreAnswersCut,
    ];

    /// Those that are one SIGKILL and quickly over, by which a short plan is filled up.
    const QUICK: [Self; 2] = [Self::GatewayKilled, Self::PersisterKilled];

    /// Whether it kills a process.
    #[must_use]
    pub fn kills(self) -> bool {
        match self {
            Self::GatewayKilled
            | Self::PersisterKilled
            | Self::RedisRestarted
            | Self::RedisFailedOver
            | Self::RedisFailedOverLagging
            | Self::StoreKilled => true,
            Self::GatewayDrained
            | Self::GatewayPaused
            | Self::PersisterPaused
            | Self::RedisPaused
            | Self::RedisReplacedAsleep
            | Self::ReplicaPaused
            | Self::RedisMemoryFull
            | Self::ScriptsForgotten
            | Self::SubscribersKilled
            | Self::PushesLost
            | Self::RedisHalfOpen
            | Self::RedisAnswersCut
            | Self::DialsRefused
            | Self::ClientsCut
            | Self::ClientsSlow
            | Self::FramesCut
            | Self::AnswersCut
            | Self::StorePaused
            | Self::StoreSlow
            | Self::StoreAnswersCut => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// A fault that spoils ways for a while and ends nothing, so that others can happen meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    PushesLost,
    ClientsSlow,
    StoreSlow,
}

impl Lasting {
    /// Each, once.
    const ALL: [Self; 3] = [Self::PushesLost, Self::ClientsSlow, Self::StoreSlow];

    /// The same where it happens by itself.
    fn alone(self) -> Fault {
        match self {
            Self::PushesLost => Fault::PushesLost,
            Self::ClientsSlow => Fault::ClientsSlow,
            Self::StoreSlow => Fault::StoreSlow,
        }
    }
}

impl fmt::Display for Lasting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.alone().fmt(formatter)
    }
}

/// One fault of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// After the recovery from the one before.
    pub after_ms: u64,
    pub fault: Fault,
    /// Which of several of its kind.
    pub target: usize,
    /// How long it stays, where that is not decided by what it does.
    pub lasts_ms: u64,
    /// What is there from before it until after it.
    pub beside: Option<Lasting>,
}

/// Rounds of all faults, each round shuffled, and as many quick kills as make it so many kills in all.
#[must_use]
pub fn draw(seed: u64, rounds: usize, kills: usize) -> Vec<Step> {
    let mut random = Random(seed);
    let mut faults: Vec<Fault> = (0..rounds).flat_map(|_| Fault::ALL).collect();
    let killing = faults.iter().filter(|fault| fault.kills()).count();
    let more = kills.saturating_sub(killing);
    faults.extend(Fault::QUICK.iter().cycle().take(more));
    for place in (1..faults.len()).rev() {
        faults.swap(place, random.below(place + 1));
    }
    let step = |fault| Step {
        after_ms: 200 + random.below(600) as u64,
        fault,
        target: random.below(1_000),
        lasts_ms: 1_000 + random.below(1_500) as u64,
        beside: None,
    };
    faults.into_iter().map(step).collect()
}

/// The same plan, where every third fault happens while another one lasts.
#[must_use]
pub fn two_at_once(mut steps: Vec<Step>) -> Vec<Step> {
    for (number, step) in steps.iter_mut().skip(2).step_by(3).enumerate() {
        let lasting = Lasting::ALL[number % Lasting::ALL.len()];
        step.beside = Some(lasting).filter(|lasting| lasting.alone() != step.fault);
    }
    steps
}

/// Splitmix64: small, and the same everywhere for ever.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let bound = u64::try_from(bound).expect("a plan is short");
        usize::try_from((mixed ^ (mixed >> 31)) % bound).expect("less than the bound")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_plan_with_every_fault_and_the_kills_that_were_asked_for() {
        let plan = draw(7, 1, 25);
        assert_eq!(plan, draw(7, 1, 25));
        assert_ne!(plan, draw(8, 1, 25));
        assert!(
            Fault::ALL
                .iter()
                .all(|fault| plan.iter().any(|step| step.fault == *fault))
        );
        assert_eq!(plan.iter().filter(|step| step.fault.kills()).count(), 25);
    }

    #[test]
    fn every_third_fault_has_another_one_beside_it() {
        let one = draw(7, 2, 60);
        let two = two_at_once(one.clone());
        let paired = two.iter().filter(|step| step.beside.is_some()).count();
        assert!(paired > 15, "{paired}");
        for (one, two) in one.iter().zip(&two) {
            assert_eq!(one.fault, two.fault);
            assert_ne!(two.beside.map(Lasting::alone), Some(two.fault));
        }
        for lasting in Lasting::ALL {
            assert!(two.iter().any(|step| step.beside == Some(lasting)));
        }
    }
}
