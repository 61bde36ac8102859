//! The Redis servers of the test kit do what other tests believe of them.

use std::{
    io::Write,
    process::Command,
    time::{Duration, Instant},
};

use parlance_testkit::redis::{Cluster, Pair, Redis, resp::Value, tag};

fn get(redis: &Redis, key: &str) -> Value {
    redis.cmd(&["GET", key])
}

/// Writes; how many replicas confirm it in time.
fn set(redis: &Redis, key: &str, wait_ms: &str) -> i64 {
    // A `WAIT` is about what its own connection wrote.
    let mut connection = redis.connection();
    connection.cmd(&["SET", key, "1"]);
    connection.cmd(&["WAIT", "1", wait_ms]).integer()
}

fn bytes(text: &str) -> Value {
    Value::Bytes(text.as_bytes().to_vec())
}

#[test]
fn what_was_written_survives_a_kill_by_the_append_only_file() {
    let mut redis = Redis::start();
    let (port, run) = (redis.port(), redis.info("run_id"));
    redis.cmd(&["SET", "a", "1"]);
    redis.kill();
    redis.restart();
    assert_eq!(redis.port(), port);
    assert_ne!(redis.info("run_id"), run, "another life");
    assert_eq!(get(&redis, "a"), bytes("1"));
    redis.wipe_and_restart();
    assert_eq!(redis.port(), port);
    assert_eq!(get(&redis, "a"), Value::Nil);
}

#[test]
fn a_server_without_persistence_forgets_at_a_kill() {
    let mut redis = Redis::setup().no_persistence().start();
    redis.cmd(&["SET", "a", "1"]);
    redis.restart();
    assert_eq!(get(&redis, "a"), Value::Nil);
}

#[test]
fn the_usual_settings_hold_and_later_lines_win() {
    let setup = Redis::setup().appendfsync_always();
    let redis = setup.config("stream-node-max-bytes 1024").start();
    let setting = |name: &str| redis.cmd(&["CONFIG", "GET", name]).list()[1].text();
    assert_eq!(setting("appendonly"), "yes");
    assert_eq!(setting("appendfsync"), "always");
    assert_eq!(setting("save"), "");
    assert_eq!(setting("maxmemory-policy"), "noeviction");
    assert_eq!(setting("stream-node-max-bytes"), "1024");
}

#[test]
fn a_paused_server_answers_when_it_is_resumed_or_its_time_is_up() {
    let mut redis = Redis::start();
    let pause = Duration::from_millis(400);
    redis.pause(pause);
    let began = Instant::now();
    redis.cmd(&["PING"]);
    assert!(began.elapsed() >= pause / 2, "it answered while paused");
    redis.pause(Duration::from_secs(3_600));
    redis.resume();
    redis.cmd(&["PING"]);
    redis.pause(Duration::from_secs(3_600));
    redis.restart();
    redis.cmd(&["PING"]);
}

#[test]
fn answers_of_every_kind_are_understood() {
    let redis = Redis::start();
    let mut connection = redis.connection();
    let script = "return {1, false, 'two', {'three', redis.error_reply('MINE no')}}";
    let value = connection.cmd(&["EVAL", script, "0"]);
    let inner = Value::List(vec![bytes("three"), Value::Error("MINE no".to_owned())]);
    let expected = [Value::Integer(1), Value::Nil, bytes("two"), inner];
    assert_eq!(value.list(), expected);
    let refusal = connection.try_cmd(&["NONSENSE"]).unwrap().unwrap_err();
    assert!(refusal.contains("unknown command"), "{refusal}");
    assert_eq!(connection.cmd(&["PING"]).text(), "PONG");
    assert!(redis.cpu_seconds() > 0.0);
    assert!(redis.memory_used() > 100_000);
}

#[test]
fn every_partition_is_opened_in_epoch_0_of_the_present_run() {
    let redis = Redis::start();
    redis.seed_first_epochs();
    assert_eq!(redis.cmd(&["DBSIZE"]).integer(), 256);
    let epoch = get(&redis, "{pff}:e").text();
    let run = [
        &redis.info("run_id")[..8],
        &redis.info("master_replid")[..8],
    ]
    .concat();
    let words: Vec<&str> = epoch.split(' ').collect();
    assert_eq!((words[0], words[1].len(), words[2]), (&*run, 13, "0"));
    assert_eq!((tag(0), tag(255)), ("{p00}".to_owned(), "{pff}".to_owned()));
}

