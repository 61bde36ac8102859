//! Conversations that are ready for the same thing at the same time share a call of its script: to
//! append, to be opened, to be told who comes and goes.
//!
//! A call costs Redis a fifth of what it does for a conversation, and this process about as much, so
//! under load it pays to send few. Nothing waits for that: a part goes when the tasks that were ready
//! with it have given theirs, and alone when there are none. Answers come apart again, an error among
//! them is of its conversation alone.

use std::{cell::RefCell, rc::Rc};

use parlance_core::store::Partition;
use redis::Value;
use tokio::sync::oneshot;

use crate::{
    answer,
    link::{Call, CallError, Link},
    scripts::{self, Script},
    shard_map::Speech,
};

/// Events, openings or comings and goings of one call, unless one conversation alone has more.
pub(crate) const EVENTS_PER_CALL: usize = 64;
/// Bytes of one call, likewise: no call keeps Redis for long.
pub(crate) const BYTES_PER_CALL: usize = 128 * 1024;

/// What is done together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Append,
    Opening,
    Presence,
}

/// What one conversation has to be done: its part of the script's keys and arguments.
pub(crate) struct Part {
    partition: Partition,
    events: usize,
    pub(crate) keys: Texts,
    pub(crate) arguments: Texts,
}

/// Many short texts in one piece of memory.
#[derive(Default)]
pub(crate) struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// Parts that wait for the end of the tasks that are ready now.
#[derive(Default)]
pub(crate) struct Gathering {
    appends: Waiting,
    openings: Waiting,
    presence: Waiting,
}

type Waiting = RefCell<Vec<(Part, Answer)>>;

/// What is done with the answer.
type Answer = Box<dyn FnOnce(Result<Value, CallError>)>;

impl Texts {
    pub(crate) fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins
            .zip(&self.ends)
            .map(|(begin, end)| &self.bytes[begin..*end])
    }
}

impl Part {
    pub(crate) fn new(partition: Partition, events: usize) -> Self {
        Self {
            partition,
            events,
            keys: Texts::default(),
            arguments: Texts::default(),
        }
    }

    fn bytes(&self) -> usize {
        self.arguments.bytes.len()
    }
}

impl What {
    fn script(self) -> &'static Script {
        match self {
            Self::Append => &scripts::APPEND,
            Self::Opening => &scripts::OPENING,
            Self::Presence => &scripts::PRESENCE,
        }
    }
}

/// The call that does these. `mode`: how, as the script takes it behind the run.
pub(crate) fn call<'a>(
    what: What,
    run: &str,
    mode: &str,
    parts: impl Iterator<Item = &'a Part> + Clone,
) -> Call<'a> {
    let keys = parts.clone().flat_map(|part| part.keys.iter());
    let arguments = parts.flat_map(|part| part.arguments.iter());
    arguments.fold(
        Call::of(what.script(), keys).with(format!("{run}{mode}")),
        Call::with,
    )
}

impl Gathering {
    fn waiting(&self, what: What) -> &Waiting {
        match what {
            What::Append => &self.appends,
            What::Opening => &self.openings,
            What::Presence => &self.presence,
        }
    }

    /// Does it over `link`, whose gathering this is, in the order of the first polls. Parts of one
    /// node go together, of a cluster only those of one partition, which is one slot. The first of
    /// those that go together says in which mode.
    ///
    /// Not cancel safe: a part that was given is sent.
    pub(crate) async fn call(
        link: &Rc<Link>,
        what: What,
        mode: &str,
        speech: Speech,
        part: Part,
    ) -> Result<Value, CallError> {
        let (answer, answered) = oneshot::channel();
        Self::give(link, what, mode, speech, part, move |result| {
            // Who does not wait any more needs no answer.
            let _ = answer.send(result);
        });
        let ended = || CallError::Unknown("the connection was lost".into());
        answered.await.map_err(|_| ended())?
    }

    /// The same for who has something else to do: `answer` gets the answer.
    pub(crate) fn give(
        link: &Rc<Link>,
        what: What,
        mode: &str,
        speech: Speech,
        part: Part,
        answer: impl FnOnce(Result<Value, CallError>) + 'static,
    ) {
        let is_first = {
            let mut waiting = link.gathering.waiting(what).borrow_mut();
            waiting.push((part, Box::new(answer)));
            waiting.len() == 1
        };
        if is_first {
            let (link, mode) = (Rc::clone(link), mode.to_owned());
            // Polled behind all tasks that are ready now.
            tokio::task::spawn_local(async move { send(&link, what, &mode, speech) });
        }
    }
}

fn send(link: &Rc<Link>, what: What, mode: &str, speech: Speech) {
    let mut waiting = link.gathering.waiting(what).take();
    if speech == Speech::Sharded {
        // Stable: the parts of a partition stay in their order.
        waiting.sort_by_key(|(part, _)| part.partition);
    }
    let mut waiting = waiting.into_iter().peekable();
    while let Some(first) = waiting.next() {
        let (partition, mut events, mut bytes) =
            (first.0.partition, first.0.events, first.0.bytes());
        let mut group = vec![first];
        while let Some(next) = waiting.next_if(|(next, _)| {
            events += next.events;
            bytes += next.bytes();
            let is_near = speech == Speech::Plain || next.partition == partition;
            is_near && events <= EVENTS_PER_CALL && bytes <= BYTES_PER_CALL
        }) {
            group.push(next);
        }
        let (link, mode) = (Rc::clone(link), mode.to_owned());
        tokio::task::spawn_local(async move { settle(&link, what, &mode, group).await });
    }
}

async fn settle(link: &Link, what: What, mode: &str, group: Vec<(Part, Answer)>) {
    let answer = {
        let call = call(what, &link.run.0, mode, group.iter().map(|(part, _)| part));
        link.call(&call).await
    };
    let answers = answer.and_then(|answer| answer::each(answer, group.len()));
    let results = answers.unwrap_or_else(|error| vec![Err(error); group.len()]);
    for ((_, answer), result) in group.into_iter().zip(results) {
        answer(result);
    }
}
