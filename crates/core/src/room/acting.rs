//! What members ask for: one text, one action, one answer.
//!
//! An action that needs a look-up holds the later ones of its socket, so that what a client sends
//! in order happens in order.

use std::borrow::Cow;

use parlance_protocol::{
    Action, Anchor, ErrorCode, LocalId, MessageId, Refusal, RequestId, ServerFrame, TraceParent,
    parse_action,
};

use super::{
    ActionKind, Context, Counted, Effect, MemberKey, Request, Room,
    answers::{Asker, Change, Pending},
    index,
    live::hand_over,
};
use crate::{
    entry::{Draft, Event},
    ports::Ephemeral,
    receipts::ReadOutcome,
};

/// What an answer to an action repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) kind: ActionKind,
    /// As given, if it can be echoed.
    pub(super) action: Option<Box<str>>,
    pub(super) local_id: Option<LocalId>,
}

/// What a member wants in the log.
pub(super) struct Offer {
    pub(super) event: Event,
    pub(super) local_id: Option<LocalId>,
    pub(super) retry: bool,
    pub(super) trace: Option<TraceParent>,
}

impl Subject {
    pub(super) fn of(kind: ActionKind, local_id: Option<&LocalId>) -> Self {
        Self {
            kind,
            action: kind.name().map(Into::into),
            local_id: local_id.cloned(),
        }
    }
}

impl Room {
    /// A whole text message of a member.
    pub fn on_text(&mut self, key: MemberKey, text: &str, cx: &mut Context<'_>) {
        let Some(member) = self.members.get_mut(index(key)) else {
            return;
        };
        member.session.alive(cx.now);
        let (per_second, burst) = (
            self.settings.actions_per_second,
            self.settings.actions_burst,
        );
        let spent = member.session.spend(per_second, burst, cx.now);
        if let Err(retry_after_ms) = spent.and_then(|()| member.quota.take(cx.now.mono)) {
            return self.refuse_rate(key, text, retry_after_ms, cx);
        }
        if !member.holds() {
            return self.act(key, text, cx);
        }
        if !member.keep(text) {
            let subject = self.subject_of(text);
            self.refuse(
                key,
                &subject,
                ErrorCode::Unavailable,
                "too much waits to be done",
                cx,
            );
        }
    }

    /// One action whose turn it is.
    pub(super) fn act(&mut self, key: MemberKey, text: &str, cx: &mut Context<'_>) {
        let Some(member) = self.members.get_mut(index(key)) else {
            return;
        };
        if member.holds() {
            if !member.keep(text) {
                let subject = self.subject_of(text);
                self.refuse(
                    key,
                    &subject,
                    ErrorCode::Unavailable,
                    "too much waits to be done",
                    cx,
                );
            }
            return;
        }
        match parse_action(text, &self.conversation, self.settings.content_bytes) {
            Ok(action) => self.perform(key, action, cx),
            Err(refusal) => {
                let subject = Subject {
                    kind: ActionKind::of(refusal.action.as_deref()),
                    action: refusal.action.as_deref().map(Into::into),
                    local_id: refusal.local_id.clone(),
                };
                self.refuse(key, &subject, refusal.code, refusal.error, cx);
            }
        }
    }

    fn perform(&mut self, key: MemberKey, action: Action<'_>, cx: &mut Context<'_>) {
        if is_of_a_person(&action)
            && let Some(member) = self.members.get_mut(index(key))
        {
            member.session.acted(cx.now);
        }
        match action {
            Action::SendMessage {
                content,
                local_id,
                retry,
                traceparent: trace,
            } => {
                let content = content.into();
                let offer = Offer {
                    event: Event::Message { content },
                    local_id,
                    retry,
                    trace,
                };
                self.append(key, offer, cx);
            }
            Action::EditMessage {
                message_id,
                content,
                local_id,
                traceparent: trace,
            } => {
                let change = Change {
                    message_id,
                    content: Some(content.into()),
                    local_id,
                    trace,
                };
                self.change(key, change, cx);
            }
            Action::DeleteMessage {
                message_id,
                local_id,
                traceparent: trace,
            } => {
                let change = Change {
                    message_id,
                    content: None,
                    local_id,
                    trace,
                };
                self.change(key, change, cx);
            }
            Action::Typing { is_typing } => self.type_on(key, is_typing, cx),
            Action::Read { message_ids } => self.read(key, &message_ids, cx),
            Action::FetchMessages {
                anchor,
                limit,
                request_id,
            } => {
                self.fetch(key, anchor, limit, request_id, cx);
            }
            Action::Heartbeat => {}
            Action::Auth { token } => {
                let Some(member) = self.members.get(index(key)) else {
                    return;
                };
                let pending = Pending::Verify(Asker::of(key, member));
                self.ask(Request::Verify(token.into()), pending, cx);
            }
        }
    }

