//! What the ports answered, ticket by ticket. Whoever asked may be gone by then; an appended event
//! counts all the same.

use std::sync::Arc;

use parlance_protocol::{
    Anchor, CloseCode, ErrorCode, LocalId, MessageId, Position, RequestId, ServerFrame, Status,
    TraceParent, UnixMicros, UserId,
};

use super::{
    Context, Effect, MemberKey, Reply, Request, Room, Ticket,
    acting::{Offer, Subject, count},
    frames, index,
    member::{Feed, Member},
};
use crate::{
    entry::{Entry, Event},
    identity::Identity,
    ports::{Appended, Cursor, Denied, Found, Page, Replay, Unavailable},
};

/// Why a connection that cannot be served is closed.
pub(super) const HISTORY_DOWN: &str = "history cannot be read now";

/// The member that asked. Keys are reused, connections are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asker {
    key: MemberKey,
    connection_id: u64,
}

impl Asker {
    pub(super) fn of(key: MemberKey, member: &Member) -> Self {
        Self {
            key,
            connection_id: member.connection_id,
        }
    }
}

/// An edit (with content) or a delete (without).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) message_id: MessageId,
    pub(super) content: Option<Box<str>>,
    pub(super) local_id: Option<LocalId>,
    pub(super) trace: Option<TraceParent>,
}

/// What an answer is for.
#[derive(Debug)]
pub(super) enum Pending {
    /// An event was offered. `deletes`: the message that will be gone.
    Append {
        asker: Asker,
        subject: Subject,
        deletes: Option<MessageId>,
    },
    /// A repeated `local_id`: what stands at its position.
    Repeat {
        asker: Asker,
        subject: Subject,
        at: Position,
    },
    /// The message that is to be changed.
    Target { asker: Asker, change: Box<Change> },
    /// The event that deleted a message that is to be deleted again.
    Deleted { asker: Asker, at: Position },
    /// A page for `fetch_messages`.
    Page {
        asker: Asker,
        anchor: Anchor,
        limit: u8,
        request_id: Option<RequestId>,
    },
    /// The first page of a resume.
    Resume(Asker),
    /// The newest messages, since too much was missed.
    Newest {
        asker: Asker,
        since: Position,
        head: Position,
    },
    /// The next page for a member behind the ring.
    Replay(Asker),
    /// The member's own cursor.
    Cursor(Asker),
    /// The claims of a new token.
    Verify(Asker),
    /// What the room itself missed.
    Splice,
    /// The end of the log, and its epoch.
    Head,
    /// The message of a lost edit or delete.
    RestoreTarget,
    /// A lost event was offered again.
    Restore,
    /// Which messages a status speaks of.
    Authored {
        author: UserId,
        status: Status,
        at: UnixMicros,
    },
}

impl Pending {
    /// What it takes to read it, for what a member asked for and may be read again as it is.
    pub(super) fn request(&self) -> Option<Request> {
        match self {
            Self::Repeat { at, .. } | Self::Deleted { at, .. } => Some(Request::At(*at)),
            Self::Target { change, .. } => {
                let at = Position::of(change.message_id);
                Some(Request::At(at))
            }
            Self::Page { anchor, limit, .. } => Some(Request::Page {
                anchor: *anchor,
                limit: *limit,
            }),
            Self::Append { .. }
            | Self::Resume(_)
            | Self::Newest { .. }
            | Self::Replay(_)
            | Self::Cursor(_)
            | Self::Verify(_)
            | Self::Splice
            | Self::Head
            | Self::RestoreTarget
            | Self::Restore
            | Self::Authored { .. } => None,
        }
    }

