//! A persister as a child process, and what it says of itself.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use parlance_loadgen::process;
use parlance_testkit::{
    redis::{PARTITIONS, Redis, tag},
    server::Parlance,
};

use super::Tables;

/// Longer than anything takes that is not stuck.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running `parlance persister`. Dropping it ends it.
pub(super) struct Persister(Parlance);

impl Persister {
    /// Returns when it works.
    pub(super) fn start(redis: &Redis, tables: &Tables) -> Self {
        let setup = Parlance::setup().persister(&redis.url());
        Self(tables.told_to(setup).start())
    }

    /// Processor time so far.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        process::cpu_time(self.0.pid())
    }

    /// Stops the process where it stands.
    pub(super) fn freeze(&self) {
        self.0.freeze();
    }

    /// Lets it go on.
    pub(super) fn thaw(&self) {
        self.0.thaw();
    }

    /// The sum of all lines of a metric on its page.
    pub(super) fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let mut stream = TcpStream::connect(self.0.admin_address())?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        let lines = page.lines().filter_map(|line| line.strip_prefix(name));
        let own = lines.filter(|rest| rest.starts_with([' ', '{']));
        let values = own.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(values.sum())
    }
}

/// Waits until nothing waits to be stored. Few questions, because Redis's processor is measured.
pub(super) fn wait_until_stored(redis: &Redis) -> anyhow::Result<()> {
    let give_up = Instant::now() + PATIENCE;
    let mut connection = redis.connection();
    for partition in 0..PARTITIONS {
        let ingest = format!("{}:in", tag(partition));
        while connection.cmd(&["XLEN", &ingest]).integer() > 0 {
            ensure!(Instant::now() < give_up, "{ingest} is not stored in time");
            thread::sleep(LOOK_EVERY);
        }
        let letters = format!("{}:dl", tag(partition));
        let letters = connection.cmd(&["XLEN", &letters]).integer();
        ensure!(letters == 0, "{letters} dead letters in {}", tag(partition));
    }
    Ok(())
}

/// Waits until a persister owns all partitions.
pub(super) fn wait_until_owned(persister: &Persister) -> anyhow::Result<()> {
    let give_up = Instant::now() + PATIENCE;
    let all = f64::from(PARTITIONS);
    while persister
        .metric("parlance_persister_partitions")
        .context("the persister's page")?
        < all
    {
        ensure!(
            Instant::now() < give_up,
            "some partitions stay without an owner"
        );
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}
