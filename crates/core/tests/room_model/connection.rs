//! One client's connection, which judges everything it is told against the truth.
//!
//! The heart is [`Place`]: once the connection's place in the log is known, the only durable event
//! that it may be told is the next one there. That is order, gaplessness and exactly-once in one.

use std::collections::{BTreeMap, BTreeSet};

use parlance_core::clock::Mono;
use parlance_protocol::{ErrorCode, LocalId, MessageId, Position, ServerFrame, Status, UserId};

use crate::truth::Truth;

/// How far the connection was told the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It began at an end that nobody told it.
    Unknown,
    /// It has everything up to here.
    At(Position),
    /// Something was left out, and announced; the newest messages follow, up to this one so far.
    Newest(Option<MessageId>),
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) user: UserId,
    pub(crate) extended: bool,
    /// Where it resumes, if that is a place in the log.
    pub(crate) since: Option<Position>,
    /// It asked for a place that is none.
    pub(crate) asked_beyond: bool,
    pub(crate) place: Place,
    /// The head of the log when its node had reason to read it last, before this joined.
    pub(crate) node_knows: Position,
    /// The head of the log when the connection was surely live, whatever it was told.
    pub(crate) live_before: Option<Position>,
    pub(crate) pings: Vec<[u8; 8]>,
    pub(crate) deadline: Option<Mono>,
    /// Own actions that the log had already: they are answered out of turn.
    pub(crate) repeated: BTreeSet<LocalId>,
    /// Second deletes are answered out of turn.
    pub(crate) deleted: BTreeSet<MessageId>,
    /// What was told before the place was known, and may have been such an answer or the stream.
    early: BTreeSet<Position>,
    /// Own sends without an answer yet.
    pub(crate) unanswered: BTreeSet<LocalId>,
    greeted: bool,
    pub(crate) live: bool,
    /// The texts as this client shows them.
    shown: BTreeMap<MessageId, String>,
    statuses: BTreeMap<MessageId, Status>,
}

impl Connection {
    /// `since` as asked for, if at all: a place in the log, or something else.
    pub(crate) fn new(
        user: UserId,
        extended: bool,
        since: Option<Result<Position, ()>>,
        node_knows: Position,
    ) -> Self {
        let exists = since.and_then(Result::ok);
        Self {
            user,
            extended,
            since: exists,
            asked_beyond: since.is_some() && exists.is_none(),
            place: exists.map_or(Place::Unknown, Place::At),
            node_knows,
            live_before: None,
            pings: Vec::new(),
            deadline: None,
            repeated: BTreeSet::new(),
            deleted: BTreeSet::new(),
            early: BTreeSet::new(),
            unanswered: BTreeSet::new(),
            greeted: false,
            live: false,
            shown: BTreeMap::new(),
            statuses: BTreeMap::new(),
        }
    }

