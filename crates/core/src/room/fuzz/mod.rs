//! One room driven by arbitrary bytes, called by the target `session` in `fuzz/` and, with its committed
//! corpus, by the test below. Not part of a build.
//!
//! Each byte is a step or what a step needs: clients come, go and say what they like; the log, readings
//! and the feed answer late, in any order, or not at all. Log and readings themselves keep their promises,
//! by the same truth that the model test has. `client` judges what one socket is told.
//!
//! In here, and not beside the model test, since it looks at what a room keeps.

mod client;
#[path = "../../../tests/room_model/taken.rs"]
mod taken;
#[expect(dead_code, reason = "the model test judges by more of it")]
#[path = "../../../tests/room_model/truth.rs"]
mod truth;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use client::Client;
use parlance_protocol::{
    Action, CloseCode, ConversationId, LocalId, MessageId, Position, ReconnectReason, UnixMicros,
    UserId, parse_action,
};
use taken::Taken;
use truth::Truth;

use super::{
    ActionKind, Context, Departure, Effect, FrameSink, Joiner, MemberKey, Opened, Reply, Request,
    Room, Ticket, answers::Pending,
};
use crate::{
    clock::{Mono, Now},
    entry::{Draft, Event},
    identity::{Conversations, Identity},
    ports::{Appended, Cursor, Denied, Ephemeral, Heard, Unavailable},
    quota::UserQuota,
    settings::Settings,
};

const MEMBERS_MAX: usize = 6;
const EPOCHS_MAX: u32 = 4;
/// Longer runs find nothing that two short ones do not.
const STEPS_MAX: usize = 600;
/// More than all that waits for one socket.
const ALL_BYTES: usize = 8 << 20;

/// Whatever members, log and clock do, the room neither panics nor forgets anybody.
pub fn session(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut world = World::new(bytes.next());
    for _ in 0..STEPS_MAX {
        if bytes.0.is_empty() {
            break;
        }
        world.step(&mut bytes);
        world.check();
    }
    world.settle();
}

/// The input; behind its end everything is zero.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or_default()
    }

    fn chance(&mut self) -> bool {
        self.next() % 2 == 1
    }
}

struct World {
    room: Room,
    truth: Truth,
    now: Now,
    random: u64,
    opening: bool,
    subscribed: bool,
    appends: VecDeque<(Ticket, Draft)>,
    asked: Vec<(Ticket, Request)>,
    answers: Vec<(Ticket, Reply)>,
    inbox: Vec<Heard>,
    owes_doubt: bool,
    clients: BTreeMap<MemberKey, Client>,
    /// Users that the presence port was told of.
    joined: BTreeSet<UserId>,
    next_name: u64,
}

impl World {
    fn new(kind: u8) -> Self {
        let is_rated = kind & 2 > 0;
        let is_small = kind & 4 > 0;
        let settings = Settings {
            actions_per_second: if is_rated { 20 } else { 0 },
            resume_events: 20,
            ring_entries: if is_small { 4 } else { 64 },
            ring_bytes: if is_small { 1_000 } else { 1 << 16 },
            ..Settings::default()
        };
        let now = Now {
            mono: Mono(1_000),
            wall: UnixMicros(1_700_000_000_000_000),
        };
        let conversation = ConversationId::new("room").expect("it is valid");
        Self {
            room: Room::new(conversation, Arc::new(settings), now),
            truth: Truth::new(kind & 1 > 0),
            now,
            random: 0,
            opening: false,
            subscribed: false,
            appends: VecDeque::new(),
            asked: Vec::new(),
            answers: Vec::new(),
            inbox: Vec::new(),
            owes_doubt: false,
            clients: BTreeMap::new(),
            joined: BTreeSet::new(),
            next_name: 0,
        }
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.next() % 22 {
            0 | 1 => self.join(bytes),
            2 => self.leave(bytes),
            3..=5 => self.say_well(bytes),
            6 => self.say_raw(bytes),
            7 => self.open(bytes.next() % 8 == 7),
            8 | 9 => self.commit(bytes.next()),
            10 => self.execute(bytes.next(), bytes.next()),
            11 => self.answer(bytes.next()),
            12 => self.hear(bytes.next(), bytes.chance()),
            13 => self.lose(bytes.next()),
            14 => self.doubt(),
            15 => self.append_elsewhere(bytes.next()),
            16 => self.take_some(bytes),
            17 => self.pong(bytes),
            18 => self.wait(1 << (bytes.next() % 16)),
            19 => self.turn(bytes),
            20 => self.whisper(bytes),
            _ => self.come_to_rest(),
        }
    }

