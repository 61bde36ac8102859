//! What is known of one member: its sockets, what it has, and what it waits for.

use std::time::Instant;

use crate::{dialect::Seat, parlance::Layer};

pub(super) struct Member {
    pub(super) seat: Seat,
    pub(super) layer: Layer,
    /// Its socket in the room.
    pub(super) now: Option<usize>,
    /// The one that is on its way there.
    pub(super) next: Option<usize>,
    /// It has everything up to this id.
    pub(super) has: u64,
    /// What it sent and was not answered.
    pub(super) outbox: Vec<Pending>,
    /// What was sent again: each may be answered once more.
    pub(super) sent_again: Vec<u64>,
    /// Since when it has no socket in the room, if it has had one.
    pub(super) alone_since: Option<Instant>,
    pub(super) joined_at: Instant,
    /// Tries to come back since it was there for a while.
    pub(super) tries: u32,
}

/// A message without its acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) name: u64,
    pub(super) due: Instant,
    /// Whether it went out at least once.
    pub(super) was_sent: bool,
}

impl Member {
    pub(super) fn new(seat: Seat, layer: Layer) -> Self {
        Self {
            seat,
            layer,
            now: None,
            next: None,
            has: 0,
            outbox: Vec::new(),
            sent_again: Vec::new(),
            alone_since: None,
            joined_at: Instant::now(),
            tries: 0,
        }
    }

    /// Where in the outbox a message is.
    pub(super) fn place_of(&self, name: u64) -> Option<usize> {
        self.outbox.iter().position(|pending| pending.name == name)
    }

    /// Whether a message that came is the answer to its being sent again. It is only once.
    pub(super) fn is_answer(&mut self, name: u64) -> bool {
        let place = self.sent_again.iter().position(|sent| *sent == name);
        place
            .map(|place| self.sent_again.swap_remove(place))
            .is_some()
    }
}
