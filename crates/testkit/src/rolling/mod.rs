//! A rolling restart of all gateways under load, behind a real proxy, as a cluster's deployment does it.
//!
//! Used by `make rolling` and, in a small form, by a test. A new gateway is started and let in before an
//! old one is told to leave (surge); the old one gets no new connections for a while before its SIGTERM,
//! and has ended before the next one's turn. Then one more gateway is added, and the spread of members is
//! watched. The members are those of [`parlance_loadgen::stay`]; what they must not see is judged there,
//! how fast they came to whom and how they are spread in the end is judged in `outcome.rs`.
//!
//! Everything blocks: threads, no runtime.

mod outcome;
mod proxy;
mod watch;

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use parlance_loadgen::{
    Control, LoadError, Progress,
    dialect::Seat,
    process,
    stay::{self, Stay, Stayed},
};
use rustix::process::{Resource, getrlimit};

pub use self::outcome::Outcome;
use self::{
    outcome::{Restart, Rolled},
    proxy::{Proxy, Service, Slot},
    watch::Watch,
};
use crate::{
    ports,
    redis::Redis,
    server::{Parlance, SECRET, Setup, locked},
    tokens::Claims,
};

/// A gateway's window, its grace and what it does besides take less.
const DRAINED_WITHIN: Duration = Duration::from_secs(90);
/// Until all members are back in their rooms after a gateway has left.
const BACK_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at whether something is so.
const POLL: Duration = Duration::from_millis(100);
/// Files of this process and of a gateway besides their connections.
const OTHER_FILES: u64 = 300;

/// How a gateway is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// SIGTERM: it drains.
    Terminated,
    /// SIGKILL: what a rolling restart must never be.
    Killed,
}

/// How a run is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Gateways that are restarted, all of them.
    pub gateways: usize,
    /// Conversations, of as many members each.
    pub rooms: usize,
    /// Members of each; every other one speaks the extended layer.
    pub members: usize,
    /// New members a second at the beginning.
    pub connects_per_second: f64,
    /// Messages a second in all conversations together.
    pub sends_per_second: f64,
    /// How the old gateways end.
    pub ending: Ending,
    /// Between the time from which an old gateway gets no new connections and its end.
    pub pre_stop: Duration,
    /// How long one more gateway is watched that is added in the end; zero: none is added.
    pub watch: Duration,
    /// Settings of the gateways.
    pub setup: Setup,
}

impl Plan {
    fn clients(&self) -> usize {
        self.rooms * self.members
    }

    /// Sockets of all members at a time: extended ones may have two.
    fn sockets(&self) -> usize {
        self.clients() + self.rooms * self.members.div_ceil(2)
    }

    /// The old ones, the new ones, and the one that is added.
    fn slots(&self) -> usize {
        2 * self.gateways + 1
    }
}

/// Does it. `say` is told what happens.
///
/// # Errors
/// When something that a run needs is not there, or the members cannot come in.
pub fn perform(plan: &Plan, say: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Outcome> {
    let proxies = proxies_for(plan)?;
    let redis = Redis::start();
    redis.seed_first_epochs();
    let mut stage = Stage::start(plan, &redis, proxies)?;
    say(&format!(
        "{} gateways behind {} HAProxy, {} members in {} conversations, {}/s sends",
        plan.gateways,
        stage.proxies.len(),
        plan.clients(),
        plan.rooms,
        plan.sends_per_second
    ));
    let crowd = Crowd::new(plan);
    let addresses = stage.proxies.iter().map(|proxy| proxy.address).collect();
    let watch = Watch::default();
    for (slot, _) in stage.running() {
        watch.add(&name(slot), stage.slots[slot].admin);
    }
    let watched = AtomicBool::new(false);
    let (rolled, stayed) = thread::scope(|scope| {
        let clients = scope.spawn(|| crowd.stay(plan, addresses));
        scope.spawn(|| watch.run(&watched));
        // A scope waits for its threads also when what is done meanwhile panics.
        let _ends = Ends([&crowd.stop, &watched]);
        let is_over = || clients.is_finished();
        let rolled = stage.roll(plan, &crowd, &watch, say, &is_over);
        crowd.stop.store(true, Ordering::Relaxed);
        let stayed = clients.join();
        watched.store(true, Ordering::Relaxed);
        (rolled, stayed)
    });
    let stayed = match stayed {
        Ok(stayed) => stayed.context("the members")?,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    Ok(rolled?.outcome(plan, &watch, stayed, accepts_per_second(plan)))
}

/// Tells threads to end when it is dropped.
struct Ends<'a>([&'a AtomicBool; 2]);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        for end in self.0 {
            end.store(true, Ordering::Relaxed);
        }
    }
}

