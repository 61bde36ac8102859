//! What the I/O thread does over and over: leases, repairs, and the sweep that finds what no push
//! told of.

use std::{rc::Rc, time::Duration};

use futures_util::future::join_all;
use parlance_core::{
    ports::Unavailable,
    store::{Partition, Store},
};
use parlance_feed::FeedId;
use parlance_protocol::{ConversationId, Position};
use redis::{Cmd, Value, cmd};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    answer,
    holders::{IN_TRANSIT, KEPT, LEASE, REMEMBERED, RENEW_EVERY},
    io::{Io, SWEEP_ROUNDS},
    link::{Call, CallError, Run},
    meta::Meta,
    partition::{self, Keys},
    peers, receipts, scripts,
    time::{millis, now_micros},
    wire,
};

const REPAIR_EVERY: Duration = Duration::from_millis(250);
/// Conversations whose presence is made right in one round.
const REPAIRS: usize = 256;
/// Questions of the sweep at once.
const SWEEP_AT_ONCE: usize = 64;
/// All presence is written again this often, so that none of it expires under those who stay.
const REFRESH_EVERY: Duration = Duration::from_secs(6 * 60 * 60);

/// Until the thread ends.
pub(crate) async fn run<S: Store>(io: Rc<Io<S>>) {
    tokio::join!(keep_lease(&io), repair(&io), sweep(&io), refresh(&io));
}

async fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    ticks
}

async fn keep_lease<S: Store>(io: &Rc<Io<S>>) {
    let mut ticks = ticks(RENEW_EVERY).await;
    loop {
        if !io.is_leaving.get()
            && let Err(error) = renew(io, LEASE).await
        {
            tracing::debug!(%error, "the lease is not renewed");
        }
        ticks.tick().await;
    }
}

/// Renews the lease for `ttl`, looks at the other gateways, and takes the dead out of everything that
/// is open here.
pub(crate) async fn renew<S: Store>(io: &Rc<Io<S>>, ttl: Duration) -> Result<(), Unavailable> {
    let at = Instant::now();
    let looked_at = std::time::Instant::now();
    let keys = [peers::leases_key(), peers::loads_key()];
    let link = io.node(Partition(0))?.link().await?;
    let call = Call::of(&scripts::LEASE, &keys)
        .with(&*io.gateway)
        .with(millis(ttl))
        .with(millis(REMEMBERED))
        .with(io.loads.own_text());
    let texts = answer::texts(link.call(&call).await?)?;
    let mut all: Vec<(String, i64)> = Vec::new();
    let mut others = Vec::new();
    for [gateway, left_ms, load] in texts.as_chunks().0 {
        if *gateway != *io.gateway {
            others.extend(peers::load_of(load));
        }
        all.extend(left_ms.parse().map(|left_ms| (gateway.clone(), left_ms)));
    }
    io.loads.saw(looked_at, others);
    let renewal = io.leases.renewed(at, &io.gateway, &all);
    if renewal.was_late {
        tracing::warn!("the lease had run out: others may have shown our users as gone");
        io.holders.doubt_all(|_| true);
    }
    if !renewal.died.is_empty() {
        tracing::info!(gateways = ?renewal.died, "gateways left or died");
        tokio::task::spawn_local(bury(Rc::clone(io), renewal.died));
    }
    Ok(())
}

/// The users of this gateway may come back to another one for a while.
pub(crate) async fn leave<S: Store>(io: &Rc<Io<S>>) -> Result<(), Unavailable> {
    io.is_leaving.set(true);
    receipts::advance(io, io.moves.take()).await;
    renew(io, IN_TRANSIT).await
}

async fn bury<S: Store>(io: Rc<Io<S>>, dead: Vec<String>) {
    let open = io.table.of(&partition::all().collect::<Vec<_>>());
    for some in open.chunks(REPAIRS) {
        let all = some
            .iter()
            .map(|conversation| take_out(&io, conversation, &dead));
        join_all(all).await;
    }
}

/// Takes the tokens of dead gateways out of a conversation's presence.
pub(crate) async fn take_out<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    dead: &[String],
) {
    if let Err(error) = write_holders(io, conversation, None, dead).await {
        tracing::debug!(%error, "the users of a dead gateway stay for now");
    }
}

