//! Read and delivered cursors.

use std::{rc::Rc, time::Duration};

use parlance_core::{
    ports::{Cursor, Unavailable},
    store::Store,
};
use parlance_protocol::{ConversationId, MessageId, UserId};
use redis::Value;

use crate::{
    answer,
    io::Io,
    link::{Call, CallError, Link},
    owed::Advance,
    partition::Keys,
    scripts,
    time::millis,
    wire,
};

/// How long a conversation's cursors stay after the last move of one. Those that are not stored yet
/// wait for it elsewhere.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Cursors of one call that are put back, so that no call keeps Redis for long.
const RECALLED_PER_CALL: usize = 500;

/// Moves a cursor; what Redis does not take is kept for later.
pub(crate) async fn advance<S: Store>(io: Rc<Io<S>>, advance: Advance) {
    if let Err(error) = try_advance(&io, &advance).await {
        tracing::debug!(%error, "a cursor waits");
        io.owed.keep(advance);
    }
}

async fn try_advance<S: Store>(io: &Rc<Io<S>>, advance: &Advance) -> Result<(), Unavailable> {
    let keys = Keys::of(&advance.conversation);
    let link = io.node(keys.partition)?.link().await?;
    let moved = io.store.is_some().then_some(&*keys.moved);
    let all = [&*keys.read, &*keys.delivered].into_iter().chain(moved);
    let call = Call::of(&scripts::ADVANCE, all)
        .with(advance.user.as_str())
        .with(advance.cursor.delivered.get())
        .with(advance.cursor.read.get())
        .with(io.shards.speech().publish())
        .with(&*keys.channel)
        .with(advance.at.0)
        .with(wire::listed(&advance.listed))
        .with(millis(KEPT))
        .with(advance.conversation.as_str());
    link.call(&call).await?;
    Ok(())
}

/// The highest `limit` of each kind, and those of `users`.
async fn read<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    limit: usize,
    user: Option<&UserId>,
) -> Result<Vec<(UserId, Cursor)>, Unavailable> {
    let keys = Keys::of(conversation);
    let known = read_here(io, &keys, limit, user).await?;
    if known.is_recalled || io.store.is_none() {
        return Ok(known.cursors);
    }
    recall(io, conversation, &keys).await?;
    Ok(read_here(io, &keys, limit, user).await?.cursors)
}

/// What Redis has.
pub(crate) struct Known {
    /// Whether what the store has is among it.
    pub(crate) is_recalled: bool,
    pub(crate) cursors: Vec<(UserId, Cursor)>,
}

async fn read_here<S: Store>(
    io: &Rc<Io<S>>,
    keys: &Keys,
    limit: usize,
    user: Option<&UserId>,
) -> Result<Known, Unavailable> {
    let mut call = Call::of(&scripts::CURSORS, [&*keys.read, &*keys.delivered]).with(limit as u64);
    if let Some(user) = user {
        call = call.with(user.as_str());
    }
    let ask = async |link: Rc<Link>| link.call(&call).await;
    Ok(Known::of(io.read(keys.partition, ask).await?)?)
}

impl Known {
    /// What the scripts give.
    pub(crate) fn of(value: Value) -> Result<Self, CallError> {
        let texts = answer::texts(value)?;
        let known = texts.split_first().and_then(|(is_recalled, texts)| {
            let cursors = texts.chunks_exact(3).map(cursor_of);
            Some(Known {
                is_recalled: is_recalled == "1",
                cursors: cursors.collect::<Option<_>>()?,
            })
        });
        known.ok_or_else(|| answer::unexpected("cursors"))
    }
}

fn cursor_of(three: &[String]) -> Option<(UserId, Cursor)> {
    let cursor = Cursor {
        delivered: MessageId::parse(&three[1])?,
        read: MessageId::parse(&three[2])?,
    };
    Some((UserId::new(&three[0]).ok()?, cursor))
}

/// Merges what the store has into what Redis has: Redis may have forgotten it.
async fn recall<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    keys: &Keys,
) -> Result<(), Unavailable> {
    let Some(store) = &io.store else {
        return Ok(());
    };
    let stored = store.cursors(conversation).await?;
    let link = io.node(keys.partition)?.link().await?;
    let mut parts = stored.chunks(RECALLED_PER_CALL).peekable();
    loop {
        let part = parts.next().unwrap_or_default();
        let is_last = parts.peek().is_none();
        let mut call = Call::of(&scripts::RECALL, [&*keys.read, &*keys.delivered])
            .with(if is_last { "1" } else { "0" })
            .with(millis(KEPT));
        for (user, cursor) in part {
            call = call
                .with(user.as_str())
                .with(cursor.delivered.get())
                .with(cursor.read.get());
        }
        link.call(&call).await?;
        if is_last {
            return Ok(());
        }
    }
}

/// See [`parlance_core::ports::Receipts::cursor`].
pub(crate) async fn cursor<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    user: &UserId,
) -> Result<Cursor, Unavailable> {
    let found = read(io, conversation, 0, Some(user)).await?;
    Ok(found
        .first()
        .map_or_else(Cursor::default, |(_, cursor)| *cursor))
}

/// See [`parlance_core::ports::Receipts::cursors`].
pub(crate) async fn cursors<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    limit: usize,
) -> Result<Vec<(UserId, Cursor)>, Unavailable> {
    Ok(named(read(io, conversation, limit, None).await?, limit))
}

/// Those that are named of all that are among the highest of either kind.
pub(crate) fn named(mut all: Vec<(UserId, Cursor)>, limit: usize) -> Vec<(UserId, Cursor)> {
    all.sort_by_key(|(_, cursor)| std::cmp::Reverse((cursor.delivered, cursor.read)));
    // The two that received most are named in any case, the others by how far they read.
    let mut named: Vec<_> = all.drain(..all.len().min(2)).collect();
    all.sort_by_key(|(_, cursor)| std::cmp::Reverse(cursor.read));
    all.truncate(limit.saturating_sub(named.len()));
    named.extend(all);
    named.sort_by_key(|(_, cursor)| std::cmp::Reverse(cursor.read));
    named
}