/// What a gateway says it takes, if it knows the setting.
fn accepts_per_second(plan: &Plan) -> Option<f64> {
    let print = plan.setup.clone().set("auth.hmac_secret", SECRET);
    let printed = print.run(&["config", "print"]);
    let value = |line: &str| {
        line.strip_prefix("limits.accepts_per_second = ")?
            .parse()
            .ok()
    };
    printed.lines().find_map(value)
}

fn name(slot: usize) -> String {
    format!("g{slot}")
}

// === Descriptors ===

/// How many proxies there have to be, none of which needs more descriptors than a process may have.
fn proxies_for(plan: &Plan) -> anyhow::Result<usize> {
    let Some(limit) = getrlimit(Resource::Nofile).maximum else {
        return Ok(1);
    };
    let clients = plan.sockets() as u64 + OTHER_FILES;
    check_files("the clients", clients, limit)?;
    // One that everybody is sent to while the others restart; the log, presence and the admin listener besides.
    let gateway = plan.clients() as u64 + OTHER_FILES;
    check_files("a gateway", gateway, limit)?;
    let proxies = (1..=plan.clients()).find(|count| {
        let each = plan.sockets().div_ceil(*count);
        Proxy::files(each) <= limit
    });
    proxies.with_context(|| format!("no HAProxy can have a client with {limit} open files"))
}

fn check_files(who: &str, wanted: u64, limit: u64) -> anyhow::Result<()> {
    ensure!(
        wanted <= limit,
        "{who} would need {wanted} open files, but a process may have {limit}; raise it with \
         `ulimit -n {wanted}`, or ask for fewer clients"
    );
    Ok(())
}

// === The members ===

/// The members on their thread, as the other threads know them.
struct Crowd {
    stop: AtomicBool,
    /// What was told last, and when.
    progress: Mutex<Option<(Instant, Progress)>>,
    run: String,
    paths: Vec<String>,
}

impl Crowd {
    fn new(plan: &Plan) -> Self {
        let run = format!("r{:08x}", RandomState::new().hash_one(()) >> 32);
        let path = |index: usize| {
            let (room, member) = (index / plan.members, index % plan.members);
            let token = Claims::of(&format!("m{room}-{member}")).sign(SECRET);
            format!("/conversations/{run}-{room}/?token={token}")
        };
        Self {
            stop: AtomicBool::new(false),
            progress: Mutex::new(None),
            paths: (0..plan.clients()).map(path).collect(),
            run,
        }
    }

    fn stay(&self, plan: &Plan, addresses: Vec<SocketAddr>) -> Result<Stayed, LoadError> {
        let path = |seat: Seat| self.paths[seat.room * plan.members + seat.member].clone();
        let load = Stay {
            addresses,
            rooms: plan.rooms,
            members: plan.members,
            connects_per_second: plan.connects_per_second,
            sends_per_second: plan.sends_per_second,
            run: &self.run,
            path: &path,
        };
        let mut control = Control {
            stop: Some(&self.stop),
            progress: Some(Box::new(|progress: &Progress| {
                *locked(&self.progress) = Some((Instant::now(), progress.clone()));
            })),
        };
        stay::run(&load, &mut control)
    }

