//! The caps of the node and of a user.

use parlance_testkit::dial::HttpAnswer;
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::harness::{Gateway, soon, start};

fn assert_busy(answer: &HttpAnswer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=5).contains(&seconds), "{seconds}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}

/// Ready means that no cap is reached.
async fn wait_until_ready(gateway: &Gateway) {
    let ready = async { while gateway.ask_admin("GET /readyz").await.status != 200 {} };
    soon(ready).await;
}

async fn wait_until_not_ready(gateway: &Gateway) {
    let full = async { while gateway.ask_admin("GET /readyz").await.status == 200 {} };
    soon(full).await;
}

#[tokio::test]
async fn above_pre_auth_the_node_is_busy_until_one_of_them_has_gone() {
    let gateway = start(|config| config.limits.pre_auth = 1).await;
    let silent = TcpStream::connect(gateway.address()).await.unwrap();
    wait_until_not_ready(&gateway).await;
    assert_busy(&gateway.dial("u1", "c1").refused().await);
    assert_busy(
        &gateway
            .ask("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
            .await,
    );
    drop(silent);
    wait_until_ready(&gateway).await;
    assert!(gateway.dial("u1", "c1").open().await.is_ok());
}

#[tokio::test]
async fn members_do_not_count_as_pre_auth_but_as_connections_until_they_are_dropped() {
    let mut gateway = start(|config| {
        config.limits.pre_auth = 1;
        config.limits.connections = 2;
    })
    .await;
    let _first = gateway.dial("u1", "c1").connect().await;
    let member = gateway.member().await;
    let _second = gateway.dial("u2", "c1").connect().await;
    let _other = gateway.member().await;
    assert_busy(&gateway.dial("u3", "c1").refused().await);
    let report = gateway.ask_admin("GET /readyz?verbose").await;
    assert!(
        report
            .body
            .contains("connections: limits.connections is reached"),
        "{report:?}"
    );
    drop(member);
    let _third = gateway.dial("u3", "c1").connect().await;
}

#[tokio::test]
async fn a_user_over_its_cap_is_closed_with_4201_until_one_of_its_connections_ends() {
    let mut gateway = start(|config| config.limits.connections_per_user = 1).await;
    let _first = gateway.dial("u1", "c1").connect().await;
    let member = gateway.member().await;
    gateway
        .dial("u1", "c2")
        .connect()
        .await
        .expect_close(4201)
        .await;
    let _of_another_user = gateway.dial("u2", "c1").connect().await;
    let _member = gateway.member().await;
    drop(member);
    let _again = gateway.dial("u1", "c2").connect().await;
    assert_eq!(gateway.member().await.joiner.identity.user.as_str(), "u1");
}

#[tokio::test]
async fn a_refusal_reaches_a_peer_that_sends_much_more_than_it_should() {
    let gateway = start(|config| config.limits.pre_auth = 1).await;
    let _silent = TcpStream::connect(gateway.address()).await.unwrap();
    wait_until_not_ready(&gateway).await;
    let filler = "x".repeat(40_000);
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {filler}\r\n\r\n");
    assert_busy(&gateway.ask(&request).await);
    let mut late = TcpStream::connect(gateway.address()).await.unwrap();
    let mut answer = String::new();
    soon(late.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}
