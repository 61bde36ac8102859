//! Who may not hear any more.

use super::Case;
use crate::{
    recording::{Event, Member},
    verdict::Invariant,
};

/// A connection outlives its token by 30 s, and a turn of the server.
const OUTLIVES_US: u64 = 32_000_000;
/// Clocks of processes may differ by this.
const CLOCKS_US: u64 = 2_000_000;
const UNAUTHORIZED: u16 = 4003;

pub(super) fn check(case: &mut Case<'_>) {
    for (number, member) in case.members() {
        check_member(case, number, member);
    }
}

/// Of a connection without a word on how long its token is good, nothing is judged but its close.
fn check_member(case: &mut Case<'_>, number: usize, member: &Member) {
    let mut until = u64::MAX;
    for seen in &member.events {
        match &seen.event {
            Event::Connected { .. } => until = u64::MAX,
            Event::Granted { until_us } => until = *until_us,
            Event::Closed {
                code: Some(UNAUTHORIZED),
            } if seen.at_us.saturating_add(CLOCKS_US) < until => {
                let what = "a close 4003 with a token that is good".to_owned();
                case.saw(Invariant::Access, number, seen.at_us, what);
            }
            event if is_told(event) && until.saturating_add(OUTLIVES_US) < seen.at_us => {
                let late_ms = (seen.at_us - until) / 1000;
                let what = format!("{event:?}, {late_ms} ms after its token ran out");
                case.saw(Invariant::Access, number, seen.at_us, what);
            }
            _ => {}
        }
    }
}

fn is_told(event: &Event) -> bool {
    event.message().is_some() || event.change().is_some()
}