    /// Whether they talk, all of them, as was told after `since`.
    fn is_whole(&self, plan: &Plan, since: Instant) -> bool {
        let progress = locked(&self.progress);
        progress.as_ref().is_some_and(|(told, progress)| {
            *told > since && progress.phase == "talking" && progress.joined == plan.clients()
        })
    }

    fn line(&self) -> String {
        let progress = locked(&self.progress);
        let last = progress.as_ref();
        last.map(|(_, progress)| progress.to_string())
            .unwrap_or_default()
    }
}

// === The gateways ===

/// The processes. Gateways end before their Redis, which somebody else holds.
struct Stage {
    setup: Setup,
    slots: Vec<Slot>,
    /// By slot.
    gateways: Vec<Option<Parlance>>,
    proxies: Vec<Proxy>,
    redis_pid: u32,
}

impl Stage {
    fn start(plan: &Plan, redis: &Redis, proxies: usize) -> anyhow::Result<Self> {
        let port = || SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free(&[Ipv4Addr::LOCALHOST])));
        let slot = |_| Slot {
            listen: port(),
            admin: port(),
        };
        let slots: Vec<Slot> = (0..plan.slots()).map(slot).collect();
        let each = plan.sockets().div_ceil(proxies);
        let start = |_| Proxy::start(&slots, each);
        let mut stage = Self {
            setup: plan.setup.clone().gateway(&redis.url()),
            proxies: (0..proxies).map(start).collect::<anyhow::Result<_>>()?,
            gateways: slots.iter().map(|_| None).collect(),
            slots,
            redis_pid: redis.pid(),
        };
        for slot in 0..plan.gateways {
            stage.let_in(slot)?;
        }
        Ok(stage)
    }

    /// Starts the gateway of a slot, and has new connections sent to it when it is ready.
    fn let_in(&mut self, slot: usize) -> anyhow::Result<()> {
        let Slot { listen, admin } = self.slots[slot];
        let setup = self.setup.clone().set("listen", &listen.to_string());
        let gateway = setup.set("admin.listen", &admin.to_string()).start();
        let give_up = Instant::now() + BACK_WITHIN;
        while !gateway.is_ready() {
            ensure!(
                Instant::now() < give_up,
                "gateway {slot} does not get ready"
            );
            thread::sleep(POLL);
        }
        self.gateways[slot] = Some(gateway);
        self.serve(slot, Service::Ready)
    }

    fn serve(&self, slot: usize, service: Service) -> anyhow::Result<()> {
        let mut proxies = self.proxies.iter();
        proxies.try_for_each(|proxy| proxy.set(slot, service))
    }

    fn running(&self) -> impl Iterator<Item = (usize, &Parlance)> {
        let all = self.gateways.iter().enumerate();
        all.filter_map(|(slot, gateway)| Some((slot, gateway.as_ref()?)))
    }

    /// Restarts all, and adds one.
    fn roll(
        &mut self,
        plan: &Plan,
        crowd: &Crowd,
        watch: &Watch,
        say: &dyn Fn(&str),
        is_over: &dyn Fn() -> bool,
    ) -> anyhow::Result<Rolled> {
        let coming = Duration::from_secs_f64(plan.clients() as f64 / plan.connects_per_second);
        until_whole(plan, crowd, coming + BACK_WITHIN, is_over)?;
        say(&format!("all are in: {}", crowd.line()));
        let began = Instant::now();
        let mut clocks = Clocks::default();
        let mut restarts = Vec::new();
        for old in 0..plan.gateways {
            let new = plan.gateways + old;
            self.let_in(new)?;
            watch.add(&name(new), self.slots[new].admin);
            clocks.look(self);
            let restart = self.end(plan, old, watch)?;
            clocks.look(self);
            say(&format!("{restart}: {}", crowd.line()));
            restarts.push(restart);
            until_whole(plan, crowd, BACK_WITHIN, is_over)?;
        }
        let mut added = None;
        if !plan.watch.is_zero() {
            let slot = 2 * plan.gateways;
            self.let_in(slot)?;
            watch.add(&name(slot), self.slots[slot].admin);
            added = Some(Instant::now());
            say(&format!("{} is added: {}", name(slot), crowd.line()));
            self.look_on(plan.watch, &mut clocks, watch, say, is_over)?;
        }
        clocks.look(self);
        let took = began.elapsed();
        Ok(Rolled {
            began,
            restarts,
            added,
            ended: Instant::now(),
            cores: clocks.cores(took),
        })
    }

    /// Ends the gateway of a slot as the plan says.
    fn end(&mut self, plan: &Plan, slot: usize, watch: &Watch) -> anyhow::Result<Restart> {
        let name = name(slot);
        watch.leaves(&name);
        self.serve(slot, Service::Drain)?;
        thread::sleep(plan.pre_stop);
        let members = watch
            .last()
            .and_then(|look| look.gateways.get(&name).copied());
        let gateway = self.gateways[slot].as_mut();
        let gateway = gateway.context("every old gateway runs")?;
        let signalled = Instant::now();
        let exit_code = match plan.ending {
            Ending::Terminated => {
                gateway.terminate();
                gateway.wait_for_exit_within(DRAINED_WITHIN).code()
            }
            Ending::Killed => {
                gateway.kill();
                None
            }
        };
        let took = signalled.elapsed();
        watch.remove(&name);
        self.gateways[slot] = None;
        self.serve(slot, Service::Maintenance)?;
        Ok(Restart {
            gateway: name,
            members: members.map_or(0.0, |figures| figures.members),
            took,
            exit_code,
        })
    }

    fn look_on(
        &self,
        how_long: Duration,
        clocks: &mut Clocks,
        watch: &Watch,
        say: &dyn Fn(&str),
        is_over: &dyn Fn() -> bool,
    ) -> anyhow::Result<()> {
        let until = Instant::now() + how_long;
        let mut told = Instant::now();
        while Instant::now() < until {
            ensure!(!is_over(), "the members ended too soon");
            thread::sleep(POLL);
            if told.elapsed() >= Duration::from_secs(10) {
                told = Instant::now();
                clocks.look(self);
                let members = watch.last().map(|look| look.members());
                say(&format!("members: {:?}", members.unwrap_or_default()));
            }
        }
        Ok(())
    }
}