    /// Offers an event to the log.
    pub(super) fn append(&mut self, key: MemberKey, offer: Offer, cx: &mut Context<'_>) {
        let Some(member) = self.members.get(index(key)) else {
            return;
        };
        let Offer {
            event,
            local_id,
            retry,
            trace,
        } = offer;
        let subject = Subject::of(ActionKind::of_event(&event), local_id.as_ref());
        let deletes = match &event {
            Event::Delete { message_id } => Some(*message_id),
            Event::Message { .. } | Event::Edit { .. } => None,
        };
        let pending = Pending::Append {
            asker: Asker::of(key, member),
            subject,
            deletes,
        };
        let draft = Draft {
            sender: member.user.clone(),
            local_id,
            retry,
            event,
            at: cx.now.wall,
            restores: None,
            trace,
        };
        self.ask(Request::Append(draft), pending, cx);
    }

    /// An edit or a delete: first the message is looked up, and later actions wait.
    fn change(&mut self, key: MemberKey, change: Change, cx: &mut Context<'_>) {
        let subject = change.subject();
        // What is above the head may have been told by another node that heard of it first.
        let is_known = self.lineage.contains(change.message_id);
        if !is_known && change.message_id <= self.head.id {
            let error = format!("unknown message id {}", change.message_id);
            return self.refuse(key, &subject, ErrorCode::UnknownMessage, error, cx);
        }
        let Some(member) = self.members.get_mut(index(key)) else {
            return;
        };
        member.hold();
        let pending = Pending::Target {
            asker: Asker::of(key, member),
            change: Box::new(change),
        };
        self.ask_for(pending, cx);
    }

    fn type_on(&mut self, key: MemberKey, is_typing: bool, cx: &mut Context<'_>) {
        let Some(member) = self.members.get(index(key)) else {
            return;
        };
        let (user, username) = (member.user.clone(), member.username.clone());
        let said = self
            .typing
            .local(key, &user, &username, is_typing, cx.now.mono);
        if let Some(is_typing) = said {
            cx.effects.push(Effect::Publish(Ephemeral::Typing {
                user,
                username,
                is_typing,
            }));
        }
        cx.effects.push(Effect::Deadline);
        count(ActionKind::Typing, None, cx);
    }

    fn read(&mut self, key: MemberKey, ids: &[MessageId], cx: &mut Context<'_>) {
        let Some(member) = self.members.get(index(key)) else {
            return;
        };
        let user = member.user.clone();
        match self
            .receipts
            .read_action(&user, ids, &self.lineage, cx.now.mono)
        {
            Err(unknown) => {
                let subject = Subject::of(ActionKind::Read, None);
                let error = unknown.to_string();
                return self.refuse(key, &subject, ErrorCode::UnknownMessage, error, cx);
            }
            Ok(ReadOutcome::NothingMoved) => {
                let message_ids = ids.to_vec();
                let frame = ServerFrame::Read {
                    user_id: user.as_str().into(),
                    message_ids,
                };
                self.tell(key, &frame, cx);
            }
            Ok(ReadOutcome::Moved(advance)) => hand_over(advance, cx),
            Ok(ReadOutcome::Waits) => {}
        }
        count(ActionKind::Read, None, cx);
        cx.effects.push(Effect::Deadline);
    }

    fn fetch(
        &mut self,
        key: MemberKey,
        anchor: Anchor,
        limit: u8,
        request_id: Option<RequestId>,
        cx: &mut Context<'_>,
    ) {
        let Some(member) = self.members.get(index(key)) else {
            return;
        };
        let pending = Pending::Page {
            asker: Asker::of(key, member),
            anchor,
            limit,
            request_id,
        };
        self.ask_for(pending, cx);
    }

    /// Answers an action that was not done, and closes a connection that errs too often.
    pub(super) fn refuse(
        &mut self,
        key: MemberKey,
        subject: &Subject,
        code: ErrorCode,
        error: impl Into<Cow<'static, str>>,
        cx: &mut Context<'_>,
    ) {
        self.refuse_until(key, subject, code, error, None, cx);
    }

