//! One socket, which judges what it is told by what it asked.
//!
//! In turn are the events of the log: their positions rise. Alone is what answers a repeated action with
//! an event that was told in turn before, so each position has a budget of tellings; one that was not
//! is told in its turn, and that answers.

use std::collections::{BTreeMap, BTreeSet};

use parlance_protocol::{ErrorCode, Position, ServerFrame, UserId};

use super::ActionKind;

/// An action's name as it was given, if it was.
type Name = Option<Box<str>>;

/// Of the actions of one name.
#[derive(Debug, Default)]
struct Tally {
    asked: u32,
    /// Refused, or answered by a frame that says which action it answers.
    answered: u32,
    /// Answered by their event.
    done: u32,
}

#[derive(Debug)]
pub(super) struct Client {
    user: UserId,
    extended: bool,
    tallies: BTreeMap<Name, Tally>,
    told: BTreeMap<Position, u32>,
    alone: BTreeMap<Position, u32>,
    /// Events that answer this socket's actions.
    own: BTreeSet<Position>,
    /// Those whose turn answers a repeated action.
    turns: BTreeSet<Position>,
    last: Position,
    epoch: Option<u32>,
    was_live: bool,
    pub(super) pings: Vec<[u8; 8]>,
}

impl Client {
    pub(super) fn new(user: UserId, extended: bool) -> Self {
        Self {
            user,
            extended,
            tallies: BTreeMap::new(),
            told: BTreeMap::new(),
            alone: BTreeMap::new(),
            own: BTreeSet::new(),
            turns: BTreeSet::new(),
            last: Position::ZERO,
            epoch: None,
            was_live: false,
            pings: Vec::new(),
        }
    }

    pub(super) fn asks(&mut self, name: Name) {
        self.tallies.entry(name).or_default().asked += 1;
    }

    pub(super) fn is_owed_in_turn(&mut self, position: Position) {
        assert!(self.own.insert(position), "{position} answers two actions");
    }

    pub(super) fn is_owed_alone(&mut self, kind: ActionKind, position: Position) {
        *self.alone.entry(position).or_default() += 1;
        self.is_done(kind);
    }

    /// A repeated action's event is not told yet. (Or was read under another epoch, and is read again.)
    pub(super) fn is_owed_its_turn(&mut self, kind: ActionKind, position: Position) {
        self.turns.insert(position);
        self.is_done(kind);
    }

    fn is_done(&mut self, kind: ActionKind) {
        let name = kind.name().map(Into::into);
        self.tallies.entry(name).or_default().done += 1;
    }

    pub(super) fn hear(&mut self, text: &[u8]) {
        let frame = ServerFrame::decode(text);
        let shown = || String::from_utf8_lossy(text);
        let frame = frame.unwrap_or_else(|| panic!("{} is no frame", shown()));
        let is_greeted = self.epoch.is_some() || !self.extended;
        let is_hello = matches!(frame, ServerFrame::Hello { .. });
        assert!(
            is_greeted != (is_hello && self.extended),
            "{} in {self:?}",
            shown()
        );
        match frame {
            ServerFrame::ChatMessage { position, .. }
            | ServerFrame::MessageEdited { position, .. }
            | ServerFrame::MessageDeleted { position, .. } => self.on_event(position),
            ServerFrame::MessageFailed { .. } => self.answer(Some("send_message".into())),
            ServerFrame::Error {
                code: ErrorCode::ResumeTooOld | ErrorCode::ResumeLost,
                ..
            } => assert!(!self.extended),
            ServerFrame::Error { action, .. } => self.answer(action.map(|it| (*it).into())),
            ServerFrame::MessagesFetched { .. } => self.answer(Some("fetch_messages".into())),
            ServerFrame::AuthOk { .. } => self.answer(Some("auth".into())),
            ServerFrame::Hello { epoch, .. } => self.epoch = Some(epoch),
            ServerFrame::Resync { epoch, .. } => {
                assert!(self.epoch <= Some(epoch), "back to epoch {epoch}");
                self.epoch = Some(epoch);
            }
            ServerFrame::Live { .. } => {
                assert!(!self.was_live, "live twice");
                self.was_live = true;
            }
            ServerFrame::Typing { user_id, .. } | ServerFrame::UserStatus { user_id, .. } => {
                assert_ne!(*user_id, *self.user.as_str(), "never about oneself");
            }
            ServerFrame::Stored { .. }
            | ServerFrame::Gap { .. }
            | ServerFrame::Receipts { .. }
            | ServerFrame::Presence { .. }
            | ServerFrame::AuthExpiring { .. }
            | ServerFrame::Reconnect { .. }
            | ServerFrame::AccessRevoked { .. } => assert!(self.extended, "{}", shown()),
            ServerFrame::MessageStatus { .. }
            | ServerFrame::Read { .. }
            | ServerFrame::Heartbeat {} => {}
        }
    }

    fn on_event(&mut self, position: Position) {
        let alone = self.alone.get(&position).copied().unwrap_or_default();
        let is_in_turn = position > self.last;
        assert!(
            is_in_turn || alone > 0,
            "{position} comes after {}",
            self.last
        );
        self.last = self.last.max(position);
        let told = self.told.entry(position).or_default();
        *told += 1;
        assert!(*told <= 1 + alone, "{position} is told {told} times");
    }

    fn answer(&mut self, name: Name) {
        let tally = self.tallies.entry(name.clone()).or_default();
        tally.answered += 1;
        assert!(
            tally.answered <= tally.asked,
            "{name:?} is answered too often: {tally:?}"
        );
    }

    /// `may_lose`: an event that was appended may have been lost, and refused for that.
    pub(super) fn check_answered(&self, may_lose: bool) {
        for position in self.own.iter().filter(|_| !may_lose) {
            let alone = self.alone.get(position).copied().unwrap_or_default();
            let told = self.told.get(position).copied().unwrap_or_default();
            assert_eq!(told, 1 + alone, "{position} of {self:?}");
        }
        for position in self.turns.iter().filter(|_| !may_lose) {
            let is_told = self.told.contains_key(position);
            assert!(is_told, "{position} never had its turn: {self:?}");
        }
        let (mut asked, mut answered) = (0, self.own.len() as u32);
        for (name, tally) in &self.tallies {
            match name.as_deref() {
                // Those are not answered when they are done.
                Some("typing" | "heartbeat" | "heartbeat_ack" | "read") => continue,
                Some("send_message" | "edit_message" | "delete_message") => {
                    asked += tally.asked;
                    answered += tally.answered + tally.done;
                }
                Some(_) | None => {
                    assert_eq!(tally.answered, tally.asked, "{name:?} of {self:?}");
                }
            }
        }
        let is_right = answered == asked || (may_lose && answered > asked);
        assert!(is_right, "{answered} of {asked} answered: {self:?}");
    }
}
