//! [`Scripted`] is a log in memory, for what no real Redis can be brought to: a commit that happened
//! and was not answered, one refused between two of many writes, leases on a clock that the test
//! moves. What a log really does is tested on Redis (`tests/on_redis.rs`).

mod watched;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    time::Duration,
};

use parlance_core::{
    entry::{Entry, Event},
    ingest::{
        Batch, Commit, Ingest, IngestError, IngestId, Ingested, MovedCursor, PersisterId, Piece,
        Token,
    },
    ports::Unavailable,
    store::{ContentDigest, EpochRow, NameDigest, Partition, StoredEvent},
};
use parlance_protocol::{MessageId, Position, UnixMicros};
use tokio::time::Instant;

pub(crate) use self::watched::Watched;
use crate::support::{conversation, user};

pub(crate) const E: u64 = MessageId::PER_EPOCH;

pub(crate) fn at(id: u64) -> Position {
    Position::of(MessageId::new(id).unwrap())
}

/// What is to happen to the next commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is done, and not answered.
    Unanswered,
    /// It is refused, and the epoch is one higher from then on.
    OtherEpoch,
    /// It is refused, and the partition belongs to somebody else for some seconds.
    NotOwner,
}

#[derive(Debug, Clone)]
struct Owner {
    name: PersisterId,
    token: Token,
    until: Instant,
}

#[derive(Debug, Default)]
struct Log {
    epoch: u32,
    ids: u64,
    tokens: u64,
    waiting: BTreeMap<Partition, VecDeque<Ingested>>,
    living: BTreeMap<PersisterId, Instant>,
    owners: BTreeMap<Partition, Owner>,
    fates: VecDeque<Fate>,
    commits: Vec<Commit>,
    moved: Vec<MovedCursor>,
    is_down: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Scripted(Rc<RefCell<Log>>);

impl Scripted {
    /// Appends a piece under an id of its own.
    pub(crate) fn append(&self, partition: Partition, piece: Piece) -> IngestId {
        let mut log = self.0.borrow_mut();
        log.ids += 1;
        let id = IngestId {
            ms: 1_000,
            seq: log.ids,
        };
        let waiting = log.waiting.entry(partition).or_default();
        waiting.push_back(Ingested { id, piece });
        id
    }

    pub(crate) fn fate(&self, fate: Fate) {
        self.0.borrow_mut().fates.push_back(fate);
    }

    pub(crate) fn set_down(&self, is_down: bool) {
        self.0.borrow_mut().is_down = is_down;
    }

    pub(crate) fn move_cursor(&self, cursor: MovedCursor) {
        self.0.borrow_mut().moved.push(cursor);
    }

    pub(crate) fn moved(&self) -> usize {
        self.0.borrow().moved.len()
    }

    pub(crate) fn commits(&self) -> Vec<Commit> {
        self.0.borrow().commits.clone()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().waiting.values().all(VecDeque::is_empty)
    }

    pub(crate) fn is_living(&self, name: &str) -> bool {
        let living = &self.0.borrow().living;
        living.contains_key(&PersisterId(name.into()))
    }

    pub(crate) fn owned_by(&self, name: &str) -> BTreeSet<Partition> {
        let log = self.0.borrow();
        let owners = log.owners.iter();
        owners
            .filter(|(_, owner)| &*owner.name.0 == name && owner.until > Instant::now())
            .map(|(partition, _)| *partition)
            .collect()
    }

    fn check(&self) -> Result<(), Unavailable> {
        match self.0.borrow().is_down {
            true => Err(Unavailable::new("the log in memory is down")),
            false => Ok(()),
        }
    }

    fn check_owner(&self, partition: Partition, token: Token) -> Result<(), IngestError> {
        self.check()?;
        let log = self.0.borrow();
        let owner = log.owners.get(&partition);
        match owner.is_some_and(|owner| owner.token == token) {
            true => Ok(()),
            false => Err(IngestError::NotOwner),
        }
    }

    fn commit_now(
        &self,
        partition: Partition,
        token: Token,
        commit: Commit,
    ) -> Result<(), IngestError> {
        self.check_owner(partition, token)?;
        let mut log = self.0.borrow_mut();
        let fate = log.fates.pop_front();
        match fate {
            Some(Fate::OtherEpoch) => log.epoch += 1,
            Some(Fate::NotOwner) => {
                log.tokens += 1;
                let owner = Owner {
                    name: PersisterId("somebody".into()),
                    token: Token(log.tokens),
                    until: Instant::now() + Duration::from_secs(2),
                };
                log.owners.insert(partition, owner);
                return Err(IngestError::NotOwner);
            }
            Some(Fate::Unanswered) | None => {}
        }
        if commit.epoch != log.epoch {
            return Err(IngestError::OtherEpoch);
        }
        if let Some(waiting) = log.waiting.get_mut(&partition) {
            waiting.retain(|ingested| ingested.id > commit.up_to);
        }
        log.commits.push(commit);
        match fate {
            Some(Fate::Unanswered) => Err(Unavailable::new("no answer").into()),
            Some(Fate::OtherEpoch | Fate::NotOwner) | None => Ok(()),
        }
    }
}

impl Ingest for Scripted {
    fn attend(
        &self,
        me: &PersisterId,
        lease: Duration,
    ) -> impl Future<Output = Result<Vec<PersisterId>, Unavailable>> + 'static {
        let answer = self.check().map(|()| {
            let now = Instant::now();
            let living = &mut self.0.borrow_mut().living;
            living.insert(me.clone(), now + lease);
            living.retain(|_, until| *until > now);
            living.keys().cloned().collect()
        });
        async { answer }
    }

