//! The whole client except its socket and its terminal: events in, effects out.
//!
//! Called by the loop in [`super::run`] alone. Time and chance come in with every event. Works with
//! both layers: a `hello` as first frame means that the server replays what was missed; where none
//! comes, what was missed is fetched from history. What the person does is in `entered.rs`, what
//! the server says in `incoming.rs`; here is the life of the connection.

use std::collections::VecDeque;

use parlance_protocol::{MessageId, Position};
use serde_json::{Value, json};

use super::{
    link::{After, Due, Link, Moment},
    outbox::Outbox,
    people::People,
    text::{self, Line},
    transcript::Transcript,
};

const PAGE: usize = 20;
/// The largest page that a server gives.
pub(super) const CATCH_UP_PAGE: usize = 100;
/// A server that has said nothing for this long after the upgrade will send no `hello`.
const HELLO_MS: u64 = 1_000;
/// Who stopped pressing keys stopped typing.
const TYPING_IDLE_MS: u64 = 5_000;
/// Who goes waits at most this long for what was said last.
const LEAVE_MS: u64 = 10_000;

/// Something happened.
#[derive(Debug)]
pub(crate) enum Input {
    Opened,
    /// A text frame.
    Frame(String),
    /// The connection ended or could not be made; 1006 when there was no close frame.
    Closed {
        code: u16,
        reason: String,
    },
    /// The server refused the upgrade for good, with an HTTP status.
    Refused {
        status: u16,
    },
    /// A line was entered.
    Entered(String),
    /// The line being typed changed; whether it is something that will be said.
    Typing(bool),
    /// The person wants to go. The second time, at once.
    Leave,
    /// No more lines will come: go when everything is said and history was shown.
    Ended,
    /// Time passed.
    Tick,
}

/// Something is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    Connect {
        since: Option<Position>,
    },
    /// Drop the connection without a normal close: this client comes back.
    Drop,
    Send(Value),
    /// Send a new token.
    Authenticate,
    /// A line for those who cannot see the transcript change.
    Print(String),
    Quit(Farewell),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Farewell {
    /// How many actions have no acknowledgement.
    pub(crate) unsent: usize,
    /// Why the server does not want this client back.
    pub(crate) refused: Option<String>,
}

/// The page of history that was asked for. One at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fetch {
    Newest,
    CatchUp,
    More,
}

/// What the server of this connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    /// Nothing was heard since the upgrade.
    Unknown {
        since_ms: u64,
    },
    Base,
    Extended,
}

#[derive(Debug, Clone, Copy)]
struct Leaving {
    latest_ms: u64,
    /// Not before history was shown.
    after_entering: bool,
}

/// The client.
#[derive(Debug)]
pub(crate) struct State {
    /// When the event that is being handled happened.
    pub(super) moment: Moment,
    pub(super) me: String,
    pub(super) conversation: String,
    local_id_prefix: String,
    local_ids: u64,
    pub(super) link: Link,
    pub(super) layer: Layer,
    pub(super) outbox: Outbox,
    /// Lines that were entered and are done when all before them is acknowledged.
    pub(super) waiting: VecDeque<String>,
    pub(super) transcript: Transcript,
    pub(super) people: People,
    /// The last durable event that was taken.
    pub(super) position: Option<Position>,
    pub(super) fetch: Option<Fetch>,
    /// Durable frames that wait for a page of history before them.
    pub(super) held: Option<Vec<String>>,
    /// The first page of history was shown.
    pub(super) entered: bool,
    told_unreachable: bool,
    pub(super) more_before: Option<MessageId>,
    pub(super) unread: Option<(MessageId, u64)>,
    pub(super) typing_told_ms: Option<u64>,
    pub(super) typed_ms: u64,
    leaving: Option<Leaving>,
    effects: VecDeque<Effect>,
}

