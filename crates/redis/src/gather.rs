//! Conversations that are ready to append at the same time share a call of the script.
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
    link::{Call, CallError, Link, error_of},
    scripts,
    shard_map::Speech,
};

/// Events of one call, unless one conversation alone has more.
const EVENTS_PER_CALL: usize = 64;
/// Bytes of one call, likewise: no call keeps Redis for long.
const BYTES_PER_CALL: usize = 128 * 1024;

/// What one conversation has to append: its part of the script's keys and arguments.
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
    waiting: RefCell<Vec<(Part, Answer)>>,
}

type Answer = oneshot::Sender<Result<Value, CallError>>;

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

/// The call that appends these. `mode`: how, in the letters of the script.
pub(crate) fn call<'a>(
    run: &str,
    mode: &str,
    parts: impl Iterator<Item = &'a Part> + Clone,
) -> Call<'a> {
    let keys = parts.clone().flat_map(|part| part.keys.iter());
    let arguments = parts.flat_map(|part| part.arguments.iter());
    arguments.fold(
        Call::of(&scripts::APPEND, keys).with(format!("{run}{mode}")),
        Call::with,
    )
}

/// What the script answers, part by part.
pub(crate) fn answers(answer: Value) -> Result<Vec<Result<Value, CallError>>, CallError> {
    let of_part = |value: Value| value.extract_error().map_err(error_of);
    Ok(answer::list(answer)?.into_iter().map(of_part).collect())
}

impl Gathering {
    /// Appends over `link`, whose gathering this is. Parts of one node go together, of a cluster
    /// only those of one partition, which is one slot.
    ///
    /// Not cancel safe: a part that was given is sent.
    pub(crate) async fn append(
        link: &Rc<Link>,
        mode: &str,
        speech: Speech,
        part: Part,
    ) -> Result<Value, CallError> {
        let (answer, answered) = oneshot::channel();
        let is_first = {
            let mut waiting = link.gathering.waiting.borrow_mut();
            waiting.push((part, answer));
            waiting.len() == 1
        };
        if is_first {
            let (link, mode) = (Rc::clone(link), mode.to_owned());
            // Polled behind all tasks that are ready now.
            tokio::task::spawn_local(async move { send(&link, &mode, speech) });
        }
        let ended = || CallError::Unknown("the connection was lost".into());
        answered.await.map_err(|_| ended())?
    }
}

fn send(link: &Rc<Link>, mode: &str, speech: Speech) {
    let mut waiting = link.gathering.waiting.take();
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
        tokio::task::spawn_local(async move { settle(&link, &mode, group).await });
    }
}

async fn settle(link: &Link, mode: &str, group: Vec<(Part, Answer)>) {
    let answer = {
        let call = call(&link.run.0, mode, group.iter().map(|(part, _)| part));
        link.call(&call).await
    };
    let results = match answer.and_then(answers) {
        Ok(results) if results.len() == group.len() => results,
        Ok(_) => vec![Err(answer::unexpected("another number of answers")); group.len()],
        Err(error) => vec![Err(error); group.len()],
    };
    for ((_, answer), result) in group.into_iter().zip(results) {
        // Who does not wait any more needs no answer.
        let _ = answer.send(result);
    }
}
