//! `parlance serve`: what stops it from starting, and how it ends.

use std::{fs, net::TcpListener};

use crate::support::{Place, ask};
use rustix::process::Signal;

/// Made for these tests; nobody has the private half.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";

#[test]
fn a_node_is_ready_and_ends_at_once_when_nobody_is_connected() {
    // Longer than its end is waited for.
    let place = Place::with_secret().variable("PARLANCE_DRAIN__WINDOW", "2m");
    let mut server = place.serve(&[]);
    let healthcheck = ["healthcheck", "--admin-listen", &server.admin.to_string()];
    assert_eq!(place.run(&healthcheck).code, Some(0));

    server.signal(Signal::TERM);

    assert_eq!(server.wait(), Some(0), "{:#?}", server.lines);
    assert_eq!(place.run(&healthcheck).code, Some(69));
    assert!(place.path("parlance-data").is_dir());
}

#[test]
fn an_interrupt_ends_it_as_well() {
    let mut server = Place::with_secret().serve(&[]);
    server.signal(Signal::INT);
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn an_address_that_is_taken_is_named_with_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = Place::with_secret();
    for (flag, setting, other) in [
        ("--listen", "listen", "--admin-listen"),
        ("--admin-listen", "admin.listen", "--listen"),
    ] {
        let ended = place.run(&["serve", flag, &address, other, "127.0.0.1:0"]);
        assert_eq!(ended.code, Some(69), "{ended:?}");
        let said = format!(
            "error: cannot listen on {address} (`{setting}`)\n  because Address already in use"
        );
        assert!(ended.stderr.contains(&said), "{}", ended.stderr);
        assert!(
            ended
                .stderr
                .contains(&format!("set `{setting}` to another address"))
        );
    }
}

#[test]
fn a_data_directory_serves_one_process_at_a_time() {
    let place = Place::with_secret();
    let _first = place.serve(&["--data-dir", "data"]);

    let second = place.run(&["serve", "--data-dir", "data", "--listen", "127.0.0.1:0"]);

    assert_eq!(second.code, Some(69), "{second:?}");
    assert!(
        second
            .stderr
            .contains("the data directory data is in use by process"),
        "{}",
        second.stderr
    );
}

#[test]
fn a_data_directory_that_cannot_be_made_is_named() {
    let place = Place::with_secret().file("file", "");
    let ended = place.run(&["serve", "--data-dir", "file/data"]);
    assert_eq!(ended.code, Some(69), "{ended:?}");
    assert!(ended.stderr.contains("file/data"), "{}", ended.stderr);
}

#[test]
fn a_key_file_that_is_no_key_stops_the_start() {
    let place = Place::new()
        .file("key.pem", "no key")
        .variable("PARLANCE_AUTH__PUBLIC_KEY_FILE", "key.pem");
    for command in [["serve"].as_slice(), &["config", "check"]] {
        let ended = place.run(command);
        assert_eq!(ended.code, Some(64), "{ended:?}");
        assert!(
            ended.stderr.contains("cannot use the key file key.pem"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn a_key_file_that_breaks_while_the_node_runs_is_counted_and_the_node_stays() {
    let place = Place::new()
        .file("key.pem", PUBLIC_KEY)
        .variable("PARLANCE_AUTH__PUBLIC_KEY_FILE", "key.pem");
    let mut server = place.serve(&[]);
    let counted = "parlance_key_reloads_total{outcome=\"failed\"} 1";
    assert!(!server.admin_get("/metrics").contains(counted));

    fs::write(place.path("key.pem"), "no key").unwrap();
    server.wait_for_metric("parlance_key_files_unusable", 1.0);

    server.wait_for_line("the keys from before stay in use");
    assert!(server.admin_get("/metrics").contains(counted));
    assert!(server.admin_get("/readyz").starts_with("HTTP/1.1 200"));

    fs::write(place.path("key.pem"), PUBLIC_KEY).unwrap();
    server.wait_for_metric("parlance_key_files_unusable", 0.0);
}

#[test]
fn metrics_name_the_build_and_the_process() {
    let server = Place::with_secret().serve(&[]);
    let metrics = server.admin_get("/metrics");
    for line in [
        concat!(
            "parlance_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\",revision="
        ),
        "parlance_connections 0",
        "parlance_append_duration_seconds_bucket{le=\"0.001\"} 0",
        "process_resident_memory_bytes ",
    ] {
        assert!(metrics.contains(line), "no {line} in {metrics}");
    }
}

#[test]
fn dev_keeps_its_secret_and_prints_commands_that_work_in_the_same_directory() {
    let place = Place::new();
    let mut server = place.serve(&["--dev"]);
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
    let printed = server.stdout();
    let secret = fs::read_to_string(place.path(".parlance/dev-secret")).unwrap();

    let demo = format!("  http://{}/demo\n", server.listen);
    assert!(printed.contains(&demo), "{printed}");
    let url = format!("ws://{}", server.listen);
    for sub in ["alice", "bob"] {
        let command = format!("chat lobby --sub {sub} --url {url}\n");
        assert!(printed.contains(&command), "{printed}");
    }
    let token = place.run(&["token", "--sub", "carol"]);

    assert_eq!(token.code, Some(0), "{token:?}");
    let said = printed + &server.lines.concat();
    assert!(!said.contains(&secret), "the secret is printed: {said}");
    let mut again = place.serve(&["--dev"]);
    again.signal(Signal::TERM);
    again.wait();
    assert_eq!(
        fs::read_to_string(place.path(".parlance/dev-secret")).unwrap(),
        secret
    );
}

#[test]
fn dev_has_pages_for_this_machine_and_nobody_else_has_any() {
    let dev = Place::new().serve(&["--dev"]);
    let here = dev.listen.to_string();
    for (request, host, status) in [
        ("GET /demo", &*here, "200"),
        ("HEAD /demo", &*here, "200"),
        ("GET /demo/alice", &*here, "200"),
        ("GET /demo/phone.js", &*here, "200"),
        ("POST /demo", &*here, "405"),
        ("GET /demo/none", &*here, "404"),
        ("GET /demo/alice", "evil.example", "403"),
    ] {
        let answer = ask(dev.listen, request, host);
        let wanted = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&wanted), "{request} {host}: {answer}");
    }
    let head = ask(dev.listen, "HEAD /demo", &here);
    assert!(head.ends_with("\r\n\r\n"), "no body: {head}");

    let other = Place::with_secret().serve(&[]);
    let answer = ask(other.listen, "GET /demo", &other.listen.to_string());
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}
