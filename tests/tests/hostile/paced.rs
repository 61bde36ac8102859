//! Clients whose hostility is time: they wait, trickle, stop half way or never read.
//!
//! They run at the same time, on the server and beside the healthy pair of the tables.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use parlance_testkit::{
    client::{Client, Incoming},
    dial::exchange,
    frames::Frame,
    server::Parlance,
    tokens::Claims,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{interval, timeout},
};

/// What a promised time may take longer on a machine that is busy, or stands still.
const ALLOWANCE: Duration = Duration::from_secs(15);
const HANDSHAKE: Duration = Duration::from_secs(5);
const CLOSING: Duration = Duration::from_secs(2);
const STARTED_FRAME: Duration = Duration::from_secs(10);
/// Of 16 kB: more than the buffers of two sockets hold when one side does not read.
const UNREAD_MESSAGES: usize = 400;

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Each with its name.
pub(crate) fn cases(server: &Arc<Parlance>) -> Vec<(&'static str, Running)> {
    let server = || server.clone();
    vec![
        ("silence", Box::pin(cut(server(), b"", None))),
        ("half a line", Box::pin(cut(server(), b"GET /conv", None))),
        (
            "half the headers",
            Box::pin(cut(server(), b"GET / HTTP/1.1\r\nHost: x\r\n", None)),
        ),
        (
            "a header byte a time",
            Box::pin(cut(server(), b"GET / HTTP/1.1\r\nX: ", Some(b"y"))),
        ),
        (
            "a header line a time",
            Box::pin(cut(server(), b"GET / HTTP/1.1\r\n", Some(b"X: y\r\n"))),
        ),
        (
            "empty lines before a request",
            Box::pin(cut(server(), b"\r\n", Some(b"\r\n"))),
        ),
        ("segments of a byte", Box::pin(segments(server()))),
        ("a hidden request", Box::pin(hidden_request(server()))),
        ("half close", Box::pin(half_close(server()))),
        ("a frame byte a second", Box::pin(slow_frame(server()))),
        ("no reply to a close", Box::pin(no_reply(server()))),
        ("data after a close", Box::pin(said_after_close(server()))),
        ("never reads", Box::pin(never_reads(server()))),
    ]
}

/// Reads until the other side has gone, in whatever way.
async fn rest(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut all = vec![];
    let _ = stream.read_to_end(&mut all).await;
    all
}

