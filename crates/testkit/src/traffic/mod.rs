//! Load with a witness: many clients talk while a test breaks things, and in the end what every one
//! of them saw is judged against history.
//!
//! Used by the fault suites. The clients are written to the protocol alone and know nothing of what
//! is broken meanwhile. Half of them speak the base layer and half the extended one, and each
//! conversation has both on every gateway.

mod directory;
pub mod history;
mod member;
mod outbox;
mod witness;

use std::{
    fmt,
    fs::File,
    io::{BufWriter, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parlance_checker::{Violation, check};
pub use parlance_checker::{file::write, recording, report::describe};
use parlance_protocol::Position;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

pub use self::directory::Directory;
use self::{
    member::{Identity, Member, Order, State},
    recording::{
        Conversation, Event, Fault, Layer, Probe, Promise, Reading, Recording, Run, Sample,
    },
    witness::Witness,
};
use crate::server::locked;

/// Clients of each layer on each gateway, in each conversation.
const OF_A_KIND: usize = 1;
/// How long clients may take to come back, to send again and to hear everything.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// What is shown of others may be wrong for 20 s. Only who watches longer can say that it is right.
const WATCHED: Duration = Duration::from_secs(23);

/// How much is said.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The first part of the conversations' names, which nobody else has.
    pub name: String,
    /// How many there are.
    pub conversations: usize,
    /// New messages in all of them together.
    pub sends_per_second: u32,
    /// Whether every third is edited, and every sixth deleted then.
    pub changes: bool,
    /// Whether clients also type, read and fetch pages, one in each conversation has tokens that run out
    /// soon, and what they see of each other is judged by the clock. Everything that is broken must be
    /// told by [`Traffic::fault_begins`] then.
    pub lively: bool,
}

/// Clients that talk until they are told to finish.
#[derive(Debug)]
pub struct Traffic {
    clients: Vec<Running>,
    directory: Directory,
    orders: watch::Sender<Order>,
    tasks: JoinSet<()>,
    began: Instant,
    lively: bool,
    faults: Vec<Fault>,
    probes: Vec<Probe>,
    samples: Vec<Sample>,
    readings: Vec<(String, Reading)>,
}

#[derive(Debug)]
struct Running {
    identity: Identity,
    state: Arc<Mutex<State>>,
}

/// What a run was, for its report.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// How long it was talked.
    pub seconds: f64,
    /// How long it took from the end of the talk until everything was right.
    pub healed_seconds: f64,
    /// Offers, repeated ones too.
    pub sends: u64,
    /// Answers to them.
    pub acknowledged: u64,
    /// Sends that were refused for the moment.
    pub put_off: u64,
    /// How long it took from the end of the talk until all was told of as stored.
    pub stored_seconds: f64,
    /// Times that a client forgot a message because it is stored.
    pub stored: usize,
    /// In history.
    pub messages: usize,
    /// Connections that the server ended with a close frame.
    pub closed: usize,
    /// Connections that ended without.
    pub cut: usize,
    /// Times that a client was told of a loss.
    pub resyncs: usize,
    /// Times that a client was told that somebody went offline.
    pub offline: u64,
}

impl Traffic {
    /// Returns when all clients are connected and talk.
    pub async fn start(plan: &Plan, directory: &Directory) -> Self {
        let (orders, _) = watch::channel(Order::Talk);
        let gateways = directory.count();
        let per_conversation = gateways * 2 * OF_A_KIND;
        let clients = plan.conversations * per_conversation;
        let period = Duration::from_secs(1) * u32::try_from(clients).expect("a few thousand")
            / plan.sends_per_second;
        let mut traffic = Self {
            clients: Vec::new(),
            directory: directory.clone(),
            orders,
            tasks: JoinSet::new(),
            began: Instant::now(),
            lively: plan.lively,
            faults: Vec::new(),
            probes: Vec::new(),
            samples: Vec::new(),
            readings: Vec::new(),
        };
        for number in 0..clients {
            let (room, seat) = (number / per_conversation, number % per_conversation);
            let user = format!("{}u{number}", plan.name);
            traffic.add(
                Identity {
                    conversation: format!("{}c{room}", plan.name),
                    user,
                    layer: match seat / gateways % 2 {
                        0 => Layer::Base,
                        _ => Layer::Extended,
                    },
                    home: seat % gateways,
                    changes: plan.changes,
                    lively: plan.lively,
                    is_guest: plan.lively && seat == 0,
                },
                period,
            );
        }
        traffic
            .wait("all clients to be live", |state| state.live)
            .await;
        traffic
    }

