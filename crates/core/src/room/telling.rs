//! What each member is written next: its own answers first, then history until the ring has the
//! rest, then the ring.
//!
//! A resume and a socket that lagged behind the ring are the same thing and the same code: pages
//! of history, asked for one by one as the socket takes them.

use parlance_protocol::{CloseCode, MessageId, Position, ServerFrame};

use super::{
    Context, Counted, Effect, FrameSink, MemberKey, PROOF_MS, Request, ResumeSource, Room, State,
    answers::{Asker, Pending},
    frames, index,
    live::receipts_frame,
    member::{Direct, Feed, Member, Proof},
    ring::Kind,
    session::HEARTBEAT_MS,
};
use crate::{
    entry::Row,
    ports::{Page, Replay},
};

/// Rooms of more members keep what passed as long as what stands in the log.
const FORGETFUL_MAX: usize = 8;
/// How many events of history are asked for at once.
const REPLAY_EVENTS: usize = 64;
/// What a page of a replay may occupy before the socket took it.
const REPLAY_BYTES: usize = 64 * 1024;
/// How many messages a client gets that missed more than is replayed.
const NEWEST_MESSAGES: u8 = 100;

/// What a join begins with.
enum Start {
    /// At the end.
    Head,
    /// Behind this position.
    Behind(Position),
    /// As `Behind`, and what the client named does not exist.
    Lost(Position),
}

impl Room {
    /// Begins what a member is told, as soon as the room and the member's cursor are known. While
    /// the log is read again, the room does not know its head, and the end of that greets.
    pub(super) fn greet(&mut self, key: MemberKey, cx: &mut Context<'_>) {
        if self.state != State::Open || self.is_reading() {
            return;
        }
        let Some(member) = self.members.get_mut(index(key)) else {
            return;
        };
        let Feed::Joining(joining) = &mut member.feed else {
            return;
        };
        if joining.asked {
            return;
        }
        if !self.receipts.knows(&member.user) {
            joining.asked = true;
            let (asker, user) = (Asker::of(key, member), member.user.clone());
            return self.ask(Request::Cursor(user), Pending::Cursor(asker), cx);
        }
        let since = joining.since.as_deref().and_then(Position::parse);
        if since.is_some_and(|since| since > self.head) && !joining.read_on {
            // Another node may have told this client more than this one has heard yet: the log is
            // read before that is called lost, and then the greeting is tried again.
            joining.read_on = true;
            return self.doubt(cx);
        }
        // It stays there: if the epoch changes before the greeting, it is judged again.
        let since = joining.since.clone();
        match self.start(since.as_deref()) {
            Start::Head => {
                self.begin(key, self.head, false, cx);
                self.not_given(key);
                self.caught_up(key, cx);
            }
            Start::Behind(since) | Start::Lost(since) => self.resume(key, since, cx),
        }
    }

    fn start(&self, since: Option<&str>) -> Start {
        let Some(since) = since else {
            return Start::Head;
        };
        let Some(position) = Position::parse(since) else {
            return Start::Lost(self.head);
        };
        let shared = self.lineage.shared_with(position);
        if shared < position {
            Start::Lost(shared)
        } else {
            Start::Behind(position)
        }
    }

    /// From the ring if it has everything; otherwise the first page decides.
    fn resume(&mut self, key: MemberKey, since: Position, cx: &mut Context<'_>) {
        let seq = self.ring.resume(since, self.head);
        let missed = seq.map(|seq| self.ring.durable_from(seq));
        if missed.is_some_and(|missed| missed <= self.settings.resume_events) {
            self.go_on(key, since, ResumeSource::Ring, cx);
            cx.effects.push(Effect::Write(key));
            return;
        }
        let Some(member) = self.members.get_mut(index(key)) else {
            return;
        };
        let Feed::Joining(joining) = &mut member.feed else {
            return;
        };
        joining.asked = true;
        member.last = since;
        let asker = Asker::of(key, member);
        let request = Request::Replay {
            after: since,
            limit: REPLAY_EVENTS,
        };
        self.ask(request, Pending::Resume(asker), cx);
    }

