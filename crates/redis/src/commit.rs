//! The way into Redis for appends, at either durability.
//!
//! `local`: what is appended goes over the node's link, and the script publishes it.
//!
//! `replicated`: nothing is told before a replica has it. A lane per node gathers calls, sends them
//! together over a connection of its own, and WAITs there, because WAIT speaks of what its own
//! connection wrote. Meanwhile the next calls gather. When a replica has them, the news is published
//! in their order, then they are answered. When none has them in time, the outcome is unknown: the
//! entries stay, and their news goes out after the next WAIT that succeeds, unless the run ended,
//! which may have taken them along. What is *read* may hold such entries, too: nobody is shown them
//! before a WAIT after the reading succeeded.

use std::{cell::RefCell, rc::Rc, time::Duration};

use parlance_core::{ports::Unavailable, store::Partition};
use redis::{Cmd, Pipeline, ServerErrorKind, Value, cmd};
use tokio::{
    sync::{
        Notify,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    time::{Instant, timeout_at},
};

use crate::{
    answer,
    gather::{self, Gathering, Part, What},
    link::{Call, CallError, Link, Run, error_of},
    node::{Node, Retry},
    partition,
    shard_map::Speech,
};

/// Calls of one group.
const CALLS: usize = 256;
/// How long a replica may take.
const WAIT_MS: u64 = 1_000;
/// How long a call waits for a lane that has no connection.
const PATIENCE: Duration = Duration::from_secs(3);
/// News that waits for a WAIT that succeeds. Beyond it the oldest is dropped: whoever misses it
/// finds the entry by the sweep.
const UNTOLD: usize = 4096;

/// Tells what is to be published of an answer.
type News = Box<dyn Fn(&Value) -> Option<String>>;

/// How appends are made durable on a node, and whether there is a store behind it.
pub(crate) struct Writer {
    pub(crate) way: Way,
    pub(crate) has_store: bool,
    pub(crate) speech: Speech,
}

/// How appends are made durable.
pub(crate) enum Way {
    Local(Rc<Link>),
    Replicated { lane: Rc<Lane>, link: Rc<Link> },
}

impl Writer {
    /// How the append script is to work, in its letters.
    fn mode(&self) -> &'static str {
        match (self.has_store, &self.way, self.speech) {
            (true, Way::Local(_), Speech::Plain) => "sp",
            (true, Way::Local(_), Speech::Sharded) => "ss",
            (true, Way::Replicated { .. }, Speech::Plain | Speech::Sharded) => "sw",
            (false, Way::Local(_), Speech::Plain) => "lp",
            (false, Way::Local(_), Speech::Sharded) => "ls",
            (false, Way::Replicated { .. }, Speech::Plain | Speech::Sharded) => "lw",
        }
    }

    /// Appends, and makes what was done as durable as configured.
    pub(crate) async fn append<N: Fn(&Value) -> Option<String> + 'static>(
        &self,
        part: Part,
        channel: &str,
        news: impl FnOnce() -> N,
    ) -> Result<Value, CallError> {
        match &self.way {
            Way::Local(link) => {
                Gathering::call(link, What::Append, self.mode(), self.speech, part).await
            }
            Way::Replicated { lane, link } => {
                let call = gather::call(
                    What::Append,
                    &link.run.0,
                    self.mode(),
                    std::iter::once(&part),
                );
                lane.commit(&call, channel, Box::new(news())).await
            }
        }
    }
}

/// A call on its way through a lane.
struct Submitted {
    by_hash: Cmd,
    with_text: Cmd,
    channel: String,
    news: News,
    answer: oneshot::Sender<Result<Value, CallError>>,
}

/// The group commit of one node.
pub(crate) struct Lane {
    queue: UnboundedSender<Submitted>,
    link: RefCell<Option<Rc<Link>>>,
    changed: Notify,
}

impl Lane {
    /// Starts it. It ends with its node.
    pub(crate) fn start(node: Rc<Node>, speech: Speech) -> Rc<Self> {
        // Bounded by the lines: one call per conversation.
        let (queue, submitted) = unbounded_channel();
        let lane = Rc::new(Self {
            queue,
            link: RefCell::new(None),
            changed: Notify::new(),
        });
        let keeper = Keeper {
            node,
            speech,
            submitted,
            untold: Vec::new(),
            lane: Rc::downgrade(&lane),
        };
        tokio::task::spawn_local(keeper.run());
        lane
    }

