//! The connection over which one node's pushes come, and the subscriptions on it.
//!
//! It carries nothing else: a client library that mixes pushes and answers on one connection takes
//! the one for the other. Every subscription is a command of its own, and stands when its
//! confirmation comes as a push; answers are looked at for refusals only. On any doubt (the
//! connection ended, a channel was taken away, the probe was missed) everything begins anew, and
//! every conversation is read again once its channel stands.

use std::{collections::HashSet, rc::Rc, sync::Arc, time::Duration};

use futures_util::future::join_all;
use parlance_core::store::Partition;
use parlance_protocol::ConversationId;
use redis::{PushInfo, PushKind, Value, aio::MultiplexedConnection, cmd};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::{
    link::{self, ANSWER_TIMEOUT, CallError, error_of},
    node::{Node, Retry},
    partition::{self, Keys},
    shard_map::Speech,
    table::Table,
};

/// Subscriptions that are under way at once: what paces a new connection's begin.
const AT_ONCE: usize = 256;

/// What a subscriber is told to do.
#[derive(Debug)]
pub(crate) enum Wish {
    Subscribe(ConversationId),
    Unsubscribe(ConversationId),
}

/// What a subscriber tells its process.
pub(crate) trait Listener {
    /// Which partitions the node has.
    fn partitions(self: &Rc<Self>, node: &Rc<Node>) -> Vec<Partition>;
    /// A partition is in another epoch than was known.
    fn on_epoch(self: &Rc<Self>, partition: Partition);
    /// The node has not got what was expected of it.
    fn on_misplaced(self: &Rc<Self>);
    /// It hears from now on.
    fn on_open(self: &Rc<Self>, node: &Rc<Node>);
    /// It begins anew, for this reason.
    fn on_lost(self: &Rc<Self>, why: Loss);
    /// A probe was heard.
    fn on_probe(self: &Rc<Self>, took: Duration);
}

/// What comes over the connection besides conversations.
#[derive(Debug)]
enum Event {
    Confirmed(String),
    Ended(String),
    Probe,
    /// Somebody opened an epoch.
    Opened(Partition, u32),
    /// An entry is of a later epoch than was known.
    Later(Partition),
    Disconnected,
    Refused(CallError),
}

/// Why subscriptions began anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Loss {
    #[error("the connection was lost")]
    Disconnected,
    #[error("a channel was taken away")]
    TakenAway,
    #[error("a subscription was refused")]
    Refused,
    #[error("a probe was not heard")]
    ProbeMissed,
    #[error("the node is not used any more")]
    Over,
}

/// One node's subscriptions.
pub(crate) struct Subscriber {
    pub(crate) node: Rc<Node>,
    pub(crate) table: Arc<Table>,
    pub(crate) speech: Speech,
    /// The channel of the probe.
    pub(crate) probe: String,
    pub(crate) wishes: UnboundedReceiver<Wish>,
}

/// An open connection.
struct Open {
    connection: MultiplexedConnection,
    events: UnboundedReceiver<Event>,
    sender: UnboundedSender<Event>,
    /// Conversations that were given up, until Redis says so.
    leaving: HashSet<ConversationId>,
    /// Conversations whose channels were asked for.
    asked: HashSet<ConversationId>,
}

impl Subscriber {
    /// Until the node retires.
    pub(crate) async fn run(mut self, listener: Rc<impl Listener>) {
        let mut retry = Retry::default();
        while !self.node.is_over() {
            match timeout(2 * ANSWER_TIMEOUT, self.open()).await {
                Ok(Ok(open)) => {
                    let opened = Instant::now();
                    listener.on_open(&self.node);
                    let why = self.listen(open, &listener).await;
                    let partitions = listener.partitions(&self.node);
                    self.table.lost(&partitions);
                    if !self.node.is_over() {
                        tracing::warn!(node = self.node.label, %why, "lost the subscriptions");
                        listener.on_lost(why);
                    }
                    retry.after(opened.elapsed()).await;
                    continue;
                }
                Ok(Err(error)) => {
                    tracing::debug!(node = self.node.label, %error, "cannot subscribe")
                }
                Err(_) => tracing::debug!(node = self.node.label, "no answer to a subscription"),
            }
            retry.pause().await;
        }
    }

    async fn open(&self) -> Result<Open, CallError> {
        let (sender, events) = unbounded_channel();
        let (table, told) = (Arc::clone(&self.table), sender.clone());
        let probe = self.probe.clone();
        let settings = link::settings()
            .set_pipeline_buffer_size(2 * AT_ONCE)
            .set_push_sender(move |push: PushInfo| -> Result<(), redis::aio::SendError> {
                on_push(push, &table, &probe, &told);
                Ok(())
            });
        let info = self.node.resolve().await?;
        let mut connection = link::open(info, &settings).await?;
        for channel in [&*self.probe, &*partition::epochs_channel()] {
            let mut subscribe = cmd("SUBSCRIBE");
            subscribe.arg(channel);
            let confirmed = link::send(&mut connection, &subscribe).await;
            confirmed.map_err(error_of)?;
        }
        self.node.forget_probe();
        Ok(Open {
            connection,
            events,
            sender,
            leaving: HashSet::new(),
            asked: HashSet::new(),
        })
    }

