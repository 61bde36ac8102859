//! The deployment that is broken, and how each fault is done to it.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::{
    task::block_in_place,
    time::{Instant, sleep},
};

use super::plan::{Fault, Lasting, Step};
use crate::{
    cql::Cql,
    fleet::unlimited,
    redis::{Front, Pair, resp::Value as Answer},
    relay::{Conditions, Counts, Framing, Relay, Side, Way},
    server::{Parlance, Setup},
    stored::{check_readings, check_rows, waiting},
    traffic::{Directory, Traffic, recording::Recording},
};

const GATEWAYS: usize = 3;
const PERSISTERS: usize = 2;
/// Longer than a persister's lease.
const PAST_A_LEASE: Duration = Duration::from_secs(9);
/// Shorter than what sentinels see.
const UNSEEN: Duration = Duration::from_millis(1_200);
/// So many entries may be under way to the store while clients talk.
const UNDER_WAY: i64 = 2_000;
/// Longer than anything may take that is judged.
const HUNG: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// One process of ours, and the relays behind it.
struct Process {
    parlance: Parlance,
    redis: Front,
    store: Relay,
}

pub(super) struct Stage {
    gateways: Vec<Process>,
    /// Before the gateways.
    doors: Vec<Relay>,
    persisters: Vec<Process>,
    redis: Pair,
    cql: Cql,
    keyspace: String,
    setup: Setup,
    pub(super) directory: Directory,
}

impl Stage {
    pub(super) async fn start() -> Self {
        let cql = block_in_place(|| Cql::setup().start());
        let redis = block_in_place(Pair::start);
        redis.seed_first_epochs();
        let keyspace = cql.keyspace();
        let setup = unlimited()
            .set("redis.durability", "replicated")
            .set("log.tail_entries", "64")
            .set("limits.resume_events", "1000000")
            .store(&cql, &keyspace);
        block_in_place(|| setup.migrate());
        let mut stage = Self {
            gateways: Vec::new(),
            doors: Vec::new(),
            persisters: Vec::new(),
            redis,
            cql,
            keyspace,
            setup,
            directory: Directory::default(),
        };
        for _ in 0..PERSISTERS {
            let started = stage.process(Setup::persister).await;
            stage.persisters.push(started);
        }
        for _ in 0..GATEWAYS {
            let started = stage.process(Setup::gateway).await;
            let target = started.parlance.address();
            stage
                .doors
                .push(Relay::to(Framing::WebSocket, target).await);
            stage.gateways.push(started);
        }
        stage.directory = Directory::new(stage.doors.iter().map(Relay::address));
        stage
    }

    async fn process(&self, form: fn(Setup, &str) -> Setup) -> Process {
        let point: SocketAddr = self.cql.contact_points()[0]
            .parse()
            .expect("a node has an address");
        // On the node's own address: a driver dials what the node says of itself.
        let store = Relay::at(point.ip(), Framing::Cql, point).await;
        let redis = Front::before_pair(&self.redis).await;
        let setup = self.setup.clone();
        let setup = setup.set("store.nodes", &store.address().to_string());
        let parlance = block_in_place(|| form(setup, &redis.url()).start());
        Process {
            parlance,
            redis,
            store,
        }
    }

    /// Does it, waits until it is over, and says what it did.
    pub(super) async fn inflict(&mut self, step: &Step) -> Value {
        let before = self.counts();
        if let Some(lasting) = step.beside {
            self.begin(lasting);
        }
        let (struck, backlog) = self.act(step).await;
        if let Some(lasting) = step.beside {
            self.end(lasting);
        }
        let after = self.counts();
        json!({
            "struck": struck,
            "ended": after.ended - before.ended,
            "put_off": after.put_off - before.put_off,
            "resyncs": after.resyncs - before.resyncs,
            "swallowed_bytes": after.swallowed_bytes - before.swallowed_bytes,
            "backlog": backlog,
        })
    }

