//! Calls the floor of the store, the program `bare-driver`.

use std::process::Command;

use anyhow::{Context as _, ensure};

use super::Tables;

/// What a process did that only has the driver.
pub(super) struct Bare<'a>(pub(super) &'a Tables);

impl Bare<'_> {
    /// Messages per second of processor: of so many conversations so many batches of so many.
    pub(super) fn write(
        &self,
        conversations: u64,
        batches: u64,
        messages: u64,
        bytes: usize,
    ) -> anyhow::Result<f64> {
        let bytes = bytes as u64;
        let (written, seconds) = self.run("write", &[conversations, batches, messages, bytes])?;
        Ok(written / seconds)
    }

    /// p50 and p99, in ms, of a message written alone: with its name, and then the epoch's row.
    pub(super) fn pace(
        &self,
        conversations: u64,
        per_second: u64,
        seconds: u64,
        bytes: usize,
    ) -> anyhow::Result<(f64, f64)> {
        let bytes = bytes as u64;
        let (p50, p99) = self.run("pace", &[conversations, per_second, seconds, bytes])?;
        Ok((p50 / 1_000.0, p99 / 1_000.0))
    }

    /// p50 and p99, in ms, of a page of so many rows: each below the one before.
    pub(super) fn read(
        &self,
        conversation: &str,
        newest: u64,
        rows: u64,
        times: u64,
    ) -> anyhow::Result<(f64, f64)> {
        let what = format!("read {conversation}");
        let (p50, p99) = self.run(&what, &[newest, rows, times])?;
        Ok((p50 / 1_000.0, p99 / 1_000.0))
    }

    fn run(&self, what: &str, numbers: &[u64]) -> anyhow::Result<(f64, f64)> {
        let program = std::env::current_exe()?.with_file_name("bare-driver");
        let mut command = Command::new(&program);
        command.arg(self.0.nodes.join(",")).arg(&self.0.keyspace);
        command.args(what.split(' '));
        command.args(numbers.iter().map(u64::to_string));
        let done = command
            .output()
            .with_context(|| format!("{}: build it with this package", program.display()))?;
        let said = String::from_utf8_lossy(&done.stdout);
        let trouble = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "the bare driver failed: {trouble}");
        let pair = said.trim().split_once(' ');
        let (one, other) = pair.with_context(|| format!("the bare driver said {said:?}"))?;
        Ok((one.parse()?, other.parse()?))
    }
}