    fn refuse_until(
        &mut self,
        key: MemberKey,
        subject: &Subject,
        code: ErrorCode,
        error: impl Into<Cow<'static, str>>,
        retry_after_ms: Option<u64>,
        cx: &mut Context<'_>,
    ) {
        count(subject.kind, Some(code), cx);
        let refusal = Refusal {
            action: subject.action.as_deref().map(Cow::Borrowed),
            code,
            error: error.into(),
            local_id: subject.local_id.clone(),
            retry_after_ms,
        };
        self.tell(key, &refusal.to_frame(), cx);
        let Some(member) = self.members.get_mut(index(key)) else {
            return;
        };
        if let Some(close) = member.session.refused(code, cx.now) {
            self.close(key, close, "too many refused actions", cx);
        }
    }

    /// Over a rate: heartbeats and typing are dropped in silence, the rest is answered.
    fn refuse_rate(&mut self, key: MemberKey, text: &str, wait_ms: u64, cx: &mut Context<'_>) {
        let subject = self.subject_of(text);
        let code = ErrorCode::RateLimited;
        if matches!(subject.kind, ActionKind::Heartbeat | ActionKind::Typing) {
            count(subject.kind, Some(code), cx);
            let Some(member) = self.members.get_mut(index(key)) else {
                return;
            };
            if let Some(close) = member.session.refused(code, cx.now) {
                self.close(key, close, "too many refused actions", cx);
            }
            return;
        }
        let error = format!("too many actions: try again in {wait_ms} ms");
        self.refuse_until(key, &subject, code, error, Some(wait_ms), cx);
    }

    fn subject_of(&self, text: &str) -> Subject {
        match parse_action(text, &self.conversation, self.settings.content_bytes) {
            Ok(action) => Subject::of(ActionKind::of_action(&action), action.local_id()),
            Err(refusal) => Subject {
                kind: ActionKind::of(refusal.action.as_deref()),
                action: refusal.action.as_deref().map(Into::into),
                local_id: refusal.local_id,
            },
        }
    }
}

pub(super) fn count(kind: ActionKind, code: Option<ErrorCode>, cx: &mut Context<'_>) {
    cx.effects.push(Effect::Count(Counted::Action(kind, code)));
}

impl ActionKind {
    /// The action's name on the wire.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::SendMessage => Some("send_message"),
            Self::EditMessage => Some("edit_message"),
            Self::DeleteMessage => Some("delete_message"),
            Self::Typing => Some("typing"),
            Self::Read => Some("read"),
            Self::FetchMessages => Some("fetch_messages"),
            Self::Heartbeat => Some("heartbeat"),
            Self::Auth => Some("auth"),
            Self::Unknown => None,
        }
    }

    fn of(action: Option<&str>) -> Self {
        match action {
            Some("send_message") => Self::SendMessage,
            Some("edit_message") => Self::EditMessage,
            Some("delete_message") => Self::DeleteMessage,
            Some("typing") => Self::Typing,
            Some("read") => Self::Read,
            Some("fetch_messages") => Self::FetchMessages,
            Some("heartbeat" | "heartbeat_ack") => Self::Heartbeat,
            Some("auth") => Self::Auth,
            Some(_) | None => Self::Unknown,
        }
    }

    pub(super) fn of_action(action: &Action<'_>) -> Self {
        match action {
            Action::SendMessage { .. } => Self::SendMessage,
            Action::EditMessage { .. } => Self::EditMessage,
            Action::DeleteMessage { .. } => Self::DeleteMessage,
            Action::Typing { .. } => Self::Typing,
            Action::Read { .. } => Self::Read,
            Action::FetchMessages { .. } => Self::FetchMessages,
            Action::Heartbeat => Self::Heartbeat,
            Action::Auth { .. } => Self::Auth,
        }
    }

    const fn of_event(event: &Event) -> Self {
        match event {
            Event::Message { .. } => Self::SendMessage,
            Event::Edit { .. } => Self::EditMessage,
            Event::Delete { .. } => Self::DeleteMessage,
        }
    }
}

impl Change {
    pub(super) fn subject(&self) -> Subject {
        let kind = match self.content {
            Some(_) => ActionKind::EditMessage,
            None => ActionKind::DeleteMessage,
        };
        Subject::of(kind, self.local_id.as_ref())
    }
}

/// Whether somebody does something by it, and not only their client.
const fn is_of_a_person(action: &Action<'_>) -> bool {
    match action {
        Action::SendMessage { .. }
        | Action::EditMessage { .. }
        | Action::DeleteMessage { .. }
        | Action::Typing { .. }
        | Action::Read { .. }
        | Action::FetchMessages { .. } => true,
        Action::Heartbeat | Action::Auth { .. } => false,
    }
}
