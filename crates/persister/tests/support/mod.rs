//! What the tests of the persister share.

use std::{sync::Arc, time::Duration};

use parlance_core::{
    entry::Event,
    ingest::{Ingest, PersisterId},
    store::Archive,
};
use parlance_persister::Options;
use parlance_protocol::{ConversationId, UserId};
use parlance_testkit::store::MemoryStore;
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};

pub(crate) fn conversation(name: &str) -> ConversationId {
    ConversationId::new(name).unwrap()
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(crate) fn options(me: &str) -> Options {
    Options::of(PersisterId(me.into()))
}

/// Waits until something holds, with a deadline.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let held = async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = timeout(Duration::from_secs(60), held).await;
    waited.unwrap_or_else(|_| panic!("waited too long until {what}"));
}

/// The contents of all messages that a store has, in order.
pub(crate) fn contents(store: &MemoryStore, of: &str) -> Vec<String> {
    let all = store.everything(&conversation(of));
    all.iter()
        .map(|event| match &event.entry.event {
            Event::Message { content } | Event::Edit { content, .. } => content.to_string(),
            Event::Delete { .. } => "deleted".to_owned(),
        })
        .collect()
}

/// A persister in a task.
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start<I: Ingest, A: Archive>(
        ingest: I,
        archive: Arc<A>,
        options: Options,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        let run = parlance_persister::run(ingest, archive, options, stopped);
        Self {
            stop,
            task: tokio::task::spawn_local(run),
        }
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }

    /// Ends it without a word.
    pub(crate) async fn crash(self) {
        self.task.abort();
        let ended = self.task.await;
        assert!(ended.unwrap_err().is_cancelled());
    }
}
