//! The rules, a module for what is judged from the same evidence.

mod access;
mod calm;
mod changes;
mod ephemeral;
mod log;
mod order;
mod process;
mod stream;
#[cfg(test)]
mod tests;
mod words;

use crate::{
    recording::{Conversation, Member, Recording, Run},
    rules::calm::Calm,
    verdict::{Invariant, Violation},
};

/// All that must not be, the first that was seen first.
#[must_use]
pub fn check(recording: &Recording) -> Vec<Violation> {
    let calm = Calm::new(&recording.faults);
    let mut found = Vec::new();
    for conversation in &recording.conversations {
        let mut case = Case {
            run: recording.run,
            calm: &calm,
            conversation,
            found: &mut found,
        };
        case.check();
    }
    process::check(recording, &mut found);
    found.sort_by_key(|violation| violation.at_us.unwrap_or(u64::MAX));
    found
}

/// One conversation under judgement.
struct Case<'a> {
    run: Run,
    calm: &'a Calm,
    conversation: &'a Conversation,
    found: &'a mut Vec<Violation>,
}

impl Case<'_> {
    fn check(&mut self) {
        log::check(self);
        changes::check(self);
        order::check(self);
        stream::check(self);
        words::check(self);
        access::check(self);
        ephemeral::check(self);
    }

    /// Nobody saw it when it happened: history shows it.
    fn found(&mut self, invariant: Invariant, what: String) {
        self.push(invariant, None, None, what);
    }

    /// The `number`th member saw it.
    fn saw(&mut self, invariant: Invariant, number: usize, at_us: u64, what: String) {
        let user = &self.conversation.members[number].user;
        let what = format!("{user} saw {what}");
        self.push(invariant, Some(number), Some(at_us), what);
    }

    fn push(
        &mut self,
        invariant: Invariant,
        member: Option<usize>,
        at_us: Option<u64>,
        what: String,
    ) {
        self.found.push(Violation {
            invariant,
            subject: self.conversation.name.clone(),
            member,
            at_us,
            what,
        });
    }
}

impl<'a> Case<'a> {
    fn members(&self) -> impl Iterator<Item = (usize, &'a Member)> + use<'a> {
        self.conversation.members.iter().enumerate()
    }
}
