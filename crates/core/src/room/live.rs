//! Durable events in their order, and what passes.
//!
//! The one test of gaplessness is `prev`: an event whose `prev` is the room's head is next; one at
//! or below the head was seen; any other means that something is missing, and the log is read from
//! the head on. Nothing behind a hole is told before the hole is filled.

use std::sync::Arc;

use bytes::Bytes;
use parlance_protocol::{
    CloseCode, MessageId, Position, PresenceStatus, ServerFrame, Status, UnixMicros, UserId,
};

use super::{
    Context, Counted, Departure, Effect, MemberKey, Opened, Request, Room, State,
    answers::{HISTORY_DOWN, Pending},
    frames, index, key_of,
    member::Member,
    ring::{Audience, Item, Kind, Layer, Users},
};
use crate::{
    entry::{Entry, Event, Row},
    ports::{Cursor, Ephemeral, Heard, Replay, Replayed, Unavailable},
    presence::Show,
    receipts::{Advance, Moved, Span},
    typing::TypingChange,
};

/// How many events a reading that closes a hole asks for at once.
const SPLICE_EVENTS: usize = 256;
/// How long after a failed reading it is tried again.
pub(super) const SPLICE_RETRY_MS: u64 = 250;
/// The newest messages of an author that a status names one by one.
pub(super) const STATUS_FRAMES: usize = 50;

impl Room {
    /// The answer to [`Effect::Open`].
    pub fn on_opened(&mut self, opened: Result<Opened, Unavailable>, cx: &mut Context<'_>) {
        let Ok(opened) = opened else {
            self.state = State::Shut;
            let members: Vec<MemberKey> = self.members().collect();
            for member in members {
                self.close(member, CloseCode::DependencyDown, HISTORY_DOWN, cx);
            }
            return;
        };
        self.state = State::Open;
        self.epoch = opened.head.epoch;
        self.head = opened.head.lineage.head();
        self.lineage = opened.head.lineage;
        self.stored = opened.head.stored;
        self.durable = opened.head.durable;
        self.stored_at_ack = opened.head.stored_at_ack;
        self.presence.opened(opened.present);
        self.receipts.opened(opened.cursors);
        if self.presence.has_others() {
            cx.effects.push(Effect::Publish(Ephemeral::WhoTypes));
        }
        self.read_on(cx);
        self.greet_all(cx);
    }

    pub(super) fn greet_all(&mut self, cx: &mut Context<'_>) {
        let members: Vec<MemberKey> = self.members().collect();
        for member in members {
            self.greet(member, cx);
        }
    }

    /// A piece of the feed.
    pub fn on_heard(&mut self, heard: Heard, cx: &mut Context<'_>) {
        match heard {
            Heard::Entry(entry) => self.admit(&entry, cx),
            Heard::Stored { epoch, up_to } => self.on_stored(epoch, up_to, cx),
            Heard::Ephemeral(ephemeral) => self.on_ephemeral(ephemeral, cx),
            Heard::Doubt => {
                self.receipts.doubt();
                self.doubt(cx);
            }
        }
    }

    pub(super) fn on_stored(&mut self, epoch: u32, up_to: Position, cx: &mut Context<'_>) {
        if epoch > self.epoch {
            self.note_epoch(epoch);
            return self.read_on(cx);
        }
        if epoch == self.epoch && up_to > self.stored {
            self.stored = up_to;
            self.ring.stored(up_to);
            cx.effects.push(Effect::WriteAll);
        }
    }

    /// An event that stands in the log, from whatever way it came.
    pub(super) fn admit(&mut self, entry: &Arc<Entry>, cx: &mut Context<'_>) {
        let epoch = entry.position.id.epoch();
        self.note_epoch(epoch);
        let is_sure = self.state == State::Open && !self.is_unsure();
        if is_sure && entry.position <= self.head {
            return;
        }
        if is_sure && entry.prev == self.head {
            let original = (!self.stored_at_ack).then(|| entry.clone());
            return self.accept(entry, None, original, cx);
        }
        self.read_up_to(entry.position, cx);
    }

    /// Something stood here when it was read or appended. One of an epoch that is over was lost, or
    /// is read with what comes before it.
    pub(super) fn read_up_to(&mut self, position: Position, cx: &mut Context<'_>) {
        if position.id.epoch() >= self.epoch {
            self.want(position);
        }
        self.read_on(cx);
    }

