//! A rolling restart of all gateways under load, behind a real proxy, as a cluster's deployment does it.
//!
//! Used by `make rolling` and, in a small form, by a test. A new gateway is started and let in before an
//! old one is told to leave (surge); the old one gets no new connections for a while before its SIGTERM,
//! and has ended before the next one's turn. Then one more gateway is added, and the spread of members is
//! watched. The members are those of [`parlance_loadgen::stay`]; what they must not see is judged there,
//! how fast they came to whom and how they are spread in the end is judged here.
//!
//! Everything blocks: threads, no runtime.

mod proxy;
mod watch;

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
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
use serde_json::{Value, json};

use self::{
    proxy::{Proxy, Service, Slot},
    watch::{Look, Watch},
};
use crate::{
    ports,
    redis::Redis,
    server::{Parlance, SECRET, Setup, locked},
    tokens::Claims,
};

/// How much more than the budget may come in, as it is measured.
const OVER_BUDGET: f64 = 1.3;
/// How far from the mean a gateway's members may be in the end.
const SPREAD: f64 = 0.1;
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

/// One restart.
#[derive(Debug, Clone)]
struct Restart {
    gateway: String,
    /// Whom it had when it was told to leave.
    members: f64,
    /// From the signal to the end of the process.
    took: Duration,
    exit_code: Option<i32>,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What the members saw.
    pub stayed: Stayed,
    /// What must not be. Empty, if all is well.
    pub faults: Vec<String>,
    restarts: Vec<Restart>,
    /// New members a second that a gateway says it takes, where it has such a setting.
    accepts_per_second: Option<f64>,
    /// The second in which most new members came to all gateways, against the budget of that second.
    peak: Option<Peak>,
    /// The most that came to one gateway in a second.
    peak_of_one: f64,
    /// Members by gateway when the added one had been watched, and when they had come within bounds.
    spread: Option<Spread>,
    looks: Vec<Look>,
    began: Instant,
    /// Cores that each kind of process used while the gateways were restarted and watched.
    cores: BTreeMap<&'static str, f64>,
}

/// The most in a second.
#[derive(Debug, Clone, Copy)]
struct Peak {
    per_second: f64,
    at: Duration,
    /// Against the sum of what the gateways that accepted then take.
    ratio: Option<f64>,
}

#[derive(Debug, Clone)]
struct Spread {
    members: BTreeMap<String, f64>,
    /// Against the mean.
    lowest: f64,
    highest: f64,
    /// After the added gateway was let in; nothing if it never was so.
    within_bounds_after: Option<Duration>,
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

// === Judging ===

/// What was done.
struct Rolled {
    began: Instant,
    restarts: Vec<Restart>,
    added: Option<Instant>,
    ended: Instant,
    cores: BTreeMap<&'static str, f64>,
}

impl Rolled {
    fn outcome(
        self,
        plan: &Plan,
        watch: &Watch,
        stayed: Stayed,
        accepts_per_second: Option<f64>,
    ) -> Outcome {
        let mut looks = watch.since(self.began);
        looks.retain(|look| look.at <= self.ended);
        let rates = looks.iter().flat_map(|look| look.gateways.values());
        let rates = rates.filter_map(|figures| figures.joined_per_second);
        let mut outcome = Outcome {
            peak: peak(&looks, self.began, accepts_per_second),
            peak_of_one: rates.fold(0.0, f64::max),
            spread: self.added.and_then(|added| spread(&looks, added)),
            faults: stayed.faults(),
            stayed,
            restarts: self.restarts,
            accepts_per_second,
            looks,
            began: self.began,
            cores: self.cores,
        };
        outcome.judge(plan);
        outcome
    }
}

fn peak(looks: &[Look], began: Instant, accepts_per_second: Option<f64>) -> Option<Peak> {
    let peak = |look: &Look| Peak {
        per_second: look.joined_per_second(),
        at: look.at.duration_since(began),
        ratio: accepts_per_second
            .map(|each| look.joined_per_second() / (each * look.members().len().max(1) as f64)),
    };
    let weight = |peak: &Peak| peak.ratio.unwrap_or(peak.per_second);
    let peaks = looks.iter().map(peak);
    peaks.max_by(|one, other| weight(one).total_cmp(&weight(other)))
}

fn spread(looks: &[Look], added: Instant) -> Option<Spread> {
    let of = |look: &Look| {
        let members = look.members();
        let mean = members.iter().sum::<f64>() / members.len().max(1) as f64;
        let lowest = members.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = members.iter().copied().fold(0.0, f64::max);
        (lowest / mean.max(1.0), highest / mean.max(1.0))
    };
    let is_within = |(lowest, highest)| lowest >= 1.0 - SPREAD && highest <= 1.0 + SPREAD;
    let last = looks.last()?;
    let (lowest, highest) = of(last);
    // From then on it stayed so.
    let outside = looks.iter().rposition(|look| !is_within(of(look)));
    let first = outside.map_or(0, |place| place + 1);
    let within = looks.get(first);
    let accepting = last.gateways.iter().filter(|(_, figures)| figures.accepts);
    Some(Spread {
        members: accepting
            .map(|(name, figures)| (name.clone(), figures.members))
            .collect(),
        lowest,
        highest,
        within_bounds_after: within.map(|look| look.at.saturating_duration_since(added)),
    })
}

impl Outcome {
    fn judge(&mut self, plan: &Plan) {
        for restart in &self.restarts {
            if plan.ending == Ending::Terminated && restart.exit_code != Some(0) {
                self.faults.push(format!("{restart}, which is no good end"));
            }
        }
        if let Some(peak) = self.peak
            && let Some(ratio) = peak.ratio.filter(|ratio| *ratio > OVER_BUDGET)
        {
            self.faults.push(format!(
                "{:.0} new members came in a second, {ratio:.2} of the budget",
                peak.per_second
            ));
        }
        if let Some(spread) = &self.spread
            && spread.within_bounds_after.is_none()
        {
            self.faults.push(format!(
                "members are not within {SPREAD} of the mean, but at {:.2} to {:.2}",
                spread.lowest, spread.highest
            ));
        }
    }

