//! `parlance migrate`: the store's tables.

use parlance_scylla::{Replication, Step};

use crate::{
    cli::{Global, Migrate},
    commands::{load, print},
    config::Purpose,
    deployment,
    failure::Failure,
    logging::{self, Speaker},
};

pub(super) fn run(global: &Global, migrate: Migrate) -> Result<(), Failure> {
    let factor = (
        "store.replication_factor",
        "--replication-factor",
        migrate.replication_factor,
    );
    let config = load(global, [migrate.store.setting(), factor], Purpose::AskStore)?.config;
    logging::start(global, Speaker::Command);
    deployment::install_cryptography()?;
    let options = deployment::store_options(&config);
    let replication = Replication {
        factor: u8::try_from(config.store_replication_factor.get()).unwrap_or(u8::MAX),
    };
    let steps = parlance_scylla::migrate(&options, &replication);
    let steps = steps.map_err(deployment::migrate_failure)?;
    print(&report(config.store_keyspace.as_str(), &steps))
}

fn report(keyspace: &str, steps: &[Step]) -> String {
    let done = steps.iter();
    let done: String = done
        .map(|Step { number, name }| format!("step {number}: {name}\n"))
        .collect();
    format!("{done}keyspace {keyspace} is ready\n")
}
