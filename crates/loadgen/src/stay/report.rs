//! What those who stayed went through: for people, as JSON, and as a verdict.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    time::Duration,
};

use serde_json::{Value, json};

use crate::report::{Times, listed, quantiles, shown};

/// So many things that went wrong are told one by one.
const TOLD: usize = 40;

/// What they went through.
#[derive(Debug, Clone)]
pub struct Stayed {
    /// How many there were.
    pub members: usize,
    /// How many of them on the extended layer.
    pub extended: usize,
    /// For how long they talked.
    pub talked: Duration,
    /// Messages that were made.
    pub made: u64,
    /// Messages that were acknowledged.
    pub acknowledged: u64,
    /// Messages that were not acknowledged in the end.
    pub unanswered: u64,
    /// Messages that were sent again after their socket had ended without an answer.
    pub sent_again: u64,
    /// Refusals by code; what may be tried again was.
    pub refused: BTreeMap<String, u64>,
    /// Messages that a member was not told, over all members.
    pub missing: u64,
    /// Messages that a member was told again, or too late.
    pub doubled: u64,
    /// Messages that nobody made, or that have two ids.
    pub foreign: u64,
    /// Rows that members of the base layer fetched after they came back.
    pub fetched: u64,
    /// Close frames of the server by code.
    pub closes: BTreeMap<String, u64>,
    /// Connections that ended without a close frame of the server, by what the system said.
    pub unclean: BTreeMap<String, u64>,
    /// Tries to connect that led into no room, by HTTP status or what the system said.
    pub turned_away: BTreeMap<String, u64>,
    /// Errors that the server told of, by code; `gap`, `resync` and `not resumed` among them.
    pub errors: BTreeMap<String, u64>,
    /// Times that somebody was told that one of the members is away.
    pub offline: u64,
    /// Members that were told to stop by a close code.
    pub stopped: u64,
    /// Reconnects for which the second socket was live before the first one ended.
    pub second_first: u64,
    /// Reconnects after an end.
    pub came_back: u64,
    /// How long an extended member was without a socket in its room, for each of its reconnects.
    pub extended_gaps: Times,
    /// The same of members on the base layer.
    pub base_gaps: Times,
    /// From when a message was due until its sender had its acknowledgement.
    pub answers: Times,
    /// The first things that went wrong, in words.
    pub told: Vec<String>,
}

impl Stayed {
    /// Everything that is not as it must be, a sentence each.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let counts = [
            (self.missing, "messages are missing at a member"),
            (
                self.doubled,
                "messages were told a member again or too late",
            ),
            (self.foreign, "messages have two ids or were made by nobody"),
            (self.unanswered, "sends were not answered"),
            (
                sum(&self.unclean),
                "connections ended without a close frame",
            ),
            (self.offline, "times a member was said to be away"),
            (self.stopped, "members were told to stop"),
            (sum(&self.errors), "errors were told"),
        ];
        let wrong = counts.iter().filter(|(count, _)| *count > 0);
        wrong
            .map(|(count, what)| format!("{count} {what}"))
            .collect()
    }

    /// Keeps a sentence about something that went wrong, if it is one of the first.
    pub(super) fn tell(&mut self, sentence: impl FnOnce() -> String) {
        if self.told.len() < TOLD {
            self.told.push(sentence());
        }
    }

    /// All of it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "members": self.members,
            "extended": self.extended,
            "talked_s": self.talked.as_secs_f64(),
            "made": self.made,
            "acknowledged": self.acknowledged,
            "unanswered": self.unanswered,
            "sent_again": self.sent_again,
            "refused": self.refused,
            "missing": self.missing,
            "doubled": self.doubled,
            "foreign": self.foreign,
            "fetched": self.fetched,
            "closes": self.closes,
            "unclean": self.unclean,
            "turned_away": self.turned_away,
            "errors": self.errors,
            "offline": self.offline,
            "stopped": self.stopped,
            "second_first": self.second_first,
            "came_back": self.came_back,
            "extended_gaps_us": quantiles(&self.extended_gaps.us),
            "base_gaps_us": quantiles(&self.base_gaps.us),
            "answers_us": quantiles(&self.answers.us),
            "told": self.told,
        })
    }
}

fn sum(counts: &BTreeMap<String, u64>) -> u64 {
    counts.values().sum()
}

impl Display for Stayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let none = |counts: &BTreeMap<String, u64>| match counts.is_empty() {
            true => "none".to_owned(),
            false => listed(counts),
        };
        let per_second = self.acknowledged as f64 / self.talked.as_secs_f64().max(1e-9);
        let lines = [
            (
                "members",
                format!("{}, {} of them extended", self.members, self.extended),
            ),
            (
                "acknowledged",
                format!(
                    "{} of {} sends in {:.0} s ({per_second:.0}/s), {} sent again",
                    self.acknowledged,
                    self.made,
                    self.talked.as_secs_f64(),
                    self.sent_again
                ),
            ),
            ("unanswered", self.unanswered.to_string()),
            ("refused", none(&self.refused)),
            ("missing", self.missing.to_string()),
            ("doubled", self.doubled.to_string()),
            ("foreign", self.foreign.to_string()),
            ("unclean closes", none(&self.unclean)),
            ("closes", none(&self.closes)),
            ("turned away", none(&self.turned_away)),
            ("errors", none(&self.errors)),
            ("false offline", self.offline.to_string()),
            (
                "reconnects",
                format!(
                    "{} by a second socket first, {} after an end; {} rows fetched",
                    self.second_first, self.came_back, self.fetched
                ),
            ),
            ("gap extended, ms", shown(&self.extended_gaps.us)),
            ("gap base, ms", shown(&self.base_gaps.us)),
            ("answer, ms", shown(&self.answers.us)),
        ];
        for (name, value) in lines {
            writeln!(f, "{name:<22} {value}")?;
        }
        Ok(())
    }
}