    // === what clients do ===

    fn pick(&self, byte: u8) -> Option<MemberKey> {
        let index = usize::from(byte).checked_rem(self.clients.len())?;
        self.clients.keys().nth(index).copied()
    }

    fn join(&mut self, bytes: &mut Bytes<'_>) {
        if self.clients.len() >= MEMBERS_MAX {
            return;
        }
        let (how, since) = (bytes.next(), bytes.next());
        let user = user(how);
        let expires_in_s = if how & 0x80 > 0 { 20 } else { 1_000_000 };
        let since = match since {
            0..=127 => None,
            128 => Some("7-0".to_owned()),
            129 => Some("9007199254740991".to_owned()),
            back => {
                let end = self.truth.entries.len();
                let entry = end.checked_sub(usize::from(back) - 129);
                let entry = entry.and_then(|index| self.truth.entries.get(index));
                Some(entry.map_or(Position::ZERO, |it| it.position).to_string())
            }
        };
        self.next_name += 1;
        let joiner = Joiner {
            identity: self.identity(user.clone(), expires_in_s),
            extended: how & 0x40 > 0,
            since: since.map(Into::into),
            connection_id: self.next_name,
            quota: Arc::new(UserQuota::new(0, self.now.mono)),
        };
        let client = Client::new(user, joiner.extended);
        let mut effects = Vec::new();
        let key = self.call(&mut effects, |room, cx| room.join(joiner, cx));
        let old = self.clients.insert(key, client);
        assert!(old.is_none(), "{key:?} is in use");
        self.carry_out(effects);
    }

    fn identity(&self, user: UserId, expires_in_s: u64) -> Identity {
        Identity {
            username: user.as_str().into(),
            user,
            expires_at: UnixMicros(self.now.wall.0 + expires_in_s * 1_000_000),
            conversations: Conversations::All,
            moderator: false,
        }
    }

    fn leave(&mut self, bytes: &mut Bytes<'_>) {
        let Some(key) = self.pick(bytes.next()) else {
            return;
        };
        let how = match bytes.chance() {
            true => Departure::Goodbye,
            false => Departure::Lost,
        };
        self.clients.remove(&key);
        self.enter(|room, cx| room.leave(key, how, cx));
        self.is_told_nothing(key);
    }

