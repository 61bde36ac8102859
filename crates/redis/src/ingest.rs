//! The unstored end of the log, for the persister: leases of partitions, readings, commits.
//!
//! What waits to be stored is a stream per partition, which begins where the last commit ended. A
//! reading takes note of the epoch before it reads, so what came later under another one is judged
//! by the commit, which is refused then.

use std::{rc::Rc, time::Duration};

use parlance_core::{
    ingest::{
        Batch, Commit, Durable, Ingest, IngestError, IngestId, Ingested, MovedCursor, PersisterId,
        Piece, Token,
    },
    ports::{Cursor, Unavailable},
    store::{EpochRow, Partition, Store, StoredEvent},
};
use parlance_protocol::{ConversationId, MessageId, Position, UserId};
use redis::{Pipeline, Value, cmd};
use tokio::sync::mpsc::Sender;

use crate::{
    answer, digest,
    handle::{Job, ask},
    io::Io,
    link::{Call, CallError, Link},
    partition::{self, Keys},
    scripts,
    time::millis,
    wire::{self, Logged, Mark, Read},
};

/// How long Redis keeps the log of a conversation that is stored as a whole.
const LOG_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long it keeps the rest of it: its end and names.
const REST_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long a persister is remembered whose lease ran out.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);
/// Conversations of one call of the commit script, so that no call keeps Redis for long.
const PER_CALL: usize = 32;

/// Reads what is not stored yet. Made by [`crate::Redis::ingest`].
pub struct Unstored<S: Store> {
    pub(crate) jobs: Sender<Job<S>>,
}

impl<S: Store> Clone for Unstored<S> {
    fn clone(&self) -> Self {
        let jobs = self.jobs.clone();
        Self { jobs }
    }
}

impl<S: Store> Ingest for Unstored<S> {
    fn attend(
        &self,
        me: &PersisterId,
        lease: Duration,
    ) -> impl Future<Output = Result<Vec<PersisterId>, Unavailable>> + 'static {
        let me = me.clone();
        ask(&self.jobs, async move |io| attend(&io, &me, lease).await)
    }

    fn depart(&self, me: &PersisterId) -> impl Future<Output = Result<(), Unavailable>> + 'static {
        let me = me.clone();
        ask(&self.jobs, async move |io| depart(&io, &me).await)
    }

    fn hold(
        &self,
        partition: Partition,
        me: &PersisterId,
        lease: Duration,
    ) -> impl Future<Output = Result<Option<Token>, Unavailable>> + 'static {
        let me = me.clone();
        ask(&self.jobs, async move |io| {
            hold(&io, partition, &me, lease).await
        })
    }

    fn release(
        &self,
        partition: Partition,
        token: Token,
    ) -> impl Future<Output = Result<(), Unavailable>> + 'static {
        ask(&self.jobs, async move |io| {
            release(&io, partition, token).await
        })
    }

    fn read(
        &self,
        partition: Partition,
        token: Token,
        limit: usize,
    ) -> impl Future<Output = Result<Batch, IngestError>> + 'static {
        let read = ask(&self.jobs, async move |io| {
            Ok(read(&io, partition, token, limit).await)
        });
        async move { read.await? }
    }

    fn commit(
        &self,
        partition: Partition,
        token: Token,
        commit: Commit,
    ) -> impl Future<Output = Result<(), IngestError>> + 'static {
        let committing = Committing {
            partition,
            token,
            commit,
        };
        let committed = ask(&self.jobs, async move |io| Ok(committing.run(&io).await));
        async move { committed.await? }
    }

    fn event_text(&self, event: &StoredEvent) -> Box<str> {
        wire::event_text(&event.entry, event.count).into()
    }

    fn mark_text(&self, mark: &EpochRow) -> Box<str> {
        wire::mark_text(&Mark {
            epoch: mark.epoch,
            prev: mark.broke_at.unwrap_or(Position::ZERO),
            t: mark.t,
            ordinal: mark.ordinal,
            count: mark.count,
        })
        .into()
    }

    fn moved_cursors(
        &self,
        partition: Partition,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<MovedCursor>, Unavailable>> + 'static {
        ask(&self.jobs, async move |io| {
            moved_cursors(&io, partition, limit).await
        })
    }

    fn stored_cursors(
        &self,
        partition: Partition,
        cursors: Vec<MovedCursor>,
    ) -> impl Future<Output = Result<(), Unavailable>> + 'static {
        ask(&self.jobs, async move |io| {
            stored_cursors(&io, partition, &cursors).await
        })
    }
}