    /// The lane's own connection.
    pub(crate) async fn link(&self) -> Result<Rc<Link>, Unavailable> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let changed = self.changed.notified();
            if let Some(link) = self.link.borrow().clone() {
                return Ok(link);
            }
            if timeout_at(deadline, changed).await.is_err() {
                return Err(Unavailable::new("Redis: no connection to commit over"));
            }
        }
    }

    async fn commit(&self, call: &Call<'_>, channel: &str, news: News) -> Result<Value, CallError> {
        let (by_hash, with_text) = (call.command(true), call.command(false));
        let of_the_one = move |answers: &Value| {
            let Value::Array(answers) = answers else {
                return None;
            };
            news(answers.first()?)
        };
        let answer = self
            .submit(by_hash, with_text, channel, Box::new(of_the_one))
            .await?;
        let the_one = answer::each(answer, 1)?.pop();
        the_one.unwrap_or_else(|| Err(answer::unexpected("no answer")))
    }

    /// Completes when a replica has everything that the master had when this was called, in this
    /// run.
    pub(crate) async fn confirm(&self, partition: Partition, run: &Run) -> Result<(), Unavailable> {
        if self.link().await?.run != *run {
            return Err(Unavailable::new("Redis: the master changed meanwhile"));
        }
        // WAIT speaks of writes, so there has to be one.
        let mut write = cmd("SET");
        write.arg(partition::tagged(partition, "w")).arg("");
        let nothing = Box::new(|_: &Value| None);
        self.submit(write.clone(), write, "", nothing).await?;
        Ok(())
    }

    async fn submit(
        &self,
        by_hash: Cmd,
        with_text: Cmd,
        channel: &str,
        news: News,
    ) -> Result<Value, CallError> {
        let (answer, answered) = oneshot::channel();
        let submitted = Submitted {
            by_hash,
            with_text,
            channel: channel.to_owned(),
            news,
            answer,
        };
        let ended = || CallError::Unknown("the connection was lost".into());
        self.queue.send(submitted).map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

/// The task behind a lane.
struct Keeper {
    node: Rc<Node>,
    speech: Speech,
    submitted: UnboundedReceiver<Submitted>,
    /// Channel and news of what no replica was known to have, oldest first.
    untold: Vec<(String, String)>,
    lane: std::rc::Weak<Lane>,
}

impl Keeper {
    async fn run(mut self) {
        let mut retry = Retry::default();
        let mut last_run = None;
        while !self.node.is_over() {
            let connected = match self.node.resolve().await {
                Ok(info) => Link::connect(info).await,
                Err(error) => Err(error),
            };
            let Ok((link, _)) = connected else {
                retry.pause().await;
                continue;
            };
            let connected = Instant::now();
            let link = Rc::new(link);
            if last_run.replace(link.run.clone()) != Some(link.run.clone()) {
                self.untold.clear();
            }
            let Some(lane) = self.lane.upgrade() else {
                return;
            };
            lane.link.replace(Some(Rc::clone(&link)));
            lane.changed.notify_waiters();
            self.commit_over(&link).await;
            lane.link.replace(None);
            drop(lane);
            // What was submitted for the connection that ended is asked for again under the next.
            while let Ok(submitted) = self.submitted.try_recv() {
                let lost = CallError::Elsewhere("the connection was lost".into());
                let _ = submitted.answer.send(Err(lost));
            }
            retry.after(connected.elapsed()).await;
        }
    }

    async fn commit_over(&mut self, link: &Rc<Link>) {
        loop {
            let first = tokio::select! {
                () = link.ended() => return,
                first = self.submitted.recv() => first,
            };
            let Some(first) = first else {
                return;
            };
            let mut group = vec![first];
            while group.len() < CALLS
                && let Ok(next) = self.submitted.try_recv()
            {
                group.push(next);
            }
            self.commit(link, group).await;
            if self
                .node
                .link_now()
                .is_some_and(|other| other.run != link.run)
            {
                link.end();
            }
        }
    }

    async fn commit(&mut self, link: &Link, group: Vec<Submitted>) {
        let commands: Vec<&Cmd> = group.iter().map(|one| &one.by_hash).collect();
        let sent = self.send(link, &commands).await;
        let (mut answers, mut replicas) = match sent {
            Ok(sent) => sent,
            Err(error) => return refuse(group, &error),
        };
        let unknown: Vec<usize> = (0..group.len())
            .filter(|index| is_unknown_script(&answers[*index]))
            .collect();
        if !unknown.is_empty() {
            let commands: Vec<&Cmd> = unknown.iter().map(|at| &group[*at].with_text).collect();
            match self.send(link, &commands).await {
                Ok((again, had)) => {
                    for (index, answer) in unknown.into_iter().zip(again) {
                        answers[index] = answer;
                    }
                    replicas = had;
                }
                Err(error) => return refuse(group, &error),
            }
        }
        for (one, answer) in group.iter().zip(&answers) {
            if let Some(news) = (one.news)(answer) {
                self.untold.push((one.channel.clone(), news));
            }
        }
        if replicas == 0 {
            let surplus = self.untold.len().saturating_sub(UNTOLD);
            self.untold.drain(..surplus);
            let late = CallError::Unknown("no replica has it in time".into());
            return refuse(group, &late);
        }
        self.tell(link).await;
        for (one, answer) in group.into_iter().zip(answers) {
            let answer = answer.extract_error().map_err(error_of);
            let _ = one.answer.send(answer);
        }
    }

    /// The answers, and how many replicas have everything.
    async fn send(&self, link: &Link, commands: &[&Cmd]) -> Result<(Vec<Value>, i64), CallError> {
        let mut pipeline = Pipeline::new();
        pipeline.ignore_errors();
        for command in commands {
            pipeline.add_command((*command).clone());
        }
        let mut wait = cmd("WAIT");
        wait.arg(1).arg(WAIT_MS);
        pipeline.add_command(wait);
        let mut answers: Vec<Value> = link.pipeline(&pipeline).await?;
        let replicas = answers.pop().as_ref().and_then(answer::number);
        match replicas {
            Some(replicas) if answers.len() == commands.len() => Ok((answers, replicas)),
            Some(_) | None => Err(CallError::Unknown("WAIT gave no number".into())),
        }
    }

    async fn tell(&mut self, link: &Link) {
        if self.untold.is_empty() {
            return;
        }
        let mut pipeline = Pipeline::new();
        for (channel, news) in &self.untold {
            let publish = pipeline.cmd(self.speech.publish());
            publish.arg(channel).arg(news).ignore();
        }
        // They stay in line for the next time if it fails; who hears twice knows by the position.
        if link.pipeline::<()>(&pipeline).await.is_ok() {
            self.untold.clear();
        }
    }
}

fn refuse(group: Vec<Submitted>, error: &CallError) {
    for one in group {
        let _ = one.answer.send(Err(error.clone()));
    }
}

fn is_unknown_script(answer: &Value) -> bool {
    let Value::ServerError(error) = answer else {
        return false;
    };
    error.kind() == Some(ServerErrorKind::NoScript)
}
