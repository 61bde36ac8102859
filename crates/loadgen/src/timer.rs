//! Waking up on time.
//!
//! A poll waits in whole milliseconds and rounds up, which would add half a millisecond to every latency
//! of a load at a fixed rate. Near a deadline the poll is woken by a timer of the kernel instead; where
//! there is none, it spins.

use std::{io, time::Duration};

use mio::{Registry, Token};

/// Nearer than this, a deadline is left to the timer.
pub(crate) const NEAR: Duration = Duration::from_millis(20);

#[cfg(target_os = "linux")]
pub(crate) struct Timer(std::os::fd::OwnedFd);

#[cfg(target_os = "linux")]
impl Timer {
    pub(crate) fn register(registry: &Registry, token: Token) -> io::Result<Self> {
        use std::os::fd::AsRawFd as _;

        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};

        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let fd = timer.as_raw_fd();
        let interest = mio::Interest::READABLE;
        registry.register(&mut mio::unix::SourceFd(&fd), token, interest)?;
        Ok(Self(timer))
    }

    /// Wakes the poll after so long; how long the poll may wait by itself.
    pub(crate) fn arm(&self, after: Duration) -> io::Result<Duration> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};

        // Nothing at all would disarm it.
        let after = after.max(Duration::from_nanos(1));
        let nothing = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let value = Timespec {
            tv_sec: after.as_secs().cast_signed(),
            tv_nsec: i64::from(after.subsec_nanos()),
        };
        let once = Itimerspec {
            it_interval: nothing,
            it_value: value,
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        Ok(NEAR * 2)
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) struct Timer;

#[cfg(not(target_os = "linux"))]
impl Timer {
    pub(crate) fn register(_: &Registry, _: Token) -> io::Result<Self> {
        Ok(Self)
    }

    pub(crate) fn arm(&self, after: Duration) -> io::Result<Duration> {
        Ok(after.saturating_sub(Duration::from_millis(1)))
    }
}