    /// The first page of a resume: everything is told, or only the newest.
    pub(super) fn on_resume_page(
        &mut self,
        key: MemberKey,
        since: Position,
        page: &Replay,
        cx: &mut Context<'_>,
    ) {
        let missed = page.remaining.saturating_add(page.events.len() as u64);
        if missed > self.settings.resume_events {
            cx.effects
                .push(Effect::Count(Counted::Resume(ResumeSource::TooOld)));
            let Some(member) = self.members.get(index(key)) else {
                return;
            };
            let pending = Pending::Newest {
                asker: Asker::of(key, member),
                since,
                head: self.head,
            };
            let anchor = parlance_protocol::Anchor::Newest;
            return self.ask(
                Request::Page {
                    anchor,
                    limit: NEWEST_MESSAGES,
                },
                pending,
                cx,
            );
        }
        self.go_on(key, since, ResumeSource::History, cx);
        self.on_history(key, page, cx);
    }

    /// Greets a member that is told everything behind `since`, and what it named if that is lost.
    fn go_on(
        &mut self,
        key: MemberKey,
        since: Position,
        source: ResumeSource,
        cx: &mut Context<'_>,
    ) {
        let is_lost = self.is_lost(key, since);
        let source = if is_lost { ResumeSource::Lost } else { source };
        cx.effects.push(Effect::Count(Counted::Resume(source)));
        self.begin(key, since, !is_lost, cx);
        if is_lost {
            self.not_given(key);
            self.tell_lost(key, since, cx);
        }
        self.read_from(key, since);
    }

    /// Whether a member that goes on behind `since`, and is not greeted yet, named another place: then
    /// that is lost.
    fn is_lost(&self, key: MemberKey, since: Position) -> bool {
        let member = self.members.get(index(key));
        member.is_some_and(|member| match &member.feed {
            Feed::Joining(joining) => {
                joining.since.as_deref().and_then(Position::parse) != Some(since)
            }
            Feed::Reading { .. } | Feed::Ring { .. } => false,
        })
    }

    /// The newest messages, for a client that missed more than is replayed.
    pub(super) fn on_newest(
        &mut self,
        key: MemberKey,
        (since, head): (Position, Position),
        page: &Page,
        cx: &mut Context<'_>,
    ) {
        let is_lost = self.is_lost(key, since);
        self.begin(key, head, false, cx);
        if is_lost {
            self.tell_lost(key, since, cx);
        }
        // What came after `head` is replayed from there, and would be told twice.
        let rows: Vec<&Row> = page
            .rows
            .iter()
            .rev()
            .filter(|row| since.id < row.id && row.id <= head.id)
            .collect();
        let told_from = rows.first().map(|row| row.id);
        let to = match told_from {
            Some(oldest) => self.lineage.before(oldest),
            None => self.lineage.up_to(head.id),
        };
        self.tell_gap(key, self.lineage.next_after(since.id), to, cx);
        for row in rows {
            let text = frames::of_row(row, self.receipts.status(&row.sender, row.id));
            self.tell_text(key, text, cx);
        }
        self.read_from(key, head);
        cx.effects.push(Effect::Write(key));
    }

    /// What is left out, if any message is.
    fn tell_gap(
        &mut self,
        key: MemberKey,
        from: Option<MessageId>,
        to: Option<MessageId>,
        cx: &mut Context<'_>,
    ) {
        let Some(member) = self.members.get(index(key)) else {
            return;
        };
        if !member.extended {
            let code = parlance_protocol::ErrorCode::ResumeTooOld;
            let error = "more was missed than is replayed: these are the newest messages";
            return self.tell(key, &plain_error(code, error), cx);
        }
        if let (Some(from), Some(to)) = (from, to)
            && from <= to
        {
            self.tell(key, &ServerFrame::Gap { from, to }, cx);
        }
    }

