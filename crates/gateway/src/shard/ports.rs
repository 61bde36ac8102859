//! What a shard's rooms ask of the ports, and the answers as they come.
//!
//! The log queues an append at the call, so the calls are made here at once and in the order of
//! the effects; only the answers are waited for.

use std::{future::Future, pin::Pin, sync::Arc, time::Instant};

use futures_util::{StreamExt, future::ready, stream::FuturesUnordered};
use parlance_core::{
    clock::Now,
    ports::{Bus, History, Log, Opening, Presence, Receipts, Unavailable, Verifier},
    receipts::OPENING_CURSORS,
    room::{Opened, Reply, Request, Ticket},
};
use parlance_protocol::ConversationId;
use parlance_telemetry::Metrics;
use parlance_traces::Traces;

use super::{RoomKey, spans};

type Waiting = Pin<Box<dyn Future<Output = (RoomKey, Answer)>>>;

/// What a room asked for.
pub(super) enum Answer {
    Opened(Result<Opened, Unavailable>),
    Reply(Ticket, Reply),
}

/// The handle of a shard, and all answers that it waits for.
pub(super) struct Ports<H, V> {
    pub(super) handle: H,
    verifier: Arc<V>,
    pub(super) traces: Traces,
    waiting: FuturesUnordered<Waiting>,
}

impl<H: Log + History + Bus + Presence + Receipts + Opening, V: Verifier> Ports<H, V> {
    pub(super) fn new(handle: H, verifier: Arc<V>, traces: Traces) -> Self {
        Self {
            handle,
            verifier,
            traces,
            waiting: FuturesUnordered::new(),
        }
    }

    /// Subscribes, and reads once the subscription stands: nothing falls between the two.
    pub(super) fn open(&self, room: RoomKey, conversation: &ConversationId) {
        let open = self.handle.open(conversation, OPENING_CURSORS);
        self.waiting
            .push(Box::pin(async move { (room, Answer::Opened(open.await)) }));
    }

    /// Asks now; the answer comes by [`Ports::answer`].
    pub(super) fn ask(
        &self,
        room: RoomKey,
        conversation: &ConversationId,
        ticket: Ticket,
        request: Request,
        now: Now,
        metrics: &Metrics,
    ) {
        match request {
            Request::Append(mut draft) => {
                let begun = Instant::now();
                let duration = metrics.append_duration.clone();
                let span = spans::append(&self.traces, conversation, &mut draft);
                let append = self.handle.append(conversation, draft);
                self.wait(room, ticket, async move {
                    let appended = append.await;
                    duration.record(begun.elapsed());
                    if let Some(span) = span {
                        spans::appended(span, &appended);
                    }
                    Reply::Append(appended)
                });
            }
            Request::Head => {
                let head = self.handle.head(conversation);
                self.wait(room, ticket, async move { Reply::Head(head.await) });
            }
            Request::Replay { after, limit } => {
                let replay = self.handle.replay(conversation, after, limit);
                self.wait(room, ticket, async move { Reply::Replay(replay.await) });
            }
            Request::Page { anchor, limit } => {
                let page = self.handle.page(conversation, anchor, limit);
                self.wait(room, ticket, async move { Reply::Page(page.await) });
            }
            Request::At(position) => {
                let at = self.handle.at(conversation, position);
                self.wait(room, ticket, async move { Reply::At(at.await) });
            }
            Request::Authored {
                author,
                above,
                up_to,
                limit,
            } => {
                let authored = self
                    .handle
                    .authored(conversation, &author, above, up_to, limit);
                self.wait(room, ticket, async move { Reply::Authored(authored.await) });
            }
            Request::Cursor(user) => {
                let cursor = self.handle.cursor(conversation, &user);
                self.wait(room, ticket, async move { Reply::Cursor(cursor.await) });
            }
            Request::Verify(token) => {
                let verdict = self.verifier.verify(&token, now.wall);
                self.wait(room, ticket, ready(Reply::Verify(verdict)));
            }
        }
    }

    /// The next answer. Stays pending while nothing is waited for. Cancel safe.
    pub(super) async fn answer(&mut self) -> (RoomKey, Answer) {
        match self.waiting.next().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    fn wait(&self, room: RoomKey, ticket: Ticket, reply: impl Future<Output = Reply> + 'static) {
        self.waiting.push(Box::pin(async move {
            (room, Answer::Reply(ticket, reply.await))
        }));
    }
}
