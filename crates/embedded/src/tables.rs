//! The engine and the tables in it. The only place that knows fjall.
//!
//! | table | key | value |
//! |---|---|---|
//! | `conversations` | conversation | its number |
//! | `messages` | number, id | the entry, never changed |
//! | `events` | number, id, k | the entry of an edit or delete, never changed |
//! | `changes` | number, id | what edits and delete made of that message |
//! | `names` | number, digest of sender and `local_id` | the position that has this name |
//! | `cursors` | conversation, user | delivered and read |
//!
//! So a page is one range of `messages`, and one of `changes` that is nearly always empty.
//! There is no table of heads: a head is the last key of `messages` and of `events`.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use fjall::{AbstractTree, Guard, KeyspaceCreateOptions, PersistMode, Readable};
use parlance_core::{
    entry::Row,
    ports::{Cursor, Unavailable},
};
use parlance_protocol::{ConversationId, MessageId, Position, UnixMicros, UserId};

use crate::{
    catalog,
    keys::{self, NAME_BYTES, Number},
    values::{self, Change, Name, Stored},
};

/// Write buffer of the messages. The engine holds up to four full ones besides while the disk is
/// slower than the appends, and each takes about three times its nominal size in memory.
const MESSAGES_BUFFER_BYTES: u64 = 8 << 20;

/// Write buffer of each other table.
const BUFFER_BYTES: u64 = 4 << 20;

/// The journal is cut when the tables' buffers are on disk; this bounds it, and thereby the time
/// that a start takes after a crash.
const JOURNAL_BYTES: u64 = 128 << 20;

/// How long the committer stays away from the journal while the engine's own thread needs it.
const PAUSE: Duration = Duration::from_micros(200);

/// Files of tables that are kept open.
const OPEN_FILES: usize = 256;

/// Flushes and compacts. One is enough for what one committer writes.
const ENGINE_THREADS: usize = 1;

/// All tables of a data directory. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Tables {
    db: fjall::Database,
    conversations: Table,
    messages: Table,
    events: Table,
    changes: Table,
    names: Table,
    cursors: Table,
}

#[derive(Clone)]
struct Table {
    name: &'static str,
    keyspace: fjall::Keyspace,
    buffer_bytes: u64,
    /// Looked for at the first failed read; the words of all of them.
    damage: Arc<OnceLock<String>>,
}

/// Why the engine did not open.
pub(crate) type EngineError = Box<dyn std::error::Error + Send + Sync>;

/// The end of one conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tail {
    pub(crate) position: Position,
    pub(crate) t: UnixMicros,
    pub(crate) ordinal: u64,
    /// How many durable events there are.
    pub(crate) count: u64,
}

/// Changes of all tables that become durable together or not at all.
pub(crate) struct Batch<'a> {
    tables: &'a Tables,
    inner: fjall::OwnedWriteBatch,
}

/// One consistent reading of all tables.
pub(crate) struct View<'a> {
    tables: &'a Tables,
    snapshot: fjall::Snapshot,
}

impl Tables {
    /// Opens or creates the engine's files in `dir`, with a block cache of `cache_bytes`.
    pub(crate) fn open(dir: &Path, cache_bytes: u64) -> Result<Self, EngineError> {
        // Damaged files make the engine panic in places. Nothing of ours is in there to be torn.
        catch_unwind(AssertUnwindSafe(|| Self::open_or_panic(dir, cache_bytes)))
            .unwrap_or_else(|_| Err("the storage engine panicked".into()))
    }

