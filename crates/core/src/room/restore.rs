//! What the log acknowledged and then lost, offered to it again by a room that still has it.
//!
//! One event at a time, the oldest first, since edits follow their messages. Every node that has
//! the event offers it, and an extended sender does so too: the log knows them for the same by the
//! sender's name for it, or by the place that it had first. A message gets a new id, so an edit or
//! delete of it is offered for that one. What the log does not take in time is given up, and its
//! author is told, unless the client knows of epochs and sends again by itself.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use parlance_protocol::{MessageId, Position, ServerFrame, Status};

use super::{
    Context, Effect, Request, Room, State,
    answers::Pending,
    ring::{Layer, Users},
};
use crate::{
    clock::Mono,
    entry::{Draft, Entry, Event, Row},
    lineage::Lineage,
    ports::{Appended, Found, Unavailable},
};

/// How long after a failed attempt an event is offered again.
const RETRY_MS: u64 = 500;
/// How long one event is tried.
const TRIED_MS: u64 = 10_000;

/// An event that the log has, or had, and the store is not known to have.
#[derive(Debug, Clone)]
pub(super) struct Unstored {
    pub(super) entry: Arc<Entry>,
    /// Its first place. Another one than the entry's if it was restored before.
    pub(super) origin: Position,
}

/// The lost events of a room. Bounded by its ring, as often as that is lost while they wait. A room
/// holds one only while it has any: hardly a room ever does.
#[derive(Debug, Default)]
pub(super) struct Restoring {
    /// The oldest first.
    waiting: VecDeque<Unstored>,
    /// Looked at or offered now.
    current: Option<Unstored>,
    /// The current one stands in the log here, and the room is not that far. Until it is, the event
    /// is not in the ring, and would be forgotten if the epoch changed.
    landed: Option<Position>,
    /// When the current one is given up.
    give_up_at: Option<Mono>,
    /// The last attempt failed: not before this instant.
    retry_at: Option<Mono>,
    /// The new ids of lost messages.
    renamed: BTreeMap<MessageId, MessageId>,
    /// Where restored events stand, and their first places.
    origins: BTreeMap<Position, Position>,
}

impl Restoring {
    /// Takes what a change of the epoch lost. It goes before what waits already: it stood in the log
    /// when that did not.
    fn lost(&mut self, lost: Vec<Unstored>) {
        // Whatever becomes of the present offer: the log may have lost that again.
        for again in lost.into_iter().chain(self.current.take()).rev() {
            self.waiting.push_front(again);
        }
        self.landed = None;
        self.give_up_at = None;
        self.retry_at = None;
    }

    pub(super) fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.current.is_none()
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.retry_at
    }

    /// The present id of a message; `None` if it is lost for good.
    fn id_by_now(&self, mut id: MessageId, lineage: &Lineage) -> Option<MessageId> {
        while !lineage.contains(id) {
            id = *self.renamed.get(&id)?;
        }
        Some(id)
    }

    /// What was lost at `from` stands at `to`. That may be a place where it was before and which has come
    /// back, so no name leads on from there: names never go round.
    fn rename(&mut self, from: MessageId, to: MessageId) {
        self.renamed.remove(&to);
        if from != to {
            self.renamed.insert(from, to);
        }
    }

    fn put_back(&mut self) {
        if let Some(lost) = self.current.take() {
            self.waiting.push_front(lost);
        }
    }
}

impl Room {
    /// Takes what a change of the epoch lost.
    pub(super) fn note_lost(&mut self, lost: Vec<Unstored>) {
        if self.restoring.is_some() || !lost.is_empty() {
            self.restoring.get_or_insert_default().lost(lost);
        }
    }

    /// Goes on with the oldest lost event, unless one is on its way.
    pub(super) fn restore_on(&mut self, cx: &mut Context<'_>) {
        if self.state != State::Open || self.is_unsure() {
            return;
        }
        let Some(restoring) = self.restoring.as_mut().filter(|it| it.current.is_none()) else {
            return;
        };
        restoring.give_up_at = None;
        while let Some(lost) = restoring.waiting.pop_front() {
            let target = lost.entry.event.target();
            if target.is_none_or(|id| restoring.id_by_now(id, &self.lineage).is_some()) {
                restoring.current = Some(lost);
                return self.attempt(cx);
            }
        }
        self.restoring = None;
    }