// === leases ===

async fn attend<S: Store>(
    io: &Io<S>,
    me: &PersisterId,
    lease: Duration,
) -> Result<Vec<PersisterId>, Unavailable> {
    let leases = partition::tagged(Partition(0), "ps");
    let link = io.node(Partition(0))?.link().await?;
    let call = Call::of(&scripts::LEASE, [&*leases])
        .with(&*me.0)
        .with(millis(lease))
        .with(millis(REMEMBERED));
    let texts = answer::texts(link.call(&call).await?)?;
    let leases = texts.as_chunks().0.iter();
    let living = leases.filter(|[_, left_ms, _]| !left_ms.starts_with('-'));
    let living = living.map(|[persister, _, _]| PersisterId(persister.as_str().into()));
    Ok(living.collect())
}

async fn depart<S: Store>(io: &Io<S>, me: &PersisterId) -> Result<(), Unavailable> {
    let link = io.node(Partition(0))?.link().await?;
    let mut depart = cmd("HDEL");
    depart
        .arg(partition::tagged(Partition(0), "ps"))
        .arg(&*me.0);
    link.send(&depart).await?;
    Ok(())
}

async fn hold<S: Store>(
    io: &Io<S>,
    partition: Partition,
    me: &PersisterId,
    lease: Duration,
) -> Result<Option<Token>, Unavailable> {
    let (owner, token) = (
        partition::owner_key(partition),
        partition::token_key(partition),
    );
    let link = io.node(partition)?.link().await?;
    let call = Call::of(&scripts::HOLD, [&*owner, &*token])
        .with(&*me.0)
        .with(millis(lease));
    let answer = link.call(&call).await?;
    if answer == Value::Nil {
        return Ok(None);
    }
    let token = answer::text(answer)?.parse();
    let token = token.map_err(|_| answer::unexpected("a token"))?;
    Ok(Some(Token(token)))
}

async fn release<S: Store>(
    io: &Io<S>,
    partition: Partition,
    token: Token,
) -> Result<(), Unavailable> {
    let owner = partition::owner_key(partition);
    let link = io.node(partition)?.link().await?;
    let call = Call::of(&scripts::RELEASE, [&*owner]).with(token.0);
    link.call(&call).await?;
    Ok(())
}

// === reading ===

async fn read<S: Store>(
    io: &Rc<Io<S>>,
    partition: Partition,
    token: Token,
    limit: usize,
) -> Result<Batch, IngestError> {
    let link = io.node(partition)?.link().await?;
    let mut read = Pipeline::new();
    read.cmd("GET").arg(partition::epoch_key(partition));
    read.cmd("GET").arg(partition::owner_key(partition));
    read.cmd("TIME");
    let ingest = partition::ingest_key(partition);
    read.cmd("XLEN").arg(&ingest);
    read.cmd("XRANGE").arg(&ingest);
    read.arg("-").arg("+").arg("COUNT").arg(limit);
    type Answers = (Option<String>, Option<String>, (u64, u64), u64, Value);
    let (epoch, owner, (seconds, micros), backlog, entries): Answers =
        link.pipeline(&read).await.map_err(Unavailable::from)?;
    if token_of(owner.as_deref()) != Some(token) {
        return Err(IngestError::NotOwner);
    }
    let pieces = pieces(entries).map_err(Unavailable::from)?;
    let epoch = match epoch.as_deref().map(|opened| epoch_under(opened, &link)) {
        Some(Some(epoch)) => epoch,
        // Nothing to be stored: nothing to be opened.
        Some(None) | None if pieces.is_empty() => 0,
        Some(None) | None => {
            io.open_epoch(partition, &link).await?;
            return Err(IngestError::OtherEpoch);
        }
    };
    Ok(Batch {
        epoch,
        pieces,
        backlog,
        now_ms: seconds * 1_000 + micros / 1_000,
    })
}