    fn open_or_panic(dir: &Path, cache_bytes: u64) -> Result<Self, EngineError> {
        let db = fjall::Database::builder(dir)
            .cache_size(cache_bytes)
            .max_journaling_size(JOURNAL_BYTES)
            .max_cached_files(Some(OPEN_FILES))
            .worker_threads(ENGINE_THREADS)
            .open()?;
        let table = |name, buffer_bytes| -> Result<Table, fjall::Error> {
            let options = || KeyspaceCreateOptions::default().max_memtable_size(buffer_bytes);
            Ok(Table {
                name,
                keyspace: db.keyspace(name, options)?,
                buffer_bytes,
                damage: Arc::default(),
            })
        };
        Ok(Self {
            conversations: table("conversations", BUFFER_BYTES)?,
            messages: table("messages", MESSAGES_BUFFER_BYTES)?,
            events: table("events", BUFFER_BYTES)?,
            changes: table("changes", BUFFER_BYTES)?,
            names: table("names", BUFFER_BYTES)?,
            cursors: table("cursors", BUFFER_BYTES)?,
            db,
        })
    }

    pub(crate) fn view(&self) -> View<'_> {
        View {
            tables: self,
            snapshot: self.db.snapshot(),
        }
    }

    pub(crate) fn batch(&self) -> Batch<'_> {
        Batch {
            tables: self,
            inner: self.db.batch(),
        }
    }

    /// Lets the engine's own thread begin and end write buffers, if there is one to end.
    ///
    /// It needs the journal's lock for that, which a commit holds and which is not fair: a committer
    /// that comes back at once would take it every time, and the buffers would grow without bound.
    pub(crate) fn make_way(&self) {
        let tables = [
            &self.conversations,
            &self.messages,
            &self.events,
            &self.changes,
            &self.names,
            &self.cursors,
        ];
        if tables.into_iter().any(Table::has_full_buffer) {
            std::thread::sleep(PAUSE);
        }
    }

    /// Whether the engine's own threads still work.
    pub(crate) fn check(&self) -> Result<(), Unavailable> {
        self.db
            .persist(PersistMode::Buffer)
            .map_err(|e| Unavailable::new(format_args!("the storage engine stopped: {e}")))
    }
}

impl Batch<'_> {
    pub(crate) fn conversation(&mut self, conversation: &ConversationId, number: Number) {
        let (key, value) = (conversation.as_str(), number.prefix());
        self.inner
            .insert(&self.tables.conversations.keyspace, key, value);
    }

    pub(crate) fn message(&mut self, conversation: Number, id: MessageId, value: Vec<u8>) {
        let key = keys::message(conversation, id);
        self.inner
            .insert(&self.tables.messages.keyspace, key, value);
    }

    pub(crate) fn event(&mut self, conversation: Number, at: Position, value: Vec<u8>) {
        let key = keys::event(conversation, at);
        self.inner.insert(&self.tables.events.keyspace, key, value);
    }

    pub(crate) fn change(&mut self, conversation: Number, row: &Row) {
        let key = keys::message(conversation, row.id);
        let value = Change::of(row).encode();
        self.inner.insert(&self.tables.changes.keyspace, key, value);
    }

    pub(crate) fn name(&mut self, key: [u8; 4 + NAME_BYTES], name: Name) {
        self.inner
            .insert(&self.tables.names.keyspace, key, name.encode());
    }

    pub(crate) fn cursor(&mut self, conversation: &ConversationId, user: &UserId, cursor: Cursor) {
        let key = keys::cursor(conversation, user);
        let value = values::encode_cursor(cursor);
        self.inner.insert(&self.tables.cursors.keyspace, key, value);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    /// Writes everything; with `sync` it is on the disk when this returns. Nobody reads any of it
    /// before. After an error the engine takes no more writes, and which of the two outcomes it
    /// was shows at the next start.
    pub(crate) fn commit(self, sync: bool) -> Result<(), Unavailable> {
        let mode = if sync {
            PersistMode::SyncData
        } else {
            PersistMode::Buffer
        };
        self.inner
            .durability(Some(mode))
            .commit()
            .map_err(|e| Unavailable::new(format_args!("writing the log failed: {e}")))
    }
}

