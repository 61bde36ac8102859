//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::filter::{EnvFilter, ParseError};

use crate::{
    bench::Bench,
    config::{Millis, parse_duration},
};

/// The version and the revision that it was built from.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BUILD_REVISION"), ")");

#[derive(Debug, Parser)]
#[command(
    name = "parlance",
    version = VERSION,
    about = "A gateway for real-time conversations over WebSocket",
    after_help = "Examples:
  parlance serve --dev                     try it on this machine
  parlance config template > parlance.toml
  parlance --config parlance.toml serve
  parlance gateway --redis-url redis://127.0.0.1:6379
  parlance migrate --store-node 127.0.0.1:9042

Exit codes: 0 fine, 64 command line or configuration, 69 something needed is missing or taken,
70 a fault; of `bench` and `check` also 1, something arrived wrongly."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of all commands, before or after the command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The configuration file (TOML); `parlance config template` writes one
    #[arg(long, global = true, value_name = "FILE", env = "PARLANCE_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// What is logged: error, warn, info, debug or trace, also by the beginning of a module's name.
    /// By default warnings; of servers also `parlance=info`; never what the store's driver says
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        env = "PARLANCE_LOG",
        value_parser = log_filter,
    )]
    pub(crate) log: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(Serve),
    Gateway(Gateway),
    Persister(Persister),
    Migrate(Migrate),
    Inspect(Inspect),
    Check(Check),
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    Token(Token),
    Chat(Chat),
    #[command(subcommand)]
    Bench(Bench),
    #[command(subcommand)]
    Config(Config),
    Healthcheck(Healthcheck),
}

/// Runs a whole node: gateway, log and store in one process
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parlance serve --dev
  parlance serve --config /etc/parlance.toml
  PARLANCE_AUTH__HMAC_SECRET_FILE=/run/secrets/hmac parlance serve --data-dir /var/lib/parlance

SIGTERM or SIGINT lets the clients go elsewhere before the node ends; a second one ends it at once.")]
pub(crate) struct Serve {
    /// Try it out: makes a secret of its own, kept in the data directory, serves a page with two
    /// phones to browsers on this machine, lets web pages of any origin connect from there, and
    /// prints commands to chat with
    #[arg(long)]
    pub(crate) dev: bool,

    #[command(flatten)]
    pub(crate) data_dir: DataDir,

    /// Where clients connect (setting `listen`)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,

    /// Where `/readyz` and `/metrics` are served (setting `admin.listen`)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin_listen: Option<String>,
}

/// Runs a gateway: several of them share the conversations in a Redis
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parlance gateway --redis-url redis://127.0.0.1:6379
  parlance gateway --redis-url redis://10.0.0.1 --store-node 10.0.0.2:9042
  parlance gateway --config /etc/parlance.toml
  PARLANCE_REDIS__URLS_FILE=/run/secrets/redis parlance gateway --listen 0.0.0.0:8080

docs/redis.md has the other forms of URLs, and how Redis should be set up. SIGTERM or SIGINT lets the
clients go elsewhere before the node ends; a second one ends it at once.")]
pub(crate) struct Gateway {
    /// Where clients connect (setting `listen`)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,

    /// Where `/readyz` and `/metrics` are served (setting `admin.listen`)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin_listen: Option<String>,

    #[command(flatten)]
    pub(crate) redis: RedisFlags,

    #[command(flatten)]
    pub(crate) store: StoreFlags,
}

/// Where Redis is, for the commands that need one.
#[derive(Debug, Args)]
pub(crate) struct RedisFlags {
    /// Where Redis is (setting `redis.urls`); may be repeated, once for each independent master.
    /// Everybody on this machine can read it: give URLs with passwords as a setting
    #[arg(long = "redis-url", value_name = "URL")]
    pub(crate) urls: Vec<String>,
}

