//! One WebSocket connection: what comes becomes [`Input`]s, what is given goes out in order.
//!
//! Reading and writing are two tasks, because reading a frame must not be given up half way. Both
//! end when the [`Connection`] is dropped.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use fastwebsockets::{
    FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError, WebSocketWrite, handshake,
};
use http_body_util::Empty;
use hyper::{Request, Uri, header};
use parlance_protocol::Position;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{Mutex, mpsc},
    task::JoinSet,
    time::timeout,
};

use super::state::Input;

const OPEN_DEADLINE: Duration = Duration::from_secs(5);
const CLOSE_DEADLINE: Duration = Duration::from_secs(1);
/// Full: the socket is not read on, as a slow terminal should have it.
const INCOMING: usize = 256;
/// A page of a hundred of the longest messages fits.
const MAX_FRAME_BYTES: usize = 4 * 1024 * 1024;

/// Where a conversation is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    host: String,
    authority: String,
    port: u16,
    path: String,
}

impl Place {
    /// From the base URL of a server, like `ws://127.0.0.1:8080`, and a valid conversation id.
    ///
    /// # Errors
    /// When that is no URL or TLS is wanted.
    pub(crate) fn new(url: &str, conversation: &str) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url:?} is no URL"))?;
        match uri.scheme_str() {
            Some("ws" | "http") => {}
            Some("wss" | "https") => bail!("{url:?}: TLS is not spoken here, only ws://"),
            _ => bail!("{url:?} is no WebSocket URL: it begins with ws://"),
        }
        let authority = uri.authority().context("a URL names a host")?;
        ensure!(uri.query().is_none(), "{url:?}: a base URL has no query");
        let base = uri.path().trim_end_matches('/');
        Ok(Self {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            authority: authority.to_string(),
            port: authority.port_u16().unwrap_or(80),
            path: format!("{base}/conversations/{conversation}/?v=1"),
        })
    }
}

enum Outgoing {
    Text(String),
    Close(u16),
}

/// A connection that is being opened or open. Dropping it ends it without a close frame.
pub(crate) struct Connection {
    incoming: mpsc::Receiver<Input>,
    /// Without a bound: one action is in flight at a time, the rest is small talk of one person.
    outgoing: mpsc::UnboundedSender<Outgoing>,
    _tasks: JoinSet<()>,
}

impl Connection {
    /// Begins to connect. The first input is `Opened`, or `Closed` or `Refused` if that fails.
    pub(crate) fn open(place: Place, token: String, since: Option<Position>) -> Self {
        let (sender, incoming) = mpsc::channel(INCOMING);
        let (outgoing, receiver) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let last = match live(place, token, since, &sender, receiver).await {
                Ok(last) | Err(last) => last,
            };
            // The other side is gone only when nobody wants to know.
            let _ = sender.send(last).await;
        });
        Self {
            incoming,
            outgoing,
            _tasks: tasks,
        }
    }

    /// The next thing that happened. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Input {
        let lost = || Input::Closed {
            code: 1006,
            reason: String::new(),
        };
        self.incoming.recv().await.unwrap_or_else(lost)
    }

    /// Puts a text frame behind those given before. That the connection has ended is told by
    /// [`Connection::next`].
    pub(crate) fn send(&self, text: String) {
        let _ = self.outgoing.send(Outgoing::Text(text));
    }

    /// Says goodbye, and waits a moment for the answer.
    pub(crate) async fn close(mut self) {
        let _ = self.outgoing.send(Outgoing::Close(1000));
        let closed = async {
            while !matches!(
                self.next().await,
                Input::Closed { .. } | Input::Refused { .. }
            ) {}
        };
        let _ = timeout(CLOSE_DEADLINE, closed).await;
    }
}

