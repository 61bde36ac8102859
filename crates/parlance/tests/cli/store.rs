//! `parlance migrate`, `persister`, `inspect` and `dead-letters`, and a gateway with a store: on a real
//! Redis and a real CQL server.

use std::{net::TcpListener, path::Path, sync::Arc};

use parlance_testkit::{cql::Cql, redis::Redis};
use rustix::process::Signal;

use crate::support::{Ended, Place, Server};

/// A Redis and a keyspace of its own.
struct Deployment {
    place: Place,
    redis: Redis,
    /// Lives as long as what runs on it.
    _cql: Arc<Cql>,
}

impl Deployment {
    fn new() -> Self {
        Self::on(Redis::start())
    }

    fn on(redis: Redis) -> Self {
        let cql = Cql::shared();
        let keyspace = cql.keyspace();
        let place = Place::with_secret()
            .variable("PARLANCE_STORE__NODES", &cql.contact_points().join(","))
            .variable("PARLANCE_STORE__KEYSPACE", &keyspace)
            .variable("PARLANCE_STORE__START_DEADLINE", "20s");
        Self {
            place,
            redis,
            _cql: cql,
        }
    }

    /// With tables.
    fn migrated() -> Self {
        let deployment = Self::new();
        deployment.migrate();
        deployment
    }