    /// The member whose place in history it is for.
    pub(super) fn reader(&self) -> Option<Asker> {
        match self {
            Self::Resume(asker) | Self::Newest { asker, .. } | Self::Replay(asker) => Some(*asker),
            Self::Append { .. }
            | Self::Repeat { .. }
            | Self::Target { .. }
            | Self::Deleted { .. }
            | Self::Page { .. }
            | Self::Cursor(_)
            | Self::Verify(_)
            | Self::Splice
            | Self::Head
            | Self::RestoreTarget
            | Self::Restore
            | Self::Authored { .. } => None,
        }
    }
}

impl Room {
    /// Asks for a reading that can be asked for again.
    pub(super) fn ask_for(&mut self, pending: Pending, cx: &mut Context<'_>) {
        if let Some(request) = pending.request() {
            self.ask(request, pending, cx);
        }
    }

    /// The answer to [`super::Effect::Request`]. Answers for members that are gone are fine.
    ///
    /// # Panics
    /// When the answer is of another kind than the request.
    pub fn on_reply(&mut self, ticket: Ticket, reply: Reply, cx: &mut Context<'_>) {
        let Some((epoch, pending)) = self.pending.remove(&ticket) else {
            return;
        };
        if self.is_outdated(epoch, &pending, &reply) {
            self.defer(pending, cx);
            return self.note_empty(cx);
        }
        match (pending, reply) {
            (Pending::Append { asker, subject, .. }, Reply::Append(result)) => {
                self.on_appended(asker, subject, result, cx);
            }
            (Pending::Repeat { asker, subject, .. }, Reply::At(found)) => {
                self.on_repeat(asker, subject, found, cx);
            }
            (Pending::Target { asker, change }, Reply::At(found)) => {
                self.on_target(asker, *change, found, cx);
            }
            (Pending::Deleted { asker, .. }, Reply::At(found)) => self.on_deleted(asker, found, cx),
            (
                Pending::Page {
                    asker,
                    anchor,
                    request_id,
                    ..
                },
                Reply::Page(page),
            ) => {
                let around = matches!(anchor, Anchor::Around(_));
                self.on_page(asker, around, request_id, page, cx);
            }
            (Pending::Resume(asker), Reply::Replay(page)) => self.on_resume(asker, page, cx),
            (Pending::Newest { asker, since, head }, Reply::Page(page)) => {
                let Some(key) = self.present(asker) else {
                    return self.note_empty(cx);
                };
                match page {
                    Ok(page) => self.on_newest(key, (since, head), &page, cx),
                    Err(_) => self.close(key, CloseCode::DependencyDown, HISTORY_DOWN, cx),
                }
            }
            (Pending::Replay(asker), Reply::Replay(page)) => self.on_replay(asker, page, cx),
            (Pending::Cursor(asker), Reply::Cursor(cursor)) => {
                self.on_own_cursor(asker, cursor, cx)
            }
            (Pending::Verify(asker), Reply::Verify(verdict)) => self.on_verdict(asker, verdict, cx),
            (Pending::Splice, Reply::Replay(page)) => self.on_splice(page, cx),
            (Pending::Head, Reply::Head(head)) => self.on_head(head, cx),
            (Pending::RestoreTarget, Reply::At(found)) => self.on_restore_target(epoch, found, cx),
            (Pending::Restore, Reply::Append(result)) => self.on_restored(epoch, result, cx),
            (Pending::Authored { author, status, at }, Reply::Authored(ids)) => {
                // Without the list the author's next message or history tells the status.
                self.show_moved(&author, status, &ids.unwrap_or_default(), at, cx);
            }
            (pending, reply) => panic!("{reply:?} does not answer {pending:?}"),
        }
        self.note_empty(cx);
    }

    pub(super) fn present(&self, asker: Asker) -> Option<MemberKey> {
        let member = self.members.get(index(asker.key))?;
        (member.connection_id == asker.connection_id).then_some(asker.key)
    }

    fn on_appended(
        &mut self,
        asker: Asker,
        subject: Subject,
        result: Result<Appended, Unavailable>,
        cx: &mut Context<'_>,
    ) {
        match result {
            Ok(Appended::New(entry)) => self.on_new(asker, subject, &entry, cx),
            result => self.on_not_new(asker, subject, result, cx),
        }
    }

