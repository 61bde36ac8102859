//! Proxies between clients and gateways that do not pass on everything as it was said.
//!
//! Used by every test of this suite. A proxy understands frames and JSON and nothing of the protocol:
//! what is said instead is up to a [`Lie`], of which all proxies of a test share one, so that it can
//! know what it told whom. No library, because none passes frames on half way through a stream.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use parlance_testkit::{
    frames::{self, Frame, opcode},
    tokens,
    traffic::Directory,
};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{
        Notify,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    },
    task::JoinSet,
};

/// Hears everything, and says on the line whatever it likes.
pub(crate) type Lie = Box<dyn FnMut(&Line, Said<'_>) + Send>;

/// What goes over a line.
pub(crate) enum Said<'a> {
    /// The upgrade, which goes on to the gateway as it is left.
    Opening(&'a mut Opening),
    /// By the client. Only what the lie sends goes on.
    Client(Value),
    /// By the gateway. Only what the lie sends goes on.
    Server(Value),
}

/// Whoever reads history at the end of a run.
const READER: &str = "reader";

/// A connection of a client through a proxy.
pub(crate) struct Line {
    /// No other line of the test has it.
    pub(crate) number: usize,
    pub(crate) user: String,
    pub(crate) conversation: String,
    pub(crate) is_extended: bool,
    /// Empty: the end.
    to_client: UnboundedSender<Vec<u8>>,
    to_server: UnboundedSender<Vec<u8>>,
    cut: Notify,
}

impl Line {
    pub(crate) fn to_client(&self, frame: &Value) {
        self.push_to_client(Frame::text(&frame.to_string()).unmasked());
    }

    pub(crate) fn to_server(&self, frame: &Value) {
        self.push_to_server(Frame::text(&frame.to_string()).masked());
    }

    /// The gateway closes, the client is told.
    pub(crate) fn close(&self, code: u16) {
        self.push_to_client(Frame::close(code, "").unmasked());
        self.push_to_client(Vec::new());
    }

    /// What is on its way is lost.
    pub(crate) fn cut(&self) {
        self.cut.notify_one();
    }

    pub(crate) fn is_reader(&self) -> bool {
        self.user == READER
    }

    /// As it was said.
    pub(crate) fn pass(&self, said: Said<'_>) {
        match said {
            Said::Opening(_) => {}
            Said::Client(frame) => self.to_server(&frame),
            Said::Server(frame) => self.to_client(&frame),
        }
    }

    // A side that has gone needs nothing any more.

    fn push_to_client(&self, bytes: Vec<u8>) {
        let _ = self.to_client.send(bytes);
    }

    fn push_to_server(&self, bytes: Vec<u8>) {
        let _ = self.to_server.send(bytes);
    }
}

/// An upgrade request.
pub(crate) struct Opening {
    path: String,
    query: Vec<(String, String)>,
    headers: String,
}

impl Opening {
    fn parse(head: &str) -> Self {
        let (request, headers) = head.split_once("\r\n").unwrap();
        let target = request.split(' ').nth(1).unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        Self {
            path: path.to_owned(),
            query: pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            headers: headers.to_owned(),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| &**value)
    }

    pub(crate) fn set(&mut self, name: &str, value: String) {
        self.query.retain(|(key, _)| key != name);
        self.query.push((name.to_owned(), value));
    }

    fn conversation(&self) -> String {
        self.path.split('/').nth(2).unwrap_or_default().to_owned()
    }

    fn text(&self) -> String {
        let pairs = self.query.iter();
        let pairs: Vec<String> = pairs
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let Self { path, headers, .. } = self;
        format!("GET {path}?{} HTTP/1.1\r\n{headers}", pairs.join("&"))
    }
}

/// A proxy before each gateway; their connections end when this is dropped.
pub(crate) struct Liars {
    /// Of the proxies.
    pub(crate) directory: Directory,
    all_lines: Arc<Notify>,
    _accepting: JoinSet<()>,
}

/// What the lines of a test share.
#[derive(Clone)]
struct Plot {
    lie: Arc<Mutex<Lie>>,
    numbered: Arc<AtomicUsize>,
    all_lines: Arc<Notify>,
}

impl Liars {
    pub(crate) async fn before(gateways: &Directory, lie: Lie) -> Self {
        let plot = Plot {
            lie: Arc::new(Mutex::new(lie)),
            numbered: Arc::default(),
            all_lines: Arc::default(),
        };
        let (mut accepting, mut addresses) = (JoinSet::new(), Vec::new());
        for gateway in gateways.all() {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            accepting.spawn(accept(listener, gateway, plot.clone()));
        }
        Self {
            directory: Directory::new(addresses),
            all_lines: plot.all_lines,
            _accepting: accepting,
        }
    }

    /// Cuts every connection; new ones are let through.
    pub(crate) fn cut(&self) {
        self.all_lines.notify_waiters();
    }
}

async fn accept(listener: TcpListener, gateway: SocketAddr, plot: Plot) {
    let mut lines = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let plot = plot.clone();
        lines.spawn(async move {
            // Either side may end it whenever it likes.
            let _ = relay(client, gateway, &plot).await;
        });
    }
}

