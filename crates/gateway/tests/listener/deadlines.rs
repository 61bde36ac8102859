//! Peers that take their time.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use parlance_testkit::dial::DEADLINE;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{Gateway, soon, start};

const SHORT: Duration = Duration::from_millis(200);

/// With time for the head, so that it is the upgrade's deadline that is seen.
async fn gateway_in_a_hurry() -> Gateway {
    start(|config| {
        config.deadlines.header = 10 * DEADLINE;
        config.deadlines.upgrade = SHORT;
        config.deadlines.linger = SHORT;
    })
    .await
}

/// Sends `bytes` and waits for the end of the stream; a reset is one, too.
async fn time_until_cut(address: SocketAddr, bytes: &[u8]) -> Duration {
    let begin = Instant::now();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut rest = Vec::new();
    let _ = soon(stream.read_to_end(&mut rest)).await;
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    begin.elapsed()
}

#[tokio::test]
async fn a_connection_that_does_not_finish_its_upgrade_in_time_is_cut() {
    let gateway = gateway_in_a_hurry().await;
    for bytes in [
        &b""[..],
        b"G",
        b"GET /conversations/c1/ HTTP/1.1\r\nHost: a\r\nX",
    ] {
        assert!(time_until_cut(gateway.address(), bytes).await >= SHORT);
    }
}

#[tokio::test]
async fn a_byte_now_and_then_does_not_buy_time() {
    let gateway = gateway_in_a_hurry().await;
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    let drip = async {
        let mut ticks = tokio::time::interval(SHORT / 10);
        while stream.write_all(b"G").await.is_ok() {
            ticks.tick().await;
        }
    };
    soon(drip).await;
}

#[tokio::test]
async fn a_refused_peer_that_keeps_sending_is_cut() {
    let gateway = gateway_in_a_hurry().await;
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let chatter = async {
        let mut ticks = tokio::time::interval(SHORT / 10);
        while stream.write_all(b"more").await.is_ok() {
            ticks.tick().await;
        }
    };
    soon(chatter).await;
}

#[tokio::test]
async fn a_refused_peer_reads_the_whole_answer_and_an_orderly_end() {
    let gateway = start(|_| {}).await;
    let large = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    let body = "x".repeat(40_000);
    let unread = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40000\r\n\r\n{body}");
    for (request, status) in [(large, "431"), (unread, "404")] {
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer)).await.unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn an_admin_connection_that_asks_nothing_is_cut() {
    let gateway = start(|config| config.deadlines.header = SHORT).await;
    let admin = gateway.running.admin_addr();
    for bytes in [&b""[..], b"GET /livez HTTP/1.1\r\nHost: a\r\nX"] {
        assert!(time_until_cut(admin, bytes).await >= SHORT);
    }
}
