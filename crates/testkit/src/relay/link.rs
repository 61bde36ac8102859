//! One connection through a relay.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, mpsc, oneshot},
    time::{Instant, sleep, sleep_until},
};

use super::{
    Caught, Conditions, Decision, Shared, Side, Way,
    framing::{self, Found, Framing, Question, Tone},
};
use crate::server::locked;

/// Pieces on their way in one direction. When it is full nothing more is read, and the sender waits as
/// for any slow receiver.
const UNDER_WAY: usize = 256;
const PIECE_BYTES: usize = 64 * 1024;
/// What stands between an address and its port, in the notations of Redis.
const BEFORE_PORTS: [&[u8]; 4] = [b"\r\n:", b"\r\n$5\r\n", b":", b" "];

#[derive(Debug)]
pub(super) struct Link {
    shared: Arc<Shared>,
    orders: Mutex<Orders>,
    /// Told of each answer while answers are swallowed by a trap.
    answered: Arc<Notify>,
}

/// What is to happen, and what it takes to know when.
#[derive(Debug, Default)]
struct Orders {
    asked: u64,
    answered: u64,
    cut_inside: Option<Side>,
    cut_before_answer: bool,
    /// When this is answered, the connection ends.
    awaited: Option<Question>,
    is_gagged: bool,
    /// Whether something of this direction vanished.
    swallowed: [bool; 2],
}

/// What becomes of a frame.
enum Fate {
    Pass,
    Vanish,
    /// The connection ends before it, or in it.
    CutAfter(usize),
    /// Somebody decides.
    Held(oneshot::Receiver<Decision>),
}

/// Bytes that arrive then.
type Piece = (Instant, Vec<u8>);

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.tally.ended.fetch_add(1, Ordering::Relaxed);
    }
}

