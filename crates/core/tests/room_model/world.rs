//! Several nodes with a room each, on one log, with everything between them under the test's hand.
//!
//! Nothing happens by itself: whether, when and in which order the log commits, a reading is made,
//! an answer or a live event arrives, a socket takes frames, is a step of the run.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use parlance_core::{
    clock::{Mono, Now},
    entry::{Draft, Event},
    identity::{Conversations, Identity},
    ports::{Appended, Ephemeral, Heard, Unavailable},
    quota::UserQuota,
    room::{Context, Departure, Effect, Joiner, MemberKey, Opened, Reply, Request, Room, Ticket},
    settings::Settings,
};
use parlance_protocol::{
    CloseCode, ConversationId, LocalId, MessageId, Position, UnixMicros, UserId,
};

use crate::{
    connection::{Connection, Place, Sent},
    taken::Taken,
    truth::Truth,
};

pub(crate) const NODES: usize = 3;
pub(crate) const USERS: usize = 3;
/// Enough for one frame; what is left stays for the next time.
const LARGE_BUDGET: usize = 1 << 20;

#[derive(Debug)]
enum Opening {
    No,
    /// Not subscribed yet.
    Asked,
    /// Subscribed and read; the answer is under way.
    Read(Box<Opened>),
}

pub(crate) struct Node {
    room: Room,
    opening: Opening,
    subscribed: bool,
    inbox: Vec<Heard>,
    /// The epoch and head of the log when the room was opened or doubted last.
    knows: (u32, Position),
    /// The head of the log when the room was opened.
    opened_at: Position,
    /// How many rooms this node had before.
    generation: usize,
    /// Something was lost that nothing later may tell of.
    owes_doubt: bool,
    appends: VecDeque<(Ticket, Draft)>,
    asked: Vec<(Ticket, Request)>,
    answers: Vec<(Ticket, Reply)>,
    woken: BTreeSet<MemberKey>,
    /// As the room said.
    deadline: Option<Mono>,
    connections: BTreeMap<MemberKey, Connection>,
    /// Users that the presence port was told of.
    joined: BTreeSet<UserId>,
    /// Users that it was told are offline.
    offline: BTreeSet<UserId>,
}

impl Node {
    /// A node without a room's history, with small bounds that runs reach.
    fn new(now: Now, log: LogKind, generation: usize) -> Self {
        let (ring_entries, ring_bytes) = match log {
            LogKind::Safe | LogKind::Lossy { roomy: false } => (12, 2_000),
            LogKind::Lossy { roomy: true } => (10_000, 1 << 20),
        };
        let settings = Settings {
            actions_per_second: 0,
            resume_events: 20,
            ring_entries,
            ring_bytes,
            ..Settings::default()
        };
        let conversation = ConversationId::new("room").expect("it is valid");
        Self {
            room: Room::new(conversation, Arc::new(settings), now),
            opening: Opening::No,
            subscribed: false,
            inbox: Vec::new(),
            knows: (0, Position::ZERO),
            opened_at: Position::ZERO,
            generation,
            owes_doubt: false,
            appends: VecDeque::new(),
            asked: Vec::new(),
            answers: Vec::new(),
            woken: BTreeSet::new(),
            deadline: None,
            connections: BTreeMap::new(),
            joined: BTreeSet::new(),
            offline: BTreeSet::new(),
        }
    }

    /// Whether the room may be dropped. If it says so, nothing of it is left anywhere.
    fn is_over(&self) -> bool {
        if self.room.empty_since().is_none() {
            return false;
        }
        assert!(self.connections.is_empty() && self.joined.is_empty());
        let awaits_nothing =
            self.appends.is_empty() && self.asked.is_empty() && self.answers.is_empty();
        awaits_nothing && matches!(self.opening, Opening::No)
    }

    fn is_quiet(&self) -> bool {
        matches!(self.opening, Opening::No)
            && self.inbox.is_empty()
            && !self.owes_doubt
            && self.appends.is_empty()
            && self.asked.is_empty()
            && self.answers.is_empty()
            && self.woken.is_empty()
    }

