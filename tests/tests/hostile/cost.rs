//! What hostile clients cost: memory, descriptors and series of metrics of the server.
//!
//! What is measured is the process from outside. How the allocator keeps memory is part of it, so
//! the bounds are generous; what they must catch is a buffer of an announced size, or one per peer.

use std::{
    fs,
    time::{Duration, Instant},
};

use parlance_testkit::{
    client::Client,
    dial::{DEADLINE, Dial, TokenPlace, exchange},
    report,
    server::Parlance,
};
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet, time::interval};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
/// What one peer may pin.
const PEER_BYTES: u64 = 64 * KIB;
/// What waits for a server's own doing looks again after this.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
/// As often the same number of descriptors is rest.
const LOOKS_ALIKE: usize = 20;
const HALF_REQUESTS: u64 = 200;
const CLAIMS: u64 = 100;
const CLAIMED_BYTES: u64 = 63 * MIB;
const AT_ONCE: usize = 10;
const ODD_REQUESTS: usize = 5_000;
/// After the twentieth `unknown_action` a connection is closed.
const ODD_ACTIONS_EACH: usize = 20;
const ODD_CONNECTIONS: usize = 250;

fn descriptors(server: &Parlance) -> usize {
    let open = fs::read_dir(format!("/proc/{}/fd", server.pid()));
    open.unwrap().count()
}

/// Waits for what the server does by itself.
async fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let give_up = Instant::now() + DEADLINE;
    let mut looks = interval(BETWEEN_LOOKS);
    while !is_so() {
        assert!(Instant::now() < give_up, "never: {what}");
        looks.tick().await;
    }
}

/// Memory and descriptors at a time of rest.
pub(crate) struct Resources {
    rss_bytes: u64,
    descriptors: usize,
}

impl Resources {
    pub(crate) fn of(server: &Parlance) -> Self {
        Self {
            rss_bytes: server.rss_bytes(),
            descriptors: descriptors(server),
        }
    }

    /// Waits until the server has no more than before, but for what an allocator may keep.
    pub(crate) async fn are_back(&self, server: &Parlance) {
        let most = self.rss_bytes + self.rss_bytes / 10 + 16 * MIB;
        wait_until("descriptors are back", || {
            descriptors(server) <= self.descriptors
        })
        .await;
        report(&format!(
            "RSS {} KiB before, {} KiB after, {} descriptors",
            self.rss_bytes / KIB,
            server.rss_bytes() / KIB,
            self.descriptors,
        ));
        wait_until("memory is back", || server.rss_bytes() <= most).await;
    }
}

/// So that what is made once for all connections has been made, and those of them have gone.
async fn warm(server: &Parlance) {
    for number in 0..20 {
        let mut client = server
            .dial("warm", &format!("warm-{number}"))
            .connect()
            .await;
        client.fence().await;
        client.close(1000).await;
    }
    let (mut last, mut alike) = (0, 0);
    let mut looks = interval(BETWEEN_LOOKS);
    while alike < LOOKS_ALIKE {
        looks.tick().await;
        let none = server.metric("parlance_connections") == 0.0;
        let now = descriptors(server);
        alike = if none && now == last { alike + 1 } else { 0 };
        last = now;
    }
}

fn judge_each(what: &str, before: u64, after: u64, peers: u64) {
    let each = after.saturating_sub(before) / peers;
    report(&format!("{what}: {each} B for each of {peers}"));
    assert!(each <= PEER_BYTES, "{what}: {each} bytes each");
}

#[tokio::test]
async fn peers_with_half_a_request_pin_little_and_leave_nothing() {
    let server = Parlance::start();
    warm(&server).await;
    let before = Resources::of(&server);
    let mut peers = vec![];
    for _ in 0..HALF_REQUESTS {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let half = format!("GET /conversations/x/ HTTP/1.1\r\nX: {}", "y".repeat(4_000));
        stream.write_all(half.as_bytes()).await.unwrap();
        peers.push(stream);
    }
    let all = before.descriptors + peers.len();
    wait_until("all are accepted", || descriptors(&server) >= all).await;
    let mut later = server.dial("x", "later").connect().await;
    later.fence().await;
    assert!(descriptors(&server) > all, "some were cut too early");
    judge_each(
        "half requests",
        before.rss_bytes,
        server.rss_bytes(),
        HALF_REQUESTS,
    );
    drop(peers);
    later.close(1000).await;
    before.are_back(&server).await;
}