impl View<'_> {
    /// `None`: nothing was ever sent there.
    pub(crate) fn number(
        &self,
        conversation: &ConversationId,
    ) -> Result<Option<Number>, Unavailable> {
        let key = conversation.as_str().as_bytes();
        self.get(&self.tables.conversations, key, Number::of_key)
    }

    /// The highest number that is in use. Every numbered conversation has an event.
    pub(crate) fn last_number(&self) -> Result<Number, Unavailable> {
        let mut last = Number(0);
        for table in [&self.tables.messages, &self.tables.events] {
            if let Some(guard) = self.snapshot.last_key_value(&table.keyspace) {
                let key = guard.key().map_err(|e| table.unreadable(&e))?;
                let number = Number::of_key(&key).ok_or_else(|| table.unknown(&key))?;
                last = last.max(number);
            }
        }
        Ok(last)
    }

    pub(crate) fn tail(&self, conversation: Number) -> Result<Tail, Unavailable> {
        let last = |entries: &mut dyn Iterator<Item = Result<Stored, Unavailable>>| {
            entries.next().transpose()
        };
        let message = last(&mut self.messages_below(conversation, None))?;
        let after = message.as_ref().map(|m| m.entry.position);
        let event = last(
            &mut self
                .events_after(conversation, after.unwrap_or_default())
                .rev(),
        )?;
        Ok(event.or(message).map_or_else(Tail::default, |stored| Tail {
            position: stored.entry.position,
            t: stored.entry.t,
            ordinal: stored.entry.ordinal,
            count: stored.count,
        }))
    }

    pub(crate) fn message(
        &self,
        conversation: Number,
        id: MessageId,
    ) -> Result<Option<Stored>, Unavailable> {
        let table = &self.tables.messages;
        self.get(table, &keys::message(conversation, id), |bytes| {
            Stored::decode(Position::of(id), bytes)
        })
    }

    pub(crate) fn event(
        &self,
        conversation: Number,
        at: Position,
    ) -> Result<Option<Stored>, Unavailable> {
        let table = &self.tables.events;
        self.get(table, &keys::event(conversation, at), |bytes| {
            Stored::decode(at, bytes)
        })
    }

    pub(crate) fn change(
        &self,
        conversation: Number,
        id: MessageId,
    ) -> Result<Option<Change>, Unavailable> {
        let table = &self.tables.changes;
        self.get(table, &keys::message(conversation, id), Change::decode)
    }

    pub(crate) fn name(&self, key: &[u8]) -> Result<Option<Name>, Unavailable> {
        self.get(&self.tables.names, key, Name::decode)
    }

    pub(crate) fn cursor(
        &self,
        conversation: &ConversationId,
        user: &UserId,
    ) -> Result<Cursor, Unavailable> {
        let key = keys::cursor(conversation, user);
        let cursor = self.get(&self.tables.cursors, &key, values::decode_cursor)?;
        Ok(cursor.unwrap_or_default())
    }

    /// Messages below `below` (`None`: from the end), newest first.
    pub(crate) fn messages_below(
        &self,
        conversation: Number,
        below: Option<MessageId>,
    ) -> impl Iterator<Item = Result<Stored, Unavailable>> {
        let low = conversation.prefix().to_vec();
        let high = match below {
            Some(id) => keys::message(conversation, id).to_vec(),
            None => after_all(conversation),
        };
        self.scan(&self.tables.messages, low, high, message_entry)
            .rev()
    }

    /// Messages at or above `from`, oldest first.
    pub(crate) fn messages_from(
        &self,
        conversation: Number,
        from: MessageId,
    ) -> impl Iterator<Item = Result<Stored, Unavailable>> {
        let low = keys::message(conversation, from).to_vec();
        let high = after_all(conversation);
        self.scan(&self.tables.messages, low, high, message_entry)
    }

    /// Edits and deletes after `after`, oldest first.
    pub(crate) fn events_after(
        &self,
        conversation: Number,
        after: Position,
    ) -> impl DoubleEndedIterator<Item = Result<Stored, Unavailable>> {
        let mut low = keys::event(conversation, after).to_vec();
        low.push(0);
        let high = after_all(conversation);
        self.scan(&self.tables.events, low, high, |key, value| {
            Stored::decode(keys::position_of_event(key)?, value)
        })
    }

    /// What was changed of the messages from `from` to `to`, both included, oldest first.
    pub(crate) fn changes(
        &self,
        conversation: Number,
        from: MessageId,
        to: MessageId,
    ) -> impl Iterator<Item = Result<(MessageId, Change), Unavailable>> {
        let low = keys::message(conversation, from).to_vec();
        let mut high = keys::message(conversation, to).to_vec();
        high.push(0);
        self.scan(&self.tables.changes, low, high, |key, value| {
            Some((keys::id_of_message(key)?, Change::decode(value)?))
        })
    }

    /// All cursors of a conversation.
    pub(crate) fn cursors(
        &self,
        conversation: &ConversationId,
    ) -> impl Iterator<Item = Result<(UserId, Cursor), Unavailable>> {
        let low = keys::cursors(conversation);
        let mut high = low.clone();
        *high.last_mut().expect("it ends with a zero byte") = 1;
        self.scan(&self.tables.cursors, low, high, |key, value| {
            let user = keys::user_of_cursor(conversation, key)?;
            Some((user, values::decode_cursor(value)?))
        })
    }

    fn get<T>(
        &self,
        table: &Table,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Unavailable> {
        let found = self
            .snapshot
            .get(&table.keyspace, key)
            .map_err(|e| table.unreadable(&e))?;
        let Some(value) = found else {
            return Ok(None);
        };
        decode(&value).map(Some).ok_or_else(|| table.unknown(key))
    }

    fn scan<T>(
        &self,
        table: &Table,
        low: Vec<u8>,
        high: Vec<u8>,
        decode: impl Fn(&[u8], &[u8]) -> Option<T>,
    ) -> impl DoubleEndedIterator<Item = Result<T, Unavailable>> {
        let range = self.snapshot.range(&table.keyspace, low..high);
        range.map(move |guard: Guard| {
            let (key, value) = guard.into_inner().map_err(|e| table.unreadable(&e))?;
            decode(&key, &value).ok_or_else(|| table.unknown(&key))
        })
    }
}