async fn write_holders<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    feed: Option<FeedId>,
    dead: &[String],
) -> Result<(), Unavailable> {
    let keys = Keys::of(conversation);
    let link = io.node(keys.partition)?.link().await?;
    let users = feed.map(|feed| io.holders.users(conversation, feed));
    let mut call = Call::of(&scripts::HOLDERS, [&*keys.presence])
        .with(io.shards.speech().publish())
        .with(&*keys.channel)
        .with(now_micros())
        .with(millis(KEPT))
        .with(feed.map_or_else(String::new, |feed| io.token(feed)))
        .with(dead.len() as u64);
    for gateway in dead {
        call = call.with(&**gateway);
    }
    for user in users.iter().flatten() {
        call = call.with(user.as_str());
    }
    link.call(&call).await?;
    Ok(())
}

async fn repair<S: Store>(io: &Rc<Io<S>>) {
    let mut ticks = ticks(REPAIR_EVERY).await;
    loop {
        ticks.tick().await;
        let doubtful = io.holders.take_doubtful(REPAIRS);
        let all = doubtful.iter().map(|(conversation, feed)| async move {
            let written = write_holders(io, conversation, Some(*feed), &[]).await;
            if written.is_err() {
                io.holders.doubt(conversation, *feed);
            }
        });
        join_all(all).await;
        receipts::advance(io, io.owed.take()).await;
        for conversation in io.dropped.take() {
            let keys = Keys::of(&conversation);
            let mut publish = cmd(io.shards.speech().publish());
            publish.arg(&keys.channel).arg(wire::DROPPED);
            if pass(io, &keys, &publish).await.is_err() {
                io.dropped.note(&conversation);
            }
        }
    }
}

async fn pass<S: Store>(io: &Rc<Io<S>>, keys: &Keys, command: &Cmd) -> Result<(), Unavailable> {
    let link = io.node(keys.partition)?.link().await?;
    link.send(command).await?;
    Ok(())
}

async fn refresh<S: Store>(io: &Rc<Io<S>>) {
    let mut ticks = ticks(REFRESH_EVERY).await;
    loop {
        ticks.tick().await;
        io.holders.doubt_all(|_| true);
    }
}

/// Compares a part of the conversations with Redis, each second another one: the last event of a
/// quiet conversation may be lost on its way, and nothing later would tell of it.
async fn sweep<S: Store>(io: &Rc<Io<S>>) {
    let mut ticks = ticks(Duration::from_secs(1)).await;
    for round in 0.. {
        ticks.tick().await;
        for some in io.table.sample(round, SWEEP_ROUNDS).chunks(SWEEP_AT_ONCE) {
            let all = some
                .iter()
                .map(|(conversation, seen)| compare(io, conversation, *seen));
            join_all(all).await;
        }
    }
}

async fn compare<S: Store>(io: &Rc<Io<S>>, conversation: &ConversationId, seen: Position) {
    // Who cannot be asked now is asked in the next round.
    if let Ok(head) = head(io, conversation).await
        && head > seen
    {
        io.table.saw(conversation, head);
        io.table.doubt(std::slice::from_ref(conversation));
    }
}

async fn head<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
) -> Result<Position, Unavailable> {
    Ok(read_meta(io, conversation).await?.head)
}

/// One consistent reading of a conversation's end.
pub(crate) async fn read_meta<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
) -> Result<Meta, Unavailable> {
    let keys = Keys::of(conversation);
    let (answer, run) = io
        .ask(conversation, &keys, |run| {
            Call::of(&scripts::HEAD, [&*keys.epoch, &*keys.meta]).with(run.to_owned())
        })
        .await?;
    take_meta(io, conversation, &keys, answer, &run).await
}

/// What a script answered under `run` about a conversation's end, as it may be shown.
pub(crate) async fn take_meta<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
    keys: &Keys,
    answer: Value,
    run: &Run,
) -> Result<Meta, Unavailable> {
    let bytes = answer::bytes(answer)?;
    let packed = bytes
        .strip_prefix(b"M")
        .ok_or_else(|| answer::unexpected("no end of a conversation"))?;
    let meta = Meta::unpack(packed);
    let meta = meta.map_err(|error| CallError::Refused(error.to_string().into()))?;
    io.note_epoch(keys.partition, meta.epoch);
    io.confirm(conversation, keys.partition, meta.head, run)
        .await?;
    Ok(meta)
}
