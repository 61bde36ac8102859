//! Reading what scripts answer.

use redis::Value;

use crate::link::CallError;

/// A text.
pub(crate) fn text(value: Value) -> Result<String, CallError> {
    let bytes = bytes(value)?;
    String::from_utf8(bytes).map_err(|_| unexpected("bytes that are no text"))
}

/// Bytes.
pub(crate) fn bytes(value: Value) -> Result<Vec<u8>, CallError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        other => Err(unexpected(&format!("{other:?}"))),
    }
}

/// A list, or a single text where the script has one for a special case.
pub(crate) fn list(value: Value) -> Result<Vec<Value>, CallError> {
    match value {
        Value::Array(values) => Ok(values),
        other => Err(unexpected(&format!("{other:?}"))),
    }
}

/// A list of texts.
pub(crate) fn texts(value: Value) -> Result<Vec<String>, CallError> {
    list(value)?.into_iter().map(text).collect()
}

/// What a script wants done before it does its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// The partition's epoch has to be opened.
    Epoch,
    /// The conversation's mark has to be set in this epoch.
    Mark(u32),
}

/// Tells a need from an answer.
pub(crate) fn need(value: &Value) -> Option<Need> {
    let Value::BulkString(bytes) = value else {
        return None;
    };
    match bytes.split_first() {
        Some((b'E', [])) => Some(Need::Epoch),
        Some((b'B', epoch)) => {
            let epoch = std::str::from_utf8(epoch).ok()?.parse().ok()?;
            Some(Need::Mark(epoch))
        }
        Some(_) | None => None,
    }
}

pub(crate) fn unexpected(what: &str) -> CallError {
    CallError::Refused(format!("an answer that no script gives: {what:.100}").into())
}