    /// How much it struck, and what waited to be stored at its end.
    async fn act(&mut self, step: &Step) -> (u64, i64) {
        let lasts = Duration::from_millis(step.lasts_ms);
        let (gateway, persister) = (step.target % GATEWAYS, step.target % PERSISTERS);
        let before = self.counts();
        let struck = match step.fault {
            Fault::GatewayKilled => {
                self.directory.leave(gateway);
                self.gateways[gateway].parlance.kill();
                self.return_of(gateway)
            }
            Fault::GatewayDrained => {
                self.directory.leave(gateway);
                let leaving = &mut self.gateways[gateway].parlance;
                leaving.terminate();
                let ended = block_in_place(|| leaving.wait_for_exit());
                assert!(
                    ended.success(),
                    "a gateway that was to drain ended with {ended}"
                );
                self.return_of(gateway)
            }
            Fault::GatewayPaused => {
                self.gateways[gateway].parlance.freeze();
                sleep(lasts * 3).await;
                self.gateways[gateway].parlance.thaw();
                1
            }
            Fault::PersisterKilled => {
                let killed = &mut self.persisters[persister].parlance;
                killed.kill();
                block_in_place(|| killed.restart());
                1
            }
            Fault::PersisterPaused => {
                self.persisters[persister].parlance.freeze();
                sleep(PAST_A_LEASE).await;
                self.persisters[persister].parlance.thaw();
                1
            }
            Fault::RedisRestarted => {
                block_in_place(|| self.redis.restart_primary());
                self.counts().ended - before.ended
            }
            Fault::RedisFailedOver => self.fail_over(),
            Fault::RedisFailedOverLagging => {
                block_in_place(|| self.redis.lag());
                sleep(lasts).await;
                self.fail_over()
            }
            Fault::RedisPaused => {
                self.redis.pause_primary(UNSEEN);
                sleep(UNSEEN).await;
                1
            }
            Fault::RedisReplacedAsleep => {
                block_in_place(|| self.redis.replace_paused_primary());
                self.counts().ended - before.ended
            }
            Fault::ReplicaPaused => {
                self.redis.pause_replica(lasts * 2);
                sleep(lasts * 2).await;
                self.counts().put_off - before.put_off
            }
            Fault::RedisMemoryFull => {
                self.redis
                    .primary()
                    .cmd(&["CONFIG", "SET", "maxmemory", "1mb"]);
                sleep(lasts).await;
                self.redis
                    .primary()
                    .cmd(&["CONFIG", "SET", "maxmemory", "0"]);
                self.counts().put_off - before.put_off
            }
            Fault::ScriptsForgotten => {
                self.redis.primary().cmd(&["SCRIPT", "FLUSH"]);
                1
            }
            Fault::SubscribersKilled => {
                let kill = ["CLIENT", "KILL", "TYPE", "pubsub"];
                let killed = self.redis.primary().cmd(&kill);
                match killed {
                    Answer::Integer(killed) => u64::try_from(killed).unwrap_or(0),
                    Answer::Nil | Answer::Bytes(_) | Answer::List(_) | Answer::Error(_) => 0,
                }
            }
            Fault::PushesLost => {
                self.spoil(Lasting::PushesLost, lasts).await;
                self.counts().pushes_lost - before.pushes_lost
            }
            Fault::RedisHalfOpen => {
                let conditions = Conditions {
                    answers: Way {
                        is_swallowed: true,
                        ..Way::default()
                    },
                    ..Conditions::default()
                };
                let relays = self.gateways[gateway].redis.relays().iter();
                self.under(relays, conditions, lasts * 3).await;
                self.counts().swallowed_bytes - before.swallowed_bytes
            }
            Fault::RedisAnswersCut => self
                .fronts()
                .map(|relay| relay.cut_before_answers(100))
                .sum(),
            Fault::DialsRefused => {
                for relay in self.fronts() {
                    relay.refuse_dials(1);
                    relay.cut_by_chance(100);
                }
                sleep(lasts).await;
                self.fronts().for_each(|relay| relay.refuse_dials(0));
                self.counts().refused - before.refused
            }
            Fault::ClientsCut => self.doors.iter().map(|door| door.cut_by_chance(100)).sum(),
            Fault::FramesCut => {
                let sides = [Side::Asks, Side::Answers];
                let side = sides[step.target % 2];
                let doors = self.doors.iter().chain(self.fronts()).chain(self.stores());
                doors.map(|door| door.cut_inside_frames(side, 50)).sum()
            }
            Fault::AnswersCut => self
                .doors
                .iter()
                .map(|door| door.cut_before_answers(50))
                .sum(),
            Fault::StoreKilled => {
                self.cql.kill(0);
                sleep(lasts).await;
                block_in_place(|| self.cql.restart(0));
                1
            }
            Fault::StorePaused => {
                self.cql.pause(0);
                sleep(lasts * 2).await;
                let waits = waiting(self.redis.primary());
                self.cql.resume(0);
                // In a young epoch every name is looked up in the store: then nothing waits, all is put off.
                let put_off = self.counts().put_off - before.put_off;
                return (u64::try_from(waits).unwrap_or(0) + put_off, waits);
            }
            Fault::ClientsSlow => {
                self.spoil(Lasting::ClientsSlow, lasts).await;
                1
            }
            Fault::StoreSlow => {
                self.spoil(Lasting::StoreSlow, lasts).await;
                1
            }
            Fault::StoreAnswersCut => self
                .stores()
                .map(|relay| relay.cut_before_answers(100))
                .sum(),
        };
        (struck, waiting(self.redis.primary()))
    }

