//! How a verified connection, and what the process decides, reach a shard.
//!
//! The listener owns a socket until it is upgraded and its token judged; then the raw socket goes
//! to the shard of its conversation and never comes back. Everything else that a shard is told
//! goes the same way, so that it stays in order with the connections. The listener's runtime calls
//! [`Shards`]; each shard's thread reads its [`Inbox`].

use std::{
    hash::{BuildHasher, RandomState},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parlance_core::room::Joiner;
use parlance_protocol::{CloseCode, ConversationId};
use tokio::sync::mpsc;

/// How many tellings may wait for a shard. A shard takes all of them in one turn, so a full inbox
/// means that the shard is overloaded: connections are then refused with 1013.
pub const INBOX: usize = 1024;

/// Releases what a connection was counted against (caps of the node and of its user) when dropped.
pub type ConnectionPermit = Box<dyn Send>;

/// A verified, upgraded connection on its way to its shard.
pub struct Handover {
    /// Non-blocking, with `TCP_NODELAY`. The upgrade's answer is written.
    pub socket: std::net::TcpStream,
    /// What the client sent behind its handshake, read already.
    pub buffered: bytes::Bytes,
    /// The conversation that the path named and the token opens.
    pub conversation: ConversationId,
    /// Who comes.
    pub joiner: Joiner,
    /// Dropped when the connection's socket is closed.
    pub permit: ConnectionPermit,
}

/// What the process tells a shard.
pub enum ToShard {
    /// A connection comes in.
    Connection(Box<Handover>),
    /// The node is leaving: extended members are asked to reconnect elsewhere within `within_ms`.
    Drain {
        /// Each client is told a random time up to this.
        within_ms: u64,
    },
    /// Close one in `one_in` of the connections that are here (rounded up; 1: all of them).
    ClosePart {
        /// The share.
        one_in: NonZeroU32,
        /// The close code.
        code: CloseCode,
        /// The close reason, at most 123 bytes.
        reason: Arc<str>,
    },
    /// Cut every connection and end the shard.
    Stop,
}

/// A connection that its shard cannot take now: the shard is overloaded or has ended.
pub struct Refused(pub Box<Handover>);

/// All shards of the process. Dropping it stops them.
pub struct Shards {
    handles: Box<[ShardHandle]>,
    /// Keyed anew in each process, so that nobody can aim conversations at one shard.
    routing: RandomState,
}

/// One shard as the rest of the process sees it.
pub struct ShardHandle {
    inbox: mpsc::Sender<ToShard>,
    connections: Arc<AtomicUsize>,
}

/// The shard's end of its [`ShardHandle`].
pub struct Inbox {
    /// Ends when the handle was dropped.
    pub receiver: mpsc::Receiver<ToShard>,
    /// How many sockets the shard owns; the shard writes it.
    pub connections: Arc<AtomicUsize>,
}

// === impl Shards ===

impl Shards {
    /// Routes between `handles`, at least one.
    #[must_use]
    pub fn new(handles: Vec<ShardHandle>) -> Self {
        assert!(!handles.is_empty(), "a process has at least one shard");
        Self {
            handles: handles.into(),
            routing: RandomState::new(),
        }
    }

    /// Gives the connection to the shard of its conversation.
    ///
    /// # Errors
    /// [`Refused`] with the connection, which is still open and upgraded.
    pub fn hand_over(&self, handover: Box<Handover>) -> Result<(), Refused> {
        self.of(&handover.conversation).hand_over(handover)
    }

    /// How many sockets the shards own. Connections in an inbox are not counted yet.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.handles.iter().map(ShardHandle::connections).sum()
    }

    /// Asks extended members everywhere to reconnect elsewhere within `within_ms`.
    pub async fn drain(&self, within_ms: u64) {
        for handle in &self.handles {
            handle.tell(ToShard::Drain { within_ms }).await;
        }
    }

    /// Closes one in `one_in` of the connections of each shard (rounded up; 1: all of them).
    pub async fn close_part(&self, one_in: NonZeroU32, code: CloseCode, reason: &Arc<str>) {
        for handle in &self.handles {
            let reason = Arc::clone(reason);
            handle
                .tell(ToShard::ClosePart {
                    one_in,
                    code,
                    reason,
                })
                .await;
        }
    }

    /// Cuts every connection, and waits until the shards have ended.
    pub async fn stop(&self) {
        for handle in &self.handles {
            handle.tell(ToShard::Stop).await;
        }
        for handle in &self.handles {
            handle.inbox.closed().await;
        }
    }

    fn of(&self, conversation: &ConversationId) -> &ShardHandle {
        let hash = self.routing.hash_one(conversation.as_str());
        let index = hash % self.handles.len() as u64;
        &self.handles[usize::try_from(index).expect("below the number of shards")]
    }
}

// === impl ShardHandle ===

impl ShardHandle {
    /// A shard's two ends.
    #[must_use]
    pub fn new() -> (Self, Inbox) {
        let (sender, receiver) = mpsc::channel(INBOX);
        let connections = Arc::new(AtomicUsize::new(0));
        let handle = Self {
            inbox: sender,
            connections: Arc::clone(&connections),
        };
        let inbox = Inbox {
            receiver,
            connections,
        };
        (handle, inbox)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    fn hand_over(&self, handover: Box<Handover>) -> Result<(), Refused> {
        use mpsc::error::TrySendError::{Closed, Full};
        match self.inbox.try_send(ToShard::Connection(handover)) {
            Ok(()) => Ok(()),
            Err(Full(ToShard::Connection(back)) | Closed(ToShard::Connection(back))) => {
                Err(Refused(back))
            }
            Err(_) => unreachable!("what comes back is what was sent"),
        }
    }

    /// Waits for room in the inbox. A shard that has ended needs to be told nothing.
    async fn tell(&self, telling: ToShard) {
        if self.inbox.send(telling).await.is_err() {
            tracing::debug!("a shard had ended before it was told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_always_routed_to_the_same_shard_and_all_shards_are_used() {
        let (handles, _inboxes): (Vec<_>, Vec<_>) = (0..4).map(|_| ShardHandle::new()).unzip();
        let shards = Shards::new(handles);
        let mut used = [false; 4];
        for n in 0..1_000 {
            let id = ConversationId::new(&format!("c{n}")).expect("a valid id");
            let first = std::ptr::from_ref(shards.of(&id));
            assert_eq!(first, std::ptr::from_ref(shards.of(&id)));
            let index = shards.handles.iter().position(|h| std::ptr::eq(h, first));
            used[index.expect("one of them")] = true;
        }
        assert_eq!(used, [true; 4]);
    }

    #[tokio::test]
    async fn stop_waits_until_the_shard_has_ended() {
        let (handle, mut inbox) = ShardHandle::new();
        let shards = Shards::new(vec![handle]);
        let shard = std::thread::spawn(move || {
            assert!(matches!(
                inbox.receiver.blocking_recv(),
                Some(ToShard::Stop)
            ));
        });
        shards.stop().await;
        assert!(shard.join().is_ok());
    }
}