    /// Why it ended.
    async fn listen(&mut self, mut open: Open, listener: &Rc<impl Listener>) -> Loss {
        let wanted = self.table.of(&listener.partitions(&self.node));
        for some in wanted.chunks(AT_ONCE) {
            if let Err(why) = self.subscribe(&mut open, some, listener).await {
                return why;
            }
        }
        let mut looks = interval(Duration::from_millis(500));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let done = tokio::select! {
                biased;
                event = open.events.recv() => match event {
                    Some(event) => self.on_event(&mut open, event, listener),
                    None => Err(Loss::Disconnected),
                },
                wish = self.wishes.recv() => match wish {
                    Some(wish) => self.on_wish(&mut open, wish),
                    None => Err(Loss::Over),
                },
                _ = looks.tick() => self.look(),
            };
            if let Err(why) = done {
                return why;
            }
        }
    }

    /// Several at once, and waits until all of them were answered.
    async fn subscribe(
        &mut self,
        open: &mut Open,
        conversations: &[ConversationId],
        listener: &Rc<impl Listener>,
    ) -> Result<(), Loss> {
        let asked = conversations.iter().map(|one| self.ask(open, one));
        let asked: Vec<_> = asked.collect();
        join_all(asked).await;
        while let Ok(event) = open.events.try_recv() {
            self.on_event(open, event, listener)?;
        }
        Ok(())
    }

    /// Asks for a channel. The future is the answer, in which only a refusal counts.
    fn ask(
        &self,
        open: &mut Open,
        conversation: &ConversationId,
    ) -> impl Future<Output = ()> + use<> {
        let channel = Keys::of(conversation).channel;
        let mut subscribe = cmd(self.speech.subscribe());
        subscribe.arg(&channel);
        open.asked.insert(conversation.clone());
        let (mut connection, refused) = (open.connection.clone(), open.sender.clone());
        async move {
            if let Err(error) = link::send(&mut connection, &subscribe).await {
                // Nobody listens to a connection that ended.
                let _ = refused.send(Event::Refused(error_of(error)));
            }
        }
    }

    fn on_wish(&self, open: &mut Open, wish: Wish) -> Result<(), Loss> {
        match wish {
            Wish::Subscribe(conversation) => {
                // It may have been given up again, or be asked for already.
                if self.table.wants(&conversation) {
                    tokio::task::spawn_local(self.ask(open, &conversation));
                }
            }
            Wish::Unsubscribe(conversation) => {
                if self.table.wants(&conversation) || !open.asked.remove(&conversation) {
                    return Ok(());
                }
                let mut unsubscribe = cmd(self.speech.unsubscribe());
                unsubscribe.arg(Keys::of(&conversation).channel);
                open.leaving.insert(conversation);
                let mut connection = open.connection.clone();
                tokio::task::spawn_local(async move {
                    // A channel too many does no harm.
                    let _ = link::send(&mut connection, &unsubscribe).await;
                });
            }
        }
        Ok(())
    }

    fn on_event(
        &self,
        open: &mut Open,
        event: Event,
        listener: &Rc<impl Listener>,
    ) -> Result<(), Loss> {
        match event {
            Event::Confirmed(channel) => {
                let conversation = partition::conversation_of(&channel);
                if let Some(conversation) = conversation.and_then(|id| open.asked.get(id)) {
                    self.table.confirmed(conversation);
                }
            }
            Event::Ended(channel) => {
                let Some(conversation) = partition::conversation_of(&channel) else {
                    return Ok(());
                };
                if !open.leaving.remove(conversation) && open.asked.contains(conversation) {
                    listener.on_misplaced();
                    return Err(Loss::TakenAway);
                }
            }
            Event::Probe => {
                if let Some(took) = self.node.on_probe_heard() {
                    listener.on_probe(took);
                }
            }
            Event::Opened(partition, epoch) => {
                if self.table.epochs.note(partition, epoch) {
                    listener.on_epoch(partition);
                }
            }
            Event::Later(partition) => listener.on_epoch(partition),
            Event::Disconnected => return Err(Loss::Disconnected),
            Event::Refused(error) => {
                if matches!(error, CallError::Elsewhere(_)) {
                    listener.on_misplaced();
                }
                tracing::warn!(node = self.node.label, %error, "a subscription failed");
                return Err(Loss::Refused);
            }
        }
        Ok(())
    }

    /// A probe is on its way all the time, as long as there is a link to send it by.
    fn look(&self) -> Result<(), Loss> {
        if self.node.is_over() {
            return Err(Loss::Over);
        }
        if self.node.misses_probe() {
            return Err(Loss::ProbeMissed);
        }
        Ok(())
    }
}

/// Runs inside the connection's driver: it must not wait.
fn on_push(push: PushInfo, table: &Table, probe: &str, events: &UnboundedSender<Event>) {
    let mut parts = push.data.into_iter().filter_map(|part| {
        let Value::BulkString(bytes) = part else {
            return None;
        };
        String::from_utf8(bytes).ok()
    });
    let channel = parts.next();
    let event = match (push.kind, channel) {
        (PushKind::Message | PushKind::SMessage, Some(channel)) => {
            let payload = parts.next().unwrap_or_default();
            match partition::conversation_of(&channel) {
                Some(conversation) => table.route(conversation, &payload).map(Event::Later),
                None if channel == probe => Some(Event::Probe),
                None => announced(&payload),
            }
        }
        (PushKind::Subscribe | PushKind::SSubscribe, Some(channel)) => {
            Some(Event::Confirmed(channel))
        }
        (PushKind::Unsubscribe | PushKind::SUnsubscribe, Some(channel)) => {
            Some(Event::Ended(channel))
        }
        (PushKind::Disconnection, _) => Some(Event::Disconnected),
        _ => None,
    };
    if let Some(event) = event {
        // The receiver is gone when the connection is given up.
        let _ = events.send(event);
    }
}

/// `<partition> <epoch>`
fn announced(payload: &str) -> Option<Event> {
    let (partition, epoch) = payload.split_once(' ')?;
    Some(Event::Opened(
        Partition(partition.parse().ok()?),
        epoch.parse().ok()?,
    ))
}