    pub(crate) fn hear(&mut self, text: &[u8], truth: &Truth) {
        let frame = ServerFrame::decode(text).expect("frames are well-formed");
        assert!(
            self.greeted || !self.extended || matches!(frame, ServerFrame::Hello { .. }),
            "hello is first, not {frame:?}"
        );
        match frame {
            ServerFrame::ChatMessage { message, position } => {
                let entry = truth.entry(position).expect("only what is in the log");
                assert_eq!(*message.sender_id, *entry.sender.as_str());
                assert_eq!(
                    message.local_id.as_deref(),
                    entry.local_id.as_ref().map(LocalId::as_str)
                );
                assert!(truth.had_content(message.id, &message.content));
                self.answered(&message.sender_id, message.local_id.as_deref());
                if self.is_in_turn(position, message.local_id.as_deref(), None, truth) {
                    self.shown.insert(message.id, message.content.into_owned());
                    self.note_status(message.id, message.status, truth);
                }
            }
            ServerFrame::MessageEdited {
                message_id,
                content,
                position,
                local_id,
                ..
            } => {
                let entry = truth.entry(position).expect("only what is in the log");
                assert_eq!(entry.event.target(), Some(message_id));
                if self.is_in_turn(position, local_id.as_deref(), None, truth)
                    && let Some(shown) = self.shown.get_mut(&message_id)
                    && !shown.is_empty()
                {
                    *shown = content.into_owned();
                }
            }
            ServerFrame::MessageDeleted {
                message_id,
                position,
                local_id,
                ..
            } => {
                let entry = truth.entry(position).expect("only what is in the log");
                assert_eq!(entry.event.target(), Some(message_id));
                self.is_in_turn(position, local_id.as_deref(), Some(message_id), truth);
                // Nothing comes after a delete, so an answer out of turn says the same.
                if let Some(shown) = self.shown.get_mut(&message_id) {
                    shown.clear();
                }
            }
            ServerFrame::MessageFailed { local_id, .. } => {
                if let Some(local_id) = local_id {
                    self.unanswered.remove(&*local_id);
                }
            }
            ServerFrame::MessageStatus {
                message_id, status, ..
            } => {
                let entry = truth.entry(Position::of(message_id)).expect("it exists");
                assert_eq!(entry.sender, self.user, "only the author is told");
                self.note_status(message_id, status, truth);
            }
            ServerFrame::Typing { user_id, .. } | ServerFrame::UserStatus { user_id, .. } => {
                assert_ne!(*user_id, *self.user.as_str(), "never about oneself");
            }
            ServerFrame::Error { code, .. } => self.on_error(code),
            ServerFrame::Hello {
                resumed,
                head_id,
                read_id,
                unread,
                ..
            } => {
                assert!(read_id <= head_id && head_id <= truth.head().id);
                assert!(self.node_knows.id <= head_id, "greeted before the reading");
                assert_eq!(unread, head_id.get() - read_id.get(), "ids are dense here");
                self.on_hello(resumed);
            }
            ServerFrame::Live { position } => self.on_live(position, truth),
            ServerFrame::Gap { from, to } => self.on_gap(from, to, truth),
            ServerFrame::Resync { lost_after, .. } => {
                assert!(self.extended && self.asked_beyond, "nothing was lost");
                self.place = Place::At(lost_after);
            }
            ServerFrame::Stored { .. }
            | ServerFrame::Receipts { .. }
            | ServerFrame::Presence { .. }
            | ServerFrame::AuthExpiring { .. }
            | ServerFrame::Reconnect { .. }
            | ServerFrame::AccessRevoked { .. } => assert!(self.extended),
            ServerFrame::Read { .. }
            | ServerFrame::MessagesFetched { .. }
            | ServerFrame::Heartbeat {}
            | ServerFrame::AuthOk { .. } => {}
        }
    }

    fn answered(&mut self, sender: &str, local_id: Option<&str>) {
        if let Some(local_id) = local_id
            && sender == self.user.as_str()
        {
            self.unanswered.remove(local_id);
        }
    }

    /// Whether a durable event is the next of the stream. If not, it must be the answer to a
    /// repeated action of this connection's own.
    fn is_in_turn(
        &mut self,
        position: Position,
        local_id: Option<&str>,
        deleted: Option<MessageId>,
        truth: &Truth,
    ) -> bool {
        let entry = truth.entry(position).expect("only what is in the log");
        let is_answer = local_id
            .is_some_and(|id| self.repeated.contains(id) && entry.sender == self.user)
            || deleted.is_some_and(|id| self.deleted.contains(&id));
        let is_next = match self.place {
            Place::Unknown if is_answer => {
                self.early.insert(position);
                false
            }
            Place::Unknown => {
                let first = self.first_after_start(truth);
                assert!(
                    first.is_none_or(|first| position <= first),
                    "{position} came instead of {first:?} or an earlier one"
                );
                true
            }
            Place::At(last) => {
                let next = truth.next(last).map(|next| next.position);
                assert!(
                    next == Some(position) || is_answer,
                    "{position} came instead of {next:?}"
                );
                next == Some(position)
            }
            Place::Newest(last) => {
                if is_answer {
                    self.early.insert(position);
                }
                self.follows_newest(position, last, is_answer, truth)
            }
        };
        if is_next {
            self.place = match self.place {
                Place::Newest(_) if position.k == 0 => Place::Newest(Some(position.id)),
                Place::Newest(_) | Place::Unknown | Place::At(_) => Place::At(position),
            };
        }
        is_next
    }

    /// What a connection that does not know its place must have been told, at the latest, before
    /// anything later.
    fn first_after_start(&self, truth: &Truth) -> Option<Position> {
        let mut next = truth.next(self.live_before?)?.position;
        while self.early.contains(&next) {
            next = truth.next(next)?.position;
        }
        Some(next)
    }

    /// Messages without a hole, with their present content; the first later change of one tells
    /// how far that present reached.
    fn follows_newest(
        &self,
        position: Position,
        last: Option<MessageId>,
        is_answer: bool,
        truth: &Truth,
    ) -> bool {
        let fits = match last {
            None => position.k == 0,
            Some(last) if position.k == 0 => {
                last < position.id && !self.misses_between(last, position.id, truth)
            }
            Some(last) => position.id == last || self.early.contains(&Position::of(position.id)),
        };
        assert!(fits || is_answer, "{position} came after message {last:?}");
        fits && !is_answer
    }