/// Connects, then reads until the end; how it ended.
async fn live(
    place: Place,
    token: String,
    since: Option<Position>,
    sender: &mpsc::Sender<Input>,
    outgoing: mpsc::UnboundedReceiver<Outgoing>,
) -> Result<Input, Input> {
    let upgraded = timeout(OPEN_DEADLINE, upgrade(&place, &token, since)).await;
    let mut socket = match upgraded {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return Err(not_opened(&error)),
        Err(_) => return Err(lost("no answer in time")),
    };
    socket.set_max_message_size(MAX_FRAME_BYTES);
    let (reader, writer) = socket.split(tokio::io::split);
    let writer = Arc::new(Mutex::new(writer));
    if sender.send(Input::Opened).await.is_err() {
        return Err(lost(""));
    }
    let mut writing = JoinSet::new();
    writing.spawn(write_all(writer.clone(), outgoing));
    Ok(read_all(FragmentCollectorRead::new(reader), writer, sender).await)
}

async fn upgrade(
    place: &Place,
    token: &str,
    since: Option<Position>,
) -> anyhow::Result<fastwebsockets::WebSocket<impl AsyncRead + AsyncWrite + Unpin + use<>>> {
    let stream = TcpStream::connect((place.host.as_str(), place.port)).await?;
    stream.set_nodelay(true)?;
    let since = since.map_or(String::new(), |position| format!("&since={position}"));
    let request = Request::get(format!("{}{since}", place.path))
        .header(header::HOST, &place.authority)
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "Upgrade")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, handshake::generate_key())
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Empty::<Bytes>::new())?;
    let executor = hyper_util::rt::TokioExecutor::new();
    let (socket, _) = handshake::client(&executor, request, stream).await?;
    Ok(socket)
}

/// A refusal by HTTP is final, except that of a server that cannot now.
fn not_opened(error: &anyhow::Error) -> Input {
    match error.downcast_ref() {
        Some(WebSocketError::InvalidStatusCode(status)) if *status < 500 => {
            Input::Refused { status: *status }
        }
        _ => lost(&error.to_string()),
    }
}

fn lost(reason: &str) -> Input {
    Input::Closed {
        code: 1006,
        reason: reason.to_owned(),
    }
}

async fn read_all<R, W>(
    mut reader: FragmentCollectorRead<R>,
    writer: Arc<Mutex<WebSocketWrite<W>>>,
    sender: &mpsc::Sender<Input>,
) -> Input
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut answer = |frame| {
        let writer = writer.clone();
        async move { writer.lock().await.write_frame(frame).await }
    };
    loop {
        let frame = match reader.read_frame(&mut answer).await {
            Ok(frame) => frame,
            Err(error) => return lost(&error.to_string()),
        };
        match frame.opcode {
            OpCode::Text => {
                let text = String::from_utf8_lossy(&frame.payload).into_owned();
                if sender.send(Input::Frame(text)).await.is_err() {
                    return lost("");
                }
            }
            OpCode::Close => return closed(&frame.payload),
            OpCode::Binary | OpCode::Continuation | OpCode::Ping | OpCode::Pong => {}
        }
    }
}

fn closed(payload: &[u8]) -> Input {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return lost("closed without a code");
    };
    Input::Closed {
        code: u16::from_be_bytes(*code),
        reason: String::from_utf8_lossy(reason).into_owned(),
    }
}

/// Ends at the first error; the reader will see the end, too.
async fn write_all<W: AsyncWrite + Unpin>(
    writer: Arc<Mutex<WebSocketWrite<W>>>,
    mut outgoing: mpsc::UnboundedReceiver<Outgoing>,
) {
    while let Some(frame) = outgoing.recv().await {
        let frame = match &frame {
            Outgoing::Text(text) => Frame::text(Payload::Borrowed(text.as_bytes())),
            Outgoing::Close(code) => Frame::close(*code, b""),
        };
        if writer.lock().await.write_frame(frame).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_may_have_a_path_and_no_port() {
        let place = Place::new("ws://chat.example/api/", "room").unwrap();
        assert_eq!(place.path, "/api/conversations/room/?v=1");
        assert_eq!((place.host.as_str(), place.port), ("chat.example", 80));
        let place = Place::new("ws://[::1]:8080", "room").unwrap();
        assert_eq!((place.host.as_str(), place.port), ("::1", 8080));
    }

    #[test]
    fn other_urls_are_refused_with_a_sentence() {
        for url in ["wss://a", "ftp://a", "room", "ws://a/?x=1", ""] {
            assert!(Place::new(url, "room").is_err(), "{url}");
        }
    }
}
