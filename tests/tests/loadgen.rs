//! The load generator against the real server: that it finds nothing wrong where nothing is, and what is
//! wrong where something is.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use parlance_loadgen::{
    Arrival, Control, LoadError, Target, Watched,
    dialect::{Dialect, Heard, PageAt, Seat, Upgrade},
    fanout::{self, Fanout},
    history::{self, History, Which},
    order::Verdict,
    parlance::{Layer, Parlance as Own},
    report::{Ended, Report},
    resume::{self, Resume},
    send::{self, Send},
    storm::{self, Storm},
};
use parlance_testkit::{
    server::{Parlance, Setup},
    tokens::Claims,
};

const WARM_UP: Duration = Duration::from_millis(50);
const MEASURED: Duration = Duration::from_millis(400);

fn unlimited() -> Setup {
    Parlance::setup()
        .set("limits.actions_per_second", "0")
        .set("limits.user_actions_per_second", "0")
}

/// Members of conversations whose names begin like this.
fn members<'a>(server: &'a Parlance, layer: Layer, conversations: &'a str) -> impl Dialect + 'a {
    Own::new(layer, "test", move |Seat { room, member }| {
        let token = server.mint(&Claims::of(&format!("user-{room}-{member}")));
        format!("/conversations/{conversations}-{room}/?token={token}")
    })
}

fn own(server: &Parlance) -> impl Dialect + '_ {
    members(server, Layer::Extended, "bench")
}

fn target<'a>(server: &Parlance, dialect: &'a dyn Dialect) -> Target<'a> {
    Target::new(server.address(), dialect).watching([Watched {
        label: "server".to_owned(),
        pid: server.pid(),
    }])
}

fn at_a_rate(rooms: usize, members: usize, per_second: f64) -> Fanout {
    Fanout {
        rooms,
        members,
        pace: fanout::Pace::PerSecond(per_second),
        content_bytes: 64,
        warm_up: WARM_UP,
        measured: MEASURED,
    }
}

fn fan_out(server: &Parlance, load: &Fanout) -> Report {
    let dialect = own(server);
    fanout::run(&target(server, &dialect), load, &mut Control::default()).unwrap()
}

#[track_caller]
fn assert_right(report: &Report) {
    assert!(report.is_right(), "{report}");
    assert_eq!(report.ended, Ended::Complete);
    assert!(
        report.errors.is_empty() && report.refused.is_empty(),
        "{report}"
    );
    assert!(report.units > 0, "{report}");
}

// === Nothing is wrong ===

#[test]
fn a_fan_out_at_a_rate_delivers_each_message_to_each_member() {
    let server = unlimited().start();
    let report = fan_out(&server, &at_a_rate(3, 4, 200.0));
    assert_right(&report);
    let delivered = report.times("delivery").unwrap().len();
    assert_eq!(delivered, report.messages * 4);
    assert_eq!(report.connections, 12);
}

#[test]
fn a_fan_out_with_a_window_is_right_on_both_layers_and_with_less_than_one_for_each_room() {
    let server = unlimited().start();
    for (layer, window) in [(Layer::Extended, 30), (Layer::Base, 7), (Layer::Base, 2)] {
        let load = Fanout {
            pace: fanout::Pace::Window(window),
            ..at_a_rate(5, 3, 1.0)
        };
        let conversations = format!("window-{window}");
        let dialect = members(&server, layer, &conversations);
        let report = fanout::run(&target(&server, &dialect), &load, &mut Control::default());
        assert_right(&report.unwrap());
    }
}

#[test]
fn sends_are_acknowledged_back_to_back_and_at_a_rate() {
    let server = unlimited().start();
    for (pace, conversations) in [
        (send::Pace::OneEach, "back-to-back"),
        (send::Pace::PerSecond(200.0), "rate"),
    ] {
        let load = Send {
            rooms: 4,
            members: 2,
            pace,
            content_bytes: 64,
            warm_up: WARM_UP,
            measured: MEASURED,
        };
        let dialect = members(&server, Layer::Extended, conversations);
        let report = send::run(&target(&server, &dialect), &load, &mut Control::default()).unwrap();
        assert_right(&report);
        assert_eq!(report.times[0].what, "ack");
        assert!(!report.times[0].us.is_empty());
    }
}

