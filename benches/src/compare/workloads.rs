//! What servers are put under: workloads as data, and how the generator runs them.
//!
//! A closed one gives the server what it bears; one at a fixed rate counts latency from when a message
//! was due. A run in which anything was lost, doubled, refused, out of order or in different orders at
//! two members is an error, whatever it measured.

use std::time::Duration;

use anyhow::bail;
use parlance_loadgen::{
    Arrival, Control, Target,
    fanout::{self, Fanout},
    report::{Ended, Report},
    resume::{self, Resume},
    send::{self, Send},
    storm::{self, Storm},
};
use serde::{Deserialize, Serialize};

use super::{judge::Sample, rows::Measure, servers::REDIS};

const CONTENT_BYTES: usize = 64;
/// Connections that are being opened at any time.
const IN_FLIGHT: Arrival = Arrival::AtOnce(256);
/// What each of those who were cut off missed.
const MISSED: u64 = 10;

/// The content of a message.
pub(crate) fn content() -> String {
    "x".repeat(CONTENT_BYTES)
}

/// What a server is put under.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
#[value(rename_all = "kebab-case")]
pub(crate) enum Workload {
    /// 100 rooms of ten, two messages under way in each.
    Rooms10,
    /// Ten rooms of 100, two in each.
    Rooms100,
    /// One room of 1,000, two in it.
    Rooms1000,
    /// 100 rooms of ten, twenty messages in each.
    Backlog,
    /// 100 rooms of ten, 1,000 messages per second: 10,000 deliveries.
    Paced,
    /// 10,000 connections, two to a room.
    Storm,
    /// The same, held long enough for heartbeats.
    Hold,
    /// 5,000 who were cut off, two to a room, come back to what they missed.
    Resume,
    /// 100 rooms of two, one send under way of each member.
    Send,
    /// 500 rooms of two, 1,000 sends per second.
    PacedSend,
}

/// How many members a server has to know tokens for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crowd {
    pub(crate) rooms: usize,
    pub(crate) members: usize,
}

/// How long things take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Length {
    /// Not counted, of what has no end of its own.
    pub(crate) warm_up: Duration,
    /// Counted of it.
    pub(crate) measured: Duration,
}

enum Load {
    Fanout(fanout::Pace),
    Send(send::Pace),
    Storm { hold: Duration },
    Resume,
}

