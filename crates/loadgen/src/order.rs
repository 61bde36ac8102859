//! What should have come to whom, and in which order: the judge of a room.
//!
//! Messages have names: 1, 2, 3 … in the order in which the generator sent them, by changing senders.
//! Whoever gets one first gives it its *rank*, the place in the room's one order. Everybody else has to
//! see ranks rise one by one, which is one comparison per delivery. A rank that is skipped is remembered
//! by the member: if it comes later, that member sees another order than the others; if it does not, it
//! is missing; a rank below the last that was not skipped comes a second time.
//!
//! Nothing is kept of a message that everybody has, so a run may last. What this cannot tell apart: a
//! member that misses a message and is the first to get the next one makes that next one first, and
//! those that have both are told to see another order. It is only ever said when something is wrong.

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    time::Instant,
};

/// What is wrong with what arrived. All zero is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Messages that a member did not get, counted for each member.
    pub missing: u64,
    /// Messages that a member got again, or that were refused and came all the same.
    pub duplicate: u64,
    /// Messages of one sender that a member saw in another order than they were sent in.
    pub reordered: u64,
    /// Messages that a member saw in another order than the other members.
    pub differently_ordered: u64,
}

impl Verdict {
    /// Whether everything arrived once and in order.
    #[must_use]
    pub fn is_right(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.missing += other.missing;
        self.duplicate += other.duplicate;
        self.reordered += other.reordered;
        self.differently_ordered += other.differently_ordered;
    }
}

/// How one member follows the one order.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    /// The highest rank that it has.
    last: u64,
    /// Ranks below that it does not have.
    skipped: BTreeSet<u64>,
}

/// What a rank is to a follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The next, or one that leaves some out.
    Forward,
    /// One that was left out before.
    Late,
    /// One that it has already.
    Again,
}

impl Follower {
    /// Takes the next rank that the member sees.
    pub(crate) fn see(&mut self, rank: u64) -> Seen {
        if rank == self.last + 1 {
            self.last = rank;
            return Seen::Forward;
        }
        if rank > self.last {
            self.skipped.extend(self.last + 1..rank);
            self.last = rank;
            return Seen::Forward;
        }
        if self.skipped.remove(&rank) {
            Seen::Late
        } else {
            Seen::Again
        }
    }

    /// Whether the member has this rank.
    pub(crate) fn has(&self, rank: u64) -> bool {
        rank <= self.last && !self.skipped.contains(&rank)
    }

    /// How many ranks it has.
    pub(crate) fn count(&self) -> u64 {
        self.last - self.skipped.len() as u64
    }
}

/// A message that not everybody has.
#[derive(Debug)]
struct Pending {
    sender: usize,
    due: Instant,
    /// None while nobody has it.
    rank: Option<u64>,
    /// Members that should have it and do not.
    lacking: usize,
    /// Its sender does not know yet that it was taken.
    awaits_ack: bool,
    /// It may never come: its sender is gone, or the server does not know what became of it.
    may_be_lost: bool,
}

/// What a delivery or an acknowledgement completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Progressed {
    /// When the message was due, if the member got it for the first time.
    pub(crate) delivered: Option<Instant>,
    /// Its sender, and when it was due, if this was the first sign that it was taken.
    pub(crate) acked: Option<(usize, Instant)>,
    /// When it was due, if everybody has it with this.
    pub(crate) complete: Option<Instant>,
}

/// How acknowledgements are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acks {
    /// By the sender's own copy.
    OwnCopy,
    /// By the first copy that anybody gets: senders get none.
    FirstCopy,
    /// By frames of their own; a sender may have a copy as well.
    Frames {
        /// Whether it has one.
        with_copy: bool,
    },
}

impl Acks {
    fn sender_has_copy(self) -> bool {
        match self {
            Self::OwnCopy => true,
            Self::FirstCopy => false,
            Self::Frames { with_copy } => with_copy,
        }
    }
}

/// The judge of one room.
#[derive(Debug)]
pub(crate) struct Room {
    acks: Acks,
    followers: Vec<Follower>,
    /// Members that are gone; nothing is expected of them.
    gone: HashSet<usize>,
    /// By name, the oldest first; complete ones at the front are dropped.
    pending: VecDeque<Pending>,
    /// The name of the first pending one.
    first: u64,
    /// The rank that the next new message gets.
    next_rank: u64,
    /// For each sender, the highest name that has a rank.
    ranked: Vec<u64>,
    verdict: Verdict,
    /// Not complete, and not given up.
    under_way: usize,
}