impl State {
    /// `local_id_prefix` is different for every run of the program.
    pub(crate) fn new(
        conversation: &str,
        me: &str,
        local_id_prefix: String,
        fresh_tokens: bool,
    ) -> Self {
        Self {
            moment: Moment::default(),
            me: me.to_owned(),
            conversation: conversation.to_owned(),
            local_id_prefix,
            local_ids: 0,
            link: Link::new(fresh_tokens),
            layer: Layer::Unknown { since_ms: 0 },
            outbox: Outbox::default(),
            waiting: VecDeque::new(),
            transcript: Transcript::new(me),
            people: People::default(),
            position: None,
            fetch: None,
            held: None,
            entered: false,
            told_unreachable: false,
            more_before: None,
            unread: None,
            typing_told_ms: None,
            typed_ms: 0,
            leaving: None,
            effects: VecDeque::new(),
        }
    }

    /// Takes an event into account.
    pub(crate) fn handle(&mut self, input: Input, moment: Moment) {
        self.moment = moment;
        match input {
            Input::Opened => self.on_opened(),
            Input::Frame(text) => self.on_text(text),
            Input::Closed { code, reason } => self.on_closed(code, &reason),
            Input::Refused { status } => self.quit(Some(format!("refused by HTTP {status}"))),
            Input::Entered(line) => self.on_entered(&line),
            Input::Typing(typing) => self.on_typing(typing),
            Input::Leave => self.leave(),
            Input::Ended => self.leave_after_entering(),
            Input::Tick => {}
        }
        self.do_what_is_due();
    }

    /// What is to be done next, oldest first.
    pub(crate) fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When an [`Input::Tick`] is wanted, if nothing else happens before.
    pub(crate) fn wake_ms(&self) -> Option<u64> {
        let open = self.link.is_open();
        let hello_ms = match self.layer {
            Layer::Unknown { since_ms } => Some(since_ms + HELLO_MS),
            Layer::Base | Layer::Extended => None,
        };
        let timers = [
            self.link.wake_ms(),
            hello_ms.filter(|_| open),
            self.outbox.due_ms().filter(|_| open),
            self.unread.map(|(_, at_ms)| at_ms).filter(|_| open),
            self.typing_told_ms.map(|_| self.typed_ms + TYPING_IDLE_MS),
            self.people.next_expiry_ms(),
            self.leaving.map(|leaving| leaving.latest_ms),
        ];
        timers.into_iter().flatten().min()
    }