/// Where the store is, for the commands that need one.
#[derive(Debug, Args)]
pub(crate) struct StoreFlags {
    /// Where the store is (setting `store.nodes`); may be repeated
    #[arg(long = "store-node", value_name = "HOST:PORT")]
    pub(crate) nodes: Vec<String>,
}

/// Moves the log from Redis into the store; several of them share the work
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parlance persister --redis-url redis://127.0.0.1:6379 --store-node 127.0.0.1:9042
  parlance persister --config /etc/parlance.toml

Run two or more: when one ends, the others take over at once, or within ten seconds if it crashed.
SIGTERM or SIGINT finishes what is under way; a second one ends it at once. docs/persister.md has the
metrics to watch.")]
pub(crate) struct Persister {
    /// Where `/readyz` and `/metrics` are served (setting `admin.listen`)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin_listen: Option<String>,

    #[command(flatten)]
    pub(crate) redis: RedisFlags,

    #[command(flatten)]
    pub(crate) store: StoreFlags,
}

/// Makes the store's tables, or brings them to this version
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parlance migrate --store-node 127.0.0.1:9042 --replication-factor 1
  parlance migrate --config /etc/parlance.toml

May be run again, and by two at once: what is done already is left alone.")]
pub(crate) struct Migrate {
    #[command(flatten)]
    pub(crate) store: StoreFlags,

    /// How many copies of everything a new keyspace keeps (setting `store.replication_factor`)
    #[arg(long, value_name = "COPIES")]
    pub(crate) replication_factor: Option<String>,
}

/// Shows where a conversation stands: its end, log, epochs, and what is stored
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parlance inspect lobby --redis-url redis://127.0.0.1:6379
  parlance inspect support-17 --config /etc/parlance.toml

Changes nothing. With a store in the configuration it also shows what that has.")]
pub(crate) struct Inspect {
    /// The conversation
    pub(crate) conversation: String,

    #[command(flatten)]
    pub(crate) redis: RedisFlags,

    #[command(flatten)]
    pub(crate) store: StoreFlags,
}

/// Judges the recording of a run: whether anything was lost, doubled, reordered or told wrongly
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parlance check history.jsonl
  zcat history.jsonl.gz | parlance check -

docs/reliability.md has the invariants and what a recording looks like. Exit code 1: something is wrong.")]
pub(crate) struct Check {
    /// The recording, as test runs keep it; `-` is standard input
    #[arg(value_name = "HISTORY")]
    pub(crate) history: PathBuf,
}

/// Lists, gives back or drops what the store refused
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  parlance dead-letters list --config /etc/parlance.toml
  parlance dead-letters retry p9b/1795723119978-0 --config /etc/parlance.toml
  parlance dead-letters drop --all --config /etc/parlance.toml

Readers see a message that is a dead letter as deleted, until it is given back and stored.")]
pub(crate) enum DeadLetters {
    /// Shows all of them: id, conversation, reason
    #[command(after_help = "Example:\n  parlance dead-letters list --config /etc/parlance.toml")]
    List {
        /// Also show what each says
        #[arg(long)]
        texts: bool,
        #[command(flatten)]
        redis: RedisFlags,
    },
    /// Gives some to the persister again
    #[command(after_help = "Example:\n  parlance dead-letters retry p9b/1795723119978-0")]
    Retry(Letters),
    /// Forgets some for ever
    #[command(after_help = "Example:\n  parlance dead-letters drop p9b/1795723119978-0")]
    Drop(Letters),
}

/// Which dead letters.
#[derive(Debug, Args)]
pub(crate) struct Letters {
    /// Their ids, as `list` shows them
    #[arg(
        value_name = "ID",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    pub(crate) ids: Vec<String>,
    /// All that there are
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) redis: RedisFlags,
}

/// The flag that `serve`, `token`, `chat` and `bench` share.
#[derive(Debug, Args)]
pub(crate) struct DataDir {
    /// The data directory of `serve` (setting `data_dir`)
    #[arg(long = "data-dir", value_name = "DIR")]
    pub(crate) path: Option<String>,
}

