//! Damaged files: a torn end is repaired, anything else is told with the file's name.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::{
    fs::OpenOptions,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use parlance_core::ports::{Backend, History, Log, Unavailable};
use parlance_embedded::{Embedded, Options};
use parlance_protocol::Position;
use support::{
    Acked, CHILD, all_conversations, append_for_ever, check, conversation, draft, kill_after,
    start_child,
};

/// The newest journal file and the length of what was written to it.
fn journal(dir: &Path) -> (PathBuf, u64) {
    let mut journals: Vec<_> = files(&dir.join("log"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "jnl"))
        .collect();
    journals.sort_by_key(|path| {
        path.file_stem()
            .unwrap()
            .to_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    });
    let newest = journals.pop().unwrap();
    let bytes = std::fs::read(&newest).unwrap();
    let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    (newest, (bytes.len() - zeros) as u64)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A directory of a killed process, and what that process had been told.
fn killed(test: &str) -> (tempfile::TempDir, Acked) {
    let dir = tempfile::tempdir().unwrap();
    let acked = kill_after(400, start_child(test, dir.path()));
    (dir, acked)
}

#[tokio::test]
async fn an_unfinished_write_at_the_end_of_the_journal_is_cut() {
    if let Ok(dir) = std::env::var(CHILD) {
        return append_for_ever(&dir).await;
    }
    let (dir, acked) = killed("an_unfinished_write_at_the_end_of_the_journal_is_cut");
    check(dir.path(), &acked).await;

    // What a power cut leaves of one more batch: its beginning, or its beginning and rubbish.
    let beginning = [
        &[1, 2, 0, 0, 0, 255, 255, 0, 0, 0, 0, 0, 0][..],
        &[2, 0, 0, 1],
    ]
    .concat();
    for tail in [
        beginning[..1].to_vec(),
        beginning.clone(),
        [beginning, vec![7; 999]].concat(),
    ] {
        let (file, end) = journal(dir.path());
        let writer = OpenOptions::new().write(true).open(&file).unwrap();
        writer.write_all_at(&tail, end).unwrap();

        check(dir.path(), &acked).await;
    }
}

#[tokio::test]
async fn a_changed_byte_in_the_journal_is_told_with_the_files_name() {
    if let Ok(dir) = std::env::var(CHILD) {
        return append_for_ever(&dir).await;
    }
    let (dir, acked) = killed("a_changed_byte_in_the_journal_is_told_with_the_files_name");
    let (file, end) = journal(dir.path());

    for at in [end / 3, end / 2, end - 40] {
        let undo = flip(&file, at);
        let words = Embedded::open(dir.path(), Options::default())
            .err()
            .unwrap()
            .to_string();
        assert!(words.contains(file.to_str().unwrap()), "{words}");
        undo();
    }
    check(dir.path(), &acked).await;
}

#[tokio::test]
async fn a_changed_byte_in_any_table_file_is_told_or_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let whole = filled(dir.path()).await;
    let tables = dir.path().join("log/keyspaces");
    let mut told = 0;

    for file in files(&tables) {
        let length = std::fs::metadata(&file).unwrap().len();
        for at in [
            0,
            length / 4,
            length / 2,
            length * 3 / 4,
            length.saturating_sub(9),
        ] {
            let undo = flip(&file, at);
            match read_all(dir.path()).await {
                Ok(read) => assert_eq!(read, whole, "byte {at} of {} was not told", file.display()),
                Err(words) => {
                    told += 1;
                    let name = file.strip_prefix(dir.path()).unwrap().to_str().unwrap();
                    assert!(words.contains(name), "byte {at} of {name}: {words}");
                }
            }
            undo();
        }
    }

    assert!(told > 0);
    assert_eq!(read_all(dir.path()).await.unwrap(), whole);
}

#[tokio::test]
async fn a_missing_file_is_told_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    for file in files(&dir.path().join("log")) {
        if file.ends_with("lock") {
            continue;
        }
        let aside = file.with_extension("aside");
        let aside = dir.path().join(aside.file_name().unwrap());
        std::fs::rename(&file, &aside).unwrap();

        let name = file.strip_prefix(dir.path()).unwrap().to_str().unwrap();
        let words = read_all(dir.path()).await.expect_err(name);

        assert!(words.contains(name), "{name}: {words}");
        std::fs::rename(&aside, &file).unwrap();
    }
}

/// Enough that there are table files, which needs several fills of the write buffer.
async fn filled(dir: &Path) -> Vec<String> {
    let options = Options {
        sync: false,
        ..Options::default()
    };
    let backend = Embedded::open(dir, options).unwrap();
    let (log, feed) = backend.attach();
    let mut answers = Vec::new();
    for n in 0..3_000_u64 {
        let event = parlance_core::entry::Event::Message {
            content: format!("{n} {}", "text ".repeat(2_000)).into(),
        };
        answers.push(log.append(&conversation(n % 3), draft(&n.to_string(), event)));
        if answers.len() == 500 {
            for answer in answers.drain(..) {
                answer.await.unwrap();
            }
        }
    }
    drop((backend, log, feed));
    read_all(dir).await.unwrap()
}

/// Everything, as text; or the words of the first refusal.
async fn read_all(dir: &Path) -> Result<Vec<String>, String> {
    let backend = Embedded::open(dir, Options::default()).map_err(|reason| reason.to_string())?;
    let (log, _feed) = backend.attach();
    let words = |reason: Unavailable| reason.to_string();
    let mut read = Vec::new();
    for room in all_conversations() {
        read.push(format!("{:?}", log.head(&room).await.map_err(words)?));
        let replay = log
            .replay(&room, Position::ZERO, usize::MAX)
            .await
            .map_err(words)?;
        for event in replay.events {
            let local_id = event.entry.local_id.as_ref().unwrap();
            let repeat = draft(local_id.as_str(), event.entry.event.clone());
            read.push(format!(
                "{:?}",
                log.append(&room, repeat).await.map_err(words)?
            ));
            read.push(format!("{event:?}"));
        }
    }
    Ok(read)
}

/// Changes one byte; the returned function changes it back.
fn flip(file: &Path, at: u64) -> impl FnOnce() {
    let open = OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .unwrap();
    let mut byte = [0];
    open.read_exact_at(&mut byte, at).unwrap();
    open.write_all_at(&[byte[0] ^ 0x55], at).unwrap();
    move || open.write_all_at(&byte, at).unwrap()
}
