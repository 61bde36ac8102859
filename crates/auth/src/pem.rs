//! A public key in a PEM file.

use jsonwebtoken::{DecodingKey, errors::Error};

use crate::{
    algorithm::KeyKind,
    key::{Key, Unusable},
};

/// Why a file is not one public key in PEM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PemError {
    #[error("it holds a private key; write the public one with `openssl pkey -pubout`")]
    Private,
    #[error("it holds a certificate; write its key with `openssl x509 -pubkey -noout`")]
    Certificate,
    #[error("it holds {keys} PEM blocks and not one; put several keys into a JWKS file")]
    NotOne { keys: usize },
    #[error("{0}")]
    Unusable(#[from] Unusable),
}

/// # Errors
/// [`PemError`].
pub(crate) fn parse(content: &[u8]) -> Result<Key, PemError> {
    let text = String::from_utf8_lossy(content);
    // Before anything is parsed, so that the words fit the likeliest mistakes.
    if text.contains("PRIVATE KEY-----") {
        return Err(PemError::Private);
    }
    if text.contains("CERTIFICATE-----") {
        return Err(PemError::Certificate);
    }
    let keys = text.matches("-----BEGIN ").count();
    if keys != 1 {
        return Err(PemError::NotOne { keys });
    }
    let (kind, decoding) = by_kind(content).ok_or(Unusable::Kind)?;
    Ok(Key::of_public(kind, decoding)?)
}

/// Each reader takes its own kind only, which it tells by the object identifier in the file.
fn by_kind(content: &[u8]) -> Option<(KeyKind, DecodingKey)> {
    let of = |kind: KeyKind, read: Result<DecodingKey, Error>| Some((kind, read.ok()?));
    of(KeyKind::P256, DecodingKey::from_ec_pem(content))
        .or_else(|| of(KeyKind::Ed25519, DecodingKey::from_ed_pem(content)))
        .or_else(|| of(KeyKind::Rsa, DecodingKey::from_rsa_pem(content)))
}