    fn return_of(&mut self, gateway: usize) -> u64 {
        let back = &mut self.gateways[gateway].parlance;
        block_in_place(|| back.restart());
        self.doors[gateway].relay_to(back.address());
        self.directory.join(gateway, self.doors[gateway].address());
        1
    }

    fn fail_over(&mut self) -> u64 {
        block_in_place(|| self.redis.kill_primary());
        block_in_place(|| self.redis.revive_old_as_replica());
        1
    }

    async fn spoil(&self, lasting: Lasting, lasts: Duration) {
        self.begin(lasting);
        sleep(lasts).await;
        self.end(lasting);
    }

    fn begin(&self, lasting: Lasting) {
        let mut conditions = Conditions::default();
        match lasting {
            Lasting::PushesLost => conditions.pushes_lost_percent = 10,
            Lasting::ClientsSlow => {
                let slow = Way {
                    delay_ms: (20, 200),
                    bytes_per_second: 200_000,
                    is_swallowed: false,
                };
                (conditions.asks, conditions.answers) = (slow, slow);
            }
            Lasting::StoreSlow => conditions.answers.delay_ms = (200, 500),
        }
        self.set(lasting, conditions);
    }

    fn end(&self, lasting: Lasting) {
        self.set(lasting, Conditions::default());
    }

    fn set(&self, lasting: Lasting, conditions: Conditions) {
        let set = |relay: &Relay| relay.set(conditions);
        match lasting {
            Lasting::PushesLost => self.fronts().for_each(set),
            Lasting::ClientsSlow => self.doors.iter().for_each(set),
            Lasting::StoreSlow => self.stores().for_each(set),
        }
    }

    async fn under(
        &self,
        relays: impl Iterator<Item = &Relay> + Clone,
        conditions: Conditions,
        lasts: Duration,
    ) {
        relays.clone().for_each(|relay| relay.set(conditions));
        sleep(lasts).await;
        relays.for_each(|relay| relay.set(Conditions::default()));
    }

    fn processes(&self) -> impl Iterator<Item = &Process> + Clone {
        self.gateways.iter().chain(&self.persisters)
    }

    fn fronts(&self) -> impl Iterator<Item = &Relay> + Clone {
        self.processes().flat_map(|process| process.redis.relays())
    }

    fn stores(&self) -> impl Iterator<Item = &Relay> + Clone {
        self.processes().map(|process| &process.store)
    }

    /// Of all relays together.
    fn counts(&self) -> Counts {
        let all = self.doors.iter().chain(self.fronts()).chain(self.stores());
        let counts = all.map(Relay::counts);
        counts.fold(Counts::default(), |sum, counts| sum.plus(counts))
    }

    /// Notes resident memory of each process of ours, and its open files that are not for clients:
    /// those come and go as gateways do.
    pub(super) fn sample(&self, traffic: &mut Traffic) {
        let clients = self.doors.iter().map(Relay::open);
        for (process, clients) in self.processes().zip(clients.chain(std::iter::repeat(0))) {
            let pid = process.parlance.pid();
            let files = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
            let descriptors = files.saturating_sub(clients) as u64;
            let name = format!("process {pid}");
            traffic.sample(&name, process.parlance.rss_bytes(), descriptors);
        }
    }

    /// Waits until every gateway would be sent clients.
    pub(super) async fn until_ready(&self) {
        for gateway in &self.gateways {
            until("a gateway to be ready", || {
                block_in_place(|| gateway.parlance.is_ready())
            })
            .await;
        }
    }

    /// Waits until what waits to be stored is no more than is always under way.
    pub(super) async fn until_caught_up(&self) {
        until("persisters to catch up", || {
            block_in_place(|| waiting(self.redis.primary())) < UNDER_WAY
        })
        .await;
    }

    /// Judges what all read; how many readings there were.
    pub(super) async fn check(&self, recording: &Recording) -> usize {
        until("all to be stored", || waiting(self.redis.primary()) == 0).await;
        let fresh = self.process(Setup::gateway).await;
        let mut gateways = self.directory.all();
        gateways.push(fresh.parlance.address());
        let readings = check_readings(recording, &gateways).await;
        for conversation in &recording.conversations {
            check_rows(&self.cql, &self.keyspace, conversation);
        }
        readings
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up = Instant::now() + HUNG;
    while !holds() {
        assert!(Instant::now() < give_up, "waited {HUNG:?} for {what}");
        sleep(POLL).await;
    }
}
