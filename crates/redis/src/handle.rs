//! One shard's commands: the ports, each in a few lines. All of them are jobs for the I/O thread.

use std::{
    future::Future,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use parlance_core::{
    entry::Draft,
    ports::{
        Appended, Bus, Cursor, Ephemeral, Found, Head, History, Log, Opening, Page, Presence,
        Receipts, Replay, Unavailable,
    },
    room::Opened,
    store::Store,
};
use parlance_feed::{FeedId, Inbox};
use parlance_protocol::{Anchor, ConversationId, MessageId, Position, UnixMicros, UserId};
use redis::cmd;
use tokio::{
    sync::{
        mpsc::{Sender, error::TrySendError},
        oneshot,
    },
    time::{Instant, timeout},
};

use crate::{
    append,
    append::Lines,
    chores,
    gather::{Gathering, Part, What},
    history,
    holders::KEPT,
    io::Io,
    link::Link,
    opening,
    owed::{Advance, Dropped},
    partition::{Keys, partition_of},
    receipts,
    subscriber::Wish,
    table::Wish as Standing,
    time::millis,
    wire,
};

/// Jobs that wait for the I/O thread. Full: what has an answer is unavailable.
pub(crate) const JOBS: usize = 16_384;
/// Ephemerals among them, and ephemerals that Redis did not answer. Beyond it they are dropped, and
/// their conversation is told so: they must not crowd out what lasts.
const PASSING: usize = 4_096;
/// How long a subscription may take.
const SUBSCRIBE_PATIENCE: Duration = Duration::from_secs(8);

/// Something for the I/O thread.
pub(crate) type Job<S> = Box<dyn FnOnce(&Rc<Io<S>>) + Send>;

/// The commands of one shard.
pub struct Handle<S: Store> {
    pub(crate) jobs: Sender<Job<S>>,
    pub(crate) feed: FeedId,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) dropped: Arc<Dropped>,
}

impl<S: Store> Clone for Handle<S> {
    fn clone(&self) -> Self {
        Self {
            jobs: self.jobs.clone(),
            feed: self.feed,
            inbox: Arc::clone(&self.inbox),
            dropped: Arc::clone(&self.dropped),
        }
    }
}

pub(crate) fn closed() -> Unavailable {
    Unavailable::new("the connection to Redis was closed")
}

/// Gives the I/O thread something to do.
fn send<S: Store>(
    jobs: &Sender<Job<S>>,
    job: impl FnOnce(&Rc<Io<S>>) + Send + 'static,
) -> Result<(), Unavailable> {
    jobs.try_send(Box::new(job)).map_err(|error| match error {
        TrySendError::Full(_) => Unavailable::new("too many requests to Redis wait"),
        TrySendError::Closed(_) => closed(),
    })
}

/// Asks the I/O thread something that takes time.
pub(crate) fn ask<S: Store, T, F>(
    jobs: &Sender<Job<S>>,
    question: impl FnOnce(Rc<Io<S>>) -> F + Send + 'static,
) -> impl Future<Output = Result<T, Unavailable>> + 'static
where
    T: Send + 'static,
    F: Future<Output = Result<T, Unavailable>> + 'static,
{
    let (answer, answered) = oneshot::channel();
    let sent = send(jobs, move |io| {
        let asked = question(Rc::clone(io));
        tokio::task::spawn_local(async move {
            // Who does not wait any more needs no answer.
            let _ = answer.send(asked.await);
        });
    });
    async move {
        sent?;
        answered.await.map_err(|_| closed())?
    }
}

impl<S: Store> Handle<S> {
    fn send(&self, job: impl FnOnce(&Rc<Io<S>>) + Send + 'static) -> Result<(), Unavailable> {
        send(&self.jobs, job)
    }

    fn ask<T, F>(
        &self,
        question: impl FnOnce(Rc<Io<S>>) -> F + Send + 'static,
    ) -> impl Future<Output = Result<T, Unavailable>> + 'static
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Unavailable>> + 'static,
    {
        ask(&self.jobs, question)
    }

    /// Sends what passes. What cannot be sent is told as dropped.
    fn pass<F>(
        &self,
        conversation: &ConversationId,
        act: impl FnOnce(Rc<Io<S>>) -> F + Send + 'static,
    ) where
        F: Future<Output = Result<(), Unavailable>> + 'static,
    {
        if self.dropped.waiting.fetch_add(1, Ordering::Relaxed) >= PASSING {
            self.dropped.waiting.fetch_sub(1, Ordering::Relaxed);
            return self.dropped.note(conversation);
        }
        let of = conversation.clone();
        let sent = self.send(move |io| {
            io.dropped.waiting.fetch_sub(1, Ordering::Relaxed);
            if io.passing.get() >= PASSING {
                return io.dropped.note(&of);
            }
            io.passing.set(io.passing.get() + 1);
            let (io, acting) = (Rc::clone(io), act(Rc::clone(io)));
            tokio::task::spawn_local(async move {
                if let Err(error) = acting.await {
                    tracing::debug!(%error, "something ephemeral was not told");
                }
                io.passing.set(io.passing.get() - 1);
            });
        });
        if sent.is_err() {
            self.dropped.waiting.fetch_sub(1, Ordering::Relaxed);
            self.dropped.note(conversation);
        }
    }
}