#[test]
fn a_storm_connects_everybody_and_holds_them() {
    let server = unlimited().start();
    let dialect = own(&server);
    for arrival in [Arrival::AtOnce(32), Arrival::PerSecond(500.0)] {
        let load = Storm {
            rooms: 50,
            members: 2,
            arrival,
            hold: Duration::from_millis(100),
        };
        let report =
            storm::run(&target(&server, &dialect), &load, &mut Control::default()).unwrap();
        assert_right(&report);
        assert_eq!((report.units, report.connections), (100, 100));
        assert!(report.hold.is_some() && report.bytes_per_connection().is_some());
    }
}

#[test]
fn everybody_who_is_cut_gets_everything_missed_once_and_in_order() {
    let server = unlimited().start();
    for (layer, conversations) in [(Layer::Extended, "extended"), (Layer::Base, "base")] {
        let dialect = members(&server, layer, conversations);
        let load = Resume {
            rooms: 3,
            members: 5,
            missed: 150,
            arrival: Arrival::AtOnce(8),
            content_bytes: 64,
        };
        let report =
            resume::run(&target(&server, &dialect), &load, &mut Control::default()).unwrap();
        assert_right(&report);
        assert_eq!(report.units, 15);
    }
}

#[test]
fn after_a_reconnect_storm_all_are_back_with_everything_that_they_missed() {
    let server = unlimited().set("limits.pre_auth", "128").start();
    let dialect = own(&server);
    let load = Resume {
        rooms: 40,
        members: 50,
        missed: 20,
        arrival: Arrival::Backoff,
        content_bytes: 64,
    };
    let report = resume::run(&target(&server, &dialect), &load, &mut Control::default()).unwrap();
    // That some are turned away at first, or cut where even that is too much, is as it should be: they
    // come again.
    assert!(report.verdict.is_right(), "{report}");
    assert_eq!((report.ended, report.units), (Ended::Complete, 2_000));
    assert_eq!(report.times("handshake").unwrap().len(), 2_000);
    assert!(report.processes[0].peak_bytes.is_some());
    parlance_testkit::report(&report.to_string());
}

#[test]
fn pages_of_a_history_are_whole_wherever_they_are() {
    let server = unlimited().start();
    for (which, pace, conversations) in [
        (Which::Newest, history::Pace::OneEach, "newest"),
        (Which::Oldest, history::Pace::PerSecond(100.0), "oldest"),
        (Which::Random, history::Pace::OneEach, "random"),
    ] {
        let dialect = members(&server, Layer::Extended, conversations);
        let load = History {
            rooms: 2,
            members: 2,
            messages: 90,
            page_rows: 20,
            which,
            pace,
            content_bytes: 64,
            warm_up: WARM_UP,
            measured: MEASURED,
        };
        let report = history::run(&target(&server, &dialect), &load, &mut Control::default());
        assert_right(&report.unwrap());
    }
}

// === Something is wrong ===

/// What is done to the messages that member 1 of each room receives.
#[derive(Debug, Clone, Copy)]
enum Tamper {
    /// Every tenth does not come.
    Drop,
    /// Every tenth comes twice.
    Double,
    /// Every tenth comes after so many others.
    HoldBack(usize),
}

/// A dialect that mishears.
struct Tampered<D> {
    inner: D,
    tamper: Tamper,
    ears: RefCell<HashMap<Seat, Ear>>,
}

#[derive(Default)]
struct Ear {
    count: u64,
    /// What is held back, and how many others come first.
    held: VecDeque<(usize, u64, u64)>,
}

impl<D> Tampered<D> {
    fn of(inner: D, tamper: Tamper) -> Self {
        let ears = RefCell::default();
        Self {
            inner,
            tamper,
            ears,
        }
    }