/// A frame's header that promises more than it may, and the begin of its payload.
fn claim() -> Vec<u8> {
    let mut bytes = vec![0x81, 0xff];
    bytes.extend(CLAIMED_BYTES.to_be_bytes());
    bytes.extend([0; 4 + 1_000]);
    bytes
}

async fn members(server: &Parlance, count: u64) -> Vec<Client> {
    let mut members = vec![];
    for number in 0..count {
        let dial = server.dial(&format!("claim-{number}"), &format!("claim-{number}"));
        let mut client = dial.connect().await;
        client.set_polite(false);
        client.fence().await;
        members.push(client);
    }
    members
}

#[tokio::test]
async fn peers_that_claim_huge_frames_pin_little_and_leave_nothing() {
    let server = Parlance::start();
    warm(&server).await;
    let before = Resources::of(&server);
    let mut clients = members(&server, CLAIMS).await;
    judge_each("members", before.rss_bytes, server.rss_bytes(), CLAIMS);
    for client in &clients {
        client.send_bytes(&claim()).await;
    }
    for client in &mut clients {
        client.expect_close(1009).await;
    }
    judge_each("claims", before.rss_bytes, server.rss_bytes(), CLAIMS);
    drop(clients);
    before.are_back(&server).await;
}

/// The names, with labels, of all lines of the page of metrics.
async fn series(server: &Parlance) -> Vec<String> {
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let (_, answer) = exchange(server.admin_address(), request).await;
    assert_eq!(answer.status, 200);
    let lines = answer.body.lines().filter(|line| !line.starts_with('#'));
    let named = lines.filter_map(|line| line.rsplit_once(' '));
    named.map(|(name, _)| name.to_owned()).collect()
}

/// A request that no other is like.
async fn odd_request(server: &Parlance, number: usize) {
    let methods = ["GET", "POST", "BREW", "TRACE"];
    let method = methods[number % methods.len()];
    let text = format!(
        "{method} /odd-{number}/{number} HTTP/1.1\r\nHost: odd-{number}\r\nX-{number}: {number}\r\n\
         Origin: https://odd-{number}.example\r\nUser-Agent: odd-{number}\r\n\r\n"
    );
    let (_, answer) = exchange(server.address(), text.as_bytes()).await;
    assert!((400..500).contains(&answer.status), "{answer:?}");
}

/// Actions, a user, a conversation and a close code that no other has.
async fn odd_actions(server: &Parlance, number: usize) {
    let bad = Dial::new(server.address(), &format!("odd-{number}"));
    let bad = bad.token(&format!("odd-{number}"), TokenPlace::Query);
    bad.connect().await.expect_close(4003).await;
    let dial = server.dial(&format!("odd-{number}"), &format!("odd-{number}"));
    let mut client = dial.query(&format!("v={number}")).connect().await;
    for action in 0..ODD_ACTIONS_EACH {
        let name = format!("odd_{number}_{action}");
        client
            .send(json!({"action": name, "request_id": name}))
            .await;
    }
    client.expect_close(4400).await;
    let code = 3_000 + u16::try_from(number % 2_000).unwrap();
    let dial = server.dial(&format!("odd-{number}"), &format!("odd-{number}"));
    dial.connect().await.close(code).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_requests_and_actions_make_no_series_of_metrics() {
    let server = std::sync::Arc::new(Parlance::start());
    // One of each kind first: a series begins when its thing happens first.
    for number in 0..4 {
        odd_request(&server, number).await;
    }
    odd_actions(&server, 0).await;
    warm(&server).await;
    let before = series(&server).await;
    let resources = Resources::of(&server);
    let mut running = JoinSet::new();
    for worker in 0..AT_ONCE {
        let server = server.clone();
        running.spawn(async move {
            for number in (worker..ODD_REQUESTS).step_by(AT_ONCE) {
                odd_request(&server, number).await;
            }
            for number in (worker..ODD_CONNECTIONS).step_by(AT_ONCE) {
                odd_actions(&server, number + 1).await;
            }
        });
    }
    running.join_all().await;
    let after = series(&server).await;
    report(&format!("{} series of metrics", after.len()));
    let new: Vec<_> = after.iter().filter(|name| !before.contains(name)).collect();
    assert!(new.is_empty(), "new series: {new:#?}");
    resources.are_back(&server).await;
}
