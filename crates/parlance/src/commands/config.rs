//! `parlance config`.

use parlance_auth::Keyring;

use crate::{
    cli::{Config, Global},
    commands::{load, print},
    config::{Purpose, schema, show, template},
    failure::{Exit, Failure},
};

pub(crate) fn run(global: &Global, config: &Config) -> Result<(), Failure> {
    match config {
        Config::Check => check(global),
        Config::Print { origins } => print(&show(&load(global, [], Purpose::Beside)?, *origins)),
        Config::Template => print(&template()),
        Config::Schema => print(&format!("{:#}\n", schema())),
    }
}

/// Everything that a node would refuse, but for what is taken only while it runs.
fn check(global: &Global) -> Result<(), Failure> {
    let loaded = load(global, [], Purpose::Judge)?;
    Keyring::new(loaded.config.auth()).map_err(|error| Failure::new(Exit::Usage, error))?;
    print("the configuration is valid\n")
}
