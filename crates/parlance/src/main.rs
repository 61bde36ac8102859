//! `parlance`: the commands, the configuration, and the wiring of the other crates into a process.
//!
//! Nothing here knows the protocol or keeps state of conversations; this is the only crate that
//! knows all the others, the command line, and where metrics and logs go.

mod bench;
mod chat;
mod cli;
mod commands;
mod config;
mod demo;
mod deployment;
mod descriptors;
mod failure;
mod gateway;
mod logging;
mod node;
mod observe;
mod persister;
mod serve;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

/// A gateway makes and drops many small things; docs/performance.md has what this gives. Without
/// transparent huge pages, which are filled with zeros as a whole for the first byte in them.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::of_command_line(&error),
    };
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
