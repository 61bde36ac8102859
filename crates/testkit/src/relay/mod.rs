//! A TCP relay with an address that stays while the server behind it comes, goes and moves, and which
//! makes the network between them as bad as it is told to.
//!
//! Used by tests between any two of ours: clients and gateways, gateways or persisters and Redis or the
//! store. It knows the frames of what is spoken ([`Framing`]), so that it can cut inside one, between a
//! question and its answer, or lose what was published. It makes nothing up: what it passes on was said,
//! in that order. What it cannot read it passes on as it comes.
//!
//! Not the kernel's netem, which many kernels lack and which knows no frames.

mod framing;
mod link;

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, oneshot},
    task::{AbortHandle, JoinSet},
};

pub use self::framing::{Framing, Side};
use self::link::Link;
use crate::server::locked;

/// Longer than any lease that has to run out before.
const CAUGHT_WITHIN: Duration = Duration::from_secs(30);

/// A relay; its connections end when it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: JoinSet<()>,
}

/// How the network is, of all connections of a relay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Towards the server.
    pub asks: Way,
    /// Back from it.
    pub answers: Way,
    /// Of a hundred things that Redis publishes to a subscriber, so many are lost.
    pub pushes_lost_percent: u8,
}

/// How it is in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Way {
    /// Bytes arrive so much later, at least and at most, in their order.
    pub delay_ms: (u64, u64),
    /// Not more than this; 0 is without a limit.
    pub bytes_per_second: u64,
    /// Everything vanishes, and nobody is told. A connection of which something vanished is cut when
    /// this is over.
    pub is_swallowed: bool,
}

/// What a relay has seen and done since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were let through.
    pub dials: u64,
    /// Connections that were refused by order.
    pub refused: u64,
    /// Connections that ended, for any reason.
    pub ended: u64,
    /// Those that were cut by order.
    pub cut: u64,
    /// Published things that were lost by order.
    pub pushes_lost: u64,
    /// Bytes that vanished by order.
    pub swallowed_bytes: u64,
    /// Sends of clients that were refused for the moment.
    pub put_off: u64,
    /// Losses that clients were told of.
    pub resyncs: u64,
}

/// What the relay and its connections have in common.
#[derive(Debug)]
struct Shared {
    framing: Framing,
    behind: Mutex<Behind>,
    conditions: Mutex<Conditions>,
    /// Of the next ones, so many are refused.
    refused_dials: AtomicU32,
    /// Ports that the server names, and those to be named in their place.
    renames: Mutex<HashMap<u16, u16>>,
    trap: Mutex<Option<Trap>>,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Behind {
    /// `None`: whoever connects is cut at once.
    target: Option<SocketAddr>,
    relays: JoinSet<()>,
    links: Vec<(AbortHandle, Arc<Link>)>,
}

/// [`Counts`] as they grow.
#[derive(Debug, Default)]
struct Tally {
    dials: AtomicU64,
    refused: AtomicU64,
    ended: AtomicU64,
    cut: AtomicU64,
    pushes_lost: AtomicU64,
    swallowed_bytes: AtomicU64,
    put_off: AtomicU64,
    resyncs: AtomicU64,
}

/// A frame that is waited for.
struct Trap {
    fits: fn(&str) -> bool,
    caught: oneshot::Sender<Caught>,
}

impl fmt::Debug for Trap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Trap").finish_non_exhaustive()
    }
}

/// A frame that is held, and all that follows it on its connection. Dropped, it cuts the connection, and
/// the server never sees the frame.
#[derive(Debug)]
pub struct Caught {
    decide: oneshot::Sender<Decision>,
    answered: Arc<Notify>,
}

#[derive(Debug, Clone, Copy)]
enum Decision {
    Pass,
    PassUnanswered,
}

impl Relay {
    /// A relay to `target`.
    pub async fn to(framing: Framing, target: SocketAddr) -> Self {
        Self::at(IpAddr::V4(Ipv4Addr::LOCALHOST), framing, target).await
    }

