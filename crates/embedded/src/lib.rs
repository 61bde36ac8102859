//! The log and store of a lone node: everything in one directory on one disk.
//!
//! [`Embedded`] implements [`parlance_core::ports::Backend`] with one writer: epoch 0, dense ids,
//! everything acknowledged is on the disk. One thread commits (`committer`), a few read
//! (`readers`), and shards hear each other in memory (`bus`). The engine below is known to
//! `tables` alone. It does not trim, expire or replicate: what was sent is kept.
//!
//! `docs/storage.md` says what is in the directory and what each fault does.

mod bus;
mod catalog;
mod committer;
mod directory;
#[cfg(any(fuzzing, test))]
pub mod fuzz;
mod generations;
mod handle;
mod history;
mod journal;
mod keys;
mod presence;
mod readers;
mod receipts;
mod space;
mod tables;
mod values;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock,
        mpsc::{SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use parlance_core::ports::{Backend, Unavailable};
use parlance_feed::Feed;

pub use crate::handle::Handle;
use crate::{
    committer::{Committer, Job},
    directory::Directory,
    presence::Presence,
    readers::Readers,
    receipts::Receipts,
    space::Space,
    tables::{EngineError, Tables},
};

/// How the data directory is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether an append is on the disk when it is acknowledged. `false` is for measuring what
    /// the disk costs: a crash of the machine then loses acknowledged messages.
    pub sync: bool,
    /// Memory for blocks of the history that were read lately.
    pub cache_bytes: u64,
    /// Free disk space below which no append is taken. It keeps room for what the engine has to
    /// write besides; without it a full disk ends the engine until the next start.
    pub reserve_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync: true,
            cache_bytes: 32 << 20,
            reserve_bytes: 128 << 20,
        }
    }
}

/// Why a data directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "the data directory {} is in use by {}; stop that one or choose another directory",
        path.display(),
        pid.map_or("another process".into(), |pid| format!("process {pid}"))
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The other one's process id, if it left it.
        pid: Option<u32>,
    },
    /// There is something in it, but not ours.
    #[error(
        "{} is not empty and no data directory of parlance; choose an empty or new one",
        path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// A later version made it.
    #[error(
        "the data directory {} has format {found}, this program knows {known}; use the program \
         that wrote it, or a later one",
        path.display()
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The highest that this program reads.
        known: u32,
    },
    /// A file is damaged. Nothing was changed.
    #[error(
        "{} is damaged: {what}; restore the data directory from a back-up",
        file.display()
    )]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// How it shows.
        what: String,
    },
    /// The storage engine refused.
    #[error("opening the log in {} failed", path.display())]
    Engine {
        /// The engine's directory.
        path: PathBuf,
        /// Its reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The operating system refused.
    #[error("{what} {} failed", path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// The directory.
        path: PathBuf,
        /// Its reason.
        #[source]
        source: std::io::Error,
    },
}

/// The backend. Dropping it writes what waits and ends its threads; handles that are left answer
/// `Unavailable`. The directory is free for another process when the handles are gone too.
pub struct Embedded {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What handles and the committer have in common. The fields are dropped in this order: the
/// directory is unlocked last.
struct Shared {
    options: Options,
    jobs: SyncSender<Job>,
    readers: Readers,
    bus: Arc<bus::Bus>,
    presence: Presence,
    receipts: Receipts,
    failure: OnceLock<Unavailable>,
    room: Mutex<Result<(), Unavailable>>,
    tables: Tables,
    directory: Directory,
}

impl Embedded {
    /// Opens the data directory `dir`, or makes it.
    ///
    /// Blocks while it checks and reads back what the last run left: well under a second after a
    /// clean stop, some seconds after a crash under load.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is changed then, but that the directory may have been made.
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        let directory = Directory::open(dir)?;
        let engine = directory.engine();
        if directory.is_finished() {
            catalog::check(&engine)?;
            journal::check(&engine)?;
        }
        let tables = Tables::open(&engine, options.cache_bytes)
            .map_err(|reason| engine_refused(engine, reason))?;
        directory.finish()?;
        let thread = |source| OpenError::Io {
            what: "starting the threads for",
            path: dir.to_owned(),
            source,
        };
        let (readers, mut threads) = Readers::start(&tables).map_err(thread)?;
        let (jobs, queue) = sync_channel(committer::QUEUE);
        let shared = Arc::new(Shared {
            options,
            jobs,
            readers,
            bus: Arc::default(),
            presence: Presence::default(),
            receipts: Receipts::new(),
            failure: OnceLock::new(),
            room: Mutex::new(Ok(())),
            tables,
            directory,
        });
        let space = Space::new(shared.directory.path(), options.reserve_bytes);
        let committer =
            Committer::new(Arc::clone(&shared), queue, space).map_err(|e| OpenError::Engine {
                path: shared.directory.engine(),
                source: e.into(),
            })?;
        let committing = std::thread::Builder::new()
            .name("parlance-commit".into())
            .spawn(move || committer.run())
            .map_err(thread)?;
        threads.push(committing);
        Ok(Self { shared, threads })
    }

    /// Whether appends can succeed, for readiness. On a disk that is nearly full they cannot until
    /// there is room, which is looked for every second. After a failed write they cannot until the
    /// process is started again: which of the last events are on the disk shows then.
    ///
    /// # Errors
    /// What is wrong.
    pub fn healthy(&self) -> Result<(), Unavailable> {
        self.shared.failed()?;
        bus::lock(&self.shared.room).clone()
    }
}

/// The engine names no file, so the damaged one is looked for.
fn engine_refused(engine: PathBuf, reason: EngineError) -> OpenError {
    match catalog::damage(&engine) {
        Some((file, what)) => OpenError::Corrupt {
            file,
            what: format!("{what} ({reason})"),
        },
        None => OpenError::Engine {
            path: engine,
            source: reason,
        },
    }
}

impl Backend for Embedded {
    type Handle = Handle;
    type Feed = Feed;

    fn attach(&self) -> (Handle, Feed) {
        let (end, feed) = self.shared.bus.attach();
        let handle = Handle {
            shared: Arc::clone(&self.shared),
            feed: end,
        };
        (handle, feed)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // Fails when the committer is gone already, which is as good.
        let _ = self.shared.jobs.send(Job::Stop);
        self.shared.readers.stop();
        self.shared.bus.end();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the data directory had panicked");
            }
        }
    }
}

impl Shared {
    fn failed(&self) -> Result<(), Unavailable> {
        self.failure
            .get()
            .map_or(Ok(()), |reason| Err(reason.clone()))
    }

    fn fail(&self, reason: &Unavailable) {
        if self.failure.set(reason.clone()).is_ok() {
            let dir = self.directory.path().display();
            tracing::error!("no appends are taken in {dir} until a restart: {reason}");
        }
    }
}
