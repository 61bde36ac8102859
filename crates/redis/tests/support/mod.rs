//! What the tests of the adapter share.

use std::{sync::Arc, time::Duration};

use parlance_core::store::Store;
use parlance_redis::{Durability, Options, Redis, Retention, Topology};

/// How a test uses Redis.
pub(crate) fn options(url: &str) -> Options {
    Options {
        topology: Topology::parse(&[url.to_owned()]).expect("the test kit's URLs are right"),
        durability: Durability::Local,
        retention: Retention {
            entries: 10_000,
            age: Duration::from_secs(7 * 24 * 60 * 60),
        },
        tail_entries: 256,
        memory_limit_bytes: None,
        start_deadline: Duration::from_secs(10),
    }
}

/// One gateway's connection to Redis.
pub(crate) fn connect<S: Store>(url: &str, store: Option<Arc<S>>) -> Redis<S> {
    Redis::connect(options(url), store).expect("Redis runs")
}