    /// Something is known to stand here.
    pub(super) fn want(&mut self, position: Position) {
        self.splice.wanted = self.splice.wanted.max(position);
    }

    /// Reads what is missing behind the head, one page at a time.
    pub(super) fn read_on(&mut self, cx: &mut Context<'_>) {
        let waits = self.splice.asked || self.splice.retry_at.is_some();
        if self.state != State::Open || waits || self.read_head(cx) {
            return;
        }
        let splice = &mut self.splice;
        if !splice.doubt && splice.wanted <= self.head {
            return;
        }
        splice.asked = true;
        splice.doubt = false;
        cx.effects.push(Effect::Count(Counted::Gap));
        let request = Request::Replay {
            after: self.head,
            limit: SPLICE_EVENTS,
        };
        self.ask(request, Pending::Splice, cx);
    }

    /// What was missing.
    pub(super) fn on_splice(&mut self, page: Result<Replay, Unavailable>, cx: &mut Context<'_>) {
        self.splice.asked = false;
        let before = self.head;
        match page {
            Ok(page) => {
                self.note_epoch(page.epoch);
                // One that was read under another epoch may hold what is lost by now.
                if page.epoch == self.epoch && self.epoch_is_seen() {
                    self.splice_in(page, cx);
                } else {
                    self.splice.doubt = true;
                }
            }
            Err(_) => {
                self.splice.doubt = true;
                self.refuse_joining(cx);
            }
        }
        let misses = self.splice.doubt || self.splice.wanted > self.head;
        if self.head == before && misses {
            self.read_later(cx);
        }
        self.read_on(cx);
        self.settle(cx);
    }

    fn splice_in(&mut self, page: Replay, cx: &mut Context<'_>) {
        if page.is_cut() {
            return self.skip_to(page.head, cx);
        }
        for Replayed { entry, row } in page.events {
            if entry.position > self.head {
                let original = (!self.stored_at_ack).then(|| Arc::new(entry.clone()));
                self.accept(&entry, row.as_ref(), original, cx);
            }
        }
        if page.remaining > 0 {
            self.splice.doubt = true;
        } else {
            self.entered(page.head);
        }
    }

    /// The room is behind what is kept of the log. Its members come back with `since`.
    fn skip_to(&mut self, head: Position, cx: &mut Context<'_>) {
        let members: Vec<MemberKey> = self.members().collect();
        for member in members {
            self.send_back(member, cx);
        }
        self.ring.clear();
        self.head = head;
        self.lineage.advance(head);
        self.entered(head);
    }

    /// Nothing is read before some time has passed.
    pub(super) fn read_later(&mut self, cx: &mut Context<'_>) {
        self.splice.retry_at = Some(cx.now.mono.plus_ms(SPLICE_RETRY_MS));
        cx.effects.push(Effect::Deadline);
    }

    /// Who waits for a reading that failed is better off elsewhere, or later.
    pub(super) fn refuse_joining(&mut self, cx: &mut Context<'_>) {
        let joining = self
            .members
            .iter()
            .filter(|(_, member)| member.is_joining());
        let joining: Vec<MemberKey> = joining.map(|(index, _)| key_of(index)).collect();
        for member in joining {
            self.close(member, CloseCode::DependencyDown, HISTORY_DOWN, cx);
        }
    }

    /// Tries a failed reading again, if it is still needed.
    pub(super) fn splice_deadline(&mut self, cx: &mut Context<'_>) {
        if self
            .splice
            .retry_at
            .take_if(|at| *at <= cx.now.mono)
            .is_some()
        {
            self.read_on(cx);
            self.greet_all(cx);
        }
    }

    /// Whether a reading is under way, or will be tried again.
    pub(super) fn is_reading(&self) -> bool {
        self.splice.asked
            || self.splice.retry_at.is_some()
            || self.turnover.is_reading()
            || self.is_unsure()
    }

