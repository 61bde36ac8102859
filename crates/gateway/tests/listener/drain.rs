//! How a node leaves.

use std::{
    sync::{Mutex, mpsc},
    time::{Duration, Instant},
};

use parlance_gateway::Drained;
use parlance_protocol::CloseCode;
use parlance_testkit::dial::{Dial, exchange};
use tokio::sync::oneshot;

use crate::harness::{Told, never, soon, start, start_with_leave, told};

#[tokio::test]
async fn without_members_a_node_leaves_at_once_even_with_half_open_connections() {
    let gateway = start(|_| {}).await;
    let _silent = tokio::net::TcpStream::connect(gateway.address())
        .await
        .unwrap();
    let begin = Instant::now();
    let (leaving, mut inbox) = gateway.drain(never());
    assert_eq!(told(&mut inbox).await, Told::Stop);
    drop(inbox);
    assert_eq!(soon(leaving).await.unwrap(), Drained { cut: 0 });
    assert!(begin.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn members_are_asked_then_closed_in_ever_greater_parts_and_the_shards_end_last() {
    let mut gateway = start(|config| config.drain.window = Duration::from_millis(400)).await;
    let _client = gateway.dial("u1", "c1").connect().await;
    let member = gateway.member().await;
    let (leaving, mut inbox) = gateway.drain(never());
    assert_eq!(told(&mut inbox).await, Told::Drain { within_ms: 200 });
    for one_in in (1..=4).rev() {
        let Told::ClosePart {
            one_in: part,
            code,
            reason,
        } = told(&mut inbox).await
        else {
            panic!("expected a part to be closed");
        };
        assert_eq!((part.get(), code), (one_in, CloseCode::NodeLeaving));
        assert!(reason.starts_with("{\"retry_after_ms\":"), "{reason}");
    }
    drop(member);
    assert_eq!(told(&mut inbox).await, Told::Stop);
    drop(inbox);
    assert_eq!(soon(leaving).await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn when_the_last_member_has_left_nobody_waits_for_the_window() {
    let mut gateway = start(|_| {}).await;
    let _client = gateway.dial("u1", "c1").connect().await;
    let member = gateway.member().await;
    let (leaving, mut inbox) = gateway.drain(never());
    assert!(matches!(told(&mut inbox).await, Told::Drain { .. }));
    drop(member);
    assert_eq!(told(&mut inbox).await, Told::Stop);
    drop(inbox);
    soon(leaving).await.unwrap();
}

#[tokio::test]
async fn whoever_does_not_end_within_the_grace_is_cut_and_counted() {
    let mut gateway = start(|config| {
        config.drain.window = Duration::ZERO;
        config.drain.grace = Duration::from_millis(100);
    })
    .await;
    let _client = gateway.dial("u1", "c1").connect().await;
    let _member = gateway.member().await;
    let (leaving, mut inbox) = gateway.drain(never());
    assert_eq!(told(&mut inbox).await, Told::Drain { within_ms: 0 });
    assert!(matches!(told(&mut inbox).await, Told::ClosePart { one_in, .. } if one_in.get() == 1));
    assert_eq!(told(&mut inbox).await, Told::Stop);
    drop(inbox);
    assert_eq!(soon(leaving).await.unwrap(), Drained { cut: 1 });
}

#[tokio::test]
async fn a_second_signal_ends_the_drain_at_once() {
    let mut gateway = start(|_| {}).await;
    let _client = gateway.dial("u1", "c1").connect().await;
    let _member = gateway.member().await;
    let (signal, at_once) = oneshot::channel::<()>();
    let (leaving, mut inbox) = gateway.drain(async {
        let _ = at_once.await;
    });
    assert!(matches!(told(&mut inbox).await, Told::Drain { .. }));
    signal.send(()).unwrap();
    assert_eq!(told(&mut inbox).await, Told::Stop);
    drop(inbox);
    assert_eq!(soon(leaving).await.unwrap(), Drained { cut: 1 });
}

#[tokio::test]
async fn a_leaving_node_is_not_ready_and_lets_nobody_in() {
    let mut gateway = start(|_| {}).await;
    let _client = gateway.dial("u1", "c1").connect().await;
    let member = gateway.member().await;
    let (public, admin) = (gateway.address(), gateway.running.admin_addr());
    let (leaving, mut inbox) = gateway.drain(never());
    assert!(matches!(told(&mut inbox).await, Told::Drain { .. }));
    let refused = Dial::new(public, "c1").refused().await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    let request = b"GET /readyz?verbose HTTP/1.1\r\nHost: a\r\n\r\n";
    let (_stream, report) = exchange(admin, request).await;
    assert_eq!(report.status, 503);
    assert!(
        report.body.contains("draining: this node is leaving\n"),
        "{report:?}"
    );
    drop(member);
    assert_eq!(told(&mut inbox).await, Told::Stop);
    drop(inbox);
    soon(leaving).await.unwrap();
    assert!(tokio::net::TcpStream::connect(public).await.is_err());
}

#[tokio::test]
async fn other_nodes_are_told_once_the_shards_have_ended_and_before_the_node_has() {
    let (left, has_left) = mpsc::channel();
    let gateway = start_with_leave(move || left.send(()).unwrap()).await;
    let (leaving, mut inbox) = gateway.drain(never());
    assert_eq!(told(&mut inbox).await, Told::Stop);
    assert_eq!(has_left.try_recv(), Err(mpsc::TryRecvError::Empty));
    drop(inbox);
    soon(leaving).await.unwrap();
    assert_eq!(has_left.try_recv(), Ok(()));
}

#[tokio::test]
async fn a_goodbye_that_nobody_answers_does_not_keep_the_node() {
    let (answer, never_comes) = mpsc::channel::<()>();
    let never_comes = Mutex::new(never_comes);
    let gateway = start_with_leave(move || {
        let _ = never_comes.lock().unwrap().recv();
    })
    .await;
    let (leaving, inbox) = gateway.drain(never());
    drop(inbox);
    soon(leaving).await.unwrap();
    drop(answer);
}