    /// A failed reading is tried again within a quarter second, a lost event within half a one.
    fn may_read_again(&self, now: Mono) -> bool {
        self.deadline.is_some_and(|at| at <= now.plus_ms(500))
    }
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commit {
    Answered,
    /// The node's own feed leaves it out, which is allowed to an adapter.
    AnsweredOnly,
    /// It stands in the log, but the node is not told.
    AnswerLost,
    /// It never reached the log, and the node is not told.
    Lost,
}

/// What a joiner asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Since {
    Nothing,
    /// Where this user's last connection ended.
    LastEnd,
    /// Some place in the log, counted from its end.
    Back(u8),
    Zero,
    BeyondHead,
    Malformed,
}

/// What the log is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogKind {
    /// Its own store.
    Safe,
    /// It may lose what is not stored. `roomy`: the rooms' rings hold all of a run.
    Lossy { roomy: bool },
}

/// A message that a base client was told in its turn, and the room that had it.
#[derive(Debug)]
struct Acknowledged {
    node: usize,
    generation: usize,
    position: Position,
}

pub(crate) struct World {
    log: LogKind,
    pub(crate) truth: Truth,
    pub(crate) nodes: Vec<Node>,
    pub(crate) now: Now,
    random: u64,
    next_connection: u64,
    next_content: u64,
    ended_at: BTreeMap<UserId, Position>,
    /// Named sends of each user, for repeating.
    sent: BTreeMap<UserId, Vec<(LocalId, String)>>,
    /// What extended clients of each user had in their outbox when their connection ended.
    outboxes: BTreeMap<UserId, Vec<Sent>>,
    /// Named sends of extended clients that were said to be stored.
    safe: Vec<(UserId, LocalId)>,
    acknowledged: Vec<Acknowledged>,
    pub(crate) failed: BTreeSet<Position>,
    /// Restored events that a node could not offer once: it can the second time.
    refused: BTreeSet<(usize, Position)>,
    /// Or never.
    pub(crate) refuses_lost: bool,
}

impl World {
    pub(crate) fn new(log: LogKind) -> Self {
        let now = Now {
            mono: Mono(1_000),
            wall: UnixMicros(1_700_000_000_000_000),
        };
        Self {
            log,
            truth: Truth::new(log == LogKind::Safe),
            nodes: (0..NODES).map(|_| Node::new(now, log, 0)).collect(),
            now,
            random: 0,
            next_connection: 0,
            next_content: 0,
            ended_at: BTreeMap::new(),
            sent: BTreeMap::new(),
            outboxes: BTreeMap::new(),
            safe: Vec::new(),
            acknowledged: Vec::new(),
            failed: BTreeSet::new(),
            refused: BTreeSet::new(),
            refuses_lost: false,
        }
    }

    /// All connections, in a fixed order.
    pub(crate) fn connections(&self) -> Vec<(usize, MemberKey)> {
        let nodes = self.nodes.iter().enumerate();
        nodes
            .flat_map(|(at, node)| node.connections.keys().map(move |key| (at, *key)))
            .collect()
    }

    // === what clients do ===

