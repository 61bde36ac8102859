//! What a persister does when answers are lost, refused or late, on a log and a clock that the test
//! moves.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod counts;
mod scripted;
#[path = "../support/mod.rs"]
mod support;

use std::{sync::Arc, time::Duration};

use parlance_core::{
    ingest::{MovedCursor, Piece},
    ports::Cursor,
    store::{EpochRow, PARTITIONS, Partition, Store},
};
use parlance_protocol::{MessageId, UnixMicros};
use scripted::{E, Fate, Scripted, Watched, at, mark, message};
use support::{Running, conversation, options, until, user};
use tokio::{
    task::LocalSet,
    time::{Instant, sleep},
};

const HERE: Partition = Partition(0);

/// Runs a test on a clock that goes on by itself when nothing else happens.
fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

fn numbered(of: &str, count: u64) -> Vec<Piece> {
    let one = |id| message(of, "ann", id, &format!("{of} {id}"));
    (1..=count).map(one).collect()
}

fn expected(of: &str, count: u64) -> Vec<String> {
    (1..=count).map(|id| format!("{of} {id}")).collect()
}

#[test]
fn names_and_events_are_written_side_by_side_and_the_row_after_both() {
    run(async {
        let log = Scripted::default();
        let store = Arc::new(Watched {
            delay: Duration::from_millis(2),
            ..Watched::default()
        });
        log.append(HERE, message("a", "ann", 1, "one"));
        log.append(HERE, message("a", "bob", 2, "two"));

        let running = Running::start(log.clone(), Arc::clone(&store), options("p"));
        until("it is committed", || log.is_empty()).await;
        running.stop().await;

        let mut writes = store.writes();
        writes[..3].sort_unstable();
        writes[3..6].sort_unstable();
        let expected = [
            "events to 2 begins",
            "names of ann begins",
            "names of bob begins",
            "events to 2 ends",
            "names of ann ends",
            "names of bob ends",
            "row 0 to 2 begins",
            "row 0 to 2 ends",
        ];
        assert_eq!(writes, expected);
        let commits = log.commits();
        let [commit] = &*commits else {
            panic!("{commits:?}")
        };
        let [durable] = &*commit.durable else {
            panic!("{commit:?}")
        };
        assert_eq!((durable.up_to, durable.count), (at(2), 2));
        assert_eq!(durable.senders, [user("ann"), user("bob")]);
    });
}

#[test]
fn everything_of_an_epoch_and_its_row_stand_before_the_row_of_the_next() {
    run(async {
        let (log, store) = (Scripted::default(), Arc::new(Watched::default()));
        log.append(HERE, message("a", "ann", 1, "one"));
        log.append(HERE, mark("a", 1, at(1)));
        log.append(HERE, message("a", "ann", E + 1, "two"));

        let running = Running::start(log.clone(), Arc::clone(&store), options("p"));
        until("it is committed", || log.is_empty()).await;
        running.stop().await;

        let writes = store.writes();
        let place = |what: &str| writes.iter().position(|write| write == what).unwrap();
        assert!(place("row 0 to 1 ends") < place("events to 10000000001 begins"));
        let rows = store.kept.epochs(&conversation("a")).await.unwrap();
        let row = EpochRow {
            epoch: 1,
            broke_at: Some(at(1)),
            head: at(E + 1),
            t: UnixMicros(E + 1),
            ordinal: 1,
            count: 1,
        };
        assert_eq!(rows[1], row);
    });
}

#[test]
fn a_commit_that_was_done_and_not_answered_is_done_again() {
    run(async {
        let (log, store) = (Scripted::default(), Arc::new(Watched::default()));
        for piece in numbered("a", 3) {
            log.append(HERE, piece);
        }
        log.fate(Fate::Unanswered);

        let running = Running::start(log.clone(), Arc::clone(&store), options("p"));
        until("it is committed twice", || log.commits().len() == 2).await;
        running.stop().await;

        assert_eq!(store.contents("a"), expected("a", 3));
        let [first, second] = &*log.commits() else {
            panic!("{:?}", log.commits())
        };
        assert_eq!(first.up_to, second.up_to);
        assert_eq!(first.durable, second.durable);
    });
}

