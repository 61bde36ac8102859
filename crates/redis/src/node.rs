//! One master of Redis as this process sees it: its link, kept up, and its probe.
//!
//! A node is found by its address, or by a name that sentinels resolve. Who needs its link waits a
//! while for it. What happens to a node is told to [`Watcher`], which knows who has to hear of it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use parlance_core::ports::Unavailable;
use redis::{ConnectionInfo, FromRedisValue, cmd};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::{
    link::{self, ANSWER_TIMEOUT, CallError, Link, Run},
    server::Memory,
    topology::NodeAccess,
};

/// How long who needs a node waits for it to come back.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two probes of a node.
const PROBE_EVERY: Duration = Duration::from_secs(2);
/// A probe that is not heard for so long is missed.
const PROBE_MISSED: Duration = Duration::from_secs(2);
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// A connection that lasted so long was of use: it is made anew without a longer pause, however often
/// somebody ends it.
const STEADY: Duration = Duration::from_millis(100);

/// How a node is found.
#[derive(Debug, Clone)]
pub(crate) enum Dialer {
    At(ConnectionInfo),
    Named {
        sentinels: Vec<ConnectionInfo>,
        service: String,
        access: NodeAccess,
    },
}

/// Hears what happens to a node.
pub(crate) trait Watcher {
    /// A link stands.
    fn linked(self: &Rc<Self>, node: &Rc<Node>, linked: Linked);
    /// The time of a probe. The node ends the link when it fails.
    async fn probe(self: &Rc<Self>, node: &Rc<Node>, link: &Link) -> Result<(), CallError>;
    /// The node could not be reached.
    fn unreachable(self: &Rc<Self>, node: &Rc<Node>, error: &CallError);
}

/// What a link is to the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linked {
    /// There was none.
    First,
    /// It is to the same run.
    Again,
    /// The log may have lost its tail since.
    NewRun,
}

/// A master.
pub(crate) struct Node {
    /// For the log, without a password.
    pub(crate) label: String,
    dialer: Dialer,
    link: RefCell<Option<Rc<Link>>>,
    last_run: RefCell<Option<Run>>,
    changed: Notify,
    /// Why it does not work, for readiness. `None`: it does.
    trouble: RefCell<Option<Arc<str>>>,
    /// At the last probe.
    memory: Cell<Memory>,
    /// When the oldest probe was sent that was not heard.
    unheard_since: Cell<Option<Instant>>,
    is_over: Cell<bool>,
}

