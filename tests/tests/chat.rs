//! `parlance chat` without a terminal: lines in, lines out, against the real server.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::process::Stdio;

use parlance_testkit::{
    dial::DEADLINE,
    relay::{Framing, Relay},
    server::{Parlance, binary},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// A running `parlance chat`; killed when dropped.
struct Chat {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    seen: Vec<String>,
}

impl Chat {
    fn start(server: &Parlance, url: &str, room: &str, user: &str) -> Self {
        let mut child = Command::new(binary())
            .args(["chat", room, "--sub", user, "--url", url])
            .env_remove("PARLANCE_BIN")
            .env_remove("PARLANCE_FULL")
            .env("PARLANCE_AUTH__HMAC_SECRET", server.secret())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
            seen: Vec::new(),
        }
    }

    async fn enter(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin
            .write_all(format!("{line}\n").as_bytes())
            .await
            .unwrap();
    }

    /// The next line that holds `part`.
    async fn expect(&mut self, part: &str) -> String {
        let found = timeout(DEADLINE, async {
            while let Some(line) = self.stdout.next_line().await.unwrap() {
                self.seen.push(line.clone());
                if line.contains(part) {
                    return Some(line);
                }
            }
            None
        });
        match found.await {
            Ok(Some(line)) => line,
            Ok(None) => panic!("ended before {part:?}: {:#?}", self.seen),
            Err(_) => panic!("waited for {part:?}: {:#?}", self.seen),
        }
    }

    /// Ends the input and waits for the end; the exit code.
    async fn finish(mut self) -> i32 {
        drop(self.stdin.take());
        let status = timeout(DEADLINE, self.child.wait()).await.unwrap();
        status.unwrap().code().unwrap()
    }
}

fn url(address: std::net::SocketAddr) -> String {
    format!("ws://{address}")
}

/// The contents of a room's messages, oldest first.
async fn contents(server: &Parlance, room: &str) -> Vec<String> {
    let mut client = server.dial(room, "checker").connect().await;
    client
        .send(json!({"action": "fetch_messages", "limit": 100}))
        .await;
    let page = client.expect("messages_fetched").await;
    let content = |row: &Value| row["content"].as_str().unwrap().to_owned();
    page["messages"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(content)
        .collect()
}

#[tokio::test]
async fn two_people_see_what_the_other_says_changes_and_reads() {
    let server = Parlance::start();
    let url = url(server.address());
    let mut ann = Chat::start(&server, &url, "lobby", "ann");
    ann.expect("you are ann in lobby").await;
    let mut bob = Chat::start(&server, &url, "lobby", "bob");
    ann.expect("bob is here").await;
    ann.enter("hello bob").await;
    ann.expect("you: hello bob").await;
    bob.expect("ann: hello bob").await;
    ann.expect("read up to #1").await;
    ann.enter("/edit hello Bob").await;
    bob.expect("ann edited #1: hello Bob").await;
    bob.enter("hi").await;
    ann.expect("bob: hi").await;
    bob.enter("/delete").await;
    ann.expect("bob deleted #2").await;
    assert_eq!(bob.finish().await, 0);
    ann.expect("bob left").await;
    assert_eq!(ann.finish().await, 0);
}

#[tokio::test]
async fn lines_of_a_script_are_said_in_order_and_an_edit_waits_for_its_message() {
    let server = Parlance::start();
    let mut script = Chat::start(&server, &url(server.address()), "builds", "ci");
    for number in 1..=10 {
        script.enter(&format!("line {number}")).await;
    }
    script.enter("/edit line ten").await;
    script.enter("line 11").await;
    assert_eq!(script.finish().await, 0);
    let mut expected: Vec<String> = (1..=11).map(|number| format!("line {number}")).collect();
    "line ten".clone_into(&mut expected[9]);
    assert_eq!(contents(&server, "builds").await, expected);
}

#[tokio::test]
async fn what_is_typed_while_the_server_is_away_is_sent_once() {
    let mut server = Parlance::start();
    let proxy = Relay::to(Framing::Opaque, server.address()).await;
    let mut ann = Chat::start(&server, &url(proxy.address()), "train", "ann");
    ann.expect("you are ann").await;
    ann.enter("before").await;
    ann.expect("you: before").await;
    let mut witness = server.dial("train", "witness").connect().await;
    witness.fence().await;
    proxy.mute();
    ann.enter("stored, but ann cannot know").await;
    witness.expect("chat_message").await;
    proxy.cut();
    server.kill();
    ann.expect("connection lost").await;
    ann.enter("in the tunnel").await;
    ann.enter("/edit in the long tunnel").await;
    ann.enter("still in it").await;
    server.restart();
    let mut bob = server.dial("train", "bob").connect().await;
    bob.send(json!({"action": "send_message", "content": "meanwhile", "local_id": "b"}))
        .await;
    bob.expect("chat_message").await;
    proxy.relay_to(server.address());
    ann.expect("bob: meanwhile").await;
    ann.expect("you: still in it").await;
    assert_eq!(ann.finish().await, 0);
    let mut said = contents(&server, "train").await;
    said.retain(|content| content != "meanwhile");
    assert_eq!(
        said,
        [
            "before",
            "stored, but ann cannot know",
            "in the long tunnel",
            "still in it"
        ]
    );
}

#[tokio::test]
async fn a_refused_token_ends_the_chat_with_a_reason() {
    let server = Parlance::start();
    let output = Command::new(binary())
        .args(["chat", "room", "--sub", "ann", "--token", "bad", "--url"])
        .arg(url(server.address()))
        .env_remove("PARLANCE_BIN")
        .env_remove("PARLANCE_FULL")
        .stdin(Stdio::null())
        .output();
    let output = timeout(DEADLINE, output).await.unwrap().unwrap();
    assert_ne!(output.status.code(), Some(0));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("4003"),
        "{output:?}"
    );
}
