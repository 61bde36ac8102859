//! `parlance check`: the verdict on a recording that a test run left.

use std::{
    fmt::Write,
    fs::File,
    io::{BufRead, BufReader, stdin},
    path::Path,
};

use anyhow::{Context, anyhow};
use parlance_checker::{
    Invariant, check,
    file::{self, ReadError},
    recording::{Event, Recording},
    report::describe,
};

use crate::{
    cli::Check,
    commands::print,
    failure::{Exit, Failure},
};

pub(super) fn run(command: &Check) -> Result<(), Failure> {
    let recording = read(&command.history)?;
    print(&summary(&recording))?;
    let violations = check(&recording);
    if violations.is_empty() {
        let all = Invariant::ALL.len();
        return print(&format!("right       all {all} invariants hold\n"));
    }
    print(&describe(&recording, &violations))?;
    let wrong = anyhow!("{} violations", violations.len());
    Err(Failure::new(Exit::Wrong, wrong))
}

fn read(path: &Path) -> Result<Recording, Failure> {
    let source: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(stdin().lock())
    } else {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()));
        let file = file.map_err(|error| Failure::new(Exit::Usage, error));
        Box::new(BufReader::new(file?))
    };
    file::read(source).map_err(|error| refused(path, error))
}

fn refused(path: &Path, error: ReadError) -> Failure {
    let what = format!("{} is not a recording that can be judged", path.display());
    let fix = "give it a file that a test run left, whole; docs/reliability.md shows its lines";
    Failure::new(Exit::Usage, anyhow::Error::new(error).context(what)).fix(fix)
}

fn summary(recording: &Recording) -> String {
    let rooms = recording.conversations.iter();
    let members = rooms.clone().flat_map(|room| &room.members);
    let events = members.clone().flat_map(|member| &member.events);
    let offers = events
        .clone()
        .filter(|seen| matches!(seen.event, Event::Offered { .. }));
    let messages: usize = rooms.clone().map(|room| room.history.len()).sum();
    let mut text = String::new();
    let _ = writeln!(
        text,
        "recording   {} conversations, {} clients, {} events, {} sends, {messages} messages in history",
        rooms.len(),
        members.count(),
        events.count(),
        offers.count(),
    );
    let _ = writeln!(text, "faults      {}", recording.faults.len());
    text
}
