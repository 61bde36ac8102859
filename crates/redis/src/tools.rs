//! What a person asks a deployment by a command. Each call blocks until it is answered; do not call
//! it on a runtime's thread.

use std::rc::Rc;

use parlance_core::{ports::Unavailable, store::Store};
use parlance_protocol::ConversationId;

use crate::{
    Redis,
    handle::closed,
    inspect::{self, Inspection},
    io::Io,
    letters::{self, Letter, LetterId},
};

impl<S: Store> Redis<S> {
    /// Everything that is known of a conversation here.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn inspect(&self, conversation: &ConversationId) -> Result<Inspection, Unavailable> {
        let conversation = conversation.clone();
        self.ask_blocking(async move |io| inspect::inspect(&io, &conversation).await)
    }

    /// All dead letters, partition by partition, the oldest first.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn dead_letters(&self) -> Result<Vec<Letter>, Unavailable> {
        self.ask_blocking(async move |io| letters::list(&io).await)
    }

    /// Gives a dead letter to the persister again. Answers whether there was one.
    ///
    /// # Errors
    /// [`Unavailable`]: it is in one of both places.
    pub fn retry_dead_letter(&self, id: &LetterId) -> Result<bool, Unavailable> {
        let id = id.clone();
        self.ask_blocking(async move |io| letters::retry(&io, &id).await)
    }

    /// Forgets a dead letter for ever. Answers whether there was one.
    ///
    /// # Errors
    /// [`Unavailable`]: it may be gone.
    pub fn drop_dead_letter(&self, id: &LetterId) -> Result<bool, Unavailable> {
        let id = id.clone();
        self.ask_blocking(async move |io| letters::drop(&io, &id).await)
    }

    fn ask_blocking<T: Send + 'static, F>(
        &self,
        question: impl FnOnce(Rc<Io<S>>) -> F + Send + 'static,
    ) -> Result<T, Unavailable>
    where
        F: Future<Output = Result<T, Unavailable>> + 'static,
    {
        let (answer, answered) = std::sync::mpsc::channel();
        let job: crate::handle::Job<S> = Box::new(move |io| {
            let asked = question(Rc::clone(io));
            tokio::task::spawn_local(async move {
                // Who does not wait any more needs no answer.
                let _ = answer.send(asked.await);
            });
        });
        self.jobs.try_send(job).map_err(|_| closed())?;
        answered.recv().map_err(|_| closed())?
    }
}
