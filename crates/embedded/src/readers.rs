//! A few threads that read the disk, so that no shard waits for it.
//!
//! Not the runtime's own blocking pool: that one has no bound on what waits, and starts and ends
//! threads as it likes.

use std::{
    future::Future,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
};

use parlance_core::ports::Unavailable;
use tokio::sync::oneshot;

use crate::tables::Tables;

/// Threads. Reads that miss the caches wait for the disk, so more than one.
const READERS: usize = 2;

/// Reads that wait for one thread. Full on all: the read is refused at once.
const QUEUE: usize = 256;

type Read = Box<dyn FnOnce(&Tables) + Send>;

enum Job {
    Read(Read),
    Stop,
}

pub(crate) struct Readers {
    queues: Vec<SyncSender<Job>>,
    turn: AtomicUsize,
}

impl Readers {
    pub(crate) fn start(tables: &Tables) -> std::io::Result<(Self, Vec<JoinHandle<()>>)> {
        let mut queues = Vec::with_capacity(READERS);
        let mut threads = Vec::with_capacity(READERS);
        for _ in 0..READERS {
            let (queue, jobs) = sync_channel(QUEUE);
            let tables = tables.clone();
            let thread = std::thread::Builder::new()
                .name("parlance-read".into())
                .spawn(move || work(&tables, &jobs))?;
            queues.push(queue);
            threads.push(thread);
        }
        let readers = Self {
            queues,
            turn: AtomicUsize::new(0),
        };
        Ok((readers, threads))
    }

    /// The threads finish what is queued and end; later reads are refused.
    pub(crate) fn stop(&self) {
        for queue in &self.queues {
            // A thread that is gone already has stopped.
            let _ = queue.send(Job::Stop);
        }
    }

    /// Queues `read` now, and answers with its result.
    pub(crate) fn run<T, F>(
        &self,
        read: F,
    ) -> impl Future<Output = Result<T, Unavailable>> + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Tables) -> Result<T, Unavailable> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.queue(Box::new(move |tables: &Tables| {
            // Nobody waits any more: fine.
            let _ = answer.send(read(tables));
        }));
        async move {
            let dropped =
                || Unavailable::new("too many reads wait, or the data directory is closed");
            answered.await.map_err(|_| dropped())?
        }
    }

    /// Drops the read, and with it its answer's sender, when all queues are full.
    fn queue(&self, read: Read) {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut job = Job::Read(read);
        for attempt in 0..READERS {
            match self.queues[(first + attempt) % READERS].try_send(job) {
                Ok(()) => return,
                Err(TrySendError::Full(refused) | TrySendError::Disconnected(refused)) => {
                    job = refused;
                }
            }
        }
    }
}

fn work(tables: &Tables, jobs: &Receiver<Job>) {
    while let Ok(Job::Read(read)) = jobs.recv() {
        read(tables);
    }
}
