//! `parlance bench` as its users run it: what it prints, and its exit codes.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Ended, Place, Server};

/// Short enough for a test.
const SHORT: [&str; 4] = ["--duration", "300ms", "--warm-up", "0s"];

fn bench(place: &Place, server: &Server, arguments: &[&str]) -> Ended {
    let url = format!("ws://{}", server.listen);
    place.run(&[&["bench"], arguments, &["--url", &url]].concat())
}

/// Starts a load that would last a minute, and waits until messages flow.
fn start(place: &Place, server: &Server) -> Child {
    let url = format!("ws://{}", server.listen);
    let load = ["bench", "fanout", "--rooms", "1", "--members", "2"];
    let lasting = [
        "--duration",
        "60s",
        "--warm-up",
        "0s",
        "--progress",
        "--url",
    ];
    let mut child = place
        .command(&[&load[..], &lasting, &[&url]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = child.stderr.take().unwrap();
    let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("measuring"));
    assert!(line.is_some(), "it ended before it measured");
    child
}

#[test]
fn every_workload_prints_what_it_measured() {
    let place = Place::with_secret();
    let server = place.serve(&["--data-dir", "data"]);
    let small = ["--rooms", "2", "--members", "2"];
    let loads: [(&str, &[&str], &str); 5] = [
        ("fanout", &[&small[..], &SHORT].concat(), "deliveries/s"),
        ("send", &[&small[..], &SHORT].concat(), "sends/s"),
        (
            "storm",
            &["--connections", "10", "--hold", "100ms"],
            "connects/s",
        ),
        (
            "resume",
            &[&small[..], &["--missed", "5"]].concat(),
            "resumes/s",
        ),
        (
            "history",
            &[&small[..], &SHORT, &["--messages", "20"]].concat(),
            "pages/s",
        ),
    ];
    for (workload, arguments, unit) in loads {
        let ended = bench(&place, &server, &[&[workload], arguments].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains(unit), "{ended:?}");
        assert!(
            ended.stdout.contains("missing                0"),
            "{ended:?}"
        );
        assert_eq!(ended.stderr, "");
    }
}

#[test]
fn the_result_can_be_had_as_json() {
    let place = Place::with_secret();
    let server = place.serve(&["--data-dir", "data"]);
    let load = ["storm", "--connections", "10", "--hold", "0s", "--json"];
    let ended = bench(&place, &server, &load);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["is_right"], true);
    assert_eq!(
        (&report["units"], &report["unit"]),
        (&10.into(), &"connect".into())
    );
    assert!(report["times_us"]["connect"]["p99"].as_u64().unwrap() > 0);
}

#[test]
fn tokens_of_a_file_are_used_as_they_are() {
    let place = Place::with_secret();
    let server = place.serve(&["--data-dir", "data"]);
    let lines: Vec<String> = [("ann", "a"), ("bob", "a"), ("cid", "b"), ("dan", "b")]
        .map(|(sub, conversation)| {
            let token = place.run(&["token", "--sub", sub, "--conversation", conversation]);
            format!("{}\t{conversation}\n", token.stdout.trim_end())
        })
        .into();
    let place = Place::new().file("tokens", &lines.concat());
    let load = [&["fanout", "--tokens", "tokens"], &SHORT[..]].concat();
    let ended = bench(&place, &server, &load);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("4 connections"), "{ended:?}");
}

#[test]
fn exit_codes_say_whose_fault_it_was() {
    let place = Place::with_secret();
    let code = |arguments: &[&str]| place.run(&[&["bench", "fanout"], arguments].concat()).code;
    assert_eq!(code(&["--url", "ws://127.0.0.1:1"]), Some(69));
    assert_eq!(code(&["--url", "ws://192.0.2.1:80"]), Some(64));
    assert_eq!(code(&["--window", "0"]), Some(64));
    assert_eq!(code(&["--rate", "many"]), Some(64));
    assert_eq!(code(&["--tokens", "nowhere"]), Some(64));
}

#[test]
fn a_run_that_is_interrupted_prints_what_it_has() {
    let place = Place::with_secret();
    let server = place.serve(&["--data-dir", "data"]);
    let child = start(&place, &server);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ended = Ended::of(child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("stopped before its end"), "{ended:?}");
}

#[test]
fn a_server_that_dies_under_load_makes_the_exit_code_1() {
    let place = Place::with_secret();
    let server = place.serve(&["--data-dir", "data"]);
    let child = start(&place, &server);
    server.signal(Signal::KILL);
    let ended = Ended::of(child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("lost connections"), "{ended:?}");
}