impl<S: Store> Log for Handle<S> {
    fn append(
        &self,
        conversation: &ConversationId,
        draft: Draft,
    ) -> impl Future<Output = Result<Appended, Unavailable>> + 'static {
        let (answer, answered) = oneshot::channel();
        let conversation = conversation.clone();
        let waiting = append::Waiting {
            draft,
            answer,
            feed: self.feed,
            since: Instant::now(),
        };
        let sent = self.send(move |io| Lines::queue(io, conversation, waiting));
        async move {
            sent?;
            answered.await.map_err(|_| closed())?
        }
    }

    fn head(
        &self,
        conversation: &ConversationId,
    ) -> impl Future<Output = Result<Head, Unavailable>> + 'static {
        let conversation = conversation.clone();
        self.ask(async move |io| {
            let meta = chores::read_meta(&io, &conversation).await?;
            io.table.saw(&conversation, meta.head);
            let lineage = io.lineage(&conversation, &meta).await?;
            Ok(meta.head(lineage, io.store.is_some()))
        })
    }
}

impl<S: Store> History for Handle<S> {
    fn page(
        &self,
        conversation: &ConversationId,
        anchor: Anchor,
        limit: u8,
    ) -> impl Future<Output = Result<Page, Unavailable>> + 'static {
        let conversation = conversation.clone();
        self.ask(async move |io| history::page(&io, &conversation, anchor, limit).await)
    }

    fn replay(
        &self,
        conversation: &ConversationId,
        after: Position,
        limit: usize,
    ) -> impl Future<Output = Result<Replay, Unavailable>> + 'static {
        let conversation = conversation.clone();
        self.ask(async move |io| history::replay(&io, &conversation, after, limit).await)
    }

    fn at(
        &self,
        conversation: &ConversationId,
        position: Position,
    ) -> impl Future<Output = Result<Option<Found>, Unavailable>> + 'static {
        let conversation = conversation.clone();
        self.ask(async move |io| history::at(&io, &conversation, position).await)
    }

    fn authored(
        &self,
        conversation: &ConversationId,
        author: &UserId,
        above: MessageId,
        up_to: MessageId,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<MessageId>, Unavailable>> + 'static {
        let (conversation, author) = (conversation.clone(), author.clone());
        self.ask(async move |io| {
            history::authored(&io, &conversation, &author, above, up_to, limit).await
        })
    }
}

impl<S: Store> Bus for Handle<S> {
    fn subscribe(
        &self,
        conversation: &ConversationId,
    ) -> impl Future<Output = Result<(), Unavailable>> + 'static {
        let (conversation, feed, inbox) = (conversation.clone(), self.feed, self.inbox.clone());
        // In the order of the calls, as giving it up again is.
        self.ask(move |io| standing(subscribe(&io, &conversation, feed, &inbox)))
    }

    fn unsubscribe(&self, conversation: &ConversationId) {
        let (conversation, feed) = (conversation.clone(), self.feed);
        // A channel too many does no harm, and goes with the next unsubscribing.
        let _ = self.send(move |io| {
            if io.table.drop_wish(&conversation, feed) {
                io.wish(partition_of(&conversation), Wish::Unsubscribe(conversation));
            }
        });
    }

    fn publish(&self, conversation: &ConversationId, ephemeral: Ephemeral) {
        let of = conversation.clone();
        self.pass(conversation, move |io| {
            let keys = Keys::of(&of);
            let mut publish = cmd(io.shards.speech().publish());
            publish.arg(&keys.channel).arg(wire::ephemeral(&ephemeral));
            async move {
                let link = io.node(keys.partition)?.link().await?;
                link.send(&publish).await?;
                Ok(())
            }
        });
    }
}

/// Wishes to hear of a conversation. Answered when that stands.
fn subscribe<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    feed: FeedId,
    inbox: &Arc<Inbox>,
) -> oneshot::Receiver<()> {
    let (stands, standing) = oneshot::channel();
    let wish = io.table.wish(conversation, feed, inbox, stands);
    if wish == Standing::New {
        let subscribe = Wish::Subscribe(conversation.clone());
        io.wish(partition_of(conversation), subscribe);
    }
    standing
}

async fn standing(stands: oneshot::Receiver<()>) -> Result<(), Unavailable> {
    match timeout(SUBSCRIBE_PATIENCE, stands).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Unavailable::new("the subscription was given up")),
        Err(_) => Err(Unavailable::new("Redis does not confirm the subscription")),
    }
}