    /// The next event of the conversation.
    fn accept(
        &mut self,
        entry: &Entry,
        row: Option<&Row>,
        original: Option<Arc<Entry>>,
        cx: &mut Context<'_>,
    ) {
        // Not the entry's own: between them may be marks, where nothing stands.
        let prev = std::mem::replace(&mut self.head, entry.position);
        self.lineage.advance(entry.position);
        if self.stored_at_ack {
            self.stored = self.stored.max(entry.position);
        }
        let deletes = match &entry.event {
            Event::Message { .. } => None,
            Event::Edit {
                message_id,
                content,
            } => {
                self.ring.rewrite(*message_id, content);
                None
            }
            Event::Delete { message_id } => {
                self.ring.rewrite(*message_id, "");
                Some(*message_id)
            }
        };
        // A cursor may have come before the message that it is past.
        let status = self.receipts.status(&entry.sender, entry.position.id);
        let text = frames::of_entry(entry, row, status);
        let (position, author) = (entry.position, entry.sender.clone());
        self.ring.push(Item {
            text,
            kind: Kind::Durable {
                position,
                prev,
                author,
                deletes,
            },
        });
        if let Some(original) = original.filter(|_| position > self.stored) {
            self.ring.keep(original);
        }
        self.owe_stored(entry);
        if deletes.is_none() && entry.position.k == 0 {
            self.wrote(entry, cx);
        }
        cx.effects.push(Effect::WriteAll);
    }

    /// A message by this user: their typing ends, and so may their unread.
    fn wrote(&mut self, entry: &Entry, cx: &mut Context<'_>) {
        let (user, id) = (&entry.sender, entry.position.id);
        self.presence.wrote(user);
        self.receipts.wrote(user, id);
        if self.presence.is_present(user) && !self.presence.is_here(user) {
            self.receipts.wrote_elsewhere(user, id);
        }
        if let Some(username) = self.typing.sent(user) {
            self.show_typing(user, &username, false, cx);
        }
        if self.presence.is_here(user) {
            let before = self.lineage.before(id).unwrap_or_default();
            if let Some(advance) = self.receipts.sent(user, id, before, cx.now.mono) {
                hand_over(advance, cx);
            }
            cx.effects.push(Effect::Deadline);
        }
    }

    fn owe_stored(&mut self, entry: &Entry) {
        if !self.durable || entry.local_id.is_none() {
            return;
        }
        for (_, member) in &mut self.members {
            if member.extended && member.user == entry.sender {
                member.owed_stored = Some(entry.position.id);
            }
        }
    }

    fn on_ephemeral(&mut self, ephemeral: Ephemeral, cx: &mut Context<'_>) {
        match ephemeral {
            Ephemeral::Typing {
                user,
                username,
                is_typing,
            } => {
                if let Some(shown) = self.typing.heard(&user, &username, is_typing, cx.now.mono) {
                    self.show_typing(&user, &username, shown, cx);
                }
            }
            Ephemeral::WhoTypes => publish_typing(self.typing.local_now(), cx),
            Ephemeral::Online { user, at } => {
                let show = self.presence.heard_online(&user);
                self.show_status(&user, PresenceStatus::Online, at, show, cx);
            }
            Ephemeral::Offline { user, at } => {
                let show = self.presence.heard_offline(&user);
                self.receipts.left_elsewhere(&user);
                // Somebody took this node for dead, on word from before it came back.
                if self.presence.is_held(&user) {
                    cx.effects.push(Effect::PresenceJoin(user.clone()));
                }
                self.show_status(&user, PresenceStatus::Offline, at, show, cx);
            }
            Ephemeral::Cursor {
                user,
                cursor,
                at,
                listed,
            } => {
                self.on_cursor(&user, cursor, at, &listed, cx);
            }
        }
        cx.effects.push(Effect::Deadline);
    }

    pub(super) fn pass(
        &mut self,
        frame: &ServerFrame<'_>,
        layer: Layer,
        users: Users,
        cx: &mut Context<'_>,
    ) {
        self.pass_text(frame.encode(), layer, users, cx);
    }

    fn pass_text(&mut self, text: Bytes, layer: Layer, users: Users, cx: &mut Context<'_>) {
        self.ring.push(Item {
            text,
            kind: Kind::Passing(Audience { layer, users }),
        });
        cx.effects.push(Effect::WriteAll);
    }

    fn show_typing(&mut self, user: &UserId, name: &str, is_typing: bool, cx: &mut Context<'_>) {
        let (user_id, username) = (user.as_str().into(), name.into());
        let frame = ServerFrame::Typing {
            user_id,
            username,
            is_typing,
        };
        let users = if self.presence.tells_changes() {
            Users::Except(user.clone())
        } else {
            Users::Only(
                self.presence
                    .writers()
                    .filter(|writer| *writer != user)
                    .cloned()
                    .collect(),
            )
        };
        self.pass(&frame, Layer::Any, users, cx);
    }

