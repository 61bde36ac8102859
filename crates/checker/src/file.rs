//! A recording as a file: one JSON object per line, so that a run of millions of events is written and
//! read piece by piece.
//!
//! The first line is `{"run":{…}}`. A line `{"conversation":{…}}` begins a conversation, whose readings
//! and clients follow; a line `{"client":{…}}` begins a client, whose events follow as `{"saw":{…}}`.
//! Faults, probes and samples stand anywhere. Anything else is refused, with its line.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::recording::{
    Conversation, Fault, Layer, Member, Probe, Reading, Recording, Run, Sample, Seen,
};

/// Of the lines that this module knows.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Run { version: u32, run: Run },
    Conversation { name: String },
    Reading(Reading),
    Client { user: String, layer: Layer },
    Saw(Seen),
    Fault(Fault),
    Probe(Probe),
    Sample(Sample),
}

/// Why a recording could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file.
    #[error("line {line} cannot be read: {error}")]
    Io {
        /// Counted from 1.
        line: usize,
        /// What the system says.
        error: io::Error,
    },
    /// What stands there.
    #[error("line {line} is no line of a recording: {error}")]
    Malformed {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// A line that is right, but not there.
    #[error("line {line} is out of place: {why}")]
    Misplaced {
        /// Counted from 1.
        line: usize,
        /// What would have to come before.
        why: &'static str,
    },
    /// Written by another version of this program.
    #[error("the recording has version {0}, and only version {VERSION} is known here")]
    Version(u32),
}

/// Writes a recording.
///
/// # Errors
/// What the system says.
pub fn write(recording: &Recording, mut to: impl Write) -> io::Result<()> {
    let (version, run) = (VERSION, recording.run);
    line(&mut to, &Line::Run { version, run })?;
    for fault in &recording.faults {
        line(&mut to, &Line::Fault(fault.clone()))?;
    }
    for conversation in &recording.conversations {
        write_conversation(conversation, &mut to)?;
    }
    for probe in &recording.probes {
        line(&mut to, &Line::Probe(probe.clone()))?;
    }
    for sample in &recording.samples {
        line(&mut to, &Line::Sample(sample.clone()))?;
    }
    to.flush()
}

/// The first reading is the history that all else is held to.
fn write_conversation(conversation: &Conversation, to: &mut impl Write) -> io::Result<()> {
    let name = conversation.name.clone();
    line(to, &Line::Conversation { name })?;
    let history = Reading {
        by: "history".to_owned(),
        told: conversation.history.clone(),
    };
    line(to, &Line::Reading(history))?;
    for reading in &conversation.readings {
        line(to, &Line::Reading(reading.clone()))?;
    }
    for member in &conversation.members {
        let (user, layer) = (member.user.clone(), member.layer);
        line(to, &Line::Client { user, layer })?;
        for seen in &member.events {
            line(to, &Line::Saw(seen.clone()))?;
        }
    }
    Ok(())
}

fn line(to: &mut impl Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *to, line)?;
    to.write_all(b"\n")
}

/// Reads a recording.
///
/// # Errors
/// [`ReadError`], with the line.
pub fn read(mut from: impl BufRead) -> Result<Recording, ReadError> {
    let mut reader = Reader::default();
    let mut text = String::new();
    loop {
        text.clear();
        reader.line += 1;
        let line = reader.line;
        let read = from.read_line(&mut text);
        if read.map_err(|error| ReadError::Io { line, error })? == 0 {
            return reader.end();
        }
        let parsed = serde_json::from_str(&text);
        reader.take(parsed.map_err(|error| ReadError::Malformed { line, error })?)?;
    }
}

#[derive(Debug, Default)]
struct Reader {
    line: usize,
    begun: bool,
    has_history: bool,
    recording: Recording,
}

impl Reader {
    fn take(&mut self, line: Line) -> Result<(), ReadError> {
        if !self.begun && !matches!(line, Line::Run { .. }) {
            return Err(self.misplaced("the first line says what was promised: {\"run\":{…}}"));
        }
        match line {
            Line::Run { version, run } => self.begin(version, run)?,
            Line::Conversation { name } => {
                self.has_history = false;
                self.recording.conversations.push(Conversation {
                    name,
                    ..Conversation::default()
                });
            }
            Line::Reading(reading) => self.reading(reading)?,
            Line::Client { user, layer } => self.conversation()?.members.push(Member {
                user,
                layer,
                events: Vec::new(),
            }),
            Line::Saw(seen) => self.member()?.events.push(seen),
            Line::Fault(fault) => self.recording.faults.push(fault),
            Line::Probe(probe) => self.recording.probes.push(probe),
            Line::Sample(sample) => self.recording.samples.push(sample),
        }
        Ok(())
    }

    fn begin(&mut self, version: u32, run: Run) -> Result<(), ReadError> {
        if self.begun {
            return Err(self.misplaced("a recording is of one run"));
        }
        if version != VERSION {
            return Err(ReadError::Version(version));
        }
        self.begun = true;
        self.recording.run = run;
        Ok(())
    }

    fn reading(&mut self, reading: Reading) -> Result<(), ReadError> {
        let is_other = self.has_history;
        let conversation = self.conversation()?;
        match is_other {
            true => conversation.readings.push(reading),
            false => conversation.history = reading.told,
        }
        self.has_history = true;
        Ok(())
    }

    fn conversation(&mut self) -> Result<&mut Conversation, ReadError> {
        let missing = self.misplaced("it belongs to a conversation");
        self.recording.conversations.last_mut().ok_or(missing)
    }

    fn member(&mut self) -> Result<&mut Member, ReadError> {
        let missing = self.misplaced("it belongs to a client");
        self.conversation()?.members.last_mut().ok_or(missing)
    }

    fn misplaced(&self, why: &'static str) -> ReadError {
        let line = self.line;
        ReadError::Misplaced { line, why }
    }

    fn end(self) -> Result<Recording, ReadError> {
        match self.begun {
            true => Ok(self.recording),
            false => Err(self.misplaced("the file is empty")),
        }
    }
}
