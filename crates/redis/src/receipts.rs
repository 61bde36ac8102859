//! Read and delivered cursors.

use std::{collections::HashMap, fmt::Display, rc::Rc, time::Duration};

use futures_util::future::join_all;
use parlance_core::{
    ports::{Cursor, Unavailable},
    store::Store,
};
use parlance_protocol::{ConversationId, MessageId, UserId};
use redis::Value;
use tokio::time::sleep;

use crate::{
    answer,
    io::Io,
    link::{Call, CallError, Link},
    owed::Advance,
    partition::{Keys, partition_of},
    scripts,
    shard_map::Speech,
    time::millis,
    wire,
};

/// How long a conversation's cursors stay after the last move of one. Those that are not stored yet
/// wait for it elsewhere.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Moves within this go together. Nobody sees the difference, and each for itself would cost as much as
/// a message: threads woken here, a call there, a push to everybody.
const GATHERED_FOR: Duration = Duration::from_millis(20);

/// Cursors of one call that are put back, so that no call keeps Redis for long.
const RECALLED_PER_CALL: usize = 500;

/// Moves of one call, so that no call keeps Redis for long.
const MOVES_PER_CALL: usize = 64;

/// Takes the moves that shards gave, a moment after the first of them.
pub(crate) async fn advance_soon<S: Store>(io: Rc<Io<S>>) {
    sleep(GATHERED_FOR).await;
    let moves = io.moves.take();
    advance(&io, moves).await;
}

/// Takes them now, before something else of a shard that has to come behind them.
pub(crate) fn advance_now<S: Store>(io: &Rc<Io<S>>) {
    let moves = io.moves.take();
    if !moves.is_empty() {
        let io = Rc::clone(io);
        tokio::task::spawn_local(async move { advance(&io, moves).await });
    }
}

/// Moves cursors; what Redis does not take is kept for later.
pub(crate) async fn advance<S: Store>(io: &Rc<Io<S>>, moves: Vec<Advance>) {
    let groups = grouped(io, moves);
    let calls = groups.iter().flat_map(|group| group.chunks(MOVES_PER_CALL));
    join_all(calls.map(|some| advance_some(io, some))).await;
}

/// What may go in one call: what is on one node, of a cluster in one slot.
fn grouped<S: Store>(io: &Io<S>, moves: Vec<Advance>) -> Vec<Vec<Advance>> {
    let place = |partition| match io.shards.speech() {
        Speech::Plain => io.node(partition).ok().map(|node| node.label.clone()),
        Speech::Sharded => Some(partition.0.to_string()),
    };
    let mut groups: HashMap<Option<String>, Vec<Advance>> = HashMap::new();
    for one in moves {
        let place = place(partition_of(&one.conversation));
        groups.entry(place).or_default().push(one);
    }
    groups.into_values().collect()
}

async fn advance_some<S: Store>(io: &Rc<Io<S>>, moves: &[Advance]) {
    let keep = |one: &Advance, error: &dyn Display| {
        tracing::debug!(%error, "a cursor waits");
        io.owed.keep(one.clone());
    };
    match try_advance(io, moves).await {
        Ok(results) => {
            for (one, result) in moves.iter().zip(results) {
                if let Err(error) = result {
                    keep(one, &error);
                }
            }
        }
        Err(error) => moves.iter().for_each(|one| keep(one, &error)),
    }
}

/// The script's answer to each, if it was called.
async fn try_advance<S: Store>(
    io: &Rc<Io<S>>,
    moves: &[Advance],
) -> Result<Vec<Result<Value, CallError>>, Unavailable> {
    let Some(first) = moves.first() else {
        return Ok(Vec::new());
    };
    let link = io.node(partition_of(&first.conversation))?.link().await?;
    let all: Vec<(&Advance, Keys)> = moves
        .iter()
        .map(|one| (one, Keys::of(&one.conversation)))
        .collect();
    let has_store = io.store.is_some();
    let names = all.iter().flat_map(|(_, keys)| {
        let moved = has_store.then_some(&*keys.moved);
        [&*keys.read, &*keys.delivered].into_iter().chain(moved)
    });
    let mut call = Call::of(&scripts::ADVANCE, names)
        .with(io.shards.speech().publish())
        .with(millis(KEPT))
        .with(if has_store { "s" } else { "l" });
    for (one, keys) in &all {
        call = call
            .with(one.user.as_str())
            .with(one.cursor.delivered.get())
            .with(one.cursor.read.get())
            .with(&*keys.channel)
            .with(one.at.0)
            .with(wire::listed(&one.listed))
            .with(one.conversation.as_str());
    }
    Ok(answer::each(link.call(&call).await?, moves.len())?)
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
