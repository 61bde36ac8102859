//! The command line of `parlance bench`.

use std::{net::IpAddr, path::PathBuf, str::FromStr};

use clap::{Args, Subcommand, ValueEnum};
use parlance_loadgen::{Arrival, fanout, history, resume, send, storm};

use crate::{
    cli::DataDir,
    config::{Millis, parse_duration},
};

/// Loads a deployment of yours, and says what it bears
///
/// Every workload speaks in conversations of its own, `bench-<random>-<n>`, as users of its own, with
/// tokens signed like those of `parlance token`.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  parlance bench fanout
  parlance bench fanout --rooms 100 --members 10 --rate 1000 --duration 30s --server-pid 4711
  parlance bench storm --connections 10000 --hold 60s --server-pid 4711
  parlance bench send --url ws://10.0.0.5:8080 --target-is-mine --json

Exit codes: 0 everything arrived once and in order, 1 something did not or a connection was
lost, 64 command line or configuration, 69 nobody can connect, 70 a fault. Ctrl-C ends a run
early; what was measured is printed all the same. docs/bench.md says how to read it.")]
pub(crate) enum Bench {
    Fanout(Fanout),
    Send(Send),
    Storm(Storm),
    Resume(Resume),
    History(History),
}

impl Bench {
    pub(super) fn common(&self) -> &Common {
        match self {
            Self::Fanout(Fanout { common, .. })
            | Self::Send(Send { common, .. })
            | Self::Storm(Storm { common, .. })
            | Self::Resume(Resume { common, .. })
            | Self::History(History { common, .. }) => common,
        }
    }
}

/// What all workloads share.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The server; by default the one of this machine, at the setting `listen`
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,

    /// The server is mine, and may be loaded although it is not on this machine
    #[arg(long)]
    pub(super) target_is_mine: bool,

    /// Addresses of this machine that connections come from, in turn. One serves for about 28,000
    /// connections; on loopback as many as are needed are used by themselves
    #[arg(long = "source", value_name = "ADDRESS", value_delimiter = ',')]
    pub(super) sources: Vec<IpAddr>,

    /// A server process on this machine whose CPU time and memory are measured; the first one is the
    /// server itself. May be repeated: `--server-pid 4711 --server-pid redis=4712`
    #[arg(long = "server-pid", value_name = "[LABEL=]PID")]
    pub(super) processes: Vec<Process>,

    /// Tokens to use as they are: on each line a token, a tab and its conversation; as many lines for
    /// each conversation as it has members
    #[arg(long, value_name = "FILE")]
    pub(super) tokens: Option<PathBuf>,

    /// Speak the base layer of the protocol only
    #[arg(long)]
    pub(super) base: bool,

    /// Print the result as JSON
    #[arg(long)]
    pub(super) json: bool,

    /// Say once a second how far it is, on a terminal or not
    #[arg(long)]
    pub(super) progress: bool,

    #[command(flatten)]
    pub(super) data_dir: DataDir,
}

/// `PID`, or `LABEL=PID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) label: Option<String>,
    pub(super) pid: u32,
}

impl FromStr for Process {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (label, pid) = match text.split_once('=') {
            Some((label, pid)) => (Some(label.to_owned()), pid),
            None => (None, text),
        };
        let pid = pid
            .parse()
            .map_err(|_| format!("{pid:?} is no process id"))?;
        Ok(Self { label, pid })
    }
}

/// How long messages flow.
#[derive(Debug, Args)]
pub(crate) struct Span {
    /// How long is measured (ms, s, m, h, d)
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub(super) duration: Millis,

    /// How long before that is not, so that what is cold is warm (ms, s, m, h, d)
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    warm_up: Millis,
}

/// What a message is like.
#[derive(Debug, Args)]
pub(crate) struct Content {
    /// How many bytes of content a message has, at most 16384
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 64,
        value_parser = clap::value_parser!(u64).range(1..=16_384),
    )]
    content_bytes: u64,
}

impl Content {
    fn bytes(&self) -> usize {
        usize::try_from(self.content_bytes).expect("clap has checked the range")
    }
}

/// How connections come.
#[derive(Debug, Args)]
pub(crate) struct Arriving {
    /// How many connections are being opened at any time
    #[arg(long, value_name = "N", default_value_t = 64)]
    concurrency: usize,