impl Dialer {
    /// For the log.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::At(info) => info.addr().to_string(),
            Self::Named { service, .. } => service.clone(),
        }
    }

    /// Where the node is now.
    pub(crate) async fn resolve(&self) -> Result<ConnectionInfo, CallError> {
        match self {
            Self::At(info) => Ok(info.clone()),
            Self::Named {
                sentinels,
                service,
                access,
            } => {
                let mut last = CallError::Elsewhere("no sentinel is known".into());
                for sentinel in sentinels {
                    match ask_sentinel(sentinel.clone(), service).await {
                        Ok((host, port)) => return Ok(access.connection_info(&host, port)),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }
}

async fn ask_sentinel(sentinel: ConnectionInfo, service: &str) -> Result<(String, u16), CallError> {
    let address = sentinel.addr().to_string();
    let mut question = cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(service);
    let answer = link::ask_once(sentinel, &question).await?;
    let answer = Option::<(String, u16)>::from_redis_value(answer);
    let answer = answer.map_err(|error| CallError::Refused(error.to_string().into()))?;
    answer.ok_or_else(|| {
        let what = format!("the sentinel at {address} knows no master `{service}`");
        CallError::Refused(what.into())
    })
}

impl Node {
    pub(crate) fn new(dialer: Dialer) -> Rc<Self> {
        Rc::new(Self {
            label: dialer.label(),
            dialer,
            link: RefCell::new(None),
            last_run: RefCell::new(None),
            changed: Notify::new(),
            trouble: RefCell::new(Some("not connected yet".into())),
            memory: Cell::default(),
            unheard_since: Cell::new(None),
            is_over: Cell::new(false),
        })
    }

    /// The present link, waited for if there is none.
    pub(crate) async fn link(&self) -> Result<Rc<Link>, Unavailable> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let changed = self.changed.notified();
            if let Some(link) = self.link_now() {
                return Ok(link);
            }
            if timeout_at(deadline, changed).await.is_err() {
                let why = self.trouble.borrow().clone();
                let why = why.unwrap_or_else(|| "the connection was lost".into());
                let label = &self.label;
                return Err(Unavailable::new(format_args!("Redis at {label}: {why}")));
            }
        }
    }

    /// The present link.
    pub(crate) fn link_now(&self) -> Option<Rc<Link>> {
        self.link.borrow().clone()
    }

    /// Where it is now, to make another connection to it.
    pub(crate) async fn resolve(&self) -> Result<ConnectionInfo, CallError> {
        self.dialer.resolve().await
    }

    /// Its address, if it has one of its own.
    pub(crate) fn fixed_address(&self) -> Option<ConnectionInfo> {
        match &self.dialer {
            Dialer::At(info) => Some(info.clone()),
            Dialer::Named { .. } => None,
        }
    }

    /// It belongs to the deployment no more.
    pub(crate) fn retire(&self) {
        self.is_over.set(true);
        if let Some(link) = self.link_now() {
            link.end();
        }
        self.changed.notify_waiters();
    }

    /// Why it does not work.
    pub(crate) fn trouble(&self) -> Option<Arc<str>> {
        self.trouble.borrow().clone()
    }

    /// What it used at the last probe.
    pub(crate) fn memory(&self) -> Memory {
        self.memory.get()
    }

    /// A probe is being published.
    pub(crate) fn on_probe_sent(&self) {
        if self.unheard_since.get().is_none() {
            self.unheard_since.set(Some(Instant::now()));
        }
    }

    /// A probe came back: what is published is heard. Answers how long it took.
    pub(crate) fn on_probe_heard(&self) -> Option<Duration> {
        let since = self.unheard_since.take();
        if self.link_now().is_some() {
            self.trouble.replace(None);
        }
        since.map(|since| since.elapsed())
    }

    /// Whether a probe is missed.
    pub(crate) fn misses_probe(&self) -> bool {
        let since = self.unheard_since.get();
        let is_missed = since.is_some_and(|since| since.elapsed() > PROBE_MISSED);
        if is_missed {
            self.trouble
                .replace(Some("what is published there is not heard".into()));
        }
        is_missed
    }

    /// What was sent before is not waited for.
    pub(crate) fn forget_probe(&self) {
        self.unheard_since.set(None);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// Keeps the link up until the node retires.
    pub(crate) async fn keep(self: Rc<Self>, watcher: Rc<impl Watcher>) {
        let mut retry = Retry::default();
        while !self.is_over.get() {
            match self.connect().await {
                Ok(link) => {
                    let stood = Instant::now();
                    self.stand(&watcher, link).await;
                    retry.after(stood.elapsed()).await;
                }
                Err(error) => {
                    self.trouble.replace(Some(error.to_string().into()));
                    watcher.unreachable(&self, &error);
                    retry.pause().await;
                }
            }
        }
    }

    async fn connect(&self) -> Result<Link, CallError> {
        let attempt = async { Link::connect(self.dialer.resolve().await?).await };
        // A server that accepts and then says nothing is as good as none.
        match timeout(2 * ANSWER_TIMEOUT, attempt).await {
            Ok(connected) => connected.map(|(link, _)| link),
            Err(_) => Err(CallError::Unknown("it does not answer".into())),
        }
    }

    /// From a link to its end.
    async fn stand(self: &Rc<Self>, watcher: &Rc<impl Watcher>, link: Link) {
        let link = Rc::new(link);
        let before = self.last_run.replace(Some(link.run.clone()));
        let linked = match before {
            None => Linked::First,
            Some(before) if before == link.run => Linked::Again,
            Some(_) => Linked::NewRun,
        };
        self.link.replace(Some(Rc::clone(&link)));
        self.changed.notify_waiters();
        tracing::info!(node = self.label, run = &*link.run.0, "connected to Redis");
        watcher.linked(self, linked);
        let why = tokio::select! {
            () = link.ended() => "the connection was lost".into(),
            why = self.probe(watcher, &link) => why,
        };
        link.end();
        self.link.replace(None);
        self.forget_probe();
        if !self.is_over.get() {
            tracing::warn!(node = self.label, why, "lost the connection to Redis");
        }
        self.trouble.replace(Some(why.into()));
    }

    /// Why the probe failed.
    async fn probe(self: &Rc<Self>, watcher: &Rc<impl Watcher>, link: &Link) -> String {
        loop {
            match link.facts().await {
                Err(CallError::Elsewhere(_)) => {}
                Err(error) => return error.to_string(),
                Ok(facts) if facts.run != link.run => return "it began another run".into(),
                Ok(facts) if !facts.is_master => return facts.standing().into(),
                Ok(facts) => self.memory.set(facts.memory),
            }
            if let Err(error) = watcher.probe(self, link).await {
                return error.to_string();
            }
            sleep(PROBE_EVERY).await;
        }
    }
}

/// Pauses that grow, with chance in them, so that many nodes do not come at once.
#[derive(Debug)]
pub(crate) struct Retry {
    pause: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { pause: RETRY_MIN }
    }
}

impl Retry {
    /// A connection ended. The next one is made at once, unless this one did not last.
    pub(crate) async fn after(&mut self, lasted: Duration) {
        if lasted < STEADY {
            return self.pause().await;
        }
        *self = Self::default();
    }

    pub(crate) async fn pause(&mut self) {
        let chance = f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX);
        sleep(self.pause.mul_f64(0.5 + chance / 2.0)).await;
        self.pause = (self.pause * 2).min(RETRY_MAX);
    }
}
