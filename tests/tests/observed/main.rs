//! What Prometheus and Grafana are given to watch a deployment with: rules, dashboards, the runbook.
//!
//! A query with a mistyped name is no error to anybody: it answers with nothing, for ever, and an alert
//! made of it never fires. So every query is held to the catalogue of metrics, and then asked of a real
//! Prometheus that scrapes real gateways and a persister while clients talk ([`live`]). Which alerts fire
//! when is said in `deploy/prometheus/tests`, which `promtool` runs ([`rules`]).
//!
//! What the rules are is read from Prometheus itself, so there is no reader of YAML here. Prometheus and
//! `promtool` are installed by `make tools`.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod dashboards;
mod expressions;
mod given;
mod live;
mod names;
mod prometheus;
mod rules;