    /// Open so many connections a second instead, whatever the server does
    #[arg(long, value_name = "PER_SECOND", conflicts_with = "concurrency")]
    rate: Option<f64>,
}

impl Arriving {
    fn arrival(&self) -> Arrival {
        match self.rate {
            Some(rate) => Arrival::PerSecond(rate),
            None => Arrival::AtOnce(self.concurrency),
        }
    }
}

/// Messages to rooms: what a delivery costs, and how long it takes
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parlance bench fanout --rooms 100 --members 10 --rate 1000
  parlance bench fanout --rooms 1 --members 1000 --window 2

At a rate, latency counts from when a message was due; with a window, from when it was sent.")]
pub(crate) struct Fanout {
    #[command(flatten)]
    pub(super) common: Common,

    /// How many conversations
    #[arg(long, default_value_t = 10)]
    pub(super) rooms: usize,

    /// How many members each has; they send in turn
    #[arg(long, default_value_t = 10)]
    pub(super) members: usize,

    /// Messages a second, over all conversations
    #[arg(long, value_name = "PER_SECOND", default_value_t = 50.0)]
    rate: f64,

    /// Keep so many messages under way instead, over all conversations: the next is sent when all
    /// members have one
    #[arg(long, value_name = "N", conflicts_with = "rate")]
    window: Option<usize>,

    #[command(flatten)]
    pub(super) span: Span,

    #[command(flatten)]
    content: Content,
}

impl Fanout {
    fn pace(&self) -> fanout::Pace {
        match self.window {
            Some(window) => fanout::Pace::Window(window),
            None => fanout::Pace::PerSecond(self.rate),
        }
    }

    /// The load, on so many conversations of so many members.
    pub(super) fn load(&self, rooms: usize, members: usize) -> fanout::Fanout {
        fanout::Fanout {
            rooms,
            members,
            pace: self.pace(),
            content_bytes: self.content.bytes(),
            warm_up: self.span.warm_up.duration(),
            measured: self.span.duration.duration(),
        }
    }
}

/// Acknowledged sends: how many a second, and how long until the sender knows
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parlance bench send --rate 200
  parlance bench send --rooms 100 --back-to-back")]
pub(crate) struct Send {
    #[command(flatten)]
    pub(super) common: Common,

    /// How many conversations
    #[arg(long, default_value_t = 10)]
    pub(super) rooms: usize,

    /// How many members each has; all of them send
    #[arg(long, default_value_t = 2)]
    pub(super) members: usize,

    /// Messages a second, over all members
    #[arg(long, value_name = "PER_SECOND", default_value_t = 50.0)]
    rate: f64,

    /// Let each member send the next message as soon as the last is acknowledged instead
    #[arg(long, conflicts_with = "rate")]
    back_to_back: bool,

    #[command(flatten)]
    pub(super) span: Span,

    #[command(flatten)]
    content: Content,
}

impl Send {
    fn pace(&self) -> send::Pace {
        if self.back_to_back {
            send::Pace::OneEach
        } else {
            send::Pace::PerSecond(self.rate)
        }
    }

    /// The load, on so many conversations of so many members.
    pub(super) fn load(&self, rooms: usize, members: usize) -> send::Send {
        send::Send {
            rooms,
            members,
            pace: self.pace(),
            content_bytes: self.content.bytes(),
            warm_up: self.span.warm_up.duration(),
            measured: self.span.duration.duration(),
        }
    }
}

/// Many connections that then do nothing: how fast they come, and what each costs
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parlance bench storm --connections 10000 --server-pid 4711
  parlance bench storm --connections 5000 --rate 500 --hold 60s")]
pub(crate) struct Storm {
    #[command(flatten)]
    pub(super) common: Common,

    /// How many connections
    #[arg(long, default_value_t = 1_000)]
    pub(super) connections: usize,

    /// How many of them are in one conversation
    #[arg(long, default_value_t = 2)]
    pub(super) members: usize,

    #[command(flatten)]
    arriving: Arriving,

    /// How long they are held (ms, s, m, h, d)
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    pub(super) hold: Millis,
}

impl Storm {
    /// The load, on so many conversations of so many members.
    pub(super) fn load(&self, rooms: usize, members: usize) -> storm::Storm {
        storm::Storm {
            rooms,
            members,
            arrival: self.arriving.arrival(),
            hold: self.hold.duration(),
        }
    }
}

