//! A log that may have lost its tail: how a room goes over into a higher epoch.
//!
//! An epoch rises when the log may have lost something. Nothing says what: the room asks for one
//! reading of the end ([`Request::Head`]) and compares its own lineage with the one that it gets.
//! Up to the fork both are the same; what the room has above it is lost, and what the log has above
//! it is read and told like anything that was missed. From the first sign of a higher epoch until
//! that is done the room is *unsure*: it takes nothing live, greets nobody and acknowledges
//! nothing, so that whoever is told anything of an epoch has been told of the epoch before.
//!
//! Not in here: offering again what was lost (`restore`), and filling holes (`live`).

use parlance_protocol::{Position, ServerFrame};

use super::{
    Context, Effect, MemberKey, Reply, Request, Room, State,
    acting::Subject,
    answers::{Asker, Pending},
    index,
    live::SPLICE_RETRY_MS,
    member::Feed,
};
use crate::{
    clock::Mono,
    ports::{Cursor, Head, Unavailable},
    receipts::Advance,
};

/// What is known of the epoch, and what waits for it to be known.
#[derive(Debug, Default)]
pub(super) struct Turnover {
    /// The highest epoch that anything has shown.
    seen: u32,
    /// The end of the log is to be read, since the epoch may have changed.
    wanted: bool,
    /// It is being read.
    asked: bool,
    /// The epoch was entered, but what stands behind the fork was not read to its end.
    entering: bool,
    /// Answers that the room does not have yet. They are given when it has, unless they are lost by
    /// then.
    ahead: Vec<(Asker, Subject, Position)>,
    /// Readings that were made under another epoch. As many as members asked for.
    again: Vec<(Request, Pending)>,
    /// When those are asked for again, if the room is not unsure any more by then anyway.
    again_at: Option<Mono>,
}

impl Turnover {
    /// Whether the end of the log is to be read, or is being read.
    pub(super) fn is_reading(&self) -> bool {
        self.wanted || self.asked
    }

    /// Whether members wait for something in here.
    pub(super) fn has_waiting(&self) -> bool {
        !self.ahead.is_empty() || !self.again.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.again_at
    }
}

impl Room {
    /// Whether the log is in another epoch than the room, or what that changed is not read yet.
    pub(super) fn is_unsure(&self) -> bool {
        !self.epoch_is_seen() || self.turnover.entering
    }

    /// Whether the room is in the highest epoch that anything has shown.
    pub(super) fn epoch_is_seen(&self) -> bool {
        self.turnover.seen <= self.epoch
    }

    /// The epoch may have changed, or something was missed.
    pub(super) fn doubt(&mut self, cx: &mut Context<'_>) {
        self.turnover.wanted = true;
        self.read_on(cx);
    }

    /// Something was made under this epoch.
    pub(super) fn note_epoch(&mut self, epoch: u32) {
        self.turnover.seen = self.turnover.seen.max(epoch);
    }

    /// Asks for the end of the log, if that is due. Whether it is under way.
    pub(super) fn read_head(&mut self, cx: &mut Context<'_>) -> bool {
        let due = self.turnover.wanted || !self.epoch_is_seen();
        if due && !self.turnover.asked {
            self.turnover.wanted = false;
            self.turnover.asked = true;
            self.ask(Request::Head, Pending::Head, cx);
        }
        self.turnover.asked
    }

    pub(super) fn on_head(&mut self, head: Result<Head, Unavailable>, cx: &mut Context<'_>) {
        self.turnover.asked = false;
        match head {
            Ok(head) if head.epoch > self.epoch => self.enter_epoch(head, cx),
            Ok(head) if head.epoch == self.epoch => {
                self.want(head.lineage.head());
                self.on_stored(head.epoch, head.stored, cx);
            }
            Ok(_) => self.turnover.wanted = true,
            Err(_) => {
                self.turnover.wanted = true;
                self.refuse_joining(cx);
            }
        }
        if self.turnover.wanted || !self.epoch_is_seen() {
            self.read_later(cx);
        }
        self.read_on(cx);
        self.settle(cx);
    }

    /// Goes back to the fork, and from there on into the new epoch.
    fn enter_epoch(&mut self, head: Head, cx: &mut Context<'_>) {
        let fork = self.lineage.fork(&head.lineage);
        self.note_epoch(head.epoch);
        self.epoch = head.epoch;
        self.lineage = head.lineage;
        self.stored = head.stored;
        self.durable = head.durable;
        self.stored_at_ack = head.stored_at_ack;
        self.head = self.head.min(fork);
        let lost = self.ring.lose_above(fork);
        self.note_lost(lost);
        self.turnover.entering = true;
        self.splice.wanted = self.lineage.head();
        self.splice.doubt = true;
        let members: Vec<MemberKey> = self.members().collect();
        for member in members {
            self.go_back(member, fork, cx);
        }
        self.advance_again(cx);
    }

