//! Public keys in a JWKS file (RFC 7517).
//!
//! Such a file comes from an identity provider and may hold keys for other purposes: what cannot be
//! used here is left out with its reason, and only a file without any usable key is an error.
//! Symmetric keys are left out as well, since these files are made to be published.

use jsonwebtoken::{
    DecodingKey,
    jwk::{
        AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations,
        PublicKeyUse,
    },
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    algorithm::{Algorithm, KeyKind},
    key::{Key, Unusable},
};

/// Why a file is not a JWKS with a key for us.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JwksError {
    /// The position only: the parser's words may quote the file.
    #[error("it is no JWKS, see line {line} column {column}")]
    Json { line: usize, column: usize },
    #[error("none of its {keys} keys can be used{}", why(.first))]
    NoUsableKey {
        keys: usize,
        first: Option<Unusable>,
    },
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// # Errors
/// [`JwksError`].
pub(crate) fn parse(content: &[u8]) -> Result<Vec<Key>, JwksError> {
    let set: Set = serde_json::from_slice(content).map_err(|error| JwksError::Json {
        line: error.line(),
        column: error.column(),
    })?;
    let read: Vec<Result<Key, Unusable>> = set.keys.iter().map(read_key).collect();
    let first = read.iter().find_map(|key| key.as_ref().err().copied());
    let keys: Vec<Key> = read.into_iter().flatten().collect();
    if keys.is_empty() {
        return Err(JwksError::NoUsableKey {
            keys: set.keys.len(),
            first,
        });
    }
    Ok(keys)
}

fn why(first: &Option<Unusable>) -> String {
    first
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default()
}

fn read_key(value: &Value) -> Result<Key, Unusable> {
    let jwk = Jwk::deserialize(value).map_err(|_| Unusable::Kind)?;
    let key = usable_key(&jwk);
    if let Err(reason) = &key {
        let kid = jwk.common.key_id.as_deref().unwrap_or_default();
        tracing::warn!(kid, %reason, "left a key of the JWKS out");
    }
    key
}

fn usable_key(jwk: &Jwk) -> Result<Key, Unusable> {
    let kind = kind(&jwk.algorithm).ok_or(Unusable::Kind)?;
    if !is_for_signatures(&jwk.common) {
        return Err(Unusable::Use);
    }
    let kid = jwk.common.key_id.clone().ok_or(Unusable::NoKid)?;
    let decoding = DecodingKey::from_jwk(jwk).map_err(|_| Unusable::Kind)?;
    let key = Key::of_public(kind, decoding)?.named(kid);
    match jwk.common.key_algorithm {
        None => Ok(key),
        Some(name) => key.only_for(algorithm(name)?),
    }
}

fn kind(parameters: &AlgorithmParameters) -> Option<KeyKind> {
    use AlgorithmParameters::{EllipticCurve as Ec, OctetKey, OctetKeyPair, Other, RSA};
    match parameters {
        RSA(_) => Some(KeyKind::Rsa),
        Ec(key) => (key.curve == EllipticCurve::P256).then_some(KeyKind::P256),
        OctetKeyPair(key) => (key.curve == EllipticCurve::Ed25519).then_some(KeyKind::Ed25519),
        OctetKey(_) | Other(_) => None,
        // The library reserves the right to know more.
        _ => None,
    }
}

fn is_for_signatures(common: &CommonParameters) -> bool {
    let used = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let verifies = common
        .key_operations
        .as_ref()
        .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    used && verifies
}

fn algorithm(name: KeyAlgorithm) -> Result<Algorithm, Unusable> {
    name.to_string().parse().map_err(|_| Unusable::Algorithm)
}
