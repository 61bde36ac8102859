//! Any interleaving of what clients, nodes and the log can do, against the truth of one log.
//!
//! Three rooms stand for three nodes on one log. Steps pick what happens next: sends, repeated
//! sends, edits, deletes, joins with and without `since`, leaves, slow sockets; commits whose
//! answer comes late or never, readings that are old when they arrive, live events that are lost,
//! repeated or out of order. At every connection each durable event must be the next one of the
//! log (see `connection.rs`), and when all is quiet everybody has everything.
//!
//! A second run of the same has a log that loses its tail: new epochs open, with and without a loss,
//! and nodes hear of that by a doubt, by an event or by an answer, whichever comes first. In the end
//! what was acknowledged is there once, if the client or the room that had it still lives.
//!
//! A list of steps with picks "modulo what there is" shrinks better than a reference machine with
//! preconditions would: any sublist of a run is a run. Seeds that failed are kept beside this file.

mod connection;
mod taken;
mod truth;
mod world;

use parlance_core::room::{Departure, MemberKey};
use proptest::{prelude::*, test_runner::FileFailurePersistence};
use world::{Commit, LogKind, NODES, Since, USERS, World};

#[derive(Debug, Clone)]
enum Step {
    Join {
        node: usize,
        user: usize,
        extended: bool,
        since: Since,
    },
    /// A client acts. The number picks the connection.
    Client(u8, Act),
    Open {
        node: usize,
        fails: bool,
    },
    Commit {
        node: usize,
        how: Commit,
    },
    Execute {
        node: usize,
        pick: u8,
        fails: bool,
        at_most: usize,
    },
    Answer {
        node: usize,
        pick: u8,
    },
    Hear {
        node: usize,
        pick: u8,
        again: bool,
    },
    Lose {
        node: usize,
        pick: u8,
    },
    Doubt {
        node: usize,
    },
    /// The room is dropped, if it is empty.
    Drop {
        node: usize,
    },
    /// Everything of this node arrives.
    Settle {
        node: usize,
    },
    Wait {
        ms: u64,
    },
    /// A new epoch opens. The log lacks so many of its last events and marks.
    FailOver {
        back: usize,
    },
    /// The store takes everything that the log has.
    Store,
}

#[derive(Debug, Clone)]
enum Act {
    Leave(bool),
    Send { named: bool, count: u8 },
    SendAgain(u8),
    Edit(u8),
    Delete(u8),
    Read(u8),
    Type(bool),
    Fetch,
    Pong,
    Take { budget_bytes: usize },
}

fn node() -> std::ops::Range<usize> {
    0..NODES
}

fn since() -> impl Strategy<Value = Since> {
    prop_oneof![
        4 => Just(Since::Nothing),
        4 => Just(Since::LastEnd),
        3 => (0_u8..40).prop_map(Since::Back),
        1 => Just(Since::Zero),
        1 => Just(Since::BeyondHead),
        1 => Just(Since::Malformed),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => any::<bool>().prop_map(Act::Leave),
        6 => (any::<bool>(), 1_u8..4).prop_map(|(named, count)| Act::Send { named, count }),
        1 => (any::<bool>(), 8_u8..16).prop_map(|(named, count)| Act::Send { named, count }),
        3 => (0_u8..4).prop_map(Act::SendAgain),
        3 => (0_u8..16).prop_map(Act::Edit),
        2 => (0_u8..16).prop_map(Act::Delete),
        2 => (0_u8..6).prop_map(Act::Read),
        1 => any::<bool>().prop_map(Act::Type),
        1 => Just(Act::Fetch),
        3 => Just(Act::Pong),
        10 => prop_oneof![Just(1_usize), Just(300), Just(100_000)]
            .prop_map(|budget_bytes| Act::Take { budget_bytes }),
    ]
}

fn commit() -> impl Strategy<Value = Commit> {
    prop_oneof![
        5 => Just(Commit::Answered),
        3 => Just(Commit::AnsweredOnly),
        1 => Just(Commit::AnswerLost),
        1 => Just(Commit::Lost),
    ]
}

fn fails() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.1)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (node(), 0..USERS, any::<bool>(), since()).prop_map(
            |(node, user, extended, since)| Step::Join { node, user, extended, since }
        ),
        24 => (any::<u8>(), act()).prop_map(|(who, act)| Step::Client(who, act)),
        4 => (node(), fails()).prop_map(|(node, fails)| Step::Open { node, fails }),
        8 => (node(), commit()).prop_map(|(node, how)| Step::Commit { node, how }),
        6 => (node(), any::<u8>(), fails(), prop_oneof![1_usize..4, Just(1_000)]).prop_map(
            |(node, pick, fails, at_most)| Step::Execute { node, pick, fails, at_most }
        ),
        8 => (node(), any::<u8>()).prop_map(|(node, pick)| Step::Answer { node, pick }),
        8 => (node(), any::<u8>(), fails()).prop_map(
            |(node, pick, again)| Step::Hear { node, pick, again }
        ),
        5 => (node(), any::<u8>()).prop_map(|(node, pick)| Step::Lose { node, pick }),
        1 => node().prop_map(|node| Step::Doubt { node }),
        1 => node().prop_map(|node| Step::Drop { node }),
        3 => node().prop_map(|node| Step::Settle { node }),
        3 => prop_oneof![4 => 0_u64..3_000, 1 => Just(13_000)].prop_map(|ms| Step::Wait { ms }),
    ]
}