/// Prints a token for a user, signed with the configured HMAC secret
///
/// Without a configured secret, the one that `serve --dev` keeps in the data directory is used.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parlance token --sub alice
  parlance token --sub alice --name 'Alice A.' --conversation support-17 --ttl 15m
  parlance token --sub carol --role moderator --conversation lobby --conversation help")]
pub(crate) struct Token {
    /// Who the user is (claim `sub`)
    #[arg(long, value_name = "ID")]
    pub(crate) sub: String,

    /// The name that others are shown (claim `username`)
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// A conversation that the token opens; may be repeated. Without any, it opens all of them
    #[arg(long = "conversation", value_name = "ID")]
    pub(crate) conversations: Vec<String>,

    /// What the user may do beyond that: `moderator` may delete the messages of others
    #[arg(long, value_name = "ROLE", value_parser = ["moderator"])]
    pub(crate) role: Option<String>,

    /// How long the token is valid (ms, s, m, h, d)
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_duration)]
    pub(crate) ttl: Millis,

    #[command(flatten)]
    pub(crate) data_dir: DataDir,
}

/// Takes part in a conversation from the terminal
///
/// Signs its tokens like `parlance token`, unless it is given one.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parlance chat lobby --sub alice
  parlance chat lobby --sub bob --name Bob --url ws://127.0.0.1:8080
  parlance chat support-17 --sub carol --url ws://chat.example.com --token eyJ…

Type /help in it to see what else it does.")]
pub(crate) struct Chat {
    /// The conversation
    pub(crate) conversation: String,

    /// Who you are (claim `sub`)
    #[arg(long, value_name = "ID")]
    pub(crate) sub: String,

    /// The name that others are shown (claim `username`)
    #[arg(long, value_name = "NAME", conflicts_with = "token")]
    pub(crate) name: Option<String>,

    /// The server; by default the one of this machine, at the setting `listen`
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,

    /// A token of this user, from whoever signs them
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,

    #[command(flatten)]
    pub(crate) data_dir: DataDir,
}

/// Checks, shows or starts a configuration
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  parlance config template > parlance.toml
  parlance --config parlance.toml config check
  parlance --config parlance.toml config print --origins
  parlance config schema > parlance.schema.json")]
pub(crate) enum Config {
    /// Says everything that is wrong with the configuration; exits with 64 if anything is
    #[command(after_help = "Example:\n  parlance config check --config parlance.toml")]
    Check,
    /// Shows the configuration in force, without its secrets
    #[command(after_help = "Example:\n  parlance config print --origins --config parlance.toml")]
    Print {
        /// Also say where each value comes from
        #[arg(long)]
        origins: bool,
    },
    /// Writes a file with every setting, its default and its meaning
    #[command(after_help = "Example:\n  parlance config template > parlance.toml")]
    Template,
    /// Writes the JSON Schema of the file
    #[command(after_help = "Example:\n  parlance config schema > parlance.schema.json")]
    Schema,
}

/// Exits with 0 if the node on this machine is ready, for images without a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  parlance healthcheck
  parlance healthcheck --admin-listen 127.0.0.1:9191

The node is asked at `admin.listen` and has 2 s to answer.")]
pub(crate) struct Healthcheck {
    /// Where to ask (setting `admin.listen`)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin_listen: Option<String>,
}

/// Judges a filter, which itself cannot be cloned as clap needs it.
fn log_filter(text: &str) -> Result<String, ParseError> {
    EnvFilter::try_new(text).map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_shows_an_example() {
        fn check(command: &mut clap::Command) {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "no example: {help}");
            for inner in command
                .get_subcommands_mut()
                .filter(|inner| inner.get_name() != "help")
            {
                check(inner);
            }
        }
        check(&mut Cli::command());
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