fn token_of(owner: Option<&str>) -> Option<Token> {
    let (token, _) = owner?.split_once(' ')?;
    token.parse().ok().map(Token)
}

/// `<run> <opened> <epoch>`, if it holds for the link's run.
fn epoch_under(opened: &str, link: &Link) -> Option<u32> {
    let mut parts = opened.split(' ');
    let run = parts.next()?;
    let epoch = parts.nth(1)?.parse().ok()?;
    (run == &*link.run.0).then_some(epoch)
}

/// Entries as XRANGE gives them: `[id, [conversation, lines]]`.
fn pieces(entries: Value) -> Result<Vec<Ingested>, CallError> {
    let mut pieces = Vec::new();
    for entry in answer::list(entries)? {
        let mut parts = answer::list(entry)?.into_iter();
        let mut next = || {
            parts
                .next()
                .ok_or_else(|| answer::unexpected("half an entry"))
        };
        let id = answer::text(next()?)?;
        let id = ingest_id(&id).ok_or_else(|| answer::unexpected(&id))?;
        let fields = answer::list(next()?)?;
        pieces.extend(entry_pieces(fields).map(|piece| Ingested { id, piece }));
    }
    Ok(pieces)
}

fn entry_pieces(fields: Vec<Value>) -> impl Iterator<Item = Piece> {
    let texts: Vec<String> = fields.into_iter().map(lossy_text).collect();
    let (name, lines) = match texts.as_slice() {
        [name, lines, ..] => (name.clone(), lines.clone()),
        _ => (String::new(), texts.concat()),
    };
    let conversation = ConversationId::new(&name).ok();
    let pieces: Vec<Piece> = lines
        .split('\n')
        .map(|line| piece(conversation.as_ref(), &name, line))
        .collect();
    pieces.into_iter()
}

fn lossy_text(value: Value) -> String {
    answer::bytes(value).map_or_else(
        |_| String::new(),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    )
}

fn piece(conversation: Option<&ConversationId>, name: &str, line: &str) -> Piece {
    let garbled = |reason: String| Piece::Garbled {
        conversation: name.into(),
        text: line.into(),
        reason: reason.into(),
    };
    let Some(conversation) = conversation.cloned() else {
        return garbled("it does not name a conversation".to_owned());
    };
    match wire::published(line) {
        Err(error) => garbled(error.to_string()),
        Ok(Read::Mark(mark)) => Piece::Mark {
            conversation,
            epoch: mark.epoch,
            broke_at: mark.prev,
            t: mark.t,
            ordinal: mark.ordinal,
            count: mark.count,
        },
        Ok(Read::Event(Logged {
            entry,
            count,
            lost_from,
        })) => Piece::Event {
            conversation,
            name: digest::name_of(entry.local_id.as_ref(), lost_from),
            content: digest::content_of(&entry.event),
            event: StoredEvent {
                entry,
                count,
                revisions: Vec::new(),
            },
        },
    }
}

fn ingest_id(text: &str) -> Option<IngestId> {
    let (ms, seq) = text.split_once('-')?;
    Some(IngestId {
        ms: ms.parse().ok()?,
        seq: seq.parse().ok()?,
    })
}

// === commits ===

struct Committing {
    partition: Partition,
    token: Token,
    commit: Commit,
}

impl Committing {
    /// Several calls, the last of which lets go in the ingest. What an earlier one did may be done
    /// again.
    async fn run<S: Store>(&self, io: &Rc<Io<S>>) -> Result<(), IngestError> {
        let link = io.node(self.partition)?.link().await?;
        let mut parts = self.commit.durable.chunks(PER_CALL).peekable();
        loop {
            let part = parts.next().unwrap_or_default();
            let is_last = parts.peek().is_none();
            self.call(io, &link, part, is_last).await?;
            if is_last {
                return Ok(());
            }
        }
    }