#[test]
fn what_is_refused_because_of_another_epoch_is_read_again_and_committed_under_it() {
    run(async {
        let (log, store) = (Scripted::default(), Arc::new(Watched::default()));
        log.append(HERE, message("a", "ann", 1, "one"));
        log.fate(Fate::OtherEpoch);

        let running = Running::start(log.clone(), Arc::clone(&store), options("p"));
        until("it is committed", || log.is_empty()).await;
        running.stop().await;

        let commits = log.commits();
        assert_eq!((commits.len(), commits[0].epoch), (1, 1));
        assert_eq!(store.contents("a"), ["one"]);
    });
}

#[test]
fn a_partition_that_another_took_is_left_and_taken_again_when_it_is_free() {
    run(async {
        let (log, store) = (Scripted::default(), Arc::new(Watched::default()));
        log.append(HERE, message("a", "ann", 1, "one"));
        log.fate(Fate::NotOwner);

        let running = Running::start(log.clone(), Arc::clone(&store), options("p"));
        until("somebody else has it", || {
            log.owned_by("somebody").contains(&HERE)
        })
        .await;
        assert!(log.commits().is_empty());
        until("it is committed", || log.is_empty()).await;
        running.stop().await;

        assert_eq!(store.contents("a"), ["one"]);
    });
}

#[test]
fn many_conversations_are_written_at_once_within_a_bound_and_each_in_order() {
    run(async {
        let delay = Duration::from_millis(20);
        let store = Arc::new(Watched {
            delay,
            ..Watched::default()
        });
        let log = Scripted::default();
        let names: Vec<_> = (0..400).map(|number| format!("c{number}")).collect();
        for id in 1..=3 {
            for (number, name) in (0_u16..).zip(&names) {
                let partition = Partition((number % 200) as u8);
                log.append(partition, message(name, "ann", id, &format!("{name} {id}")));
            }
        }

        let running = Running::start(log.clone(), Arc::clone(&store), options("p"));
        until("all is committed", || log.is_empty()).await;
        running.stop().await;

        let most = store.most_under_way();
        assert!((32..=128).contains(&most), "{most} at once");
        for name in &names {
            assert_eq!(store.contents(name), expected(name, 3));
        }
    });
}

#[test]
fn a_name_or_row_that_the_store_refuses_holds_up_nothing() {
    run(async {
        let log = Scripted::default();
        let store = Arc::new(Watched {
            refuses_names: true,
            refuses_rows: true,
            ..Watched::default()
        });
        let id = log.append(HERE, message("a", "ann", 1, "one"));
        log.append(HERE, message("a", "ann", 2, "two"));

        let running = Running::start(log.clone(), Arc::clone(&store), options("p"));
        until("it is committed", || log.is_empty()).await;
        running.stop().await;

        assert_eq!(store.contents("a"), ["one", "two"]);
        let commits = log.commits();
        let dead = &commits[0].dead;
        assert_eq!(dead.len(), 3, "{dead:?}");
        assert_eq!((dead[0].id, &*dead[0].conversation), (id, "a"));
        assert!(dead[0].text.contains("one"), "{dead:?}");
        assert!(dead[2].text.contains("two"), "{dead:?}");
        assert_eq!(&*dead[1].reason, "its name: not here");
        assert_eq!(&*dead[2].reason, "the row of epoch 0: not here");
        assert_eq!(commits[0].durable.len(), 1);
    });
}

#[test]
fn a_store_that_does_not_answer_ends_no_batch_and_the_end_of_the_process_waits_for_it_for_a_while()
{
    run(async {
        let (log, store) = (Scripted::default(), Arc::new(Watched::default()));
        store.kept.set_down(true);
        log.append(HERE, message("a", "ann", 1, "one"));

        let running = Running::start(log.clone(), Arc::clone(&store), options("p"));
        until("it is tried", || store.writes().len() > 20).await;
        assert!(log.commits().is_empty());
        let begin = Instant::now();
        running.stop().await;

        let took = begin.elapsed();
        assert!((3..5).contains(&took.as_secs()), "it took {took:?}");
        assert!(log.owned_by("p").is_empty() && !log.is_living("p"));
        assert!(!log.is_empty(), "it waits for the next owner");
    });
}

#[test]
fn a_log_that_does_not_answer_is_asked_until_it_does() {
    run(async {
        let (log, store) = (Scripted::default(), Arc::new(Watched::default()));
        let running = Running::start(log.clone(), Arc::clone(&store), options("p"));
        until("all is owned", || log.owned_by("p").len() == PARTITIONS).await;
        log.set_down(true);
        log.append(HERE, message("a", "ann", 1, "one"));
        sleep(Duration::from_secs(30)).await;
        assert!(log.commits().is_empty());

        log.set_down(false);
        until("it is committed", || log.is_empty()).await;
        running.stop().await;
    });
}

