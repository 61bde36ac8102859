//! What a measurement was made on and with: for the page, so that a reader knows what figures mean.

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::servers::Programs;

/// A machine and what was compared on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    /// Of what was measured; says so if files differed from it.
    pub(crate) commit: String,
    /// Programs and their versions.
    pub(crate) versions: Vec<(String, String)>,
}

impl Machine {
    /// This one, with what is compared besides ours. A program that is not there has no version.
    pub(crate) fn read(compared: &Programs) -> anyhow::Result<Self> {
        let processors = read("/proc/cpuinfo")?;
        let names = processors
            .lines()
            .filter_map(|line| field(line, "model name"));
        let memory = read("/proc/meminfo")?;
        let kib = memory.lines().find_map(|line| field(line, "MemTotal"));
        let kib = kib.and_then(|size| size.strip_suffix(" kB")?.parse::<u64>().ok());
        let mut versions = vec![];
        versions.extend(version_of("Redis", &["redis-server", "--version"]));
        if let Some(directory) = &compared.node_peers {
            versions.extend(version_of("Node.js", &["node", "--version"]));
            versions.extend(packages(&directory.join("package.json"))?);
        }
        if let Some(program) = &compared.centrifugo {
            let program = program.to_string_lossy();
            versions.extend(version_of("Centrifugo", &[&program, "version"]));
        }
        Ok(Self {
            processor: names.clone().next().unwrap_or("unknown").to_owned(),
            cores: names.count(),
            memory_mib: kib.unwrap_or(0) / 1024,
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            commit: commit(),
            versions,
        })
    }
}

fn read(path: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {path}"))
}

fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (key, value) = line.split_once(':')?;
    (key.trim() == name).then(|| value.trim())
}

fn commit() -> String {
    let head = said(&["git", "rev-parse", "--short=12", "HEAD"]);
    let changed = said(&["git", "status", "--porcelain", "--untracked-files=no"]);
    match (head, changed.as_deref()) {
        (None, _) => "unknown".to_owned(),
        (Some(head), Some("")) => head,
        (Some(head), _) => format!("{head}, with changes"),
    }
}

fn version_of(name: &str, command: &[&str]) -> Option<(String, String)> {
    Some((name.to_owned(), version_in(&said(command)?)?))
}

/// The packages that the peers on Node.js are made of.
fn packages(path: &Path) -> anyhow::Result<Vec<(String, String)>> {
    #[derive(Deserialize)]
    struct Package {
        dependencies: BTreeMap<String, String>,
    }
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("reading {}", path.display()))?;
    let package: Package = serde_json::from_str(&text)?;
    Ok(package.dependencies.into_iter().collect())
}

/// What a command printed, if it could be run and liked what it did.
fn said(command: &[&str]) -> Option<String> {
    let (program, arguments) = command.split_first()?;
    let done = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(done.stdout).ok()?;
    done.status.success().then(|| text.trim().to_owned())
}

/// The first word that has digits and a point.
fn version_in(text: &str) -> Option<String> {
    let is_version =
        |word: &&str| word.contains('.') && word.contains(|c: char| c.is_ascii_digit());
    let word = text.split_whitespace().find(is_version)?;
    Some(
        word.trim_start_matches("v=")
            .trim_start_matches('v')
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        let redis = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64";
        assert_eq!(version_in(redis).as_deref(), Some("7.0.15"));
        assert_eq!(version_in("v20.20.2").as_deref(), Some("20.20.2"));
        assert_eq!(version_in("none"), None);
    }

    #[test]
    fn this_machine_has_a_processor_and_memory() {
        let machine = Machine::read(&Programs::default()).expect("Linux says what it runs on");
        assert!(machine.cores > 0 && machine.memory_mib > 0, "{machine:?}");
    }

    #[test]
    fn peers_are_named_with_their_packages() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/package.json");
        let packages = packages(&path).expect("the peers are here");
        assert!(packages.iter().any(|(name, _)| name == "ioredis"));
    }
}
