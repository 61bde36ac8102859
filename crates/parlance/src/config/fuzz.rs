//! What has to hold for any configuration, called by the target in `fuzz/` and, with its committed corpus, by
//! the test below. Not part of a build.
//!
//! Lines that begin with `$` are variables, as `$NAME=value`; the others are the TOML file.

use std::{io::Write, path::PathBuf};

use tempfile::NamedTempFile;

use super::{DescriptorLimit, Loaded, Origin, Purpose, Sources, Surroundings, show};

/// A configuration is taken whole, and can be shown then; or every problem of it is told with where it
/// stands, in words.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    // The files of this machine have no part in it.
    if text.to_ascii_lowercase().contains("_file") {
        return;
    }
    let is_variable = |line: &&str| line.starts_with('$');
    let (variables, file): (Vec<&str>, Vec<&str>) = text.split('\n').partition(is_variable);
    let mut on_disk = NamedTempFile::new().expect("there is room for a file");
    on_disk
        .write_all(file.join("\n").as_bytes())
        .expect("there is room for it");
    let pairs = variables.iter().map(|line| {
        let (name, value) = line[1..].split_once('=').unwrap_or((&line[1..], ""));
        (name.into(), value.into())
    });
    let sources = Sources {
        file: Some(PathBuf::from(on_disk.path())),
        variables: pairs.collect(),
        flags: Vec::new(),
    };
    for purpose in [Purpose::Serve, Purpose::Gateway, Purpose::Persister] {
        judge(&sources, purpose, file.len());
    }
}

fn judge(sources: &Sources, purpose: Purpose, lines: usize) {
    let surroundings = Surroundings {
        descriptors: DescriptorLimit(Some(20_000)),
        purpose,
    };
    match Loaded::read(sources, surroundings) {
        Ok(loaded) => assert!(!show(&loaded, true).is_empty()),
        Err(error) => {
            assert!(!error.0.is_empty());
            for problem in &error.0 {
                assert!(!problem.what.is_empty());
                if let Origin::File { line, .. } = &problem.origin {
                    assert!((1..=lines.max(1)).contains(line), "{problem}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use parlance_testkit::corpus::replay;

    #[test]
    fn what_fuzzing_began_with_holds() {
        replay("config", super::config);
    }
}