    fn show_status(
        &mut self,
        user: &UserId,
        status: PresenceStatus,
        timestamp: UnixMicros,
        show: Show,
        cx: &mut Context<'_>,
    ) {
        match show {
            Show::Nothing | Show::InAggregate => {}
            Show::Each => {
                let user_id = user.as_str().into();
                let frame = ServerFrame::UserStatus {
                    user_id,
                    status,
                    timestamp,
                };
                self.pass(&frame, Layer::Any, Users::Except(user.clone()), cx);
            }
        }
    }

    pub(super) fn on_cursor(
        &mut self,
        user: &UserId,
        cursor: Cursor,
        at: UnixMicros,
        listed: &[MessageId],
        cx: &mut Context<'_>,
    ) {
        let progress = self.receipts.heard(user, cursor);
        if !listed.is_empty() {
            let (layer, users) = if self.presence.tells_receipts() {
                (Layer::Any, Users::All)
            } else {
                (
                    Layer::Base,
                    Users::Only(self.reader_and_authors(user, listed)),
                )
            };
            let message_ids = listed.to_vec();
            let frame = ServerFrame::Read {
                user_id: user.as_str().into(),
                message_ids,
            };
            self.pass(&frame, layer, users, cx);
        }
        let concerned: Vec<(UserId, Moved)> = self
            .receipts
            .concerned(&progress)
            .map(|(user, moved)| (user.clone(), moved))
            .collect();
        for (author, moved) in concerned {
            self.on_moved(&author, Status::Delivered, moved.delivered, at, cx);
            self.on_moved(&author, Status::Read, moved.read, at, cx);
        }
    }

    fn reader_and_authors(&self, reader: &UserId, listed: &[MessageId]) -> Box<[UserId]> {
        let mut users = vec![reader.clone()];
        for author in listed.iter().filter_map(|id| self.ring.author(*id)) {
            if !users.contains(author) {
                users.push(author.clone());
            }
        }
        users.into()
    }

    /// More of an author's messages were delivered or read: which, is asked of the ring or history.
    fn on_moved(
        &mut self,
        author: &UserId,
        status: Status,
        span: Option<Span>,
        at: UnixMicros,
        cx: &mut Context<'_>,
    ) {
        let Some(Span { above, up_to }) = span else {
            return;
        };
        match self.ring.authored(author, above, up_to, STATUS_FRAMES) {
            Some(ids) => self.show_moved(author, status, &ids, at, cx),
            None => {
                let author = author.clone();
                let pending = Pending::Authored {
                    author: author.clone(),
                    status,
                    at,
                };
                let request = Request::Authored {
                    author,
                    above,
                    up_to,
                    limit: STATUS_FRAMES,
                };
                self.ask(request, pending, cx);
            }
        }
    }

    pub(super) fn show_moved(
        &mut self,
        author: &UserId,
        status: Status,
        ids: &[MessageId],
        timestamp: UnixMicros,
        cx: &mut Context<'_>,
    ) {
        let layer = if self.presence.tells_receipts() {
            Layer::Any
        } else {
            Layer::Base
        };
        // Which messages it is may have taken long to find out: a status never goes back.
        let current = ids
            .iter()
            .filter(|id| self.receipts.status(author, **id) <= status)
            .filter(|id| self.lineage.contains(**id));
        for message_id in current.copied().collect::<Vec<_>>() {
            let frame = ServerFrame::MessageStatus {
                message_id,
                status,
                timestamp,
            };
            let users = Users::Only([author.clone()].into());
            self.pass(&frame, layer, users, cx);
        }
    }

    pub(super) fn receipts_deadline(&mut self, cx: &mut Context<'_>) {
        let due = self.receipts.on_deadline(cx.now.mono);
        for advance in due.advances {
            hand_over(advance, cx);
        }
        if !due.changed.is_empty() {
            self.pass(
                &receipts_frame(&due.changed),
                Layer::Extended,
                Users::All,
                cx,
            );
        }
    }

    pub(super) fn typing_deadline(&mut self, cx: &mut Context<'_>) {
        let due = self.typing.on_deadline(cx.now.mono);
        publish_typing(due.publish, cx);
        for TypingChange {
            user,
            username,
            is_typing,
        } in due.show
        {
            self.show_typing(&user, &username, is_typing, cx);
        }
    }

    pub(super) fn presence_deadline(&mut self, cx: &mut Context<'_>) {
        let due = self.presence.on_deadline(cx.now.mono);
        for user in due.left {
            cx.effects.push(Effect::PresenceLeave(user));
        }
        if due.aggregate {
            let text = self.presence_frame().encode();
            self.pass_text(text, Layer::Extended, Users::All, cx);
        }
    }

