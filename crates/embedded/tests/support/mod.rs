//! A child process that appends until it is killed, and what it was told.
//!
//! The child is this test binary itself, started with [`CHILD`] in its environment: its one test
//! then calls [`append_for_ever`] and never returns.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
};

use parlance_core::{
    entry::{Draft, Event},
    ports::{Appended, Backend, History, Log},
};
use parlance_embedded::{Embedded, Options};
use parlance_protocol::{ConversationId, LocalId, MessageId, Position, UnixMicros, UserId};

/// The child's data directory.
pub(crate) const CHILD: &str = "PARLANCE_EMBEDDED_TEST_CHILD";

/// Appends that are always under way.
const IN_FLIGHT: usize = 50;

const CONVERSATIONS: u64 = 5;

/// What the child was told: local_id, conversation and position of each acknowledged append.
pub(crate) type Acked = Vec<(String, String, Position)>;

pub(crate) fn conversation(n: u64) -> ConversationId {
    ConversationId::new(&format!("room-{n}")).unwrap()
}

pub(crate) fn all_conversations() -> impl Iterator<Item = ConversationId> {
    (0..CONVERSATIONS).map(conversation)
}

pub(crate) fn draft(local_id: &str, event: Event) -> Draft {
    Draft {
        sender: UserId::new("ann").unwrap(),
        local_id: Some(LocalId::new(local_id).unwrap()),
        retry: true,
        event,
        at: UnixMicros(1),
        restores: None,
        trace: None,
    }
}

/// Starts the child on `dir`; `test` is the test that calls [`append_for_ever`].
pub(crate) fn start_child(test: &str, dir: &Path) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// Reads acknowledgements until `count` came, kills the child in the midst of its work, and reads
/// the rest of what it had been told.
pub(crate) fn kill_after(
    count: usize,
    child: (Child, BufReader<std::process::ChildStdout>),
) -> Acked {
    let (mut child, output) = child;
    let mut acked = Acked::new();
    for line in output.split(b'\n') {
        let Ok(line) = String::from_utf8(line.unwrap()) else {
            continue;
        };
        acked.extend(parse(&line));
        if acked.len() == count {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(
        acked.len() >= count,
        "the child ended early, after {}",
        acked.len()
    );
    acked
}

/// A line may be cut by the kill: its last word tells.
fn parse(line: &str) -> Option<(String, String, Position)> {
    let words: Vec<_> = line.split(' ').collect();
    let ["acked", local_id, conversation, position, "."] = words[..] else {
        return None;
    };
    let position = Position::parse(position)?;
    Some((local_id.into(), conversation.into(), position))
}

/// The child's part: messages and edits, each acknowledgement printed at once.
pub(crate) async fn append_for_ever(dir: &str) {
    let backend = Embedded::open(Path::new(dir), Options::default()).unwrap();
    let (log, _feed) = backend.attach();
    let mut waiting = VecDeque::new();
    let mut out = std::io::stdout();
    for n in 0_u64.. {
        let room = conversation(n % CONVERSATIONS);
        let event = if n % 50 < 45 {
            Event::Message {
                content: format!("message {n} {}", "x".repeat((n % 300) as usize)).into(),
            }
        } else {
            Event::Edit {
                message_id: MessageId::new(1).unwrap(),
                content: format!("edit {n}").into(),
            }
        };
        let local_id = format!("{}-{n}", std::process::id());
        let answer = log.append(&room, draft(&local_id, event));
        waiting.push_back((local_id, room, answer));
        if waiting.len() == IN_FLIGHT {
            let (local_id, room, answer) = waiting.pop_front().unwrap();
            let Appended::New(entry) = answer.await.unwrap() else {
                panic!("{local_id} should be new");
            };
            writeln!(out, "acked {local_id} {room} {} .", entry.position).unwrap();
            out.flush().unwrap();
        }
    }
}

/// Every acknowledged append is there once, at its position; ids are dense and linked.
pub(crate) async fn check(dir: &Path, acked: &Acked) {
    let backend = Embedded::open(dir, Options::default()).unwrap();
    let (log, _feed) = backend.attach();
    let mut found = 0;
    for room in all_conversations() {
        let replay = log.replay(&room, Position::ZERO, usize::MAX).await.unwrap();
        let mut last = Position::ZERO;
        let mut messages = 0;
        for event in &replay.events {
            assert_eq!(event.entry.prev, last, "prev in {room}");
            last = event.entry.position;
            messages += u64::from(event.entry.event.target().is_none());
            assert_eq!(last.id.n(), messages, "dense ids in {room}");
        }
        for (local_id, _, position) in acked.iter().filter(|(_, of, _)| of == room.as_str()) {
            let named = replay.events.iter().filter(|event| {
                event
                    .entry
                    .local_id
                    .as_ref()
                    .is_some_and(|id| id.as_str() == local_id)
            });
            let places: Vec<_> = named.map(|event| event.entry.position).collect();
            assert_eq!(places, [*position], "{local_id} in {room}");
            found += 1;
        }
    }
    assert_eq!(found, acked.len());
}
