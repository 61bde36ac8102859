//! What was said, in the order in which it is shown.
//!
//! Own messages appear at once, without an id; their acknowledgement gives them their place. A tick
//! is not kept per message: two cursors say how far own messages were delivered and read.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound::{Excluded, Included},
};

use parlance_protocol::{MessageId, Status, UnixMicros};

use super::{
    people::People,
    text::{Line, Span, Style},
};

/// A message as it is shown at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: MessageId,
    pub(crate) local_id: Option<String>,
    pub(crate) sender: String,
    pub(crate) content: String,
    pub(crate) at: UnixMicros,
    pub(crate) edited: bool,
    pub(crate) deleted: bool,
}

#[derive(Debug)]
enum Entry {
    Message(Message),
    /// Own, not acknowledged; with the reason if it was refused.
    Pending {
        content: String,
        refused: Option<String>,
    },
    Notice(String),
    /// Moved to its place or lost: not shown.
    Gone,
}

/// What a message turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placed {
    New,
    /// Shown before; its content may be newer now.
    Known,
}

/// Everything shown so far.
#[derive(Debug)]
pub(crate) struct Transcript {
    me: String,
    entries: Vec<Entry>,
    by_id: BTreeMap<MessageId, usize>,
    pending: HashMap<String, usize>,
    delivered_up_to: MessageId,
    read_up_to: MessageId,
}

impl Transcript {
    pub(crate) fn new(me: &str) -> Self {
        Self {
            me: me.to_owned(),
            entries: Vec::new(),
            by_id: BTreeMap::new(),
            pending: HashMap::new(),
            delivered_up_to: MessageId::ZERO,
            read_up_to: MessageId::ZERO,
        }
    }

    pub(crate) fn notice(&mut self, text: String) {
        self.entries.push(Entry::Notice(text));
    }

    /// Shows an own message before anybody else knows it.
    pub(crate) fn pending(&mut self, local_id: &str, content: &str) {
        self.pending.insert(local_id.to_owned(), self.entries.len());
        self.entries.push(Entry::Pending {
            content: content.to_owned(),
            refused: None,
        });
    }

    pub(crate) fn refused(&mut self, local_id: &str, why: &str) {
        if let Some(at) = self.pending.remove(local_id)
            && let Entry::Pending { refused, .. } = &mut self.entries[at]
        {
            *refused = Some(why.to_owned());
        }
    }

    /// A message from the server. One that is known keeps its place; an own one that was pending
    /// stays where it is if nothing came after it, and goes to the end otherwise.
    pub(crate) fn place(&mut self, message: Message) -> Placed {
        let local_id = message.local_id.as_deref().unwrap_or_default();
        let pending = match message.sender == self.me {
            true => self.pending.remove(local_id),
            false => None,
        };
        if let Some(&at) = self.by_id.get(&message.id) {
            if let Some(pending) = pending {
                self.entries[pending] = Entry::Gone;
            }
            self.entries[at] = Entry::Message(message);
            return Placed::Known;
        }
        let at = match pending {
            Some(at) if self.is_last_said(at) => at,
            Some(moved) => {
                self.entries[moved] = Entry::Gone;
                self.entries.len()
            }
            None => self.entries.len(),
        };
        self.by_id.insert(message.id, at);
        if at == self.entries.len() {
            self.entries.push(Entry::Message(message));
        } else {
            self.entries[at] = Entry::Message(message);
        }
        Placed::New
    }

    /// Whether only things without a place follow.
    fn is_last_said(&self, at: usize) -> bool {
        let after = &self.entries[at + 1..];
        !after.iter().any(|entry| matches!(entry, Entry::Message(_)))
    }

    /// `true` when a message that is shown changed.
    pub(crate) fn edited(&mut self, id: MessageId, new_content: &str) -> bool {
        let Some(message) = self.message_mut(id) else {
            return false;
        };
        if message.deleted {
            return false;
        }
        let changed = message.content != new_content || !message.edited;
        new_content.clone_into(&mut message.content);
        message.edited = true;
        changed
    }

    /// `true` when a message that is shown went away.
    pub(crate) fn deleted(&mut self, id: MessageId) -> bool {
        let Some(message) = self.message_mut(id) else {
            return false;
        };
        let changed = !message.deleted;
        message.deleted = true;
        message.content.clear();
        changed
    }

