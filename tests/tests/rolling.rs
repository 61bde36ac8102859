//! A rolling restart behind HAProxy, in small: nobody loses anything, is cut off or shown offline. `make
//! rolling` is the large form.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::time::Duration;

use parlance_testkit::{
    report,
    rolling::{Ending, Outcome, Plan, perform},
    server::Parlance,
};

fn roll(ending: Ending) -> Outcome {
    let plan = Plan {
        gateways: 2,
        rooms: 30,
        members: 10,
        connects_per_second: 300.0,
        sends_per_second: 60.0,
        ending,
        pre_stop: Duration::from_secs(1),
        watch: Duration::ZERO,
        setup: Parlance::setup(),
    };
    let outcome = perform(&plan, &|line| report(line)).unwrap();
    report(&outcome.to_string());
    outcome
}

#[test]
fn a_rolling_restart_behind_a_proxy_has_no_gap() {
    let outcome = roll(Ending::Terminated);
    let stayed = &outcome.stayed;
    assert!(outcome.faults.is_empty(), "{:#?}", stayed.told);
    assert!(stayed.acknowledged > 0, "somebody talked");
    assert!(stayed.second_first > 0, "extended members moved");
    assert!(stayed.came_back > 0, "base members came back");
    let most_us = stayed.extended_gaps.us.value_at_quantile(0.9);
    assert_eq!(most_us, 0, "extended members always have a socket");
}

/// What a restart must not be is noticed.
#[test]
fn killed_gateways_are_unclean_closes() {
    let outcome = roll(Ending::Killed);
    let unclean: u64 = outcome.stayed.unclean.values().sum();
    assert!(unclean > 0, "connections of a killed process are cut");
    assert!(!outcome.faults.is_empty(), "and that is a fault");
}
