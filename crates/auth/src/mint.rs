//! Making tokens, for the command line, demos and tests. A gateway never makes one.

use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;

use crate::{key, secret::HmacSecret};

/// The claims could not be written as JSON.
#[derive(Debug, thiserror::Error)]
#[error("cannot sign the claims")]
pub struct MintError {
    #[from]
    source: jsonwebtoken::errors::Error,
}

/// A token over `claims`, signed by HS256. Whether they make sense is not judged here.
///
/// # Errors
/// [`MintError`].
pub fn mint(secret: &HmacSecret, claims: &impl Serialize) -> Result<String, MintError> {
    key::install_cryptography();
    let key = EncodingKey::from_secret(secret.as_bytes());
    let header = Header::new(jsonwebtoken::Algorithm::HS256);
    Ok(jsonwebtoken::encode(&header, claims, &key)?)
}