impl Link {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            orders: Mutex::default(),
            answered: Arc::default(),
        }
    }

    pub(super) fn cut_inside(&self, side: Side) {
        locked(&self.orders).cut_inside = Some(side);
    }

    pub(super) fn cut_before_answer(&self) {
        locked(&self.orders).cut_before_answer = true;
    }

    /// Whether something vanished in a direction that lets everything through under these conditions.
    pub(super) fn lost_something(&self, conditions: Conditions) -> bool {
        let [asks, answers] = locked(&self.orders).swallowed;
        (asks && !conditions.asks.is_swallowed) || (answers && !conditions.answers.is_swallowed)
    }

    /// Until one of the two ends it, or an order does.
    pub(super) async fn relay(self: Arc<Self>, client: TcpStream, target: SocketAddr) {
        // Either side may end it whenever it likes.
        let _ = self.try_relay(client, target).await;
    }

    async fn try_relay(&self, client: TcpStream, target: SocketAddr) -> io::Result<()> {
        let server = TcpStream::connect(target).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (client_says, to_client) = client.into_split();
        let (server_says, to_server) = server.into_split();
        tokio::select! {
            ended = self.carry(Side::Asks, client_says, to_server) => ended,
            ended = self.carry(Side::Answers, server_says, to_client) => ended,
        }
    }

    async fn carry(&self, side: Side, from: OwnedReadHalf, to: OwnedWriteHalf) -> io::Result<()> {
        let (pieces, under_way) = mpsc::channel(UNDER_WAY);
        let read = self.read(side, from, pieces);
        let write = self.write(side, to, under_way);
        tokio::try_join!(read, write).map(|_| ())
    }

    async fn read(
        &self,
        side: Side,
        mut from: OwnedReadHalf,
        pieces: mpsc::Sender<Piece>,
    ) -> io::Result<()> {
        let mut frames = Frames::new(self.shared.framing);
        loop {
            frames.waiting.reserve(PIECE_BYTES);
            if from.read_buf(&mut frames.waiting).await? == 0 {
                return Ok(());
            }
            let (through, goes_on) = self.sift(side, &mut frames).await?;
            if !through.is_empty() {
                let piece = (Instant::now() + self.delay(side), through);
                pieces.send(piece).await.map_err(io::Error::other)?;
            }
            if !goes_on {
                return Ok(());
            }
        }
    }

    async fn write(
        &self,
        side: Side,
        mut to: OwnedWriteHalf,
        mut under_way: mpsc::Receiver<Piece>,
    ) -> io::Result<()> {
        while let Some((due, bytes)) = under_way.recv().await {
            sleep_until(due).await;
            to.write_all(&bytes).await?;
            let limit = self.way(side).bytes_per_second;
            if limit > 0 {
                sleep(Duration::from_secs_f64(bytes.len() as f64 / limit as f64)).await;
            }
        }
        Ok(())
    }

    /// What of the whole frames arrives, and whether the connection goes on.
    async fn sift(&self, side: Side, frames: &mut Frames) -> io::Result<(Vec<u8>, bool)> {
        let mut through = Vec::new();
        while let Some(frame) = frames.next() {
            match self.fate(side, &frame) {
                Fate::Pass => through.extend(self.renamed(side, frame)),
                Fate::Vanish => {}
                Fate::CutAfter(length) => {
                    through.extend(&frame[..length]);
                    return Ok((through, false));
                }
                Fate::Held(decision) => {
                    match decision.await.map_err(io::Error::other)? {
                        Decision::Pass => {}
                        Decision::PassUnanswered => locked(&self.orders).is_gagged = true,
                    }
                    through.extend(frame);
                }
            }
        }
        Ok((through, true))
    }

    fn fate(&self, side: Side, frame: &[u8]) -> Fate {
        let conditions = *locked(&self.shared.conditions);
        let mut orders = locked(&self.orders);
        if orders.cut_inside == Some(side) && frame.len() > 1 {
            return Fate::CutAfter(frame.len() / 2);
        }
        if self.vanishes(side, conditions, frame, &mut orders) {
            return Fate::Vanish;
        }
        match side {
            Side::Asks => self.fate_of_question(frame, &mut orders),
            Side::Answers => self.fate_of_answer(frame, conditions, &mut orders),
        }
    }

    fn vanishes(
        &self,
        side: Side,
        conditions: Conditions,
        frame: &[u8],
        orders: &mut Orders,
    ) -> bool {
        let (way, place) = match side {
            Side::Asks => (conditions.asks, 0),
            Side::Answers => (conditions.answers, 1),
        };
        // Once in a while is for ever: the rest would not make sense.
        let vanishes = way.is_swallowed || orders.swallowed[place];
        if vanishes {
            orders.swallowed[place] = true;
            let bytes = frame.len() as u64;
            self.count(&self.shared.tally.swallowed_bytes, bytes);
        }
        vanishes
    }

    fn fate_of_question(&self, frame: &[u8], orders: &mut Orders) -> Fate {
        let framing = self.shared.framing;
        if orders.cut_before_answer && orders.awaited.is_none() {
            orders.awaited = framing.question(frame, orders.asked);
        }
        orders.asked += 1;
        let mut trap = locked(&self.shared.trap);
        let fits = |trap: &mut super::Trap| (trap.fits)(&String::from_utf8_lossy(frame));
        let Some(trap) = trap.take_if(fits) else {
            return Fate::Pass;
        };
        let (decide, decision) = oneshot::channel();
        let answered = Arc::clone(&self.answered);
        // Whoever waited may have given up: then its connection is cut.
        let _ = trap.caught.send(Caught { decide, answered });
        Fate::Held(decision)
    }

    fn fate_of_answer(&self, frame: &[u8], conditions: Conditions, orders: &mut Orders) -> Fate {
        if orders.is_gagged {
            self.answered.notify_one();
            return Fate::Vanish;
        }
        let (framing, tally) = (self.shared.framing, &self.shared.tally);
        match framing.tone(frame) {
            Tone::Push if chance(conditions.pushes_lost_percent) => {
                self.count(&tally.pushes_lost, 1);
                return Fate::Vanish;
            }
            Tone::PutOff => self.count(&tally.put_off, 1),
            Tone::Resync => self.count(&tally.resyncs, 1),
            Tone::Push | Tone::Other => {}
        }
        let answers = |question: &Question| framing.answers(frame, orders.answered, question);
        if orders.awaited.as_ref().is_some_and(answers) {
            return Fate::CutAfter(0);
        }
        // What comes unasked answers nothing.
        if framing != Framing::Resp || frame.first() != Some(&b'>') {
            orders.answered += 1;
        }
        Fate::Pass
    }

    /// With the addresses that are to be dialled in the place of those that the server has.
    fn renamed(&self, side: Side, mut frame: Vec<u8>) -> Vec<u8> {
        const HOST: &[u8] = b"127.0.0.1";
        let renames = locked(&self.shared.renames);
        if side == Side::Asks || renames.is_empty() {
            return frame;
        }
        let mut from = 0;
        while let Some(at) = framing::find(&frame[from..], HOST) {
            from += at + HOST.len();
            let rest = &frame[from..];
            let between = BEFORE_PORTS
                .iter()
                .find(|between| rest.starts_with(between));
            let Some(place) = between.map(|between| from + between.len()) else {
                continue;
            };
            let port = frame.get(place..place + 5).and_then(|port| {
                let port: u16 = std::str::from_utf8(port).ok()?.parse().ok()?;
                renames.get(&port)
            });
            if let Some(port) = port {
                frame[place..place + 5].copy_from_slice(port.to_string().as_bytes());
            }
        }
        frame
    }

    fn way(&self, side: Side) -> Way {
        let conditions = locked(&self.shared.conditions);
        match side {
            Side::Asks => conditions.asks,
            Side::Answers => conditions.answers,
        }
    }

    fn delay(&self, side: Side) -> Duration {
        let (least, most) = self.way(side).delay_ms;
        match most {
            0 => Duration::ZERO,
            most => Duration::from_millis(least + random_below(most - least + 1)),
        }
    }

    fn count(&self, counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }
}

/// What was read and is no whole frame yet.
struct Frames {
    framing: Framing,
    waiting: Vec<u8>,
    /// Of what is waiting, so much was taken.
    taken: usize,
    head_is_due: bool,
}

impl Frames {
    fn new(framing: Framing) -> Self {
        Self {
            framing,
            waiting: Vec::new(),
            taken: 0,
            head_is_due: framing.begins_with_head(),
        }
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        let rest = &self.waiting[self.taken..];
        let found = match self.head_is_due {
            _ if rest.is_empty() => Found::Beginning,
            true => framing::head(rest),
            false => self.framing.first(rest),
        };
        let length = match found {
            Found::Frame(length) => length,
            Found::Beginning => {
                self.waiting.drain(..self.taken);
                self.taken = 0;
                return None;
            }
            Found::Unreadable => {
                self.framing = Framing::Opaque;
                rest.len()
            }
        };
        self.head_is_due = false;
        let frame = rest[..length].to_vec();
        self.taken += length;
        Some(frame)
    }
}

/// Whether it happens this time, of a hundred.
pub(super) fn chance(percent: u8) -> bool {
    percent > 0 && random_below(100) < u64::from(percent)
}

/// By the system's chance.
fn random_below(bound: u64) -> u64 {
    RandomState::new().hash_one(()) % bound.max(1)
}
