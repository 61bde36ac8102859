//! One field of an action: what its JSON text means, or why it is refused.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{ErrorCode, LocalId, MessageId, RequestId, TraceParent, limits};

/// Most bytes of a client's value that an error sentence repeats.
const SHOWN_BYTES: usize = 64;

/// Why a field is refused; the action's name and `local_id` are added by the caller.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) code: ErrorCode,
    pub(crate) error: Cow<'static, str>,
}

impl Fault {
    pub(crate) fn new(code: ErrorCode, error: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            error: error.into(),
        }
    }

    pub(crate) fn field(error: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidField, error)
    }
}

/// A field as it was given: `None` when it is absent or null.
pub(crate) type Given<'a> = Option<&'a RawValue>;

/// The text of a JSON string; `None` for any other type.
pub(crate) fn text(raw: &RawValue) -> Result<Option<Cow<'_, str>>, Fault> {
    let json = raw.get();
    let Some(inside) = json
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return Ok(None);
    };
    // A raw value was checked to be JSON: without a backslash it stands for itself.
    if !inside.contains('\\') {
        return Ok(Some(Cow::Borrowed(inside)));
    }
    match serde_json::from_str(json) {
        Ok(unescaped) => Ok(Some(Cow::Owned(unescaped))),
        Err(error) => Err(Fault::new(
            ErrorCode::InvalidJson,
            format!("the string {} holds no text: {error}", shown(json)),
        )),
    }
}

/// What a message says: 1 to `limit_bytes` bytes.
pub(crate) fn content(given: Given<'_>, limit_bytes: usize) -> Result<Cow<'_, str>, Fault> {
    let right = || format!("give a string of 1 to {limit_bytes} bytes");
    let Some(raw) = given else {
        return Err(Fault::field(format!("content is missing; {}", right())));
    };
    let Some(content) = text(raw)? else {
        let error = format!("content is {}; {}", kind(raw), right());
        return Err(Fault::field(error));
    };
    if content.is_empty() {
        let error = format!("content is empty; {}", right());
        return Err(Fault::new(ErrorCode::InvalidContent, error));
    }
    if content.len() > limit_bytes {
        let error = format!("content has {} bytes; {}", content.len(), right());
        return Err(Fault::new(ErrorCode::ContentTooLong, error));
    }
    Ok(content)
}

/// The client's own name for what it asks.
pub(crate) fn local_id(given: Given<'_>) -> Result<Option<LocalId>, Fault> {
    let Some(raw) = given else { return Ok(None) };
    let id = text(raw)?.and_then(|text| LocalId::new(&text).ok());
    id.map(Some).ok_or_else(|| {
        let right = "give a string of 1 to 128 bytes, or leave it out";
        let error = format!("local_id is {}; {right}", shown(raw.get()));
        Fault::new(ErrorCode::InvalidLocalId, error)
    })
}

/// A message id that must be there.
pub(crate) fn message_id(name: &str, given: Given<'_>) -> Result<MessageId, Fault> {
    let raw = given.ok_or_else(|| {
        Fault::field(format!(
            "{name} is missing; give a message id such as \"456\""
        ))
    })?;
    id(name, raw)
}

/// The ids of a `read`: 1 to 500.
pub(crate) fn message_ids(given: Given<'_>) -> Result<Vec<MessageId>, Fault> {
    const RIGHT: &str = "give a list of 1 to 500 message ids such as [\"456\"]";
    let raw = given.ok_or_else(|| Fault::field(format!("message_ids is missing; {RIGHT}")))?;
    let listed: Vec<&RawValue> = serde_json::from_str(raw.get())
        .map_err(|_| Fault::field(format!("message_ids is {}; {RIGHT}", shown(raw.get()))))?;
    if !(1..=limits::READ_IDS).contains(&listed.len()) {
        let error = format!("message_ids has {} ids; {RIGHT}", listed.len());
        return Err(Fault::field(error));
    }
    listed
        .into_iter()
        .map(|raw| id("an id of message_ids", raw))
        .collect()
}

/// A canonical decimal string or a JSON integer, below 2^53.
pub(crate) fn id(name: &str, raw: &RawValue) -> Result<MessageId, Fault> {
    let text = text(raw)?;
    let digits = text.as_deref().unwrap_or(raw.get());
    MessageId::parse(digits).ok_or_else(|| {
        let right = "give a decimal number below 2^53 without leading zeros, such as \"456\"";
        Fault::field(format!("{name} is {}; {right}", shown(raw.get())))
    })
}

/// The trace that an action belongs to; one that is malformed is none.
pub(crate) fn traceparent(given: Given<'_>) -> Option<TraceParent> {
    let text = text(given?).ok()??;
    TraceParent::parse(&text)
}

/// A boolean that may be left out.
pub(crate) fn flag(name: &str, given: Given<'_>) -> Result<Option<bool>, Fault> {
    match given.map(RawValue::get) {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(json) => {
            let error = format!("{name} is {}; give true or false", shown(json));
            Err(Fault::field(error))
        }
    }
}

/// A page size of any magnitude, clamped.
pub(crate) fn limit(given: Given<'_>) -> Result<u8, Fault> {
    let Some(raw) = given else {
        return Ok(limits::PAGE_DEFAULT);
    };
    let (negative, digits) = match raw.get().strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, raw.get()),
    };
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        let error = format!(
            "limit is {}; give an integer from 1 to 100",
            shown(raw.get())
        );
        return Err(Fault::field(error));
    }
    if negative {
        return Ok(1);
    }
    // Digits that do not fit are more than the largest page.
    Ok(digits
        .parse()
        .unwrap_or(limits::PAGE_MAX)
        .clamp(1, limits::PAGE_MAX))
}

/// A string or number that is echoed.
pub(crate) fn request_id(given: Given<'_>) -> Result<Option<RequestId>, Fault> {
    let Some(raw) = given else { return Ok(None) };
    let id = RequestId::of_json(raw, text(raw)?.as_deref());
    id.map(Some).ok_or_else(|| {
        let right = "give a string or a number of at most 128 bytes";
        Fault::field(format!("request_id is {}; {right}", shown(raw.get())))
    })
}

/// A JWT. Its text is in no error.
pub(crate) fn token(given: Given<'_>) -> Result<Cow<'_, str>, Fault> {
    let Some(raw) = given else {
        return Err(Fault::field("token is missing; give a JWT as a string"));
    };
    text(raw)?
        .ok_or_else(|| Fault::field(format!("token is {}; give a JWT as a string", kind(raw))))
}

/// The beginning of a client's value, cut at a character.
pub(crate) fn shown(value: &str) -> Cow<'_, str> {
    if value.len() <= SHOWN_BYTES {
        return Cow::Borrowed(value);
    }
    let cut = value.floor_char_boundary(SHOWN_BYTES);
    Cow::Owned(format!("{}…", &value[..cut]))
}

/// The JSON type, in words.
fn kind(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b't' | b'f') => "a boolean",
        _ => "a number",
    }
}