    fn tell_lost(&mut self, key: MemberKey, lost_after: Position, cx: &mut Context<'_>) {
        let Some(member) = self.members.get(index(key)) else {
            return;
        };
        let (epoch, stored_id) = (self.epoch, self.stored_id());
        if member.extended {
            self.tell(
                key,
                &ServerFrame::Resync {
                    epoch,
                    lost_after,
                    stored_id,
                },
                cx,
            );
        } else {
            let code = parlance_protocol::ErrorCode::ResumeLost;
            let error = "since names nothing that exists: going on from the last that does";
            self.tell(key, &plain_error(code, error), cx);
        }
    }

    /// Starts a member at `last`, and says hello to an extended one.
    fn begin(&mut self, key: MemberKey, last: Position, resumed: bool, cx: &mut Context<'_>) {
        let Some(member) = self.members.get_mut(index(key)) else {
            return;
        };
        member.last = last;
        let (user, extended) = (member.user.clone(), member.extended);
        let connection_id = format!("{:016x}", member.connection_id);
        if extended {
            // A cursor may be heard before the messages that it is past.
            let cursor = self.receipts.cursor(&user).unwrap_or_default();
            let exists = |id| self.lineage.up_to(id).unwrap_or_default();
            let head_id = exists(self.head.id);
            let read_id = exists(cursor.read.min(head_id));
            let hello = ServerFrame::Hello {
                conversation_id: self.conversation.as_str().to_owned().into(),
                user_id: user.as_str().into(),
                connection_id: connection_id.into(),
                epoch: self.epoch,
                head_id,
                stored_id: self.stored_id(),
                read_id,
                unread: self.lineage.ordinal(head_id) - self.lineage.ordinal(read_id),
                resumed,
                durable: self.durable,
                heartbeat_ms: HEARTBEAT_MS,
                limits: self.limits(),
            };
            let text = hello.encode();
            if let Some(member) = self.members.get_mut(index(key)) {
                member.greet(text);
                cx.effects.push(Effect::Write(key));
            }
        }
        self.release(key, cx);
    }

    /// Nothing so far was written to this member: its pong proves nothing of it.
    fn not_given(&mut self, key: MemberKey) {
        if let Some(member) = self.members.get_mut(index(key)) {
            member.not_given = member.last.id;
        }
    }

    fn limits(&self) -> parlance_protocol::Limits {
        parlance_protocol::Limits {
            frame_bytes: self.settings.frame_bytes,
            content_bytes: self.settings.content_bytes,
            local_id_bytes: parlance_protocol::limits::LOCAL_ID_BYTES,
            read_ids: parlance_protocol::limits::READ_IDS,
            page: parlance_protocol::limits::PAGE_MAX,
            actions_per_second: self.settings.actions_per_second,
            actions_burst: self.settings.actions_burst,
            resume_events: self.settings.resume_events,
        }
    }

    /// What of this epoch the store has.
    pub(super) fn stored_id(&self) -> MessageId {
        if self.stored.id.epoch() == self.epoch {
            self.stored.id
        } else {
            MessageId::ZERO
        }
    }

    fn read_from(&mut self, key: MemberKey, last: Position) {
        let Some(member) = self.members.get_mut(index(key)) else {
            return;
        };
        member.last = last;
        member.feed = Feed::Reading { waiting: false };
        member.catching_up = true;
    }

    /// The replay is over, or there was none, or a lag is made up: the member is live.
    fn caught_up(&mut self, key: MemberKey, cx: &mut Context<'_>) {
        let Some(member) = self.members.get_mut(index(key)) else {
            return;
        };
        member.feed = Feed::Ring {
            next: self.ring.end(),
        };
        member.catching_up = false;
        let was_live = std::mem::replace(&mut member.was_live, true);
        let (extended, position) = (member.extended, member.last);
        if extended {
            if !was_live {
                self.tell(key, &ServerFrame::Live { position }, cx);
            }
            let receipts = self.receipts.snapshot();
            self.tell(key, &receipts_frame(&receipts), cx);
        }
        self.tell_company(key, cx);
    }