    /// An action that can be parsed, of any kind.
    fn say_well(&mut self, bytes: &mut Bytes<'_>) {
        let (Some(key), kind, which) = (self.pick(bytes.next()), bytes.next(), bytes.next()) else {
            return;
        };
        let (id, name) = (self.message(which), self.name(which));
        let text = match kind % 10 {
            0..=2 => {
                let content = format!("text {}", which % 8);
                format!(
                    r#"{{"action":"send_message","content":"{content}","local_id":"{name}","retry":true}}"#
                )
            }
            3 => r#"{"action":"send_message","content":"no name"}"#.to_owned(),
            4 => format!(
                r#"{{"action":"edit_message","message_id":"{id}","content":"e{which}","local_id":"{name}"}}"#
            ),
            5 => {
                format!(r#"{{"action":"delete_message","message_id":"{id}","local_id":"{name}"}}"#)
            }
            6 => format!(r#"{{"action":"typing","is_typing":{}}}"#, which % 2 == 0),
            7 => format!(r#"{{"action":"read","message_ids":["{id}"]}}"#),
            8 => match which % 4 {
                0 => r#"{"action":"fetch_messages","limit":3}"#.to_owned(),
                1 => format!(r#"{{"action":"fetch_messages","before_id":"{id}","request_id":7}}"#),
                2 => format!(r#"{{"action":"fetch_messages","after_id":"{id}"}}"#),
                _ => format!(r#"{{"action":"fetch_messages","around_id":"{id}"}}"#),
            },
            _ => match which % 4 {
                0 => r#"{"action":"auth","token":"t"}"#.to_owned(),
                _ => r#"{"action":"heartbeat"}"#.to_owned(),
            },
        };
        self.say(key, &text);
    }

    /// A few names are given again, for the same content or another one.
    fn name(&mut self, which: u8) -> LocalId {
        self.next_name += 1;
        let name = match which {
            0..=31 => format!("l{}", which % 8),
            32..=39 => format!("l{}", (which + 1) % 8),
            _ => format!("n{}", self.next_name),
        };
        LocalId::new(&name).expect("it is valid")
    }

    /// Some message, counted from the newest; perhaps none that exists.
    fn message(&self, back: u8) -> MessageId {
        let some = self.truth.all_messages().nth_back((back % 16).into());
        some.map_or(MessageId::ZERO, |some| some.position.id)
    }

    fn say_raw(&mut self, bytes: &mut Bytes<'_>) {
        let (Some(key), length) = (self.pick(bytes.next()), usize::from(bytes.next())) else {
            return;
        };
        let (text, rest) = bytes.0.split_at(length.min(bytes.0.len()));
        bytes.0 = rest;
        if let Ok(text) = str::from_utf8(text) {
            self.say(key, text);
        }
    }

    fn say(&mut self, key: MemberKey, text: &str) {
        let name = match parse_action(text, &self.room.conversation, usize::MAX) {
            Ok(action) => name_of(&action).map(Into::into),
            Err(refusal) => refusal.action.as_deref().map(Into::into),
        };
        if let Some(client) = self.clients.get_mut(&key) {
            client.asks(name);
        }
        self.enter(|room, cx| room.on_text(key, text, cx));
    }

    fn pong(&mut self, bytes: &mut Bytes<'_>) {
        let Some(key) = self.pick(bytes.next()) else {
            return;
        };
        let known = self.clients.get_mut(&key).and_then(|it| it.pings.pop());
        let payload = known.unwrap_or([bytes.next(); 8]);
        self.enter(|room, cx| room.on_pong(key, &payload, cx));
    }

    fn take_some(&mut self, bytes: &mut Bytes<'_>) {
        let Some(key) = self.pick(bytes.next()) else {
            return;
        };
        self.take(key, usize::from(bytes.next()) * 16 + 1);
    }

    fn take(&mut self, key: MemberKey, budget_bytes: usize) -> bool {
        let mut taken = Taken::default();
        let mut effects = Vec::new();
        let more = self.call(&mut effects, |room, cx| {
            room.take(key, &mut taken, budget_bytes, cx)
        });
        if let Some(client) = self.clients.get_mut(&key) {
            for text in &taken.texts {
                client.hear(text);
            }
            client.pings.extend(taken.pings);
        }
        self.carry_out(effects);
        more
    }

    fn is_told_nothing(&mut self, key: MemberKey) {
        let mut taken = Taken::default();
        let more = self.call(&mut Vec::new(), |room, cx| {
            room.take(key, &mut taken, ALL_BYTES, cx)
        });
        assert!(!more && taken.bytes() == 0, "{key:?} is gone");
    }

    // === what the ports do ===

    fn open(&mut self, fails: bool) {
        if !std::mem::take(&mut self.opening) {
            return;
        }
        self.subscribed = !fails;
        let opened = Opened {
            head: self.truth.opening(),
            present: self.truth.present(),
            cursors: self.truth.cursors(),
        };
        let opened = if fails { Err(down()) } else { Ok(opened) };
        self.enter(|room, cx| room.on_opened(opened, cx));
    }

    /// The log takes the next append: calls of one node stand in their order.
    fn commit(&mut self, how: u8) {
        let Some((ticket, draft)) = self.appends.pop_front() else {
            return;
        };
        let named = draft.local_id.is_some();
        let result = match how % 8 {
            0 => Err(down()),
            1 if named => Ok(Appended::Conflict),
            2 if named => Ok(Appended::TooMany),
            3 => {
                self.append(draft, false);
                Err(down())
            }
            4 => Ok(self.append(draft, true)),
            _ => Ok(self.append(draft, false)),
        };
        self.answers.push((ticket, Reply::Append(result)));
    }

    /// `in_silence`: the feed leaves it out, which is allowed to an adapter.
    fn append(&mut self, draft: Draft, in_silence: bool) -> Appended {
        let appended = self.truth.append(draft, self.now.wall);
        if let Appended::New(entry) = &appended
            && !in_silence
        {
            self.publish(Heard::Entry(entry.clone()));
        }
        appended
    }

    fn append_elsewhere(&mut self, which: u8) {
        let message_id = self.message(which >> 2);
        let may_change = self.truth.row(message_id).is_some();
        let content = "from elsewhere".into();
        let event = match which % 4 {
            0 if may_change => Event::Edit {
                message_id,
                content,
            },
            1 if may_change => Event::Delete { message_id },
            _ => Event::Message { content },
        };
        let draft = Draft {
            sender: user(which),
            local_id: None,
            retry: false,
            event,
            at: self.now.wall,
            restores: None,
            trace: None,
        };
        self.append(draft, false);
    }

    /// Makes one of the readings that were asked for.
    fn execute(&mut self, pick: u8, how: u8) {
        let Some(index) = usize::from(pick).checked_rem(self.asked.len()) else {
            return;
        };
        let (ticket, request) = self.asked.remove(index);
        let reply = self.reading(request, how);
        self.answers.push((ticket, reply));
    }

    /// `how`: 255 fails, a few others bring short pages and other identities.
    fn reading(&self, request: Request, how: u8) -> Reply {
        let truth = &self.truth;
        let ok = if how == 255 { Err(down()) } else { Ok(()) };
        match request {
            Request::Append(_) => unreachable!("appends are kept apart"),
            Request::Head => Reply::Head(ok.map(|()| truth.opening())),
            Request::Replay { after, limit } => {
                let at_most = if how >= 200 { 2 } else { limit };
                Reply::Replay(ok.map(|()| truth.replay(after, at_most)))
            }
            Request::Page { anchor, limit } => Reply::Page(ok.map(|()| truth.page(anchor, limit))),
            Request::At(position) => Reply::At(ok.map(|()| truth.at(position))),
            Request::Authored {
                author,
                above,
                up_to,
                limit,
            } => Reply::Authored(ok.map(|()| truth.authored(&author, above, up_to, limit))),
            Request::Cursor(user) => Reply::Cursor(ok.map(|()| truth.cursor(&user))),
            Request::Verify(_) => Reply::Verify(match how {
                250.. => Err(Denied::BadSignature),
                240..=249 => Ok(Identity {
                    conversations: Conversations::Only(Vec::new()),
                    ..self.identity(user(how), 1_000)
                }),
                _ => Ok(self.identity(user(how), 1_000)),
            }),
        }
    }

    /// Brings one of the answers.
    fn answer(&mut self, pick: u8) {
        let Some(index) = usize::from(pick).checked_rem(self.answers.len()) else {
            return;
        };
        let (ticket, reply) = self.answers.remove(index);
        let told = self.answer_to(ticket, &reply);
        let waited = |room: &Room, key| room.members[super::index(key)].direct_bytes();
        let before = told.map(|(key, _)| waited(&self.room, key));
        let mut effects = Vec::new();
        self.call(&mut effects, |room, cx| room.on_reply(ticket, reply, cx));
        if let Some((key, answer)) = told
            && let Some(client) = self.clients.get_mut(&key)
        {
            let is_here = self.room.members.contains(super::index(key));
            match answer {
                Answer::InTurn(position) => client.is_owed_in_turn(position),
                Answer::Alone(_) if !is_here => {}
                Answer::Alone((kind, position)) if Some(waited(&self.room, key)) == before => {
                    client.is_owed_its_turn(kind, position);
                }
                Answer::Alone((kind, position)) => client.is_owed_alone(kind, position),
            }
        }
        self.carry_out(effects);
    }

    /// Whose action a reply answers, and in which way; not for refusals and pages, which say so.
    fn answer_to(&self, ticket: Ticket, reply: &Reply) -> Option<(MemberKey, Answer)> {
        let (_, pending) = self.room.pending.get(&ticket)?;
        let (asker, answer) = match (pending, reply) {
            (Pending::Append { asker, .. }, Reply::Append(Ok(Appended::New(entry)))) => {
                (asker, Answer::InTurn(entry.position))
            }
            (
                Pending::Repeat {
                    asker, at, subject, ..
                },
                Reply::At(Ok(Some(_))),
            ) => (asker, Answer::Alone((subject.kind, *at))),
            (Pending::Deleted { asker, at }, Reply::At(Ok(Some(_)))) => {
                (asker, Answer::Alone((ActionKind::DeleteMessage, *at)))
            }
            _ => return None,
        };
        Some((self.room.present(*asker)?, answer))
    }

    fn hear(&mut self, pick: u8, again: bool) {
        let Some(index) = usize::from(pick).checked_rem(self.inbox.len()) else {
            return;
        };
        let heard = match again {
            true => self.inbox[index].clone(),
            false => self.inbox.remove(index),
        };
        self.enter(|room, cx| room.on_heard(heard, cx));
    }

    fn lose(&mut self, pick: u8) {
        if let Some(index) = usize::from(pick).checked_rem(self.inbox.len()) {
            self.inbox.remove(index);
            self.owes_doubt = true;
        }
    }

    fn doubt(&mut self) {
        self.owes_doubt = false;
        self.enter(|room, cx| room.on_heard(Heard::Doubt, cx));
    }

    /// The store has all, the log loses its tail, or this node goes.
    fn turn(&mut self, bytes: &mut Bytes<'_>) {
        let how = bytes.next();
        match how % 4 {
            0 => {
                let heard = self.truth.store();
                self.publish(heard);
            }
            1 if self.truth.epoch() < EPOCHS_MAX && !self.truth.opening().stored_at_ack => {
                self.truth.fail_over((how >> 2).into());
                self.owes_doubt = true;
            }
            2 => {
                if let Some(key) = self.pick(how >> 2) {
                    let reason = ReconnectReason::Drain;
                    self.enter(|room, cx| room.ask_to_reconnect(key, how.into(), reason, cx));
                }
            }
            _ => {
                if let Some(key) = self.pick(how >> 2) {
                    self.enter(|room, cx| room.close(key, CloseCode::Overloaded, "full", cx));
                }
            }
        }
    }

    /// Something that is not durable, true or not.
    fn whisper(&mut self, bytes: &mut Bytes<'_>) {
        let (who, what) = (bytes.next(), bytes.next());
        let (user, at) = (user(who), self.now.wall);
        let ephemeral = match what % 5 {
            0 => Ephemeral::Typing {
                username: user.as_str().into(),
                user,
                is_typing: who & 0x80 > 0,
            },
            1 => Ephemeral::WhoTypes,
            2 => Ephemeral::Online { user, at },
            3 => Ephemeral::Offline { user, at },
            _ => {
                let (delivered, read) = (self.message(what >> 4), self.message(bytes.next()));
                let cursor = Cursor { delivered, read }.merge(Cursor::default());
                let listed = if who & 0x80 > 0 { vec![read] } else { vec![] };
                Ephemeral::Cursor {
                    user,
                    cursor,
                    at,
                    listed: listed.into(),
                }
            }
        };
        self.enter(|room, cx| room.on_heard(Heard::Ephemeral(ephemeral), cx));
    }

    /// Time passes, and whoever asked for it is called.
    fn wait(&mut self, ms: u64) {
        self.now.mono = self.now.mono.plus_ms(ms);
        self.now.wall.0 += ms * 1_000;
        let now = self.now;
        if self.room.deadline().is_some_and(|at| at <= now.mono) {
            self.enter(|room, cx| room.on_deadline(cx));
            let next = self.room.deadline();
            assert!(next.is_none_or(|at| at > now.mono), "{next:?} is past");
        }
        for key in self.keys() {
            let due = self.room.member_deadline(key, now);
            if due.is_some_and(|at| at <= now.mono) {
                self.enter(|room, cx| room.on_member_deadline(key, cx));
            }
        }
    }

    fn keys(&self) -> Vec<MemberKey> {
        self.clients.keys().copied().collect()
    }

    // === after each step, and at the end ===

    fn check(&self) {
        self.room.ring.check();
        let asked = self.appends.len() + self.asked.len() + self.answers.len();
        assert_eq!(self.room.pending.len(), asked, "tickets without a request");
        assert!(self.room.members().eq(self.clients.keys().copied()));
    }

    /// Everything under way arrives.
    fn come_to_rest(&mut self) {
        self.open(false);
        for _ in 0..self.appends.len() {
            self.commit(7);
        }
        for _ in 0..self.asked.len() {
            self.execute(0, 0);
        }
        for _ in 0..self.answers.len() {
            self.answer(0);
        }
        for _ in 0..self.inbox.len() {
            self.hear(0, false);
        }
        if self.owes_doubt {
            self.doubt();
        }
        for key in self.keys() {
            while self.take(key, ALL_BYTES) {}
        }
    }

    /// Nothing fails any more: then nothing waits, and every action is answered.
    fn settle(&mut self) {
        for key in self.keys() {
            self.enter(|room, cx| room.on_alive(key, cx));
        }
        for _ in 0..400 {
            self.come_to_rest();
            self.check();
            let soon = self.now.mono.plus_ms(500);
            let is_quiet = !self.opening
                && self.room.pending.is_empty()
                && self.inbox.is_empty()
                && !self.owes_doubt
                && self.room.deadline().is_none_or(|at| at > soon);
            if is_quiet {
                return self.check_answered();
            }
            self.wait(50);
        }
        panic!("it never comes to rest");
    }

    fn check_answered(&mut self) {
        let may_lose = self.truth.epoch() > 0;
        for client in self.clients.values() {
            client.check_answered(may_lose);
        }
        if !self.clients.is_empty() {
            assert_eq!(self.room.head(), self.truth.head());
        }
    }

    // === between the room and the rest ===

    fn enter(&mut self, act: impl FnOnce(&mut Room, &mut Context<'_>)) {
        let mut effects = Vec::new();
        self.call(&mut effects, act);
        self.carry_out(effects);
    }

    fn call<T>(
        &mut self,
        effects: &mut Vec<Effect>,
        act: impl FnOnce(&mut Room, &mut Context<'_>) -> T,
    ) -> T {
        let seed = &mut self.random;
        let mut random = || {
            *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
            *seed
        };
        let mut cx = Context {
            now: self.now,
            random: &mut random,
            effects,
        };
        act(&mut self.room, &mut cx)
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.effect(effect);
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Open => {
                assert!(!self.opening, "it is opening");
                self.opening = true;
            }
            Effect::Request(ticket, Request::Append(draft)) => {
                self.appends.push_back((ticket, draft));
            }
            Effect::Request(ticket, request) => self.asked.push((ticket, request)),
            Effect::Publish(ephemeral) => self.publish(Heard::Ephemeral(ephemeral)),
            Effect::PresenceJoin(user) => {
                if self.joined.insert(user.clone()) {
                    let news = self.truth.joined(user, self.now.wall);
                    self.publish_some(news);
                }
            }
            Effect::PresenceLeave(user) => {
                self.joined.remove(&user);
                let news = self.truth.left(user, self.now.wall);
                self.publish_some(news);
            }
            Effect::Advance {
                user,
                cursor,
                listed,
            } => {
                let news = self.truth.advance(user, cursor, listed, self.now.wall);
                self.publish_some(news);
            }
            Effect::Close {
                member,
                last,
                reason,
                ..
            } => {
                assert!(reason.len() <= 123, "{reason} is no reason of a close");
                let client = self.clients.remove(&member);
                let mut client = client.expect("nobody is closed twice");
                for text in last {
                    client.hear(&text);
                }
                self.is_told_nothing(member);
            }
            Effect::Write(_)
            | Effect::WriteAll
            | Effect::Deadline
            | Effect::MemberDeadline(_)
            | Effect::Count(_) => {}
        }
    }

    fn publish_some(&mut self, news: Option<Ephemeral>) {
        if let Some(ephemeral) = news {
            self.publish(Heard::Ephemeral(ephemeral));
        }
    }

    fn publish(&mut self, heard: Heard) {
        if self.subscribed {
            self.inbox.push(heard);
        }
    }
}

/// How an action is answered that succeeds.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// By its event, which everybody is told.
    InTurn(Position),
    /// By a frame of its own that shows this event.
    Alone((ActionKind, Position)),
}

fn user(byte: u8) -> UserId {
    UserId::new(&format!("user{}", byte % 3)).expect("it is valid")
}

fn name_of(action: &Action<'_>) -> Option<&'static str> {
    ActionKind::of_action(action).name()
}

fn down() -> Unavailable {
    Unavailable::new("down for this run")
}

#[cfg(test)]
mod tests {
    use parlance_testkit::corpus::replay;

    #[test]
    fn what_fuzzing_began_with_holds() {
        replay("session", super::session);
    }
}