    fn on_new(&mut self, asker: Asker, subject: Subject, entry: &Arc<Entry>, cx: &mut Context<'_>) {
        self.admit(entry, cx);
        self.answer_in_turn(asker, subject, entry.position, cx);
    }

    /// The event at `position` is the answer, which the asker is told in its turn like everybody. If
    /// that does not come before the log has lost it, it never was.
    pub(super) fn answer_in_turn(
        &mut self,
        asker: Asker,
        subject: Subject,
        position: Position,
        cx: &mut Context<'_>,
    ) {
        if self.head < position {
            self.read_up_to(position, cx);
            return self.park(asker, subject, position);
        }
        if self.lineage.is_visible(position) {
            return count(subject.kind, None, cx);
        }
        if let Some(key) = self.present(asker) {
            self.refuse_unavailable(key, &subject, cx);
        }
    }

    fn on_not_new(
        &mut self,
        asker: Asker,
        subject: Subject,
        result: Result<Appended, Unavailable>,
        cx: &mut Context<'_>,
    ) {
        let Some(key) = self.present(asker) else {
            return;
        };
        match result {
            Ok(Appended::New(_)) => {}
            Ok(Appended::Duplicate(at)) => {
                self.note_epoch(at.id.epoch());
                self.read_on(cx);
                // If the room is unsure now, what stands there is read again when it is not.
                let repeat = Pending::Repeat { asker, subject, at };
                self.ask_for(repeat, cx);
            }
            Ok(Appended::Conflict) => {
                let error = "this local_id stands for something else already";
                self.refuse(key, &subject, ErrorCode::LocalIdConflict, error, cx);
            }
            Ok(Appended::TooMany) => {
                let error = "too many local ids of this sender in this conversation";
                self.refuse(key, &subject, ErrorCode::RateLimited, error, cx);
            }
            Err(_) => self.refuse_unavailable(key, &subject, cx),
        }
    }

    fn refuse_unavailable(&mut self, key: MemberKey, subject: &Subject, cx: &mut Context<'_>) {
        let error = "the outcome is unknown: send it again with the same local_id";
        self.refuse(key, subject, ErrorCode::Unavailable, error, cx);
    }

    fn on_repeat(
        &mut self,
        asker: Asker,
        subject: Subject,
        found: Result<Option<Found>, Unavailable>,
        cx: &mut Context<'_>,
    ) {
        let Some(key) = self.present(asker) else {
            return;
        };
        let Ok(Some(found)) = found else {
            return self.refuse_unavailable(key, &subject, cx);
        };
        let durable = self.durable;
        let owed = self
            .members
            .get_mut(index(key))
            .filter(|member| durable && member.extended);
        if let Some(member) = owed {
            member.owed_stored = member.owed_stored.max(Some(found.entry.position.id));
        }
        self.answer_with(key, subject, found, cx);
    }

    /// Answers with an event that stands in the log already, to this member alone. One that the
    /// member has yet to be told in its turn is no answer of its own: it would name a place that
    /// the member has not come to, and a client that goes on from there misses what lies between.
    fn answer_with(
        &mut self,
        key: MemberKey,
        subject: Subject,
        found: Found,
        cx: &mut Context<'_>,
    ) {
        let Some(member) = self.members.get(index(key)) else {
            return;
        };
        let Found { entry, row } = found;
        if entry.position > member.last {
            let asker = Asker::of(key, member);
            return self.answer_in_turn(asker, subject, entry.position, cx);
        }
        count(subject.kind, None, cx);
        let status = self.receipts.status(&entry.sender, entry.position.id);
        let text = frames::of_entry(&entry, Some(&row), status);
        self.tell_text(key, text, cx);
    }

