//! The CQL servers of the test kit do what other tests believe of them.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::process::ExitStatusExt,
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parlance_testkit::cql::{Cql, wire::Consistency};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/cql/server.py");

const SHORT: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(20);

/// Makes a table in a keyspace of its own; returns its name.
fn table(cql: &Cql) -> String {
    let table = format!("{}.notes", cql.keyspace());
    cql.define(&format!(
        "CREATE TABLE {table} (id text PRIMARY KEY, note text)"
    ));
    table
}

fn insert(table: &str, id: &str) -> String {
    format!("INSERT INTO {table} (id, note) VALUES ('{id}', 'kept')")
}

fn note(cql: &Cql, node: usize, table: &str, id: &str) -> Option<String> {
    let select = format!("SELECT note FROM {table} WHERE id = '{id}'");
    let rows = cql.connection(node).query(&select);
    rows.into_iter().next().and_then(|mut row| row.remove(0))
}

fn kept() -> Option<String> {
    Some("kept".to_owned())
}

#[test]
fn what_was_acknowledged_survives_a_kill_and_a_paused_node_is_silent() {
    let mut cql = Cql::setup().start();
    let table = table(&cql);
    let mut connection = cql.connection(0);
    for id in 0..100 {
        connection.query(&insert(&table, &id.to_string()));
    }
    let (points, pid) = (cql.contact_points(), cql.pid(0));
    cql.kill(0);
    assert!(!cql.answers(0, SHORT));
    cql.restart(0);
    assert_eq!(cql.contact_points(), points);
    assert_ne!(cql.pid(0), pid, "another life");
    for id in 0..100 {
        assert_eq!(note(&cql, 0, &table, &id.to_string()), kept());
    }
    cql.pause(0);
    assert!(!cql.answers(0, SHORT), "it answered while paused");
    cql.resume(0);
    assert!(cql.answers(0, LONG));
    cql.stop(0);
    assert!(!cql.is_running(0));
}

#[test]
fn a_ring_of_three_serves_a_quorum_without_one_node() {
    let mut ring = Cql::ring(3);
    let table = table(&ring);
    ring.connection(1).query(&insert(&table, "before"));
    ring.kill(1);
    for node in [0, 2] {
        assert_eq!(note(&ring, node, &table, "before"), kept());
        let id = format!("through {node}");
        ring.connection(node).query(&insert(&table, &id));
    }
    ring.restart(1);
    let select = format!("SELECT note FROM {table} WHERE id = 'through 2'");
    let read = |ring: &Cql, node: usize, consistency| {
        let answer = ring.connection(node).try_query(&select, consistency);
        answer.unwrap()
    };
    assert_eq!(read(&ring, 1, Consistency::All).unwrap(), [[kept()]]);
    ring.pause(2);
    assert!(read(&ring, 0, Consistency::All).is_err());
    assert_eq!(read(&ring, 0, Consistency::Quorum).unwrap(), [[kept()]]);
    ring.resume(2);
    ring.wait_until_joined();
    assert_eq!(read(&ring, 0, Consistency::All).unwrap(), [[kept()]]);
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let setup = Cql::setup().set("no_such_setting", "1");
    let failed = catch_unwind(AssertUnwindSafe(|| setup.start()));
    let words = failed.unwrap_err().downcast::<String>().unwrap();
    assert!(words.contains("no_such_setting"), "{words}");
}

#[test]
fn tests_of_a_process_share_one_server_and_have_keyspaces_of_their_own() {
    let (one, other) = (Cql::shared(), Cql::shared());
    assert!(Arc::ptr_eq(&one, &other));
    assert_ne!(one.keyspace(), other.keyspace());
    let mut connection = one.connection(0);
    let refusal = connection.try_query("NONSENSE", Consistency::One);
    assert_eq!(refusal.unwrap().unwrap_err().code, 0x2000, "a wrong syntax");
}

