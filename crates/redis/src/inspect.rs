//! What Redis has of a conversation, for a person to look at. Changes nothing.

use std::rc::Rc;

use parlance_core::{
    ports::Unavailable,
    store::{Partition, Store},
};
use parlance_protocol::{ConversationId, Position};
use redis::{Pipeline, Value};

use crate::{
    answer,
    io::Io,
    meta::Meta,
    partition::{self, Keys},
    wire,
};

/// One reading of everything that Redis has of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The conversations that share an epoch.
    pub partition: Partition,
    /// The partition's epoch and the run that it holds for, as it stands there.
    pub epoch: Option<String>,
    /// Which persister owns the partition: `<token> <persister>`.
    pub owner: Option<String>,
    /// What waits to be stored in the partition, in ids.
    pub ingest_length: u64,
    /// The oldest of it: everything before is stored.
    pub ingest_begins: Option<String>,
    /// What the store refused in the partition.
    pub dead_letters: u64,
    /// The conversation's end; `None`: Redis does not know it.
    pub end: Option<End>,
    /// The log.
    pub log: LogExtent,
}

/// The end of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The epoch that it is in.
    pub epoch: u32,
    /// The last position.
    pub head: Position,
    /// How many messages there are.
    pub messages: u64,
    /// How many durable events there are.
    pub events: u64,
    /// The store has everything up to here.
    pub stored: Position,
    /// Which epochs began behind which position, the oldest first; those that the store has may be
    /// left out.
    pub breaks: Vec<(u32, Position)>,
    /// In how many ms it expires; `None`: it does not.
    pub expires_ms: Option<u64>,
}

/// How far a log reaches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogExtent {
    /// How many entries it has.
    pub length: u64,
    /// The oldest.
    pub first: Option<Position>,
    /// The newest.
    pub last: Option<Position>,
    /// In how many ms it expires; `None`: it does not.
    pub expires_ms: Option<u64>,
}

pub(crate) async fn inspect<S: Store>(
    io: &Rc<Io<S>>,
    conversation: &ConversationId,
) -> Result<Inspection, Unavailable> {
    let keys = Keys::of(conversation);
    let partition = keys.partition;
    let link = io.node(partition)?.link().await?;
    let mut read = Pipeline::new();
    read.cmd("GET").arg(&keys.epoch);
    read.cmd("GET").arg(partition::owner_key(partition));
    read.cmd("XLEN").arg(&keys.ingest);
    first(&mut read, &keys.ingest);
    let letters = partition::dead_letters_key(partition);
    read.cmd("XLEN").arg(letters);
    read.cmd("GET").arg(&keys.meta);
    read.cmd("PTTL").arg(&keys.meta);
    let found: Found = link.pipeline(&read).await.map_err(Unavailable::from)?;
    let (epoch, owner, ingest_length, oldest, dead_letters, meta, ttl_ms) = found;
    let mut read = Pipeline::new();
    read.cmd("XLEN").arg(&keys.log);
    first(&mut read, &keys.log);
    read.cmd("XREVRANGE").arg(&keys.log).arg("+").arg("-");
    read.arg("COUNT").arg(1);
    read.cmd("PTTL").arg(&keys.log);
    let log: (u64, Value, Value, i64) = link.pipeline(&read).await.map_err(Unavailable::from)?;
    Ok(Inspection {
        partition,
        epoch,
        owner,
        ingest_length,
        ingest_begins: id_of(oldest),
        dead_letters,
        end: meta.map(|packed| end(&packed, ttl_ms)).transpose()?,
        log: LogExtent {
            length: log.0,
            first: id_of(log.1).and_then(|id| wire::position(&id).ok()),
            last: id_of(log.2).and_then(|id| wire::position(&id).ok()),
            expires_ms: u64::try_from(log.3).ok(),
        },
    })
}

type Found = (
    Option<String>,
    Option<String>,
    u64,
    Value,
    u64,
    Option<Vec<u8>>,
    i64,
);

fn first(pipeline: &mut Pipeline, stream: &str) {
    pipeline.cmd("XRANGE").arg(stream).arg("-").arg("+");
    pipeline.arg("COUNT").arg(1);
}

/// Of the only entry, if there is one.
fn id_of(entries: Value) -> Option<String> {
    let entry = answer::list(entries).ok()?.into_iter().next()?;
    let id = answer::list(entry).ok()?.into_iter().next()?;
    answer::text(id).ok()
}

fn end(packed: &[u8], ttl_ms: i64) -> Result<End, Unavailable> {
    let meta = Meta::unpack(packed).map_err(|error| Unavailable::new(error.to_string()))?;
    let breaks = meta.breaks.iter().map(|one| (one.epoch, one.at));
    Ok(End {
        epoch: meta.epoch,
        head: meta.head,
        messages: meta.ordinal,
        events: meta.count,
        stored: meta.stored,
        breaks: breaks.collect(),
        expires_ms: u64::try_from(ttl_ms).ok(),
    })
}
