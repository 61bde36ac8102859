//! Readiness of all sockets of a shard.
//!
//! The sockets stand in an epoll instance of their own and not in the runtime's: there they would
//! cost an allocation and a waker each, and one wake-up per socket. The runtime watches only that
//! instance, and one turn takes all that is ready out of it.
//!
//! Edge-triggered, registered once for both directions. The kernel signals writability only to a
//! socket that a write found full, so nothing is woken in vain and a blocked socket costs no
//! system call to watch.

use std::{io, time::Duration};

use mio::{Events, Interest, Poll, Token, event::Event, net::TcpStream};
use tokio::io::{Interest as RuntimeInterest, unix::AsyncFd};

use super::ConnKey;

/// Most sockets in one turn. Further ones are next in the turn after.
const SOCKETS_PER_TURN: usize = 1024;

/// The epoll instance of a shard.
pub(super) struct Sockets {
    poll: AsyncFd<Poll>,
    events: Events,
    /// The last look did not fit.
    more: bool,
}

/// What may be done with a socket without blocking.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready {
    pub(super) conn: ConnKey,
    pub(super) readable: bool,
    /// The peer ended its side, or the connection is broken: read until that is seen.
    pub(super) ended: bool,
    pub(super) writable: bool,
}

impl Sockets {
    /// Inside of the runtime that shall watch `poll`.
    pub(super) fn new(poll: Poll) -> io::Result<Self> {
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for types that change or close their descriptor \
                      while it is watched; a `Poll` owns one descriptor from begin to end, and it \
                      is never taken out of here"
        )]
        let poll = AsyncFd::with_interest(poll, RuntimeInterest::READABLE)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(SOCKETS_PER_TURN),
            more: false,
        })
    }

    /// Watches `socket` until it is closed. Closing takes it out, since there is no other handle.
    pub(super) fn watch(&self, socket: &mut TcpStream, conn: ConnKey) -> io::Result<()> {
        let token = Token(conn.index());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .get_ref()
            .registry()
            .register(socket, token, interest)
    }

    /// Waits until some socket may be ready. Cancel safe.
    pub(super) async fn ready(&self) -> io::Result<()> {
        // Cleared before the look, and the looks take everything: what becomes ready after them is
        // a new edge of the instance.
        self.poll.readable().await?.clear_ready();
        Ok(())
    }

    /// Whether the last look left something.
    pub(super) const fn has_more(&self) -> bool {
        self.more
    }

    /// Takes what is ready now into `ready`.
    pub(super) fn look(&mut self, ready: &mut Vec<Ready>) -> io::Result<()> {
        match self
            .poll
            .get_mut()
            .poll(&mut self.events, Some(Duration::ZERO))
        {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            Err(error) => return Err(error),
        }
        ready.extend(self.events.iter().map(Ready::of));
        self.more = ready.len() == SOCKETS_PER_TURN;
        Ok(())
    }
}

impl Ready {
    fn of(event: &Event) -> Self {
        Self {
            conn: ConnKey::of(event.token().0),
            readable: event.is_readable(),
            ended: event.is_read_closed() || event.is_error(),
            writable: event.is_writable(),
        }
    }
}
