//! The world of one run: its clock, its chance, its servers, and the ways between all of them.
//!
//! Everything runs on one thread with a paused clock, so the order of things follows from the seed
//! alone. The ports want what may be sent to other threads, so processes hold a number, and the world
//! is found by the thread.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    time::Duration,
};

use parlance_core::{
    clock::{Mono, Now},
    ports::{Heard, Unavailable},
};
use parlance_protocol::{ConversationId, Position, UnixMicros};
use parlance_testkit::store::MemoryStore;
use tokio::{
    sync::oneshot,
    task::spawn_local,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    chance::Chance,
    gateway::Node,
    log::{Call, Redis, Run},
    net::Net,
    rule::{Rule, Rules},
};

/// Where wall clocks begin.
const WALL_US: u64 = 1_800_000_000_000_000;
/// The longest that something slow is on one way.
pub(crate) const SLOW_MS: u64 = 14_000;
/// How much of what happened last is shown with a violation.
const TRACE: usize = 8_000;

thread_local! {
    static WORLD: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
}

/// The world of this thread.
pub(crate) fn world() -> Rc<World> {
    WORLD.with_borrow(|world| world.clone().expect("a run is under way on this thread"))
}

pub(crate) fn enter(world: Option<Rc<World>>) {
    WORLD.set(world);
}

#[derive(Default)]
struct Link {
    run: Cell<u64>,
    last: Cell<Option<Instant>>,
    tasks: RefCell<Vec<tokio::task::AbortHandle>>,
}

pub(crate) struct World {
    pub(crate) rules: Rules,
    pub(crate) chance: RefCell<Chance>,
    pub(crate) redis: RefCell<Redis>,
    pub(crate) replica: RefCell<Redis>,
    run: Cell<u64>,
    pub(crate) store: MemoryStore,
    pub(crate) begun: Instant,
    leapt_us: Cell<u64>,
    cut: Cell<u64>,
    /// Nothing fails any more.
    pub(crate) is_calm: Cell<bool>,
    /// Of a thousand calls, how many are lost, and how many are slow.
    pub(crate) lost: u64,
    pub(crate) slow: u64,
    nonces: Cell<u64>,
    links: RefCell<BTreeMap<u64, Rc<Link>>>,
    listening: RefCell<BTreeSet<(u64, ConversationId)>>,
    pub(crate) nodes: RefCell<BTreeMap<u64, Rc<Node>>>,
    /// Which event stands at each position that anybody ever saw.
    seen: RefCell<BTreeMap<(ConversationId, Position), String>>,
    pub(crate) violation: RefCell<Option<String>>,
    trace: RefCell<VecDeque<String>>,
}

