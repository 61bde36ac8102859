//! What the server says: one method per frame that does more than a line.

use std::{borrow::Cow, collections::BTreeMap};

use parlance_protocol::{
    ChatMessage, HistoryRow, MessageId, Position, PresenceStatus, ServerFrame, Status,
};
use serde_json::{Value, json};

use super::{
    state::{CATCH_UP_PAGE, Effect, Fetch, Layer, State},
    transcript::{Message, Placed},
};

const RETRY_MS: u64 = 1_000;
/// Many messages in a row are read by one frame.
const READ_AFTER_MS: u64 = 200;

impl State {
    pub(super) fn on_text(&mut self, text: String) {
        self.link.heard(self.moment.now_ms);
        let text = match serde_json::from_str::<ServerFrame<'_>>(&text) {
            Ok(_) => text,
            Err(_) => completed(&text),
        };
        let Ok(frame) = serde_json::from_str::<ServerFrame<'_>>(&text) else {
            return;
        };
        if let Layer::Unknown { .. } = self.layer {
            if matches!(frame, ServerFrame::Hello { .. }) {
                self.layer = Layer::Extended;
            } else {
                self.settle_on_base();
            }
        }
        if is_durable(&frame)
            && let Some(held) = &mut self.held
        {
            held.push(text);
            return;
        }
        self.on_frame(frame);
    }

    /// One arm per frame, each a call or a few lines.
    fn on_frame(&mut self, frame: ServerFrame<'_>) {
        match frame {
            ServerFrame::ChatMessage { message, position } => {
                self.on_message(message);
                self.advance(position);
            }
            ServerFrame::MessageEdited {
                message_id,
                content,
                edited_by,
                timestamp: _,
                position,
                local_id,
            } => {
                self.on_change_of_mine(&edited_by, local_id.as_deref(), position);
                if self.transcript.edited(message_id, &content) {
                    let who = self.people.name(&edited_by);
                    self.print(&format!("* {who} edited #{message_id}: {content}"));
                }
                self.advance(position);
            }
            ServerFrame::MessageDeleted {
                message_id,
                deleted_by,
                timestamp: _,
                position,
                local_id,
            } => {
                self.on_change_of_mine(&deleted_by, local_id.as_deref(), position);
                self.outbox.target_deleted(message_id, position);
                if self.transcript.deleted(message_id) {
                    let who = self.people.name(&deleted_by);
                    self.print(&format!("* {who} deleted #{message_id}"));
                }
                self.advance(position);
            }
            ServerFrame::MessageFailed {
                local_id,
                error,
                code: _,
                retryable,
                retry_after_ms,
            } => {
                let retry_ms = self.retry_ms(retryable, retry_after_ms);
                self.on_refused(&local_id.unwrap_or_default(), &error, retry_ms);
            }
            ServerFrame::Error {
                action,
                error,
                code: _,
                retryable,
                retry_after_ms,
            } => {
                let retry_ms = self.retry_ms(retryable, retry_after_ms);
                self.on_error(action.as_deref(), &error, retry_ms);
            }
            ServerFrame::Typing {
                user_id,
                username,
                is_typing,
            } => self.on_typing_of(&user_id, &username, is_typing),
            ServerFrame::Read {
                user_id,
                message_ids,
            } => {
                if let Some(id) = message_ids.into_iter().max()
                    && user_id != self.me
                {
                    self.reached(id, Status::Read);
                }
            }
            ServerFrame::MessagesFetched {
                messages, has_more, ..
            } => self.on_page(messages, has_more),
            ServerFrame::MessageStatus {
                message_id, status, ..
            } => self.on_status(message_id, status),
            ServerFrame::UserStatus {
                user_id, status, ..
            } => self.on_presence_of(&user_id, status),
            ServerFrame::Heartbeat {} => self.send(json!({"action": "heartbeat_ack"})),
            ServerFrame::AuthOk { .. } => {}
            ServerFrame::Hello {
                epoch,
                stored_id,
                unread,
                durable,
                ..
            } => self.on_hello(epoch, stored_id, unread, durable),
            ServerFrame::Live { position } => self.advance(position),
            ServerFrame::Stored { epoch, up_to_id } => self.outbox.stored(epoch, up_to_id),
            ServerFrame::Receipts { read, delivered } => {
                self.on_cursors(delivered, Status::Delivered);
                self.on_cursors(read, Status::Read);
            }
            ServerFrame::Presence { count, sample } => {
                self.people.set_count(count);
                for user in sample.iter().filter(|user| **user != self.me) {
                    self.people.set_online(user, true);
                }
            }
            ServerFrame::Resync {
                epoch, lost_after, ..
            } => self.on_resync(epoch, lost_after),
            ServerFrame::Gap { from, to } => {
                self.more_before = MessageId::new(to.get() + 1);
                self.notice(format!("#{from} to #{to} are left out; /more shows them"));
            }
            ServerFrame::AuthExpiring { .. } => self.push(Effect::Authenticate),
            ServerFrame::Reconnect { after_ms, .. } => {
                self.link.move_at(self.moment.now_ms + after_ms);
            }
            ServerFrame::AccessRevoked { reason } => {
                self.notice(format!("this conversation is closed to you: {reason}"));
            }
        }
    }

    fn on_typing_of(&mut self, user: &str, name: &str, typing: bool) {
        if user != self.me {
            let now_ms = self.moment.now_ms;
            self.people.set_typing(user, name, typing, now_ms);
        }
    }

    fn on_presence_of(&mut self, user: &str, status: PresenceStatus) {
        let online = status == PresenceStatus::Online;
        if user != self.me && self.people.set_online(user, online) {
            let what = if online { "is here" } else { "left" };
            let who = self.people.name(user);
            self.notice(format!("{who} {what}"));
        }
    }

    fn on_status(&mut self, id: MessageId, status: Status) {
        if status == Status::Failed {
            self.notice(format!("the server lost your message #{id}"));
        }
        self.reached(id, status);
    }

    fn on_cursors(&mut self, cursors: BTreeMap<Cow<'_, str>, MessageId>, status: Status) {
        let others = cursors.into_iter().filter(|(user, _)| *user != self.me);
        if let Some(id) = others.map(|(_, id)| id).max() {
            self.reached(id, status);
        }
    }

    fn on_change_of_mine(&mut self, by: &str, local_id: Option<&str>, position: Position) {
        if let Some(local_id) = local_id
            && by == self.me
        {
            self.outbox.acknowledged(local_id, position);
        }
    }

    fn on_hello(&mut self, epoch: u32, stored_id: MessageId, unread: u64, durable: bool) {
        if self.outbox.heard_epoch(epoch, durable) {
            self.notice("the server may have lost messages; yours are sent again".to_owned());
        }
        self.outbox.stored(epoch, stored_id);
        if !self.entered {
            let (me, conversation) = (&self.me, &self.conversation);
            self.notice(format!(
                "you are {me} in {conversation}, {unread} unread; /help helps"
            ));
        }
    }

    fn on_resync(&mut self, epoch: u32, lost_after: Position) {
        self.transcript.lost_above(lost_after.id);
        self.position = Some(lost_after);
        self.outbox.resync(epoch);
        let after = lost_after.id;
        self.notice(format!(
            "the server may have lost what came after #{after}; what you said is sent again"
        ));
    }

    fn on_message(&mut self, message: ChatMessage<'_>) {
        let (id, own) = (message.id, message.sender_id == self.me);
        if own && let Some(local_id) = &message.local_id {
            self.outbox.acknowledged(local_id, Position::of(id));
        }
        let placed = self.transcript.place(Message {
            id,
            local_id: message.local_id.map(Cow::into_owned),
            sender: message.sender_id.into_owned(),
            content: message.content.into_owned(),
            at: message.timestamp,
            edited: false,
            deleted: false,
        });
        if placed == Placed::New {
            self.print_message(id);
            if !own {
                self.will_read(id);
            }
        }
    }

    fn on_page(&mut self, rows: Vec<HistoryRow<'_>>, has_more: bool) {
        let Some(fetch) = self.fetch.take() else {
            return;
        };
        let full = rows.len() >= CATCH_UP_PAGE;
        match fetch {
            Fetch::Newest => {
                self.entered = true;
                self.more_before = rows.last().map(|row| row.id);
                self.take_rows(rows);
                let held = self.held.take();
                self.release(held);
            }
            Fetch::CatchUp => {
                self.take_rows(rows);
                if full {
                    self.fetch(Fetch::CatchUp);
                } else {
                    let held = self.held.take();
                    self.release(held);
                }
            }
            Fetch::More => {
                self.notice("── earlier ──".to_owned());
                self.more_before = rows.last().map(|row| row.id).or(self.more_before);
                for row in rows.into_iter().rev() {
                    self.take_row(row);
                }
                let end = if has_more {
                    "── now ──"
                } else {
                    "── now; that was the beginning ──"
                };
                self.notice(end.to_owned());
            }
        }
    }

    fn take_rows(&mut self, rows: Vec<HistoryRow<'_>>) {
        let newest_other = rows.iter().find(|row| row.sender_id != self.me);
        let newest_other = newest_other.map(|row| row.id);
        for row in rows.into_iter().rev() {
            self.advance(row.position);
            self.take_row(row);
        }
        if let Some(id) = newest_other {
            self.will_read(id);
        }
    }

    fn take_row(&mut self, row: HistoryRow<'_>) {
        let (id, status) = (row.id, row.status);
        let own = row.sender_id == self.me;
        if own && let Some(local_id) = &row.local_id {
            self.outbox.acknowledged(local_id, Position::of(id));
        }
        let placed = self.transcript.place(Message {
            id,
            local_id: row.local_id.map(Cow::into_owned),
            sender: row.sender_id.into_owned(),
            content: row.content.into_owned(),
            at: row.sent_at,
            edited: row.is_edited,
            deleted: row.is_deleted,
        });
        if own {
            self.transcript.reached(id, status);
        }
        if placed == Placed::New {
            self.print_message(id);
        }
    }

    /// Takes the frames that waited for a page, in order.
    pub(super) fn release(&mut self, held: Option<Vec<String>>) {
        for text in held.unwrap_or_default() {
            let frame = serde_json::from_str(&text).expect("it was a frame when it was held");
            self.on_frame(frame);
        }
    }

    /// When to try again; `None` when that would be refused again.
    fn retry_ms(&self, retryable: bool, retry_after_ms: Option<u64>) -> Option<u64> {
        retryable.then(|| self.moment.now_ms + retry_after_ms.unwrap_or(RETRY_MS))
    }

    fn on_refused(&mut self, local_id: &str, error: &str, retry_ms: Option<u64>) {
        match retry_ms {
            Some(at_ms) => self.outbox.retry_at(at_ms),
            None => {
                self.outbox.refused(local_id);
                self.transcript.refused(local_id, error);
                self.print(&format!("! not sent: {error}"));
            }
        }
    }

    fn on_error(&mut self, action: Option<&str>, error: &str, retry_ms: Option<u64>) {
        match action {
            Some("edit_message" | "delete_message") => self.on_change_refused(error, retry_ms),
            Some("fetch_messages") => {
                self.fetch = None;
                self.entered = true;
                self.notice(format!("history could not be read: {error}"));
                let held = self.held.take();
                self.release(held);
            }
            // Small talk: the next one will do, and a base server may not know it.
            Some("typing" | "read" | "heartbeat_ack") => {}
            Some(_) | None => self.notice(error.to_owned()),
        }
    }

    fn on_change_refused(&mut self, error: &str, retry_ms: Option<u64>) {
        let Some(local_id) = self.outbox.change_in_flight() else {
            return;
        };
        match retry_ms {
            Some(at_ms) => self.outbox.retry_at(at_ms),
            None => {
                self.outbox.refused(&local_id);
                self.notice(error.to_owned());
            }
        }
    }

    fn reached(&mut self, id: MessageId, status: Status) {
        if let Some(covered) = self.transcript.reached(id, status) {
            let what = if status == Status::Read {
                "read"
            } else {
                "delivered"
            };
            self.print(&format!("* {what} up to #{covered}"));
        }
    }

    fn advance(&mut self, position: Position) {
        self.position = Some(self.position.unwrap_or_default().max(position));
    }

    /// Tells in a moment that `id` was read: one frame for many messages.
    fn will_read(&mut self, id: MessageId) {
        let soon_ms = self.moment.now_ms + READ_AFTER_MS;
        let at_ms = self.unread.map_or(soon_ms, |(_, at_ms)| at_ms);
        self.unread = Some((id, at_ms));
    }
}

/// Frames that history has a place for.
fn is_durable(frame: &ServerFrame<'_>) -> bool {
    matches!(
        frame,
        ServerFrame::ChatMessage { .. }
            | ServerFrame::MessageEdited { .. }
            | ServerFrame::MessageDeleted { .. }
    )
}

/// A server of the published API alone leaves out what parlance adds: positions are ids there.
fn completed(text: &str) -> String {
    let Ok(mut frame) = serde_json::from_str::<Value>(text) else {
        return text.to_owned();
    };
    if let Some(id) = frame.pointer("/message/id").cloned() {
        frame["position"] = id;
    }
    let rows = frame.get_mut("messages").and_then(Value::as_array_mut);
    for row in rows.into_iter().flatten() {
        if row.get("position").is_none() {
            row["position"] = row["id"].clone();
        }
    }
    frame.to_string()
}
