//! A scripted client over a real socket.
//!
//! A task reads the socket all the time, so that pings are answered while the script is busy with
//! another client; the script takes what came in order. Waiting for a frame steps over frames of
//! other types but keeps them in [`Client::seen`], and every failure prints that record.
//!
//! That nothing of a kind was sent is shown with [`Client::fence`], which takes an answer that the
//! server gives after everything before it, and not by waiting.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Mutex, mpsc},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    dial::DEADLINE,
    frames::{self, Frame, opcode},
};

/// Something that came from the server.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    /// A text frame.
    Json(Value),
    /// A ping with its payload.
    Ping(Vec<u8>),
    /// A pong with its payload.
    Pong(Vec<u8>),
    /// A close frame: code and reason.
    Close(u16, String),
    /// The stream ended.
    End,
}

/// Something that came, and when.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When it was read.
    pub at: Instant,
    /// What it was.
    pub what: Incoming,
}

/// An open connection.
#[derive(Debug)]
pub struct Client {
    writer: Arc<Mutex<OwnedWriteHalf>>,
    incoming: mpsc::UnboundedReceiver<Seen>,
    reader: JoinHandle<()>,
    polite: Arc<AtomicBool>,
    fences: u64,
    /// Everything that was taken so far, in order.
    pub seen: Vec<Seen>,
}

impl Client {
    /// Over a stream whose upgrade is done.
    #[must_use]
    pub fn over(stream: TcpStream) -> Self {
        let (read_half, write_half) = stream.into_split();
        let writer = Arc::new(Mutex::new(write_half));
        let polite = Arc::new(AtomicBool::new(true));
        let (sender, incoming) = mpsc::unbounded_channel();
        let reader = read_all(read_half, writer.clone(), polite.clone(), sender);
        Self {
            writer,
            incoming,
            reader: tokio::spawn(reader),
            polite,
            fences: 0,
            seen: Vec::new(),
        }
    }

    /// Whether pings and closes are answered. They are, unless told otherwise.
    pub fn set_polite(&self, polite: bool) {
        self.polite.store(polite, Ordering::SeqCst);
    }

    // --- sending ---

    /// Sends one JSON text frame.
    pub async fn send(&self, action: Value) {
        self.send_text(&action.to_string()).await;
    }

    /// Sends any text as one frame.
    pub async fn send_text(&self, text: &str) {
        self.send_bytes(&Frame::text(text).masked()).await;
    }

    /// Sends a frame, masked.
    pub async fn send_frame(&self, frame: &Frame) {
        self.send_bytes(&frame.masked()).await;
    }

    /// Sends these bytes as they are. That the server has gone is for the reading side to tell.
    pub async fn send_bytes(&self, bytes: &[u8]) {
        let _ = self.writer.lock().await.write_all(bytes).await;
    }

    /// Sends a message and waits for its acknowledgement.
    pub async fn say(&mut self, content: &str, local_id: &str) -> Value {
        self.send(json!({"action": "send_message", "content": content, "local_id": local_id}))
            .await;
        self.expect_where(&format!("chat_message of {local_id}"), |frame| {
            frame["type"] == "chat_message" && frame["message"]["local_id"] == local_id
        })
        .await
    }

    /// Closes with a code and waits for the end.
    pub async fn close(mut self, code: u16) {
        self.send_frame(&Frame::close(code, "")).await;
        self.expect_end().await;
    }

    /// Drops the connection without a close frame.
    pub fn cut(self) {
        drop(self);
    }

    // --- receiving ---

    /// The next thing of any kind; `None` when nothing came in time.
    pub async fn next(&mut self, within: Duration) -> Option<Seen> {
        let seen = timeout(within, self.incoming.recv()).await.ok()??;
        self.seen.push(seen.clone());
        Some(seen)
    }

    /// The next thing of any kind, which is not kept in [`Client::seen`]. Safe to drop half way.
    pub async fn take(&mut self) -> Seen {
        let taken = self.incoming.recv().await;
        taken.expect("the end of the stream is the last thing, and no reader panics")
    }

    /// The next text frame; pings and pongs are stepped over.
    pub async fn next_json(&mut self) -> Value {
        self.pick("a text frame", DEADLINE, |seen| match &seen.what {
            Incoming::Json(value) => Some(value.clone()),
            Incoming::Ping(_) | Incoming::Pong(_) | Incoming::Close(..) | Incoming::End => None,
        })
        .await
    }

    /// The next text frame of this `type`.
    pub async fn expect(&mut self, kind: &str) -> Value {
        self.expect_where(kind, |frame| frame["type"] == kind).await
    }

    /// The next text frame that fits.
    pub async fn expect_where(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.expect_within(what, DEADLINE, fits).await
    }

    /// The next text frame that fits, for things that take long by design.
    pub async fn expect_within(
        &mut self,
        what: &str,
        within: Duration,
        fits: impl Fn(&Value) -> bool,
    ) -> Value {
        self.pick(what, within, |seen| match &seen.what {
            Incoming::Json(value) if fits(value) => Some(value.clone()),
            Incoming::Json(_)
            | Incoming::Ping(_)
            | Incoming::Pong(_)
            | Incoming::Close(..)
            | Incoming::End => None,
        })
        .await
    }