impl Workload {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rooms10 => "fan-out 100 x 10",
            Self::Rooms100 => "fan-out 10 x 100",
            Self::Rooms1000 => "fan-out 1 x 1,000",
            Self::Backlog => "backlog",
            Self::Paced => "10,000 deliveries/s",
            Self::Storm => "connects",
            Self::Hold => "idle",
            Self::Resume => "resumes",
            Self::Send => "acked sends",
            Self::PacedSend => "1,000 sends/s",
        }
    }

    /// Whether one round is enough: it takes long, and its figure is steady.
    pub(crate) fn is_once(self) -> bool {
        match self {
            Self::Hold => true,
            Self::Rooms10
            | Self::Rooms100
            | Self::Rooms1000
            | Self::Backlog
            | Self::Paced
            | Self::Storm
            | Self::Resume
            | Self::Send
            | Self::PacedSend => false,
        }
    }

    /// Who takes part.
    pub(crate) fn crowd(self) -> Crowd {
        let (rooms, members) = match self {
            Self::Rooms10 | Self::Backlog | Self::Paced => (100, 10),
            Self::Rooms100 => (10, 100),
            Self::Rooms1000 => (1, 1_000),
            Self::Storm | Self::Hold => (5_000, 2),
            // The third stays and says what the others miss.
            Self::Resume => (2_500, 3),
            Self::Send => (100, 2),
            Self::PacedSend => (500, 2),
        };
        Crowd { rooms, members }
    }

    fn load(self) -> Load {
        match self {
            Self::Rooms10 => Load::Fanout(fanout::Pace::Window(200)),
            Self::Rooms100 => Load::Fanout(fanout::Pace::Window(20)),
            Self::Rooms1000 => Load::Fanout(fanout::Pace::Window(2)),
            Self::Backlog => Load::Fanout(fanout::Pace::Window(2_000)),
            Self::Paced => Load::Fanout(fanout::Pace::PerSecond(1_000.0)),
            Self::Storm => Load::Storm {
                hold: Duration::from_secs(1),
            },
            Self::Hold => Load::Storm {
                hold: Duration::from_secs(30),
            },
            Self::Resume => Load::Resume,
            Self::Send => Load::Send(send::Pace::OneEach),
            Self::PacedSend => Load::Send(send::Pace::PerSecond(1_000.0)),
        }
    }

    /// Puts a server under it.
    pub(crate) fn run(self, target: &Target<'_>, length: Length) -> anyhow::Result<Sample> {
        let Crowd { rooms, members } = self.crowd();
        let Length { warm_up, measured } = length;
        let content_bytes = CONTENT_BYTES;
        let mut control = Control::default();
        let report = match self.load() {
            Load::Fanout(pace) => {
                let load = Fanout {
                    rooms,
                    members,
                    pace,
                    content_bytes,
                    warm_up,
                    measured,
                };
                fanout::run(target, &load, &mut control)?
            }
            Load::Send(pace) => {
                let load = Send {
                    rooms,
                    members,
                    pace,
                    content_bytes,
                    warm_up,
                    measured,
                };
                send::run(target, &load, &mut control)?
            }
            Load::Storm { hold } => {
                let load = Storm {
                    rooms,
                    members,
                    arrival: IN_FLIGHT,
                    hold,
                };
                storm::run(target, &load, &mut control)?
            }
            Load::Resume => {
                let load = Resume {
                    rooms,
                    members: members - 1,
                    missed: MISSED,
                    arrival: IN_FLIGHT,
                    content_bytes,
                };
                resume::run(target, &load, &mut control)?
            }
        };
        check(&report)?;
        Ok(self.sample(&report))
    }

    fn sample(self, report: &Report) -> Sample {
        let us = report.us_per_unit();
        let redis = report.processes.iter().find(|used| used.label == REDIS);
        let redis_us = redis.map(|used| used.cpu.as_secs_f64() * 1e6 / report.units.max(1) as f64);
        let busy = Some(report.generator_busy());
        let ms = |quantile| Some(report.quantile_us(quantile) as f64 / 1e3);
        let kb = || Some(report.bytes_per_connection()? / 1e3);
        let figures = match self.load() {
            Load::Fanout(_) | Load::Send(_) => vec![
                (Measure::PerSecond, Some(report.per_second())),
                (Measure::CpuUs, Some(us)),
                (Measure::RedisCpuUs, redis_us),
                (Measure::P50Ms, ms(0.5)),
                (Measure::P99Ms, ms(0.99)),
                (Measure::GeneratorBusy, busy),
            ],
            Load::Storm { .. } => vec![
                (Measure::PerSecond, Some(report.per_second())),
                (Measure::CpuUs, Some(us)),
                (Measure::RedisCpuUs, redis_us),
                (Measure::PerCpuSecond, Some(1e6 / us)),
                (Measure::ConnectionKb, kb()),
                (Measure::IdleCpuUs, report.idle_us_per_second()),
                (Measure::GeneratorBusy, busy),
            ],
            Load::Resume => vec![
                (Measure::PerSecond, Some(report.per_second())),
                (Measure::CpuUs, Some(us)),
                (Measure::RedisCpuUs, redis_us),
                (Measure::PerCpuSecond, Some(1e6 / us)),
                (Measure::GeneratorBusy, busy),
            ],
        };
        let known = figures.into_iter();
        known
            .filter_map(|(measure, value)| Some((measure, value?)))
            .collect()
    }
}

/// Whether a run counts.
fn check(report: &Report) -> anyhow::Result<()> {
    let is_complete = report.ended == Ended::Complete;
    let is_unrefused = report.refused.is_empty() && report.errors.is_empty();
    if report.is_right() && is_complete && is_unrefused && report.units > 0 {
        return Ok(());
    }
    let verdict = report.verdict;
    bail!(
        "{} missing, {} duplicate, {} reordered, {} in another order than others; refused {:?}, errors \
         {:?}, lost {:?}; {:?} after {} units",
        verdict.missing,
        verdict.duplicate,
        verdict.reordered,
        verdict.differently_ordered,
        report.refused,
        report.errors,
        report.lost,
        report.ended,
        report.units,
    )
}