    pub(super) fn restore_deadline(&mut self, cx: &mut Context<'_>) {
        let retry_at = self.restoring.as_mut().map(|it| &mut it.retry_at);
        let due = retry_at.and_then(|at| at.take_if(|at| *at <= cx.now.mono));
        if due.is_none() {
            return;
        }
        if self.is_unsure() {
            return self.put_back();
        }
        self.attempt(cx);
    }

    /// Offers the current event; of an edit or delete, its message is looked at first.
    fn attempt(&mut self, cx: &mut Context<'_>) {
        let Some((restoring, lost)) = self.offering() else {
            return;
        };
        let Some(target) = lost.entry.event.target() else {
            let event = lost.entry.event.clone();
            return self.offer(event, cx);
        };
        match restoring.id_by_now(target, &self.lineage) {
            Some(id) => self.ask(Request::At(Position::of(id)), Pending::RestoreTarget, cx),
            None => self.next_lost(cx),
        }
    }

    /// The current event, and all else.
    fn offering(&self) -> Option<(&Restoring, &Unstored)> {
        let restoring = self.restoring.as_deref()?;
        Some((restoring, restoring.current.as_ref()?))
    }

    fn offer(&mut self, event: Event, cx: &mut Context<'_>) {
        let Some((_, Unstored { entry, origin })) = self.offering() else {
            return;
        };
        let draft = Draft {
            sender: entry.sender.clone(),
            local_id: entry.local_id.clone(),
            retry: true,
            event,
            at: entry.t,
            restores: Some(*origin),
            trace: None,
        };
        self.ask(Request::Append(draft), Pending::Restore, cx);
    }

    /// The message that the current edit or delete speaks of.
    pub(super) fn on_restore_target(
        &mut self,
        asked_under: u32,
        found: Result<Option<Found>, Unavailable>,
        cx: &mut Context<'_>,
    ) {
        let Some(lost) = self.offered(asked_under) else {
            return;
        };
        let row = match found {
            Ok(Some(found)) => found.row,
            Ok(None) => return self.next_lost(cx),
            Err(_) => return self.attempt_later(cx),
        };
        let event = match &lost.entry.event {
            Event::Edit { content, .. } => Event::Edit {
                message_id: row.id,
                content: content.clone(),
            },
            Event::Delete { .. } | Event::Message { .. } => Event::Delete { message_id: row.id },
        };
        if self.is_superseded(&lost, &row) {
            return self.next_lost(cx);
        }
        self.offer(event, cx);
    }

    /// Whether a message shows the edit or delete already, or something newer.
    fn is_superseded(&mut self, lost: &Unstored, row: &Row) -> bool {
        let Event::Edit { content, .. } = &lost.entry.event else {
            return row.deleted_by.is_some();
        };
        if row.deleted_by.is_some() {
            return true;
        }
        let Some(editor) = &row.edited_by else {
            return false;
        };
        let Some(restoring) = &mut self.restoring else {
            return false;
        };
        let origins = &mut restoring.origins;
        // Another node may have restored this very edit, and not yet the next one.
        if *editor == lost.entry.sender && row.content == *content {
            origins.entry(row.changed).or_insert(lost.origin);
            return true;
        }
        origins.get(&row.changed).unwrap_or(&row.changed) > &lost.origin
    }

    /// What became of the current event.
    pub(super) fn on_restored(
        &mut self,
        asked_under: u32,
        result: Result<Appended, Unavailable>,
        cx: &mut Context<'_>,
    ) {
        match &result {
            Ok(Appended::New(entry)) => self.admit(entry, cx),
            Ok(Appended::Duplicate(position)) => self.note_epoch(position.id.epoch()),
            Ok(Appended::Conflict | Appended::TooMany) | Err(_) => {}
        }
        if self.offered(asked_under).is_none() {
            return self.read_on(cx);
        }
        match result {
            Ok(Appended::New(entry)) => self.land(entry.position, cx),
            Ok(Appended::Duplicate(position)) => self.land(position, cx),
            Ok(Appended::Conflict | Appended::TooMany) => self.give_up(cx),
            Err(_) => self.attempt_later(cx),
        }
    }

