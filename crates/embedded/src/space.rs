//! Whether the disk has room for more.
//!
//! Appends stop while the engine still has room to flush and compact: a full disk in the middle
//! of a write would end the engine, and only a restart would bring it back.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use parlance_core::ports::Unavailable;

/// How old an answer may be. At 100 MB/s of appends this is 10 MB.
const FRESH: Duration = Duration::from_millis(100);

pub(crate) struct Space {
    dir: PathBuf,
    /// What has to be free for an append to be taken.
    reserve_bytes: u64,
    checked: Option<Instant>,
    verdict: Result<(), Unavailable>,
}

impl Space {
    pub(crate) fn new(dir: &Path, reserve_bytes: u64) -> Self {
        Self {
            dir: dir.to_owned(),
            reserve_bytes,
            checked: None,
            verdict: Ok(()),
        }
    }

    pub(crate) fn check(&mut self) -> Result<(), Unavailable> {
        if self.checked.is_none_or(|at| at.elapsed() >= FRESH) {
            let before = self.verdict.is_ok();
            self.verdict = self.judge();
            self.checked = Some(Instant::now());
            match &self.verdict {
                Err(reason) if before => tracing::error!("no appends are taken: {reason}"),
                Ok(()) if !before => tracing::info!("the disk has room again"),
                Ok(()) | Err(_) => {}
            }
        }
        self.verdict.clone()
    }

    fn judge(&self) -> Result<(), Unavailable> {
        let dir = self.dir.display();
        let disk = rustix::fs::statvfs(&self.dir).map_err(|e| {
            Unavailable::new(format_args!("the free space of {dir} cannot be read: {e}"))
        })?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < self.reserve_bytes {
            return Err(Unavailable::new(format_args!(
                "the disk of {dir} has {} MB free, less than the reserve of {} MB",
                free >> 20,
                self.reserve_bytes >> 20
            )));
        }
        Ok(())
    }
}
