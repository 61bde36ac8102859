//! What a verified token claims, as an [`Identity`].

use parlance_core::{
    identity::{Conversations, Identity},
    ports::Denied,
};
use parlance_protocol::{ConversationId, UnixMicros, UserId, limits};
use serde_json::Value;

use crate::object::Object;

/// How far the clocks of issuer and gateway may be apart, in both directions.
const LEEWAY_SECS: u64 = 30;
/// 9999-12-31T23:59:59Z. A later `exp` counts as this one: it has a timestamp of the usual width,
/// and whoever adds to it in microseconds does not overflow.
const LATEST_EXPIRY_SECS: u64 = 253_402_300_799;
const MICROS_PER_SEC: u64 = 1_000_000;

/// Who must have made the token, and for whom. `None`: not asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expected {
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Option<String>,
}

/// # Errors
/// [`Denied::BadClaim`], [`Denied::Expired`], [`Denied::NotYet`].
pub(crate) fn judge(
    claims: &Object,
    expected: &Expected,
    now: UnixMicros,
) -> Result<Identity, Denied> {
    let expires_at = judge_times(claims, now)?;
    judge_issuer(claims, expected)?;
    judge_audience(claims, expected)?;
    let sub = claims.text("sub").ok_or(Denied::BadClaim)?;
    Ok(Identity {
        user: UserId::new(sub).map_err(|_| Denied::BadClaim)?,
        username: username(claims),
        expires_at,
        conversations: conversations(claims.get("conversations")),
        moderator: claims.text("role") == Some("moderator"),
    })
}

/// Answers with the expiry. All three are read before any is compared: a token with a claim of the
/// wrong type is wrong at any time.
fn judge_times(claims: &Object, now: UnixMicros) -> Result<UnixMicros, Denied> {
    let exp_secs = seconds(claims, "exp")?.ok_or(Denied::BadClaim)?;
    let nbf_secs = seconds(claims, "nbf")?.unwrap_or(0);
    let iat_secs = seconds(claims, "iat")?.unwrap_or(0);
    if now.secs() >= exp_secs + LEEWAY_SECS {
        return Err(Denied::Expired);
    }
    if now.secs() + LEEWAY_SECS < nbf_secs.max(iat_secs) {
        return Err(Denied::NotYet);
    }
    Ok(UnixMicros(
        exp_secs.min(LATEST_EXPIRY_SECS) * MICROS_PER_SEC,
    ))
}

/// A number of seconds since 1970, at least 0 and below 2^53, its fraction cut.
fn seconds(claims: &Object, name: &str) -> Result<Option<u64>, Denied> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => whole_number(value).map(Some).ok_or(Denied::BadClaim),
    }
}

fn whole_number(value: &Value) -> Option<u64> {
    let number = match value.as_u64() {
        Some(number) => number,
        None => cut(value.as_f64()?)?,
    };
    (number < limits::ID_BOUND).then_some(number)
}

/// `None` for what is negative, infinite or no number.
fn cut(number: f64) -> Option<u64> {
    (number >= 0.0 && number.is_finite()).then_some(number as u64)
}

fn judge_issuer(claims: &Object, expected: &Expected) -> Result<(), Denied> {
    match &expected.issuer {
        Some(issuer) if claims.text("iss") != Some(issuer) => Err(Denied::BadClaim),
        Some(_) | None => Ok(()),
    }
}

/// `aud` is one string or a list that holds it.
fn judge_audience(claims: &Object, expected: &Expected) -> Result<(), Denied> {
    let Some(audience) = &expected.audience else {
        return Ok(());
    };
    let named = match claims.get("aud") {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(list)) => list.iter().any(|one| one == audience),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => false,
    };
    if named { Ok(()) } else { Err(Denied::BadClaim) }
}

/// The first that is a string with something in it. `sub` is one, so there always is a name.
fn username(claims: &Object) -> Box<str> {
    ["username", "preferred_username", "name", "sub"]
        .into_iter()
        .filter_map(|name| claims.text(name))
        .find(|text| !text.is_empty())
        .unwrap_or_default()
        .chars()
        .take(limits::USERNAME_CHARS)
        .collect()
}

/// What cannot be the id of a conversation opens none, so it is left out. The list is bounded by
/// the length of a token.
fn conversations(claim: Option<&Value>) -> Conversations {
    match claim {
        Some(Value::String(text)) if text == "*" => Conversations::All,
        Some(Value::Array(list)) => Conversations::Only(
            list.iter()
                .filter_map(Value::as_str)
                .filter_map(|id| ConversationId::new(id).ok())
                .collect(),
        ),
        Some(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_),
        )
        | None => Conversations::Only(Vec::new()),
    }
}
