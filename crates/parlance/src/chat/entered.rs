//! What the person does: lines entered, keys pressed.

use parlance_protocol::MessageId;
use serde_json::json;

use super::{
    command::{self, Command},
    outbox::Outgoing,
    state::{Fetch, State},
};

const TYPING_RENEWAL_MS: u64 = 3_000;

impl State {
    pub(super) fn on_entered(&mut self, line: &str) {
        match command::parse(line) {
            Command::Nothing => {}
            Command::Say(_) if self.waiting.is_empty() => self.say_or_change(line),
            Command::Edit(_) | Command::Delete(_) if self.may_change() => self.say_or_change(line),
            Command::Say(_) | Command::Edit(_) | Command::Delete(_) => {
                self.waiting.push_back(line.to_owned());
            }
            Command::Who => self.notice(self.people.here()),
            Command::More => self.more(),
            Command::Help => self.notice(command::HELP.to_owned()),
            Command::Quit => self.leave(),
            Command::Unknown(name) => {
                self.notice(format!("there is no /{name}; /help lists what there is"));
            }
        }
    }

    /// "My last message" is known only when nothing is on its way: until then a change waits, and
    /// what was entered after it.
    fn may_change(&self) -> bool {
        self.outbox.unacknowledged() == 0 && self.waiting.is_empty()
    }

    /// Does what waited for acknowledgements, in order.
    pub(super) fn do_what_waited(&mut self) {
        while let Some(line) = self.waiting.front() {
            let says = matches!(command::parse(line), Command::Say(_));
            if !says && self.outbox.unacknowledged() > 0 {
                return;
            }
            if let Some(line) = self.waiting.pop_front() {
                self.say_or_change(&line);
            }
        }
    }

    fn say_or_change(&mut self, line: &str) {
        match command::parse(line) {
            Command::Say(text) => self.say(text),
            Command::Edit(arguments) => self.edit(arguments),
            Command::Delete(arguments) => self.delete(arguments),
            Command::Nothing
            | Command::Who
            | Command::More
            | Command::Help
            | Command::Quit
            | Command::Unknown(_) => {}
        }
    }

    fn say(&mut self, content: &str) {
        let local_id = self.next_local_id();
        self.transcript.pending(&local_id, content);
        let content = content.to_owned();
        self.outbox.push(local_id, Outgoing::Message { content });
        self.typing_told_ms = None;
    }

    fn edit(&mut self, arguments: &str) {
        let (id, content) = self.target(arguments);
        match id {
            None => self.notice("there is no message of yours to edit".to_owned()),
            Some(_) if content.is_empty() => {
                self.notice("/edit wants the new text: /edit [N] TEXT".to_owned());
            }
            Some(id) => {
                let content = content.to_owned();
                let local_id = self.next_local_id();
                self.outbox.push(local_id, Outgoing::Edit { id, content });
            }
        }
    }

    fn delete(&mut self, arguments: &str) {
        match self.target(arguments) {
            (Some(id), "") => {
                let local_id = self.next_local_id();
                self.outbox.push(local_id, Outgoing::Delete { id });
            }
            (Some(_), _) => self.notice("/delete wants a message's number or nothing".to_owned()),
            (None, _) => self.notice("there is no message of yours to delete".to_owned()),
        }
    }

    /// The message that a command speaks of. A leading number counts only if such a message is
    /// shown, so that `/edit 2 apples` corrects an order of apples.
    fn target<'a>(&self, arguments: &'a str) -> (Option<MessageId>, &'a str) {
        if let Some((digits, rest)) = command::leading_number(arguments)
            && let Some(id) = MessageId::parse(digits)
            && self.transcript.knows(id)
        {
            return (Some(id), rest);
        }
        (self.transcript.last_own(), arguments)
    }

    fn more(&mut self) {
        let before = self.more_before.or_else(|| self.transcript.oldest());
        match before {
            None => self.notice("there is nothing older".to_owned()),
            Some(_) if !self.link.is_open() || self.fetch.is_some() => {
                self.notice("not now, try again in a moment".to_owned());
            }
            Some(id) => {
                self.more_before = Some(id);
                self.fetch(Fetch::More);
            }
        }
    }

    pub(super) fn on_typing(&mut self, typing: bool) {
        let now_ms = self.moment.now_ms;
        self.typed_ms = now_ms;
        let due = self
            .typing_told_ms
            .is_none_or(|told_ms| now_ms >= told_ms + TYPING_RENEWAL_MS);
        if typing && due && self.link.is_open() {
            self.tell_typing(Some(now_ms));
        } else if !typing && self.typing_told_ms.is_some() {
            self.tell_typing(None);
        }
    }

    pub(super) fn tell_typing(&mut self, told_ms: Option<u64>) {
        self.typing_told_ms = told_ms;
        self.send(json!({"action": "typing", "is_typing": told_ms.is_some()}));
    }
}
