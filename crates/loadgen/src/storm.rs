//! Many connections that then do nothing: how fast they come, and what each costs.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::{client::Client, process};

/// What was seen.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// How many connections stand.
    pub connections: usize,
    /// How long it took to open them.
    pub elapsed: Duration,
    /// CPU time of the server in that time.
    pub server_cpu: Duration,
    /// Resident memory of the server before, in bytes.
    pub before_bytes: u64,
    /// And with all connections open.
    pub after_bytes: u64,
}

impl Report {
    /// Resident bytes per connection.
    #[must_use]
    pub fn bytes_per_connection(&self) -> f64 {
        self.after_bytes.saturating_sub(self.before_bytes) as f64 / self.connections.max(1) as f64
    }
}

/// Opens `connections` one after the other and holds them for `hold`.
///
/// # Errors
/// When one cannot be opened.
pub fn run(
    address: SocketAddr,
    server_pid: u32,
    connections: usize,
    hold: Duration,
    path: impl Fn(usize) -> String,
) -> anyhow::Result<Report> {
    let before_bytes = process::resident_bytes(server_pid)?;
    let cpu_before = process::cpu_time(server_pid)?;
    let begun = Instant::now();
    let mut clients = Vec::with_capacity(connections);
    for index in 0..connections {
        let client = Client::connect(address, &path(index));
        clients.push(client.with_context(|| format!("connection {index} of {connections}"))?);
    }
    let elapsed = begun.elapsed();
    let server_cpu = process::cpu_time(server_pid)?.saturating_sub(cpu_before);
    std::thread::sleep(hold);
    let after_bytes = process::resident_bytes(server_pid)?;
    Ok(Report {
        connections,
        elapsed,
        server_cpu,
        before_bytes,
        after_bytes,
    })
}