    /// Own messages up to `id` came this far. The newly covered own message, if one is shown.
    pub(crate) fn reached(&mut self, id: MessageId, status: Status) -> Option<MessageId> {
        let cursor = match status {
            Status::Delivered => &mut self.delivered_up_to,
            Status::Read => &mut self.read_up_to,
            Status::Sent | Status::Failed => return None,
        };
        let before = *cursor;
        if id <= before {
            return None;
        }
        *cursor = id;
        let mut covered = self.by_id.range((Excluded(before), Included(id))).rev();
        let own = |at: &usize| matches!(&self.entries[*at], Entry::Message(message) if message.sender == self.me);
        covered.find(|(_, at)| own(at)).map(|(id, _)| *id)
    }

    /// Takes back what the log lost: everything above `id`.
    pub(crate) fn lost_above(&mut self, id: MessageId) {
        let Some(first_lost) = MessageId::new(id.get() + 1) else {
            return;
        };
        for (_, at) in self.by_id.split_off(&first_lost) {
            if let Entry::Message(message) = &self.entries[at]
                && message.sender == self.me
                && let Some(local_id) = message.local_id.clone()
            {
                let content = message.content.clone();
                self.entries[at] = Entry::Pending {
                    content,
                    refused: None,
                };
                self.pending.insert(local_id, at);
            } else {
                self.entries[at] = Entry::Gone;
            }
        }
    }

    /// The last message of this user that is not deleted.
    pub(crate) fn last_own(&self) -> Option<MessageId> {
        let own = |at: &usize| {
            matches!(&self.entries[*at], Entry::Message(message)
                if message.sender == self.me && !message.deleted)
        };
        let mut newest_first = self.by_id.iter().rev();
        newest_first.find(|(_, at)| own(at)).map(|(id, _)| *id)
    }

    pub(crate) fn knows(&self, id: MessageId) -> bool {
        self.by_id.contains_key(&id)
    }

    pub(crate) fn oldest(&self) -> Option<MessageId> {
        self.by_id.keys().next().copied()
    }

    pub(crate) fn newest(&self) -> Option<MessageId> {
        self.by_id.keys().next_back().copied()
    }

    fn message_mut(&mut self, id: MessageId) -> Option<&mut Message> {
        match &mut self.entries[*self.by_id.get(&id)?] {
            Entry::Message(message) => Some(message),
            Entry::Pending { .. } | Entry::Notice(_) | Entry::Gone => None,
        }
    }

    // --- showing ---

    /// Every line, oldest first.
    pub(crate) fn lines<'a>(&'a self, people: &'a People) -> impl Iterator<Item = Line> + 'a {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Message(message) => Some(self.message_line(message, people)),
            Entry::Pending { content, refused } => Some(pending_line(content, refused.as_deref())),
            Entry::Notice(text) => Some(vec![Span::new(Style::Dim, &format!("* {text}"))]),
            Entry::Gone => None,
        })
    }

    /// The line of one message that is shown.
    pub(crate) fn line_of(&self, id: MessageId, people: &People) -> Option<Line> {
        match &self.entries[*self.by_id.get(&id)?] {
            Entry::Message(message) => Some(self.message_line(message, people)),
            Entry::Pending { .. } | Entry::Notice(_) | Entry::Gone => None,
        }
    }

    fn message_line(&self, message: &Message, people: &People) -> Line {
        let own = message.sender == self.me;
        let clock = message.at.to_string();
        let clock = clock.get(11..16).unwrap_or_default();
        let (style, name) = match own {
            true => (Style::Own, "you"),
            false => (Style::Other, people.name(&message.sender)),
        };
        let mut line = vec![
            Span::new(Style::Dim, &format!("#{} {clock} ", message.id)),
            Span::new(style, name),
            Span::new(Style::Plain, ": "),
        ];
        if message.deleted {
            line.push(Span::new(Style::Dim, "(deleted)"));
        } else {
            line.push(Span::new(Style::Plain, &message.content));
        }
        if message.edited && !message.deleted {
            line.push(Span::new(Style::Dim, " (edited)"));
        }
        if own && !message.deleted {
            line.push(Span::new(Style::Dim, self.ticks(message.id)));
        }
        line
    }

    fn ticks(&self, id: MessageId) -> &'static str {
        if id <= self.read_up_to {
            " ✓✓ read"
        } else if id <= self.delivered_up_to {
            " ✓✓"
        } else {
            " ✓"
        }
    }
}

