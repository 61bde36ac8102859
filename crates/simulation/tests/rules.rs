//! Rules that are left out, one at a time, and a seed that shows the harm.

use parlance_simulation::{
    Profile,
    rule::{Rule, Rules},
    run,
};

use Profile::{Lossy, Safe};

/// For each rule a seed that turns red without it, and the first word of what is wrong then.
const FOUND: [(Rule, Profile, u64, &str); 13] = [
    (Rule::RunOpensEpoch, Lossy, 0, "REUSE"),
    (Rule::BreakKnowsLog, Safe, 0, "LOST"),
    (Rule::TenSeconds, Safe, 8, "DOUBLE"),
    (Rule::LookUpOnRetry, Safe, 6, "DOUBLE"),
    (Rule::AppendStopsExpiry, Lossy, 1, "REUSE"),
    (Rule::Sweep, Lossy, 9, "SILENT"),
    (Rule::PrevIsNext, Lossy, 0, "SILENT"),
    (Rule::BreakKnowsStore, Lossy, 0, "LOST"),
    (Rule::ReadersSetMark, Lossy, 1, "SILENT"),
    (Rule::LookUpAfterMark, Lossy, 32, "DOUBLE"),
    (Rule::NamesUntilStored, Safe, 17, "DOUBLE"),
    (Rule::EventsBeforeHead, Lossy, 0, "STUCK"),
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
