//! Tells the binary which revision it is built from: `PARLANCE_REVISION`, or git's, or none. A build
//! from the same source with the same variable, or without git, gives the same binary.

use std::{path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-env-changed=PARLANCE_REVISION");
    let revision = std::env::var("PARLANCE_REVISION")
        .ok()
        .or_else(git_revision);
    println!(
        "cargo::rustc-env=PARLANCE_REVISION={}",
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