fn pending_line(content: &str, refused: Option<&str>) -> Line {
    let mut line = vec![
        Span::new(Style::Own, "you"),
        Span::new(Style::Plain, ": "),
        Span::new(Style::Plain, content),
    ];
    line.push(match refused {
        None => Span::new(Style::Dim, " …"),
        Some(why) => Span::new(Style::Alert, &format!(" ✗ {why}")),
    });
    line
}

#[cfg(test)]
mod tests {
    use super::{super::text, *};

    fn id(number: u64) -> MessageId {
        MessageId::new(number).unwrap()
    }

    fn message(number: u64, sender: &str, local_id: Option<&str>) -> Message {
        Message {
            id: id(number),
            local_id: local_id.map(str::to_owned),
            sender: sender.to_owned(),
            content: format!("text {number}"),
            at: UnixMicros(0),
            edited: false,
            deleted: false,
        }
    }

    fn shown(transcript: &Transcript) -> Vec<String> {
        let people = People::default();
        let lines = transcript.lines(&people);
        lines.map(|line| text::plain(&line)).collect()
    }

    #[test]
    fn an_own_message_is_confirmed_where_it_stands() {
        let mut transcript = Transcript::new("me");
        transcript.pending("a", "text 1");
        assert_eq!(shown(&transcript), ["you: text 1 …"]);
        transcript.place(message(1, "me", Some("a")));
        assert_eq!(shown(&transcript), ["#1 00:00 you: text 1 ✓"]);
    }

    #[test]
    fn an_own_message_moves_behind_what_came_before_it() {
        let mut transcript = Transcript::new("me");
        transcript.pending("a", "text 2");
        transcript.place(message(1, "bob", None));
        transcript.place(message(2, "me", Some("a")));
        assert_eq!(
            shown(&transcript),
            ["#1 00:00 bob: text 1", "#2 00:00 you: text 2 ✓"]
        );
    }

    #[test]
    fn a_message_seen_twice_is_shown_once() {
        let mut transcript = Transcript::new("me");
        assert_eq!(transcript.place(message(1, "bob", None)), Placed::New);
        assert_eq!(transcript.place(message(1, "bob", None)), Placed::Known);
        assert_eq!(shown(&transcript).len(), 1);
    }

    #[test]
    fn another_users_local_id_confirms_nothing() {
        let mut transcript = Transcript::new("me");
        transcript.pending("a", "mine");
        transcript.place(message(1, "bob", Some("a")));
        assert_eq!(shown(&transcript), ["you: mine …", "#1 00:00 bob: text 1"]);
    }

    #[test]
    fn ticks_hold_for_all_earlier_messages_and_never_go_back() {
        let mut transcript = Transcript::new("me");
        for number in 1..=3 {
            transcript.place(message(number, "me", None));
        }
        assert_eq!(transcript.reached(id(3), Status::Delivered), Some(id(3)));
        assert_eq!(transcript.reached(id(2), Status::Read), Some(id(2)));
        assert_eq!(transcript.reached(id(1), Status::Read), None);
        assert_eq!(
            shown(&transcript),
            [
                "#1 00:00 you: text 1 ✓✓ read",
                "#2 00:00 you: text 2 ✓✓ read",
                "#3 00:00 you: text 3 ✓✓"
            ]
        );
    }

    #[test]
    fn a_lost_tail_leaves_own_messages_waiting_again() {
        let mut transcript = Transcript::new("me");
        transcript.place(message(1, "bob", None));
        transcript.place(message(2, "me", Some("a")));
        transcript.place(message(3, "bob", None));
        transcript.lost_above(id(1));
        assert_eq!(
            shown(&transcript),
            ["#1 00:00 bob: text 1", "you: text 2 …"]
        );
    }

    #[test]
    fn a_delete_wins_over_a_late_edit() {
        let mut transcript = Transcript::new("me");
        transcript.place(message(1, "bob", None));
        assert!(transcript.edited(id(1), "new"));
        assert!(transcript.deleted(id(1)));
        assert!(!transcript.edited(id(1), "newer"));
        assert!(!transcript.deleted(id(1)));
        assert_eq!(shown(&transcript), ["#1 00:00 bob: (deleted)"]);
    }
}
