//! One run: what happens in which order, from a seed.

use std::{rc::Rc, sync::Arc, time::Duration};

use parlance_core::ingest::PersisterId;
use parlance_persister::Options;
use tokio::{
    runtime::Builder,
    task::{AbortHandle, LocalSet, spawn_local},
    time::sleep,
};

use crate::{
    client::Client,
    gateway::Node,
    ingest::Unstored,
    judge::{Witness, is_quiet, verdict},
    rule::Rules,
    store::FakeArchive,
    world::{SLOW_MS, SimNet, World, enter},
};

/// What may happen to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// It keeps what it acknowledged: verdicts hold for every client.
    Safe,
    /// It may lose what is not stored: what extended clients had acknowledged comes back.
    Lossy,
}

/// A run that went wrong.
#[derive(Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// Its profile.
    pub profile: Profile,
    /// What is wrong, with its kind as the first word.
    pub what: String,
    /// What happened last.
    pub trace: Vec<String>,
}

/// How long faults go on.
const FAULTY: Duration = Duration::from_secs(25);
/// By then all has come that was under way, there and back, when faults ended.
const UNDER_WAY_S: u64 = 2 * SLOW_MS / 1_000 + 2;
/// How long it may take until nobody waits any more.
const PATIENCE_S: u64 = 180;
const GATEWAYS: u64 = 3;
const FIRST_PERSISTER: u64 = 10;
const PERSISTERS: u64 = 2;
/// Losses of the log in one run.
const LOSSES: u32 = 3;

/// Runs a seed.
///
/// # Errors
/// What went wrong.
///
/// # Panics
/// When the code under test does.
pub fn run(seed: u64, profile: Profile, rules: Rules) -> Result<Vec<String>, Failure> {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O can be made");
    let local = LocalSet::new();
    let (result, trace) = local.block_on(&runtime, async {
        let world = World::new(seed, rules);
        enter(Some(Rc::clone(&world)));
        let result = go(&world, profile).await;
        (result, world.trace())
    });
    drop(local);
    drop(runtime);
    enter(None);
    match result {
        Ok(()) => Ok(trace),
        Err(what) => Err(Failure {
            seed,
            profile,
            what,
            trace,
        }),
    }
}

async fn go(world: &Rc<World>, profile: Profile) -> Result<(), String> {
    for process in 0..GATEWAYS {
        Node::start(process);
    }
    let mut persisters = Vec::new();
    for number in 0..PERSISTERS {
        persisters.push(persister(FIRST_PERSISTER + number, number));
    }
    let people = [
        ("ann", "room", true),
        ("bob", "room", true),
        ("ann", "room", true),
        ("cyd", "room", false),
        ("bob", "hall", true),
        ("cyd", "hall", false),
    ];
    let mut witnesses = Vec::new();
    for (device, (user, of, is_extended)) in people.into_iter().enumerate() {
        let client = Client::new(device as u64, user, of, is_extended);
        witnesses.push(Witness::of(device, &client));
        spawn_local(client.run());
    }
    let faults = spawn_local(faults(Rc::clone(world), profile, persisters));
    sleep(FAULTY).await;
    world.is_calm.set(true);
    faults.abort();
    world.note(|| "calm".to_owned());
    for second in 0..PATIENCE_S {
        sleep(Duration::from_secs(1)).await;
        world.probe();
        if let Some(what) = world.violation.borrow().clone() {
            return Err(what);
        }
        if second > UNDER_WAY_S && is_quiet(world, &witnesses) {
            verdict(world, &witnesses, profile == Profile::Lossy).await?;
            let late = world.violation.borrow().clone();
            return late.map_or(Ok(()), Err);
        }
    }
    let waiting = witnesses.iter().map(|it| {
        let known = it.known.borrow();
        (it.device, known.is_live, known.waiting)
    });
    let waiting: Vec<_> = waiting.collect();
    let unstored = world.redis.borrow().waiting();
    Err(format!(
        "STUCK (client, live, outbox) {waiting:?}, {unstored} ids unstored"
    ))
}

fn persister(process: u64, number: u64) -> AbortHandle {
    let options = Options {
        batch: 3,
        chance: || crate::world::world().below(1_000) as f64 / 999.0,
        ..Options::of(PersisterId(format!("p{number}").into()))
    };
    let net = SimNet(process);
    let archive = Arc::new(FakeArchive(net));
    let run = parlance_persister::run(Unstored(net), archive, options, std::future::pending());
    spawn_local(run).abort_handle()
}

async fn faults(world: Rc<World>, profile: Profile, mut persisters: Vec<AbortHandle>) {
    let (mut losses, mut next_persister) = (0, FIRST_PERSISTER + PERSISTERS);
    loop {
        sleep(Duration::from_millis(100 + world.below(1_500))).await;
        world.probe();
        let may_lose = profile == Profile::Lossy && losses < LOSSES;
        match world.below(16) {
            0..4 => {
                let copy = world.redis.borrow().clone();
                *world.replica.borrow_mut() = copy;
                world.note(|| "replicated".to_owned());
            }
            4 => {
                let process = world.below(GATEWAYS);
                world.note(|| format!("g{process} crashes"));
                world.kill(process);
                Node::start(process);
            }
            5 | 6 => {
                let number = world.below(PERSISTERS);
                world.note(|| format!("p{number} crashes"));
                persisters[number as usize].abort();
                persisters[number as usize] = persister(next_persister, number);
                next_persister += 1;
            }
            7 => {
                let hours = if world.below(2) == 0 { 25 } else { 24 * 31 };
                world.note(|| format!("{hours} hours pass"));
                world.leap(hours);
            }
            8 => {
                // Restarted, with all it had.
                let same = world.redis.borrow().clone();
                world.note(|| "the log restarts".to_owned());
                world.replace(same, true);
            }
            9 | 10 if may_lose => {
                losses += 1;
                let old = world.replica.borrow().clone();
                world.note(|| "the log fails over".to_owned());
                world.replace(old, true);
            }
            11 if may_lose => {
                losses += 1;
                let is_new_run = world.below(2) == 0;
                world.note(|| format!("the log is wiped, another run: {is_new_run}"));
                let mut empty = world.redis.borrow().clone();
                empty.flush();
                *world.replica.borrow_mut() = empty.clone();
                world.replace(empty, is_new_run);
            }
            _ => {}
        }
    }
}
