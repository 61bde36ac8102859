//! Where log lines go: stderr, as JSON for machines and as text for people.

use std::{
    io::{IsTerminal, stderr},
    panic,
};

use tracing_subscriber::EnvFilter;

use crate::{cli::Global, failure::use_colour};

/// Who logs, and so what if nobody says otherwise. The store's driver has a line for each attempt at a
/// store that is away; that it is away is told once by whoever uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// A process that stays.
    Server,
    /// A command that ends.
    Command,
}

impl Speaker {
    const fn filter(self) -> &'static str {
        match self {
            Self::Server => "warn,parlance=info,scylla=off",
            Self::Command => "warn,scylla=off",
        }
    }
}

/// From here on, lines that pass the filter of the command line, or that of the speaker, are written,
/// and panics are among them.
pub(crate) fn start(global: &Global, speaker: Speaker) {
    let filter = global.log.as_deref().unwrap_or(speaker.filter());
    let filter = EnvFilter::new(filter);
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr);
    if stderr().is_terminal() {
        lines.with_ansi(use_colour()).init();
    } else {
        lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .init();
    }
    panic::set_hook(Box::new(log_panic));
}

/// A panic is a line like any other, so that whoever watches the log sees it.
fn log_panic(info: &panic::PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let backtrace = std::backtrace::Backtrace::capture();
    tracing::error!(
        thread = thread.name().unwrap_or_default(),
        %backtrace,
        "panicked at {place}: {}",
        info.payload_as_str().unwrap_or("no message")
    );
}