    /// The next ping's payload.
    pub async fn expect_ping(&mut self) -> Vec<u8> {
        self.pick("a ping", DEADLINE, |seen| match &seen.what {
            Incoming::Ping(payload) => Some(payload.clone()),
            Incoming::Json(_) | Incoming::Pong(_) | Incoming::Close(..) | Incoming::End => None,
        })
        .await
    }

    /// The next pong's payload.
    pub async fn expect_pong(&mut self) -> Vec<u8> {
        self.pick("a pong", DEADLINE, |seen| match &seen.what {
            Incoming::Pong(payload) => Some(payload.clone()),
            Incoming::Json(_) | Incoming::Ping(_) | Incoming::Close(..) | Incoming::End => None,
        })
        .await
    }

    /// A close frame with this code; its reason.
    pub async fn expect_close(&mut self, code: u16) -> String {
        self.expect_close_within(code, DEADLINE).await
    }

    /// A close frame with this code, for closes that take long by design; its reason.
    pub async fn expect_close_within(&mut self, code: u16, within: Duration) -> String {
        let what = format!("close {code}");
        let (got, reason) = self
            .pick(&what, within, |seen| match &seen.what {
                Incoming::Close(code, reason) => Some((*code, reason.clone())),
                Incoming::Json(_) | Incoming::Ping(_) | Incoming::Pong(_) | Incoming::End => None,
            })
            .await;
        assert_eq!(got, code, "closed with {got} ({reason}), not {code}");
        reason
    }

    /// The end of the stream.
    pub async fn expect_end(&mut self) {
        self.pick("the end of the stream", DEADLINE, |seen| {
            (seen.what == Incoming::End).then_some(())
        })
        .await;
    }

    /// Everything that the server sent before it answered a question asked now.
    ///
    /// Frames that the server makes in answer to earlier actions of *this* client are before it.
    pub async fn fence(&mut self) -> Vec<Value> {
        self.fences += 1;
        let request_id = format!("fence-{}", self.fences);
        self.send(json!({"action": "fetch_messages", "limit": 1, "request_id": request_id}))
            .await;
        let from = self.seen.len();
        self.expect_where("the answer to a fetch", |frame| {
            frame["request_id"] == request_id
        })
        .await;
        let before = &self.seen[from..self.seen.len() - 1];
        before.iter().filter_map(Seen::json).cloned().collect()
    }

    /// The text frames taken so far, in order.
    #[must_use]
    pub fn frames(&self) -> Vec<Value> {
        self.seen.iter().filter_map(Seen::json).cloned().collect()
    }

    async fn pick<T>(
        &mut self,
        what: &str,
        within: Duration,
        fits: impl Fn(&Seen) -> Option<T>,
    ) -> T {
        let started = Instant::now();
        loop {
            let left = within.saturating_sub(started.elapsed());
            let Some(seen) = self.next(left).await else {
                panic!("waited {within:?} for {what}; {}", self.record());
            };
            if let Some(found) = fits(&seen) {
                return found;
            }
            if seen.what == Incoming::End {
                panic!("the stream ended before {what}; {}", self.record());
            }
        }
    }

    fn record(&self) -> String {
        let newest = self.seen.iter().rev().take(30).rev();
        let lines: Vec<String> = newest.map(|seen| format!("{:?}", seen.what)).collect();
        format!(
            "the last of {} seen:\n{}",
            self.seen.len(),
            lines.join("\n")
        )
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Seen {
    /// The text frame, if it is one.
    #[must_use]
    pub fn json(&self) -> Option<&Value> {
        match &self.what {
            Incoming::Json(value) => Some(value),
            Incoming::Ping(_) | Incoming::Pong(_) | Incoming::Close(..) | Incoming::End => None,
        }
    }
}

/// Reads until the end. The channel has no bound: a test reads to its end or is over soon.
async fn read_all(
    mut stream: OwnedReadHalf,
    writer: Arc<Mutex<OwnedWriteHalf>>,
    polite: Arc<AtomicBool>,
    sender: mpsc::UnboundedSender<Seen>,
) {
    loop {
        let what = match frames::read(&mut stream).await {
            Ok(frame) => classify(frame),
            Err(_) => Incoming::End,
        };
        let at = Instant::now();
        let answer = match &what {
            Incoming::Ping(payload) => Some(Frame::new(opcode::PONG, payload.clone())),
            Incoming::Close(code, _) => Some(Frame::close(*code, "")),
            Incoming::Json(_) | Incoming::Pong(_) | Incoming::End => None,
        };
        if let Some(frame) = answer
            && polite.load(Ordering::SeqCst)
        {
            let _ = writer.lock().await.write_all(&frame.masked()).await;
        }
        let ended = what == Incoming::End;
        if sender.send(Seen { at, what }).is_err() || ended {
            return;
        }
    }
}

/// A server sends whole text frames without reserved bits, pings, pongs and closes: nothing else.
fn classify(frame: Frame) -> Incoming {
    assert!(
        frame.fin && frame.rsv == 0,
        "a fragment or a reserved bit from the server: {frame:?}"
    );
    match frame.opcode {
        opcode::TEXT => Incoming::Json(
            serde_json::from_slice(&frame.payload).expect("the server sends JSON only"),
        ),
        opcode::PING => Incoming::Ping(frame.payload),
        opcode::PONG => Incoming::Pong(frame.payload),
        opcode::CLOSE => {
            let (code, reason) = frame.close_reason();
            Incoming::Close(code, reason)
        }
        other => panic!("a frame with opcode {other} from the server"),
    }
}
