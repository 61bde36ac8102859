//! How a verified connection, and what the process decides, reach a shard.
//!
//! The listener owns a socket until it is upgraded and its token judged; then the raw socket goes
//! to the shard of its conversation and never comes back. Everything else that a shard is told
//! goes the same way, so that it stays in order with the connections. The listener's runtime calls
//! [`Shards`]; each shard's thread reads its [`Inbox`].

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parlance_core::room::Joiner;
use parlance_protocol::{ConversationId, ReconnectReason};
use tokio::sync::{mpsc, oneshot};

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
    /// Count the members as [`ToShard::SendAway`] would find them.
    Count {
        /// On these terms.
        terms: Terms,
        /// Takes the answer.
        answer: oneshot::Sender<Census>,
    },
    /// Send some members to other nodes.
    SendAway(SendAway),
    /// Close all members with 1012.
    CloseAll {
        /// Each is told to come back after a random time of about up to this.
        within_ms: u64,
    },
    /// Cut every connection and end the shard.
    Stop,
}

/// On which terms members are sent to other nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Why. A node that leaves closes who was asked and did not go; one that has too many asks again.
    pub reason: ReconnectReason,
    /// How long a member that was asked may take to go.
    pub patience_ms: u64,
}

/// Which members could be sent away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// Extended members that can be asked to reconnect.
    pub askable: usize,
    /// Members that were asked, and have time left to go.
    pub waiting: usize,
    /// Members that can only be closed.
    pub closable: usize,
}

/// Whom a shard sends away: of each kind those who did nothing for the longest time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendAway {
    /// On these terms.
    pub terms: Terms,
    /// So many of the askable are asked.
    pub ask: usize,
    /// So many of the closable are closed with 1012.
    pub close: usize,
    /// Each is told to come back after a random time of about up to this.
    pub within_ms: u64,
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

    /// What each shard has; nothing of one that has ended.
    pub async fn count(&self, terms: Terms) -> Vec<Census> {
        let mut answers = Vec::with_capacity(self.handles.len());
        for handle in &self.handles {
            let (answer, answered) = oneshot::channel();
            handle.tell(ToShard::Count { terms, answer }).await;
            answers.push(answered);
        }
        let mut counts = Vec::with_capacity(answers.len());
        for answered in answers {
            counts.push(answered.await.unwrap_or_default());
        }
        counts
    }

    /// Sends members away, of each shard as many as its part of `counts` is, which
    /// [`Shards::count`] gave.
    pub async fn send_away(&self, away: SendAway, counts: &[Census]) {
        let asks = shared_out(away.ask, counts.iter().map(|count| count.askable));
        let closes = shared_out(away.close, counts.iter().map(|count| count.closable));
        for (handle, (ask, close)) in self.handles.iter().zip(asks.into_iter().zip(closes)) {
            if ask > 0 || close > 0 {
                let away = SendAway { ask, close, ..away };
                handle.tell(ToShard::SendAway(away)).await;
            }
        }
    }

    /// Closes all members with 1012, each with a random time of about up to `within_ms` after which it
    /// may come back.
    pub async fn close_all(&self, within_ms: u64) {
        for handle in &self.handles {
            handle.tell(ToShard::CloseAll { within_ms }).await;
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

/// `count` shared out in proportion to `sizes`, whole and with nothing left over, as far as they go.
fn shared_out(count: usize, sizes: impl Iterator<Item = usize> + Clone) -> Vec<usize> {
    let mut all: usize = sizes.clone().sum();
    let mut left = count.min(all);
    let mut shares = Vec::new();
    for size in sizes {
        let share = if size == 0 {
            0
        } else {
            (left * size).div_ceil(all)
        };
        shares.push(share);
        left -= share;
        all -= size;
    }
    shares
}

// === impl Terms, Census ===

impl Terms {
    /// Whether who was asked `ago_ms` ago still has time to go.
    #[must_use]
    pub const fn waits(self, ago_ms: u64) -> bool {
        ago_ms < self.patience_ms
    }
}

impl Census {
    /// All of these together.
    #[must_use]
    pub fn sum(counts: &[Self]) -> Self {
        counts.iter().fold(Self::default(), |sum, count| Self {
            askable: sum.askable + count.askable,
            waiting: sum.waiting + count.waiting,
            closable: sum.closable + count.closable,
        })
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

    #[test]
    fn a_number_is_shared_out_in_proportion_and_as_a_whole() {
        let shared = |count, sizes: &[usize]| shared_out(count, sizes.iter().copied());
        assert_eq!(shared(10, &[50, 30, 20]), [5, 3, 2]);
        assert_eq!(shared(1, &[3, 3, 3]), [1, 0, 0]);
        assert_eq!(shared(9, &[1, 0, 2]), [1, 0, 2]);
        assert_eq!(shared(5, &[0, 0]), [0, 0]);
        assert_eq!(shared(7, &[1, 10, 1]).iter().sum::<usize>(), 7);
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