#[test]
fn one_that_comes_gets_its_share_and_one_that_goes_leaves_it_to_the_others_at_once() {
    run(async {
        let (log, store) = (Scripted::default(), Arc::new(Watched::default()));
        let first = Running::start(log.clone(), Arc::clone(&store), options("persister-0"));
        until("the first has all", || {
            log.owned_by("persister-0").len() == PARTITIONS
        })
        .await;

        let second = Running::start(log.clone(), Arc::clone(&store), options("persister-1"));
        let begin = Instant::now();
        until("the second has its share", || {
            log.owned_by("persister-1").len() > 90
        })
        .await;
        assert!(begin.elapsed() < Duration::from_secs(1));
        sleep(Duration::from_secs(20)).await;
        let (of_first, of_second) = (log.owned_by("persister-0"), log.owned_by("persister-1"));
        assert_eq!(of_first.len() + of_second.len(), PARTITIONS);
        assert!(of_first.is_disjoint(&of_second));

        let begin = Instant::now();
        first.stop().await;
        until("the second has all", || {
            log.owned_by("persister-1").len() == PARTITIONS
        })
        .await;
        let took = begin.elapsed();
        assert!(took <= Duration::from_secs(1), "it took {took:?}");
        second.stop().await;
        assert!(log.owned_by("persister-1").is_empty());
    });
}

#[test]
fn the_partitions_of_one_that_crashed_are_taken_within_ten_seconds() {
    run(async {
        let (log, store) = (Scripted::default(), Arc::new(Watched::default()));
        let first = Running::start(log.clone(), Arc::clone(&store), options("persister-0"));
        let second = Running::start(log.clone(), Arc::clone(&store), options("persister-1"));
        until("both have a share", || {
            let both = ["persister-0", "persister-1"].map(|name| log.owned_by(name).len());
            both.iter().sum::<usize>() == PARTITIONS && both.iter().all(|share| *share > 90)
        })
        .await;

        first.crash().await;
        let begin = Instant::now();
        until("the second has all", || {
            log.owned_by("persister-1").len() == PARTITIONS
        })
        .await;
        let took = begin.elapsed();
        assert!(took <= Duration::from_secs(10), "it took {took:?}");
        second.stop().await;
    });
}

#[test]
fn cursors_are_stored_and_known_to_be() {
    run(async {
        let (log, store) = (Scripted::default(), Arc::new(Watched::default()));
        let read = MessageId::new(7).unwrap();
        let cursor = Cursor {
            delivered: read,
            read,
        };
        for number in 0..1_200 {
            log.move_cursor(MovedCursor {
                conversation: conversation(&format!("c{}", number % 5)),
                user: user(&format!("u{number}")),
                cursor,
            });
        }
        store.kept.set_down(true);
        let running = Running::start(log.clone(), Arc::clone(&store), options("p"));
        sleep(Duration::from_secs(5)).await;
        assert_eq!(log.moved(), 1_200);

        store.kept.set_down(false);
        until("all are stored", || log.moved() == 0).await;
        running.stop().await;

        let kept = store.kept.cursors(&conversation("c3")).await.unwrap();
        assert_eq!(kept.len(), 240);
        assert!(kept.iter().all(|(_, kept)| *kept == cursor));
    });
}

#[test]
fn a_refused_event_is_laid_aside_with_its_words_and_the_others_flow() {
    run(async {
        let (log, store) = (Scripted::default(), Arc::new(Watched::default()));
        store.kept.refuse("poison");
        for id in 1..=100 {
            let content = if id == 40 {
                "poison".to_owned()
            } else {
                format!("a {id}")
            };
            log.append(HERE, message("a", "ann", id, &content));
            log.append(HERE, message("b", "bob", id, &format!("b {id}")));
        }

        let running = Running::start(log.clone(), Arc::clone(&store), options("p"));
        until("all is committed", || log.is_empty()).await;
        running.stop().await;

        let mut of_a = expected("a", 100);
        of_a[39] = String::new();
        assert_eq!(store.contents("a"), of_a);
        assert_eq!(store.contents("b"), expected("b", 100));
        let dead: Vec<_> = log.commits().into_iter().flat_map(|c| c.dead).collect();
        let [letter] = &*dead else { panic!("{dead:?}") };
        assert!(letter.text.contains("poison"), "{letter:?}");
        assert_eq!(&*letter.reason, "a word that is not taken");
    });
}