impl World {
    pub(crate) fn new(seed: u64, rules: Rules) -> Rc<Self> {
        let mut chance = Chance::new(seed);
        let (lost, slow) = (chance.below(25), chance.below(20));
        let tail = chance.within(1, 12) as usize;
        Rc::new(Self {
            rules,
            redis: RefCell::new(Redis::new(rules, tail)),
            replica: RefCell::new(Redis::new(rules, tail)),
            run: Cell::new(1),
            store: MemoryStore::default(),
            begun: Instant::now(),
            leapt_us: Cell::new(0),
            cut: Cell::new(0),
            is_calm: Cell::new(false),
            lost,
            slow,
            nonces: Cell::new(1),
            links: RefCell::default(),
            listening: RefCell::default(),
            nodes: RefCell::default(),
            seen: RefCell::default(),
            violation: RefCell::default(),
            trace: RefCell::default(),
            chance: RefCell::new(chance),
        })
    }

    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.chance.borrow_mut().below(bound)
    }

    /// Whether a fault happens that happens so many times in a thousand.
    pub(crate) fn fails(&self, permille: u64) -> bool {
        let fails = self.chance.borrow_mut().permille(permille);
        fails && !self.is_calm.get()
    }

    pub(crate) fn now(&self) -> Now {
        let passed = self.begun.elapsed();
        Now {
            mono: Mono(1_000 + passed.as_millis() as u64),
            wall: UnixMicros(WALL_US + passed.as_micros() as u64 + self.leapt_us.get()),
        }
    }

    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        let mut trace = self.trace.borrow_mut();
        if trace.len() == TRACE {
            trace.pop_front();
        }
        trace.push_back(format!("{:>7} ms  {}", self.now().mono.0 - 1_000, what()));
    }

    pub(crate) fn trace(&self) -> Vec<String> {
        self.trace.borrow().iter().cloned().collect()
    }

    pub(crate) fn violate(&self, what: String) {
        self.note(|| format!("VIOLATION {what}"));
        self.violation.borrow_mut().get_or_insert(what);
    }

    /// A position names one event, whoever shows it.
    pub(crate) fn expose(&self, of: &ConversationId, position: Position, name: &str) {
        let mut seen = self.seen.borrow_mut();
        let known = seen
            .entry((of.clone(), position))
            .or_insert_with(|| name.to_owned());
        if known != name {
            let what = format!("REUSE {position} of {of} was {known} and is {name}");
            drop(seen);
            self.violate(what);
        }
    }

    // === faults ===

    /// The server goes on with what `redis` holds, as another run if `is_new_run`.
    pub(crate) fn replace(&self, redis: Redis, is_new_run: bool) {
        *self.redis.borrow_mut() = redis;
        if is_new_run {
            self.run.set(self.run.get() + 1);
            self.listening.borrow_mut().clear();
        }
    }

    /// So much time passes while nobody does anything: what is under way is given up, and no
    /// connection lasts so long.
    pub(crate) fn leap(&self, hours: u64) {
        self.leapt_us
            .set(self.leapt_us.get() + hours * 3_600_000_000);
        if self.rules.has(Rule::TenSeconds) {
            self.cut.set(self.cut.get() + 1);
        }
        self.redis.borrow_mut().expire(hours > 24 * 30);
        let nodes: Vec<Rc<Node>> = self.nodes.borrow().values().cloned().collect();
        nodes.iter().for_each(Node::lose_all);
    }

    /// A process ends without a word.
    pub(crate) fn kill(&self, process: u64) {
        self.listening.borrow_mut().retain(|(of, _)| *of != process);
        if let Some(link) = self.links.borrow_mut().remove(&process) {
            link.tasks.borrow().iter().for_each(|task| task.abort());
        }
    }

    // === ways ===

    fn link(&self, process: u64) -> Rc<Link> {
        let mut links = self.links.borrow_mut();
        let run = &self.run;
        let link = links.entry(process).or_insert_with(|| {
            let link = Link::default();
            link.run.set(run.get());
            Rc::new(link)
        });
        Rc::clone(link)
    }

    /// How long something is on its way, in ms.
    fn delay_ms(&self) -> u64 {
        let usual = self.below(8);
        if self.fails(self.slow) {
            return usual + self.below(SLOW_MS);
        }
        usual
    }

    /// What a link that belongs to another run finds: it is over, and the next one is made.
    fn is_broken(&self, process: u64) -> bool {
        let link = self.link(process);
        let is_broken = link.run.get() != self.run.get();
        if is_broken {
            link.run.set(self.run.get());
            if let Some(node) = self.nodes.borrow().get(&process).cloned() {
                spawn_local(async move { node.reconnected().await });
            }
        }
        is_broken
    }

    /// A call of now.
    pub(crate) fn call(&self) -> Call {
        Call {
            run: Run(self.run.get()),
            now_ms: self.now().wall.0 / 1_000,
        }
    }

    fn deliver<T>(
        &self,
        process: u64,
        cut: u64,
        act: impl FnOnce(&mut Redis, Call) -> T,
    ) -> Result<T, Unavailable> {
        if self.is_broken(process) || cut != self.cut.get() || self.fails(self.lost) {
            return Err(Unavailable::new("the call was lost"));
        }
        let call = self.call();
        let mut redis = self.redis.borrow_mut();
        let answer = act(&mut redis, call);
        let told = redis.take_told();
        drop(redis);
        for (conversation, heard) in told {
            self.tell(&conversation, &heard);
        }
        if self.fails(self.lost) {
            return Err(Unavailable::new("the answer was lost"));
        }
        Ok(answer)
    }

    fn tell(&self, conversation: &ConversationId, heard: &Heard) {
        if let Heard::Entry(entry) = heard {
            let name = crate::judge::name(&entry.sender, entry.local_id.as_ref());
            self.note(|| format!("log {conversation} {} <- {name}", entry.position));
            self.expose(conversation, entry.position, &name);
        }
        let listening: Vec<u64> = {
            let all = self.listening.borrow();
            let of = all.iter().filter(|(_, of)| of == conversation);
            of.map(|(process, _)| *process).collect()
        };
        for process in listening {
            let copies = if self.fails(40) {
                0
            } else {
                1 + u64::from(self.fails(20))
            };
            for _ in 0..copies {
                let (of, heard, ms) = (conversation.clone(), heard.clone(), self.delay_ms());
                let node = self.nodes.borrow().get(&process).cloned();
                spawn_local(async move {
                    sleep(Duration::from_millis(ms)).await;
                    if let Some(node) = node {
                        node.heard(&of, heard);
                    }
                });
            }
        }
    }

    /// Looks at every process's link, as probes do.
    pub(crate) fn probe(&self) {
        let processes: Vec<u64> = self.links.borrow().keys().copied().collect();
        for process in processes {
            self.is_broken(process);
        }
    }
}

