//! What a measurement leaves behind: a file of JSON with all rounds, from which the page is made.

use std::{fs, path::Path};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::{
    judge::{Sample, Samples},
    machine::Machine,
    rows::Run,
    servers::Kind,
    workloads::Workload,
};

/// One measurement, of one table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    /// How to do it again.
    pub(crate) command: String,
    /// In UTC, as RFC 3339 has it.
    pub(crate) began: String,
    pub(crate) rounds: usize,
    /// Counted of each run that has no end of its own.
    pub(crate) seconds: u64,
    /// Where it was otherwise than it should be, as scheduling at ordinary priority.
    pub(crate) remarks: Vec<String>,
    pub(crate) measured: Vec<Measured>,
    pub(crate) skipped: Vec<Skipped>,
    pub(crate) failed: Vec<Failed>,
}

/// All rounds of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    #[serde(flatten)]
    pub(crate) run: Run,
    pub(crate) rounds: Vec<Sample>,
}

/// A server that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Skipped {
    pub(crate) server: Kind,
    pub(crate) reason: String,
}

/// A run that does not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    pub(crate) server: Kind,
    pub(crate) workload: Workload,
    pub(crate) round: usize,
    pub(crate) reason: String,
}

impl Results {
    pub(crate) fn samples(&self) -> Samples {
        let each = self.measured.iter();
        each.map(|one| (one.run, one.rounds.clone())).collect()
    }

    /// Writes the file, and the directory that it is in if need be.
    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)
                .with_context(|| format!("making {}", directory.display()))?;
        }
        let text = serde_json::to_string_pretty(self)?;
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// Reads a file that [`Results::save`] wrote; none if there is none.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(path);
        let text = text.with_context(|| format!("reading {}", path.display()))?;
        let results = serde_json::from_str(&text);
        let results = results.with_context(|| {
            let path = path.display();
            format!("{path} is of another version: measure again")
        })?;
        Ok(Some(results))
    }
}