    /// The same, on this address.
    pub async fn at(host: IpAddr, framing: Framing, target: SocketAddr) -> Self {
        let listener = TcpListener::bind((host, 0)).await;
        let listener = listener.expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared {
            framing,
            behind: Mutex::default(),
            conditions: Mutex::default(),
            refused_dials: AtomicU32::new(0),
            renames: Mutex::default(),
            trap: Mutex::default(),
            tally: Tally::default(),
        });
        locked(&shared.behind).target = Some(target);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&shared)));
        Self {
            address,
            shared,
            _accepting: accepting,
        }
    }

    /// Where to connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has seen and done.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.tally.counts()
    }

    // --- where to ---

    /// Ends every connection and lets none through.
    pub fn cut(&self) {
        locked(&self.shared.behind).target = None;
        self.cut_by_chance(100);
    }

    /// Lets connections through to `target`, as if nothing had ever been wrong.
    pub fn relay_to(&self, target: SocketAddr) {
        locked(&self.shared.behind).target = Some(target);
        self.set(Conditions::default());
    }

    /// Ports that the server names are to be dialled here: in each of its answers with `127.0.0.1` and
    /// such a port behind it, the other one stands in its place. Both have as many digits.
    pub fn rename(&self, renames: HashMap<u16, u16>) {
        let as_long = |(from, to): (&u16, &u16)| from.to_string().len() == to.to_string().len();
        assert!(renames.iter().all(as_long), "{renames:?}");
        *locked(&self.shared.renames) = renames;
    }

    // --- faults ---

    /// Makes the network like this. What vanished before and shall not any more was one connection's
    /// for ever: that is cut.
    pub fn set(&self, conditions: Conditions) {
        *locked(&self.shared.conditions) = conditions;
        let behind = locked(&self.shared.behind);
        for (task, link) in &behind.links {
            if link.lost_something(conditions) {
                task.abort();
            }
        }
    }

    /// From now on what the server says is swallowed; what clients say still arrives.
    pub fn mute(&self) {
        let mut conditions = *locked(&self.shared.conditions);
        conditions.answers.is_swallowed = true;
        self.set(conditions);
    }

    /// Connections that are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        let behind = locked(&self.shared.behind);
        let links = behind.links.iter();
        links.filter(|(task, _)| !task.is_finished()).count()
    }

    /// Ends of a hundred connections so many; how many that were.
    pub fn cut_by_chance(&self, percent: u8) -> u64 {
        self.by_chance(percent, |task, _| task.abort())
    }

    /// The next frame of this direction arrives in half, and the connection ends.
    pub fn cut_inside_frames(&self, side: Side, percent: u8) -> u64 {
        self.by_chance(percent, |_, link| link.cut_inside(side))
    }

    /// The next question that changes something arrives, and the connection ends in the place of its
    /// answer.
    pub fn cut_before_answers(&self, percent: u8) -> u64 {
        self.by_chance(percent, |_, link| link.cut_before_answer())
    }

    /// The next connections, so many, are refused.
    pub fn refuse_dials(&self, count: u32) {
        self.shared.refused_dials.store(count, Ordering::SeqCst);
    }

    /// Holds the next question that fits. It is shown as text, its parts as the protocol has them.
    /// Panics when none comes in time.
    pub async fn catch(&self, fits: fn(&str) -> bool) -> Caught {
        let (caught, held) = oneshot::channel();
        *locked(&self.shared.trap) = Some(Trap { fits, caught });
        let held = tokio::time::timeout(CAUGHT_WITHIN, held).await;
        let held = held.unwrap_or_else(|_| panic!("no such question in {CAUGHT_WITHIN:?}"));
        held.expect("a trap is taken only when it shuts")
    }

    fn by_chance(&self, percent: u8, act: impl Fn(&AbortHandle, &Link)) -> u64 {
        let behind = locked(&self.shared.behind);
        let live = behind.links.iter().filter(|(task, _)| !task.is_finished());
        let mut struck = 0;
        for (task, link) in live {
            if link::chance(percent) {
                act(task, link);
                struck += 1;
            }
        }
        self.shared.tally.cut.fetch_add(struck, Ordering::Relaxed);
        struck
    }
}

impl Caught {
    /// Lets it go on as if nothing had happened.
    pub fn pass(self) {
        // Whoever asked may be gone.
        let _ = self.decide.send(Decision::Pass);
    }

    /// Lets the server do it, and nobody hear of it; returns when it is done.
    pub async fn pass_unanswered(self) {
        let _ = self.decide.send(Decision::PassUnanswered);
        self.answered.notified().await;
    }
}

impl Counts {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            dials: self.dials + other.dials,
            refused: self.refused + other.refused,
            ended: self.ended + other.ended,
            cut: self.cut + other.cut,
            pushes_lost: self.pushes_lost + other.pushes_lost,
            swallowed_bytes: self.swallowed_bytes + other.swallowed_bytes,
            put_off: self.put_off + other.put_off,
            resyncs: self.resyncs + other.resyncs,
        }
    }
}

impl Tally {
    fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            dials: read(&self.dials),
            refused: read(&self.refused),
            ended: read(&self.ended),
            cut: read(&self.cut),
            pushes_lost: read(&self.pushes_lost),
            swallowed_bytes: read(&self.swallowed_bytes),
            put_off: read(&self.put_off),
            resyncs: read(&self.resyncs),
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        shared.admit(client);
    }
}

impl Shared {
    fn admit(self: &Arc<Self>, client: TcpStream) {
        let mut behind = locked(&self.behind);
        while behind.relays.try_join_next().is_some() {}
        behind.links.retain(|(task, _)| !task.is_finished());
        let one_less = |left: u32| left.checked_sub(1);
        let refused = self
            .refused_dials
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        if refused.is_ok() {
            self.tally.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let Some(target) = behind.target else { return };
        self.tally.dials.fetch_add(1, Ordering::Relaxed);
        let link = Arc::new(Link::new(Arc::clone(self)));
        let task = behind.relays.spawn(Arc::clone(&link).relay(client, target));
        behind.links.push((task, link));
    }
}
