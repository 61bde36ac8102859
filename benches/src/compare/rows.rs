//! What is compared, as data: the rows of both tables.
//!
//! A row names two runs (a server under a workload), what of them is set beside each other, and what
//! it has to come to. [`super::rounds`] finds out which runs the rows need and makes each once per
//! round; a new row is a line here.

use serde::{Deserialize, Serialize};

use super::{servers::Kind, workloads::Workload};

/// A server under a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) server: Kind,
    pub(crate) workload: Workload,
}

impl Run {
    const fn of(server: Kind, workload: Workload) -> Self {
        Self { server, workload }
    }
}

/// One figure of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Measure {
    /// Deliveries, sends or connects per second of wall time.
    PerSecond,
    /// Processor time of the server and its Redis per delivery, send or connect, in µs.
    CpuUs,
    /// Redis's part of it.
    RedisCpuUs,
    /// Connects per second of processor time of the server and its Redis.
    PerCpuSecond,
    /// Median latency, in ms.
    P50Ms,
    /// 99th percentile of the latency, in ms.
    P99Ms,
    /// Resident memory of the server per connection, in kB (1,000 bytes).
    ConnectionKb,
    /// Processor time of the server and its Redis per second and connection that does nothing, in µs.
    IdleCpuUs,
    /// How much of its core the generator used, 0 to 1.
    GeneratorBusy,
}

impl Measure {
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::PerSecond => "/s",
            Self::CpuUs | Self::RedisCpuUs => "us",
            Self::PerCpuSecond => "/CPU s",
            Self::P50Ms | Self::P99Ms => "ms",
            Self::ConnectionKb => "kB",
            Self::IdleCpuUs => "us/s",
            Self::GeneratorBusy => "cores",
        }
    }

    /// The head of a column of it.
    pub(crate) fn head(self) -> &'static str {
        match self {
            Self::PerSecond => "per second",
            Self::CpuUs => "CPU, us",
            Self::RedisCpuUs => "of it Redis, us",
            Self::PerCpuSecond => "per CPU-second",
            Self::P50Ms => "p50, ms",
            Self::P99Ms => "p99, ms",
            Self::ConnectionKb => "kB per connection",
            Self::IdleCpuUs => "idle CPU, us/s",
            Self::GeneratorBusy => "generator, cores",
        }
    }
}

/// What is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The figure itself.
    Value(Run),
    /// The first over the second.
    Ratio(Run, Run),
    /// The first less the second.
    Difference(Run, Run),
}

impl Form {
    pub(crate) fn runs(self) -> impl Iterator<Item = Run> {
        let (of, over) = match self {
            Self::Value(of) => (of, None),
            Self::Ratio(of, over) | Self::Difference(of, over) => (of, Some(over)),
        };
        [Some(of), over].into_iter().flatten()
    }
}

/// What it has to come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Wanted {
    AtLeast {
        must: f64,
        stretch: f64,
    },
    AtMost {
        must: f64,
        stretch: f64,
    },
    /// It is shown and not judged.
    Report,
}

/// A line of a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) measure: Measure,
    pub(crate) form: Form,
    pub(crate) wanted: Wanted,
}

/// The gateway beside its floors, and beside itself.
pub(crate) fn beside_floors() -> Vec<Row> {
    use Kind::{Gateway, OneShard, RawCoalesce, RawSend, Serve, TwoNodes, TwoShards};
    use Measure::{ConnectionKb, CpuUs, IdleCpuUs, P50Ms, P99Ms, PerCpuSecond, PerSecond};
    use Wanted::Report;
    use Workload::{
        Backlog, Hold, Paced, PacedSend, Resume, Rooms10, Rooms100, Rooms1000, Send, Storm,
    };
    let over = |server, workload, measure| {
        let own = Run::of(Gateway, workload);
        (measure, Form::Ratio(own, Run::of(server, workload)))
    };
    let own = |workload, measure| (measure, Form::Value(Run::of(Gateway, workload)));
    let ratio = |measure, of, over| (measure, Form::Ratio(of, over));
    let paced = Run::of(Gateway, Paced);
    let less_raw = Form::Difference(paced, Run::of(RawSend, Paced));
    let storm = Run::of(Gateway, Storm);
    let two_shards = Run::of(TwoShards, Rooms10);
    #[rustfmt::skip] // one row, one line
    let rows = [
        ("fan-out 100 x 10 over raw-send", over(RawSend, Rooms10, PerSecond), at_least(1.0, 1.3)),
        ("fan-out 10 x 100 over raw-send", over(RawSend, Rooms100, PerSecond), at_least(1.1, 1.5)),
        ("fan-out 1 x 1,000 over raw-send", over(RawSend, Rooms1000, PerSecond), at_least(1.25, 1.7)),
        ("backlog of 2,000 messages over raw-send", over(RawSend, Backlog, PerSecond), at_least(2.5, 5.0)),
        ("fan-out 100 x 10 over raw-coalesce", over(RawCoalesce, Rooms10, PerSecond), at_least(0.5, 0.65)),
        ("CPU per delivery at 10,000/s over raw-send", over(RawSend, Paced, CpuUs), at_most(1.7, 1.35)),
        ("p50 at 10,000/s over raw-send", over(RawSend, Paced, P50Ms), at_most(1.6, 1.3)),
        ("p99 at 10,000/s less that of raw-send", (P99Ms, less_raw), at_most(2.0, 0.5)),
        ("RSS per idle connection of 10,000", own(Storm, ConnectionKb), at_most(3.0, 1.6)),
        ("idle CPU with 25 s heartbeats, per connection", own(Hold, IdleCpuUs), at_most(2.0, 1.0)),
        ("connects per CPU-second over raw-send", over(RawSend, Storm, PerCpuSecond), at_least(0.7, 0.9)),
        ("connects with a resume over without", ratio(PerCpuSecond, Run::of(Gateway, Resume), storm), at_least(0.6, 0.8)),
        ("acked sends/s over raw-send", over(RawSend, Send, PerSecond), at_least(0.6, 0.95)),
        ("CPU per send at 1,000/s over raw-send", over(RawSend, PacedSend, CpuUs), at_most(2.4, 1.8)),
        ("CPU per delivery, two nodes over one", ratio(CpuUs, Run::of(TwoNodes, Paced), paced), at_most(1.25, 1.1)),
        ("fan-out 100 x 10, two shards over one", ratio(PerSecond, two_shards, Run::of(OneShard, Rooms10)), Report),
        ("fan-out 100 x 10, serve with fsync over raw-send", ratio(PerSecond, Run::of(Serve, Rooms10), Run::of(RawSend, Rooms10)), Report),
    ];
    let row = |(name, (measure, form), wanted): (&str, _, _)| Row {
        name: name.to_owned(),
        measure,
        form,
        wanted,
    };
    rows.into_iter().map(row).collect()
}

