//! Reading what scripts answer.

use redis::Value;

use crate::link::{CallError, error_of};

/// A text.
pub(crate) fn text(value: Value) -> Result<String, CallError> {
    let bytes = bytes(value)?;
    String::from_utf8(bytes).map_err(|_| unexpected("bytes that are no text"))
}

/// Bytes.
pub(crate) fn bytes(value: Value) -> Result<Vec<u8>, CallError> {
    if let Value::BulkString(bytes) = value {
        return Ok(bytes);
    }
    Err(unexpected(&format!("{value:?}")))
}

/// A list.
pub(crate) fn list(value: Value) -> Result<Vec<Value>, CallError> {
    if let Value::Array(values) = value {
        return Ok(values);
    }
    Err(unexpected(&format!("{value:?}")))
}

/// A list of `count` parts, which are answers of their own, errors among them.
pub(crate) fn each(value: Value, count: usize) -> Result<Vec<Result<Value, CallError>>, CallError> {
    let parts = list(value)?;
    if parts.len() != count {
        return Err(unexpected(&format!("{} parts, not {count}", parts.len())));
    }
    let one = |value: Value| value.extract_error().map_err(error_of);
    Ok(parts.into_iter().map(one).collect())
}

/// A whole number.
pub(crate) fn number(value: &Value) -> Option<i64> {
    let Value::Int(number) = value else {
        return None;
    };
    Some(*number)
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
    /// The conversation's mark has to be set.
    Mark {
        /// In this epoch.
        epoch: u32,
        /// When that was found, by the server's clock.
        found_ms: u64,
    },
}

/// Tells a need from an answer.
pub(crate) fn need(value: &Value) -> Option<Need> {
    let Value::BulkString(bytes) = value else {
        return None;
    };
    match bytes.split_first() {
        Some((b'E', [])) => Some(Need::Epoch),
        Some((b'B', epoch)) => {
            let (epoch, found_ms) = std::str::from_utf8(epoch).ok()?.split_once(' ')?;
            Some(Need::Mark {
                epoch: epoch.parse().ok()?,
                found_ms: found_ms.parse().ok()?,
            })
        }
        Some(_) | None => None,
    }
}

pub(crate) fn unexpected(what: &str) -> CallError {
    CallError::Refused(format!("an answer that no script gives: {what:.100}").into())
}