/// One process's ways.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SimNet(pub(crate) u64);

impl Net for SimNet {
    fn rules(&self) -> Rules {
        world().rules
    }

    fn now_us(&self) -> u64 {
        world().now().wall.0
    }

    fn nonce(&self) -> u64 {
        let nonces = &world().nonces;
        nonces.set(nonces.get() + 1);
        nonces.get()
    }

    fn log<T: 'static>(
        &self,
        act: impl FnOnce(&mut Redis, Call) -> T + 'static,
    ) -> impl Future<Output = Result<T, Unavailable>> + 'static {
        let (world, process) = (world(), self.0);
        let link = world.link(process);
        let soonest = Instant::now() + Duration::from_millis(world.delay_ms());
        let next = link.last.get().map(|last| last + Duration::from_millis(1));
        let at = next.map_or(soonest, |next| next.max(soonest));
        link.last.set(Some(at));
        let (cut, back) = (world.cut.get(), Duration::from_millis(world.delay_ms()));
        let (answer, answered) = oneshot::channel();
        spawn_local(async move {
            sleep_until(at).await;
            let delivered = world.deliver(process, cut, act);
            sleep(back).await;
            // Who does not wait any more needs no answer.
            let _ = answer.send(delivered);
        });
        async move {
            let closed = |_| Unavailable::new("the link was closed");
            answered.await.map_err(closed)?
        }
    }

    fn store<T: 'static, E: From<Unavailable> + 'static>(
        &self,
        act: impl FnOnce(&MemoryStore) -> Result<T, E> + 'static,
    ) -> impl Future<Output = Result<T, E>> + 'static {
        let world = world();
        let (there, back) = (world.delay_ms(), world.delay_ms());
        let cut = world.cut.get();
        let (answer, answered) = oneshot::channel();
        spawn_local(async move {
            sleep(Duration::from_millis(there)).await;
            let lost = || Err(E::from(Unavailable::new("no answer of the store")));
            let done = match cut != world.cut.get() || world.fails(world.lost) {
                true => lost(),
                false => act(&world.store),
            };
            sleep(Duration::from_millis(back)).await;
            let is_lost = cut != world.cut.get() || world.fails(world.lost);
            let _ = answer.send(if is_lost { lost() } else { done });
        });
        async move {
            let closed = |_| E::from(Unavailable::new("the way to the store was closed"));
            answered.await.map_err(closed)?
        }
    }

    fn subscribe(
        &self,
        conversation: &ConversationId,
    ) -> impl Future<Output = Result<(), Unavailable>> + 'static {
        let (of, process) = (conversation.clone(), self.0);
        self.log(move |_, _| {
            world().listening.borrow_mut().insert((process, of));
        })
    }

    fn unsubscribe(&self, conversation: &ConversationId) {
        let listening = &world().listening;
        listening
            .borrow_mut()
            .remove(&(self.0, conversation.clone()));
    }

    fn start(&self, task: impl Future<Output = ()> + 'static) {
        let link = world().link(self.0);
        let mut tasks = link.tasks.borrow_mut();
        tasks.retain(|task| !task.is_finished());
        tasks.push(spawn_local(task).abort_handle());
    }
}
