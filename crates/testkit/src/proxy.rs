//! A TCP relay with an address that stays while the server behind it comes, goes and moves.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
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

    /// Lets connections through to `target`.
    pub fn relay_to(&self, target: SocketAddr) {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        behind.target = Some(target);
    }
}

async fn accept(listener: TcpListener, behind: Arc<Mutex<Behind>>) {
    while let Ok((client, _)) = listener.accept().await {
        let mut behind = behind.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = behind.target {
            behind.relays.spawn(relay(client, target));
        }
    }
}

async fn relay(mut client: TcpStream, target: SocketAddr) {
    if let Ok(mut server) = TcpStream::connect(target).await {
        // Either side may end it whenever it likes.
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
