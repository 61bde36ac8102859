//! What happens to calls while a server is paused, dead, or back.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod support;

use std::{
    thread,
    time::{Duration, Instant},
};

use parlance_core::store::{Archive, Partition, Store, WriteError};
use parlance_protocol::ConversationId;
use parlance_scylla::Scylla;
use parlance_testkit::{cql::Cql, report};
use support::{block_on, message, migrated, options, room};

/// What a call that is refused at once may take on a busy machine.
const AT_ONCE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

fn alone() -> (Cql, Scylla) {
    let server = Cql::setup().start();
    let options = migrated(&server, "faults");
    let store = Scylla::connect(options).unwrap();
    (server, store)
}

/// Waits for something, and says how long it took. That is reported and not judged: the driver alone
/// would be back after ten seconds at most, and a machine that stands still is no sooner.
fn wait_until(what: &str, is_so: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "not {what} within {PATIENCE:?}");
        thread::sleep(POLL);
    }
    begun.elapsed()
}

fn reads(store: &Scylla, room: &ConversationId) -> bool {
    block_on(store.epochs(room)).is_ok()
}

#[test]
fn a_store_that_hangs_is_refused_at_once_and_read_again_when_it_goes_on() {
    let (mut server, store) = alone();
    let room = room("hangs");
    assert!(reads(&store, &room));

    server.pause(0);
    // It may answer once more before it stands still.
    let mut answers = std::iter::repeat_with(|| block_on(store.epochs(&room)));
    let late = answers.find_map(Result::err).unwrap();
    // Ours or the driver's, which have the same limit.
    let limits = ["did not answer within 1s", "timeout of 1000ms"];
    let is_limit = limits.iter().any(|limit| late.reason.contains(limit));
    assert!(is_limit, "{late}");
    let is_refused = || {
        let begun = Instant::now();
        let refused = block_on(store.epochs(&room)).unwrap_err();
        begun.elapsed() < AT_ONCE && refused.reason.contains("asked again soon")
    };
    wait_until("refused at once", is_refused);
    wait_until("unhealthy", || store.healthy().is_err());

    server.resume(0);
    let back = wait_until("read again", || reads(&store, &room));
    report(&format!("read {back:?} after it went on"));
    wait_until("healthy", || store.healthy().is_ok());
}

/// Long enough for the driver to wait for ten seconds between its attempts.
#[test]
fn a_store_that_was_dead_for_long_is_of_use_soon_after_it_is_back() {
    let (mut server, store) = alone();
    let room = room("dead");
    let event = message(1, "written before");
    let written = std::slice::from_ref(&event);
    block_on(store.put_events(&room, written)).unwrap();

    server.kill(0);
    wait_until("unhealthy", || store.healthy().is_err());
    let refused = block_on(store.put_events(&room, written)).unwrap_err();
    assert!(matches!(refused, WriteError::Unavailable(_)), "{refused}");
    assert!(block_on(store.open_epoch(Partition(0), None)).is_err());
    let died = Instant::now();
    wait_until("long enough", || died.elapsed() > Duration::from_secs(13));
    server.restart(0);

    let (id, ids) = (event.entry.position.id, written.to_vec());
    let is_read = || block_on(store.messages(&room, id, id)).is_ok_and(|found| found == ids);
    let back = wait_until("read", is_read);
    report(&format!("read {back:?} after it answered again"));
    block_on(store.put_events(&room, written)).unwrap();
    assert_eq!(store.healthy(), Ok(()));
    // The epoch of before may have been opened, or not.
    assert!(block_on(store.open_epoch(Partition(0), None)).unwrap() <= 1);
}

#[test]
fn a_ring_that_loses_one_node_of_three_fails_no_call() {
    let mut server = Cql::ring(3);
    // By two at once, through whichever nodes they find.
    thread::scope(|both| {
        both.spawn(|| migrated(&server, "faults"));
        both.spawn(|| migrated(&server, "faults"));
    });
    let store = Scylla::connect(options(&server, "faults")).unwrap();
    let rooms: Vec<_> = (0..20).map(|n| room(&format!("ring-{n}"))).collect();
    let event = message(1, "written");
    let written = std::slice::from_ref(&event);
    let id = event.entry.position.id;
    let use_all = || {
        for room in &rooms {
            block_on(store.put_events(room, written)).unwrap();
            assert_eq!(block_on(store.messages(room, id, id)).unwrap(), written);
        }
    };
    use_all();

    server.pause(1);
    // A write that went to the paused node is sent to another one after a second.
    use_all();
    server.resume(1);
    server.kill(2);
    use_all();
    server.kill(1);
    let doubt = block_on(store.put_events(&rooms[0], written)).unwrap_err();
    assert!(matches!(doubt, WriteError::Unavailable(_)), "{doubt}");
    assert!(!reads(&store, &rooms[0]));
    wait_until("unhealthy", || store.healthy().is_err());

    server.restart(1);
    let back = wait_until("read", || reads(&store, &rooms[0]));
    report(&format!("a quorum read {back:?} after it was there"));
}
