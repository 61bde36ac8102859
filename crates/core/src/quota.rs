//! Rate limits: token buckets, for a connection and for a user over all of them.

use std::sync::Mutex;

use crate::clock::Mono;

/// A token bucket: `per_second` on average, `burst` at once. `per_second == 0`: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// In thousandths of a token.
    millitokens: u64,
    at: Mono,
}

impl Bucket {
    /// Full.
    #[must_use]
    pub const fn full(burst: u32, now: Mono) -> Self {
        Self {
            millitokens: burst as u64 * 1_000,
            at: now,
        }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// How many milliseconds until there will be one.
    pub fn take(&mut self, per_second: u32, burst: u32, now: Mono) -> Result<(), u64> {
        if per_second == 0 {
            return Ok(());
        }
        let earned = now.since_ms(self.at).saturating_mul(per_second.into());
        self.millitokens = self
            .millitokens
            .saturating_add(earned)
            .min(u64::from(burst.max(1)) * 1_000);
        self.at = self.at.max(now);
        if self.millitokens >= 1_000 {
            self.millitokens -= 1_000;
            return Ok(());
        }
        Err((1_000 - self.millitokens).div_ceil(per_second.into()))
    }
}

/// The actions of one user over all connections of a node. Shared between shards.
#[derive(Debug)]
pub struct UserQuota {
    per_second: u32,
    bucket: Mutex<Bucket>,
}

impl UserQuota {
    /// `per_second` actions, twice that at once.
    #[must_use]
    pub fn new(per_second: u32, now: Mono) -> Self {
        Self {
            per_second,
            bucket: Mutex::new(Bucket::full(per_second.saturating_mul(2), now)),
        }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// How many milliseconds until there will be one.
    pub fn take(&self, now: Mono) -> Result<(), u64> {
        let mut bucket = self
            .bucket
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        bucket.take(self.per_second, self.per_second.saturating_mul(2), now)
    }
}