    // --- what a recording has beside what clients saw ---

    /// µs on the clock of the recording.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        let elapsed = self.began.elapsed().as_micros();
        u64::try_from(elapsed).expect("a run of less than 500,000 years")
    }

    /// Something is broken from now on. Gives its number for [`Traffic::fault_ends`].
    pub fn fault_begins(&mut self, name: &str) -> usize {
        self.faults.push(Fault {
            name: name.to_owned(),
            begun_us: self.now_us(),
            ended_us: u64::MAX,
        });
        self.faults.len() - 1
    }

    /// It is mended.
    pub fn fault_ends(&mut self, number: usize) {
        self.faults[number].ended_us = self.now_us();
    }

    /// Something that had to happen soon, since then on the clock of the recording.
    pub fn probe(&mut self, what: &str, began_us: u64, within: Duration) {
        self.probes.push(Probe {
            what: what.to_owned(),
            began_us,
            took_us: self.now_us() - began_us,
            within_us: u64::try_from(within.as_micros()).expect("a few minutes"),
        });
    }

    /// What a process uses now.
    pub fn sample(&mut self, process: &str, rss_bytes: u64, descriptors: u64) {
        self.samples.push(Sample {
            process: process.to_owned(),
            at_us: self.now_us(),
            rss_bytes,
            descriptors,
        });
    }

    /// What somebody else read of a conversation at the end.
    pub fn reading(&mut self, conversation: &str, reading: Reading) {
        self.readings.push((conversation.to_owned(), reading));
    }

    fn add(&mut self, identity: Identity, period: Duration) {
        let state = Arc::new(Mutex::new(State {
            witness: Witness::since(self.began),
            ..State::default()
        }));
        let member = Member::new(
            identity.clone(),
            self.directory.clone(),
            state.clone(),
            self.orders.subscribe(),
            period,
        );
        self.tasks.spawn(member.run());
        self.clients.push(Running { identity, state });
    }

    /// Waits until every client has had another acknowledgement; how long that took.
    pub async fn flows_again(&mut self) -> Duration {
        let began = Instant::now();
        let before: Vec<u64> = self.map(|state| state.acknowledged);
        let flows = |traffic: &Self| {
            let now = traffic.map(|state| state.acknowledged);
            now.iter().zip(&before).all(|(now, before)| now > before)
        };
        self.wait_for("every client's next acknowledgement", flows)
            .await;
        began.elapsed()
    }

    /// How much was acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.map(|state| state.acknowledged).iter().sum()
    }

    /// Waits until this much was acknowledged since now.
    pub async fn until_acknowledged(&mut self, count: u64) {
        self.until("acknowledgements", count, |state| state.acknowledged)
            .await;
    }

    /// Waits until this much was offered since now, answered or not.
    pub async fn until_offered(&mut self, count: u64) {
        self.until("offers", count, |state| state.sends).await;
    }

    async fn until(&mut self, what: &str, count: u64, of: fn(&State) -> u64) {
        let total = |traffic: &Self| traffic.map(of).iter().sum::<u64>();
        let goal = total(self) + count;
        self.wait_for(what, |traffic| total(traffic) >= goal).await;
    }

    /// Lets the clients say what they still have to say, reads history, and panics when anything
    /// of it is not as it was promised.
    pub async fn finish(self, promise: Promise) -> Figures {
        self.finish_recorded(promise).await.0
    }

    /// As [`Traffic::finish`]; gives the recording, too, for more that could be judged.
    pub async fn finish_recorded(self, promise: Promise) -> (Figures, Recording) {
        let (figures, recording, violations) = self.judge(promise, SETTLED_WITHIN / 2).await;
        assert!(
            violations.is_empty(),
            "{}\n{}",
            kept(&recording),
            describe(&recording, &violations)
        );
        (figures, recording)
    }

    /// As [`Traffic::finish_recorded`], and gives what must not be, and is still so after a while, instead
    /// of a panic.
    pub async fn judge(
        mut self,
        promise: Promise,
        patience: Duration,
    ) -> (Figures, Recording, Vec<Violation>) {
        let seconds = self.began.elapsed().as_secs_f64();
        self.orders.send_replace(Order::Finish);
        let hushed = Instant::now();
        let settled = |state: &State| state.live && state.unanswered == 0;
        self.wait("all outboxes to be empty", settled).await;
        let stored = |state: &State| state.unstored == 0;
        self.wait("all that was acknowledged to be told of as stored", stored)
            .await;
        let stored_seconds = hushed.elapsed().as_secs_f64();
        if self.lively {
            self.orders.send_replace(Order::Watch);
            sleep(WATCHED).await;
        }
        let give_up = Instant::now() + patience;
        let (recording, violations) = loop {
            let recording = self.recording(promise).await;
            let violations = check(&recording);
            let is_right = violations.is_empty() && self.behind(&recording).is_empty();
            // What a gateway restores takes a while; everything else stays wrong.
            if is_right || Instant::now() > give_up {
                break (recording, violations);
            }
            sleep(POLL * 5).await;
        };
        let behind = self.behind(&recording);
        assert!(
            !violations.is_empty() || behind.is_empty(),
            "{}\nclients that have not seen the newest message: {behind:?}",
            kept(&recording)
        );
        let mut figures = self.figures(&recording, seconds);
        figures.stored_seconds = stored_seconds;
        figures.healed_seconds = hushed.elapsed().as_secs_f64();
        self.orders.send_replace(Order::Leave);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a client does not panic");
        }
        (figures, recording, violations)
    }

    async fn recording(&self, promise: Promise) -> Recording {
        let mut recording = self.seen_so_far(promise);
        for conversation in &mut recording.conversations {
            conversation.history = history::read(&self.directory, &conversation.name).await;
            conversation.name_deleted();
        }
        recording
    }

    /// Without a history.
    fn seen_so_far(&self, promise: Promise) -> Recording {
        let mut conversations: Vec<Conversation> = Vec::new();
        for client in &self.clients {
            let name = &client.identity.conversation;
            if conversations.last().is_none_or(|last| last.name != *name) {
                conversations.push(Conversation {
                    name: name.clone(),
                    history: Vec::new(),
                    readings: self.readings_of(name),
                    members: Vec::new(),
                });
            }
            let conversation = conversations.last_mut().expect("one was pushed");
            conversation.members.push(recording::Member {
                user: client.identity.user.clone(),
                layer: client.identity.layer,
                events: locked(&client.state).witness.seen().to_vec(),
            });
        }
        let now_us = self.now_us();
        let ended = |fault: &Fault| Fault {
            ended_us: fault.ended_us.min(now_us),
            ..fault.clone()
        };
        Recording {
            run: Run {
                promise,
                timed: self.lively,
                ended_us: now_us,
            },
            conversations,
            faults: self.faults.iter().map(ended).collect(),
            probes: self.probes.clone(),
            samples: self.samples.clone(),
        }
    }

    fn readings_of(&self, conversation: &str) -> Vec<Reading> {
        let of = self
            .readings
            .iter()
            .filter(|(name, _)| name == conversation);
        of.map(|(_, reading)| reading.clone()).collect()
    }

    /// Clients that are not done with everything.
    fn open(&self) -> Vec<String> {
        let open = self.clients.iter().filter_map(|client| {
            let state = locked(&client.state);
            let State {
                live,
                unanswered,
                unstored,
                oldest,
                refusal,
                ..
            } = &*state;
            let is_done = *live && *unanswered == 0 && *unstored == 0;
            let Identity { user, layer, .. } = &client.identity;
            (!is_done).then(|| {
                format!(
                    "{user} ({layer:?}): live {live}, {unanswered} unanswered, {unstored} unstored, \
                     the oldest {oldest:?}, the last refusal {refusal:?}"
                )
            })
        });
        open.collect()
    }

    /// Clients that have not seen the newest message of their conversation.
    fn behind(&self, recording: &Recording) -> Vec<String> {
        let head = |client: &Running| {
            let mut rooms = recording.conversations.iter();
            let room = rooms.find(|room| room.name == client.identity.conversation);
            room.and_then(|room| room.history.last())
                .map_or(Position::ZERO, |told| told.position)
        };
        let behind = |client: &&Running| locked(&client.state).reached < head(client);
        let late = self.clients.iter().filter(behind);
        late.map(|client| client.identity.user.clone()).collect()
    }

    fn figures(&self, recording: &Recording, seconds: f64) -> Figures {
        let rooms = recording.conversations.iter();
        let seen = |fits: fn(&Event) -> bool| {
            let members = rooms.clone().flat_map(|room| &room.members);
            let events = members.flat_map(|member| &member.events);
            events.filter(|seen| fits(&seen.event)).count()
        };
        Figures {
            seconds,
            healed_seconds: 0.0,
            stored_seconds: 0.0,
            put_off: self.map(|state| state.put_off).iter().sum(),
            sends: self.map(|state| state.sends).iter().sum(),
            acknowledged: self.map(|state| state.acknowledged).iter().sum(),
            stored: seen(|event| matches!(event, Event::Stored { .. })),
            messages: rooms.clone().map(|room| room.history.len()).sum(),
            closed: seen(|event| matches!(event, Event::Closed { code: Some(_) })),
            cut: seen(|event| matches!(event, Event::Closed { code: None })),
            resyncs: seen(|event| matches!(event, Event::Resync { .. })),
            offline: self.map(|state| state.offline_seen).iter().sum(),
        }
    }

    fn map<T>(&self, of: impl Fn(&State) -> T) -> Vec<T> {
        let states = self.clients.iter();
        states.map(|client| of(&locked(&client.state))).collect()
    }

    async fn wait(&mut self, what: &str, fits: impl Fn(&State) -> bool) {
        self.wait_for(what, |traffic| traffic.map(&fits).iter().all(|fits| *fits))
            .await;
    }

    async fn wait_for(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let give_up = Instant::now() + SETTLED_WITHIN;
        while !holds(self) {
            if let Some(ended) = self.tasks.try_join_next() {
                ended.expect("a client does not panic");
                panic!("a client left by itself");
            }
            if Instant::now() > give_up {
                // Its history is not known, so only what was seen on the way can be judged.
                let seen = kept(&self.seen_so_far(Promise::TailMayBeLost));
                let open = self.open().join("\n");
                panic!("waited {SETTLED_WITHIN:?} for {what}; {seen}; open are:\n{open}");
            }
            sleep(POLL).await;
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} sends in {:.1} s, {} put off, {} acks, {} messages, {} closes with and {} without a \
             frame, {} resyncs, all right {:.1} s after the last",
            self.sends,
            self.seconds,
            self.put_off,
            self.acknowledged,
            self.messages,
            self.closed,
            self.cut,
            self.resyncs,
            self.healed_seconds
        )
    }
}

/// Where a recording lies that shows something wrong.
fn kept(recording: &Recording) -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("parlance-history-{}-{number}.jsonl", std::process::id());
    let path = std::env::temp_dir().join(name);
    let written = File::create(&path).and_then(|file| {
        let mut file = BufWriter::new(file);
        write(recording, &mut file)?;
        file.flush()
    });
    match written {
        Ok(()) => format!("parlance check {}", path.display()),
        Err(error) => format!("the history cannot be kept in {}: {error}", path.display()),
    }
}
