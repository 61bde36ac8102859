//! What a server of Redis says of itself, and what of that refuses the start.

use redis::{FromRedisValue, InfoDict, aio::MultiplexedConnection, cmd};

use crate::link::{self, CallError, Run, error_of};

/// What INFO tells.
#[derive(Debug, Clone)]
pub(crate) struct ServerFacts {
    pub(crate) run: Run,
    pub(crate) is_master: bool,
    pub(crate) is_loading: bool,
    pub(crate) version: String,
    pub(crate) eviction: String,
    /// Whether what is acknowledged is written to a disk.
    pub(crate) has_append_only_file: bool,
    pub(crate) replicas: u64,
    pub(crate) memory: Memory,
}

/// What a server uses, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) used: u64,
    /// Its `maxmemory`; 0: none.
    pub(crate) max: u64,
}

impl Memory {
    /// Whether it uses more than `limit`, or without one than nine tenths of its own.
    pub(crate) fn is_above(self, limit: Option<u64>) -> bool {
        self.bound(limit).is_some_and(|bound| self.used > bound)
    }

    /// What it uses, as a part of that. 0 without any limit.
    pub(crate) fn ratio(self, limit: Option<u64>) -> f64 {
        let bound = self.bound(limit);
        bound.map_or(0.0, |bound| self.used as f64 / bound.max(1) as f64)
    }

    fn bound(self, limit: Option<u64>) -> Option<u64> {
        let own = (self.max > 0).then_some(self.max / 10 * 9);
        limit.or(own)
    }
}

impl ServerFacts {
    /// Why it does not serve.
    pub(crate) fn standing(&self) -> &'static str {
        if self.is_loading {
            "it is loading its data"
        } else if self.is_master {
            "it is a master"
        } else {
            "it is a replica"
        }
    }

    /// The first two parts of the version.
    pub(crate) fn major_minor(&self) -> Option<(u32, u32)> {
        let mut parts = self.version.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

/// Asks for everything: servers that are too old do not take several sections at once, and are to be
/// called too old.
pub(crate) async fn server_facts(
    connection: &MultiplexedConnection,
) -> Result<ServerFacts, CallError> {
    let mut connection = connection.clone();
    let answer = link::send(&mut connection, &cmd("INFO")).await;
    let answer = answer.map_err(error_of)?;
    let info = InfoDict::from_redis_value(answer)
        .map_err(|error| CallError::Refused(error.to_string().into()))?;
    let text = |key: &str| info.get::<String>(key).unwrap_or_default();
    let run = format!("{:.8}{:.8}", text("run_id"), text("master_replid"));
    if run.len() != 16 {
        return Err(CallError::Refused("INFO names no run_id".into()));
    }
    Ok(ServerFacts {
        run: Run(run.into()),
        is_master: text("role") == "master",
        is_loading: text("loading") == "1",
        version: text("redis_version"),
        eviction: text("maxmemory_policy"),
        has_append_only_file: text("aof_enabled") == "1",
        replicas: text("connected_slaves").parse().unwrap_or(0),
        memory: Memory {
            used: text("used_memory").parse().unwrap_or(0),
            max: text("maxmemory").parse().unwrap_or(0),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_counts_more_than_what_the_server_has_for_itself() {
        let memory = |used, max| Memory { used, max };
        assert!(!memory(1 << 40, 0).is_above(None));
        assert!(memory(91, 100).is_above(None) && !memory(90, 100).is_above(None));
        assert!(!memory(95, 100).is_above(Some(95)) && memory(96, 100).is_above(Some(95)));
    }

    #[test]
    fn what_is_used_is_a_part_of_the_bound_at_which_messages_are_refused() {
        let memory = |used, max| Memory { used, max };
        assert_eq!(memory(1 << 40, 0).ratio(None), 0.0);
        assert_eq!(memory(45, 100).ratio(None), 0.5);
        assert_eq!(memory(45, 100).ratio(Some(180)), 0.25);
    }
}
