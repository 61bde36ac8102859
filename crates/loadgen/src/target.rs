//! What is loaded: the server, how it is spoken to, and whose clocks are read beside it.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use rustix::process::{Resource, getrlimit};

use crate::{dialect::Dialect, error::LoadError, report};

/// A server process whose CPU time and memory are read while the load runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// What reports call it.
    pub label: String,
    /// Its process id, on this machine.
    pub pid: u32,
}

/// Who is loaded, and how.
pub struct Target<'a> {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where more nodes of it listen: members of a room are spread over all of them, in turn.
    pub more_addresses: Vec<SocketAddr>,
    /// What the `Host` header says.
    pub host: String,
    /// Where connections come from, in turn. Empty: wherever the system has them come from, and on
    /// loopback from as many addresses of 127.0.0.0/8 as the connections need.
    pub sources: Vec<IpAddr>,
    /// How it is spoken to.
    pub dialect: &'a dyn Dialect,
    /// What it runs as, the server itself first. May be empty.
    pub processes: Vec<Watched>,
}

/// How many connections one address is used for. The system has about 28,000 ports for outgoing
/// connections; those of a run before need some time until they are free.
const CONNECTIONS_PER_SOURCE: usize = 20_000;
/// Files that the generator has open besides its connections: its own and those of its caller.
const OTHER_FILES: u64 = 64;

impl<'a> Target<'a> {
    /// A server on this address with nothing else known about it.
    #[must_use]
    pub fn new(address: SocketAddr, dialect: &'a dyn Dialect) -> Self {
        Self {
            address,
            more_addresses: Vec::new(),
            host: address.to_string(),
            sources: Vec::new(),
            dialect,
            processes: Vec::new(),
        }
    }

    /// Whose clocks are read, the server itself first.
    #[must_use]
    pub fn watching(mut self, processes: impl IntoIterator<Item = Watched>) -> Self {
        self.processes.extend(processes);
        self
    }

    /// Every node.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let more = self.more_addresses.iter().copied();
        std::iter::once(self.address).chain(more).collect()
    }

    /// Where `connections` come from, in turn; `None` is the system's choice.
    pub(crate) fn sources_for(&self, connections: usize) -> Vec<Option<IpAddr>> {
        if !self.sources.is_empty() {
            return self.sources.iter().copied().map(Some).collect();
        }
        let addresses = connections.div_ceil(CONNECTIONS_PER_SOURCE);
        match self.address.ip() {
            IpAddr::V4(ip) if ip.is_loopback() && addresses > 1 => {
                let first = u32::from(Ipv4Addr::LOCALHOST);
                let address = |index| Some(IpAddr::V4(Ipv4Addr::from(first + index)));
                (0..u32::try_from(addresses).unwrap_or(u32::MAX))
                    .map(address)
                    .collect()
            }
            IpAddr::V4(_) | IpAddr::V6(_) => vec![None],
        }
    }
}

/// Refuses more connections than this process may have files.
pub(crate) fn check_files(connections: usize) -> Result<(), LoadError> {
    let wanted = connections as u64 + OTHER_FILES;
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < wanted => Err(LoadError::TooFewFiles {
            connections,
            limit,
            wanted,
        }),
        Some(_) | None => Ok(()),
    }
}

/// Who is told how far a run is.
pub type OnProgress<'a> = dyn FnMut(&Progress) + 'a;

/// How a run is watched and ended early. The default is neither.
#[derive(Default)]
pub struct Control<'a> {
    /// The load stops soon after this is set; what was measured is reported all the same.
    pub stop: Option<&'a AtomicBool>,
    /// Called about once a second.
    pub progress: Option<Box<OnProgress<'a>>>,
}

impl Control<'_> {
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    pub(crate) fn tell(&mut self, progress: &Progress) {
        if let Some(told) = &mut self.progress {
            told(progress);
        }
    }
}

/// How far a run is.
#[derive(Debug, Clone)]
pub struct Progress {
    /// What it is doing.
    pub phase: &'static str,
    /// Since the run began.
    pub elapsed: Duration,
    /// What it counts.
    pub unit: &'static str,
    /// How many of them so far, in this phase.
    pub units: u64,
    /// How many of them came in the last second.
    pub per_second: f64,
    /// Members that are in their rooms now.
    pub joined: usize,
    /// Refusals, errors and lost connections so far, by their code.
    pub trouble: BTreeMap<String, u64>,
}

impl Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs();
        let rate = report::rate(self.unit, self.per_second);
        let (phase, units, joined) = (self.phase, self.units, self.joined);
        write!(
            f,
            "{seconds:>4} s  {phase}: {rate}, {units} so far, {joined} connected"
        )?;
        for (code, count) in &self.trouble {
            write!(f, ", {count} x {code}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dialect::Seat,
        parlance::{Layer, Parlance},
    };

    #[test]
    fn connections_come_from_as_many_addresses_as_they_need() {
        let dialect = Parlance::new(Layer::Base, "r", |_: Seat| String::new());
        let of = |address: &str| Target::new(address.parse().unwrap(), &dialect);
        let from = |addresses: &[&str]| -> Vec<Option<IpAddr>> {
            let parsed = addresses.iter().map(|address| address.parse().unwrap());
            parsed.map(Some).collect()
        };
        let local = of("127.0.0.1:8080");
        assert_eq!(local.sources_for(20_000), [None]);
        let two = from(&["127.0.0.1", "127.0.0.2"]);
        assert_eq!(local.sources_for(20_001), two);
        // Elsewhere only the caller knows which addresses are its own.
        let mut far = of("192.0.2.1:8080");
        assert_eq!(far.sources_for(50_000), [None]);
        far.sources = vec!["192.0.2.2".parse().unwrap()];
        assert_eq!(far.sources_for(50_000), from(&["192.0.2.2"]));
    }

    #[test]
    fn more_connections_than_open_files_are_refused_with_what_to_raise() {
        let limit = getrlimit(Resource::Nofile).current;
        // Nothing to refuse where there is no limit.
        if let Some(limit) = limit {
            let error = check_files(usize::try_from(limit).unwrap()).unwrap_err();
            let wanted = format!("`ulimit -n {}`", limit + OTHER_FILES);
            assert!(error.to_string().contains(&wanted), "{error}");
        }
        assert!(check_files(1).is_ok());
    }
}
