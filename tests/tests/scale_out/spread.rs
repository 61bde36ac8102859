//! How fast members come to the others when a gateway leaves, and that they spread when one comes.

use std::time::Duration;

use parlance_checker::recording::{Event, Layer, Recording};
use parlance_testkit::{
    dial::DEADLINE,
    fleet::{Fleet, GATEWAYS, turn, unlimited},
    redis::Redis,
    report,
    traffic::{Plan, Traffic, recording::Promise},
};

/// New members that each gateway takes in a second.
const ACCEPTS_PER_SECOND: u32 = 10;
/// A peak is counted over so long: a tenth of it would be chance.
const PEAK: Duration = Duration::from_secs(2);
/// What the product promises.
const SPREAD_WITHIN: Duration = Duration::from_secs(180);

/// A hundred members of both layers on each gateway. `name` begins their names.
fn crowd(name: &str) -> Plan {
    Plan {
        name: format!("{name}-"),
        conversations: 50,
        sends_per_second: 100,
        changes: false,
        lively: false,
    }
}

/// When clients of this layer opened connections or were closed, in µs, after `since_us`.
fn times(recording: &Recording, layer: Layer, since_us: u64, of: fn(&Event) -> bool) -> Vec<u64> {
    let members = recording.conversations.iter().flat_map(|it| &it.members);
    let members = members.filter(|member| member.layer == layer);
    let events = members.flat_map(|member| &member.events);
    let fitting = events.filter(|seen| seen.at_us >= since_us && of(&seen.event));
    let mut times: Vec<u64> = fitting.map(|seen| seen.at_us).collect();
    times.sort_unstable();
    times
}

const fn is_connected(event: &Event) -> bool {
    matches!(event, Event::Connected { .. })
}

const fn is_closed(event: &Event) -> bool {
    matches!(event, Event::Closed { .. })
}

/// The most of these within [`PEAK`].
fn peak(times: &[u64]) -> usize {
    let peak_us = u64::try_from(PEAK.as_micros()).unwrap();
    let within = |first: usize| {
        let until = times[first] + peak_us;
        times[first..].partition_point(|time| *time < until)
    };
    (0..times.len()).map(within).max().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaving_gateway_sends_no_more_than_the_others_take_and_the_extended_layer_first() {
    let _turn = turn();
    let redis = Redis::start();
    let setup = unlimited()
        .set("drain.window", "30s")
        .set("limits.accepts_per_second", &ACCEPTS_PER_SECOND.to_string());
    let mut fleet = Fleet::start_as(setup, &redis.url());
    let plan = crowd("paced");
    let mut traffic = Traffic::start(&plan, &fleet.directory).await;
    until_all_know(&fleet).await;
    let since_us = traffic.now_us();
    fleet.drain(0);
    traffic.flows_again().await;
    let (figures, recording) = traffic.finish_recorded(Promise::NothingLost).await;
    assert_eq!(figures.cut, 0, "closes without a close frame");
    assert_eq!(figures.offline, 0, "users who came back were shown offline");

    let of_both = |of| {
        let mut both = times(&recording, Layer::Base, since_us, of);
        both.extend(times(&recording, Layer::Extended, since_us, of));
        both.sort_unstable();
        both
    };
    let came = of_both(is_connected);
    let moved = plan.conversations * 2;
    assert_eq!(came.len(), moved, "each member of it came to another once");
    let others = u32::try_from(GATEWAYS).unwrap() - 1;
    let taken = f64::from(others * ACCEPTS_PER_SECOND) * PEAK.as_secs_f64();
    let peak = peak(&came);
    report(&format!(
        "gateway with {moved} members drained: at most {peak} came to the others within {PEAK:?}, \
         who take {taken}"
    ));
    assert!(peak as f64 <= taken * 1.3, "{peak} within {PEAK:?}");

    let closed = times(&recording, Layer::Extended, since_us, is_closed);
    assert!(closed.is_empty(), "extended members leave by themselves");
    let closed = times(&recording, Layer::Base, since_us, is_closed);
    let asked = times(&recording, Layer::Extended, since_us, is_connected);
    let before = asked.iter().filter(|asked| **asked < closed[0]).count();
    assert!(
        before >= asked.len() / 2,
        "{before} of {} had moved when the first of the base layer was closed",
        asked.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_spread_over_a_gateway_that_was_added() {
    let _turn = turn();
    let redis = Redis::start();
    let mut fleet = Fleet::start_as(unlimited(), &redis.url());
    let plan = crowd("spread");
    let directory = fleet.directory.clone().by_fewest();
    let traffic = Traffic::start(&plan, &directory).await;
    until_all_know(&fleet).await;
    let sent_away = |fleet: &Fleet| {
        fleet
            .metrics("parlance_sent_away_total")
            .iter()
            .sum::<f64>()
    };
    assert_eq!(sent_away(&fleet), 0.0, "what is even stays");

    fleet.add();
    let took = fleet
        .until("parlance_connections", SPREAD_WITHIN, are_even)
        .await;
    report(&format!(
        "gateway added to {GATEWAYS}: {:?} members after {took:.1?}, {} were sent away",
        fleet.metrics("parlance_connections"),
        sent_away(&fleet)
    ));
    let figures = traffic.finish(Promise::NothingLost).await;
    assert_eq!(figures.cut, 0, "closes without a close frame");
    assert_eq!(figures.offline, 0, "users who moved were shown offline");
    assert_eq!(figures.closed, 0, "there were members who could be asked");
}

/// Within a tenth of the mean.
fn are_even(members: &[f64]) -> bool {
    let mean = members.iter().sum::<f64>() / members.len() as f64;
    members
        .iter()
        .all(|count| (count - mean).abs() <= mean / 10.0)
}

/// Waits until each gateway knows that all are ready.
async fn until_all_know(fleet: &Fleet) {
    let know_all = |ready: &[f64]| ready.iter().all(|count| *count == GATEWAYS as f64);
    fleet
        .until("parlance_ready_gateways", DEADLINE, know_all)
        .await;
}