    /// Who is here, where there are too many to tell each change.
    fn presence_frame(&self) -> ServerFrame<'_> {
        ServerFrame::Presence {
            count: self.presence.count() as u64,
            sample: self
                .presence
                .sample()
                .map(|user| user.as_str().into())
                .collect(),
        }
    }

    /// Who is here and who types, for a member that has just become live.
    pub(super) fn tell_company(&mut self, key: MemberKey, cx: &mut Context<'_>) {
        let Some(member) = self.members.get(index(key)) else {
            return;
        };
        let user = &member.user;
        let online = self.presence.snapshot(user).map(|other| {
            let (user_id, status) = (other.as_str().into(), PresenceStatus::Online);
            ServerFrame::UserStatus {
                user_id,
                status,
                timestamp: cx.now.wall,
            }
            .encode()
        });
        let typing = self.typing.typing_now(user).map(|(other, username)| {
            let (user_id, username) = (other.as_str().into(), username.as_ref().into());
            ServerFrame::Typing {
                user_id,
                username,
                is_typing: true,
            }
            .encode()
        });
        let is_told_sums = member.extended && !self.presence.tells_changes();
        let sums = is_told_sums.then(|| self.presence_frame().encode());
        let texts: Vec<Bytes> = online.chain(typing).chain(sums).collect();
        for text in texts {
            self.tell_text(key, text, cx);
        }
    }

    /// A user's connection came.
    pub(super) fn enter(&mut self, key: MemberKey, cx: &mut Context<'_>) {
        let Some(member) = self.members.get(index(key)) else {
            return;
        };
        let user = member.user.clone();
        let is_first = !self.presence.is_here(&user);
        if self.presence.join(&user) {
            cx.effects.push(Effect::PresenceJoin(user.clone()));
        }
        if is_first {
            // What the ring does not hold is old: its author reads its state from history.
            let newest = self.ring.newest_of(&user).unwrap_or_default();
            self.receipts.watch(&user, newest);
        }
        cx.effects.push(Effect::Deadline);
    }

    /// A user's connection went.
    pub(super) fn exit(
        &mut self,
        key: MemberKey,
        member: &Member,
        how: Departure,
        cx: &mut Context<'_>,
    ) {
        let user = member.user.clone();
        if self.typing.gone(key, &user) {
            let (user, username) = (user.clone(), member.username.clone());
            cx.effects.push(Effect::Publish(Ephemeral::Typing {
                user,
                username,
                is_typing: false,
            }));
        }
        if self.presence.leave(&user, how, cx.now.mono) {
            cx.effects.push(Effect::PresenceLeave(user.clone()));
        }
        if !self.presence.is_here(&user) {
            self.receipts.unwatch(&user);
        }
        cx.effects.push(Effect::Deadline);
    }

    /// Actions that waited for the greeting or for a look-up, in their order.
    pub(super) fn release(&mut self, key: MemberKey, cx: &mut Context<'_>) {
        let Some(member) = self.members.get_mut(index(key)) else {
            return;
        };
        for text in member.release() {
            self.act(key, &text, cx);
        }
    }
}

fn publish_typing(changes: Vec<TypingChange>, cx: &mut Context<'_>) {
    let publish = changes.into_iter().map(|change| {
        Effect::Publish(Ephemeral::Typing {
            user: change.user,
            username: change.username,
            is_typing: change.is_typing,
        })
    });
    cx.effects.extend(publish);
}

pub(super) fn hand_over(advance: Advance, cx: &mut Context<'_>) {
    let Advance {
        user,
        cursor,
        listed,
    } = advance;
    cx.effects.push(Effect::Advance {
        user,
        cursor,
        listed,
    });
}

/// Cursors as extended clients are told them.
pub(super) fn receipts_frame(cursors: &[(UserId, Cursor)]) -> ServerFrame<'_> {
    let of = |pick: fn(&Cursor) -> MessageId| {
        cursors
            .iter()
            .map(|(user, cursor)| (user.as_str().into(), pick(cursor)))
            .filter(|(_, id)| *id > MessageId::ZERO)
            .collect()
    };
    ServerFrame::Receipts {
        read: of(|cursor| cursor.read),
        delivered: of(|cursor| cursor.delivered),
    }
}
