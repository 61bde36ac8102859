//! Read and delivered cursors.

use std::{rc::Rc, time::Duration};

use parlance_core::{
    ports::{Cursor, Unavailable},
    store::Store,
};
use parlance_protocol::{ConversationId, MessageId, UserId};

use crate::{
    answer,
    io::Io,
    link::{Call, Link},
    owed::Advance,
    partition::Keys,
    scripts,
    time::millis,
    wire,
};

/// Without a store, how long a conversation's cursors stay after the last move of one.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Moves a cursor; what Redis does not take is kept for later.
pub(crate) async fn advance<S: Store>(io: Rc<Io<S>>, advance: Advance) {
    if let Err(error) = try_advance(&io, &advance).await {
        tracing::debug!(%error, "a cursor waits");
        io.owed.keep(advance);
    }
}

async fn try_advance<S: Store>(io: &Rc<Io<S>>, advance: &Advance) -> Result<(), Unavailable> {
    let keys = Keys::of(&advance.conversation);
    let kept_ms = match io.store {
        Some(_) => 0,
        None => millis(KEPT),
    };
    let link = io.node(keys.partition)?.link().await?;
    let call = Call::of(&scripts::ADVANCE, [&*keys.read, &*keys.delivered])
        .with(advance.user.as_str())
        .with(advance.cursor.delivered.get())
        .with(advance.cursor.read.get())
        .with(io.shards.speech().publish())
        .with(&*keys.channel)
        .with(advance.at.0)
        .with(wire::listed(&advance.listed))
        .with(kept_ms);
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
    let mut call = Call::of(&scripts::CURSORS, [&*keys.read, &*keys.delivered]).with(limit as u64);
    if let Some(user) = user {
        call = call.with(user.as_str());
    }
    let ask = async |link: Rc<Link>| link.call(&call).await;
    let texts = answer::texts(io.read(keys.partition, ask).await?)?;
    let cursors = texts.chunks_exact(3).map(|three| {
        Some((
            UserId::new(&three[0]).ok()?,
            Cursor {
                delivered: MessageId::parse(&three[1])?,
                read: MessageId::parse(&three[2])?,
            },
        ))
    });
    let cursors: Option<Vec<_>> = cursors.collect();
    cursors.ok_or_else(|| answer::unexpected("cursors").into())
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
    let mut all = read(io, conversation, limit, None).await?;
    all.sort_by_key(|(_, cursor)| std::cmp::Reverse((cursor.delivered, cursor.read)));
    // The two that received most are named in any case, the others by how far they read.
    let mut named: Vec<_> = all.drain(..all.len().min(2)).collect();
    all.sort_by_key(|(_, cursor)| std::cmp::Reverse(cursor.read));
    all.truncate(limit.saturating_sub(named.len()));
    named.extend(all);
    named.sort_by_key(|(_, cursor)| std::cmp::Reverse(cursor.read));
    Ok(named)
}
