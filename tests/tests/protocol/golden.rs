//! The golden frames of what clients send, against the server.

use std::{fs, path::Path};

use parlance_testkit::client::Client;
use serde_json::Value;

use super::support::{join, unlimited};

/// Fewer than the malformed actions that end a connection.
const CASES_PER_CONNECTION: usize = 12;

/// Every case of a folder, with the file that it stands in.
fn cases(folder: &str) -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("frames/actions")
        .join(folder);
    let mut cases = Vec::new();
    for file in fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let list: Vec<Value> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        cases.extend(list.into_iter().map(|case| (name.clone(), case)));
    }
    assert!(
        !cases.is_empty(),
        "no golden frames in {}",
        folder.display()
    );
    cases
}

/// The text frame of a case, with its marks written out.
fn text(case: &Value) -> String {
    let Some(text) = case["text"].as_str() else {
        return case["frame"].to_string();
    };
    let mut text = text.to_owned();
    for (mark, repeat) in case["repeat"].as_object().into_iter().flatten() {
        let times = usize::try_from(repeat[1].as_u64().unwrap()).unwrap();
        text = text.replace(mark, &repeat[0].as_str().unwrap().repeat(times));
    }
    text
}

/// The next answer to an action; what the server says by itself is stepped over.
async fn answer(client: &mut Client, what: &str) -> Value {
    client
        .expect_where(what, |frame| {
            frame["type"] == "error" || frame["type"] == "message.failed"
        })
        .await
}

#[tokio::test]
async fn every_bad_frame_gets_its_answer_and_the_connection_lives() {
    let server = unlimited();
    for some in cases("bad").chunks(CASES_PER_CONNECTION) {
        let mut client = join(&server, "123", "ann").await;
        for (file, case) in some {
            let what = format!("{file}: {}", case["name"]);
            client.send_text(&text(case)).await;
            let mut got = answer(&mut client, &what).await;
            let error = got.as_object_mut().unwrap().remove("error");
            assert!(
                error.is_some_and(|error| !error.as_str().unwrap().is_empty()),
                "{what}"
            );
            assert_eq!(got, case["answer"], "{what}");
        }
        client.fence().await;
    }
}

#[tokio::test]
async fn every_good_frame_is_understood() {
    let server = unlimited();
    for (file, case) in cases("good") {
        let what = format!("{file}: {}", case["name"]);
        if case["means"]["action"] == "auth" {
            continue; // Their tokens are of nobody, and a bad token ends the connection.
        }
        let mut client = join(&server, "123", "ann").await;
        client.send_text(&text(&case)).await;
        for frame in client.fence().await {
            let code = frame["code"].as_str().unwrap_or_default();
            assert!(
                !code.starts_with("invalid") && !code.starts_with("unknown_action"),
                "{what}: {frame}"
            );
        }
    }
}
