//! What gateways know of each other, and the budget that they share.
//!
//! A port beside those of [`crate::ports`], for a gateway as a whole and not for its rooms: who leaves,
//! or carries more than its share, sends members to the others, and must not send more of them than
//! the others take. Only an adapter that gateways share has it; a lone node knows nobody.
//!
//! It decides nothing. Who is sent away when is decided by who asks.

use std::{future::Future, pin::Pin};

use crate::ports::Unavailable;

/// What a gateway says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Connections that are members of a conversation.
    pub members: u32,
    /// New members that it takes in a second.
    pub accepts_per_second: u32,
    /// What it is about.
    pub standing: Standing,
}

/// What a gateway is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is not ready, so nobody should be sent there.
    Unready,
    /// It takes members.
    Ready,
    /// It is ready, and has more members than it should: it counts, but is not to be sent more.
    Shedding,
    /// It sends all of its members away and ends.
    Leaving,
}

/// The other gateways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Grows with each look at them.
    pub look: u64,
    /// Those that live, without the one that asks.
    pub others: Vec<Load>,
}

/// What a gateway may send to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// So many members, now.
    pub members: u32,
    /// What all that take members together take in a second. 0: nobody does.
    pub per_second: u32,
}

/// The answer to [`Peers::take`].
pub type Taking<'a> = Pin<Box<dyn Future<Output = Result<Grant, Unavailable>> + Send + 'a>>;

/// The gateways that share an adapter.
pub trait Peers: Send + Sync {
    /// Keeps this for the others, who see it some seconds later. Does not block.
    fn tell(&self, load: Load);

    /// The others, as of the last look. `None`: that is too old to go by. Does not block.
    fn view(&self) -> Option<View>;

    /// Asks the budget for so many members to send away, and gets what there is, which may be none:
    /// as much in a second as all others take together that are ready, a quarter of that at
    /// once. All who ask share it. The others see what was told last at once.
    ///
    /// # Errors
    /// [`Unavailable`]: nobody can be asked. Nothing is known of what others send away meanwhile.
    fn take(&self, wanted: u32) -> Taking<'_>;
}
