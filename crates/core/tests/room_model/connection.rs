//! One client's connection, which judges everything it is told against the truth.
//!
//! The heart is [`Place`]: once the connection's place in the log is known, the only durable event
//! that it may be told is the next one there. That is order, gaplessness and exactly-once in one.
//!
//! Where the log may lose its tail, that place is one in an epoch. An extended client knows the
//! epoch, by `hello` and `resync`, and what it is told must be next, and visible, in that one. A base
//! client is not told: the epoch counts as the lowest one in which all fits, going back to where
//! both agree. An extended client keeps an outbox, as the protocol asks of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parlance_core::{clock::Mono, entry::Entry};
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

/// A named send of an extended client.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) local_id: LocalId,
    pub(crate) content: String,
    /// Its id, and the epoch that the client knew then.
    pub(crate) acknowledged: Option<(MessageId, u32)>,
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
    /// The epoch that `place` is in.
    pub(crate) epoch: u32,
    /// The epoch and head of the log when its node had reason to read it last, before this joined.
    pub(crate) node_knows: (u32, Position),
    /// The epoch and head of the log when the connection was surely live, whatever it was told.
    pub(crate) live_before: Option<(u32, Position)>,
    /// Own named sends on the extended layer that are not known to be safe.
    pub(crate) outbox: Vec<Sent>,
    /// Those that are.
    pub(crate) safe: Vec<LocalId>,
    /// The outbox is to be sent again.
    pub(crate) owes_outbox: bool,
    /// Own messages that came in turn, on the base layer.
    pub(crate) acknowledged: Vec<Position>,
    /// Own messages that are said to be lost.
    pub(crate) failed: Vec<Position>,
    /// `hello` says that `since` was not gone on from.
    not_resumed: bool,
    /// What `since` named is lost. Until it is live it may be told all that follows, or the newest.
    began_lost: bool,
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
        node_knows: (u32, Position),
    ) -> Self {
        let exists = since.and_then(Result::ok);
        Self {
            user,
            extended,
            since: exists,
            asked_beyond: since.is_some() && exists.is_none(),
            place: exists.map_or(Place::Unknown, Place::At),
            epoch: 0,
            node_knows,
            live_before: None,
            outbox: Vec::new(),
            safe: Vec::new(),
            owes_outbox: false,
            acknowledged: Vec::new(),
            failed: Vec::new(),
            not_resumed: false,
            began_lost: false,
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
                let entry = truth.ever(position).expect("only what was in the log");
                assert_eq!(*message.sender_id, *entry.sender.as_str());
                assert_eq!(
                    message.local_id.as_deref(),
                    entry.local_id.as_ref().map(LocalId::as_str)
                );
                let epoch = self.extended.then_some(self.epoch);
                assert!(truth.had_content(epoch, message.id, &message.content));
                self.answered(message.id, &message.sender_id, message.local_id.as_deref());
                if self.is_in_turn(position, message.local_id.as_deref(), None, truth) {
                    if !self.extended && *message.sender_id == *self.user.as_str() {
                        self.acknowledged.push(position);
                    }
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
                let entry = truth.ever(position).expect("only what was in the log");
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
                let entry = truth.ever(position).expect("only what was in the log");
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
                let entry = truth.ever(Position::of(message_id)).expect("it was there");
                assert_eq!(entry.sender, self.user, "only the author is told");
                self.note_status(message_id, status, truth);
            }
            ServerFrame::Typing { user_id, .. } | ServerFrame::UserStatus { user_id, .. } => {
                assert_ne!(*user_id, *self.user.as_str(), "never about oneself");
            }
            ServerFrame::Error { code, .. } => self.on_error(code, truth),
            ServerFrame::Hello {
                epoch,
                resumed,
                head_id,
                read_id,
                unread,
                stored_id,
                ..
            } => {
                let head = Position::of(head_id);
                let known = Position::of(self.node_knows.1.id);
                let fits = epoch > self.node_knows.0 || known.is_mark() || known <= head;
                assert!(
                    epoch >= self.node_knows.0 && fits,
                    "greeted before the reading"
                );
                let above =
                    |e: &&Arc<Entry>| is_message(e) && read_id < id_of(e) && id_of(e) <= head_id;
                let sequence = truth.sequence(epoch);
                assert_eq!(unread, sequence.iter().filter(above).count() as u64);
                assert!(head_id == MessageId::ZERO || truth.was_visible(epoch, head));
                self.epoch = epoch;
                self.on_hello(resumed, truth);
                self.on_stored(epoch, stored_id);
            }
            ServerFrame::Stored { epoch, up_to_id } => {
                assert!(self.extended);
                self.on_stored(epoch, up_to_id);
            }
            ServerFrame::Live { position } => self.on_live(position, truth),
            ServerFrame::Gap { from, to } => self.on_gap(from, to, truth),
            ServerFrame::Resync {
                epoch,
                lost_after,
                stored_id,
            } => self.on_resync(epoch, lost_after, stored_id, truth),
            ServerFrame::Receipts { .. }
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

    fn answered(&mut self, id: MessageId, sender: &str, local_id: Option<&str>) {
        let Some(local_id) = local_id.filter(|_| sender == self.user.as_str()) else {
            return;
        };
        self.unanswered.remove(local_id);
        let mut outbox = self.outbox.iter_mut();
        if let Some(sent) = outbox.find(|sent| sent.local_id.as_str() == local_id) {
            sent.acknowledged = Some((id, self.epoch));
        }
    }

    /// The store has everything up to `up_to`: of what was acknowledged since `epoch` is known.
    fn on_stored(&mut self, epoch: u32, up_to: MessageId) {
        let epoch_known = self.epoch;
        let is_safe = |sent: &Sent| {
            let acknowledged = |(id, known)| known == epoch && id <= up_to;
            epoch == epoch_known && sent.acknowledged.is_some_and(acknowledged)
        };
        let (safe, unsafe_) = self.outbox.drain(..).partition(|sent| is_safe(sent));
        self.outbox = unsafe_;
        let safe: Vec<Sent> = safe;
        self.safe.extend(safe.into_iter().map(|sent| sent.local_id));
    }

    /// Whether a durable event is the next of the stream. If not, it must be the answer to a
    /// repeated action of this connection's own, at a place that the stream has passed: a client may
    /// go on from the highest place that it was told.
    fn is_in_turn(
        &mut self,
        position: Position,
        local_id: Option<&str>,
        deleted: Option<MessageId>,
        truth: &Truth,
    ) -> bool {
        let entry = truth.ever(position).expect("only what was in the log");
        let is_answer = local_id
            .is_some_and(|id| self.repeated.contains(id) && entry.sender == self.user)
            || deleted.is_some_and(|id| self.deleted.contains(&id));
        assert!(
            !self.extended || truth.was_visible(self.epoch, position),
            "{position} is not in epoch {}: {self:?}",
            self.epoch
        );
        let mut epochs = self.epochs(truth);
        let fits = epochs.find(|epoch| match self.place {
            Place::Unknown => !is_answer && truth.was_visible(*epoch, position),
            Place::At(last) if truth.next_in(self.epoch, last, *epoch) == Some(position) => true,
            Place::At(last) if self.began_lost => {
                !is_answer && self.follows_newest(position, Some(last.id), *epoch, truth)
            }
            Place::At(_) => false,
            Place::Newest(last) => !is_answer && self.follows_newest(position, last, *epoch, truth),
        });
        let Some(epoch) = fits else {
            assert!(is_answer, "{position} came out of turn: {self:?}");
            match self.place {
                Place::At(last) if !self.began_lost => {
                    assert!(position <= last, "{position} is ahead: {self:?}");
                }
                Place::At(_) | Place::Unknown | Place::Newest(_) => {
                    self.early.insert(position);
                }
            }
            return false;
        };
        if self.place == Place::Unknown {
            let first = self.first_after_start(epoch, truth);
            assert!(
                truth.epoch() > 0 || first.is_none_or(|first| position <= first),
                "{position} came instead of {first:?} or an earlier one"
            );
        }
        self.go_over(epoch, truth);
        self.place = match self.place {
            Place::Newest(_) if position.k == 0 => Place::Newest(Some(position.id)),
            Place::Newest(_) | Place::Unknown | Place::At(_) => Place::At(position),
        };
        true
    }

    /// The epochs that the next event may be in.
    fn epochs(&self, truth: &Truth) -> std::ops::RangeInclusive<u32> {
        match self.extended {
            true => self.epoch..=self.epoch,
            false => self.epoch..=truth.epoch(),
        }
    }

    /// What this client shows of what was lost is no matter any more.
    fn go_over(&mut self, epoch: u32, truth: &Truth) {
        if epoch != self.epoch {
            let changed = truth.changed_since(self.epoch, epoch);
            self.shown.retain(|id, _| !changed.contains(id));
            self.epoch = epoch;
        }
    }

    /// As the protocol asks of a client: back to `lost_after`, and the outbox once more.
    fn on_resync(&mut self, epoch: u32, lost_after: Position, stored_id: MessageId, truth: &Truth) {
        assert!(self.extended);
        let is_no_event = lost_after == Position::ZERO || lost_after.is_mark();
        assert!(
            is_no_event || truth.was_visible(epoch, lost_after),
            "{lost_after} is lost"
        );
        let kept = truth.had(epoch, lost_after, epoch);
        match (epoch == self.epoch, self.since) {
            (true, Some(since)) => {
                assert!(self.not_resumed && !truth.was_visible(epoch, since));
                let survived = truth.had(epoch, since, epoch);
                // Nobody knows what an epoch that left nothing had left out.
                let fits = kept == survived || (kept == 0 && !truth.has_of_epoch(epoch, since));
                assert!(fits, "{lost_after} for {since}");
                self.began_lost = true;
            }
            (true, None) => {
                assert!(self.not_resumed && self.asked_beyond);
                self.began_lost = true;
            }
            (false, _) => {
                assert!(epoch > self.epoch, "back from {}", self.epoch);
                if let Place::At(last) = self.place {
                    let survived = truth.had(self.epoch, last, epoch);
                    // An answer out of turn may have come just where it would have been next.
                    let had_answers = !self.repeated.is_empty() || !self.deleted.is_empty();
                    let fits = kept == survived || (had_answers && kept < survived);
                    assert!(fits, "{lost_after} for {self:?}");
                }
            }
        }
        self.not_resumed = false;
        self.go_over(epoch, truth);
        self.place = Place::At(lost_after);
        for sent in &mut self.outbox {
            sent.acknowledged = None;
        }
        self.owes_outbox = true;
        self.on_stored(epoch, stored_id);
    }

    /// What a connection that does not know its place must have been told, at the latest, before
    /// anything later.
    fn first_after_start(&self, epoch: u32, truth: &Truth) -> Option<Position> {
        let (then, live_before) = self.live_before?;
        let mut next = truth.next_in(then, live_before, epoch)?;
        while self.early.contains(&next) {
            next = truth.next_in(epoch, next, epoch)?;
        }
        Some(next)
    }

    /// Messages without a hole, with their present content; the first later change of one tells
    /// how far that present reached.
    fn follows_newest(
        &self,
        position: Position,
        last: Option<MessageId>,
        epoch: u32,
        truth: &Truth,
    ) -> bool {
        // The present content of a message may reach to here; so may that of none, behind a mark.
        let follows = Some(position.id) == last
            || position.id.n() == 0
            || self.early.contains(&Position::of(position.id));
        let fits = match last {
            _ if position.k > 0 => follows,
            None => true,
            Some(last) => {
                last < position.id && !self.misses_between(last, position.id, epoch, truth)
            }
        };
        fits && truth.was_visible(epoch, position)
    }

    /// Whether a message in between was never told, as an answer neither.
    fn misses_between(
        &self,
        above: MessageId,
        below: MessageId,
        epoch: u32,
        truth: &Truth,
    ) -> bool {
        let sequence = truth.sequence(epoch);
        let mut between = sequence
            .iter()
            .filter(|e| is_message(e) && above < id_of(e) && id_of(e) < below);
        between.any(|e| !self.early.contains(&e.position))
    }

    fn note_status(&mut self, id: MessageId, status: Status, truth: &Truth) {
        let author = &truth.ever(Position::of(id)).expect("it was there").sender;
        let others = truth.others(author);
        match status {
            Status::Sent => {}
            Status::Delivered => assert!(others.delivered >= id, "{id} reached nobody"),
            Status::Read => assert!(others.read >= id, "{id} was read by nobody"),
            Status::Failed => {
                assert!(!self.extended && truth.epoch() > 0, "nothing is lost");
                self.failed.push(Position::of(id));
            }
        }
        if *author == self.user {
            let before = self.statuses.insert(id, status);
            assert!(
                before.is_none_or(|before| before <= status),
                "{before:?} then {status:?}"
            );
        }
    }

    fn on_error(&mut self, code: ErrorCode, truth: &Truth) {
        match code {
            ErrorCode::ResumeLost => {
                assert!(!self.extended);
                let lost_in = |since| {
                    let epochs = &mut (self.epoch..=truth.epoch());
                    epochs.find(|epoch| !truth.was_visible(*epoch, since))
                };
                let Some(since) = self.since else {
                    return assert!(self.asked_beyond, "nothing was lost");
                };
                self.epoch = lost_in(since).expect("nothing was lost");
                if !truth.has_of_epoch(self.epoch, since) {
                    self.place = Place::Newest(None);
                }
            }
            ErrorCode::ResumeTooOld => {
                assert!(!self.extended && (self.since.is_some() || self.asked_beyond));
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

    fn on_hello(&mut self, resumed: bool, truth: &Truth) {
        assert!(self.extended && !self.greeted, "hello is said once");
        self.greeted = true;
        self.not_resumed = !resumed && (self.since.is_some() || self.asked_beyond);
        match self.since {
            Some(since) if resumed => {
                let exists = since.is_mark() || since == Position::ZERO;
                assert!(exists || truth.was_visible(self.epoch, since));
            }
            Some(since) => self.place = Place::Newest(Some(since.id)),
            None => {}
        }
    }

    /// Everything up to `position` was told.
    fn on_live(&mut self, position: Position, truth: &Truth) {
        assert!(self.extended && !self.live, "live is said once");
        self.live = true;
        self.owes_outbox = true;
        let missed = match self.place {
            Place::Unknown => false,
            Place::At(last) if self.began_lost => {
                let end = MessageId::new(position.id.get() + 1).expect("runs are short");
                self.misses_between(last.id, end, self.epoch, truth)
            }
            Place::At(last) => truth
                .next_in(self.epoch, last, self.epoch)
                .is_some_and(|next| next <= position),
            Place::Newest(last) => {
                let end = MessageId::new(position.id.get() + 1).expect("runs are short");
                self.misses_between(last.unwrap_or_default(), end, self.epoch, truth)
            }
        };
        assert!(!missed, "left out before {position}: {self:?}");
        self.began_lost = false;
        self.place = Place::At(position);
    }

    fn on_gap(&mut self, from: MessageId, to: MessageId, truth: &Truth) {
        let since = match self.place {
            Place::Newest(Some(last)) => last,
            Place::At(last) if self.began_lost => last.id,
            Place::Unknown | Place::At(_) | Place::Newest(None) => {
                panic!("only a resume leaves something out: {self:?}")
            }
        };
        self.not_resumed = false;
        let sequence = truth.sequence(self.epoch).iter();
        let first = sequence.filter(|e| is_message(e)).map(id_of);
        assert_eq!(
            Some(from),
            first.clone().find(|id| *id > since),
            "the gap begins behind what the client has"
        );
        assert!(truth.was_visible(self.epoch, Position::of(to)) && from <= to);
        self.place = Place::Newest(Some(to));
    }

    /// Nothing is under way any more: this client knows everything there is to know. `forgets`: what
    /// was lost may have left the room's ring before, and before a slow base client was told it.
    pub(crate) fn check_complete(&mut self, forgets: bool, truth: &Truth) {
        let epoch = truth.epoch();
        assert!(!self.extended || self.epoch == epoch, "no resync: {self:?}");
        let missing = match self.place {
            Place::Unknown => self.first_after_start(epoch, truth),
            Place::At(last) => truth.next_in(self.epoch, last, epoch),
            Place::Newest(last) => {
                let end = MessageId::new(truth.head().id.get() + 1).expect("runs are short");
                let missed = self.misses_between(last.unwrap_or_default(), end, epoch, truth);
                assert!(!missed, "the newest messages are all told: {self:?}");
                None
            }
        };
        assert_eq!(missing, None, "never told to {self:?}");
        assert!(self.live || !self.extended, "live is always said: {self:?}");
        let is_answered = self.unanswered.is_empty() || (forgets && !self.extended);
        assert!(is_answered, "each send is answered: {self:?}");
        self.go_over(epoch, truth);
        for (id, shown) in &self.shown {
            let row = truth.row(*id).expect("only what is in the log");
            assert_eq!(**shown, *row.content, "message {id} of {self:?}");
        }
    }
}

fn id_of(entry: &Arc<Entry>) -> MessageId {
    entry.position.id
}

fn is_message(entry: &Entry) -> bool {
    entry.position.k == 0
}
