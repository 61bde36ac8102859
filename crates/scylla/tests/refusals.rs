//! What the server refuses: at the start, in a migration, and of what is written.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod support;

use std::{
    thread,
    time::{Duration, Instant},
};

use parlance_core::{
    ports::Cursor,
    store::{Archive, EpochRow, Store, WriteError},
};
use parlance_protocol::{MessageId, Position, UserId};
use parlance_scylla::{Login, Options, Replication, Scylla, StartError, Tls, migrate};
use parlance_testkit::cql::Cql;
use support::{block_on, message, migrated, options, room};

const ONE: Replication = Replication { factor: 1 };

fn refusal(options: Options) -> StartError {
    match Scylla::connect(options) {
        Ok(_) => panic!("it should not start"),
        Err(error) => error,
    }
}

#[test]
fn without_tables_or_with_others_it_does_not_start() {
    let server = Cql::shared();
    let nowhere = options(&server, "nowhere");
    assert!(matches!(
        refusal(nowhere),
        StartError::NotMigrated { found: 0, .. }
    ));

    let keyspace = server.keyspace();
    let here = migrated(&server, &keyspace);
    drop(Scylla::connect(here.clone()).unwrap());
    server.query(&format!(
        "UPDATE {keyspace}.layout SET value = 'partitions=512 hash=crc32' WHERE id = 0"
    ));
    let refused = refusal(here.clone());
    assert!(matches!(refused, StartError::Layout { .. }), "{refused}");
    assert!(migrate(&here, &ONE).is_err());

    server.query(&format!(
        "INSERT INTO {keyspace}.migrations (step) VALUES (10)"
    ));
    let refused = refusal(here.clone());
    assert!(
        matches!(refused, StartError::Newer { found: 10, .. }),
        "{refused}"
    );

    server.query(&format!("DELETE FROM {keyspace}.migrations WHERE step = 9"));
    let refused = refusal(here.clone());
    assert!(
        matches!(refused, StartError::NotMigrated { found: 8, .. }),
        "{refused}"
    );

    let elsewhere = Options {
        datacenter: Some("elsewhere".to_owned()),
        ..here
    };
    let refused = refusal(elsewhere);
    assert!(
        matches!(refused, StartError::Datacenter { .. }),
        "{refused}"
    );
    let wrong = options(&server, "a\"b");
    assert!(matches!(refusal(wrong), StartError::Keyspace { .. }));
}

#[test]
fn a_server_that_is_not_there_is_waited_for_until_the_deadline() {
    let begun = Instant::now();
    // Nobody listens on the discard port of this address.
    let refused = refusal(Options {
        nodes: vec!["127.255.255.1:9".to_owned()],
        keyspace: "parlance".to_owned(),
        login: None,
        tls: None,
        datacenter: None,
        start_deadline: Duration::from_secs(1),
    });
    assert!(
        matches!(refused, StartError::Unreachable { .. }),
        "{refused}"
    );
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(500), "{took:?}");
}

#[test]
fn passwords_and_certificates_are_judged_at_the_start() {
    // Fails when another test was first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Cql::setup().password().tls().start();
    let (username, password) = server.credentials().unwrap();
    let login = |password: &str| Login {
        username: username.to_owned(),
        password: password.to_owned(),
    };
    let options = Options {
        login: Some(login(password)),
        tls: Some(Tls {
            ca_file: Some(server.ca_file()),
        }),
        ..options(&server, "guarded")
    };
    migrate(&options, &ONE).unwrap();
    let store = Scylla::connect(options.clone()).unwrap();
    let event = message(1, "over TLS");
    block_on(store.put_events(&room("tls"), &[event])).unwrap();
    drop(store);

    for login in [Some(login("wrong")), None] {
        let refused = refusal(Options {
            login,
            ..options.clone()
        });
        assert!(matches!(refused, StartError::Refused { .. }), "{refused}");
    }
    let unknown = Options {
        tls: Some(Tls { ca_file: None }),
        start_deadline: Duration::from_secs(1),
        ..options.clone()
    };
    let refused = refusal(unknown);
    let is_known = matches!(
        refused,
        StartError::Unreachable { .. } | StartError::Tls { .. }
    );
    assert!(is_known, "{refused}");
    let missing = Options {
        tls: Some(Tls {
            ca_file: Some("missing.pem".into()),
        }),
        ..options
    };
    let refused = refusal(missing);
    assert!(matches!(refused, StartError::Tls { .. }), "{refused}");
}

#[test]
fn two_migrations_at_once_make_the_tables_once() {
    let server = Cql::shared();
    let options = options(&server, &server.keyspace());
    let run = || {
        let options = options.clone();
        thread::spawn(move || migrate(&options, &ONE).unwrap())
    };
    let both = [run(), run()];
    let steps: Vec<_> = both.map(|run| run.join().unwrap()).concat();

    assert!(steps.len() >= 9, "{steps:?}");
    assert_eq!(migrate(&options, &ONE).unwrap(), []);
    drop(Scylla::connect(options).unwrap());
}