impl Room {
    pub(crate) fn new(members: usize, acks: Acks) -> Self {
        Self {
            acks,
            followers: (0..members).map(|_| Follower::default()).collect(),
            gone: HashSet::new(),
            pending: VecDeque::new(),
            first: 1,
            next_rank: 1,
            ranked: vec![0; members],
            verdict: Verdict::default(),
            under_way: 0,
        }
    }

    /// Notes a message that goes out now and was due then; its name.
    pub(crate) fn send(&mut self, sender: usize, due: Instant) -> u64 {
        let own = usize::from(!self.acks.sender_has_copy());
        self.pending.push_back(Pending {
            sender,
            due,
            rank: None,
            lacking: (self.followers.len() - self.gone.len()).saturating_sub(own),
            awaits_ack: true,
            may_be_lost: false,
        });
        self.under_way += 1;
        self.first + self.pending.len() as u64 - 1
    }

    /// How many messages not everybody has yet.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way
    }

    /// `member` got message `name`.
    pub(crate) fn deliver(&mut self, member: usize, name: u64) -> Progressed {
        let place = self.place(name);
        let Some(place) = place.filter(|place| *place < self.pending.len()) else {
            // Everybody had it, or nobody sent it: it can only be a copy of something.
            self.verdict.duplicate += 1;
            return Progressed::default();
        };
        let rank = self.rank(place, name);
        match self.followers[member].see(rank) {
            Seen::Forward => {}
            Seen::Late => self.judge_late(member, place),
            Seen::Again => {
                self.verdict.duplicate += 1;
                return Progressed::default();
            }
        }
        self.arrive(member, place)
    }

    /// The rank of a message; the next one if nobody had it before.
    fn rank(&mut self, place: usize, name: u64) -> u64 {
        let pending = &mut self.pending[place];
        if let Some(rank) = pending.rank {
            return rank;
        }
        let rank = self.next_rank;
        self.next_rank += 1;
        pending.rank = Some(rank);
        let highest = &mut self.ranked[pending.sender];
        if name < *highest {
            self.verdict.reordered += 1;
        }
        *highest = name.max(*highest);
        rank
    }

    /// A message came to a member for the first time.
    fn arrive(&mut self, member: usize, place: usize) -> Progressed {
        let mut progressed = Progressed::default();
        let acks = self.acks;
        let pending = &mut self.pending[place];
        let is_own = member == pending.sender;
        if is_own && !acks.sender_has_copy() {
            return progressed;
        }
        if pending.lacking == 0 {
            // It was refused, so nobody should have it.
            self.verdict.duplicate += 1;
            return progressed;
        }
        progressed.delivered = Some(pending.due);
        let is_ack = match acks {
            Acks::OwnCopy => is_own,
            Acks::FirstCopy => true,
            Acks::Frames { .. } => false,
        };
        if is_ack && std::mem::take(&mut pending.awaits_ack) {
            progressed.acked = Some((pending.sender, pending.due));
        }
        pending.lacking -= 1;
        if pending.lacking == 0 {
            progressed.complete = Some(pending.due);
            self.under_way -= 1;
            self.drop_complete();
        }
        progressed
    }

    /// The server took message `name`, by a frame of its own.
    pub(crate) fn ack(&mut self, name: u64) -> Progressed {
        let mut progressed = Progressed::default();
        if let Some(pending) = self.find(name)
            && std::mem::take(&mut pending.awaits_ack)
        {
            progressed.acked = Some((pending.sender, pending.due));
        }
        self.drop_complete();
        progressed
    }

    /// The server refused message `name`. With `unknown` it may come all the same. Whether somebody
    /// waited for it.
    pub(crate) fn refuse(&mut self, name: u64, unknown: bool) -> bool {
        let Some(pending) = self.find(name) else {
            return false;
        };
        let waited = std::mem::take(&mut pending.awaits_ack);
        if unknown {
            pending.may_be_lost = true;
        } else if pending.lacking > 0 {
            pending.lacking = 0;
            self.under_way -= 1;
        }
        self.drop_complete();
        waited
    }

    /// `member` is gone: it gets nothing any more, and of what it sent it will not hear.
    pub(crate) fn leave(&mut self, member: usize) {
        if !self.gone.insert(member) {
            return;
        }
        let follower = &self.followers[member];
        for pending in &mut self.pending {
            let is_own = pending.sender == member;
            if is_own {
                pending.awaits_ack = false;
                pending.may_be_lost = true;
            }
            let expected = pending.lacking > 0 && (!is_own || self.acks.sender_has_copy());
            if expected && !pending.rank.is_some_and(|rank| follower.has(rank)) {
                pending.lacking -= 1;
                self.under_way -= usize::from(pending.lacking == 0);
            }
        }
        self.drop_complete();
    }

    /// What was wrong, counting what has not come by now as missing.
    pub(crate) fn verdict(&self) -> Verdict {
        let mut verdict = self.verdict;
        for pending in &self.pending {
            if pending.rank.is_some() || !pending.may_be_lost {
                verdict.missing += pending.lacking as u64;
            }
        }
        verdict
    }

    /// Where a message stands, or would, among those that not everybody has.
    fn place(&self, name: u64) -> Option<usize> {
        usize::try_from(name.checked_sub(self.first)?).ok()
    }

    fn find(&mut self, name: u64) -> Option<&mut Pending> {
        let place = self.place(name)?;
        self.pending.get_mut(place)
    }

    fn drop_complete(&mut self) {
        // One that awaits its acknowledgement alone is kept, so that this can be counted.
        let acked_by_frame = matches!(self.acks, Acks::Frames { .. });
        while let Some(front) = self.pending.front() {
            if front.lacking > 0 || (acked_by_frame && front.awaits_ack) {
                return;
            }
            self.pending.pop_front();
            self.first += 1;
        }
    }

    /// A message that was left out came. Rare, so it may cost: whether a later one of the same sender
    /// was there before.
    fn judge_late(&mut self, member: usize, place: usize) {
        self.verdict.differently_ordered += 1;
        let sender = self.pending[place].sender;
        let follower = &self.followers[member];
        let later = self.pending.iter().skip(place + 1);
        let overtaken = later
            .filter(|pending| pending.sender == sender)
            .any(|pending| pending.rank.is_some_and(|rank| follower.has(rank)));
        self.verdict.reordered += u64::from(overtaken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three members; messages 1 to 4, sent by members 0, 1, 0, 1.
    fn room() -> Room {
        let mut room = Room::new(3, Acks::OwnCopy);
        for sender in [0, 1, 0, 1] {
            room.send(sender, Instant::now());
        }
        room
    }

    /// The verdict when each member sees these.
    fn judge(streams: [&[u64]; 3]) -> Verdict {
        let mut room = room();
        for (member, names) in streams.iter().enumerate() {
            for name in *names {
                room.deliver(member, *name);
            }
        }
        room.verdict()
    }

    #[test]
    fn one_order_at_everybody_is_right_even_if_senders_overtake_each_other() {
        let right = Verdict::default();
        assert_eq!(judge([&[1, 2, 3, 4]; 3]), right);
        assert_eq!(judge([&[2, 1, 4, 3]; 3]), right);
    }

    #[test]
    fn it_does_not_matter_who_is_ahead() {
        let mut room = room();
        for (member, name) in [
            (2, 1),
            (2, 2),
            (0, 1),
            (1, 1),
            (0, 2),
            (0, 3),
            (1, 2),
            (1, 3),
        ] {
            room.deliver(member, name);
        }
        for (member, name) in [(2, 3), (1, 4), (2, 4), (0, 4)] {
            room.deliver(member, name);
        }
        assert!(room.verdict().is_right());
        assert_eq!(room.under_way(), 0);
    }

    #[test]
    fn what_a_member_does_not_get_is_missing() {
        let missing = |missing| Verdict {
            missing,
            ..Verdict::default()
        };
        assert_eq!(
            judge([&[1, 2, 3, 4], &[1, 3, 4], &[1, 2, 3, 4]]),
            missing(1)
        );
        assert_eq!(
            judge([&[1, 2, 3, 4], &[1, 2, 3], &[1, 2, 3, 4]]),
            missing(1)
        );
        assert_eq!(judge([&[1, 2, 3], &[1, 2, 3], &[1, 2, 3]]), missing(3));
        assert_eq!(judge([&[1, 2, 3, 4], &[], &[1, 2]]), missing(6));
    }

    #[test]
    fn what_a_member_gets_twice_is_a_duplicate() {
        let twice = |streams| {
            let verdict = judge(streams);
            assert_eq!(verdict.duplicate, 1, "{verdict:?}");
            assert_eq!(verdict.missing + verdict.reordered, 0);
        };
        twice([&[1, 2, 3, 4], &[1, 2, 2, 3, 4], &[1, 2, 3, 4]]);
        twice([&[1, 2, 3, 4], &[1, 2, 3, 1, 4], &[1, 2, 3, 4]]);
        // By then everybody has it.
        twice([&[1, 2, 3, 4], &[1, 2, 3, 4], &[1, 2, 3, 4, 1]]);
    }

    #[test]
    fn another_order_at_one_member_is_found() {
        let verdict = judge([&[1, 2, 3, 4], &[2, 1, 3, 4], &[1, 2, 3, 4]]);
        let expected = Verdict {
            differently_ordered: 1,
            ..Verdict::default()
        };
        assert_eq!(verdict, expected);
    }

    #[test]
    fn a_senders_messages_out_of_order_are_found_at_one_member_and_at_all() {
        let verdict = judge([&[1, 2, 3, 4], &[3, 2, 1, 4], &[1, 2, 3, 4]]);
        assert_eq!((verdict.reordered, verdict.differently_ordered), (1, 2));
        let verdict = judge([&[3, 2, 1, 4]; 3]);
        assert_eq!((verdict.reordered, verdict.differently_ordered), (1, 0));
    }

    #[test]
    fn nothing_is_expected_of_who_is_gone() {
        let mut room = room();
        for member in [0, 1] {
            for name in 1..=4 {
                room.deliver(member, name);
            }
        }
        room.deliver(2, 1);
        assert_eq!(room.under_way(), 3);
        room.leave(2);
        assert_eq!(room.under_way(), 0);
        assert!(room.verdict().is_right());
    }

    #[test]
    fn what_its_gone_sender_may_not_have_said_is_not_missing_until_somebody_has_it() {
        let mut room = Room::new(3, Acks::OwnCopy);
        room.send(0, Instant::now());
        room.leave(0);
        assert!(room.verdict().is_right());
        room.deliver(1, 1);
        assert_eq!(room.verdict().missing, 1);
    }

    #[test]
    fn a_refused_message_is_not_waited_for() {
        let mut room = room();
        assert!(room.refuse(1, false));
        assert!(room.refuse(2, true));
        assert_eq!(room.under_way(), 3);
        for member in 0..3 {
            room.deliver(member, 3);
            room.deliver(member, 4);
        }
        assert!(room.verdict().is_right());
    }

    #[test]
    fn what_comes_although_it_was_refused_is_wrong() {
        let mut room = room();
        room.refuse(2, false);
        room.deliver(0, 2);
        assert_eq!(room.verdict().duplicate, 1);
        assert_eq!(room.under_way(), 3);
    }

    #[test]
    fn the_senders_own_copy_is_the_acknowledgement() {
        let mut room = room();
        assert_eq!(room.deliver(1, 1).acked, None);
        assert!(room.deliver(0, 1).acked.is_some());
        let last = room.deliver(2, 1);
        assert!(last.acked.is_none() && last.complete.is_some());
    }

    #[test]
    fn a_server_that_sends_no_copy_to_the_sender_is_judged_by_the_others() {
        let mut room = Room::new(2, Acks::FirstCopy);
        for sender in [0, 1, 0] {
            room.send(sender, Instant::now());
        }
        assert!(room.deliver(1, 1).complete.is_some());
        room.deliver(0, 2);
        room.deliver(1, 3);
        assert!(room.verdict().is_right());
        assert_eq!(room.under_way(), 0);
        assert_eq!(room.deliver(1, 3), Progressed::default());
        assert_eq!(room.verdict().duplicate, 1);
    }

    #[test]
    fn acknowledgements_by_frames_are_counted_once() {
        let mut room = Room::new(1, Acks::Frames { with_copy: true });
        room.send(0, Instant::now());
        assert!(room.deliver(0, 1).complete.is_some());
        assert!(room.ack(1).acked.is_some());
        assert!(room.ack(1).acked.is_none());
    }
}