    /// All of it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let restart = |restart: &Restart| {
            json!({
                "gateway": restart.gateway,
                "members": restart.members,
                "took_s": restart.took.as_secs_f64(),
                "exit_code": restart.exit_code,
            })
        };
        json!({
            "faults": self.faults,
            "clients": self.stayed.to_json(),
            "restarts": self.restarts.iter().map(restart).collect::<Vec<_>>(),
            "accepts_per_second": self.accepts_per_second,
            "peak": self.peak.map(|peak| json!({
                "per_second": peak.per_second,
                "at_s": peak.at.as_secs_f64(),
                "of_budget": peak.ratio,
            })),
            "peak_of_one_per_second": self.peak_of_one,
            "spread": self.spread.as_ref().map(|spread| json!({
                "members": spread.members,
                "lowest": spread.lowest,
                "highest": spread.highest,
                "within_bounds_after_s": spread.within_bounds_after.map(|after| after.as_secs_f64()),
            })),
            "cores": self.cores,
            "seconds": watch::to_json(&self.looks, self.began),
        })
    }
}

impl Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (members, took) = (self.members, self.took.as_secs_f64());
        let gateway = &self.gateway;
        write!(
            f,
            "{gateway} with {members} members ended after {took:.1} s"
        )?;
        match self.exit_code {
            Some(code) => write!(f, ", exit code {code}"),
            None => write!(f, " by a signal"),
        }
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.stayed)?;
        for restart in &self.restarts {
            writeln!(f, "{:<22} {restart}", "restart")?;
        }
        if let Some(peak) = self.peak {
            let at = peak.at.as_secs_f64();
            write!(
                f,
                "{:<22} {:.0}/s at {at:.0} s",
                "peak of accepts", peak.per_second
            )?;
            if let (Some(ratio), Some(each)) = (peak.ratio, self.accepts_per_second) {
                write!(
                    f,
                    ", {ratio:.2} of the budget of {each:.0}/s for each that accepts"
                )?;
            }
            writeln!(f, "; {:.0}/s at one gateway", self.peak_of_one)?;
        }
        if let Some(spread) = &self.spread {
            write!(
                f,
                "{:<22} {:.2} to {:.2} of the mean",
                "spread", spread.lowest, spread.highest
            )?;
            match spread.within_bounds_after {
                Some(after) => writeln!(f, ", within bounds after {:.0} s", after.as_secs_f64())?,
                None => writeln!(f, ", never within bounds")?,
            }
        }
        for (who, cores) in &self.cores {
            writeln!(f, "{:<22} {cores:.2} cores", who)?;
        }
        for fault in &self.faults {
            writeln!(f, "FAULT                  {fault}")?;
        }
        Ok(())
    }
}