impl Table {
    fn has_full_buffer(&self) -> bool {
        self.keyspace.sealed_memtable_count() > 0
            || self.keyspace.tree.active_memtable().size() > self.buffer_bytes
    }

    fn unreadable(&self, error: &fjall::Error) -> Unavailable {
        self.report(format_args!("{error}"))
    }

    fn unknown(&self, key: &[u8]) -> Unavailable {
        self.report(format_args!(
            "the value of key {} is of no known form",
            key.escape_ascii()
        ))
    }

    fn report(&self, what: std::fmt::Arguments<'_>) -> Unavailable {
        let (name, path) = (self.name, self.keyspace.path());
        let damage = self.damage.get_or_init(|| {
            let words = match catalog::damage_of(path) {
                Some((file, how)) => format!("{} is damaged: {how}", file.display()),
                None => format!("no file in {} is damaged", path.display()),
            };
            tracing::error!(table = name, "a read failed: {what}; {words}");
            words
        });
        Unavailable::new(format_args!(
            "reading the table {name} failed: {what}; {damage}"
        ))
    }
}

fn message_entry(key: &[u8], value: &[u8]) -> Option<Stored> {
    Stored::decode(Position::of(keys::id_of_message(key)?), value)
}

/// Above all keys of `conversation`: none is as long.
fn after_all(conversation: Number) -> Vec<u8> {
    let mut key = conversation.prefix().to_vec();
    key.extend([u8::MAX; 32]);
    key
}
