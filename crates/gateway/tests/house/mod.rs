//! Shards over the embedded backend in a directory of their own, and clients over real sockets
//! that come to them as the listener would hand them over.

use std::{
    net::TcpListener,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parlance_core::{
    identity::{Conversations, Identity},
    ports::{Denied, Verifier},
    quota::UserQuota,
    room::Joiner,
    settings::Settings,
};
use parlance_embedded::{Embedded, Options};
use parlance_gateway::{
    clock::Clock,
    handover::{Handover, Refused, Shards},
    shard::spawn_shards,
};
use parlance_protocol::{ConversationId, UnixMicros, UserId};
use parlance_testkit::client::Client;
use parlance_traces::Traces;
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    sync::oneshot::{Receiver, Sender, channel},
};

/// Refuses every token. The connections here come verified.
struct NoToken;

/// The shards and what they need.
pub(crate) struct House {
    pub(crate) shards: Shards,
    clock: Clock,
    listener: TcpListener,
    connections: AtomicU64,
    _dir: TempDir,
}

/// Somebody at the door.
pub(crate) struct Guest {
    conversation: &'static str,
    user: &'static str,
    extended: bool,
    buffered: Bytes,
}

/// Tells when the permit of a connection is dropped.
pub(crate) type Released = Receiver<()>;

struct Permit {
    _released: Sender<()>,
}

impl Verifier for NoToken {
    fn verify(&self, _: &str, _: UnixMicros) -> Result<Identity, Denied> {
        Err(Denied::Malformed)
    }
}

impl House {
    /// Without rate limits.
    pub(crate) fn open() -> Self {
        let settings = Settings {
            actions_per_second: 0,
            ..Settings::default()
        };
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            sync: false,
            ..Options::default()
        };
        let backend = Arc::new(Embedded::open(dir.path(), options).unwrap());
        let clock = Clock::start();
        let two = NonZeroUsize::new(2).unwrap();
        let verifier = Arc::new(NoToken);
        Self {
            shards: spawn_shards(
                two,
                &backend,
                &verifier,
                &Arc::new(settings),
                clock,
                &Traces::off(),
            )
            .unwrap(),
            clock,
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            connections: AtomicU64::new(0),
            _dir: dir,
        }
    }

    /// A base client that reads all the time.
    pub(crate) async fn join(&self, conversation: &'static str, user: &'static str) -> Client {
        Client::over(self.admit(guest(conversation, user)).await.0)
    }

    /// The client's end of a connection that was handed over, and its permit's end.
    pub(crate) async fn admit(&self, guest: Guest) -> (TcpStream, Released) {
        let (client, handover, released) = self.arrive(guest).await;
        assert!(self.shards.hand_over(handover).is_ok());
        (client, released)
    }

    /// Whether the shard of the guest's conversation refuses it.
    pub(crate) async fn is_refused(&self, guest: Guest) -> bool {
        let (_client, handover, _released) = self.arrive(guest).await;
        matches!(self.shards.hand_over(handover), Err(Refused(_)))
    }

    /// A connection that is not handed over yet: the client's end, ours, and its permit's end.
    pub(crate) async fn arrive(&self, guest: Guest) -> (TcpStream, Box<Handover>, Released) {
        let address = self.listener.local_addr().unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        let (socket, _) = self.listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.set_nodelay(true).unwrap();
        let (released, receiver) = channel();
        let handover = Handover {
            socket,
            buffered: guest.buffered.clone(),
            conversation: ConversationId::new(guest.conversation).unwrap(),
            joiner: self.joiner(&guest),
            permit: Box::new(Permit {
                _released: released,
            }),
        };
        (client, Box::new(handover), receiver)
    }

    fn joiner(&self, guest: &Guest) -> Joiner {
        let identity = Identity {
            user: UserId::new(guest.user).unwrap(),
            username: guest.user.into(),
            expires_at: UnixMicros(4_000_000_000_000_000),
            conversations: Conversations::All,
            moderator: false,
        };
        Joiner {
            identity,
            extended: guest.extended,
            since: None,
            connection_id: self.connections.fetch_add(1, Ordering::Relaxed),
            quota: Arc::new(UserQuota::new(0, self.clock.now().mono)),
        }
    }
}

/// A base client.
pub(crate) fn guest(conversation: &'static str, user: &'static str) -> Guest {
    Guest {
        conversation,
        user,
        extended: false,
        buffered: Bytes::new(),
    }
}

impl Guest {
    /// Speaks the extended layer.
    pub(crate) fn extended(mut self) -> Self {
        self.extended = true;
        self
    }

    /// These bytes were read behind the handshake.
    pub(crate) fn having_sent(mut self, bytes: Vec<u8>) -> Self {
        self.buffered = bytes.into();
        self
    }
}
