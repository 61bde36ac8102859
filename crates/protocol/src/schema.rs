//! Schemas of what clients may write more freely than the server does.
//!
//! The server writes every id as a string and leaves out what is not set; from a client it takes
//! integers as ids and `null` for what is not set. The attributes of [`crate::Action`] name these
//! functions; the parser is held to them by the golden frames.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::{Anchor, limits};

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

/// A boolean that may be left out or null.
pub(crate) fn optional_flag(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["boolean", "null"], "default": false })
}

/// A page size that may be left out or null, of any magnitude: it is clamped.
pub(crate) fn optional_integer(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["integer", "null"], "default": limits::PAGE_DEFAULT })
}

/// Lets the variant be called `heartbeat_ack` too.
pub(crate) fn both_heartbeats(schema: &mut Schema) {
    if let Some(name) = schema.pointer_mut("/properties/action") {
        *name = serde_json::json!({ "enum": ["heartbeat", "heartbeat_ack"] });
    }
}

/// At most one of three fields that are not null.
impl JsonSchema for Anchor {
    fn schema_name() -> Cow<'static, str> {
        "Anchor".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let id = given_id(generator);
        let field = json_schema!({ "anyOf": [id, { "type": "null" }] });
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
