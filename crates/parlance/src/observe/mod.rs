//! Metrics of the process: the recorder that the counters count into, and its text.

mod process;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use parlance_telemetry::{Build, Kind, Metric, Metrics};

const BUILD: Build = Build {
    version: env!("CARGO_PKG_VERSION"),
    revision: env!("BUILD_REVISION"),
};

/// What was counted so far.
#[derive(Clone)]
pub(crate) struct Recorder(PrometheusHandle);

impl Recorder {
    /// Makes this process count. Once, before any counter is registered.
    pub(crate) fn install() -> anyhow::Result<Self> {
        let mut builder = PrometheusBuilder::new();
        for spec in Metric::ALL.iter().map(|metric| metric.spec()) {
            if let Kind::Histogram(bounds) = spec.kind {
                let name = Matcher::Full(spec.name.to_owned());
                builder = builder.set_buckets_for_metric(name, bounds)?;
            }
        }
        let handle = builder
            .install_recorder()
            .context("cannot install the metrics recorder")?;
        Metrics::describe(BUILD);
        Ok(Self(handle))
    }

    /// The text format of Prometheus, with the metrics of the process.
    pub(crate) fn text(&self) -> String {
        let mut text = self.0.render();
        process::write(&mut text);
        text
    }

    /// Sorts observations into their buckets: until then each takes memory. Call it every second.
    pub(crate) fn tidy(&self) {
        self.0.run_upkeep();
    }
}
