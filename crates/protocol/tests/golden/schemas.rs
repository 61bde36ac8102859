//! The published schemas: as generated, and true of every golden frame.

use std::{fs, path::Path};

use jsonschema::Validator;
use parlance_protocol::schema;
use serde_json::{Value, json};

use crate::cases::{Bad, Event, Good, folder};

fn published(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema");
    fs::read_to_string(folder.join(file)).unwrap()
}

fn validator(file: &str) -> Validator {
    let schema = serde_json::from_str(&published(file)).unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
}

#[test]
fn the_published_schemas_are_those_of_the_types() {
    let command = "run: cargo run -p parlance-protocol --example schema";
    let same = published("client-actions.schema.json") == schema::client_actions();
    assert!(same, "client-actions.schema.json is out of date; {command}");
    let same = published("server-frames.schema.json") == schema::server_frames();
    assert!(same, "server-frames.schema.json is out of date; {command}");
}

#[test]
fn every_good_action_fits_the_schema_as_sent_and_as_meant() {
    let actions = validator("client-actions.schema.json");
    for case in folder::<Good>("actions/good") {
        // Deeper than a reader into values goes: only the parser is asked.
        if let Ok(sent) = serde_json::from_str(&case.given.text()) {
            assert!(actions.is_valid(&sent), "{}", case.name);
        }
        assert!(actions.is_valid(&case.means()), "{}", case.name);
    }
}

#[test]
fn bad_actions_that_a_schema_can_tell_do_not_fit_it() {
    let actions = validator("client-actions.schema.json");
    for case in folder::<Bad>("actions/bad") {
        let json = serde_json::from_str::<Value>(&case.given.text());
        let refused = json.ok().map(|json| !actions.is_valid(&json));
        assert_eq!(refused, case.schema_refuses, "{}", case.name);
    }
}

#[test]
fn every_event_fits_the_schema_and_no_longer_without_any_of_its_fields_or_with_another_type() {
    let frames = validator("server-frames.schema.json");
    let optional = ["retry_after_ms", "has_more_after", "request_id", "local_id"];
    for case in ["events/base", "events/extended"]
        .into_iter()
        .flat_map(folder::<Event>)
    {
        let frame: Value = serde_json::from_str(case.frame.get()).unwrap();
        assert!(frames.is_valid(&frame), "{}", case.name);
        for key in frame.as_object().unwrap().keys() {
            let mut other = frame.clone();
            other[key] = json!([false]);
            assert!(
                !frames.is_valid(&other),
                "{}: {key} of another type",
                case.name
            );

            let may_miss = optional.contains(&key.as_str()) && frame["type"] != "message.failed";
            let mut without = frame.clone();
            without.as_object_mut().unwrap().remove(key);
            let fits = frames.is_valid(&without);
            let missing = may_miss || key == "retry_after_ms";
            assert_eq!(fits, missing, "{} without {key}", case.name);
        }
    }
}