/// As for a log that loses nothing, and now and then a new epoch: the tail is gone, or everything
/// that is not stored, or nothing.
fn lossy_step() -> impl Strategy<Value = Step> {
    let back = prop_oneof![4 => 1_usize..8, 1 => Just(0), 1 => Just(10_000)];
    prop_oneof![
        80 => step(),
        2 => back.prop_map(|back| Step::FailOver { back }),
        1 => Just(Step::Store),
    ]
}

fn run(world: &mut World, step: Step) {
    match step {
        Step::Join {
            node,
            user,
            extended,
            since,
        } => world.join(node, user, extended, since),
        Step::Client(who, act) => {
            let connections = world.connections();
            if let Some(index) = usize::from(who).checked_rem(connections.len()) {
                let (node, key) = connections[index];
                run_act(world, node, key, &act);
            }
        }
        Step::Open { node, fails } => world.open(node, fails),
        Step::Commit { node, how } => world.commit(node, how),
        Step::Execute {
            node,
            pick,
            fails,
            at_most,
        } => world.execute(node, pick, fails, at_most),
        Step::Answer { node, pick } => world.answer(node, pick),
        Step::Hear { node, pick, again } => world.hear(node, pick, again),
        Step::Lose { node, pick } => world.lose(node, pick),
        Step::Doubt { node } => world.doubt(node),
        Step::Drop { node } => world.drop_room(node),
        Step::Settle { node } => world.settle_node(node),
        Step::Wait { ms } => world.wait(ms),
        Step::FailOver { back } => world.fail_over(back),
        Step::Store => world.store(),
    }
}

fn run_act(world: &mut World, node: usize, key: MemberKey, act: &Act) {
    match *act {
        Act::Leave(true) => world.leave(node, key, Departure::Goodbye),
        Act::Leave(false) => world.leave(node, key, Departure::Lost),
        Act::Send { named, count } => (0..count).for_each(|_| world.send(node, key, named)),
        Act::SendAgain(which) => world.send_again(node, key, which),
        Act::Edit(back) => world.edit(node, key, back),
        Act::Delete(back) => world.delete(node, key, back),
        Act::Read(back) => world.read(node, key, back),
        Act::Type(is_typing) => {
            let text = format!(r#"{{"action":"typing","is_typing":{is_typing}}}"#);
            world.say(node, key, &text);
        }
        Act::Fetch => world.say(node, key, r#"{"action":"fetch_messages"}"#),
        Act::Pong => world.pong(node, key),
        Act::Take { budget_bytes } => world.take(node, key, budget_bytes),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/room_model/regressions.txt"
        )))),
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_member_is_told_the_log_in_order_without_hole_and_once(
        steps in prop::collection::vec(step(), 1..250)
    ) {
        let mut world = World::new(LogKind::Safe);
        for step in steps {
            run(&mut world, step);
        }
        world.settle();
        world.check_complete();
    }

    #[test]
    fn what_was_acknowledged_outlives_a_log_that_loses_its_tail(
        steps in prop::collection::vec(lossy_step(), 1..250),
        roomy in any::<bool>(),
    ) {
        let mut world = World::new(LogKind::Lossy { roomy });
        for step in steps {
            run(&mut world, step);
        }
        world.settle();
        world.check_complete();
    }
}

/// One node with one client on the base layer, whose log may lose everything.
fn alone() -> (World, MemberKey) {
    let mut world = World::new(LogKind::Lossy { roomy: true });
    world.join(0, 0, false, Since::Nothing);
    world.settle();
    let (_, key) = world.connections()[0];
    (world, key)
}

#[test]
fn what_was_lost_is_restored_in_its_order_with_its_changes() {
    let (mut world, key) = alone();
    for named in [true, false, true, false] {
        world.send(0, key, named);
    }
    world.settle();
    world.edit(0, key, 3);
    world.edit(0, key, 3);
    world.delete(0, key, 2);
    world.settle();
    let contents = |world: &World| {
        let rows = world.truth.messages();
        let rows = rows.filter_map(|message| world.truth.row(message.position.id));
        rows.map(|row| row.content.to_string()).collect::<Vec<_>>()
    };
    let before = contents(&world);
    assert_eq!(before, ["edit 6", "", "text 3", "text 4"]);

    for back in [10_000, 5, 10_000] {
        world.fail_over(back);
        world.settle();

        assert_eq!(contents(&world), before, "after the last {back} were lost");
        assert_eq!(world.truth.entries.len(), 7);
    }
    world.check_complete();
}

#[test]
fn a_lost_edit_does_not_undo_a_newer_one() {
    let (mut world, key) = alone();
    world.send(0, key, true);
    world.settle();
    world.edit(0, key, 0);
    world.settle();
    let id = world.truth.entries[0].position.id;

    world.fail_over(1);
    world.join(1, 0, false, Since::Nothing);
    world.settle_node(1);
    let (_, elsewhere) = world.connections()[1];
    world.edit(1, elsewhere, 0);
    world.settle_node(1);
    let newer = world.truth.row(id);
    world.settle();

    assert_eq!(world.truth.row(id), newer);
    assert_eq!(world.truth.entries.len(), 2);
    world.check_complete();
}

#[test]
fn an_author_is_told_what_cannot_be_restored() {
    let (mut world, key) = alone();
    world.send(0, key, true);
    world.settle();
    let sent = world.truth.head();

    world.refuses_lost = true;
    world.fail_over(10_000);
    world.settle();

    assert_eq!(world.truth.entries, []);
    assert_eq!(world.failed.iter().collect::<Vec<_>>(), [&sent]);
    world.check_complete();
}
