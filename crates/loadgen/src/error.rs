//! Why a run could not be made. What a run found wrong is in its report.

use std::{collections::BTreeMap, io};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A load that cannot be made.
    #[error("{0}")]
    Arguments(String),
    /// The system allows too few open files.
    #[error(
        "{connections} connections need {wanted} open files, but this process may have {limit}; raise it \
         with `ulimit -n {wanted}`, or ask for fewer connections"
    )]
    TooFewFiles {
        /// Asked for.
        connections: usize,
        /// Allowed.
        limit: u64,
        /// Needed.
        wanted: u64,
    },
    /// Somebody could not connect, or not join.
    #[error("member {member} of room {room} cannot join: {reason}")]
    CannotJoin {
        /// Its room.
        room: usize,
        /// Which member of it.
        member: usize,
        /// What the system or the server said.
        reason: String,
    },
    /// What a workload needs to be there could not be written.
    #[error(
        "{done} of {all} messages could be written, then no more for 10 s; refused: {refused:?}"
    )]
    NotFilled {
        /// Written.
        done: u64,
        /// Wanted.
        all: u64,
        /// How often the server refused one, by its code.
        refused: BTreeMap<String, u64>,
    },
    /// The member that writes was cut off before anything was measured.
    #[error("a member that writes was lost before anything was measured: {reason}")]
    WriterLost {
        /// A close code, or what the system said.
        reason: String,
    },
    /// A watched process is not there.
    #[error("cannot read the clocks of {label}, process {pid}")]
    Clocks {
        /// What it was called.
        label: String,
        /// Its id.
        pid: u32,
        /// What the system said.
        source: anyhow::Error,
    },
    /// The generator's own system calls failed.
    #[error("{doing} failed")]
    System {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl LoadError {
    pub(crate) fn system(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { doing, source }
    }
}