async fn relay(client: TcpStream, gateway: SocketAddr, plot: &Plot) -> io::Result<()> {
    let server = TcpStream::connect(gateway).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (client_says, client_hears) = client.into_split();
    let (server_says, server_hears) = server.into_split();
    let mut client_says = BufReader::new(client_says);
    let mut opening = Opening::parse(&read_head(&mut client_says).await?);
    let (to_client, for_client) = unbounded_channel();
    let (to_server, for_server) = unbounded_channel();
    let line = Line {
        number: plot.numbered.fetch_add(1, Ordering::Relaxed),
        user: tokens::subject(opening.get("token").unwrap_or_default()),
        conversation: opening.conversation(),
        is_extended: opening.get("v").is_some(),
        to_client,
        to_server,
        cut: Notify::new(),
    };
    plot.hear(&line, Said::Opening(&mut opening));
    line.push_to_server(opening.text().into_bytes());
    let all = async {
        tokio::join!(
            write(for_client, client_hears),
            write(for_server, server_hears),
            hear_client(client_says, &line, plot),
            hear_server(BufReader::new(server_says), &line, plot),
        )
    };
    tokio::select! {
        _ = all => {}
        () = line.cut.notified() => {}
        () = plot.all_lines.notified() => {}
    }
    Ok(())
}

impl Plot {
    fn hear(&self, line: &Line, said: Said<'_>) {
        let mut lie = self.lie.lock().unwrap_or_else(PoisonError::into_inner);
        lie(line, said);
    }
}

async fn write(mut pieces: UnboundedReceiver<Vec<u8>>, mut to: OwnedWriteHalf) {
    while let Some(piece) = pieces.recv().await {
        if piece.is_empty() || to.write_all(&piece).await.is_err() {
            break;
        }
    }
    // The other side may have gone.
    let _ = to.shutdown().await;
}

async fn hear_client(mut from: BufReader<OwnedReadHalf>, line: &Line, plot: &Plot) {
    while let Ok(frame) = read_masked(&mut from).await {
        match frame.opcode {
            opcode::TEXT => plot.hear(line, Said::Client(json(&frame))),
            _ => line.push_to_server(frame.masked()),
        }
    }
    line.push_to_server(Vec::new());
}

async fn hear_server(mut from: BufReader<OwnedReadHalf>, line: &Line, plot: &Plot) {
    if let Ok(head) = read_head(&mut from).await {
        line.push_to_client(head.into_bytes());
    }
    while let Ok(frame) = frames::read(&mut from).await {
        match frame.opcode {
            opcode::TEXT => plot.hear(line, Said::Server(json(&frame))),
            _ => line.push_to_client(frame.unmasked()),
        }
    }
    line.push_to_client(Vec::new());
}

fn json(frame: &Frame) -> Value {
    assert!(frame.fin, "neither side sends fragments: {frame:?}");
    serde_json::from_slice(&frame.payload).unwrap()
}

/// Up to the empty line.
async fn read_head(from: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await?);
    }
    String::from_utf8(head).map_err(io::Error::other)
}

/// The next frame of a client.
async fn read_masked(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let mut head = [0; 2];
    from.read_exact(&mut head).await?;
    let length = match head[1] & 0x7f {
        126 => u64::from(from.read_u16().await?),
        127 => from.read_u64().await?,
        short => u64::from(short),
    };
    let mut mask = [0; 4];
    from.read_exact(&mut mask).await?;
    let mut payload = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    from.read_exact(&mut payload).await?;
    let keys = mask.iter().cycle();
    payload
        .iter_mut()
        .zip(keys)
        .for_each(|(byte, key)| *byte ^= key);
    Ok(Frame {
        fin: head[0] & 0x80 != 0,
        rsv: (head[0] >> 4) & 0x7,
        opcode: head[0] & 0xf,
        payload,
    })
}