    /// A page of history for a member that is behind the ring.
    pub(super) fn on_history(&mut self, key: MemberKey, page: &Replay, cx: &mut Context<'_>) {
        if page.is_cut() {
            return self.send_back(key, cx);
        }
        let mut bytes = 0;
        for event in &page.events {
            let Some(member) = self.members.get_mut(index(key)) else {
                return;
            };
            if bytes > REPLAY_BYTES || event.entry.position <= member.last {
                continue;
            }
            let status = self
                .receipts
                .status(&event.entry.sender, event.entry.position.id);
            let text = frames::of_entry(&event.entry, event.row.as_ref(), status);
            bytes += text.len();
            member.last = event.entry.position;
            // It may be ahead of the room.
            self.lineage.advance(event.entry.position);
            self.tell_text(key, text, cx);
        }
        let last = page.events.last().map(|event| event.entry.position);
        if let Some(member) = self.members.get_mut(index(key)) {
            if let Feed::Reading { waiting } = &mut member.feed {
                *waiting = false;
            }
            let has_all = page.remaining == 0 && last.is_none_or(|last| last <= member.last);
            if has_all && page.head.is_mark() {
                member.last = member.last.max(page.head);
            }
            cx.effects.push(Effect::Write(key));
        }
    }

    /// A member is behind what is kept of the log. It comes back with `since`, and is told then how
    /// much it missed.
    pub(super) fn send_back(&mut self, key: MemberKey, cx: &mut Context<'_>) {
        let reason = "more was missed than the log keeps";
        self.close(key, CloseCode::Resync, reason, cx);
    }

    /// Copies what the member should be written next into `sink`, whole frames, until `sink` holds
    /// `budget_bytes` or there is no more. What was taken counts as written: the caller keeps what
    /// the socket did not take. Returns whether there is more right now.
    ///
    /// May ask for a piece of history; then nothing more comes until it is there.
    pub fn take(
        &mut self,
        member: MemberKey,
        sink: &mut dyn FrameSink,
        budget_bytes: usize,
        cx: &mut Context<'_>,
    ) -> bool {
        loop {
            if self.take_direct(member, sink, budget_bytes) {
                return true;
            }
            let Some(it) = self.members.get_mut(index(member)) else {
                return false;
            };
            match it.feed {
                Feed::Joining(_) | Feed::Reading { waiting: true } => return false,
                Feed::Reading { waiting: false } => {
                    if !self.leave_history(member, cx) {
                        return false;
                    }
                }
                Feed::Ring { next } if next < self.ring.first() => {
                    cx.effects.push(Effect::Count(Counted::RingMiss));
                    it.feed = Feed::Reading { waiting: false };
                    it.catching_up = true;
                }
                Feed::Ring { next } => return self.take_ring(member, next, sink, budget_bytes, cx),
            }
        }
    }

    /// Whether the budget ended it.
    fn take_direct(&mut self, key: MemberKey, sink: &mut dyn FrameSink, budget: usize) -> bool {
        let Some(member) = self.members.get_mut(index(key)) else {
            return false;
        };
        if member.awaits_hello() {
            return false;
        }
        while sink.bytes() < budget {
            match member.next_direct() {
                Some(Direct::Text(text)) => sink.text(&text),
                Some(Direct::Ping(nonce)) => sink.ping(nonce),
                None => return false,
            }
        }
        member.has_direct()
    }

    /// Goes over to the ring if it has everything that follows; else asks for the next page.
    fn leave_history(&mut self, key: MemberKey, cx: &mut Context<'_>) -> bool {
        let is_unsure = self.is_unsure();
        let Some(member) = self.members.get_mut(index(key)) else {
            return false;
        };
        let Some(seq) = self.ring.resume(member.last, self.head) else {
            if is_unsure {
                return false;
            }
            member.feed = Feed::Reading { waiting: true };
            let asker = Asker::of(key, member);
            let request = Request::Replay {
                after: member.last,
                limit: REPLAY_EVENTS,
            };
            self.ask(request, Pending::Replay(asker), cx);
            return false;
        };
        member.feed = Feed::Ring { next: seq };
        true
    }