    fn on_target(
        &mut self,
        asker: Asker,
        change: Change,
        found: Result<Option<Found>, Unavailable>,
        cx: &mut Context<'_>,
    ) {
        let Some(key) = self.present(asker) else {
            return;
        };
        match found {
            Err(_) => self.refuse_unavailable(key, &change.subject(), cx),
            Ok(found) => self.judge_change(key, change, found, cx),
        }
        self.release(key, cx);
    }

    fn judge_change(
        &mut self,
        key: MemberKey,
        change: Change,
        found: Option<Found>,
        cx: &mut Context<'_>,
    ) {
        let Some(member) = self.members.get(index(key)) else {
            return;
        };
        let subject = change.subject();
        let Some(row) = found.map(|found| found.row) else {
            let error = format!("unknown message id {}", change.message_id);
            return self.refuse(key, &subject, ErrorCode::UnknownMessage, error, cx);
        };
        let own = row.sender == member.user;
        let may = own || (change.content.is_none() && member.moderator);
        if !may {
            let error = format!("message {} was written by somebody else", change.message_id);
            return self.refuse(key, &subject, ErrorCode::NotAuthor, error, cx);
        }
        let gone = row.deleted_by.is_some() || self.going(change.message_id);
        match change.content {
            Some(_) if gone => {
                let error = format!("message {} is deleted", change.message_id);
                self.refuse(key, &subject, ErrorCode::UnknownMessage, error, cx);
            }
            None if row.deleted_by.is_some() => {
                let asker = Asker::of(key, member);
                let at = row.changed;
                self.ask_for(Pending::Deleted { asker, at }, cx);
            }
            content => {
                let message_id = change.message_id;
                let event = match content {
                    Some(content) => Event::Edit {
                        message_id,
                        content,
                    },
                    None => Event::Delete { message_id },
                };
                let offer = Offer {
                    event,
                    local_id: change.local_id,
                    retry: false,
                    trace: change.trace,
                };
                self.append(key, offer, cx);
            }
        }
    }

    /// Whether a message was deleted a moment ago, or is about to be.
    fn going(&self, id: MessageId) -> bool {
        let offered = self.pending.values().any(|(_, pending)| match pending {
            Pending::Append { deletes, .. } => *deletes == Some(id),
            Pending::Repeat { .. }
            | Pending::Target { .. }
            | Pending::Deleted { .. }
            | Pending::Page { .. }
            | Pending::Resume(_)
            | Pending::Newest { .. }
            | Pending::Replay(_)
            | Pending::Cursor(_)
            | Pending::Verify(_)
            | Pending::Splice
            | Pending::Head
            | Pending::RestoreTarget
            | Pending::Restore
            | Pending::Authored { .. } => false,
        });
        offered || self.ring.deleted(id)
    }

    /// A second delete is answered to the asker alone.
    fn on_deleted(
        &mut self,
        asker: Asker,
        found: Result<Option<Found>, Unavailable>,
        cx: &mut Context<'_>,
    ) {
        let Some(key) = self.present(asker) else {
            return;
        };
        let subject = Subject::of(super::ActionKind::DeleteMessage, None);
        let Ok(Some(found)) = found else {
            return self.refuse_unavailable(key, &subject, cx);
        };
        self.answer_with(key, subject, found, cx);
    }

    fn on_page(
        &mut self,
        asker: Asker,
        around: bool,
        request_id: Option<RequestId>,
        page: Result<Page, Unavailable>,
        cx: &mut Context<'_>,
    ) {
        let Some(key) = self.present(asker) else {
            return;
        };
        let Ok(page) = page else {
            let subject = Subject::of(super::ActionKind::FetchMessages, None);
            let error = "history cannot be read now";
            return self.refuse(key, &subject, ErrorCode::Unavailable, error, cx);
        };
        count(super::ActionKind::FetchMessages, None, cx);
        let Some(member) = self.members.get(index(key)) else {
            return;
        };
        let messages = page.rows.iter().map(|row| {
            frames::history_row(row, &member.user, self.receipts.status(&row.sender, row.id))
        });
        let frame = ServerFrame::MessagesFetched {
            conversation_id: self.conversation.as_str().into(),
            messages: messages.collect(),
            has_more: page.has_more,
            has_more_after: around.then_some(page.has_more_after),
            request_id,
        };
        let text = frame.encode();
        self.tell_text(key, text, cx);
    }