/// An upgrade that never ends is cut, however much it trickles.
async fn cut(server: Arc<Parlance>, begin: &'static [u8], trickle: Option<&'static [u8]>) {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(begin).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let trickling = async {
        let mut pace = interval(Duration::from_millis(100));
        while let Some(bytes) = trickle {
            pace.tick().await;
            if writing.write_all(bytes).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = timeout(HANDSHAKE + ALLOWANCE, rest(&mut reading)) => {
            let said = ended.expect("cut in time");
            assert!(!said.starts_with(b"HTTP/1.1 101"), "upgraded");
        }
        () = trickling => unreachable!("it never ends"),
    }
}

fn proper(server: &Parlance, room: &str) -> Vec<u8> {
    let token = server.mint(&Claims::of("paced"));
    format!(
        "GET /conversations/{room}/?token={token} HTTP/1.1\r\nHost: x\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// A request and a message, each byte in a segment of its own, are as good as others.
async fn segments(server: Arc<Parlance>) {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in proper(&server, "paced-segments") {
        stream.write_all(&[byte]).await.unwrap();
    }
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{head:?}");
    let mut client = Client::over(stream);
    let text = r#"{"action":"send_message","content":"slow","local_id":"slow"}"#;
    for byte in Frame::text(text).masked() {
        client.send_bytes(&[byte]).await;
    }
    let told = client.expect("chat_message").await;
    assert_eq!(told["message"]["content"], "slow");
}

/// What stands in the body of a refused request is never answered as a request.
async fn hidden_request(server: Arc<Parlance>) {
    let hidden = proper(&server, "paced-hidden");
    let head = format!(
        "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        hidden.len()
    );
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let sent = [head.as_bytes(), &hidden, &hidden].concat();
    stream.write_all(&sent).await.unwrap();
    stream.shutdown().await.unwrap();
    let said = timeout(HANDSHAKE + ALLOWANCE, rest(&mut stream)).await;
    let said = String::from_utf8(said.expect("an end")).unwrap();
    assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{said}");
    assert!(!said.contains("HTTP/1.1 101"), "{said}");
}

/// Who will say nothing any more is let go.
async fn half_close(server: Arc<Parlance>) {
    let (mut stream, answer) = exchange(server.address(), &proper(&server, "paced-half")).await;
    assert_eq!(answer.status, 101);
    stream.shutdown().await.unwrap();
    let ended = timeout(CLOSING + ALLOWANCE, rest(&mut stream)).await;
    ended.expect("the end of a connection that was closed by half");
}

/// A started frame must be complete in time, whether or not bytes come.
async fn slow_frame(server: Arc<Parlance>) {
    let mut client = server.dial("paced-frame", "paced").connect().await;
    client.fence().await;
    let frame = Frame::text(&" ".repeat(100)).masked();
    let mut pace = interval(Duration::from_secs(1));
    let limit = STARTED_FRAME + ALLOWANCE;
    let closed = timeout(limit, async {
        for byte in frame {
            tokio::select! {
                _ = pace.tick() => client.send_bytes(&[byte]).await,
                seen = client.take() => if let Incoming::Close(code, _) = seen.what {
                    return code;
                },
            }
        }
        0
    });
    assert_eq!(closed.await.expect("closed in time"), 1008);
    client.expect_end().await;
}

/// The server waits for the answer to its close, but not long.
async fn no_reply(server: Arc<Parlance>) {
    let mut client = server.dial("paced-close", "paced").connect().await;
    client.set_polite(false);
    client.fence().await;
    client.send_bytes(&Frame::text("x").unmasked()).await;
    client.expect_close(1002).await;
    let ended = timeout(CLOSING + ALLOWANCE, client.expect_end()).await;
    ended.expect("the end after a close that was not answered");
}

/// Nothing that comes behind a close frame is done.
async fn said_after_close(server: Arc<Parlance>) {
    let room = "paced-after";
    let mut witness = server.dial(room, "witness").connect().await;
    witness.fence().await;
    let mut client = server.dial(room, "paced").connect().await;
    client.fence().await;
    let text = r#"{"action":"send_message","content":"late","local_id":"late"}"#;
    let mut bytes = Frame::close(1000, "").masked();
    bytes.extend(Frame::text(text).masked());
    client.send_bytes(&bytes).await;
    client.expect_close(1000).await;
    client.expect_end().await;
    witness.say("after", "after").await;
    let told = witness.frames();
    let late = told
        .iter()
        .find(|frame| frame["message"]["content"] == "late");
    assert!(late.is_none(), "{late:?}");
}

/// The others are told everything while one never reads, and the server lets go of it when it goes.
async fn never_reads(server: Arc<Parlance>) {
    let room = "paced-unread";
    let mut ann = server.dial(room, "ann").connect().await;
    let mut bob = server.dial(room, "bob").connect().await;
    bob.fence().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stalled = socket.connect(server.address()).await.unwrap();
    stalled.write_all(&proper(&server, room)).await.unwrap();
    let is = |frame: &Value, status: &str| frame["user_id"] == "paced" && frame["status"] == status;
    let what = "the one who does not read";
    bob.expect_where(what, |frame| is(frame, "online")).await;
    let content = "x".repeat(16_000);
    for number in 0..UNREAD_MESSAGES {
        let local_id = number.to_string();
        ann.say(&content, &local_id).await;
        let told = bob.expect("chat_message").await;
        assert_eq!(told["message"]["id"], (number + 1).to_string());
    }
    drop(stalled);
    bob.expect_where(what, |frame| is(frame, "offline")).await;
}