    fn pass_on(&self, seat: Seat, name: u64, id: u64, on: &mut dyn FnMut(Heard<'_>)) {
        let mut ears = self.ears.borrow_mut();
        let ear = ears.entry(seat).or_default();
        ear.count += 1;
        let mut times = 1;
        if ear.count.is_multiple_of(10) {
            match self.tamper {
                Tamper::Drop => times = 0,
                Tamper::Double => times = 2,
                Tamper::HoldBack(others) => {
                    ear.held.push_back((others, name, id));
                    return;
                }
            }
        }
        for _ in 0..times {
            on(Heard::Message { name, id });
        }
        for (others, ..) in &mut ear.held {
            *others -= 1;
        }
        while let Some((_, name, id)) = ear.held.pop_front_if(|(others, ..)| *others == 0) {
            on(Heard::Message { name, id });
        }
    }
}

impl<D: Dialect> Dialect for Tampered<D> {
    fn upgrade(&self, seat: Seat, since: Option<u64>) -> Upgrade {
        self.inner.upgrade(seat, since)
    }

    fn message(&self, seat: Seat, name: u64, content: &str, to: &mut Vec<u8>) {
        self.inner.message(seat, name, content, to);
    }

    fn page(&self, seat: Seat, request: u64, at: PageAt, rows: u64, to: &mut Vec<u8>) -> bool {
        self.inner.page(seat, request, at, rows, to)
    }

    fn hear(&self, seat: Seat, text: &[u8], on: &mut dyn FnMut(Heard<'_>)) {
        self.inner.hear(seat, text, &mut |heard| {
            if let Heard::Message { name, id } = heard
                && seat.member == 1
            {
                self.pass_on(seat, name, id, on);
            } else {
                on(heard);
            }
        });
    }
}

/// What is found when messages are tampered with in rooms of three.
fn found(tamper: Tamper) -> Verdict {
    let server = unlimited().start();
    let dialect = Tampered::of(own(&server), tamper);
    let load = at_a_rate(2, 3, 400.0);
    let report = fanout::run(&target(&server, &dialect), &load, &mut Control::default()).unwrap();
    assert!(!report.is_right(), "{report}");
    assert_eq!(report.to_json()["is_right"], false);
    report.verdict
}

#[test]
fn messages_that_a_member_does_not_get_are_missing() {
    let verdict = found(Tamper::Drop);
    assert!(verdict.missing > 0, "{verdict:?}");
    assert_eq!((verdict.duplicate, verdict.reordered), (0, 0));
}

#[test]
fn messages_that_a_member_gets_twice_are_duplicates() {
    let verdict = found(Tamper::Double);
    let expected = Verdict {
        duplicate: verdict.duplicate,
        ..Verdict::default()
    };
    assert!(verdict.duplicate > 0);
    assert_eq!(verdict, expected);
}

#[test]
fn messages_that_only_one_member_sees_later_are_ordered_differently() {
    // The one that overtakes is another member's: senders take turns.
    let verdict = found(Tamper::HoldBack(1));
    assert!(verdict.differently_ordered > 0, "{verdict:?}");
    assert_eq!(verdict.reordered, 0, "{verdict:?}");
}

#[test]
fn messages_that_overtake_others_of_their_sender_are_reordered() {
    let verdict = found(Tamper::HoldBack(4));
    assert!(verdict.reordered > 0, "{verdict:?}");
}

#[test]
fn who_comes_back_and_gets_less_or_more_than_was_missed_is_found() {
    let server = unlimited().start();
    for (tamper, conversations) in [
        (Tamper::Drop, "less"),
        (Tamper::Double, "more"),
        (Tamper::HoldBack(1), "mixed"),
    ] {
        let inner = members(&server, Layer::Extended, conversations);
        let dialect = Tampered::of(inner, tamper);
        let load = Resume {
            rooms: 1,
            members: 2,
            missed: 25,
            arrival: Arrival::AtOnce(2),
            content_bytes: 64,
        };
        let report =
            resume::run(&target(&server, &dialect), &load, &mut Control::default()).unwrap();
        let verdict = report.verdict;
        let seen = match tamper {
            Tamper::Drop => verdict.missing,
            Tamper::Double => verdict.duplicate,
            Tamper::HoldBack(_) => verdict.differently_ordered,
        };
        assert!(seen > 0 && !report.is_right(), "{tamper:?}: {report}");
    }
}

/// A dialect that asks for other pages than it was told to.
struct OtherPages<D>(D);

impl<D: Dialect> Dialect for OtherPages<D> {
    fn upgrade(&self, seat: Seat, since: Option<u64>) -> Upgrade {
        self.0.upgrade(seat, since)
    }

