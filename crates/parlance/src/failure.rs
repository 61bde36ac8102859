//! How a command fails: one block on stderr, and an exit code that scripts can rely on.

use std::{
    fmt::{self, Display},
    io::{IsTerminal, Write, stderr},
    process::ExitCode,
};

use crate::config::ConfigError;

/// Why a command failed, as its exit code says it (those of `sysexits.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Under load, something did not arrive as it should.
    Wrong = 1,
    /// The command line or the configuration is wrong.
    Usage = 64,
    /// Something that is needed is missing or taken: an address, a directory, a server.
    Unavailable = 69,
    /// A fault of the program or of its data.
    Fault = 70,
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: anyhow::Error,
    fix: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit,
            error: error.into(),
            fix: None,
        }
    }

    /// What to do about it.
    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// Says it on stderr.
    pub(crate) fn report(&self) -> ExitCode {
        // Nobody is left to be told when stderr is closed.
        let _ = writeln!(stderr(), "{} {self}", label());
        ExitCode::from(self.exit as u8)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        for cause in self.error.chain().skip(1) {
            write!(f, "\n  because {cause}")?;
        }
        match &self.fix {
            Some(fix) => write!(f, "\n  to fix it: {fix}"),
            None => Ok(()),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Usage, error)
    }
}

/// Help and version are no failures; everything else about the command line is a usage error.
pub(crate) fn of_command_line(error: &clap::Error) -> ExitCode {
    // As above: a closed stdout or stderr is nobody's.
    let _ = error.print();
    if error.use_stderr() {
        ExitCode::from(Exit::Usage as u8)
    } else {
        ExitCode::SUCCESS
    }
}

fn label() -> &'static str {
    if use_colour() {
        "\x1b[1;31merror:\x1b[0m"
    } else {
        "error:"
    }
}

/// Colours are for people at a terminal who did not decline them (<https://no-color.org>).
pub(crate) fn use_colour() -> bool {
    let declined = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stderr().is_terminal() && !declined
}
