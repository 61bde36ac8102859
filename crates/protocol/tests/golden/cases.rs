//! Reads the golden frames as `tests/frames/README.md` says.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

/// What a client sends.
#[derive(Deserialize)]
pub(crate) struct Given {
    frame: Option<Value>,
    text: Option<String>,
    #[serde(default)]
    repeat: BTreeMap<String, (String, usize)>,
}

/// A frame that is an action.
#[derive(Deserialize)]
pub(crate) struct Good {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) given: Given,
    means: Value,
}

/// A frame that is refused.
#[derive(Deserialize)]
pub(crate) struct Bad {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) given: Given,
    pub(crate) answer: Value,
    /// Absent when the text is no JSON.
    pub(crate) schema_refuses: Option<bool>,
}

/// A frame of the server.
#[derive(Deserialize)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) frame: Box<RawValue>,
}

impl Given {
    /// The text of the frame.
    pub(crate) fn text(&self) -> String {
        match (&self.frame, &self.text) {
            (Some(frame), None) => frame.to_string(),
            (None, Some(text)) => self.expand(text),
            (Some(_), Some(_)) | (None, None) => panic!("a case has either a frame or a text"),
        }
    }

    /// `text` with every mark replaced.
    fn expand(&self, text: &str) -> String {
        self.repeat
            .iter()
            .fold(text.to_owned(), |text, (mark, (piece, times))| {
                text.replace(mark.as_str(), &piece.repeat(*times))
            })
    }
}

impl Good {
    /// The action in its canonical form.
    pub(crate) fn means(&self) -> Value {
        serde_json::from_str(&self.given.expand(&self.means.to_string())).unwrap()
    }
}

/// All cases of all files of a folder of `tests/frames`.
pub(crate) fn folder<T: DeserializeOwned>(name: &str) -> Vec<T> {
    files(name).into_values().flatten().collect()
}

/// The cases of each file of a folder, by the file's name without its extension.
pub(crate) fn files<T: DeserializeOwned>(name: &str) -> BTreeMap<String, Vec<T>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/frames")
        .join(name);
    let mut found = BTreeMap::new();
    for file in fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let cases = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        found.insert(
            path.file_stem().unwrap().to_str().unwrap().to_owned(),
            cases,
        );
    }
    assert!(!found.is_empty(), "{folder:?} holds no cases");
    found
}

/// Takes the blanks between tokens out, and nothing else.
pub(crate) fn compact(json: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    json.chars()
        .filter(|&c| {
            let kept = inside || !c.is_ascii_whitespace();
            if c == '"' && !escaped {
                inside = !inside;
            }
            escaped = inside && c == '\\' && !escaped;
            kept
        })
        .collect()
}
