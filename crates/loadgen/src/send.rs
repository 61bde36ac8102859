//! Acknowledged sends: how many a server takes, and how long until the sender knows.

use std::time::Duration;

use crate::{
    error::LoadError,
    report::Report,
    target::{Control, Target},
    traffic::{self, Counted, check_rate, check_shape},
};

/// What decides when the next message is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Closed loop: every member has one message unacknowledged and sends the next when it is.
    OneEach,
    /// Open loop: so many messages a second, over all members in turn, whatever the server does.
    PerSecond(f64),
}

/// The load.
#[derive(Debug, Clone, PartialEq)]
pub struct Send {
    /// How many conversations.
    pub rooms: usize,
    /// How many members each has.
    pub members: usize,
    /// When messages are sent.
    pub pace: Pace,
    /// How many bytes of content a message has.
    pub content_bytes: usize,
    /// Not counted: the beginning.
    pub warm_up: Duration,
    /// Counted.
    pub measured: Duration,
}

/// Runs the load. The unit is a send that was acknowledged. `times` are those of "ack", "delivery" and
/// "last delivery".
///
/// # Errors
/// When the load cannot be made, somebody cannot join, or a watched process is gone.
pub fn run(
    target: &Target<'_>,
    load: &Send,
    control: &mut Control<'_>,
) -> Result<Report, LoadError> {
    check_shape(load.rooms, load.members)?;
    let pace = match load.pace {
        Pace::OneEach => traffic::Pace::OneEach,
        Pace::PerSecond(rate) => {
            check_rate(rate)?;
            traffic::Pace::Rate(rate)
        }
    };
    let load = traffic::Load {
        workload: "send",
        counted: Counted::Acks,
        rooms: load.rooms,
        members: load.members,
        pace,
        content_bytes: load.content_bytes,
        warm_up: load.warm_up,
        measured: load.measured,
    };
    traffic::run(target, &load, control)
}
