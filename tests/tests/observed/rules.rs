//! Rules and the runbook: what `promtool` says of them, and that they belong together.

use std::{collections::BTreeSet, fs};

use crate::{
    expressions::reads,
    given::{queries, queries_of, runbook},
    names::Names,
    prometheus::{Prometheus, Rule, RuleKind, deploy, files, promtool},
};

fn rules() -> Vec<Rule> {
    Prometheus::start(&[], &[]).rules()
}

fn alerts(rules: &[Rule]) -> impl Iterator<Item = &Rule> {
    rules.iter().filter(|rule| match rule.kind {
        RuleKind::Alert { .. } => true,
        RuleKind::Recording => false,
    })
}

/// The text of everything in `deploy/prometheus/tests`.
fn scenarios() -> String {
    let files = files(&deploy().join("prometheus/tests"), ".yaml");
    let texts = files.iter().map(|file| fs::read_to_string(file).unwrap());
    texts.collect()
}

#[test]
fn promtool_accepts_the_configuration_and_the_rules() {
    promtool(&["check", "config", "prometheus.yaml"], "");
    let files = files(&deploy().join("prometheus/rules"), ".yaml");
    let files = files.iter().map(|file| file.to_str().unwrap());
    let lint = ["check", "rules", "--lint=all", "--lint-fatal"];
    promtool(&lint.into_iter().chain(files).collect::<Vec<_>>(), "");
}

#[test]
fn alerts_fire_when_they_should_and_at_no_other_time() {
    let files = files(&deploy().join("prometheus/tests"), ".yaml");
    let files = files.iter().map(|file| file.to_str().unwrap());
    promtool(
        &["test", "rules"]
            .into_iter()
            .chain(files)
            .collect::<Vec<_>>(),
        "",
    );
}

#[test]
fn each_alert_is_seen_firing_and_seen_quiet_beside_values_that_it_looks_at() {
    let (rules, scenarios) = (rules(), scenarios());
    let quiet = deploy().join("prometheus/tests/quiet.yaml");
    let quiet = fs::read_to_string(quiet).unwrap();
    for alert in alerts(&rules) {
        let firing = format!("alertname=\"{}\",alertstate=\"firing\"", alert.name);
        assert!(scenarios.contains(&firing), "{} never fires", alert.name);
        for metric in metrics_below(&alert.query, &rules) {
            let series = format!("series: '{metric}{{");
            let is_there = quiet.contains(&series);
            assert!(is_there, "quiet.yaml has no {metric} for {}", alert.name);
        }
    }
}

/// What a query reads, through recording rules.
fn metrics_below(query: &str, rules: &[Rule]) -> BTreeSet<String> {
    let names = reads(query).selectors.into_iter().map(|one| one.name);
    names
        .flat_map(|name| match rules.iter().find(|rule| rule.name == name) {
            Some(recorded) => metrics_below(&recorded.query, rules),
            None => BTreeSet::from([name]),
        })
        .collect()
}

#[test]
fn every_query_names_metrics_and_labels_that_there_are() {
    let rules = rules();
    let names = Names::with(&rules);
    let faults = queries(&rules).into_iter().flat_map(|query| {
        let faults = names.faults(&query.text).into_iter();
        faults.map(move |fault| format!("{}: {fault}", query.place))
    });
    let faults: Vec<String> = faults.collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn each_alert_says_what_it_is_how_bad_it_is_and_where_to_read_on() {
    for alert in alerts(&rules()) {
        let RuleKind::Alert {
            labels,
            annotations,
        } = &alert.kind
        else {
            unreachable!("it is an alert")
        };
        let severity = labels["severity"].as_str();
        assert!(
            matches!(severity, Some("critical" | "warning")),
            "{alert:?}"
        );
        for text in ["summary", "description"] {
            assert!(annotations[text].is_string(), "no {text}: {alert:?}");
        }
        let section = format!("docs/runbook.md#{}", alert.name.to_lowercase());
        assert_eq!(annotations["runbook_url"], section, "{alert:?}");
    }
}

#[test]
fn the_runbook_has_a_whole_section_for_each_alert_and_for_nothing_else() {
    let rules = rules();
    let alerts: BTreeSet<&str> = alerts(&rules).map(|alert| alert.name.as_str()).collect();
    let runbook = runbook();
    let sections: BTreeSet<&str> = runbook.iter().map(|one| one.alert.as_str()).collect();
    assert_eq!(alerts, sections);
    for section in &runbook {
        for part in ["Symptom", "Query", "Likely causes", "Action"] {
            let heading = format!("**{part}.**");
            assert!(
                section.text.contains(&heading),
                "{}: no {part}",
                section.alert
            );
        }
        assert_eq!(queries_of(section).len(), 1, "{}", section.alert);
    }
}
