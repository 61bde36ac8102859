//! The published schemas (JSON Schema 2020-12), generated from the types of the wire.
//!
//! Called by the example `schema`, which writes `docs/schema/`, and by the test that compares. The
//! server writes every id as a string and leaves out what is not set; from a client it takes
//! integers as ids and `null` for what is not set: that is what the helpers below add to
//! [`crate::Action`]. A schema is wider than the parser where it cannot say more: it counts
//! characters instead of bytes, takes `1.0` for an integer and knows no conversation.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Value, json};

use crate::{Action, Anchor, ServerFrame, limits};

/// The schema of what a client sends, as pretty JSON with a line feed at its end.
#[must_use]
pub fn client_actions() -> String {
    pretty::<Action<'static>>(SchemaSettings::draft2020_12().for_deserialize())
}

/// The schema of what the server sends, as pretty JSON with a line feed at its end.
#[must_use]
pub fn server_frames() -> String {
    pretty::<ServerFrame<'static>>(SchemaSettings::draft2020_12().for_serialize())
}

fn pretty<T: JsonSchema>(settings: SchemaSettings) -> String {
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let json = serde_json::to_string_pretty(&schema).expect("a schema holds only strings as keys");
    json + "\n"
}

/// An id: a canonical decimal string, or an integer.
pub(crate) fn given_id(generator: &mut SchemaGenerator) -> Schema {
    let string = generator.subschema_for::<crate::MessageId>();
    json_schema!({
        "anyOf": [string, { "type": "integer", "minimum": 0, "exclusiveMaximum": limits::ID_BOUND }]
    })
}

/// The ids of a `read`.
pub(crate) fn given_ids(generator: &mut SchemaGenerator) -> Schema {
    let id = given_id(generator);
    json_schema!({ "type": "array", "items": id, "minItems": 1, "maxItems": limits::READ_IDS })
}

/// A message's content. The limit is in bytes: a schema can only count characters, which are fewer.
pub(crate) fn content(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "maxLength": limits::CONTENT_BYTES })
}

/// A boolean that may be null.
pub(crate) fn flag_or_null(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["boolean", "null"] })
}

/// The page size when none is given.
pub(crate) const fn page_default() -> u8 {
    limits::PAGE_DEFAULT
}

/// A page size of any magnitude (it is clamped), or null.
pub(crate) fn integer_or_null(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["integer", "null"] })
}

/// Lets the variant be called `heartbeat_ack` too.
pub(crate) fn both_heartbeats(schema: &mut Schema) {
    if let Some(name) = schema.pointer_mut("/properties/action") {
        *name = json!({ "enum": ["heartbeat", "heartbeat_ack"] });
    }
}

/// Adds `conversation_id` to every action: the parser only compares it, so no variant holds it.
pub(crate) fn with_conversation(schema: &mut Schema) {
    let actions = schema.get_mut("oneOf").and_then(Value::as_array_mut);
    for action in actions.into_iter().flatten() {
        let is_heartbeat = action.pointer("/properties/action/enum").is_some();
        if let Some(Value::Object(fields)) = action.get_mut("properties")
            && !is_heartbeat
        {
            let what = "The one of the URL, or left out.";
            let field = json!({ "description": what, "type": ["string", "null"] });
            fields.insert("conversation_id".to_owned(), field);
        }
    }
}

/// At most one of three fields that are not null.
impl JsonSchema for Anchor {
    fn schema_name() -> Cow<'static, str> {
        "Anchor".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let field = json_schema!({ "anyOf": [given_id(generator), { "type": "null" }] });
        json_schema!({
            "type": "object",
            "properties": { "before_id": field, "after_id": field, "around_id": field },
            "allOf": [
                not_both("before_id", "after_id"),
                not_both("before_id", "around_id"),
                not_both("after_id", "around_id")
            ]
        })
    }
}

fn not_both(one: &str, other: &str) -> Schema {
    let given = json_schema!({ "not": { "type": "null" } });
    json_schema!({
        "not": { "required": [one, other], "properties": { one: given, other: given } }
    })
}