/// Everybody is cut at once and comes back for what they missed
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parlance bench resume --missed 200
  parlance bench resume --rooms 100 --members 20 --rate 500
  parlance bench resume --backoff --rooms 100 --members 20 --server-pid 4711

Beside the members that are cut, each conversation has one that stays and writes.")]
pub(crate) struct Resume {
    #[command(flatten)]
    pub(super) common: Common,

    /// How many conversations
    #[arg(long, default_value_t = 10)]
    pub(super) rooms: usize,

    /// How many members of each are cut
    #[arg(long, default_value_t = 10)]
    pub(super) members: usize,

    /// How many messages each of them misses
    #[arg(long, value_name = "MESSAGES", default_value_t = 30)]
    missed: u64,

    #[command(flatten)]
    arriving: Arriving,

    /// A reconnect storm: let each come back by itself instead, half a second to a second after the cut,
    /// and again after pauses that double up to 20 s
    #[arg(long, conflicts_with_all = ["concurrency", "rate"])]
    backoff: bool,

    #[command(flatten)]
    content: Content,
}

impl Resume {
    fn arrival(&self) -> Arrival {
        if self.backoff {
            Arrival::Backoff
        } else {
            self.arriving.arrival()
        }
    }

    /// The load, on so many conversations of so many members, their writers among them.
    pub(super) fn load(&self, rooms: usize, members: usize) -> resume::Resume {
        resume::Resume {
            rooms,
            members: members.saturating_sub(1),
            missed: self.missed,
            arrival: self.arrival(),
            content_bytes: self.content.bytes(),
        }
    }
}

/// Pages of what was said before: how many a second, and how long one takes
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parlance bench history --which random --messages 1000
  parlance bench history --rooms 50 --back-to-back

The messages are written first, as fast as the server takes them.")]
pub(crate) struct History {
    #[command(flatten)]
    pub(super) common: Common,

    /// How many conversations
    #[arg(long, default_value_t = 10)]
    pub(super) rooms: usize,

    /// How many members each has; all of them read
    #[arg(long, default_value_t = 2)]
    pub(super) members: usize,

    /// How many messages are written into each conversation before
    #[arg(long, default_value_t = 100)]
    messages: u64,

    /// How many messages a page has, at most 100
    #[arg(long, value_name = "MESSAGES", default_value_t = 20)]
    page: u64,

    /// Which pages are read
    #[arg(long, value_enum, default_value = "newest")]
    which: Which,

    /// Pages a second, over all members
    #[arg(long, value_name = "PER_SECOND", default_value_t = 50.0)]
    rate: f64,

    /// Let each member ask for the next page as soon as it has the last instead
    #[arg(long, conflicts_with = "rate")]
    back_to_back: bool,

    #[command(flatten)]
    pub(super) span: Span,

    #[command(flatten)]
    content: Content,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Newest,
    Oldest,
    Random,
}

impl History {
    fn pace(&self) -> history::Pace {
        if self.back_to_back {
            history::Pace::OneEach
        } else {
            history::Pace::PerSecond(self.rate)
        }
    }

    fn which(&self) -> history::Which {
        match self.which {
            Which::Newest => history::Which::Newest,
            Which::Oldest => history::Which::Oldest,
            Which::Random => history::Which::Random,
        }
    }

    /// The load, on so many conversations of so many members.
    pub(super) fn load(&self, rooms: usize, members: usize) -> history::History {
        history::History {
            rooms,
            members,
            messages: self.messages,
            page_rows: self.page,
            which: self.which(),
            pace: self.pace(),
            content_bytes: self.content.bytes(),
            warm_up: self.span.warm_up.duration(),
            measured: self.span.duration.duration(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_have_a_label() {
        let process = |label: Option<&str>, pid| Process {
            label: label.map(str::to_owned),
            pid,
        };
        assert_eq!("12".parse(), Ok(process(None, 12)));
        assert_eq!("redis=12".parse(), Ok(process(Some("redis"), 12)));
        for text in ["", "redis", "redis=", "-1", "12=redis"] {
            assert!(text.parse::<Process>().is_err(), "{text:?}");
        }
    }
}