#[test]
fn an_event_above_the_servers_bound_is_refused_and_those_beside_it_are_not_lost() {
    // A mutation may have half a segment of the commit log.
    let server = Cql::setup().set("max_mutation_size", "64KiB").start();
    let store = Scylla::connect(migrated(&server, "refusals")).unwrap();
    let room = room("large");
    let large = message(2, &"x".repeat(70_000));

    let refused = block_on(store.put_events(&room, std::slice::from_ref(&large)));
    assert!(
        matches!(refused, Err(WriteError::Refused { .. })),
        "{refused:?}"
    );
    let others = [message(1, "one"), message(3, "three")];
    block_on(store.put_events(&room, &others)).unwrap();
    block_on(store.put_placeholder(&room, &large)).unwrap();

    let (first, last) = (others[0].entry.position.id, others[1].entry.position.id);
    let found = block_on(store.messages(&room, first, last)).unwrap();
    assert_eq!(found.len(), 3);
    assert_eq!(found[1].revisions.len(), 1);
}

#[test]
fn a_batch_that_is_refused_for_one_row_is_written_up_to_it() {
    // A value may have no more than this, unless a superuser writes it.
    let setup = Cql::setup().set("column_value_size_fail_threshold", "2KiB");
    let server = setup.password().start();
    server.query("CREATE ROLE parlance WITH PASSWORD = 'swordfish' AND LOGIN = true");
    let options = Options {
        login: Some(Login {
            username: "parlance".to_owned(),
            password: "swordfish".to_owned(),
        }),
        ..options(&server, "refusals")
    };
    migrate(&options, &ONE).unwrap();
    let store = Scylla::connect(options).unwrap();
    let room = room("batch");
    let mut events: Vec<_> = (1..=9).map(|n| message(n, "small")).collect();
    events[6] = message(7, &"x".repeat(3_000));

    let refused = block_on(store.put_events(&room, &events));

    assert!(
        matches!(refused, Err(WriteError::Refused { .. })),
        "{refused:?}"
    );
    let id = |n: usize| events[n].entry.position.id;
    let found = block_on(store.messages(&room, id(0), id(8)));
    assert_eq!(found.unwrap(), events[..6]);
}

#[test]
fn what_a_lost_table_refuses_is_in_doubt() {
    let server = Cql::shared();
    let keyspace = server.keyspace();
    let store = Scylla::connect(migrated(&server, &keyspace)).unwrap();
    server.define(&format!("DROP TABLE {keyspace}.messages"));

    let refused = block_on(store.put_events(&room("lost"), &[message(1, "one")]));

    assert!(
        matches!(refused, Err(WriteError::Unavailable(_))),
        "{refused:?}"
    );
}

/// Not a million empty partitions are read up to the end of the epoch.
#[test]
fn a_question_far_beyond_the_head_is_answered() {
    let server = Cql::shared();
    let store = Scylla::connect(migrated(&server, &server.keyspace())).unwrap();
    let room = room("far");
    let events = [message(9_999, "one"), message(10_000, "two")];
    block_on(store.put_events(&room, &events)).unwrap();
    let last = &events[1].entry;
    let head = EpochRow {
        epoch: 0,
        broke_at: None,
        head: last.position,
        t: last.t,
        ordinal: last.ordinal,
        count: last.ordinal,
    };
    block_on(store.put_epoch(&room, head)).unwrap();

    let end = Position::of(MessageId::of_epoch(0, MessageId::PER_EPOCH - 1).unwrap());
    let found = block_on(store.events(&room, Position::ZERO, end, 512));
    assert_eq!(found.unwrap(), events);
}

#[test]
fn cursors_make_members_of_both_sides() {
    let server = Cql::shared();
    let keyspace = server.keyspace();
    let store = Scylla::connect(migrated(&server, &keyspace)).unwrap();
    let (room, user) = (room("members"), UserId::new("ann").unwrap());
    for id in [1, 2] {
        let read = MessageId::new(id).unwrap();
        let delivered = read;
        let cursors = [(user.clone(), Cursor { delivered, read })];
        block_on(store.put_cursors(&room, &cursors)).unwrap();
    }

    let count = |table: &str| {
        server
            .query(&format!("SELECT * FROM {keyspace}.{table}"))
            .len()
    };
    assert_eq!((count("members"), count("memberships")), (1, 1));
}

#[test]
fn calls_may_be_awaited_anywhere() {
    let server = Cql::shared();
    let options = migrated(&server, &server.keyspace());
    let store = Scylla::connect(options.clone()).unwrap();
    // A runtime without timers.
    let bare = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    bare.block_on(async {
        let room = room("anywhere");
        store.put_events(&room, &[message(1, "one")]).await.unwrap();
        assert_eq!(store.epochs(&room).await, Ok(vec![]));
        assert_eq!(store.cursors(&room).await, Ok(vec![]));
        // Also dropped, made and refused there.
        drop(store);
        drop(Scylla::connect(options.clone()).unwrap());
        let keyspace = "nowhere".to_owned();
        refusal(Options {
            keyspace,
            ..options
        });
    });
}
