//! `parlance gateway`: what stops it from starting, what it says, and how it ends.

use std::{
    net::TcpListener,
    path::Path,
    time::{Duration, Instant},
};

use parlance_testkit::redis::{Cluster, Pair, Redis};
use rustix::process::Signal;

use crate::support::{Ended, Place};

/// Without a port that is taken.
fn run(place: &Place, url: &str, arguments: &[&str]) -> Ended {
    let always = [
        "gateway",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
        "--redis-url",
        url,
    ];
    place.run(&[&always, arguments].concat())
}

fn start_soon() -> Place {
    Place::with_secret().variable("PARLANCE_REDIS__START_DEADLINE", "1s")
}

#[test]
fn help_shows_how_it_is_started() {
    let ended = Place::new().run(&["gateway", "--help"]);
    assert_eq!(ended.code, Some(0));
    for text in [
        "parlance gateway --redis-url redis://127.0.0.1:6379",
        "PARLANCE_REDIS__URLS_FILE=",
    ] {
        assert!(ended.stdout.contains(text), "{}", ended.stdout);
    }
}

#[test]
fn without_a_redis_it_says_how_to_name_one() {
    let ended = Place::with_secret().run(&["gateway"]);
    assert_eq!(ended.code, Some(64), "{ended:?}");
    let said = "there is no Redis to keep the log in; set `redis.urls`";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    assert!(ended.stderr.contains("--redis-url"), "{}", ended.stderr);
}

#[test]
fn a_wrong_url_is_told_without_its_password() {
    let ended = run(&Place::with_secret(), "redis://chat:xyzzy@redis:none", &[]);
    assert_eq!(ended.code, Some(64), "{ended:?}");
    let said = "--redis-url: `redis.urls` is not usable: the URL redis://…@redis:… has a port";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    assert!(!ended.stderr.contains("xyzzy"), "{}", ended.stderr);
}

#[test]
fn an_embedded_log_is_refused() {
    let place = Place::with_secret().variable("PARLANCE_LOG__KIND", "embedded");
    let ended = run(&place, "redis://127.0.0.1:1", &[]);
    assert_eq!(ended.code, Some(64), "{ended:?}");
    let said = "PARLANCE_LOG__KIND: `log.kind` is \"embedded\", but `parlance gateway` keeps its log in Redis";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
}

#[test]
fn a_redis_that_nobody_answers_for_is_named_when_the_deadline_is_over() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let started = Instant::now();

    let ended = run(&start_soon(), &format!("redis://chat:xyzzy@{address}"), &[]);

    assert_eq!(ended.code, Some(69), "{ended:?}");
    assert!(ended.stderr.contains(&address), "{}", ended.stderr);
    assert!(!ended.stderr.contains("xyzzy"), "{}", ended.stderr);
    let said = "cannot be used after 1s";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(500), "{took:?}");
}

#[test]
fn a_server_that_never_answers_is_given_up_as_well() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();

    let ended = run(&start_soon(), &format!("redis://{address}"), &[]);

    assert_eq!(ended.code, Some(69), "{ended:?}");
    assert!(ended.stderr.contains(&address), "{}", ended.stderr);
}

#[test]
fn a_redis_that_evicts_is_refused_with_the_command_that_ends_it() {
    let redis = Redis::setup()
        .config("maxmemory-policy allkeys-lru")
        .start();

    let ended = run(&Place::with_secret(), &redis.url(), &[]);

    assert_eq!(ended.code, Some(64), "{ended:?}");
    for text in ["allkeys-lru", "noeviction"] {
        assert!(ended.stderr.contains(text), "no {text}: {}", ended.stderr);
    }
}

#[test]
fn another_layout_is_refused() {
    let redis = Redis::start();
    redis.cmd(&["SET", "{p00}:v", "partitions=64 hash=crc32"]);

    let ended = run(&Place::with_secret(), &redis.url(), &[]);

    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert!(ended.stderr.contains("partitions=64"), "{}", ended.stderr);
}

