//! Any interleaving of what clients, nodes and the log can do, against the truth of one log.
//!
//! Three rooms stand for three nodes on one log. Steps pick what happens next: sends, repeated
//! sends, edits, deletes, joins with and without `since`, leaves, slow sockets; commits whose
//! answer comes late or never, readings that are old when they arrive, live events that are lost,
//! repeated or out of order. At every connection each durable event must be the next one of the
//! log (see `connection.rs`), and when all is quiet everybody has everything.
//!
//! A list of steps with picks "modulo what there is" shrinks better than a reference machine with
//! preconditions would: any sublist of a run is a run. Seeds that failed are kept beside this file.

mod connection;
mod truth;
mod world;

use parlance_core::room::{Departure, MemberKey};
use proptest::{prelude::*, test_runner::FileFailurePersistence};
use world::{Commit, NODES, Since, USERS, World};

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
        let mut world = World::new();
        for step in steps {
            run(&mut world, step);
        }
        world.settle();
        world.check_complete();
    }
}
