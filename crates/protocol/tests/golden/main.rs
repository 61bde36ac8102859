//! The golden frames of `tests/frames/`, run against this crate and against the published schemas.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod cases;
mod schemas;

use std::collections::BTreeSet;

use cases::{Bad, Event, Good, compact, folder};
use parlance_protocol::{ConversationId, Refusal, ServerFrame, limits, parse_action};
use serde_json::{Value, json};

fn parse(text: &str) -> Result<parlance_protocol::Action<'_>, Refusal<'_>> {
    let conversation = ConversationId::new("123").unwrap();
    parse_action(text, &conversation, limits::CONTENT_BYTES)
}

#[test]
fn every_good_action_means_what_is_written_next_to_it() {
    for case in folder::<Good>("actions/good") {
        let text = case.given.text();
        let action = parse(&text).unwrap_or_else(|refusal| panic!("{}: {refusal:?}", case.name));
        let meant: Value = serde_json::from_str(&action.encode()).unwrap();
        assert_eq!(meant, case.means(), "{}", case.name);
    }
}

#[test]
fn every_bad_action_gets_the_answer_written_next_to_it() {
    for case in folder::<Bad>("actions/bad") {
        let text = case.given.text();
        let refusal = match parse(&text) {
            Ok(action) => panic!("{} was parsed as {action:?}", case.name),
            Err(refusal) => refusal,
        };
        let mut answer: Value = serde_json::from_slice(&refusal.to_frame().encode()).unwrap();
        let error = answer.as_object_mut().unwrap().remove("error").unwrap();
        assert_eq!(answer, case.answer, "{}: {error}", case.name);
        let words = error.as_str().unwrap();
        assert!(
            words.contains(' ') && words.len() < 400,
            "{}: {words}",
            case.name
        );
    }
}

#[test]
fn every_event_is_read_and_written_without_a_byte_changed() {
    for case in ["events/base", "events/extended"]
        .into_iter()
        .flat_map(folder::<Event>)
    {
        let text = compact(case.frame.get());
        let frame: ServerFrame<'_> = serde_json::from_str(&text).unwrap();
        assert_eq!(frame.encode(), text, "{}", case.name);
    }
}

#[test]
fn every_variant_of_an_event_has_its_file_and_every_error_code_its_case() {
    let schema: Value = serde_json::from_str(&parlance_protocol::schema::server_frames()).unwrap();
    let variants = schema["oneOf"].as_array().unwrap().iter();
    let defined: BTreeSet<String> = variants
        .map(|variant| {
            variant["properties"]["type"]["const"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let mut present = BTreeSet::new();
    for layer in ["events/base", "events/extended"] {
        for (stem, cases) in cases::files::<Event>(layer) {
            for case in cases {
                let frame: Value = serde_json::from_str(case.frame.get()).unwrap();
                assert_eq!(frame["type"], json!(stem), "{}", case.name);
            }
            present.insert(stem);
        }
    }
    assert_eq!(present, defined);

    let codes = schema["$defs"]["ErrorCode"]["oneOf"]
        .as_array()
        .unwrap()
        .len();
    let of_errors = cases::files::<Event>("events/base")
        .remove("error")
        .unwrap();
    let told: BTreeSet<String> = of_errors
        .iter()
        .map(|case| serde_json::from_str::<Value>(case.frame.get()).unwrap()["code"].to_string())
        .collect();
    assert_eq!(told.len(), codes);
}

#[test]
fn every_example_in_the_docs_is_a_frame_as_it_stands_on_the_wire() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut shown = BTreeSet::new();
    let blocks = page.split("```json\n").skip(1);
    for line in blocks.flat_map(|block| block.split("```").next().unwrap().lines()) {
        let json: Value = serde_json::from_str(line).unwrap();
        if json.get("action").is_some() && json.get("type").is_none() {
            let parsed = parse(line).unwrap_or_else(|refusal| panic!("{line}: {refusal:?}"));
            shown.insert(parsed.name().to_owned());
        } else {
            let frame: ServerFrame<'_> = serde_json::from_str(line).unwrap();
            assert_eq!(frame.encode(), line);
            shown.insert(json["type"].as_str().unwrap().to_owned());
        }
    }
    let missing: Vec<String> = ["actions/good", "events/base", "events/extended"]
        .into_iter()
        .flat_map(|folder| cases::files::<Value>(folder).into_keys())
        .filter(|name| !shown.contains(name))
        .collect();
    assert!(missing.is_empty(), "without an example: {missing:?}");
}
