//! The committed corpus of the fuzz targets, replayed by the ordinary tests.

use std::{fs, path::Path};

/// Calls `check` with every file of `fuzz/corpus/{target}`.
///
/// # Panics
/// When there is none, or `check` panics; the file is named then.
pub fn replay(target: &str, check: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let directory = corpus.join(target);
    let entries = fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", directory.display()));
    let mut files = 0;
    for entry in entries {
        let path = entry.expect("the directory can be read").path();
        let data = fs::read(&path)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        // Shown when `check` panics.
        eprintln!("{}", path.display());
        check(&data);
        files += 1;
    }
    assert!(files > 0, "{} is empty", directory.display());
}