    fn message(&self, seat: Seat, name: u64, content: &str, to: &mut Vec<u8>) {
        self.0.message(seat, name, content, to);
    }

    fn page(&self, seat: Seat, request: u64, at: PageAt, rows: u64, to: &mut Vec<u8>) -> bool {
        match seat.member {
            0 => self.0.page(seat, request, PageAt::Newest, rows, to),
            _ => self.0.page(seat, request, at, rows - 1, to),
        }
    }

    fn hear(&self, seat: Seat, text: &[u8], on: &mut dyn FnMut(Heard<'_>)) {
        self.0.hear(seat, text, on);
    }
}

#[test]
fn a_page_that_is_another_one_or_not_whole_is_found() {
    let server = unlimited().start();
    let dialect = OtherPages(own(&server));
    let verdict = |members| {
        let load = History {
            rooms: 1,
            members,
            messages: 30,
            page_rows: 10,
            which: Which::Oldest,
            pace: history::Pace::PerSecond(100.0),
            content_bytes: 64,
            warm_up: WARM_UP,
            measured: MEASURED,
        };
        let target = target(&server, &dialect);
        let report = history::run(&target, &load, &mut Control::default()).unwrap();
        assert!(!report.is_right(), "{report}");
        report.verdict
    };
    let another = verdict(1);
    assert_eq!((another.missing, another.reordered), (0, 0));
    assert!(another.differently_ordered > 0);
    assert!(verdict(2).missing > 0);
}

// === The server does otherwise ===

#[test]
fn refusals_are_counted_by_their_code_and_are_no_fault() {
    let server = Parlance::setup()
        .set("limits.actions_per_second", "5")
        .set("limits.actions_burst", "5")
        .start();
    let report = fan_out(&server, &at_a_rate(1, 2, 100.0));
    assert!(report.refused.contains_key("rate_limited"), "{report}");
    assert!(report.is_right(), "{report}");
}

#[test]
fn whoever_is_refused_in_a_closed_loop_is_left_alone_for_a_while() {
    let server = Parlance::setup()
        .set("limits.actions_per_second", "5")
        .set("limits.actions_burst", "5")
        .start();
    let load = Fanout {
        pace: fanout::Pace::Window(4),
        ..at_a_rate(1, 2, 1.0)
    };
    let report = fan_out(&server, &load);
    assert!(report.refused["rate_limited"] <= 8, "{report}");
    assert!(report.is_right(), "{report}");
}

#[test]
fn a_server_that_dies_is_told_of_by_lost_connections() {
    let mut server = unlimited().start();
    let minting = unlimited().start();
    let address = server.address();
    // Both have the same secret.
    let dialect = own(&minting);
    let load = Fanout {
        measured: Duration::from_secs(60),
        ..at_a_rate(1, 3, 50.0)
    };
    let mut control = Control {
        stop: None,
        progress: Some(Box::new(|_| server.kill())),
    };
    let report = fanout::run(&Target::new(address, &dialect), &load, &mut control).unwrap();
    assert_eq!(report.ended, Ended::Deserted);
    assert_eq!(report.lost.values().sum::<u64>(), 3);
    assert!(!report.is_right());
}

#[test]
fn a_run_that_is_stopped_reports_what_it_has() {
    let server = unlimited().start();
    let dialect = own(&server);
    let load = Fanout {
        measured: Duration::from_secs(60),
        ..at_a_rate(1, 3, 50.0)
    };
    let stop = AtomicBool::new(false);
    let mut control = Control {
        stop: Some(&stop),
        progress: Some(Box::new(|_| stop.store(true, Ordering::Relaxed))),
    };
    let report = fanout::run(&target(&server, &dialect), &load, &mut control).unwrap();
    assert_eq!(report.ended, Ended::Stopped);
    assert!(report.is_right() && report.units > 0, "{report}");
}

#[test]
fn nobody_can_join_without_a_good_token() {
    let server = unlimited().start();
    let dialect = Own::new(Layer::Extended, "test", |seat: Seat| {
        format!("/conversations/bench-{}/?token=bad", seat.room)
    });
    let load = at_a_rate(1, 1, 10.0);
    let error = fanout::run(&target(&server, &dialect), &load, &mut Control::default());
    let Err(LoadError::CannotJoin { reason, .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(reason, "4003");
}
