//! How a node leaves.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use parlance_core::{
    peers::{Grant, Load, Peers, Standing, Taking, View},
    ports::Unavailable,
};
use parlance_gateway::{Drained, handover::Census};
use parlance_protocol::ReconnectReason;
use parlance_testkit::dial::{DEADLINE, Dial, exchange};
use tokio::sync::oneshot;

use crate::harness::{
    Told, never, soon, start, start_with_leave, start_with_peers, told, told_with,
};

#[tokio::test]
async fn without_members_a_node_leaves_at_once_even_with_half_open_connections() {
    // Nothing else would end it before it is given up.
    let gateway = start(|config| {
        config.drain.window = 10 * DEADLINE;
        config.deadlines.header = 10 * DEADLINE;
        config.deadlines.upgrade = 10 * DEADLINE;
    })
    .await;
    let _silent = tokio::net::TcpStream::connect(gateway.address())
        .await
        .unwrap();
    let (leaving, mut inbox) = gateway.drain(never());
    assert_eq!(told(&mut inbox).await, Told::Stop);
    drop(inbox);
    assert_eq!(soon(leaving).await.unwrap(), Drained { cut: 0 });
}

/// A budget that gives out of a hand.
struct Hand {
    gives: Mutex<VecDeque<Result<Grant, Unavailable>>>,
    wanted: mpsc::Sender<u32>,
    told: Mutex<Vec<Load>>,
}

impl Peers for Hand {
    fn tell(&self, load: Load) {
        self.told.lock().unwrap().push(load);
    }

    fn view(&self) -> Option<View> {
        None
    }

    fn take(&self, wanted: u32) -> Taking<'_> {
        self.wanted.send(wanted).unwrap();
        let next = self.gives.lock().unwrap().pop_front();
        Box::pin(async move {
            match next {
                Some(given) => given,
                None => pending().await,
            }
        })
    }
}

fn granted(members: u32) -> Result<Grant, Unavailable> {
    let per_second = 100;
    Ok(Grant {
        members,
        per_second,
    })
}

const HERE: Census = Census {
    askable: 5,
    waiting: 2,
    closable: 3,
};

#[tokio::test]
async fn as_many_go_as_the_others_take_and_the_extended_layer_first() {
    let (wanted, was_wanted) = mpsc::channel();
    let hand = Arc::new(Hand {
        gives: Mutex::new([granted(4), granted(0), granted(7)].into()),
        wanted,
        told: Mutex::default(),
    });
    let mut gateway = start_with_peers(|_| {}, hand.clone()).await;
    let _client = gateway.dial("u1", "c1").connect().await;
    let member = gateway.member().await;
    let (leaving, mut inbox) = gateway.drain(never());
    for (ask, close) in [(4, 0), (5, 2)] {
        let Told::SendAway(away) = told_with(&mut inbox, HERE).await else {
            panic!("expected members to be sent away");
        };
        assert_eq!((away.ask, away.close), (ask, close));
        assert_eq!(away.terms.reason, ReconnectReason::Drain);
        assert_eq!(away.terms.patience_ms, 5_000);
    }
    drop(member);
    assert_eq!(told(&mut inbox).await, Told::Stop);
    drop(inbox);
    soon(leaving).await.unwrap();
    let all_wanted: Vec<u32> = was_wanted.try_iter().collect();
    assert!(
        all_wanted.iter().all(|wanted| *wanted == 8),
        "{all_wanted:?}"
    );
    let last = *hand.told.lock().unwrap().last().unwrap();
    assert_eq!(last.standing, Standing::Leaving);
}

#[tokio::test]
async fn a_budget_that_cannot_be_asked_leaves_the_pace_to_the_window() {
    let (wanted, _was_wanted) = mpsc::channel();
    let alone = Grant {
        members: 0,
        per_second: 0,
    };
    let away = Err(Unavailable::new("Redis is away"));
    let hand = Arc::new(Hand {
        gives: Mutex::new([Ok(alone), away].into()),
        wanted,
        told: Mutex::default(),
    });
    let mut gateway = start_with_peers(|_| {}, hand).await;
    let _client = gateway.dial("u1", "c1").connect().await;
    let member = gateway.member().await;
    let (leaving, mut inbox) = gateway.drain(never());
    for _ in 0..3 {
        let Told::SendAway(away) = told_with(&mut inbox, HERE).await else {
            panic!("expected members to be sent away");
        };
        assert!(away.ask > 0 && away.close == 0, "{away:?}");
    }
    drop(member);
    assert_eq!(told(&mut inbox).await, Told::Stop);
    drop(inbox);
    soon(leaving).await.unwrap();
}

#[tokio::test]
async fn without_others_members_are_asked_then_closed_and_at_the_end_of_the_window_all_are() {
    // So few need two seconds of it; a machine that stands still needs more.
    let window = Duration::from_secs(15);
    let mut gateway = start(|config| config.drain.window = window).await;
    let _client = gateway.dial("u1", "c1").connect().await;
    let member = gateway.member().await;
    let (leaving, mut inbox) = gateway.drain(never());
    let mut here = HERE;
    let (mut asked, mut closed) = (0, 0);
    loop {
        match told_with(&mut inbox, here).await {
            Told::SendAway(away) => {
                assert!(
                    away.close == 0 || here.askable == 0,
                    "closed too early: {away:?}"
                );
                here.askable -= away.ask;
                here.closable -= away.close;
                asked += away.ask;
                closed += away.close;
            }
            Told::CloseAll => break,
            Told::Stop => panic!("ended before all were closed"),
        }
    }
    assert_eq!((asked, closed), (HERE.askable, HERE.closable));
    drop(member);
    assert_eq!(told(&mut inbox).await, Told::Stop);
    drop(inbox);
    assert_eq!(soon(leaving).await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn when_the_last_member_has_left_nobody_waits_for_the_window() {
    let mut gateway = start(|config| config.drain.window = 10 * DEADLINE).await;
    let _client = gateway.dial("u1", "c1").connect().await;
    let member = gateway.member().await;
    let (leaving, mut inbox) = gateway.drain(never());
    assert!(matches!(
        told_with(&mut inbox, HERE).await,
        Told::SendAway(_)
    ));
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
    assert_eq!(told(&mut inbox).await, Told::CloseAll);
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
    assert!(matches!(
        told_with(&mut inbox, HERE).await,
        Told::SendAway(_)
    ));
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
    assert!(matches!(
        told_with(&mut inbox, HERE).await,
        Told::SendAway(_)
    ));
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
