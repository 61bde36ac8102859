//! Runs of the whole, from seeds, with all rules kept.

use parlance_simulation::{Failure, Profile, rule::Rules, run};

const SEEDS: u64 = 150;

fn shown(failure: &Failure) -> String {
    let Failure {
        seed,
        profile,
        what,
        trace,
    } = failure;
    let trace = trace.join("\n");
    format!("{trace}\nseed {seed} of {profile:?}: {what}")
}

fn check(profile: Profile) {
    for seed in 0..SEEDS {
        if let Err(failure) = run(seed, profile, Rules::all()) {
            panic!("{}", shown(&failure));
        }
    }
}

#[test]
fn a_log_that_loses_nothing_shows_everybody_the_same() {
    check(Profile::Safe);
}

#[test]
fn what_extended_clients_had_acknowledged_outlives_a_log_that_loses_its_tail() {
    check(Profile::Lossy);
}

#[test]
fn a_seed_gives_the_same_run_each_time() {
    for profile in [Profile::Safe, Profile::Lossy] {
        for seed in 0..5 {
            let trace = || match run(seed, profile, Rules::all()) {
                Ok(trace) => trace,
                Err(failure) => panic!("{}", shown(&failure)),
            };
            assert_eq!(trace(), trace(), "seed {seed} of {profile:?}");
        }
    }
}
