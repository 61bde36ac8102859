//! A client's own name for a request for history: kept as JSON text, so that it is echoed as it came.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::value::{RawValue, to_raw_value};

use crate::limits;

/// A JSON string or number of at most 128 bytes (a string's are counted without its escapes).
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct RequestId(Box<RawValue>);

impl RequestId {
    /// Takes the JSON text that a client gave. `None` for any other type and when it is too long.
    pub(crate) fn of_json(json: &RawValue, text: Option<&str>) -> Option<Self> {
        let is_number = json
            .get()
            .starts_with(|c: char| c == '-' || c.is_ascii_digit());
        let measured = text.or_else(|| is_number.then(|| json.get()))?;
        (measured.len() <= limits::REQUEST_ID_BYTES).then(|| Self(json.to_owned()))
    }

    /// The JSON text: with quotes and escapes if it is a string.
    #[must_use]
    pub fn json(&self) -> &str {
        self.0.get()
    }
}

/// Equal as JSON text.
impl PartialEq for RequestId {
    fn eq(&self, other: &Self) -> bool {
        self.json() == other.json()
    }
}

impl From<&str> for RequestId {
    fn from(text: &str) -> Self {
        Self(to_raw_value(text).expect("a string is always JSON"))
    }
}

impl From<u64> for RequestId {
    fn from(number: u64) -> Self {
        Self(to_raw_value(&number).expect("a whole number is always JSON"))
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StringOrNumber)
    }
}

/// Goes by values, not by text: frames are decoded from a buffered form that has no text left.
struct StringOrNumber;

impl de::Visitor<'_> for StringOrNumber {
    type Value = RequestId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a number")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RequestId, E> {
        Ok(text.into())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<RequestId, E> {
        Ok(number.into())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<RequestId, E> {
        to_raw_value(&number).map(RequestId).map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<RequestId, E> {
        to_raw_value(&number).map(RequestId).map_err(E::custom)
    }
}

impl schemars::JsonSchema for RequestId {
    fn schema_name() -> Cow<'static, str> {
        "RequestId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "number"],
            "maxLength": limits::REQUEST_ID_BYTES,
            "description": "a client's own name for a request: at most 128 bytes"
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{Action, ConversationId, ServerFrame, limits, parse_action};

    #[test]
    fn a_request_id_is_echoed_byte_by_byte() {
        let conversation = ConversationId::new("123").unwrap();
        let given = [
            "1.50",
            "1e400",
            "-0",
            "123456789012345678901234567890",
            r#""\u0061\/\"""#,
        ];
        for json in given {
            let text = format!(r#"{{"action":"fetch_messages","request_id":{json} }}"#);
            let action = parse_action(&text, &conversation, limits::CONTENT_BYTES).unwrap();
            let Action::FetchMessages { request_id, .. } = action else {
                panic!("a fetch was parsed as {action:?}");
            };
            let page = ServerFrame::MessagesFetched {
                conversation_id: "123".into(),
                messages: Vec::new(),
                has_more: false,
                has_more_after: None,
                request_id,
            };
            let answer = page.encode();
            let end = format!(r#""request_id":{json}}}"#);
            assert!(answer.ends_with(end.as_bytes()), "{json}: {answer:?}");
        }
    }
}
