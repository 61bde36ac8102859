//! The admin listener.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::harness::{start, start_with_health};

#[tokio::test]
async fn a_live_and_ready_node_says_so() {
    let gateway = start(|_| {}).await;
    let live = gateway.ask_admin("GET /livez").await;
    assert_eq!((live.status, live.body.as_str()), (200, "ok\n"));
    let ready = gateway.ask_admin("GET /readyz").await;
    assert_eq!((ready.status, ready.body.as_str()), (200, "ready\n"));
    let verbose = gateway.ask_admin("GET /readyz?verbose").await;
    let checks = "backend: ok\ndraining: ok\nconnections: ok\npre_auth: ok\nready\n";
    assert_eq!((verbose.status, verbose.body.as_str()), (200, checks));
}

#[tokio::test]
async fn a_node_whose_backend_fails_is_alive_but_not_ready_until_it_works_again() {
    let broken = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&broken);
    let health = move || match asked.load(Ordering::Relaxed) {
        true => Err("the disk is full".to_owned()),
        false => Ok(()),
    };
    let gateway = start_with_health(|_| {}, health).await;
    let report = gateway.ask_admin("GET /readyz?verbose").await;
    assert_eq!(report.status, 503);
    assert!(
        report.body.starts_with("backend: the disk is full\n"),
        "{report:?}"
    );
    assert_eq!(gateway.ask_admin("GET /livez").await.status, 200);
    broken.store(false, Ordering::Relaxed);
    assert_eq!(gateway.ask_admin("GET /readyz").await.status, 200);
}

#[tokio::test]
async fn metrics_are_given_in_the_exposition_format() {
    let gateway = start(|_| {}).await;
    let metrics = gateway.ask_admin("GET /metrics").await;
    assert_eq!(
        (metrics.status, metrics.body.as_str()),
        (200, "parlance_test 1\n")
    );
    let kind = metrics.header("content-type").unwrap();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
}

#[tokio::test]
async fn other_paths_are_not_found_and_other_methods_not_allowed() {
    let gateway = start(|_| {}).await;
    for path in ["/", "/livez/", "/conversations/c1/"] {
        assert_eq!(
            gateway.ask_admin(&format!("GET {path}")).await.status,
            404,
            "{path}"
        );
    }
    let answer = gateway.ask_admin("POST /readyz").await;
    assert_eq!(
        (answer.status, answer.header("allow")),
        (405, Some("GET, HEAD"))
    );
    let large = format!("GET /livez?{}", "x".repeat(17_000));
    assert_eq!(gateway.ask_admin(&large).await.status, 431);
}
