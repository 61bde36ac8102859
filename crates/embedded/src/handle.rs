//! One shard's commands: the ports, each in a few lines.

use std::{
    future::{Future, ready},
    sync::{Arc, mpsc::TrySendError},
};

use parlance_core::{
    entry::Draft,
    lineage::{Lineage, Span},
    ports::{
        Appended, Bus, Cursor, Ephemeral, Found, Head, History, Log, Opening, Page, Presence,
        Receipts, Replay, Unavailable,
    },
    room::Opened,
};
use parlance_protocol::{Anchor, ConversationId, MessageId, Position, UnixMicros, UserId};
use tokio::sync::oneshot;

use crate::{
    Shared,
    bus::FeedEnd,
    committer::{Job, Request},
    history,
    tables::Tail,
};

/// The commands of one shard.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) feed: FeedEnd,
}

impl Handle {
    fn queue(
        &self,
        conversation: &ConversationId,
        draft: Draft,
    ) -> Result<oneshot::Receiver<Result<Appended, Unavailable>>, Unavailable> {
        let (answer, answered) = oneshot::channel();
        let request = Request {
            conversation: conversation.clone(),
            draft,
            origin: self.feed.id,
            answer,
        };
        match self.shared.jobs.try_send(Job::Append(request)) {
            Ok(()) => Ok(answered),
            Err(TrySendError::Full(_)) => Err(Unavailable::new("too many appends wait")),
            Err(TrySendError::Disconnected(_)) => Err(closed()),
        }
    }
}

impl Log for Handle {
    fn append(
        &self,
        conversation: &ConversationId,
        draft: Draft,
    ) -> impl Future<Output = Result<Appended, Unavailable>> + 'static {
        let queued = self.queue(conversation, draft);
        async move { queued?.await.map_err(|_| closed())? }
    }

    fn head(
        &self,
        conversation: &ConversationId,
    ) -> impl Future<Output = Result<Head, Unavailable>> + 'static {
        let conversation = conversation.clone();
        self.shared
            .readers
            .run(move |tables| history::tail(tables, &conversation).map(head))
    }
}

impl History for Handle {
    fn page(
        &self,
        conversation: &ConversationId,
        anchor: Anchor,
        limit: u8,
    ) -> impl Future<Output = Result<Page, Unavailable>> + 'static {
        let conversation = conversation.clone();
        self.shared
            .readers
            .run(move |tables| history::page(tables, &conversation, anchor, limit))
    }

    fn replay(
        &self,
        conversation: &ConversationId,
        after: Position,
        limit: usize,
    ) -> impl Future<Output = Result<Replay, Unavailable>> + 'static {
        let conversation = conversation.clone();
        self.shared
            .readers
            .run(move |tables| history::replay(tables, &conversation, after, limit))
    }

    fn at(
        &self,
        conversation: &ConversationId,
        position: Position,
    ) -> impl Future<Output = Result<Option<Found>, Unavailable>> + 'static {
        let conversation = conversation.clone();
        self.shared
            .readers
            .run(move |tables| history::at(tables, &conversation, position))
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
        self.shared.readers.run(move |tables| {
            history::authored(tables, &conversation, &author, above, up_to, limit)
        })
    }
}

impl Bus for Handle {
    fn subscribe(
        &self,
        conversation: &ConversationId,
    ) -> impl Future<Output = Result<(), Unavailable>> + 'static {
        self.shared.bus.subscribe(conversation, &self.feed);
        ready(Ok(()))
    }

    fn unsubscribe(&self, conversation: &ConversationId) {
        self.shared.bus.unsubscribe(conversation, self.feed.id);
    }

    fn publish(&self, conversation: &ConversationId, ephemeral: Ephemeral) {
        self.shared.bus.publish(conversation, &ephemeral);
    }
}

impl Presence for Handle {
    fn join(&self, conversation: &ConversationId, user: &UserId, at: UnixMicros) {
        self.shared
            .presence
            .join(conversation, user, self.feed.id, || {
                let user = user.clone();
                self.publish(conversation, Ephemeral::Online { user, at });
            });
    }

    fn leave(&self, conversation: &ConversationId, user: &UserId, at: UnixMicros) {
        self.shared
            .presence
            .leave(conversation, user, self.feed.id, || {
                let user = user.clone();
                self.publish(conversation, Ephemeral::Offline { user, at });
            });
    }

    fn present(
        &self,
        conversation: &ConversationId,
    ) -> impl Future<Output = Result<Vec<UserId>, Unavailable>> + 'static {
        ready(Ok(self.shared.presence.present(conversation)))
    }
}

impl Opening for Handle {
    fn open(
        &self,
        conversation: &ConversationId,
        cursors: usize,
    ) -> impl Future<Output = Result<Opened, Unavailable>> + 'static {
        let (handle, conversation) = (self.clone(), conversation.clone());
        async move {
            handle.subscribe(&conversation).await?;
            let head = handle.head(&conversation);
            let cursors = handle.cursors(&conversation, cursors);
            Ok(Opened {
                head: head.await?,
                present: handle.present(&conversation).await?,
                cursors: cursors.await?,
            })
        }
    }
}

impl Receipts for Handle {
    fn advance(
        &self,
        conversation: &ConversationId,
        user: &UserId,
        cursor: Cursor,
        at: UnixMicros,
        listed: Arc<[MessageId]>,
    ) {
        let shared = &self.shared;
        let told = shared
            .receipts
            .advance(&shared.tables, conversation, user, cursor, |cursor| {
                let user = user.clone();
                let moved = Ephemeral::Cursor {
                    user,
                    cursor,
                    at,
                    listed,
                };
                self.publish(conversation, moved);
            });
        if let Err(reason) = told {
            tracing::warn!("a cursor did not move: {reason}");
        }
    }

    fn cursor(
        &self,
        conversation: &ConversationId,
        user: &UserId,
    ) -> impl Future<Output = Result<Cursor, Unavailable>> + 'static {
        let (conversation, user) = (conversation.clone(), user.clone());
        let shared = Arc::clone(&self.shared);
        self.shared
            .readers
            .run(move |tables| shared.receipts.cursor(tables, &conversation, &user))
    }

    fn cursors(
        &self,
        conversation: &ConversationId,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(UserId, Cursor)>, Unavailable>> + 'static {
        let conversation = conversation.clone();
        let shared = Arc::clone(&self.shared);
        self.shared
            .readers
            .run(move |tables| shared.receipts.cursors(tables, &conversation, limit))
    }
}

/// There is one writer, so there is one epoch, and what is acknowledged is stored.
fn head(tail: Tail) -> Head {
    let spans = match tail.position {
        Position::ZERO => Vec::new(),
        last => vec![Span {
            epoch: 0,
            last,
            ordinal_before: 0,
        }],
    };
    Head {
        epoch: 0,
        lineage: Lineage::new(spans),
        stored: tail.position,
        durable: true,
        stored_at_ack: true,
    }
}

fn closed() -> Unavailable {
    Unavailable::new("the data directory is closed")
}