#[test]
fn users_of_a_file_are_held_to_it_while_the_test_kit_is_not() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "user default off\nuser reader on >secret ~* +get").unwrap();
    let redis = Redis::setup().aclfile(file.path()).start();
    redis.cmd(&["SET", "a", "1"]);
    let mut connection = redis.connection();
    connection.cmd(&["AUTH", "reader", "secret"]);
    assert_eq!(connection.cmd(&["GET", "a"]).text(), "1");
    let refusal = connection.try_cmd(&["SET", "a", "2"]).unwrap().unwrap_err();
    assert!(refusal.starts_with("NOPERM"), "{refusal}");
}

#[test]
fn tls_is_trusted_through_the_authority_of_the_server() {
    let mut redis = Redis::setup().tls().start();
    redis.restart();
    let ping = |extra: &[&str]| {
        let port = redis.url().rsplit_once(':').unwrap().1.to_owned();
        let mut cli = Command::new("redis-cli");
        cli.args(["-h", "127.0.0.1", "-p", &port, "--tls"]);
        let output = cli.args(extra).arg("PING").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(redis.url().starts_with("rediss://127.0.0.1:"));
    let ca_file = redis.ca_file();
    assert_eq!(ping(&["--cacert", ca_file.to_str().unwrap()]), "PONG\n");
    assert_eq!(ping(&[]), "", "an unknown authority is not trusted");
    assert_eq!(redis.cmd(&["PING"]).text(), "PONG", "the plain port");
}

#[test]
fn a_lagging_replica_is_promoted_without_what_it_missed() {
    let mut pair = Pair::start();
    for round in 0..2 {
        let (kept, lost) = (format!("kept-{round}"), format!("lost-{round}"));
        assert_eq!(set(pair.primary(), &kept, "5000"), 1);
        pair.lag();
        assert_eq!(set(pair.primary(), &lost, "100"), 0);
        let old = pair.primary().port();
        pair.kill_primary();
        assert_ne!(pair.primary().port(), old);
        assert_eq!(get(pair.primary(), &kept), bytes("1"));
        assert_eq!(get(pair.primary(), &lost), Value::Nil);
        pair.revive_old_as_replica();
        assert_eq!(pair.replica().port(), old);
        assert_eq!(set(pair.primary(), "after", "5000"), 1);
    }
    pair.lag();
    pair.catch_up();
    assert_eq!(set(pair.primary(), "again", "5000"), 1);
}

#[test]
fn a_cluster_moves_slots_and_survives_a_master() {
    let mut cluster = Cluster::start();
    cluster.seed_first_epochs();
    let key = "{p00}:e";
    let slot = cluster.slot_of("{p00}");
    let from = cluster.master_of(slot);
    let seeded = get(&cluster.nodes()[from], key);
    assert!(seeded.text().ends_with(" 0"));
    let to = cluster.masters().into_iter().find(|node| *node != from);
    let to = to.unwrap();
    cluster.migrate_slot(slot, to);
    assert_eq!(cluster.master_of(slot), to);
    assert_eq!(get(&cluster.nodes()[to], key), seeded);
    let mut old = cluster.nodes()[from].connection();
    let refusal = old.try_cmd(&["GET", key]).unwrap().unwrap_err();
    assert!(refusal.starts_with("MOVED"), "{refusal}");
    assert_eq!(set(&cluster.nodes()[to], "{p00}:x", "5000"), 1);
    let promoted = cluster.kill_master(to);
    assert_eq!(cluster.master_of(slot), promoted);
    assert_eq!(get(&cluster.nodes()[promoted], key), seeded);
    cluster.revive(to);
    assert_eq!(cluster.master_of(slot), promoted);
    cluster.kill_master(promoted);
    assert_eq!(cluster.master_of(slot), to, "the revived one had followed");
    assert_eq!(cluster.url().matches("127.0.0.1").count(), 6);
}
