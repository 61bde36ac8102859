//! The commands, and what they share.

mod chat;
mod check;
mod config;
mod dead_letters;
mod healthcheck;
mod inspect;
mod migrate;
pub(crate) mod token;

use std::{
    io::{self, Write, stdout},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::{
    bench,
    cli::{Cli, Command, Global},
    config::{Loaded, Purpose, Sources, Surroundings},
    descriptors,
    failure::{Exit, Failure},
    gateway, persister, serve,
};

/// A flag that stands for a setting: path, name, value.
pub(crate) type FlagSetting = (&'static str, &'static str, Option<String>);

pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    let global = cli.global;
    match cli.command {
        Command::Serve(serve) => serve::run(&global, serve),
        Command::Gateway(gateway) => gateway::run(&global, gateway),
        Command::Persister(persister) => persister::run(&global, persister),
        Command::Migrate(migrate) => migrate::run(&global, migrate),
        Command::Inspect(inspect) => inspect::run(&global, inspect),
        Command::Check(command) => check::run(&command),
        Command::DeadLetters(command) => dead_letters::run(&global, command),
        Command::Token(token) => token::run(&global, token),
        Command::Chat(chat) => chat::run(&global, chat),
        Command::Bench(bench) => bench::run(&global, &bench),
        Command::Config(config) => config::run(&global, &config),
        Command::Healthcheck(healthcheck) => healthcheck::run(&global, healthcheck),
    }
}

/// The configuration in force, if it will do for `purpose`.
pub(crate) fn load<const N: usize>(
    global: &Global,
    flags: [FlagSetting; N],
    purpose: Purpose,
) -> Result<Loaded, Failure> {
    let given = |(path, flag, value): FlagSetting| Some((path, flag, value?));
    let sources = Sources {
        file: global.config.clone(),
        variables: std::env::vars_os().collect(),
        flags: flags.into_iter().filter_map(given).collect(),
    };
    let surroundings = Surroundings {
        descriptors: descriptors::raise(),
        purpose,
    };
    Ok(Loaded::read(&sources, surroundings)?)
}

/// Writes what a command is asked for. A reader that closed its end has had enough.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match stdout()
        .write_all(text.as_bytes())
        .and_then(|()| stdout().flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Unavailable, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Who listens everywhere is asked on loopback.
pub(crate) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        SocketAddr::V4(_) | SocketAddr::V6(_) => listen.ip(),
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_asked_on_loopback() {
        let at = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(at("0.0.0.0:9090"), "127.0.0.1:9090");
        assert_eq!(at("[::]:9090"), "[::1]:9090");
        assert_eq!(at("10.0.0.7:9090"), "10.0.0.7:9090");
    }
}