    fn depart(&self, me: &PersisterId) -> impl Future<Output = Result<(), Unavailable>> + 'static {
        let answer = self.check().map(|()| {
            self.0.borrow_mut().living.remove(me);
        });
        async { answer }
    }

    fn hold(
        &self,
        partition: Partition,
        me: &PersisterId,
        lease: Duration,
    ) -> impl Future<Output = Result<Option<Token>, Unavailable>> + 'static {
        let answer = self.check().map(|()| {
            let log = &mut *self.0.borrow_mut();
            let now = Instant::now();
            let present = log.owners.get(&partition).filter(|owner| owner.until > now);
            let token = match present {
                Some(owner) if owner.name != *me => return None,
                Some(owner) => owner.token,
                None => {
                    log.tokens += 1;
                    Token(log.tokens)
                }
            };
            let owner = Owner {
                name: me.clone(),
                token,
                until: now + lease,
            };
            log.owners.insert(partition, owner);
            Some(token)
        });
        async { answer }
    }

    fn release(
        &self,
        partition: Partition,
        token: Token,
    ) -> impl Future<Output = Result<(), Unavailable>> + 'static {
        let answer = self.check().map(|()| {
            if self.check_owner(partition, token).is_ok() {
                self.0.borrow_mut().owners.remove(&partition);
            }
        });
        async { answer }
    }

    fn read(
        &self,
        partition: Partition,
        token: Token,
        limit: usize,
    ) -> impl Future<Output = Result<Batch, IngestError>> + 'static {
        let answer = self.check_owner(partition, token).map(|()| {
            let log = self.0.borrow();
            let waiting = log.waiting.get(&partition);
            Batch {
                epoch: log.epoch,
                pieces: waiting.into_iter().flatten().take(limit).cloned().collect(),
                backlog: waiting.map_or(0, |waiting| waiting.len() as u64),
                now_ms: 2_000,
            }
        });
        async { answer }
    }

    fn commit(
        &self,
        partition: Partition,
        token: Token,
        commit: Commit,
    ) -> impl Future<Output = Result<(), IngestError>> + 'static {
        let answer = self.commit_now(partition, token, commit);
        async { answer }
    }

    fn event_text(&self, event: &StoredEvent) -> Box<str> {
        format!("{:?}", event.entry).into()
    }

    fn mark_text(&self, mark: &EpochRow) -> Box<str> {
        format!("{mark:?}").into()
    }

    fn moved_cursors(
        &self,
        partition: Partition,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<MovedCursor>, Unavailable>> + 'static {
        let answer = self.check().map(|()| {
            let log = self.0.borrow();
            let here = partition == Partition(0);
            let moved = log.moved.iter().filter(|_| here);
            moved.take(limit).cloned().collect()
        });
        async { answer }
    }

    fn stored_cursors(
        &self,
        _: Partition,
        cursors: Vec<MovedCursor>,
    ) -> impl Future<Output = Result<(), Unavailable>> + 'static {
        let answer = self.check().map(|()| {
            let moved = &mut self.0.borrow_mut().moved;
            moved.retain(|moved| !cursors.contains(moved));
        });
        async { answer }
    }
}

/// A message as it stands in the ingest; its content is `content`.
pub(crate) fn message(of: &str, sender: &str, id: u64, content: &str) -> Piece {
    let position = at(id);
    let [.., a, b, c, d] = id.to_be_bytes();
    let mut name = [0; 12];
    name[..8].copy_from_slice(&id.to_be_bytes());
    Piece::Event {
        conversation: conversation(of),
        event: StoredEvent {
            entry: Entry {
                position,
                prev: at(id.saturating_sub(1)),
                t: UnixMicros(id),
                ordinal: position.id.n(),
                sender: user(sender),
                local_id: None,
                event: Event::Message {
                    content: content.into(),
                },
                trace: None,
            },
            count: position.id.n(),
            revisions: Vec::new(),
        },
        name: Some(NameDigest(name)),
        content: ContentDigest([a, b, c, d]),
    }
}

/// The begin of an epoch.
pub(crate) fn mark(of: &str, epoch: u32, broke_at: Position) -> Piece {
    Piece::Mark {
        conversation: conversation(of),
        epoch,
        broke_at,
        t: UnixMicros(u64::from(epoch) * E),
        ordinal: 0,
        count: 0,
    }
}
