//! Violations in words: the first one among what happened around it.

use std::fmt::Write;

use crate::{
    recording::{Conversation, Recording},
    verdict::Violation,
};

/// Events before and after the first violation that are shown.
const AROUND: usize = 8;
/// Violations that are listed.
const LISTED: usize = 20;

/// What a person reads. Empty when there is nothing.
#[must_use]
pub fn describe(recording: &Recording, violations: &[Violation]) -> String {
    let Some(first) = violations.first() else {
        return String::new();
    };
    let mut text = format!("{} violations, the first of them:\n", violations.len());
    let _ = writeln!(text, "  {first}");
    push_faults(&mut text, recording, first);
    push_around(&mut text, recording, first);
    if violations.len() > 1 {
        let _ = writeln!(text, "and then:");
    }
    for violation in violations.iter().skip(1).take(LISTED) {
        let _ = writeln!(text, "  {violation}");
    }
    if violations.len() > LISTED + 1 {
        let _ = writeln!(text, "  … and {} more", violations.len() - LISTED - 1);
    }
    text
}

fn push_faults(text: &mut String, recording: &Recording, first: &Violation) {
    let Some(at_us) = first.at_us else {
        return;
    };
    let earlier = recording.faults.iter();
    let earlier = earlier.filter(|fault| fault.begun_us <= at_us);
    if let Some(fault) = earlier.max_by_key(|fault| fault.begun_us) {
        let since = seconds(at_us - fault.begun_us);
        let is_open = at_us < fault.ended_us;
        let open = if is_open { "open" } else { "mended" };
        let _ = writeln!(
            text,
            "  {since} s after the fault \"{}\" began, which was {open}",
            fault.name
        );
    }
}

fn push_around(text: &mut String, recording: &Recording, first: &Violation) {
    let mut rooms = recording.conversations.iter();
    let room = rooms.find(|room| room.name == first.subject);
    if let (Some(room), Some(at_us)) = (room, first.at_us) {
        let _ = writeln!(text, "around it in {}:", room.name);
        for line in around(room, first.member, at_us) {
            let _ = writeln!(text, "  {line}");
        }
    }
}

/// What the member who saw it did and saw, or everybody when nobody is named.
fn around(room: &Conversation, member: Option<usize>, at_us: u64) -> Vec<String> {
    let members = room.members.iter().enumerate();
    let members = members.filter(|(number, _)| member.is_none_or(|member| member == *number));
    let mut all: Vec<(u64, String)> = Vec::new();
    for (_, member) in members {
        let middle = member.events.partition_point(|seen| seen.at_us < at_us);
        let (from, to) = (middle.saturating_sub(AROUND), middle + AROUND);
        let events = &member.events[from..to.min(member.events.len())];
        all.extend(events.iter().map(|seen| {
            let at = seconds(seen.at_us);
            (
                seen.at_us,
                format!("{at} s {}: {:?}", member.user, seen.event),
            )
        }));
    }
    all.sort();
    let middle = all.partition_point(|(at, _)| *at < at_us);
    let (from, to) = (middle.saturating_sub(AROUND), middle + AROUND);
    let near = all.into_iter().take(to).skip(from);
    near.map(|(_, line)| line).collect()
}

fn seconds(us: u64) -> String {
    format!("{}.{:03}", us / 1_000_000, us / 1000 % 1000)
}