fn until_whole(
    plan: &Plan,
    crowd: &Crowd,
    within: Duration,
    is_over: &dyn Fn() -> bool,
) -> anyhow::Result<()> {
    let since = Instant::now();
    let give_up = since + within;
    while !crowd.is_whole(plan, since) {
        if is_over() {
            bail!("the members ended too soon: {}", crowd.line());
        }
        if Instant::now() > give_up {
            bail!("not everybody is back after {within:.0?}: {}", crowd.line());
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// The processor time of each kind of process.
#[derive(Debug, Default)]
struct Clocks {
    first: BTreeMap<(&'static str, u32), Duration>,
    last: BTreeMap<(&'static str, u32), Duration>,
}

impl Clocks {
    fn look(&mut self, stage: &Stage) {
        let gateways = stage
            .running()
            .map(|(_, gateway)| ("gateways", gateway.pid()));
        let proxies = stage.proxies.iter().map(|proxy| ("proxies", proxy.pid()));
        let others = [("redis", stage.redis_pid), ("clients", std::process::id())];
        for key in gateways.chain(proxies).chain(others) {
            // One that has just ended keeps what was read before.
            if let Ok(used) = process::cpu_time(key.1) {
                self.first.entry(key).or_insert(used);
                self.last.insert(key, used);
            }
        }
    }

    fn cores(&self, over: Duration) -> BTreeMap<&'static str, f64> {
        let mut cores = BTreeMap::new();
        for (key, last) in &self.last {
            let used = last.saturating_sub(self.first[key]).as_secs_f64();
            *cores.entry(key.0).or_default() += used / over.as_secs_f64();
        }
        cores
    }
}
