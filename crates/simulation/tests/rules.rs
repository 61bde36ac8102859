//! Rules that are left out, one at a time, and a seed that shows the harm.

use parlance_simulation::{
    Profile,
    rule::{Rule, Rules},
    run,
};

use Profile::{Lossy, Safe};

/// So many are tried.
const SEEDS: u64 = 60;

/// For each rule where to look for a seed that turns red without it, and the first word of what is wrong then.
/// Whatever a room does more or less draws other chances for all that follows, so seeds move.
const FOUND: [(Rule, Profile, u64, &str); 12] = [
    (Rule::RunOpensEpoch, Lossy, 0, "REUSE"),
    (Rule::BreakKnowsLog, Safe, 19, "LOST"),
    (Rule::TenSeconds, Safe, 75, "DOUBLE"),
    (Rule::LookUpOnRetry, Safe, 3, "DOUBLE"),
    (Rule::AppendStopsExpiry, Lossy, 5, "REUSE"),
    (Rule::Sweep, Lossy, 2, "SILENT"),
    (Rule::PrevIsNext, Lossy, 0, "SILENT"),
    (Rule::BreakKnowsStore, Lossy, 0, "LOST"),
    (Rule::LookUpAfterMark, Lossy, 220, "DOUBLE"),
    (Rule::NamesUntilStored, Safe, 23, "DOUBLE"),
    (Rule::EventsBeforeHead, Lossy, 0, "STUCK"),
    (Rule::OutboxOnNewEpoch, Lossy, 0, "STUCK"),
];

#[test]
fn without_a_rule_a_seed_shows_the_harm() {
    for (rule, profile, seed, kind) in FOUND {
        let harm = |seed| run(seed, profile, Rules::without(&[rule])).err();
        let found = (seed..seed + SEEDS)
            .filter_map(harm)
            .find(|failure| failure.what.starts_with(kind));
        assert!(
            found.is_some(),
            "without {rule:?}: no {kind} from seed {seed} on"
        );
    }
}
