//! No rule is there for nothing: each is left out once, and a seed shows the harm.

use parlance_simulation::{
    Profile,
    rule::{Rule, Rules},
    run,
};

use Profile::{Lossy, Safe};

/// For each rule a seed that turns red without it, and the first word of what is wrong then.
const FOUND: [(Rule, Profile, u64, &str); 15] = [
    (Rule::RunOpensEpoch, Lossy, 0, "REUSE"),
    (Rule::ClaimBeforeOpening, Lossy, 32, "DOUBLE"),
    (Rule::BreakKnowsStore, Lossy, 0, "LOST"),
    (Rule::BreakKnowsLog, Safe, 0, "LOST"),
    (Rule::ReadersSetMark, Lossy, 1, "SILENT"),
    (Rule::TenSeconds, Safe, 8, "DOUBLE"),
    (Rule::LookUpAfterMark, Lossy, 32, "DOUBLE"),
    (Rule::LookUpOnRetry, Safe, 6, "DOUBLE"),
    (Rule::LookUpWithoutNames, Safe, 54, "SILENT"),
    (Rule::LookUpInYoungEpoch, Lossy, 51, "SILENT"),
    (Rule::NamesUntilStored, Safe, 17, "DOUBLE"),
    (Rule::AppendStopsExpiry, Lossy, 1, "REUSE"),
    (Rule::EventsBeforeHead, Lossy, 0, "STUCK"),
    (Rule::Sweep, Lossy, 9, "SILENT"),
    (Rule::OutboxOnNewEpoch, Lossy, 1, "STUCK"),
];

#[test]
fn without_a_rule_a_seed_shows_the_harm() {
    for (rule, profile, seed, kind) in FOUND {
        let result = run(seed, profile, Rules::without(&[rule]));
        let what = result.map_or_else(|failure| failure.what, |_| "nothing".to_owned());
        assert!(what.starts_with(kind), "without {rule:?}: {what}");
    }
}
