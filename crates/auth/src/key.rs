//! One key, and what may be checked with it.
//!
//! Keys are checked as they are loaded: the library panics on an Ed25519 key that is too short, and
//! finds a bad RSA key only when it meets the first token.

use std::sync::Once;

use jsonwebtoken::{
    DecodingKey, DecodingKeyKind,
    crypto::{self, rust_crypto},
};

use crate::{
    algorithm::{Algorithm, KeyKind},
    secret::HmacSecret,
    token::Token,
};

/// Shorter ones are within reach; the library refuses longer ones.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;
const ED25519_BYTES: usize = 32;

pub(crate) struct Key {
    /// Of a key from a JWKS. A key without one fits every token.
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
}

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("the RSA key has {bits} bits; {} to {} are accepted", RSA_BITS.start(), RSA_BITS.end())]
    RsaBits { bits: usize },
    #[error("the RSA key is damaged")]
    Rsa,
    #[error("the key is no point on P-256")]
    P256,
    #[error("the key is no Ed25519 key")]
    Ed25519,
    #[error("the key is not of RSA, P-256 or Ed25519")]
    Kind,
    #[error("the key has no kid")]
    NoKid,
    #[error("the key is not for signatures")]
    Use,
    #[error("the key's alg is none that such a key may be used with")]
    Algorithm,
}

impl Key {
    pub(crate) fn of_secret(secret: &HmacSecret) -> Self {
        Self::new(KeyKind::Hmac, DecodingKey::from_secret(secret.as_bytes()))
    }

    /// # Errors
    /// [`Unusable`], when the content does not fit the kind.
    pub(crate) fn of_public(kind: KeyKind, decoding: DecodingKey) -> Result<Self, Unusable> {
        let fits = match kind {
            KeyKind::Rsa => check_rsa(decoding.kind()),
            KeyKind::P256 => check_p256(&decoding),
            KeyKind::Ed25519 => check_ed25519(&decoding),
            KeyKind::Hmac => Err(Unusable::Kind),
        };
        fits.map(|()| Self::new(kind, decoding))
    }

    fn new(kind: KeyKind, decoding: DecodingKey) -> Self {
        install_cryptography();
        Self {
            kid: None,
            algorithms: Algorithm::ALL
                .into_iter()
                .filter(|algorithm| algorithm.key_kind() == kind)
                .collect(),
            decoding,
        }
    }

    /// Only for tokens that name `kid`.
    pub(crate) fn named(self, kid: String) -> Self {
        Self {
            kid: Some(kid),
            ..self
        }
    }

    /// Only for tokens of `algorithm`.
    ///
    /// # Errors
    /// [`Unusable::Algorithm`], when it is not for such a key.
    pub(crate) fn only_for(self, algorithm: Algorithm) -> Result<Self, Unusable> {
        if self.algorithms.contains(&algorithm) {
            Ok(Self {
                algorithms: vec![algorithm],
                ..self
            })
        } else {
            Err(Unusable::Algorithm)
        }
    }

    pub(crate) fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    pub(crate) fn fits(&self, token: &Token<'_>) -> bool {
        let named = self.kid.is_none() || self.kid == token.kid;
        named && self.algorithms.contains(&token.algorithm)
    }

    /// Whether this key made the signature. `None`: it is not even base64.
    pub(crate) fn signed(&self, token: &Token<'_>) -> Option<bool> {
        crypto::verify(
            token.signature,
            token.signed.as_bytes(),
            &self.decoding,
            token.algorithm.in_library(),
        )
        .ok()
    }
}

/// Names the library's backend, so that no feature that another crate turns on can change it.
pub(crate) fn install_cryptography() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // An error says that one stands already, and the library holds on to the first.
        let _ = rust_crypto::DEFAULT_PROVIDER.install_default();
    });
}

fn check_rsa(key: &DecodingKeyKind) -> Result<(), Unusable> {
    let bits = match key {
        DecodingKeyKind::RsaModulusExponent { n, .. } => bits(n),
        DecodingKeyKind::SecretOrDer(der) => {
            let components = rust_crypto::DEFAULT_PROVIDER
                .key_utils
                .rsa_pub_components_from_public_key;
            let (n, _) = components(der).map_err(|_| Unusable::Rsa)?;
            bits(&n)
        }
    };
    if RSA_BITS.contains(&bits) {
        Ok(())
    } else {
        Err(Unusable::RsaBits { bits })
    }
}

/// Of a big-endian number.
fn bits(number: &[u8]) -> usize {
    match number.iter().position(|byte| *byte != 0) {
        Some(zeros) => (number.len() - zeros) * 8 - number[zeros].leading_zeros() as usize,
        None => 0,
    }
}

fn check_p256(key: &DecodingKey) -> Result<(), Unusable> {
    can_be_built(key, Algorithm::Es256)
        .then_some(())
        .ok_or(Unusable::P256)
}

fn check_ed25519(key: &DecodingKey) -> Result<(), Unusable> {
    let whole = key
        .try_get_as_bytes()
        .is_ok_and(|bytes| bytes.len() == ED25519_BYTES);
    (whole && can_be_built(key, Algorithm::EdDsa))
        .then_some(())
        .ok_or(Unusable::Ed25519)
}

fn can_be_built(key: &DecodingKey, algorithm: Algorithm) -> bool {
    (rust_crypto::DEFAULT_PROVIDER.verifier_factory)(&algorithm.in_library(), key).is_ok()
}
