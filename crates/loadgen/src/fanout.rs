//! Messages to rooms: what one delivery costs, and how long it takes.

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
    /// Closed loop: so many messages are under way, over all rooms and as evenly as possible; the next
    /// is sent when all members have one. With fewer than there are rooms, the rooms take turns.
    Window(usize),
    /// Open loop: so many messages a second, over all rooms in turn, whatever the server does.
    PerSecond(f64),
}

/// The load. Members of a room send in turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Fanout {
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

/// Runs the load. The unit is a delivery: a message at a member. `times` are those of "delivery", "last
/// delivery" (until everybody has a message) and "ack".
///
/// # Errors
/// When the load cannot be made, somebody cannot join, or a watched process is gone.
pub fn run(
    target: &Target<'_>,
    load: &Fanout,
    control: &mut Control<'_>,
) -> Result<Report, LoadError> {
    check_shape(load.rooms, load.members)?;
    let pace = match load.pace {
        Pace::Window(0) => {
            let error = "a window of 0 messages sends nothing; give at least 1";
            return Err(LoadError::Arguments(error.to_owned()));
        }
        Pace::Window(window) => traffic::Pace::Window(window),
        Pace::PerSecond(rate) => {
            check_rate(rate)?;
            traffic::Pace::Rate(rate)
        }
    };
    let load = traffic::Load {
        workload: "fanout",
        counted: Counted::Deliveries,
        rooms: load.rooms,
        members: load.members,
        pace,
        content_bytes: load.content_bytes,
        warm_up: load.warm_up,
        measured: load.measured,
    };
    traffic::run(target, &load, control)
}
