//! What parlance measures: every metric's name, kind, unit, help text and labels, and the handles
//! that count them.
//!
//! The gateway calls [`Metrics::register`] once per shard and counts through the fields, its admin
//! listener, which other processes have too, does the same with [`ProcessMetrics`], the adapter
//! of Redis does the same with [`RedisMetrics`], that of the store with [`StoreMetrics`], the persister
//! with [`PersisterMetrics`]; the binary installs the recorder (with the bounds
//! of [`Kind::Histogram`]) before that and renders it. [`reference()`] is the text of
//! `docs/metrics.md`.
//!
//! Names and labels are a closed list ([`Metric`], [`labels`]): nothing that grows with users or
//! conversations can become a label. All series exist from the first scrape on, at zero, so that a
//! rate over them is right from the first event. The crate knows no other crate of the project:
//! who counts maps its own types to the labels here.

mod catalog;
mod handles;
pub mod labels;
mod reference;

pub use catalog::{Kind, Metric, Spec};
pub use handles::{
    Build, Counters, Metrics, PairCounters, PersisterMetrics, ProcessMetrics, RedisMetrics,
    StoreMetrics,
};
pub use metrics::{Counter, Gauge, Histogram};
pub use reference::reference;
