//! A full disk: nothing is acknowledged that is not there, and it goes on when there is room.
//!
//! Each test mounts a small file system of its own, which needs root; without it the test says so
//! and does nothing.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests, and a skipped test has to say so"
)]

use std::{path::Path, process::Command};

use parlance_core::{
    entry::{Draft, Event},
    ports::{Appended, Backend, History, Log, Unavailable},
};
use parlance_embedded::{Embedded, Handle, Options};
use parlance_protocol::{ConversationId, LocalId, Position, UnixMicros, UserId};

struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(megabytes: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(dir.path())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(dir));
        }
        println!("SKIPPED: a small file system cannot be mounted here (needs root)");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The directory below is removed next, which fails loudly if this did.
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

fn room() -> ConversationId {
    ConversationId::new("room").unwrap()
}

/// 16,000 bytes that stay as many in the engine's files.
fn incompressible(n: u64) -> String {
    let mut state = n + 1;
    let mut letter = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + (state >> 58) as u8)
    };
    (0..16_000).map(|_| letter()).collect()
}

fn draft(n: u64) -> Draft {
    Draft {
        sender: UserId::new("ann").unwrap(),
        local_id: Some(LocalId::new(&n.to_string()).unwrap()),
        retry: false,
        event: Event::Message {
            content: incompressible(n).into(),
        },
        at: UnixMicros(n),
        restores: None,
        trace: None,
    }
}

/// Appends from `from` on until one is refused; the number after the last acknowledged one, and
/// the refusal.
async fn fill(log: &Handle, from: u64) -> (u64, Unavailable) {
    for n in from.. {
        match log.append(&room(), draft(n)).await {
            Ok(Appended::New(_)) => assert!(n < 20_000, "the disk should be full by now"),
            Ok(other) => panic!("expected a new entry, got {other:?}"),
            Err(reason) => return (n, reason),
        }
    }
    unreachable!("the loop has no end")
}

async fn check(log: &Handle, acked: u64) {
    let replay = log
        .replay(&room(), Position::ZERO, usize::MAX)
        .await
        .unwrap();
    let contents = replay.events.iter().map(|event| event.entry.event.clone());
    let mut count = 0;
    for (n, event) in contents.enumerate() {
        assert_eq!(event, draft(n as u64).event);
        count += 1;
    }
    // One that was refused may be there all the same: its outcome is unknown.
    assert!(count == acked || count == acked + 1, "{count} of {acked}");
}

#[tokio::test]
async fn below_the_reserve_appends_are_refused_and_go_on_when_there_is_room() {
    let Some(disk) = SmallDisk::mount(300) else {
        return;
    };
    let filler = disk.path().join("filler");
    let data = disk.path().join("data");
    let backend = Embedded::open(&data, Options::default()).unwrap();
    let (log, _feed) = backend.attach();
    std::fs::write(&filler, vec![1; 60 << 20]).unwrap();

    let (acked, reason) = fill(&log, 0).await;
    assert!(
        reason
            .to_string()
            .contains("less than the reserve of 128 MB"),
        "{reason}"
    );
    assert!(backend.healthy().is_err());
    check(&log, acked).await;

    std::fs::remove_file(&filler).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while backend.healthy().is_err() {
        assert!(std::time::Instant::now() < deadline, "it should go on");
        tokio::task::yield_now().await;
    }
    let (more, _) = fill(&log, acked).await;
    assert!(more > acked);
    check(&log, more).await;
}

#[tokio::test]
async fn a_write_that_fails_is_not_acknowledged_and_a_restart_with_room_goes_on() {
    let Some(disk) = SmallDisk::mount(120) else {
        return;
    };
    let filler = disk.path().join("filler");
    let data = disk.path().join("data");
    std::fs::write(&filler, vec![1; 40 << 20]).unwrap();
    let options = Options {
        reserve_bytes: 0,
        ..Options::default()
    };
    let backend = Embedded::open(&data, options).unwrap();
    let (log, feed) = backend.attach();

    let (acked, reason) = fill(&log, 0).await;
    assert!(
        reason.to_string().contains("writing the log failed"),
        "{reason}"
    );
    assert_eq!(backend.healthy(), Err(reason.clone()));
    let again = log.append(&room(), draft(acked)).await;
    assert_eq!(again, Err(reason));
    check(&log, acked).await;

    drop((backend, log, feed));
    std::fs::remove_file(&filler).unwrap();
    let backend = Embedded::open(&data, options).unwrap();
    let (log, _feed) = backend.attach();
    check(&log, acked).await;
    let answer = log.append(&room(), draft(acked)).await.unwrap();
    assert!(
        !matches!(answer, Appended::Conflict | Appended::TooMany),
        "{answer:?}"
    );
    check(&log, acked + 1).await;
}
