//! Hostile clients: named cases as tables, on the real server, beside a pair that must not notice.
//!
//! Each case is what is sent and the one answer that the protocol allows; those that take their
//! time run beside them. Floods and costs have tests of their own, since they need a server of
//! their own. `HOSTILE_CASE=part of a name` runs some cases.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod after;
mod before;
mod cost;
mod floods;
mod paced;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use parlance_testkit::{dial::exchange, report, server::Parlance};
use tokio::{sync::Semaphore, task::JoinSet};

/// How many cases run at a time.
const AT_ONCE: usize = 16;
const LEAST_CASES: usize = 250;

/// What is sent.
enum Sent {
    /// Instead of a proper upgrade.
    Request(Vec<u8>),
    /// With this token in an upgrade.
    Token(String),
    /// By a member.
    Bytes(Vec<u8>),
}

/// The required answer.
#[derive(Clone, Copy)]
enum Answer {
    Status(u16),
    Close(u16),
    /// Refused with this code; the connection lives.
    Refused(&'static str),
    /// Nothing is refused, and the connection lives.
    Lives,
}

struct Case {
    name: String,
    sent: Sent,
    answer: Answer,
}

impl Case {
    fn new(name: impl Into<String>, sent: Sent, answer: Answer) -> Self {
        let name = name.into();
        Self { name, sent, answer }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hostile_client_gets_its_answer_and_a_healthy_pair_does_not_notice() {
    let setup = Parlance::setup().set("origins", "https://chat.example");
    let setup = setup.set("limits.user_actions_per_second", "0");
    let setup = setup.set("limits.actions_per_second", "0");
    let server = setup.set("limits.connections_per_user", "0").start();
    let server = Arc::new(server);
    let mut cases = before::cases(&server);
    cases.extend(after::cases());
    let count = cases.len();
    report(&format!("{count} hostile cases"));
    assert!(count >= LEAST_CASES, "{count} cases");
    let part = std::env::var("HOSTILE_CASE").unwrap_or_default();
    cases.retain(|case| case.name.contains(&part));

    let resources = cost::Resources::of(&server);
    let over = Arc::new(AtomicBool::new(false));
    let pair = tokio::spawn(talk(server.clone(), over.clone()));
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for (number, case) in cases.into_iter().enumerate() {
        let (server, turns) = (server.clone(), turns.clone());
        running.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            let name = case.name.clone();
            let done = tokio::spawn(async move { run(&server, number, case).await });
            done.await.is_err().then_some(name)
        });
    }
    let paced = paced::cases(&server).into_iter();
    for (name, case) in paced.filter(|(name, _)| name.contains(&part)) {
        running.spawn(async move {
            let done = tokio::spawn(case);
            done.await.is_err().then(|| format!("paced: {name}"))
        });
    }
    let ended = running.join_all().await;
    let wrong: Vec<String> = ended.into_iter().flatten().collect();
    over.store(true, Ordering::SeqCst);
    let said = pair.await.unwrap();
    assert!(said > 0, "the healthy pair said nothing");
    if part.is_empty() && wrong.is_empty() {
        resources.are_back(&server).await;
    }
    assert!(wrong.is_empty(), "answered wrongly: {wrong:#?}");
}

/// Two clients that talk until it is over. Every message is acknowledged, and told in order.
async fn talk(server: Arc<Parlance>, over: Arc<AtomicBool>) -> usize {
    let mut ann = server.dial("healthy", "healthy-ann").connect().await;
    let mut bob = server.dial("healthy", "healthy-bob").connect().await;
    bob.fence().await;
    let mut said = 0;
    let mut rate = tokio::time::interval(std::time::Duration::from_millis(60));
    while !over.load(Ordering::SeqCst) {
        rate.tick().await;
        let local_id = said.to_string();
        ann.say(&local_id, &local_id).await;
        let told = bob.expect("chat_message").await;
        assert_eq!(told["message"]["content"], *local_id);
        said += 1;
    }
    said
}

async fn run(server: &Parlance, number: usize, case: Case) {
    let (room, user) = (format!("hostile-{number}"), format!("user-{number}"));
    let mut client = match case.sent {
        Sent::Request(bytes) => {
            let (stream, answer) = exchange(server.address(), &bytes).await;
            if let Answer::Status(status) = case.answer {
                return assert_eq!(answer.status, status, "{}", case.name);
            }
            assert_eq!(answer.status, 101, "{}", case.name);
            parlance_testkit::client::Client::over(stream)
        }
        Sent::Token(token) => {
            let dial = parlance_testkit::dial::Dial::new(server.address(), &room);
            let place = parlance_testkit::dial::TokenPlace::Query;
            dial.token(&token, place).connect().await
        }
        Sent::Bytes(bytes) => {
            let mut client = server.dial(&room, &user).connect().await;
            client.fence().await;
            client.send_bytes(&bytes).await;
            client
        }
    };
    match case.answer {
        Answer::Status(status) => panic!("{}: upgraded, not {status}", case.name),
        Answer::Close(code) => {
            client.expect_close(code).await;
            client.expect_end().await;
        }
        Answer::Refused(code) => {
            let refused = |frame: &serde_json::Value| frame["code"].is_string();
            let frame = client.expect_where("a refusal", refused).await;
            assert_eq!(frame["code"], code, "{}: {frame}", case.name);
            client.fence().await;
        }
        Answer::Lives => {
            let frames = client.fence().await;
            let refused = frames.iter().find(|frame| frame["code"].is_string());
            assert!(refused.is_none(), "{}: {refused:?}", case.name);
        }
    }
}