#[test]
fn masters_in_another_order_or_number_are_refused() {
    let (a, b) = (Redis::start(), Redis::start());
    let place = Place::with_secret();
    let ready = place.gateway(&format!("{} {}", a.url(), b.url()));
    ready.wait_for_readiness(200);
    for urls in [format!("{} {}", b.url(), a.url()), a.url()] {
        let ended = run(&place, &urls, &[]);
        assert_eq!(ended.code, Some(64), "{ended:?}");
        let said = "give `redis.urls` in the order of before";
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
}

#[test]
fn masters_are_found_by_sentinels() {
    let pair = Pair::start();
    let server = Place::with_secret().gateway(&pair.url());
    server.wait_for_readiness(200);
}

#[test]
fn a_cluster_is_found_by_any_of_its_nodes() {
    let cluster = Cluster::start();
    let server = Place::with_secret().gateway(&cluster.url());
    server.wait_for_readiness(200);
}

#[test]
fn a_redis_that_asks_for_a_password_is_not_waited_for() {
    let users = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(users.path(), "user default on >open-sesame ~* &* +@all\n").unwrap();
    let redis = Redis::setup().aclfile(users.path()).start();
    let address = format!("127.0.0.1:{}", redis.port());
    for url in [
        format!("redis://{address}"),
        format!("redis://:xyzzy@{address}"),
    ] {
        let ended = run(&Place::with_secret(), &url, &[]);

        assert_eq!(ended.code, Some(64), "{url}: {ended:?}");
        assert!(ended.stderr.contains(&address), "{}", ended.stderr);
        assert!(!ended.stderr.contains("xyzzy"), "{}", ended.stderr);
    }
    let place = Place::with_secret();
    let url = format!("redis://:open-sesame@{address}");
    place.gateway(&url).signal(Signal::TERM);
}

#[test]
fn redis_without_a_disk_is_warned_of_loudly() {
    let redis = Redis::setup().no_persistence().start();
    let server = Place::with_secret().gateway(&redis.url());
    let warned = |line: &String| line.contains("\"WARN\"") && line.contains("append-only");
    assert!(server.lines.iter().any(warned), "{:#?}", server.lines);
}

#[test]
fn it_says_how_far_history_reaches_serves_and_leaves() {
    let redis = Redis::start();
    let place = Place::with_secret().variable("PARLANCE_LOG__RETENTION_ENTRIES", "77");
    let mut server = place.gateway(&redis.url());
    let warned = |line: &String| line.contains("\"WARN\"") && line.contains("last 77 entries");
    assert!(server.lines.iter().any(warned), "{:#?}", server.lines);
    let ready = server.admin_get("/readyz?verbose");
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");

    server.signal(Signal::TERM);

    assert_eq!(server.wait(), Some(0), "{:#?}", server.lines);
    let told = |line: &String| line.contains("draining: the other nodes were told");
    assert!(server.lines.iter().any(told), "{:#?}", server.lines);
}

#[test]
fn it_is_not_ready_while_redis_is_away_and_ready_again_afterwards() {
    let mut redis = Redis::start();
    let server = Place::with_secret().gateway(&redis.url());
    assert_eq!(server.metrics(["parlance_ready"]), [1.0]);
    redis.kill();
    server.wait_for_readiness(503);
    let report = server.admin_get("/readyz?verbose");
    assert!(report.contains("backend: "), "{report}");
    assert_eq!(server.metrics(["parlance_ready"]), [0.0]);

    redis.restart();

    server.wait_for_readiness(200);
    assert_eq!(server.metrics(["parlance_ready"]), [1.0]);
}

#[test]
fn it_tells_how_near_the_fullest_redis_is_to_its_limit() {
    let free = Redis::start();
    let limited = Redis::setup().config("maxmemory 1gb").start();
    let place = Place::with_secret();
    let urls = format!("{},{}", free.url(), limited.url());
    let of_redis = place.gateway(&urls);
    let own = Redis::start();
    let smallest = place.variable("PARLANCE_REDIS__MEMORY_LIMIT_BYTES", "1048576");
    let of_the_setting = smallest.gateway(&own.url());

    let names = [
        "parlance_redis_memory_ratio",
        "parlance_redis_memory_used_bytes",
    ];
    let [ratio, used_bytes] = of_redis.metrics(names);
    assert!(used_bytes > 1_000_000.0, "{used_bytes}");
    // What both use is more than what the limited one does.
    assert!(ratio > 0.0 && ratio < used_bytes / 0.9e9, "{ratio}");
    let [ratio, used_bytes] = of_the_setting.metrics(names);
    assert_eq!(ratio, used_bytes / 1_048_576.0);
}

#[test]
fn it_tells_its_limit_of_connections() {
    let redis = Redis::start();
    let place = Place::with_secret().variable("PARLANCE_LIMITS__CONNECTIONS", "1234");
    let server = place.gateway(&redis.url());
    assert_eq!(server.metrics(["parlance_connections_limit"]), [1234.0]);
}

#[test]
fn the_user_of_the_example_may_do_all_that_gateways_do() {
    let users = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/redis/users.acl");
    let redis = Redis::setup().aclfile(Path::new(users)).start();
    let url = format!("redis://parlance:CHANGE-ME@127.0.0.1:{}", redis.port());
    let place = Place::with_secret();
    let (mut first, second) = (place.gateway(&url), place.gateway(&url));

    let alice = place.chat(
        "alice",
        first.listen,
        "hello\n/edit good day\nsorry\n/delete\n",
    );
    let bob = place.chat("bob", second.listen, "thanks\n/who\n/more\n");
    first.signal(Signal::TERM);
    assert_eq!(first.wait(), Some(0), "{:#?}", first.lines);

    assert!(alice.stdout.contains("you: hello"), "{alice:?}");
    for said in ["alice: good day", "you: thanks"] {
        assert!(bob.stdout.contains(said), "no {said}: {bob:?}");
    }
    let denied = redis.cmd(&["ACL", "LOG"]);
    assert!(denied.list().is_empty(), "{denied:?}");
}

#[test]
fn the_settings_of_the_example_suffice() {
    let settings = include_str!("../../../../deploy/redis/redis.conf");
    let setup = settings
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .fold(Redis::setup(), |setup, line| setup.config(line));
    let redis = setup.start();
    let server = Place::with_secret().gateway(&redis.url());
    let warnings: Vec<_> = server
        .lines
        .iter()
        .filter(|line| line.contains("\"WARN\"") && !line.contains("there is no store"))
        .collect();
    assert!(warnings.is_empty(), "{warnings:#?}");
}

#[test]
fn tls_is_spoken_with_a_private_authority() {
    let redis = Redis::setup().tls().start();
    let url = redis.url();
    let place = start_soon();

    let strange = run(&place, &url, &[]);
    assert_eq!(strange.code, Some(69), "{strange:?}");

    let known = format!("{url}?ca={}", redis.ca_file().display());
    Place::with_secret().gateway(&known).wait_for_readiness(200);
}