    /// The current event, if an answer under this epoch is for it and can be trusted. If the epoch
    /// changed meanwhile, the event is offered again when that is known: the log knows it if it has
    /// it.
    fn offered(&mut self, asked_under: u32) -> Option<Unstored> {
        if asked_under != self.epoch {
            return None;
        }
        if self.is_unsure() {
            self.put_back();
        }
        self.offering().map(|(_, lost)| lost.clone())
    }

    fn put_back(&mut self) {
        if let Some(restoring) = &mut self.restoring {
            restoring.put_back();
        }
    }

    /// The current event stands in the log.
    fn land(&mut self, position: Position, cx: &mut Context<'_>) {
        if let Some(restoring) = &mut self.restoring {
            restoring.landed = Some(position);
        }
        self.want(position);
        self.read_on(cx);
        self.restore_landed(cx);
    }

    /// Goes on behind an event that landed, if the room has it.
    pub(super) fn restore_landed(&mut self, cx: &mut Context<'_>) {
        let landed = self.restoring.as_mut().map(|it| &mut it.landed);
        let here = landed.and_then(|landed| landed.take_if(|position| *position <= self.head));
        if let Some(position) = here {
            self.restored(position, cx);
        }
    }

    fn restored(&mut self, position: Position, cx: &mut Context<'_>) {
        if let Some(restoring) = &mut self.restoring
            && let Some(Unstored { entry, origin }) = &restoring.current
        {
            let (from, origin) = (entry.position.id, *origin);
            if position.k == 0 {
                restoring.rename(from, position.id);
            }
            restoring.origins.insert(position, origin);
            self.ring.note_origin(position, origin);
        }
        self.next_lost(cx);
    }

    fn attempt_later(&mut self, cx: &mut Context<'_>) {
        let Some(restoring) = &mut self.restoring else {
            return;
        };
        let now = cx.now.mono;
        let give_up_at = restoring
            .give_up_at
            .unwrap_or_else(|| now.plus_ms(TRIED_MS));
        if now >= give_up_at {
            return self.give_up(cx);
        }
        restoring.give_up_at = Some(give_up_at);
        restoring.retry_at = Some(now.plus_ms(RETRY_MS));
        cx.effects.push(Effect::Deadline);
    }

    /// The current event stays lost.
    fn give_up(&mut self, cx: &mut Context<'_>) {
        if let Some((_, Unstored { entry, .. })) = self.offering()
            && entry.event.target().is_none()
        {
            let frame = ServerFrame::MessageStatus {
                message_id: entry.position.id,
                status: Status::Failed,
                timestamp: cx.now.wall,
            };
            let author = Users::Only([entry.sender.clone()].into());
            self.pass(&frame, Layer::Base, author, cx);
        }
        self.next_lost(cx);
    }

    fn next_lost(&mut self, cx: &mut Context<'_>) {
        if let Some(restoring) = &mut self.restoring {
            restoring.current = None;
        }
        self.restore_on(cx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lineage::Span;

    #[test]
    fn a_message_that_came_back_to_an_old_place_and_is_lost_again_is_looked_for_in_vain() {
        let id = |epoch, n| MessageId::of_epoch(epoch, n).unwrap();
        let mut restoring = Restoring::default();
        restoring.rename(id(0, 5), id(1, 7));
        restoring.rename(id(1, 7), id(0, 5));
        restoring.rename(id(2, 1), id(2, 1));
        let nothing = Lineage::default();
        for lost in [id(0, 5), id(1, 7), id(2, 1)] {
            assert_eq!(restoring.id_by_now(lost, &nothing), None, "{lost}");
        }
        let last = Position::of(id(0, 5));
        let back = Lineage::new(vec![Span {
            epoch: 0,
            last,
            ordinal_before: 0,
        }]);
        assert_eq!(restoring.id_by_now(id(1, 7), &back), Some(id(0, 5)));
    }
}
