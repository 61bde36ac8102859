//! What processes use, and how soon they work again.

use std::collections::BTreeMap;

use crate::{
    recording::{Recording, Sample},
    verdict::{Invariant, Violation},
};

/// More than at first by a tenth and by this: the first is that of a process that has just begun, and
/// allocators keep what they were given once.
const RSS_SLACK_BYTES: u64 = 48 << 20;
const DESCRIPTORS_SLACK: u64 = 24;

pub(super) fn check(recording: &Recording, found: &mut Vec<Violation>) {
    for probe in &recording.probes {
        if probe.took_us > probe.within_us {
            found.push(Violation {
                invariant: Invariant::Liveness,
                subject: probe.what.clone(),
                member: None,
                at_us: Some(probe.began_us),
                what: format!(
                    "it took {} ms when all was well again, and may take {}",
                    probe.took_us / 1000,
                    probe.within_us / 1000
                ),
            });
        }
    }
    let mut processes: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for sample in &recording.samples {
        processes.entry(&sample.process).or_default().push(sample);
    }
    for (process, samples) in processes {
        found.extend(grown(process, &samples));
    }
}

/// The last sample against the first.
fn grown(process: &str, samples: &[&Sample]) -> Option<Violation> {
    let (first, last) = (samples.first()?, samples.last()?);
    let bound = |before: u64, slack: u64| before + before / 10 + slack;
    let what = if last.rss_bytes > bound(first.rss_bytes, RSS_SLACK_BYTES) {
        format!("{} bytes became {}", first.rss_bytes, last.rss_bytes)
    } else if last.descriptors > bound(first.descriptors, DESCRIPTORS_SLACK) {
        format!(
            "{} descriptors became {}",
            first.descriptors, last.descriptors
        )
    } else {
        return None;
    };
    Some(Violation {
        invariant: Invariant::Bounded,
        subject: process.to_owned(),
        member: None,
        at_us: Some(last.at_us),
        what,
    })
}
