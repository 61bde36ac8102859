//! Tells the binary which revision it is built from: `BUILD_REVISION`, or git's, or none. A build
//! from the same source with the same variable, or without git, gives the same binary. The name is
//! not one of the server's own: `cargo run` hands it on, and unknown `PARLANCE_` variables are errors.

use std::{path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-env-changed=BUILD_REVISION");
    let revision = std::env::var("BUILD_REVISION").ok().or_else(git_revision);
    println!(
        "cargo::rustc-env=BUILD_REVISION={}",
        revision.as_deref().unwrap_or("unknown")
    );
}

fn git_revision() -> Option<String> {
    let git_dir = git(&["rev-parse", "--absolute-git-dir"])?;
    // Written on every commit and checkout, wherever the branch itself is kept.
    let log = format!("{git_dir}/logs/HEAD");
    if Path::new(&log).exists() {
        println!("cargo::rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
