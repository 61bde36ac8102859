//! Numbers by chance, the same ones in every run (splitmix64). For pages by chance and for pauses of those
//! who come back.

use std::time::Duration;

/// As clients of the protocol: the shortest pause, and what doubles with each try at most.
const MIN: Duration = Duration::from_millis(500);
const MAX: Duration = Duration::from_secs(20);

/// The source. What it begins with is where the numbers begin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// The pause before the next try, after so many in vain.
    pub(crate) fn backoff(&mut self, tries: u32) -> Duration {
        let most = MIN.saturating_mul(1 << tries.min(16)).min(MAX);
        let most_us = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        MIN + Duration::from_micros(self.draw() % most_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_anywhere_between_half_a_second_and_what_doubles_up_to_20_s_more() {
        let mut chance = Chance(0);
        for (tries, most_ms) in [(0, 500), (1, 1_000), (3, 4_000), (10, 20_000), (99, 20_000)] {
            let pauses: Vec<_> = (0..1_000).map(|_| chance.backoff(tries)).collect();
            let longest = MIN + Duration::from_millis(most_ms);
            assert!(pauses.iter().all(|pause| (MIN..longest).contains(pause)));
            let quarter = (longest - MIN) / 4;
            assert!(pauses.iter().any(|pause| *pause < MIN + quarter));
            assert!(pauses.iter().any(|pause| *pause > longest - quarter));
        }
    }
}