    fn on_resume(&mut self, asker: Asker, page: Result<Replay, Unavailable>, cx: &mut Context<'_>) {
        let Some(key) = self.present(asker) else {
            return;
        };
        let Some(since) = self.members.get(index(key)).map(|member| member.last) else {
            return;
        };
        match page {
            Ok(page) => self.on_resume_page(key, since, &page, cx),
            Err(_) => self.close(key, CloseCode::DependencyDown, HISTORY_DOWN, cx),
        }
    }

    fn on_replay(&mut self, asker: Asker, page: Result<Replay, Unavailable>, cx: &mut Context<'_>) {
        let Some(key) = self.present(asker) else {
            return;
        };
        let Some(last) = self.members.get(index(key)).map(|member| member.last) else {
            return;
        };
        // A page that brings nothing although the head is further on would be asked for for ever.
        let is_further = |page: &Replay| page.head.is_mark() && page.head > last;
        match page {
            Ok(page) if !page.events.is_empty() || is_further(&page) => {
                self.on_history(key, &page, cx);
            }
            Ok(_) | Err(_) => self.close(key, CloseCode::DependencyDown, HISTORY_DOWN, cx),
        }
    }

    fn on_own_cursor(
        &mut self,
        asker: Asker,
        cursor: Result<Cursor, Unavailable>,
        cx: &mut Context<'_>,
    ) {
        let Some(key) = self.present(asker) else {
            return;
        };
        let Some(member) = self.members.get_mut(index(key)) else {
            return;
        };
        let Ok(cursor) = cursor else {
            return self.close(key, CloseCode::DependencyDown, HISTORY_DOWN, cx);
        };
        if let Feed::Joining(joining) = &mut member.feed {
            joining.asked = false;
        }
        let user = member.user.clone();
        // As if the bus had said it, which it may be about to do: then it is no news any more.
        self.on_cursor(&user, cursor, cx.now.wall, &[], cx);
        cx.effects.push(Effect::Deadline);
        self.greet(key, cx);
    }

    fn on_verdict(
        &mut self,
        asker: Asker,
        verdict: Result<Identity, Denied>,
        cx: &mut Context<'_>,
    ) {
        let Some(key) = self.present(asker) else {
            return;
        };
        let Some(member) = self.members.get_mut(index(key)) else {
            return;
        };
        let Some(identity) = verdict.ok().filter(|identity| identity.user == member.user) else {
            count(super::ActionKind::Auth, Some(ErrorCode::AccessDenied), cx);
            return self.close(
                key,
                CloseCode::Unauthorized,
                "the new token was refused",
                cx,
            );
        };
        if !identity.may_join(&self.conversation) {
            count(super::ActionKind::Auth, Some(ErrorCode::AccessDenied), cx);
            return self.revoke(key, cx);
        }
        count(super::ActionKind::Auth, None, cx);
        member.session.renewed(identity.expires_at);
        member.moderator = identity.moderator;
        member.username = identity.username.into();
        self.tell(
            key,
            &ServerFrame::AuthOk {
                expires_at: identity.expires_at,
            },
            cx,
        );
        cx.effects.push(Effect::MemberDeadline(key));
    }

    fn revoke(&mut self, key: MemberKey, cx: &mut Context<'_>) {
        let Some(member) = self.members.get(index(key)) else {
            return;
        };
        if member.extended {
            let reason = "the new token does not open this conversation".into();
            self.tell(key, &ServerFrame::AccessRevoked { reason }, cx);
        }
        self.close(key, CloseCode::AccessDenied, "access denied", cx);
    }
}
