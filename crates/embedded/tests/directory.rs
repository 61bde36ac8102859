//! What is refused before anything is touched.

use std::path::Path;

use parlance_embedded::{Embedded, OpenError, Options};

fn open(dir: &Path) -> Result<Embedded, OpenError> {
    Embedded::open(dir, Options::default())
}

fn refused(dir: &Path) -> OpenError {
    match open(dir) {
        Ok(_) => panic!("{} should be refused", dir.display()),
        Err(reason) => reason,
    }
}

#[test]
fn a_missing_directory_is_made_and_an_empty_one_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("a/b");

    drop(open(&missing).unwrap());

    drop(open(&missing).unwrap());
}

#[test]
fn a_second_opener_is_told_the_directory_and_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path()).unwrap();

    let words = refused(dir.path()).to_string();

    assert!(words.contains(&dir.path().display().to_string()), "{words}");
    let process = format!("process {}", std::process::id());
    assert!(words.contains(&process), "{words}");
}

#[test]
fn the_directory_is_free_when_the_backend_and_its_handles_are_gone() {
    use parlance_core::ports::Backend;
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    let (handle, feed) = first.attach();

    drop(first);
    assert!(matches!(refused(dir.path()), OpenError::InUse { .. }));
    drop((handle, feed));

    open(dir.path()).unwrap();
}

#[test]
fn a_directory_of_somebody_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis.txt"), "ten years").unwrap();

    let reason = refused(dir.path());

    assert!(matches!(reason, OpenError::Foreign { .. }), "{reason}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_newer_format_is_refused_by_number() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let format = dir.path().join("format");
    let text = std::fs::read_to_string(&format).unwrap();
    std::fs::write(&format, text.replace('1', "2")).unwrap();

    let reason = refused(dir.path());

    assert!(
        matches!(
            reason,
            OpenError::Newer {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{reason}"
    );
}

#[test]
fn a_format_file_that_says_nothing_known_is_named() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    std::fs::write(dir.path().join("format"), "???").unwrap();

    let words = refused(dir.path()).to_string();

    assert!(words.contains("format is damaged"), "{words}");
}
