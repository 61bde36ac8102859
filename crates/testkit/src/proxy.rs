//! A TCP relay with an address that stays while the server behind it comes, goes and moves.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
};

/// A relay; its connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    behind: Arc<Mutex<Behind>>,
    _accepting: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Behind {
    /// `None`: whoever connects is cut at once.
    target: Option<SocketAddr>,
    relays: JoinSet<()>,
    muted: Arc<AtomicBool>,
}

impl Proxy {
    /// A relay to `target`.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let behind = Arc::new(Mutex::new(Behind::default()));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, behind.clone()));
        let proxy = Self {
            address,
            behind,
            _accepting: accepting,
        };
        proxy.relay_to(target);
        proxy
    }

    /// Where to connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection and lets none through.
    pub fn cut(&self) {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        behind.target = None;
        behind.relays.abort_all();
    }

    /// From now on what the server says is swallowed; what clients say still arrives.
    pub fn mute(&self) {
        let behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        behind.muted.store(true, Ordering::SeqCst);
    }

    /// Lets connections through to `target`, both ways.
    pub fn relay_to(&self, target: SocketAddr) {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        behind.target = Some(target);
        behind.muted.store(false, Ordering::SeqCst);
    }
}

async fn accept(listener: TcpListener, behind: Arc<Mutex<Behind>>) {
    while let Ok((client, _)) = listener.accept().await {
        let mut behind = behind.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = behind.target {
            let muted = behind.muted.clone();
            behind.relays.spawn(async move {
                // Either side may end it whenever it likes.
                let _ = relay(client, target, muted).await;
            });
        }
    }
}

async fn relay(client: TcpStream, target: SocketAddr, muted: Arc<AtomicBool>) -> io::Result<()> {
    let server = TcpStream::connect(target).await?;
    let (mut client_says, to_client) = client.into_split();
    let (server_says, mut to_server) = server.into_split();
    tokio::select! {
        ended = copy(&mut client_says, &mut to_server) => ended.map(|_| ()),
        ended = pass_on(server_says, to_client, &muted) => ended,
    }
}

async fn pass_on(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    muted: &AtomicBool,
) -> io::Result<()> {
    let mut piece = [0; 4096];
    loop {
        let read = from.read(&mut piece).await?;
        if read == 0 {
            return Ok(());
        }
        if !muted.load(Ordering::SeqCst) {
            to.write_all(&piece[..read]).await?;
        }
    }
}