    /// Whether a message in between was never told, as an answer neither.
    fn misses_between(&self, above: MessageId, below: MessageId, truth: &Truth) -> bool {
        let mut between = truth
            .messages()
            .filter(|e| above < e.position.id && e.position.id < below);
        between.any(|e| !self.early.contains(&e.position))
    }

    fn note_status(&mut self, id: MessageId, status: Status, truth: &Truth) {
        let author = &truth.entry(Position::of(id)).expect("it exists").sender;
        let others = truth.others(author);
        match status {
            Status::Sent => {}
            Status::Delivered => assert!(others.delivered >= id, "{id} reached nobody"),
            Status::Read => assert!(others.read >= id, "{id} was read by nobody"),
            Status::Failed => panic!("nothing is lost"),
        }
        if *author == self.user {
            let before = self.statuses.insert(id, status);
            assert!(
                before.is_none_or(|before| before <= status),
                "{before:?} then {status:?}"
            );
        }
    }

    fn on_error(&mut self, code: ErrorCode) {
        match code {
            ErrorCode::ResumeLost => {
                assert!(!self.extended && self.asked_beyond, "nothing was lost");
            }
            ErrorCode::ResumeTooOld => {
                assert!(!self.extended && self.since.is_some());
                self.place = Place::Newest(None);
            }
            ErrorCode::UnknownMessage | ErrorCode::NotAuthor | ErrorCode::Unavailable => {}
            ErrorCode::InvalidJson
            | ErrorCode::UnknownAction
            | ErrorCode::InvalidField
            | ErrorCode::InvalidContent
            | ErrorCode::ContentTooLong
            | ErrorCode::InvalidLocalId
            | ErrorCode::LocalIdConflict
            | ErrorCode::WrongConversation
            | ErrorCode::AccessDenied
            | ErrorCode::RateLimited
            | ErrorCode::Internal => panic!("no reason for {code:?}"),
        }
    }

    fn on_hello(&mut self, resumed: bool) {
        assert!(self.extended && !self.greeted, "hello is said once");
        self.greeted = true;
        if let Some(since) = self.since
            && !resumed
        {
            self.place = Place::Newest(Some(since.id));
        }
    }

    /// Everything up to `position` was told.
    fn on_live(&mut self, position: Position, truth: &Truth) {
        assert!(self.extended && !self.live, "live is said once");
        self.live = true;
        let missed = match self.place {
            Place::Unknown => false,
            Place::At(last) => truth
                .next(last)
                .is_some_and(|next| next.position <= position),
            Place::Newest(last) => {
                let end = MessageId::new(position.id.get() + 1).expect("runs are short");
                self.misses_between(last.unwrap_or_default(), end, truth)
            }
        };
        assert!(!missed, "left out before {position}: {self:?}");
        self.place = Place::At(position);
    }

    fn on_gap(&mut self, from: MessageId, to: MessageId, truth: &Truth) {
        let since = self.since.expect("only a resume leaves something out");
        assert_eq!(self.place, Place::Newest(Some(since.id)));
        let first = truth
            .messages()
            .map(|e| e.position.id)
            .find(|id| *id > since.id);
        assert_eq!(
            Some(from),
            first,
            "the gap begins behind what the client has"
        );
        assert!(truth.entry(Position::of(to)).is_some() && from <= to);
        self.place = Place::Newest(Some(to));
    }

    /// Nothing is under way any more: this client knows everything there is to know.
    pub(crate) fn check_complete(&self, truth: &Truth) {
        let missing = match self.place {
            Place::Unknown => self.first_after_start(truth),
            Place::At(last) => truth.next(last).map(|next| next.position),
            Place::Newest(last) => {
                let end = MessageId::new(truth.head().id.get() + 1).expect("runs are short");
                let missed = self.misses_between(last.unwrap_or_default(), end, truth);
                assert!(!missed, "the newest messages are all told: {self:?}");
                None
            }
        };
        assert_eq!(missing, None, "never told to {self:?}");
        assert!(self.live || !self.extended, "live is always said: {self:?}");
        assert_eq!(self.unanswered, BTreeSet::new(), "each send is answered");
        for (id, shown) in &self.shown {
            let row = truth.row(*id).expect("only what is in the log");
            assert_eq!(**shown, *row.content, "message {id} of {self:?}");
        }
    }
}