    fn take_ring(
        &mut self,
        key: MemberKey,
        from: u64,
        sink: &mut dyn FrameSink,
        budget: usize,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(member) = self.members.get_mut(index(key)) else {
            return false;
        };
        let mut next = from;
        while sink.bytes() < budget {
            let Some(item) = self.ring.get(next) else {
                break;
            };
            next += 1;
            match &item.kind {
                Kind::Durable { position, .. } if *position <= member.last => {}
                Kind::Durable { position, .. } => {
                    member.last = *position;
                    sink.text(&item.text);
                }
                Kind::Passing(_) if member.catching_up => {}
                Kind::Passing(audience) => {
                    if audience.has(&member.user, member.extended) {
                        sink.text(&item.text);
                    }
                }
            }
        }
        member.feed = Feed::Ring { next };
        if next < self.ring.end() {
            return true;
        }
        if member.catching_up {
            self.caught_up(key, cx);
            return self.take(key, sink, budget, cx);
        }
        self.forget_passed();
        self.take_tail(key, sink, cx);
        false
    }

    /// Lets go of what passed and every member was told: nobody who comes is told it. Not in larger
    /// rooms, where to look at all members after each write would cost more than it saves.
    fn forget_passed(&mut self) {
        if self.members.len() > FORGETFUL_MAX || !self.ring.begins_with_passing() {
            return;
        }
        let places = self.members.iter().map(|(_, member)| match member.feed {
            Feed::Ring { next } => next,
            // Those are told how things are at the end, not what passed before.
            Feed::Joining(_) | Feed::Reading { .. } => u64::MAX,
        });
        let told = places.min().unwrap_or(u64::MAX);
        self.ring.forget_passing(told);
    }

    /// What follows the frames in the same write: the ping that proves them, and `stored`.
    fn take_tail(&mut self, key: MemberKey, sink: &mut dyn FrameSink, cx: &mut Context<'_>) {
        let Some(member) = self.members.get(index(key)) else {
            return;
        };
        let owes_proof = self.owes_proof(key, member);
        let epoch = self.epoch;
        let up_to_id = self.stored_id();
        let Some(member) = self.members.get_mut(index(key)) else {
            return;
        };
        let due = |at: Option<crate::clock::Mono>| {
            at.is_none_or(|at| cx.now.mono.since_ms(at) >= PROOF_MS)
        };
        let mut later = false;
        if member.owed_stored.is_some_and(|id| id <= up_to_id) {
            if due(member.stored_at) {
                member.owed_stored = None;
                member.stored_at = Some(cx.now.mono);
                sink.text(&ServerFrame::Stored { epoch, up_to_id }.encode());
            } else {
                later = true;
            }
        }
        if owes_proof && let Some(up_to) = member.provable() {
            if due(member.pinged_at) && self.proof_round.waits_until(cx.now.mono).is_none() {
                self.proof_round.ask(cx.now.mono);
                let nonce = (cx.random)().to_be_bytes();
                member.proof = Some(Proof { nonce, up_to });
                member.pinged_at = Some(cx.now.mono);
                sink.ping(nonce);
            } else {
                later = true;
            }
        }
        if later {
            cx.effects.push(Effect::MemberDeadline(key));
        }
    }

    /// Whether this member's pong would tell a connected author something new.
    pub(super) fn owes_proof(&self, key: MemberKey, member: &Member) -> bool {
        let known = || {
            let cursor = self.receipts.cursor(&member.user);
            cursor.unwrap_or_default().delivered
        };
        member.proof.is_none()
            && matches!(member.feed, Feed::Ring { .. })
            && self.sampled.contains(&key)
            && self.receipts.wants_proof()
            && member.provable().is_some_and(|id| known() < id)
    }
}

/// An error that answers no action.
fn plain_error(code: parlance_protocol::ErrorCode, error: &'static str) -> ServerFrame<'static> {
    let retryable = code.retryable();
    ServerFrame::Error {
        action: None,
        error: error.into(),
        code,
        retryable,
        retry_after_ms: None,
    }
}