#[test]
fn rows_are_read_whatever_types_their_columns_have() {
    let cql = Cql::shared();
    let keyspace = cql.keyspace();
    cql.define(&format!("CREATE TYPE {keyspace}.pair (a int, b text)"));
    cql.define(&format!(
        "CREATE TABLE {keyspace}.t (id text PRIMARY KEY, number int, note text, \
         many map<text, frozen<tuple<int, list<text>>>>, two frozen<pair>, some set<text>)"
    ));
    cql.query(&format!(
        "INSERT INTO {keyspace}.t (id, number, note) VALUES ('a', 7, 'kept')"
    ));
    let select = "SELECT many, two, some, CAST(number AS text), note";
    let rows = cql.query(&format!("{select} FROM {keyspace}.t"));
    let number = Some("7".to_owned());
    assert_eq!(rows, [[None, None, None, number, kept()]]);
}

#[test]
fn a_server_that_somebody_else_runs_is_used_but_not_killed() {
    let shared = Cql::shared();
    let mut theirs = Cql::at(&shared.contact_points().join(","));
    let table = table(&theirs);
    theirs.query(&insert(&table, "a"));
    assert_eq!(note(&shared, 0, &table, "a"), kept());
    let killed = catch_unwind(AssertUnwindSafe(|| theirs.kill(0)));
    let words = killed.unwrap_err().downcast::<String>().unwrap();
    assert!(words.contains("PARLANCE_CQL_NODES"), "{words}");
    drop(theirs);
    assert!(shared.answers(0, LONG));
}

/// What the server answers to a start of the protocol over TLS: `0x03` asks for a password.
fn start_over_tls(cql: &Cql, roots: RootCertStore) -> io::Result<u8> {
    let point = cql.contact_points().remove(0);
    let host = point
        .rsplit_once(':')
        .expect("a host and a port")
        .0
        .to_owned();
    // Fails when another test was first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host).expect("an address is a name");
    let session = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(session, TcpStream::connect(point)?);
    let options = b"\0\x01\0\x0bCQL_VERSION\0\x053.0.0";
    let length = u8::try_from(options.len()).expect("they are short");
    stream.write_all(&[4, 0, 0, 0, 1, 0, 0, 0, length])?;
    stream.write_all(options)?;
    let mut header = [0; 9];
    stream.read_exact(&mut header)?;
    Ok(header[4])
}

#[test]
fn a_setup_asks_for_passwords_speaks_tls_and_bounds_mutations() {
    let setup = Cql::setup().password().tls();
    let cql = setup.set("commitlog_segment_size", "1MiB").start();
    assert_eq!(cql.credentials(), Some(("cassandra", "cassandra")));

    let ca = CertificateDer::from_pem_file(cql.ca_file()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(ca).unwrap();
    assert_eq!(start_over_tls(&cql, roots).unwrap(), 0x03);
    let stranger = start_over_tls(&cql, RootCertStore::empty());
    assert!(stranger.is_err(), "an unknown authority is not trusted");

    let table = table(&cql);
    let mut connection = cql.connection(0);
    let mut insert = |size: usize| {
        let long = "x".repeat(size);
        let insert = format!("INSERT INTO {table} (id, note) VALUES ('a', '{long}')");
        connection.try_query(&insert, Consistency::Quorum).unwrap()
    };
    assert_eq!(insert(500 << 10), Ok(vec![]));
    assert!(insert(513 << 10).is_err(), "more than half a segment");
}

#[test]
fn a_node_ends_with_whoever_holds_its_stdin() {
    let _fetched = Cql::shared();
    let dir = tempfile::tempdir().unwrap();
    let mut node = Command::new("python3")
        .args([SCRIPT, "run", "--until-stdin-ends"])
        .args(["--addresses=127.0.0.1", "--port=1", "--storage-port=2"])
        .arg("--dir")
        .arg(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Its first word of the log: it is Java.
    node.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    drop(node.stdin.take());
    let give_up = Instant::now() + LONG;
    let status = loop {
        if let Some(status) = node.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > give_up {
            node.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(10));
    };
    assert!(Instant::now() < give_up, "it went on");
    assert_eq!(status.signal(), Some(9));
}
