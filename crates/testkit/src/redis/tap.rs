//! A relay before Redis that can hold one command.
//!
//! Used by tests that stop or kill whoever asks at an exact moment: before Redis has the command, or
//! after Redis has done it and before the answer is heard.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, oneshot},
    task::JoinSet,
};

use super::Redis;
use crate::server::locked;

/// Longer than any lease that has to run out before.
const CAUGHT_WITHIN: Duration = Duration::from_secs(30);

/// The relay; its connections end when it is dropped.
#[derive(Debug)]
pub struct Tap {
    address: SocketAddr,
    trap: Arc<Mutex<Option<Trap>>>,
    _accepting: JoinSet<()>,
}

/// What is waited for.
struct Trap {
    fits: fn(&str) -> bool,
    caught: oneshot::Sender<Caught>,
}

impl fmt::Debug for Trap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Trap").finish_non_exhaustive()
    }
}

/// A command that is held, and all that follows it on its connection. Dropped, it cuts the connection,
/// and Redis never sees the command.
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

impl Tap {
    /// A relay to this Redis.
    pub async fn to(redis: &Redis) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, redis.port()));
        let trap = Arc::default();
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, target, Arc::clone(&trap)));
        Self {
            address,
            trap,
            _accepting: accepting,
        }
    }

    /// `redis://…`
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Holds the next command that fits. It is shown as text, its parts as the protocol has them.
    /// Panics when none comes in time.
    pub async fn catch(&self, fits: fn(&str) -> bool) -> Caught {
        let (caught, held) = oneshot::channel();
        *locked(&self.trap) = Some(Trap { fits, caught });
        let held = tokio::time::timeout(CAUGHT_WITHIN, held).await;
        let held = held.unwrap_or_else(|_| panic!("no such command in {CAUGHT_WITHIN:?}"));
        held.expect("a trap is taken only when it shuts")
    }
}

impl Caught {
    /// Lets it go on as if nothing had happened.
    pub fn pass(self) {
        // Whoever asked may be gone.
        let _ = self.decide.send(Decision::Pass);
    }

    /// Lets Redis do it, and nobody hear of it; returns when it is done.
    pub async fn pass_unanswered(self) {
        let _ = self.decide.send(Decision::PassUnanswered);
        self.answered.notified().await;
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, trap: Arc<Mutex<Option<Trap>>>) {
    let mut relays = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        // Either side may end it whenever it likes.
        relays.spawn(relay(client, target, Arc::clone(&trap)));
    }
}

async fn relay(
    client: TcpStream,
    target: SocketAddr,
    trap: Arc<Mutex<Option<Trap>>>,
) -> io::Result<()> {
    let server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (client_says, to_client) = client.into_split();
    let (server_says, to_server) = server.into_split();
    let gag = Gag::default();
    tokio::select! {
        ended = commands(client_says, to_server, &trap, &gag) => ended,
        ended = answers(server_says, to_client, &gag) => ended,
    }
}

/// Whether a connection's answers are swallowed, and who wants to know of one.
#[derive(Debug, Default)]
struct Gag {
    is_on: AtomicBool,
    answered: Arc<Notify>,
}

async fn commands(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    trap: &Mutex<Option<Trap>>,
    gag: &Gag,
) -> io::Result<()> {
    let mut waiting = Vec::new();
    loop {
        if from.read_buf(&mut waiting).await? == 0 {
            return Ok(());
        }
        while let Some(length) = command_length(&waiting) {
            let command: Vec<u8> = waiting.drain(..length).collect();
            if let Some(decision) = hold(&command, trap, gag) {
                match decision.await.map_err(io::Error::other)? {
                    Decision::Pass => {}
                    Decision::PassUnanswered => gag.is_on.store(true, Ordering::SeqCst),
                }
            }
            to.write_all(&command).await?;
        }
    }
}

/// What is to be done with a command that was waited for.
fn hold(
    command: &[u8],
    trap: &Mutex<Option<Trap>>,
    gag: &Gag,
) -> Option<oneshot::Receiver<Decision>> {
    let mut trap = locked(trap);
    let trap = trap.take_if(|trap| (trap.fits)(&String::from_utf8_lossy(command)))?;
    let (decide, decision) = oneshot::channel();
    let answered = Arc::clone(&gag.answered);
    // Whoever waited may have given up: then its connection is cut.
    let _ = trap.caught.send(Caught { decide, answered });
    Some(decision)
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, gag: &Gag) -> io::Result<()> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut piece).await?;
        if read == 0 {
            return Ok(());
        }
        if gag.is_on.load(Ordering::SeqCst) {
            gag.answered.notify_one();
        } else {
            to.write_all(&piece[..read]).await?;
        }
    }
}

/// Of the first command, if it is whole: `*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n`.
fn command_length(bytes: &[u8]) -> Option<usize> {
    let (parts, mut at) = header(bytes, 0, b'*')?;
    for _ in 0..parts {
        let (length, begin) = header(bytes, at, b'$')?;
        at = begin + length + 2;
    }
    (at <= bytes.len()).then_some(at)
}

/// The number behind a mark, and where what follows begins.
fn header(bytes: &[u8], at: usize, mark: u8) -> Option<(usize, usize)> {
    let rest = bytes.get(at..)?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    assert_eq!(rest[0], mark, "clients of Redis send lists of strings");
    let number = std::str::from_utf8(&rest[1..end]).ok()?;
    Some((number.parse().ok()?, at + end + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_apart() {
        let echo = b"*2\r\n$4\r\nECHO\r\n$4\r\n*\r\n$\r\n";
        let both = [&echo[..], b"*1\r\n$4\r\nPING\r\n"].concat();
        assert_eq!(command_length(&both), Some(echo.len()));
        for cut in 0..echo.len() {
            assert_eq!(command_length(&echo[..cut]), None, "{cut}");
        }
    }
}
