//! The process's clocks: the one place in the gateway that reads them.
//!
//! The core takes instants as arguments and compares them with each other, so every part of a
//! process must count from the same start: make one [`Clock`] and copy it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parlance_core::clock::{Mono, Now};
use parlance_protocol::UnixMicros;

/// Both clocks. Copies agree with each other.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// The monotonic clock starts here.
    #[must_use]
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Both clocks, read now.
    #[must_use]
    pub fn now(&self) -> Now {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Now {
            mono: Mono(whole(self.start.elapsed().as_millis())),
            wall: UnixMicros(whole(wall.as_micros())),
        }
    }

    /// The instant of the runtime's timers that `at` stands for.
    #[must_use]
    pub fn instant(&self, at: Mono) -> Instant {
        self.start + Duration::from_millis(at.0)
    }
}

fn whole(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
