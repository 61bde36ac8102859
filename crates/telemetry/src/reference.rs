//! `docs/metrics.md`, written from the list.

use std::fmt::{Error, Write};

use crate::{
    catalog::{Kind, Metric, Spec},
    labels::LabelSpec,
};

const HEAD: &str = "\
# Metrics

`GET /metrics` on `admin.listen` answers in the Prometheus text format. Every series exists from the
start, at zero; those of Redis only where there is one, those of the store only with one, those of
the persister only in `parlance persister`. Labels never name users, conversations or addresses: the number of series is fixed.

This page is written by `cargo run -p parlance-telemetry --example metrics-doc > docs/metrics.md`.

| name | kind | labels | what it says |
|---|---|---|---|
";

/// The text of `docs/metrics.md`.
#[must_use]
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    write_tables(&mut page).expect("writing to a string does not fail");
    page
}

fn write_tables(page: &mut String) -> Result<(), Error> {
    for metric in Metric::ALL {
        write_metric(page, &metric.spec())?;
    }
    for metric in Metric::ALL {
        write_details(page, &metric.spec())?;
    }
    Ok(())
}

fn write_metric(page: &mut String, spec: &Spec) -> Result<(), Error> {
    let labels: Vec<_> = spec
        .labels
        .iter()
        .map(|label| format!("`{}`", label.key))
        .collect();
    let (name, help) = (spec.name, spec.help);
    writeln!(
        page,
        "| `{name}` | {} | {} | {help} |",
        kind(spec.kind),
        labels.join(", ")
    )
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    }
}

/// Label values and bucket bounds, for metrics that have any.
fn write_details(page: &mut String, spec: &Spec) -> Result<(), Error> {
    let buckets = match spec.kind {
        Kind::Counter | Kind::Gauge => None,
        Kind::Histogram(bounds) => Some(bounds),
    };
    let listed = spec.labels.iter().any(|label| !label.values.is_empty());
    if !listed && buckets.is_none() {
        return Ok(());
    }
    writeln!(page, "\n## `{}`", spec.name)?;
    for label in spec.labels {
        write_values(page, label)?;
    }
    if let Some(bounds) = buckets {
        let bounds: Vec<_> = bounds.iter().map(f64::to_string).collect();
        let unit = unit(spec.name);
        writeln!(page, "\nBuckets up to {} {unit}.", bounds.join(", "))?;
    }
    Ok(())
}

/// The last word of a histogram's name.
fn unit(name: &str) -> &str {
    name.rsplit_once('_').map_or(name, |(_, unit)| unit)
}

fn write_values(page: &mut String, label: &LabelSpec) -> Result<(), Error> {
    writeln!(page, "\n| `{}` | |\n|---|---|", label.key)?;
    for (value, meaning) in label.values {
        writeln!(page, "| `{value}` | {} |", meaning)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_page_is_the_one_that_the_list_writes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
        let committed = std::fs::read_to_string(path).unwrap();
        assert!(
            committed == super::reference(),
            "docs/metrics.md is out of date: \
             cargo run -p parlance-telemetry --example metrics-doc > docs/metrics.md"
        );
    }
}
