//! The commands that end by themselves: help, version, tokens, health.

use std::{
    io::Write,
    net::{Shutdown, TcpListener},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::support::{Ended, Place, SECRET};
use parlance_auth::{AuthConfig, HmacSecret, Keyring};
use parlance_core::{
    identity::{Conversations, Identity},
    ports::{Denied, Verifier},
};
use parlance_protocol::{ConversationId, UnixMicros};

const HOUR: Duration = Duration::from_secs(3600);

/// Judges what `parlance token` printed, `after` from now.
fn judge(printed: &str, after: Duration) -> Result<Identity, Denied> {
    let config = AuthConfig {
        hmac_secrets: vec![HmacSecret::new(SECRET).unwrap()],
        ..AuthConfig::default()
    };
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + after;
    let at = UnixMicros(u64::try_from(at.as_micros()).unwrap());
    Keyring::new(config).unwrap().verify(printed.trim_end(), at)
}

fn token(arguments: &[&str]) -> String {
    let ended = Place::with_secret().run(&[&["token"], arguments].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.stdout
}

const RIGHT: &str = r#"{"run":{"version":1,"run":{"promise":"nothing_lost","timed":false,"ended_us":9}}}
{"conversation":{"name":"room"}}
{"reading":{"by":"history","told":[{"position":"1","sender":"ann","content":"ann-1","shows":"ann-1"}]}}
{"client":{"user":"ann","layer":"base"}}
{"saw":{"at_us":1,"event":{"connected":{"since":"0"}}}}
{"saw":{"at_us":2,"event":{"offered":{"name":"ann-1"}}}}
{"saw":{"at_us":3,"event":{"message":{"position":"1","sender":"ann","content":"ann-1","shows":"ann-1"}}}}
"#;

#[test]
fn a_recording_is_judged_and_the_first_wrong_is_shown_among_what_was_around_it() {
    let place = Place::new().file("right.jsonl", RIGHT);
    let ended = place.run(&["check", "right.jsonl"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("all 20 invariants hold"), "{ended:?}");
    let lost = RIGHT.replace(
        r#""told":[{"position":"1","sender":"ann","content":"ann-1","shows":"ann-1"}]"#,
        r#""told":[]"#,
    );
    let ended = place
        .file("lost.jsonl", &lost)
        .run(&["check", "lost.jsonl"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for part in [
        "I1 no loss, in room: ann saw \"ann-1\"",
        "Offered",
        "and then:",
    ] {
        assert!(ended.stdout.contains(part), "{part} in {ended:?}");
    }
}

#[test]
fn what_is_no_recording_is_refused_with_its_line() {
    let place = Place::new().file("bad.jsonl", &RIGHT.replace("client", "clown"));
    let ended = place.run(&["check", "bad.jsonl"]);
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert!(ended.stderr.contains("line 4"), "{ended:?}");
    let ended = place.run(&["check", "none.jsonl"]);
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert!(ended.stderr.contains("none.jsonl"), "{ended:?}");
}

#[test]
fn a_token_says_what_was_asked_for() {
    let printed = token(&[
        "--sub",
        "alice",
        "--name",
        "Alice A.",
        "--conversation",
        "a",
        "--conversation",
        "b",
        "--role",
        "moderator",
    ]);

    let identity = judge(&printed, Duration::ZERO).unwrap();

    assert_eq!(identity.user.as_str(), "alice");
    assert_eq!(&*identity.username, "Alice A.");
    let ids = ["a", "b"].map(|id| ConversationId::new(id).unwrap());
    assert_eq!(identity.conversations, Conversations::Only(ids.to_vec()));
    assert!(identity.moderator);
}

#[test]
fn a_token_without_a_conversation_opens_all_and_gives_no_role() {
    let identity = judge(&token(&["--sub", "alice"]), Duration::ZERO).unwrap();
    assert_eq!(identity.conversations, Conversations::All);
    assert!(!identity.moderator);
}

#[test]
fn a_token_ends_when_its_time_is_over() {
    let hour = token(&["--sub", "alice"]);
    assert!(judge(&hour, HOUR - Duration::from_secs(60)).is_ok());
    assert_eq!(judge(&hour, HOUR * 2), Err(Denied::Expired));
    let day = token(&["--sub", "alice", "--ttl", "1d"]);
    assert!(judge(&day, HOUR * 23).is_ok());
}

#[test]
fn a_token_that_no_server_would_accept_is_not_made() {
    let place = Place::with_secret();
    for arguments in [
        ["--sub", "", "--ttl", "1h"],
        ["--sub", "alice", "--ttl", "1"],
        ["--sub", "alice", "--conversation", "no blanks"],
        ["--sub", "alice", "--role", "king"],
    ] {
        let ended = place.run(&[["token"].as_slice(), &arguments].concat());
        assert_eq!(ended.code, Some(64), "{arguments:?}: {ended:?}");
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn a_token_needs_a_secret() {
    let ended = Place::new().run(&["token", "--sub", "alice"]);
    assert_eq!(ended.code, Some(64));
    assert!(
        ended.stderr.contains("to fix it: set `auth.hmac_secret`"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_chat_without_a_secret_or_with_an_invalid_conversation_does_not_begin() {
    let no_secret = Place::new().run(&["chat", "lobby", "--sub", "alice"]);
    assert_eq!(no_secret.code, Some(64), "{no_secret:?}");
    let wrong = Place::with_secret().run(&["chat", "no blanks", "--sub", "alice"]);
    assert_eq!(wrong.code, Some(64), "{wrong:?}");
}

#[test]
fn every_command_has_help_with_an_example() {
    let place = Place::new();
    for command in [
        ["serve"].as_slice(),
        &["token"],
        &["chat"],
        &["healthcheck"],
        &["config"],
        &["config", "check"],
        &["config", "print"],
        &["config", "template"],
        &["config", "schema"],
        &[],
    ] {
        let help = place.run(&[command, &["--help"]].concat());
        assert_eq!(help.code, Some(0), "{command:?}");
        assert!(
            help.stdout.contains("Example"),
            "{command:?}: {}",
            help.stdout
        );
    }
}

#[test]
fn the_version_names_the_revision() {
    let version = Place::new().run(&["--version"]);
    assert_eq!(version.code, Some(0));
    let wanted = concat!("parlance ", env!("CARGO_PKG_VERSION"), " (");
    assert!(version.stdout.starts_with(wanted), "{}", version.stdout);
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    for arguments in [
        ["dance"].as_slice(),
        &["token"],
        &["serve", "--frob"],
        &["--log", "a=b=c", "config", "check"],
    ] {
        assert_eq!(Place::new().run(arguments).code, Some(64), "{arguments:?}");
    }
}

#[test]
fn nothing_is_coloured_when_nobody_looks() {
    let ended = Place::new().run(&["config", "check"]);
    assert!(ended.stderr.starts_with("error: "), "{:?}", ended.stderr);
}

/// Asks a listener that gives `answer` and then waits for the end of the other side, a minute at most.
fn healthcheck_of(answer: &'static str) -> (Ended, Duration) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        if !answer.is_empty() {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        // Ends by the other side's end, its reset or the timeout: all are fine.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let started = Instant::now();
    let ended = Place::new().run(&["healthcheck", "--admin-listen", &address]);
    let took = started.elapsed();
    server.join().unwrap();
    (ended, took)
}

#[test]
fn a_healthcheck_of_nobody_fails() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let ended = Place::new().run(&["healthcheck", "--admin-listen", &free.to_string()]);
    assert_eq!(ended.code, Some(69));
    assert!(
        ended
            .stderr
            .contains(&format!("the node at {free} is not ready"))
    );
}

#[test]
fn a_healthcheck_of_a_node_that_is_not_ready_says_why() {
    let answer =
        "HTTP/1.1 503 Service Unavailable\r\n\r\ndraining: this node is leaving\nnot ready\n";
    let (ended, _) = healthcheck_of(answer);
    assert_eq!(ended.code, Some(69));
    assert!(
        ended
            .stderr
            .contains("because draining: this node is leaving"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_healthcheck_of_a_node_that_does_not_answer_ends_in_time() {
    let (ended, took) = healthcheck_of("");
    assert_eq!(ended.code, Some(69));
    assert!(took >= Duration::from_secs(1), "{took:?}");
    let waited_for_the_end = ended.stderr.contains("does not speak HTTP");
    assert!(!waited_for_the_end, "{}", ended.stderr);
}