/// Whether a user comes or goes.
#[derive(Debug, Clone, Copy)]
enum Way {
    In,
    Out,
}

impl<S: Store> Handle<S> {
    fn walk(&self, conversation: &ConversationId, user: &UserId, at: UnixMicros, way: Way) {
        let (of, user, feed) = (conversation.clone(), user.clone(), self.feed);
        let sent = self.send(move |io| {
            match way {
                Way::In => io.holders.join(&of, feed, &user),
                Way::Out => io.holders.leave(&of, feed, &user),
            }
            let node = io.node(partition_of(&of));
            if let Ok(Some(link)) = node.as_ref().map(|node| node.link_now()) {
                return tell_presence(io, &link, (of, feed), &user, at, way);
            }
            let io = Rc::clone(io);
            tokio::task::spawn_local(async move {
                let link = async { node?.link().await };
                match link.await {
                    Ok(link) => tell_presence(&io, &link, (of, feed), &user, at, way),
                    Err(_) => io.holders.doubt(&of, feed),
                }
            });
        });
        if let Err(error) = sent {
            tracing::warn!(%error, "a user came or went without anybody being told");
        }
    }
}

fn tell_presence<S: Store>(
    io: &Rc<Io<S>>,
    link: &Rc<Link>,
    (conversation, feed): (ConversationId, FeedId),
    user: &UserId,
    at: UnixMicros,
    way: Way,
) {
    let keys = Keys::of(&conversation);
    let speech = io.shards.speech();
    let mut part = Part::new(keys.partition, 1);
    part.keys.push(keys.presence.as_bytes());
    part.arguments.push(user.as_str().as_bytes());
    part.arguments.push(io.token(feed).as_bytes());
    part.arguments.push(match way {
        Way::In => b"+",
        Way::Out => b"-",
    });
    part.arguments.push(keys.channel.as_bytes());
    part.arguments.push(at.0.to_string().as_bytes());
    let mode = format!("{} {}", speech.letter(), millis(KEPT));
    let io = Rc::clone(io);
    Gathering::give(link, What::Presence, &mode, speech, part, move |told| {
        if told.is_err() {
            io.holders.doubt(&conversation, feed);
        }
    });
}

impl<S: Store> Presence for Handle<S> {
    fn join(&self, conversation: &ConversationId, user: &UserId, at: UnixMicros) {
        self.walk(conversation, user, at, Way::In);
    }

    fn leave(&self, conversation: &ConversationId, user: &UserId, at: UnixMicros) {
        self.walk(conversation, user, at, Way::Out);
    }

    fn present(
        &self,
        conversation: &ConversationId,
    ) -> impl Future<Output = Result<Vec<UserId>, Unavailable>> + 'static {
        let conversation = conversation.clone();
        // As rooms read it: behind the comings and goings that are on their way already.
        self.ask(async move |io| Ok(opening::open(&io, &conversation, 0).await?.present))
    }
}

impl<S: Store> Opening for Handle<S> {
    fn open(
        &self,
        conversation: &ConversationId,
        cursors: usize,
    ) -> impl Future<Output = Result<Opened, Unavailable>> + 'static {
        let (conversation, feed, inbox) = (conversation.clone(), self.feed, self.inbox.clone());
        self.ask(move |io| {
            let stands = subscribe(&io, &conversation, feed, &inbox);
            async move {
                standing(stands).await?;
                opening::open(&io, &conversation, cursors).await
            }
        })
    }
}

impl<S: Store> Receipts for Handle<S> {
    fn advance(
        &self,
        conversation: &ConversationId,
        user: &UserId,
        cursor: Cursor,
        at: UnixMicros,
        listed: Arc<[MessageId]>,
    ) {
        let advance = Advance {
            conversation: conversation.clone(),
            user: user.clone(),
            cursor,
            at,
            listed,
        };
        let sent = self.send(move |io| {
            tokio::task::spawn_local(receipts::advance(Rc::clone(io), advance));
        });
        if let Err(error) = sent {
            tracing::debug!(%error, "a cursor was dropped: its next move repairs it");
        }
    }

    fn cursor(
        &self,
        conversation: &ConversationId,
        user: &UserId,
    ) -> impl Future<Output = Result<Cursor, Unavailable>> + 'static {
        let (conversation, user) = (conversation.clone(), user.clone());
        self.ask(async move |io| receipts::cursor(&io, &conversation, &user).await)
    }

    fn cursors(
        &self,
        conversation: &ConversationId,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(UserId, Cursor)>, Unavailable>> + 'static {
        let conversation = conversation.clone();
        self.ask(async move |io| receipts::cursors(&io, &conversation, limit).await)
    }
}
