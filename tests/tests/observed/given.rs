//! Every query that operators are given, and where it stands.

use std::fs;

use serde_json::Value;

use crate::{
    expressions::{filled_in, operands},
    prometheus::{Rule, RuleKind, deploy, files},
};

/// A query, and where it stands.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) place: String,
    pub(crate) text: String,
}

/// An alert's section of the runbook.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) alert: String,
    pub(crate) text: String,
}

/// A dashboard with the name of its file.
pub(crate) fn dashboards() -> Vec<(String, Value)> {
    let read = |file: std::path::PathBuf| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(file).unwrap();
        (name, serde_json::from_str(&text).unwrap())
    };
    let files = files(&deploy().join("grafana"), ".json");
    files.into_iter().map(read).collect()
}

/// Sections that a heading of the third order begins.
pub(crate) fn runbook() -> Vec<Section> {
    let page = fs::read_to_string(deploy().join("../docs/runbook.md")).unwrap();
    let below = page.split("\n### ").skip(1);
    let section = |text: &str| {
        let (alert, text) = text.split_once('\n').unwrap();
        let text = text.split("\n## ").next().unwrap();
        Section {
            alert: alert.to_owned(),
            text: text.to_owned(),
        }
    };
    below.map(section).collect()
}

/// The queries of a section.
pub(crate) fn queries_of(section: &Section) -> Vec<Query> {
    let blocks = section.text.split("```promql\n").skip(1);
    let query = |block: &str| Query {
        place: format!("the runbook's {}", section.alert),
        text: block.split("\n```").next().unwrap().to_owned(),
    };
    blocks.map(query).collect()
}

/// Of rules as they are, of dashboards with something for each variable, of the runbook.
pub(crate) fn queries(rules: &[Rule]) -> Vec<Query> {
    let of_rules = rules.iter().map(|rule| Query {
        place: rule.name.clone(),
        text: rule.query.clone(),
    });
    let mut queries: Vec<Query> = of_rules.collect();
    for (file, dashboard) in dashboards() {
        for panel in dashboard["panels"].as_array().unwrap() {
            queries.extend(queries_of_panel(&file, panel));
        }
    }
    queries.extend(runbook().iter().flat_map(queries_of));
    queries
}

/// The same, and of alerts only the parts that have to answer while all is well.
pub(crate) fn answered_while_all_is_well(rules: &[Rule]) -> Vec<Query> {
    let alerts = rules.iter().filter(|rule| match rule.kind {
        RuleKind::Alert { .. } => true,
        RuleKind::Recording => false,
    });
    let names: Vec<&str> = alerts.clone().map(|rule| rule.name.as_str()).collect();
    let parts = alerts.flat_map(|rule| {
        let place = rule.name.clone();
        operands(&rule.query).into_iter().map(move |text| Query {
            place: place.clone(),
            text,
        })
    });
    let mut queries = queries(rules);
    queries.retain(|query| !names.contains(&query.place.as_str()));
    queries.extend(parts);
    queries
}

fn queries_of_panel(file: &str, panel: &Value) -> Vec<Query> {
    let title = &panel["title"];
    let targets = panel["targets"].as_array().into_iter().flatten();
    let query = |target: &Value| Query {
        place: format!("{file}, {title}"),
        text: filled_in(target["expr"].as_str().unwrap()),
    };
    targets.map(query).collect()
}