    fn migrate(&self) {
        let ended = self.place.run(&["migrate"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }

    fn url(&self) -> String {
        self.redis.url()
    }

    fn persister(&self) -> Server {
        self.place.persister(&self.url())
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        let url = self.url();
        self.place
            .run(&[arguments, &["--redis-url", &url]].concat())
    }

    /// Until everything is stored.
    fn wait_until_stored(&self) {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
        let waiting = |tag: u16| {
            let key = format!("{}:in", parlance_testkit::redis::tag(tag));
            self.redis.cmd(&["XLEN", &key]).integer()
        };
        while (0..256).map(waiting).sum::<i64>() > 0 {
            assert!(std::time::Instant::now() < end, "it is not stored");
        }
    }
}

#[test]
fn tables_are_made_once_and_may_be_asked_for_again() {
    let deployment = Deployment::new();

    let first = deployment.place.run(&["migrate"]);
    let second = deployment.place.run(&["migrate"]);

    assert_eq!((first.code, second.code), (Some(0), Some(0)), "{first:?}");
    assert!(first.stdout.contains("step 1: "), "{}", first.stdout);
    assert!(!second.stdout.contains("step"), "{}", second.stdout);
    assert!(second.stdout.contains("is ready"), "{}", second.stdout);
}

#[test]
fn without_a_store_it_says_how_to_name_one() {
    for command in [&["migrate"][..], &["persister", "--redis-url", "redis://a"]] {
        let ended = Place::new().run(command);
        assert_eq!(ended.code, Some(64), "{ended:?}");
        let said = "there is no store; set `store.nodes`";
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
    let both = Place::new().run(&["persister"]).stderr;
    assert!(
        both.contains("`redis.urls`") && both.contains("`store.nodes`"),
        "{both}"
    );
}

#[test]
fn a_store_that_nobody_answers_for_is_named_when_the_deadline_is_over() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let place = Place::new().variable("PARLANCE_STORE__START_DEADLINE", "1s");

    let ended = place.run(&["migrate", "--store-node", &address]);

    assert_eq!(ended.code, Some(69), "{ended:?}");
    assert!(ended.stderr.contains(&address), "{}", ended.stderr);
    let waits = ended.stderr.matches("waiting for the store").count();
    assert_eq!(
        (waits, ended.stderr.matches("scylla").count()),
        (1, 1),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("to fix it: "), "{}", ended.stderr);
}

#[test]
fn without_tables_nothing_starts() {
    let deployment = Deployment::new();
    for command in ["gateway", "persister"] {
        let ended = deployment.run(&[command, "--admin-listen", "127.0.0.1:0"]);
        assert_eq!(ended.code, Some(64), "{ended:?}");
        assert!(
            ended.stderr.contains("parlance migrate"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn what_is_said_is_stored_and_shown() {
    let deployment = Deployment::migrated();
    let gateway = deployment.place.gateway(&deployment.url());
    let warned = |line: &String| line.contains("there is no store");
    assert!(!gateway.lines.iter().any(warned), "{:#?}", gateway.lines);
    let alice = deployment
        .place
        .chat("alice", gateway.listen, "hello\nagain\n");
    assert!(alice.stdout.contains("you: hello"), "{alice:?}");

    let waiting = deployment.run(&["inspect", "lobby"]);
    assert_eq!(waiting.code, Some(0), "{waiting:?}");
    for line in ["to be stored", "nothing of it"] {
        assert!(waiting.stdout.contains(line), "no {line}: {waiting:?}");
    }

    let mut persister = deployment.persister();
    persister.wait_for_readiness(200);
    deployment.wait_until_stored();
    let shown = deployment.run(&["inspect", "lobby"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    for line in [
        "waiting     0 to be stored",
        "end         2 in epoch 0, 2 messages, 2 events",
        "stored      2, which is all",
        "log         2 entries, 1 to 2, gone in ",
        "store       epoch 0 up to 2: 2 messages, 2 events",
    ] {
        assert!(shown.stdout.contains(line), "no {line}: {}", shown.stdout);
    }
    let metrics = persister.admin_get("/metrics");
    assert!(
        metrics.contains("parlance_persister_events_total 2"),
        "{metrics}"
    );

    persister.signal(Signal::TERM);
    assert_eq!(persister.wait(), Some(0), "{:#?}", persister.lines);
    let owner = deployment.run(&["inspect", "lobby"]);
    assert_eq!(owner.code, Some(0), "{owner:?}");
    assert!(owner.stdout.contains("owner       none"), "{owner:?}");
}

#[test]
fn a_persister_is_not_ready_while_redis_is_away() {
    let mut deployment = Deployment::migrated();
    let persister = deployment.persister();
    deployment.redis.kill();
    persister.wait_for_readiness(503);
    let report = persister.admin_get("/readyz?verbose");
    assert!(report.contains("redis: Redis at"), "{report}");
    assert!(report.contains("store: ok"), "{report}");
    assert_eq!(persister.metrics(["parlance_ready"]), [0.0]);

    deployment.redis.restart();

    persister.wait_for_readiness(200);
    assert_eq!(persister.metrics(["parlance_ready"]), [1.0]);
}

#[test]
fn the_user_of_the_example_may_do_all_that_persisters_and_commands_do() {
    let users = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/redis/users.acl");
    let redis = Redis::setup().aclfile(Path::new(users)).start();
    let url = format!("redis://parlance:CHANGE-ME@127.0.0.1:{}", redis.port());
    let deployment = Deployment::on(redis);
    deployment.migrate();
    let mut persister = deployment.place.persister(&url);
    let gateway = deployment.place.gateway(&url);
    deployment
        .place
        .chat("alice", gateway.listen, "hello\n/edit good day\n");
    deployment.wait_until_stored();
    for command in [&["inspect", "lobby"][..], &["dead-letters", "list"]] {
        let ended = deployment
            .place
            .run(&[command, &["--redis-url", &url]].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    persister.signal(Signal::TERM);
    assert_eq!(persister.wait(), Some(0), "{:#?}", persister.lines);

    let denied = deployment.redis.cmd(&["ACL", "LOG"]);
    assert!(denied.list().is_empty(), "{denied:?}");
}

#[test]
fn dead_letters_are_listed_given_back_and_dropped() {
    let deployment = Deployment::migrated();
    let none = deployment.run(&["dead-letters", "list"]);
    assert_eq!((none.code, &*none.stdout), (Some(0), "no dead letters\n"));
    let _persister = deployment.persister();
    for text in ["\u{1b}[2Jno entry", "1-0 x 1 1 {}"] {
        deployment
            .redis
            .cmd(&["XADD", "{p9b}:in", "*", "room", text]);
    }
    deployment.wait_until_stored();

    let list = deployment.run(&["dead-letters", "list", "--texts"]).stdout;
    assert_eq!(list.lines().count(), 4, "{list}");
    assert!(list.contains("  room  "), "{list}");
    assert!(
        list.contains("\\u{1b}[2Jno entry"),
        "nothing drives the terminal: {list}"
    );
    let id = list.split(' ').next().unwrap();

    // It is no better than before, so it comes back.
    let given_back = deployment.run(&["dead-letters", "retry", id]);
    assert_eq!(given_back.code, Some(0), "{given_back:?}");
    deployment.wait_until_stored();
    let list = deployment.run(&["dead-letters", "list"]).stdout;
    assert_eq!(list.lines().count(), 2, "{list}");
    assert!(!list.contains(id), "under another id: {list}");

    let unknown = deployment.run(&["dead-letters", "drop", id]);
    assert_eq!(unknown.code, Some(64), "{unknown:?}");
    assert!(
        unknown.stderr.contains("there is no dead letter p9b/"),
        "{}",
        unknown.stderr
    );
    let wrong = deployment.run(&["dead-letters", "drop", "7"]);
    assert_eq!(wrong.code, Some(64), "{wrong:?}");
    let all = deployment.run(&["dead-letters", "drop", "--all"]);
    assert!(all.stdout.ends_with("2 dead letters dropped\n"), "{all:?}");
    let none = deployment.run(&["dead-letters", "list"]);
    assert_eq!(none.stdout, "no dead letters\n");
}

#[test]
fn a_conversation_that_cannot_be_is_refused() {
    let ended = Place::new().run(&["inspect", "a b", "--redis-url", "redis://127.0.0.1:1"]);
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert!(
        ended.stderr.contains("\"a b\" is no conversation"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_store_is_asked_as_the_configured_role_over_tls() {
    let cql = Cql::setup().password().tls().start();
    let (username, password) = cql.credentials().unwrap();
    let place = || {
        Place::new()
            .variable("PARLANCE_STORE__NODES", &cql.contact_points().join(","))
            .variable("PARLANCE_STORE__REPLICATION_FACTOR", "1")
            .variable("PARLANCE_STORE__START_DEADLINE", "20s")
            .variable("PARLANCE_STORE__USERNAME", username)
    };
    let authority = cql.ca_file();
    let known = |place: Place| {
        place
            .variable("PARLANCE_STORE__TLS", "true")
            .variable("PARLANCE_STORE__CA_FILE", authority.to_str().unwrap())
    };
    let place_of_secret = place().file("password", &format!("{password}\n"));
    let file = place_of_secret.path("password");
    let right =
        known(place_of_secret).variable("PARLANCE_STORE__PASSWORD_FILE", file.to_str().unwrap());
    let ended = right.run(&["migrate"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");

    let wrong = known(place()).variable("PARLANCE_STORE__PASSWORD", "xyzzy");
    let ended = wrong.run(&["migrate"]);
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert!(!ended.stderr.contains("xyzzy"), "{}", ended.stderr);

    // Somebody else's certificate.
    let strange = place()
        .variable("PARLANCE_STORE__PASSWORD", password)
        .variable("PARLANCE_STORE__TLS", "true")
        .variable("PARLANCE_STORE__START_DEADLINE", "3s");
    let ended = strange.run(&["migrate"]);
    assert_ne!(ended.code, Some(0), "{ended:?}");
}