    /// Everything to be shown, oldest first.
    pub(crate) fn lines(&self) -> impl Iterator<Item = Line> + '_ {
        self.transcript.lines(&self.people)
    }

    /// Who types, or why nothing moves; may be empty.
    pub(crate) fn status(&self) -> String {
        match self.unsaid() {
            _ if self.link.is_open() => text::neutral(&self.people.typing()),
            0 => "not connected, trying again".to_owned(),
            waiting => format!("not connected, trying again; {waiting} to be sent"),
        }
    }

    // --- the connection ---

    fn on_opened(&mut self) {
        let since_ms = self.moment.now_ms;
        self.link.opened(since_ms);
        self.layer = Layer::Unknown { since_ms };
        if !self.entered {
            self.held = Some(Vec::new());
            self.fetch(Fetch::Newest);
        }
    }

    fn on_closed(&mut self, code: u16, reason: &str) {
        let was_open = self.link.is_open();
        let after = self.link.closed(code, reason, self.moment);
        self.disconnected();
        match after {
            After::WaitMs(_) if was_open => self.notice("connection lost, trying again".to_owned()),
            After::WaitMs(_) if !self.told_unreachable => {
                self.notice(format!("no connection ({reason}), trying again"));
            }
            After::WaitMs(_) => {}
            After::Stop => self.quit(Some(format!("closed with {code} {reason}"))),
        }
        self.told_unreachable = true;
    }

    fn disconnected(&mut self) {
        self.outbox.disconnected();
        self.people.forget();
        self.fetch = None;
        self.typing_told_ms = None;
        let held = self.held.take();
        if self.entered {
            self.release(held);
        }
    }

    fn do_what_is_due(&mut self) {
        let now_ms = self.moment.now_ms;
        match self.link.due(now_ms) {
            Due::Nothing => {}
            Due::Connect => {
                let since = self.position.filter(|_| self.entered);
                self.effects.push_back(Effect::Connect { since });
            }
            Due::Drop => {
                self.effects.push_back(Effect::Drop);
                self.link.dropped(self.moment);
                self.disconnected();
            }
        }
        self.people.expire_typing(now_ms);
        self.do_what_waited();
        if self.link.is_open() {
            self.speak(now_ms);
        }
        self.leave_when_done(now_ms);
    }

    /// Sends what may be sent on an open connection.
    fn speak(&mut self, now_ms: u64) {
        if let Layer::Unknown { since_ms } = self.layer
            && now_ms >= since_ms + HELLO_MS
        {
            self.settle_on_base();
        }
        if let Some(frame) = self.outbox.next(now_ms) {
            self.send(frame);
        }
        if let Some((id, at_ms)) = self.unread
            && now_ms >= at_ms
        {
            self.unread = None;
            self.send(json!({"action": "read", "message_ids": [id]}));
        }
        if self.typing_told_ms.is_some() && now_ms >= self.typed_ms + TYPING_IDLE_MS {
            self.tell_typing(None);
        }
    }

    /// No `hello`: nothing is replayed, so what was missed must be fetched.
    pub(super) fn settle_on_base(&mut self) {
        self.layer = Layer::Base;
        if self.entered && self.fetch.is_none() {
            self.held = Some(Vec::new());
            self.fetch(Fetch::CatchUp);
        }
    }

    // --- the end ---

    pub(super) fn leave(&mut self) {
        if self.leaving.is_some() {
            return self.quit(None);
        }
        self.leaving = Some(Leaving {
            latest_ms: self.moment.now_ms + LEAVE_MS,
            after_entering: false,
        });
    }

    fn leave_after_entering(&mut self) {
        self.leaving = Some(Leaving {
            latest_ms: self.moment.now_ms + LEAVE_MS,
            after_entering: true,
        });
    }

    fn leave_when_done(&mut self, now_ms: u64) {
        let Some(leaving) = self.leaving else {
            return;
        };
        let said = self.unsaid() == 0;
        let shown = !leaving.after_entering || (self.entered && self.unread.is_none());
        if (said && shown) || now_ms >= leaving.latest_ms {
            self.quit(None);
        }
    }

    /// How much of what was entered is not known to have arrived.
    fn unsaid(&self) -> usize {
        self.outbox.unacknowledged() + self.waiting.len()
    }

    fn quit(&mut self, refused: Option<String>) {
        self.leaving = None;
        let unsent = self.unsaid();
        self.effects
            .push_back(Effect::Quit(Farewell { unsent, refused }));
    }

    // --- out ---

    pub(super) fn fetch(&mut self, fetch: Fetch) {
        self.fetch = Some(fetch);
        let mut action = json!({"action": "fetch_messages"});
        match fetch {
            Fetch::Newest => action["limit"] = PAGE.into(),
            Fetch::CatchUp => {
                action["limit"] = CATCH_UP_PAGE.into();
                action["after_id"] = json!(self.transcript.newest().unwrap_or_default());
            }
            Fetch::More => {
                action["limit"] = PAGE.into();
                action["before_id"] = json!(self.more_before.unwrap_or_default());
            }
        }
        self.send(action);
    }

    pub(super) fn send(&mut self, frame: Value) {
        self.effects.push_back(Effect::Send(frame));
    }

    pub(super) fn notice(&mut self, notice: String) {
        self.print(&format!("* {notice}"));
        self.transcript.notice(notice);
    }

    pub(super) fn print_message(&mut self, id: MessageId) {
        if let Some(line) = self.transcript.line_of(id, &self.people) {
            let line = text::plain(&line);
            self.effects.push_back(Effect::Print(line));
        }
    }

    pub(super) fn print(&mut self, line: &str) {
        self.effects.push_back(Effect::Print(text::neutral(line)));
    }

    pub(super) fn push(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    pub(super) fn next_local_id(&mut self) -> String {
        self.local_ids += 1;
        format!("{}-{}", self.local_id_prefix, self.local_ids)
    }
}
