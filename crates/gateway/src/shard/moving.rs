//! Members that are sent to other nodes: who could be, and the picking.
//!
//! The process decides how many go, and when; here it is decided who. Extended members are asked, and
//! leave by themselves once they are connected elsewhere; the base layer has no word for that, so its
//! members are closed and come back. Of each, those who did nothing for the longest time go first:
//! they notice it least.

use parlance_core::{
    clock::Mono,
    ports::{Backend, Verifier},
    room::{Candidate, retry_after_reason},
};
use parlance_protocol::{CloseCode, ReconnectReason};
use parlance_telemetry::labels::{AwayReason, Farewell};

use super::{RoomKey, Shard, conn::Place};
use crate::handover::{Census, SendAway, Terms};

/// A closed client does not come back before this: it is gone here then.
const BACK_AFTER_MS: u64 = 100;

/// What can be done about a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Askable,
    Waiting,
    Closable,
}

impl<B: Backend, V: Verifier> Shard<B, V> {
    pub(super) fn count(&self, terms: Terms) -> Census {
        let mut census = Census::default();
        for (class, _, _) in self.classed(terms) {
            match class {
                Class::Askable => census.askable += 1,
                Class::Waiting => census.waiting += 1,
                Class::Closable => census.closable += 1,
            }
        }
        census
    }

    /// What is ready for those who are closed is written first.
    pub(super) fn send_away(&mut self, away: SendAway) {
        let SendAway {
            terms, within_ms, ..
        } = away;
        let asked = self.pick(Class::Askable, away.ask, terms);
        let closed = self.pick(Class::Closable, away.close, terms);
        let sent_away = &self.stats.metrics.sent_away;
        let reason = label(terms.reason);
        let count = |farewell, places: &[Place]| {
            sent_away
                .of(reason, farewell)
                .increment(places.len() as u64);
        };
        count(Farewell::Asked, &asked);
        count(Farewell::Closed, &closed);
        for Place { room, member } in asked {
            let after_ms = crate::random_in(0..within_ms + 1);
            self.with(room, |room, cx| {
                room.ask_to_reconnect(member, after_ms, terms.reason, cx);
            });
        }
        self.close_places(closed, within_ms);
    }

    pub(super) fn close_all(&mut self, within_ms: u64) {
        let places = self.conns.iter().filter_map(|(_, conn)| conn.place());
        let places: Vec<Place> = places.collect();
        let sent_away = &self.stats.metrics.sent_away;
        let closed = sent_away.of(AwayReason::Drain, Farewell::Closed);
        closed.increment(places.len() as u64);
        self.close_places(places, within_ms);
    }

    fn close_places(&mut self, places: Vec<Place>, within_ms: u64) {
        if places.is_empty() {
            return;
        }
        self.flush();
        for Place { room, member } in places {
            let back_ms = crate::random_in(BACK_AFTER_MS..BACK_AFTER_MS + within_ms + 1);
            let reason = retry_after_reason(back_ms);
            self.with(room, |room, cx| {
                room.close(member, CloseCode::NodeLeaving, reason, cx);
            });
        }
    }

    /// `count` of a class, at most all: those that did nothing for the longest time.
    fn pick(&self, class: Class, count: usize, terms: Terms) -> Vec<Place> {
        if count == 0 {
            return Vec::new();
        }
        let of_class = self.classed(terms).filter(|(of, _, _)| *of == class);
        let mut found: Vec<(Mono, Place)> = of_class
            .map(|(_, acted_at, place)| (acted_at, place))
            .collect();
        if count < found.len() {
            found.select_nth_unstable_by_key(count, |(acted_at, _)| *acted_at);
            found.truncate(count);
        }
        found.into_iter().map(|(_, place)| place).collect()
    }

    fn classed(&self, terms: Terms) -> impl Iterator<Item = (Class, Mono, Place)> + '_ {
        let now = self.now.mono;
        self.rooms.iter().flat_map(move |(index, seats)| {
            let room = RoomKey::of(index);
            seats.room.candidates().map(move |candidate| {
                let Candidate {
                    member, acted_at, ..
                } = candidate;
                let class = class_of(&candidate, terms, now);
                (class, acted_at, Place { room, member })
            })
        })
    }
}

fn class_of(candidate: &Candidate, terms: Terms, now: Mono) -> Class {
    if !candidate.extended {
        return Class::Closable;
    }
    match (candidate.asked_at, terms.reason) {
        (None, _) => Class::Askable,
        (Some(at), _) if terms.waits(now.since_ms(at)) => Class::Waiting,
        (Some(_), ReconnectReason::Drain) => Class::Closable,
        (Some(_), ReconnectReason::Rebalance) => Class::Askable,
    }
}

const fn label(reason: ReconnectReason) -> AwayReason {
    match reason {
        ReconnectReason::Drain => AwayReason::Drain,
        ReconnectReason::Rebalance => AwayReason::Rebalance,
    }
}

#[cfg(test)]
mod tests {
    use parlance_core::room::MemberKey;

    use super::*;

    const PATIENCE_MS: u64 = 5_000;

    fn class(extended: bool, asked_ago_ms: Option<u64>, reason: ReconnectReason) -> Class {
        let now = Mono(100_000);
        let candidate = Candidate {
            member: MemberKey(0),
            extended,
            asked_at: asked_ago_ms.map(|ago_ms| Mono(now.0 - ago_ms)),
            acted_at: Mono(0),
        };
        let patience_ms = PATIENCE_MS;
        let terms = Terms {
            reason,
            patience_ms,
        };
        class_of(&candidate, terms, now)
    }

    #[test]
    fn a_leaving_node_closes_who_was_asked_and_did_not_go_and_a_staying_one_asks_again() {
        use ReconnectReason::{Drain, Rebalance};
        for reason in [Drain, Rebalance] {
            assert_eq!(class(false, None, reason), Class::Closable);
            assert_eq!(class(true, None, reason), Class::Askable);
            assert_eq!(class(true, Some(PATIENCE_MS - 1), reason), Class::Waiting);
        }
        assert_eq!(class(true, Some(PATIENCE_MS), Drain), Class::Closable);
        assert_eq!(class(true, Some(PATIENCE_MS), Rebalance), Class::Askable);
    }
}