/// The gateway beside other servers, one peer after the other.
pub(crate) fn beside_peers() -> Vec<Row> {
    use Measure::{ConnectionKb, CpuUs, P50Ms, P99Ms, PerCpuSecond, PerSecond};
    use Wanted::Report;
    use Workload::{Backlog, Paced, PacedSend, Rooms10, Rooms100, Rooms1000, Send, Storm};
    let peers = [Kind::WsRedis, Kind::SocketIo, Kind::Centrifugo];
    #[rustfmt::skip] // one row, one line; the columns are the peers
    let rows = [
        ("fan-out 100 x 10", Rooms10, PerSecond, [at_least(3.0, 4.0), at_least(3.5, 5.0), at_least(2.8, 4.0)]),
        ("fan-out 10 x 100", Rooms100, PerSecond, [Report, Report, at_least(2.3, 3.2)]),
        ("fan-out 1 x 1,000", Rooms1000, PerSecond, [Report, Report, at_least(2.1, 3.4)]),
        ("backlog of 2,000 messages", Backlog, PerSecond, [at_least(7.0, 14.0), at_least(10.0, 22.0), at_least(3.5, 7.0)]),
        ("CPU per delivery at 10,000/s", Paced, CpuUs, [at_most(0.48, 0.38), at_most(0.42, 0.32), at_most(0.5, 0.36)]),
        ("p50 at 10,000/s", Paced, P50Ms, [Report, Report, at_most(0.65, 0.5)]),
        ("p99 at 10,000/s", Paced, P99Ms, [Report, Report, at_most(1.0, 0.5)]),
        ("RSS per idle connection of 10,000", Storm, ConnectionKb, [at_most(0.5, 0.25), at_most(0.23, 0.13), at_most(0.07, 0.035)]),
        ("connects per CPU-second", Storm, PerCpuSecond, [at_least(6.0, 8.0), at_least(10.0, 14.0), at_least(4.5, 6.5)]),
        ("acked sends/s", Send, PerSecond, [at_least(2.4, 3.8), at_least(3.4, 5.5), at_least(2.3, 4.0)]),
        ("CPU per send at 1,000/s", PacedSend, CpuUs, [Report, Report, at_most(0.6, 0.45)]),
    ];
    let of_peer = |(column, peer): (usize, Kind)| {
        rows.map(|(name, workload, measure, wanted)| Row {
            name: format!("{name} over {}", peer.name()),
            measure,
            form: Form::Ratio(Run::of(Kind::Gateway, workload), Run::of(peer, workload)),
            wanted: wanted[column],
        })
    };
    peers.into_iter().enumerate().flat_map(of_peer).collect()
}

const fn at_least(must: f64, stretch: f64) -> Wanted {
    Wanted::AtLeast { must, stretch }
}

const fn at_most(must: f64, stretch: f64) -> Wanted {
    Wanted::AtMost { must, stretch }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_asks_for_no_less_than_a_must() {
        for row in beside_floors().into_iter().chain(beside_peers()) {
            let is_further = match row.wanted {
                Wanted::AtLeast { must, stretch } => stretch >= must,
                Wanted::AtMost { must, stretch } => stretch <= must,
                Wanted::Report => true,
            };
            assert!(is_further, "{row:?}");
        }
    }

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let rows = beside_floors().into_iter().chain(beside_peers());
        let mut names: Vec<String> = rows.map(|row| row.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
