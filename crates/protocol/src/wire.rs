//! How ids, positions and instants stand in JSON: as strings.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::{LocalId, MessageId, Position, UnixMicros, limits, timestamp::TEXT_BYTES};

macro_rules! as_string {
    ($type:ty, $parse:expr, $pattern:expr, $what:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'_, str>::deserialize(deserializer)?;
                let parse: fn(&str) -> Option<$type> = $parse;
                parse(&text).ok_or_else(|| D::Error::custom(concat!("expected ", $what)))
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern, "description": $what })
            }
        }
    };
}

as_string!(
    MessageId,
    MessageId::parse,
    "^(0|[1-9][0-9]{0,15})$",
    "a decimal message id below 2^53"
);
as_string!(
    Position,
    Position::parse,
    "^(0|[1-9][0-9]{0,15})(-[1-9][0-9]{0,9})?$",
    "a position: N, or N-k for the k-th other durable event after message N"
);
as_string!(
    UnixMicros,
    UnixMicros::parse,
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$",
    "an RFC 3339 timestamp, UTC, milliseconds"
);

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(itoa::Buffer::new().format(self.get()))
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.k {
            0 => self.id.serialize(serializer),
            _ => serializer.collect_str(self),
        }
    }
}

impl Serialize for UnixMicros {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text(&mut [0; TEXT_BYTES]))
    }
}

impl Serialize for LocalId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The limit is in bytes: a schema can only count characters, which are fewer.
impl schemars::JsonSchema for LocalId {
    fn schema_name() -> Cow<'static, str> {
        "LocalId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": limits::LOCAL_ID_BYTES,
            "description": "a client's own name for a message: 1 to 128 bytes"
        })
    }
}
