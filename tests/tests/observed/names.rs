//! Which metrics there are, with which labels: those of the catalogue, and what rules record.

use std::collections::BTreeMap;

use parlance_telemetry::{Kind, Metric};

use crate::{
    expressions::{Reads, reads},
    prometheus::{Rule, RuleKind},
};

/// What a target has, whatever it exports.
const OF_TARGETS: [&str; 3] = ["namespace", "job", "instance"];

/// Label, values; no values where there may be any.
type Labels = BTreeMap<String, Vec<String>>;

/// All that a query may name.
#[derive(Debug)]
pub(crate) struct Names(BTreeMap<String, Labels>);

impl Names {
    /// Those of the catalogue and of recording rules, each of which is checked, too.
    pub(crate) fn with(rules: &[Rule]) -> Self {
        let mut names = Self(BTreeMap::new());
        names.add("up", Labels::new());
        for metric in Metric::ALL {
            names.add_metric(*metric);
        }
        for rule in rules {
            match &rule.kind {
                RuleKind::Recording => {
                    let labels = names.recorded(&rule.query);
                    names.add(&rule.name, labels);
                }
                RuleKind::Alert { .. } => {}
            }
        }
        names
    }

    /// What is wrong with a query.
    pub(crate) fn faults(&self, query: &str) -> Vec<String> {
        let reads = reads(query);
        let mut faults = Vec::new();
        for selector in &reads.selectors {
            let Some(known) = self.0.get(&selector.name) else {
                faults.push(format!("there is no metric {}", selector.name));
                continue;
            };
            for (label, values) in &selector.labels {
                let fault = label_fault(known, label, values);
                faults.extend(fault.map(|fault| format!("{}: {fault}", selector.name)));
            }
        }
        let labels = self.labels_of(&reads);
        let unknown = reads
            .grouped_by
            .iter()
            .filter(|label| !labels.contains_key(*label));
        faults.extend(unknown.map(|label| format!("nothing there has a label {label}")));
        faults
    }

    fn add(&mut self, name: &str, mut labels: Labels) {
        for label in OF_TARGETS {
            labels.entry(label.to_owned()).or_default();
        }
        self.0.insert(name.to_owned(), labels);
    }

    fn add_metric(&mut self, metric: Metric) {
        let spec = metric.spec();
        let values =
            |all: &[(&str, &str)]| all.iter().map(|(value, _)| (*value).to_owned()).collect();
        let labels = spec.labels.iter();
        let labels: Labels = labels
            .map(|label| (label.key.to_owned(), values(label.values)))
            .collect();
        match spec.kind {
            Kind::Counter | Kind::Gauge => self.add(spec.name, labels),
            Kind::Histogram(bounds) => {
                self.add(&format!("{}_sum", spec.name), labels.clone());
                self.add(&format!("{}_count", spec.name), labels.clone());
                let mut bounds: Vec<String> = bounds.iter().map(f64::to_string).collect();
                bounds.push("+Inf".to_owned());
                let mut labels = labels;
                labels.insert("le".to_owned(), bounds);
                self.add(&format!("{}_bucket", spec.name), labels);
            }
        }
    }

    /// The labels that what a rule records has.
    fn recorded(&self, query: &str) -> Labels {
        let faults = self.faults(query);
        assert!(faults.is_empty(), "{query}: {}", faults.join("; "));
        let reads = reads(query);
        let mut labels = self.labels_of(&reads);
        labels.retain(|label, _| reads.grouped_by.contains(label));
        labels
    }

    fn labels_of(&self, reads: &Reads) -> Labels {
        let known = reads
            .selectors
            .iter()
            .filter_map(|one| self.0.get(&one.name));
        known.flat_map(Clone::clone).collect()
    }
}

fn label_fault(known: &Labels, label: &str, values: &[String]) -> Option<String> {
    let Some(possible) = known.get(label) else {
        return Some(format!("it has no label {label}"));
    };
    let is_known = |value: &String| possible.contains(value) || possible.is_empty();
    let unknown = values.iter().find(|value| !is_known(value))?;
    Some(format!("{label} is never {unknown}"))
}

#[test]
fn a_query_that_would_never_be_answered_is_a_fault() {
    let names = Names::with(&[]);
    for (query, fault) in [
        (
            "parlance_conections",
            "there is no metric parlance_conections",
        ),
        (
            "parlance_closes_total{codes=\"1006\"}",
            "parlance_closes_total: it has no label codes",
        ),
        (
            "parlance_closes_total{code=~\"1006|1066\"}",
            "parlance_closes_total: code is never 1066",
        ),
        (
            "sum by (outcome) (parlance_closes_total)",
            "nothing there has a label outcome",
        ),
        (
            "parlance_append_duration_seconds",
            "there is no metric parlance_append_duration_seconds",
        ),
    ] {
        assert_eq!(names.faults(query), [fault], "{query}");
    }
    let good = "sum by (namespace, code) (rate(parlance_closes_total{initiator!=\"client\"}[5m]))";
    assert!(names.faults(good).is_empty());
}