    pub(crate) fn join(&mut self, node: usize, user: usize, extended: bool, since: Since) {
        let user = UserId::new(&format!("user{user}")).expect("it is valid");
        let since = self.since(&user, since);
        let existing = since.as_deref().map(|since| {
            let position = Position::parse(since).ok_or(())?;
            let was_there = self.truth.ever(position).is_some();
            (position <= self.truth.head() || was_there)
                .then_some(position)
                .ok_or(())
        });
        self.next_connection += 1;
        let joiner = Joiner {
            identity: Identity {
                user: user.clone(),
                username: user.as_str().into(),
                expires_at: UnixMicros(u64::MAX / 2),
                conversations: Conversations::All,
                moderator: false,
            },
            extended,
            since: since.map(Into::into),
            connection_id: self.next_connection,
            quota: Arc::new(UserQuota::new(0, self.now.mono)),
        };
        let mut key = MemberKey(u32::MAX);
        let knows = self.nodes[node].knows;
        let mut connection = Connection::new(user.clone(), extended, existing, knows);
        if let Some(since) = connection.since {
            connection.epoch = self.truth.first_epoch_of(since);
        }
        if extended {
            connection.outbox = self.outboxes.remove(&user).unwrap_or_default();
        }
        let mut effects = Vec::new();
        self.call(node, &mut effects, |room, cx| key = room.join(joiner, cx));
        let old = self.nodes[node].connections.insert(key, connection);
        assert!(old.is_none(), "{key:?} is in use");
        self.carry_out(node, effects);
    }

    fn since(&self, user: &UserId, since: Since) -> Option<String> {
        let head = self.truth.head();
        match since {
            Since::Nothing => None,
            Since::LastEnd => Some(self.ended_at.get(user).copied().unwrap_or_default()),
            Since::Back(steps) => {
                let back = self.truth.entries.len().saturating_sub(steps.into());
                Some(self.truth.entries.get(back).map_or(head, |e| e.position))
            }
            Since::Zero => Some(Position::ZERO),
            Since::BeyondHead => Some(Position::of(
                MessageId::new(head.id.get() + 100_000).expect("runs are short"),
            )),
            Since::Malformed => return Some("7-0".into()),
        }
        .map(|position| position.to_string())
    }

    pub(crate) fn leave(&mut self, node: usize, key: MemberKey, how: Departure) {
        self.end(node, key);
        self.enter(node, |room, cx| room.leave(key, how, cx));
    }

