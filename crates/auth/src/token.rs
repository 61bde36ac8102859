//! A token taken apart: three parts, and a header that is accepted.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use parlance_core::ports::Denied;
use serde_json::Value;

use crate::{algorithm::Algorithm, object::Object};

/// A longer token is refused unread. Through HTTP none can come; by the `auth` action it could.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// A token of the right form. Nothing about it is verified.
pub(crate) struct Token<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
    /// What the signature is over.
    pub(crate) signed: &'a str,
    /// Still encoded, so that nobody reads them before the signature was checked.
    encoded_claims: &'a str,
    /// Still encoded: the library wants it so.
    pub(crate) signature: &'a str,
}

impl<'a> Token<'a> {
    pub(crate) fn parse(token: &'a str) -> Result<Self, Denied> {
        if token.is_empty() {
            return Err(Denied::Missing);
        }
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Denied::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Denied::Malformed)?;
        let (encoded_header, encoded_claims) = signed.split_once('.').ok_or(Denied::Malformed)?;
        if encoded_claims.contains('.') {
            return Err(Denied::Malformed);
        }
        let header = decode(encoded_header)?;
        // It lists what must be understood, and nothing that it may list is.
        if header.get("crit").is_some() {
            return Err(Denied::Malformed);
        }
        Ok(Self {
            algorithm: algorithm(&header)?,
            kid: kid(&header)?,
            signed,
            encoded_claims,
            signature,
        })
    }

    /// To be called once the signature was found right.
    pub(crate) fn claims(&self) -> Result<Object, Denied> {
        decode(self.encoded_claims)
    }
}

fn decode(part: &str) -> Result<Object, Denied> {
    let json = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| Denied::Malformed)?;
    Object::parse(&json).ok_or(Denied::Malformed)
}

fn algorithm(header: &Object) -> Result<Algorithm, Denied> {
    let name = header.text("alg").ok_or(Denied::Malformed)?;
    name.parse().map_err(|_| Denied::Malformed)
}

fn kid(header: &Object) -> Result<Option<String>, Denied> {
    match header.get("kid") {
        None => Ok(None),
        Some(Value::String(kid)) => Ok(Some(kid.clone())),
        Some(_) => Err(Denied::Malformed),
    }
}
