//! The CQL servers of the test kit do what other tests believe of them.

use std::{sync::Arc, time::Duration};

use parlance_testkit::cql::{Cql, wire::Consistency};

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
    let all = ring.connection(1).try_query(&select, Consistency::All);
    assert_eq!(all.unwrap().unwrap(), [[kept()]]);
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