    /// A new message, with or without a name.
    pub(crate) fn send(&mut self, node: usize, key: MemberKey, named: bool) {
        self.next_content += 1;
        let content = format!("text {}", self.next_content);
        if !named {
            let text = format!(r#"{{"action":"send_message","content":"{content}"}}"#);
            return self.say(node, key, &text);
        }
        let local_id = LocalId::new(&format!("l{}", self.next_content)).expect("it is valid");
        let user = self.connection(node, key).user.clone();
        let sent = self.sent.entry(user).or_default();
        sent.push((local_id.clone(), content.clone()));
        self.put_into_outbox(node, key, &local_id, &content);
        self.say_send(node, key, &local_id, &content, false);
    }

    /// Some earlier message of this user again, as after an outcome that is unknown.
    pub(crate) fn send_again(&mut self, node: usize, key: MemberKey, which: u8) {
        let user = &self.nodes[node].connections[&key].user;
        let sent = self.sent.get(user).map_or(&[][..], Vec::as_slice);
        let Some(index) = usize::from(which).checked_rem(sent.len()) else {
            return;
        };
        let (local_id, content) = sent[sent.len() - 1 - index].clone();
        self.put_into_outbox(node, key, &local_id, &content);
        self.say_send(node, key, &local_id, &content, true);
    }

    fn put_into_outbox(&mut self, node: usize, key: MemberKey, local_id: &LocalId, content: &str) {
        let connection = self.connection(node, key);
        let mut outbox = connection.outbox.iter();
        if connection.extended && !outbox.any(|sent| sent.local_id == *local_id) {
            connection.outbox.push(Sent {
                local_id: local_id.clone(),
                content: content.into(),
                acknowledged: None,
            });
        }
    }

    fn say_send(
        &mut self,
        node: usize,
        key: MemberKey,
        local_id: &LocalId,
        content: &str,
        retry: bool,
    ) {
        let connection = self.connection(node, key);
        connection.unanswered.insert(local_id.clone());
        let text = format!(
            r#"{{"action":"send_message","content":"{content}","local_id":"{local_id}","retry":{retry}}}"#
        );
        self.say(node, key, &text);
    }

    pub(crate) fn edit(&mut self, node: usize, key: MemberKey, back: u8) {
        self.next_content += 1;
        let (content, id) = (self.next_content, self.message(back));
        let text = format!(
            r#"{{"action":"edit_message","message_id":"{id}","content":"edit {content}"}}"#
        );
        self.say(node, key, &text);
    }

    pub(crate) fn delete(&mut self, node: usize, key: MemberKey, back: u8) {
        let id = self.message(back);
        self.connection(node, key).deleted.insert(id);
        let text = format!(r#"{{"action":"delete_message","message_id":"{id}"}}"#);
        self.say(node, key, &text);
    }

    pub(crate) fn read(&mut self, node: usize, key: MemberKey, back: u8) {
        let id = self.message(back);
        let text = format!(r#"{{"action":"read","message_ids":["{id}"]}}"#);
        self.say(node, key, &text);
    }

    /// Some message, counted from the newest; perhaps none that exists.
    fn message(&self, back: u8) -> MessageId {
        if self.truth.epoch() > 0 {
            let some = self.truth.all_messages().nth_back(back.into());
            return some.map_or(MessageId::ZERO, |some| some.position.id);
        }
        let newest = self.truth.head().id.get();
        MessageId::new(newest.saturating_sub(back.into())).expect("runs are short")
    }

    pub(crate) fn say(&mut self, node: usize, key: MemberKey, text: &str) {
        self.enter(node, |room, cx| room.on_text(key, text, cx));
    }

    /// Answers the oldest ping.
    pub(crate) fn pong(&mut self, node: usize, key: MemberKey) {
        let pings = &mut self.connection(node, key).pings;
        if !pings.is_empty() {
            let nonce = pings.remove(0);
            self.enter(node, |room, cx| room.on_pong(key, &nonce, cx));
        }
    }

    /// The socket takes about so many bytes, if the room said that there are any.
    pub(crate) fn take(&mut self, node: usize, key: MemberKey, budget_bytes: usize) {
        if !self.nodes[node].woken.remove(&key) {
            return;
        }
        let mut taken = Taken::default();
        let mut more = false;
        let mut effects = Vec::new();
        self.call(node, &mut effects, |room, cx| {
            more = room.take(key, &mut taken, budget_bytes, cx);
        });
        let it = &mut self.nodes[node];
        if more {
            it.woken.insert(key);
        }
        if let Some(connection) = it.connections.get_mut(&key) {
            for text in &taken.texts {
                connection.hear(text, &self.truth);
            }
            connection.pings.extend(taken.pings);
        }
        self.note_acknowledged(node, key);
        self.carry_out(node, effects);
        self.send_outbox(node, key);
    }

    /// What a client was told that it may count on, if the room had it itself.
    fn note_acknowledged(&mut self, node: usize, key: MemberKey) {
        let it = &mut self.nodes[node];
        let (head, opened_at, generation) = (it.room.head(), it.opened_at, it.generation);
        let Some(connection) = it.connections.get_mut(&key) else {
            return;
        };
        self.failed.extend(connection.failed.drain(..));
        let had = connection.acknowledged.drain(..).filter(|position| {
            let is_of_epoch = head.id.epoch() == position.id.epoch();
            is_of_epoch && opened_at < *position && *position <= head
        });
        let acknowledged = had.map(|position| Acknowledged {
            node,
            generation,
            position,
        });
        self.acknowledged.extend(acknowledged);
    }

    /// A client that has to sends again what is not known to be safe.
    fn send_outbox(&mut self, node: usize, key: MemberKey) {
        let Some(connection) = self.nodes[node].connections.get_mut(&key) else {
            return;
        };
        if std::mem::take(&mut connection.owes_outbox) {
            for sent in connection.outbox.clone() {
                self.say_send(node, key, &sent.local_id, &sent.content, true);
            }
        }
    }

    /// Whether a live client waits for an acknowledgement. It will send again.
    fn owes_outbox(&mut self) -> bool {
        let nodes = self.nodes.iter_mut();
        let all = nodes.flat_map(|node| node.connections.values_mut());
        let mut owes = false;
        for connection in all.filter(|connection| connection.live) {
            let waits = |sent: &Sent| sent.acknowledged.is_none();
            connection.owes_outbox = connection.outbox.iter().any(waits);
            owes |= connection.owes_outbox;
        }
        owes
    }

    // === what the ports do ===

    pub(crate) fn open(&mut self, node: usize, fails: bool) {
        let it = &mut self.nodes[node];
        match std::mem::replace(&mut it.opening, Opening::No) {
            Opening::No => {}
            Opening::Asked => {
                it.subscribed = true;
                it.opened_at = self.truth.head();
                it.opening = Opening::Read(Box::new(Opened {
                    head: self.truth.opening(),
                    present: self.truth.present(),
                    cursors: self.truth.cursors(),
                }));
            }
            Opening::Read(opened) => {
                let opened = if fails { Err(down()) } else { Ok(*opened) };
                self.enter(node, |room, cx| room.on_opened(opened, cx));
            }
        }
    }

    /// The log takes the node's next append: calls of one node stand in their order.
    pub(crate) fn commit(&mut self, node: usize, how: Commit) {
        let Some((ticket, draft)) = self.nodes[node].appends.pop_front() else {
            return;
        };
        let how = match draft.restores {
            Some(_) if self.refuses_lost => Commit::Lost,
            Some(place) if !self.refused.insert((node, place)) => Commit::Answered,
            Some(_) | None => how,
        };
        if how == Commit::Lost {
            return self.nodes[node]
                .answers
                .push((ticket, Reply::Append(Err(down()))));
        }
        let (sender, local_id) = (draft.sender.clone(), draft.local_id.clone());
        // An offer from before a second loss may have taken the name, for the message's older id.
        let may_conflict = draft.restores.is_some() && draft.event.target().is_some();
        let appended = self.truth.append(draft, self.now.wall);
        match &appended {
            Appended::New(entry) => {
                let heard = Heard::Entry(entry.clone());
                self.publish(&heard);
                if how == Commit::AnsweredOnly && self.nodes[node].subscribed {
                    self.nodes[node].inbox.pop();
                }
            }
            Appended::Duplicate(_) => {
                let own = self.nodes[node].connections.values_mut();
                for connection in own.filter(|connection| connection.user == sender) {
                    connection.repeated.extend(local_id.clone());
                }
            }
            Appended::Conflict if may_conflict => {}
            Appended::Conflict | Appended::TooMany => panic!("no two contents for one name"),
        }
        let answer = match how {
            Commit::Answered | Commit::AnsweredOnly => Ok(appended),
            Commit::AnswerLost | Commit::Lost => Err(down()),
        };
        self.nodes[node]
            .answers
            .push((ticket, Reply::Append(answer)));
    }

    /// Makes one of the readings that were asked for.
    pub(crate) fn execute(&mut self, node: usize, pick: u8, fails: bool, at_most: usize) {
        let asked = &mut self.nodes[node].asked;
        let Some(index) = usize::from(pick).checked_rem(asked.len()) else {
            return;
        };
        let (ticket, request) = asked.remove(index);
        let reply = self.reading(request, fails, at_most);
        self.nodes[node].answers.push((ticket, reply));
    }

    fn reading(&self, request: Request, fails: bool, at_most: usize) -> Reply {
        let truth = &self.truth;
        let ok = if fails { Err(down()) } else { Ok(()) };
        match request {
            Request::Append(_) => unreachable!("appends are kept apart"),
            Request::Head => Reply::Head(ok.map(|()| truth.opening())),
            Request::Replay { after, limit } => {
                Reply::Replay(ok.map(|()| truth.replay(after, limit.min(at_most).max(1))))
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
            Request::Verify(_) => unreachable!("nobody renews a token here"),
        }
    }

    /// Brings one of the answers.
    pub(crate) fn answer(&mut self, node: usize, pick: u8) {
        let answers = &mut self.nodes[node].answers;
        let Some(index) = usize::from(pick).checked_rem(answers.len()) else {
            return;
        };
        let (ticket, reply) = answers.remove(index);
        self.enter(node, |room, cx| room.on_reply(ticket, reply, cx));
    }

    /// Brings one of the pieces of the feed; `again`: and keeps it for another time.
    pub(crate) fn hear(&mut self, node: usize, pick: u8, again: bool) {
        let inbox = &mut self.nodes[node].inbox;
        let Some(index) = usize::from(pick).checked_rem(inbox.len()) else {
            return;
        };
        let heard = match again {
            true => inbox[index].clone(),
            false => inbox.remove(index),
        };
        if let Heard::Ephemeral(Ephemeral::Offline { user, .. }) = &heard {
            self.nodes[node].offline.insert(user.clone());
        }
        self.enter(node, |room, cx| room.on_heard(heard, cx));
    }

    /// Loses one of the pieces of the feed.
    pub(crate) fn lose(&mut self, node: usize, pick: u8) {
        let it = &mut self.nodes[node];
        if let Some(index) = usize::from(pick).checked_rem(it.inbox.len()) {
            it.inbox.remove(index);
            it.owes_doubt = true;
        }
    }

    pub(crate) fn doubt(&mut self, node: usize) {
        self.nodes[node].owes_doubt = false;
        self.nodes[node].knows = (self.truth.epoch(), self.truth.head());
        self.enter(node, |room, cx| room.on_heard(Heard::Doubt, cx));
    }

    /// Drops the room, if it says that it may be.
    pub(crate) fn drop_room(&mut self, node: usize) {
        if self.nodes[node].is_over() {
            let generation = self.nodes[node].generation + 1;
            self.nodes[node] = Node::new(self.now, self.log, generation);
        }
    }

    /// A new epoch opens, and the log lacks so many of its last events and marks, or of those that
    /// are not stored. Each node hears of it sooner or later.
    pub(crate) fn fail_over(&mut self, back: usize) {
        self.truth.fail_over(back);
        for node in &mut self.nodes {
            node.owes_doubt = true;
        }
    }

    /// The store takes everything.
    pub(crate) fn store(&mut self) {
        let heard = self.truth.store();
        self.publish(&heard);
    }

    /// Time passes, and whoever asked for it is called.
    pub(crate) fn wait(&mut self, ms: u64) {
        self.now.mono = self.now.mono.plus_ms(ms);
        self.now.wall.0 += ms * 1_000;
        for node in 0..NODES {
            if self.nodes[node]
                .deadline
                .is_some_and(|at| at <= self.now.mono)
            {
                self.enter(node, |room, cx| room.on_deadline(cx));
                self.nodes[node].deadline = self.nodes[node].room.deadline();
            }
        }
        for (node, key) in self.connections() {
            let Some(connection) = self.nodes[node].connections.get(&key) else {
                continue;
            };
            if connection.deadline.is_some_and(|at| at <= self.now.mono) {
                self.enter(node, |room, cx| room.on_member_deadline(key, cx));
                self.note_member_deadline(node, key);
            }
        }
    }

    // === the end of a run ===

    /// Everything under way arrives, and nothing fails any more.
    pub(crate) fn settle(&mut self) {
        for (node, key) in self.connections() {
            self.say(node, key, r#"{"action":"heartbeat"}"#);
        }
        for _ in 0..400 {
            for node in 0..NODES {
                self.settle_node(node);
            }
            let rests = |node: &Node| node.is_quiet() && !node.may_read_again(self.now.mono);
            if self.nodes.iter().all(rests) {
                if !self.owes_outbox() {
                    return;
                }
                for (node, key) in self.connections() {
                    self.send_outbox(node, key);
                }
            }
            self.wait(50);
        }
        panic!("it never comes to rest");
    }

    pub(crate) fn settle_node(&mut self, node: usize) {
        for _ in 0..3 {
            self.open(node, false);
            for _ in 0..self.nodes[node].appends.len() {
                self.commit(node, Commit::Answered);
            }
            for _ in 0..self.nodes[node].asked.len() {
                self.execute(node, 0, false, usize::MAX);
            }
            for _ in 0..self.nodes[node].answers.len() {
                self.answer(node, 0);
            }
            for _ in 0..self.nodes[node].inbox.len() {
                self.hear(node, 0, false);
            }
            if self.nodes[node].owes_doubt {
                self.doubt(node);
            }
            for (_, key) in self.connections().into_iter().filter(|(at, _)| *at == node) {
                self.take(node, key, LARGE_BUDGET);
            }
        }
    }

    pub(crate) fn check_complete(&mut self) {
        let forgets = self.log == LogKind::Lossy { roomy: false };
        let connections = self.nodes.iter_mut();
        for connection in connections.flat_map(|node| node.connections.values_mut()) {
            connection.check_complete(forgets, &self.truth);
        }
        for node in self
            .nodes
            .iter()
            .filter(|node| !node.connections.is_empty())
        {
            assert_eq!(node.room.head(), self.truth.head());
        }
        self.check_once();
        self.check_acknowledged();
    }

    /// No name stands twice, and no message either, unless it has no name and was lost twice.
    fn check_once(&self) {
        let mut contents = BTreeSet::new();
        for entry in &self.truth.entries {
            let may_double = entry.local_id.is_none() && self.truth.epoch() > 1;
            if let Event::Message { content } = &entry.event {
                let is_new = contents.insert(content);
                assert!(is_new || may_double, "{content} stands twice");
            }
        }
    }

    /// Whatever was acknowledged is there, if whoever had it still lives.
    fn check_acknowledged(&self) {
        let named: BTreeSet<_> = self
            .truth
            .entries
            .iter()
            .map(|e| (&e.sender, &e.local_id))
            .collect();
        let is_there =
            |user: &UserId, local_id: &LocalId| named.contains(&(user, &Some(local_id.clone())));
        for (user, local_id) in &self.safe {
            assert!(is_there(user, local_id), "{local_id} of {user} was stored");
        }
        for connection in self.nodes.iter().flat_map(|node| node.connections.values()) {
            let user = &connection.user;
            let sent = connection.outbox.iter().map(|sent| &sent.local_id);
            for local_id in connection.safe.iter().chain(sent) {
                assert!(is_there(user, local_id), "{local_id} of {connection:?}");
            }
        }
        if self.log != (LogKind::Lossy { roomy: true }) {
            return;
        }
        let events: Vec<_> = self.truth.entries.iter().map(|e| &e.event).collect();
        for acknowledged in &self.acknowledged {
            let Acknowledged {
                node,
                generation,
                position,
            } = acknowledged;
            let lives = self.nodes[*node].generation == *generation;
            let event = &self.truth.ever(*position).expect("it was there").event;
            assert!(
                !lives || self.failed.contains(position) || events.contains(&event),
                "{acknowledged:?}, {event:?} is lost"
            );
        }
    }

    // === between a room and the rest ===

    fn connection(&mut self, node: usize, key: MemberKey) -> &mut Connection {
        let connections = &mut self.nodes[node].connections;
        connections
            .get_mut(&key)
            .expect("steps pick connections that exist")
    }

    fn enter(&mut self, node: usize, act: impl FnOnce(&mut Room, &mut Context<'_>)) {
        let mut effects = Vec::new();
        self.call(node, &mut effects, act);
        self.carry_out(node, effects);
    }

    fn call(
        &mut self,
        node: usize,
        effects: &mut Vec<Effect>,
        act: impl FnOnce(&mut Room, &mut Context<'_>),
    ) {
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
        act(&mut self.nodes[node].room, &mut cx);
    }

    fn carry_out(&mut self, node: usize, effects: Vec<Effect>) {
        for effect in effects {
            self.effect(node, effect);
        }
        let it = &mut self.nodes[node];
        let asked_for = it.room.deadline();
        assert!(
            it.deadline
                .is_some_and(|at| asked_for.is_none_or(|asked| at <= asked))
                || asked_for.is_none(),
            "{asked_for:?} is earlier than what the room said: {:?}",
            it.deadline
        );
        self.note_live();
    }

    fn effect(&mut self, node: usize, effect: Effect) {
        let it = &mut self.nodes[node];
        match effect {
            Effect::Open => {
                assert!(matches!(it.opening, Opening::No));
                it.opening = Opening::Asked;
            }
            Effect::Request(ticket, Request::Append(draft)) => {
                it.appends.push_back((ticket, draft));
            }
            Effect::Request(ticket, request) => it.asked.push((ticket, request)),
            Effect::Publish(ephemeral) => self.publish(&Heard::Ephemeral(ephemeral)),
            Effect::PresenceJoin(user) => {
                let was_offline = it.offline.remove(&user);
                if it.joined.insert(user.clone()) {
                    let news = self.truth.joined(user, self.now.wall);
                    self.publish_some(news);
                } else {
                    assert!(was_offline, "told twice");
                }
            }
            Effect::PresenceLeave(user) => {
                assert!(it.joined.remove(&user), "who leaves was here");
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
            Effect::Write(key) => drop(it.woken.insert(key)),
            Effect::WriteAll => it.woken.extend(it.room.members()),
            Effect::Close {
                member, last, code, ..
            } => {
                assert!(
                    matches!(code, CloseCode::DependencyDown | CloseCode::Idle),
                    "closed with {code:?}"
                );
                let connection = it.connections.get_mut(&member).expect("it was here");
                for text in last {
                    connection.hear(&text, &self.truth);
                }
                self.note_acknowledged(node, member);
                self.end(node, member);
            }
            Effect::Deadline => it.deadline = it.room.deadline(),
            Effect::MemberDeadline(key) => self.note_member_deadline(node, key),
            Effect::Count(_) => {}
        }
    }

    fn note_member_deadline(&mut self, node: usize, key: MemberKey) {
        let it = &mut self.nodes[node];
        if let Some(connection) = it.connections.get_mut(&key) {
            connection.deadline = it.room.member_deadline(key, self.now);
        }
    }

    /// A connection that no answer is under way for is live now, told so or not.
    fn note_live(&mut self) {
        let head = (self.truth.epoch(), self.truth.head());
        for node in self.nodes.iter_mut() {
            let busy = !matches!(node.opening, Opening::No)
                || !node.asked.is_empty()
                || !node.answers.is_empty()
                || node.may_read_again(self.now.mono);
            if !busy {
                for connection in node.connections.values_mut() {
                    connection.live_before.get_or_insert(head);
                }
            }
        }
    }

    fn end(&mut self, node: usize, key: MemberKey) {
        let it = &mut self.nodes[node];
        let connection = it.connections.remove(&key).expect("it was there");
        it.woken.remove(&key);
        let user = connection.user;
        let safe = connection.safe.into_iter();
        self.safe
            .extend(safe.map(|local_id| (user.clone(), local_id)));
        let outbox = self.outboxes.entry(user.clone()).or_default();
        for mut sent in connection.outbox {
            sent.acknowledged = None;
            if outbox.iter().all(|known| known.local_id != sent.local_id) {
                outbox.push(sent);
            }
        }
        if let Place::At(position) = connection.place {
            self.ended_at.insert(user, position);
        }
    }

    fn publish_some(&mut self, ephemeral: Option<Ephemeral>) {
        if let Some(ephemeral) = ephemeral {
            self.publish(&Heard::Ephemeral(ephemeral));
        }
    }

    fn publish(&mut self, heard: &Heard) {
        for node in self.nodes.iter_mut().filter(|node| node.subscribed) {
            node.inbox.push(heard.clone());
        }
    }
}

fn down() -> Unavailable {
    Unavailable::new("down for this test")
}