    async fn call<S: Store>(
        &self,
        io: &Rc<Io<S>>,
        link: &Link,
        part: &[Durable],
        is_last: bool,
    ) -> Result<(), IngestError> {
        let partition = self.partition;
        let fixed = [
            partition::epoch_key(partition),
            partition::owner_key(partition),
            partition::ingest_key(partition),
            partition::dead_letters_key(partition),
        ];
        let owned: Vec<(Keys, Vec<String>)> = part.iter().map(keys_of).collect();
        let of_parts = owned.iter().flat_map(|(keys, names)| {
            let ends = [&*keys.meta, &*keys.log];
            ends.into_iter().chain(names.iter().map(|name| &**name))
        });
        let keys = fixed.iter().map(|key| &**key).chain(of_parts);
        let IngestId { ms, seq } = self.commit.up_to;
        let mut call = Call::of(&scripts::COMMIT, keys)
            .with(&*link.run.0)
            .with(u64::from(self.commit.epoch))
            .with(self.token.0)
            .with(io.shards.speech().publish())
            .with(io.tail_entries)
            .with(millis(LOG_KEPT))
            .with(millis(REST_KEPT))
            .with(if is_last {
                format!("{ms}-{seq}")
            } else {
                String::new()
            });
        let dead = if is_last { &*self.commit.dead } else { &[] };
        call = call.with(dead.len() as u64);
        for letter in dead {
            let IngestId { ms, seq } = letter.id;
            call = call
                .with(format!("{ms}-{seq}"))
                .with(&*letter.conversation)
                .with(&*letter.text)
                .with(&*letter.reason);
        }
        for (durable, (keys, names)) in part.iter().zip(&owned) {
            call = call
                .with(&*keys.channel)
                .with(durable.up_to.id.get())
                .with(u64::from(durable.up_to.k))
                .with(durable.count)
                .with(names.len() as u64);
        }
        let answer = link.call(&call).await.map_err(Unavailable::from)?;
        match &*answer::text(answer).map_err(Unavailable::from)? {
            "O" => Ok(()),
            "E" => Err(IngestError::OtherEpoch),
            "F" => Err(IngestError::NotOwner),
            other => Err(Unavailable::from(answer::unexpected(other)).into()),
        }
    }
}

fn keys_of(durable: &Durable) -> (Keys, Vec<String>) {
    let conversation = &durable.conversation;
    let keys = Keys::of(conversation);
    let names = durable.senders.iter();
    let names = names.map(|sender| keys.names(conversation, sender));
    let names = names.collect();
    (keys, names)
}

// === cursors ===

async fn moved_cursors<S: Store>(
    io: &Io<S>,
    partition: Partition,
    limit: usize,
) -> Result<Vec<MovedCursor>, Unavailable> {
    let link = io.node(partition)?.link().await?;
    let mut read = cmd("HRANDFIELD");
    read.arg(partition::moved_key(partition));
    read.arg(limit).arg("WITHVALUES");
    let mut moved = Vec::new();
    for pair in answer::list(link.send(&read).await?)? {
        let [field, value] = <[String; 2]>::try_from(answer::texts(pair)?)
            .map_err(|_| answer::unexpected("half a cursor"))?;
        let cursor = moved_cursor(&field, &value);
        moved.push(cursor.ok_or_else(|| answer::unexpected("a moved cursor"))?);
    }
    Ok(moved)
}

/// `<conversation> <user>` and `<delivered> <read>`.
fn moved_cursor(field: &str, value: &str) -> Option<MovedCursor> {
    let (conversation, user) = field.split_once(' ')?;
    let (delivered, read) = value.split_once(' ')?;
    Some(MovedCursor {
        conversation: ConversationId::new(conversation).ok()?,
        user: UserId::new(user).ok()?,
        cursor: Cursor {
            delivered: MessageId::parse(delivered)?,
            read: MessageId::parse(read)?,
        },
    })
}

async fn stored_cursors<S: Store>(
    io: &Io<S>,
    partition: Partition,
    cursors: &[MovedCursor],
) -> Result<(), Unavailable> {
    let link = io.node(partition)?.link().await?;
    let moved = partition::moved_key(partition);
    for part in cursors.chunks(PER_CALL) {
        let mut call = Call::of(&scripts::SETTLE, [&*moved]);
        for moved in part {
            let Cursor { delivered, read } = moved.cursor;
            call = call
                .with(format!("{} {}", moved.conversation, moved.user))
                .with(format!("{delivered} {read}"));
        }
        link.call(&call).await?;
    }
    Ok(())
}
