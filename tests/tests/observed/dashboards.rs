//! Dashboards: that Grafana can show them, and that their reader knows what they show.

use std::{collections::BTreeSet, process::Command};

use serde_json::{Value, json};

use crate::{given::dashboards, prometheus::deploy};

const COLUMNS: u64 = 24;

fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().unwrap()
}

/// Those that show something; the others are headings.
fn showing(dashboard: &Value) -> impl Iterator<Item = &Value> {
    panels(dashboard)
        .iter()
        .filter(|panel| panel["type"] != "row")
}

fn targets(panel: &Value) -> &Vec<Value> {
    panel["targets"].as_array().unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    let text = value[key].as_str();
    text.filter(|text| !text.is_empty())
        .unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[test]
fn the_files_are_what_the_script_writes() {
    let script = deploy().join("grafana/dashboards.py");
    let ended = Command::new("python3").arg(script).arg("--check").output();
    let ended = ended.expect("python3 is installed; `make tools` does it");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
}

#[test]
fn dashboards_and_panels_are_told_apart() {
    let dashboards = dashboards();
    let uids: BTreeSet<&str> = dashboards.iter().map(|(_, one)| text(one, "uid")).collect();
    assert_eq!(uids.len(), dashboards.len());
    for (file, dashboard) in &dashboards {
        assert_eq!(dashboard["schemaVersion"], 39, "{file}");
        let ids: BTreeSet<u64> = panels(dashboard)
            .iter()
            .map(|panel| panel["id"].as_u64().unwrap())
            .collect();
        assert_eq!(ids.len(), panels(dashboard).len(), "{file}");
        for panel in showing(dashboard) {
            let letters: BTreeSet<&str> = targets(panel)
                .iter()
                .map(|target| text(target, "refId"))
                .collect();
            assert_eq!(letters.len(), targets(panel).len(), "{file}: {panel}");
        }
    }
}

#[test]
fn no_panel_covers_another_one_or_reaches_over_the_edge() {
    for (file, dashboard) in dashboards() {
        let mut taken = BTreeSet::new();
        for panel in panels(&dashboard) {
            let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            let (left, right) = (place("x"), place("x") + place("w"));
            assert!(left < right && right <= COLUMNS, "{file}: {panel}");
            assert!(place("h") > 0, "{file}: {panel}");
            for y in place("y")..place("y") + place("h") {
                let is_free = (left..right).all(|x| taken.insert((x, y)));
                assert!(is_free, "{file}: something is below {}", panel["title"]);
            }
        }
    }
}

#[test]
fn whose_data_is_shown_is_chosen_above_the_dashboard() {
    let chosen = json!({"type": "prometheus", "uid": "${datasource}"});
    for (file, dashboard) in dashboards() {
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        let names: Vec<&str> = variables.iter().map(|one| text(one, "name")).collect();
        assert_eq!(names[..2], ["datasource", "namespace"], "{file}");
        for variable in &variables[1..] {
            assert_eq!(variable["datasource"], chosen, "{file}: {variable}");
        }
        for panel in showing(&dashboard) {
            assert_eq!(panel["datasource"], chosen, "{file}: {panel}");
            for target in targets(panel) {
                assert_eq!(target["datasource"], chosen, "{file}: {target}");
                let asks_for_instance = text(target, "expr").contains("$instance");
                let has_it = names.contains(&"instance");
                assert!(has_it || !asks_for_instance, "{file}: {target}");
            }
        }
    }
}

#[test]
fn each_panel_says_what_it_shows_and_in_which_unit() {
    for (file, dashboard) in dashboards() {
        for panel in showing(&dashboard) {
            text(panel, "title");
            text(&panel["fieldConfig"]["defaults"], "unit");
            assert!(text(panel, "description").ends_with('.'), "{file}: {panel}");
            assert!(!targets(panel).is_empty(), "{file}: {panel}");
            let legends = targets(panel).iter().map(|one| text(one, "legendFormat"));
            assert_eq!(legends.count(), targets(panel).len());
        }
    }
}
