//! What a store behind the log costs: the persister's processor and Redis's, how far the store is
//! behind, history from it, and what its absence does to those who send.
//!
//! The store is Apache Cassandra, on the same machine and the same cores as everything else here, so
//! its own speed is in all that is called latency. Each figure stands beside its floor, measured in
//! turns in the same run. Nothing is pinned: with the store, there are more processes than cores.

mod bare;
mod behind;
mod drain;
mod lag;
mod outage;
mod pages;
mod socket;

use std::{io::Write as _, sync::Arc, time::Duration};

use anyhow::Context as _;
use parlance_scylla::{Options, Replication, Scylla, migrate};
use parlance_testkit::{cql::Cql, server::Setup};

use crate::{Arguments, Part};

/// Measures those parts that were asked for, with one server.
pub(crate) fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let is_wanted = |part: Part| part.is_in(arguments.only);
    let mut cql = Cql::start();
    if is_wanted(Part::StoreDrain) {
        drain::measure(arguments, &cql)?;
    }
    if is_wanted(Part::StoreLag) {
        lag::measure(arguments, &cql)?;
    }
    if is_wanted(Part::StorePages) {
        pages::measure(arguments, &cql)?;
    }
    if is_wanted(Part::StoreOutage) {
        outage::measure(arguments, &mut cql)?;
    }
    Ok(())
}

/// A keyspace of its own, with all tables.
pub(crate) struct Tables {
    nodes: Vec<String>,
    keyspace: String,
}

impl Tables {
    fn make(cql: &Cql) -> anyhow::Result<Self> {
        let tables = Self {
            nodes: cql.contact_points(),
            keyspace: cql.keyspace(),
        };
        migrate(&tables.options(), &Replication { factor: 1 })?;
        Ok(tables)
    }

    fn options(&self) -> Options {
        Options {
            nodes: self.nodes.clone(),
            keyspace: self.keyspace.clone(),
            login: None,
            tls: None,
            datacenter: None,
            start_deadline: Duration::from_secs(60),
        }
    }

    fn connect(&self) -> anyhow::Result<Arc<Scylla>> {
        Ok(Arc::new(Scylla::connect(self.options())?))
    }

    /// Tells a process where the store is.
    fn told_to(&self, setup: Setup) -> Setup {
        setup
            .set("store.nodes", &self.nodes.join(","))
            .set("store.keyspace", &self.keyspace)
    }
}

/// A heading, with how busy the machine is.
fn heading(what: &str) -> anyhow::Result<()> {
    let load = std::fs::read_to_string("/proc/loadavg").context("reading the load")?;
    let load: Vec<&str> = load.split(' ').take(3).collect();
    let load = load.join(" ");
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{what}; load average {load}").context("writing a heading")
}

fn line(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("writing a line")
}

/// The head of a table of spreads.
fn columns(what: &str) -> anyhow::Result<()> {
    line(&format!(
        "{what:<44} {:>10} {:>10} {:>10}",
        "median", "least", "most"
    ))
}

/// A line of it.
fn row(name: &str, spread: Spread) -> anyhow::Result<()> {
    let Spread {
        median,
        least,
        most,
    } = spread;
    line(&format!(
        "{name:<44} {median:>10.2} {least:>10.2} {most:>10.2}"
    ))
}

/// Upwards.
fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The middle one, and the lowest and highest.
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let values = sorted(values);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Self {
            median: at(values.len() / 2),
            least: at(0),
            most: at(values.len().saturating_sub(1)),
        }
    }
}

/// The value below which so much of all lies; `sorted` ascends.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let index = (sorted.len() as f64 * share) as usize;
    let index = index.min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or(f64::NAN)
}