    /// A member goes on from the fork, if it was told more; an extended one is told why.
    fn go_back(&mut self, key: MemberKey, fork: Position, cx: &mut Context<'_>) {
        let (epoch, stored_id) = (self.epoch, self.stored_id());
        let Some(member) = self.members.get_mut(index(key)) else {
            return;
        };
        if member.is_joining() {
            return;
        }
        member.last = member.last.min(fork);
        member.proof.take_if(|proof| proof.up_to > fork.id);
        if member.extended {
            let lost_after = member.last;
            let frame = ServerFrame::Resync {
                epoch,
                lost_after,
                stored_id,
            };
            self.tell(key, &frame, cx);
        }
    }

    /// The port may have lost the cursors of those who are here; an advance to where it is already
    /// is heard by nobody.
    fn advance_again(&mut self, cx: &mut Context<'_>) {
        for (user, cursor) in self.receipts.watched() {
            if cursor != Cursor::default() {
                let advance = Advance::new(user, cursor, &[]);
                super::live::hand_over(advance, cx);
            }
        }
    }

    /// A reading behind the fork came to its end.
    pub(super) fn entered(&mut self, end: Position) {
        self.turnover.entering = false;
        if end.is_mark() && end > self.head {
            self.head = end;
            self.lineage.advance(end);
        }
    }

    /// Keeps in mind what `position` answers until the room is that far.
    pub(super) fn park(&mut self, asker: Asker, subject: Subject, position: Position) {
        self.turnover.ahead.push((asker, subject, position));
    }

    /// Whether a reading for a member was made under another epoch than the present one. Positions
    /// that it holds may be lost by now, or stand behind what the member knows.
    pub(super) fn is_outdated(
        &mut self,
        asked_under: u32,
        pending: &Pending,
        reply: &Reply,
    ) -> bool {
        let read_under = match (pending, reply) {
            (Pending::Page { .. } | Pending::Newest { .. }, Reply::Page(Ok(page))) => page.epoch,
            (Pending::Resume(_) | Pending::Replay(_), Reply::Replay(Ok(page))) => page.epoch,
            (
                Pending::Repeat { .. } | Pending::Target { .. } | Pending::Deleted { .. },
                Reply::At(Ok(found)),
            ) => found.as_ref().map_or(asked_under, |found| {
                let shown = found.entry.position.max(found.row.changed);
                asked_under.max(shown.id.epoch())
            }),
            _ => return false,
        };
        self.note_epoch(read_under);
        self.is_unsure() || read_under != self.epoch || asked_under != self.epoch
    }

    /// Throws an outdated reading away and lets it be made again when the room is sure.
    pub(super) fn defer(&mut self, pending: Pending, cx: &mut Context<'_>) {
        if let Some(request) = pending.request() {
            self.turnover.again.push((request, pending));
        } else if let Some(asker) = pending.reader()
            && let Some(key) = self.present(asker)
            && let Some(member) = self.members.get_mut(index(key))
        {
            match &mut member.feed {
                Feed::Joining(joining) => joining.asked = false,
                Feed::Reading { waiting } => *waiting = false,
                Feed::Ring { .. } => {}
            }
        }
        if !self.is_unsure() {
            let at = cx.now.mono.plus_ms(SPLICE_RETRY_MS);
            self.turnover.again_at.get_or_insert(at);
            cx.effects.push(Effect::Deadline);
        }
        self.read_on(cx);
    }

    pub(super) fn turnover_deadline(&mut self, cx: &mut Context<'_>) {
        let due = self.turnover.again_at.take_if(|at| *at <= cx.now.mono);
        if due.is_some() {
            self.settle(cx);
        }
    }

    /// If the room is sure: does what waited for that.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>) {
        if self.is_unsure() || self.state != State::Open {
            return;
        }
        for (asker, subject, position) in std::mem::take(&mut self.turnover.ahead) {
            self.answer_in_turn(asker, subject, position, cx);
        }
        if self.is_unsure() {
            return;
        }
        for (request, pending) in std::mem::take(&mut self.turnover.again) {
            self.ask(request, pending, cx);
        }
        self.restore_landed(cx);
        self.restore_on(cx);
        self.greet_all(cx);
        cx.effects.push(Effect::WriteAll);
    }
}
