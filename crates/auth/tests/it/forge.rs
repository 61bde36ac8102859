//! Makes tokens of any shape, right and wrong ones.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto, jwk::Jwk};
use parlance_auth::{AuthConfig, HmacSecret, Keyring};
use parlance_protocol::UnixMicros;
use serde_json::{Value, json};

pub(crate) const SECRET: &str = "a secret of forty bytes, only for tests.";
pub(crate) const OTHER_SECRET: &str = "another secret of 40 bytes, just a test.";
pub(crate) const NOW_SECS: u64 = 1_800_000_000;

macro_rules! key_file {
    ($name:literal) => {
        include_str!(concat!("../keys/test-only-", $name, ".pem"))
    };
}
pub(crate) const RSA_1: &str = key_file!("rsa-1.private");
pub(crate) const RSA_1_PUBLIC: &str = key_file!("rsa-1.public");
pub(crate) const RSA_1_PKCS1_PUBLIC: &str = key_file!("rsa-1.pkcs1.public");
pub(crate) const RSA_2: &str = key_file!("rsa-2.private");
pub(crate) const RSA_2_PUBLIC: &str = key_file!("rsa-2.public");
pub(crate) const RSA_1024_PUBLIC: &str = key_file!("rsa-1024.public");
pub(crate) const P256: &str = key_file!("p256.private");
pub(crate) const P256_PUBLIC: &str = key_file!("p256.public");
pub(crate) const P384_PUBLIC: &str = key_file!("p384.public");
pub(crate) const SECP256K1_PUBLIC: &str = key_file!("secp256k1.public");
pub(crate) const ED25519: &str = key_file!("ed25519.private");
pub(crate) const ED25519_PUBLIC: &str = key_file!("ed25519.public");
pub(crate) const X25519_PUBLIC: &str = key_file!("x25519.public");
pub(crate) const CERTIFICATE: &str = key_file!("certificate");

pub(crate) fn now() -> UnixMicros {
    at(NOW_SECS)
}

pub(crate) fn at(secs: u64) -> UnixMicros {
    UnixMicros(secs * 1_000_000)
}

pub(crate) fn secret(text: &str) -> HmacSecret {
    HmacSecret::new(text).unwrap()
}

pub(crate) fn hmac_ring() -> Keyring {
    Keyring::new(hmac_config()).unwrap()
}

pub(crate) fn hmac_config() -> AuthConfig {
    AuthConfig {
        hmac_secrets: vec![secret(SECRET)],
        ..AuthConfig::default()
    }
}

/// Claims that are fine at [`now`].
pub(crate) fn good_claims() -> Value {
    json!({"sub": "ann", "exp": NOW_SECS + 60, "conversations": ["one", "two"]})
}

/// [`good_claims`] with `changes` over them; `null` takes a claim away.
pub(crate) fn claims_with(changes: Value) -> Value {
    let mut claims = good_claims();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

pub(crate) fn encoded(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// Signs any two parts.
pub(crate) fn signed(
    header: impl AsRef<[u8]>,
    claims: impl AsRef<[u8]>,
    algorithm: Algorithm,
    key: &EncodingKey,
) -> String {
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let signature = crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

pub(crate) fn hmac_key(secret: &str) -> EncodingKey {
    EncodingKey::from_secret(secret.as_bytes())
}

/// With a usual header, by [`SECRET`].
pub(crate) fn hs256(claims: impl AsRef<[u8]>) -> String {
    hs256_with_header(r#"{"alg":"HS256","typ":"JWT"}"#, claims)
}

pub(crate) fn hs256_with_header(header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    signed(header, claims, Algorithm::HS256, &hmac_key(SECRET))
}

/// The good claims by `key`, with a header that says so, and `kid` if there is one.
pub(crate) fn good_token(algorithm: Algorithm, key: &EncodingKey, kid: Option<&str>) -> String {
    let mut header = json!({"alg": algorithm});
    if let Some(kid) = kid {
        header["kid"] = kid.into();
    }
    signed(
        header.to_string(),
        good_claims().to_string(),
        algorithm,
        key,
    )
}

pub(crate) fn rsa(pem: &str) -> EncodingKey {
    EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap()
}

pub(crate) fn p256() -> EncodingKey {
    EncodingKey::from_ec_pem(P256.as_bytes()).unwrap()
}

pub(crate) fn ed25519() -> EncodingKey {
    EncodingKey::from_ed_pem(ED25519.as_bytes()).unwrap()
}

/// The public half as a member of a JWKS, without `alg`.
pub(crate) fn jwk(key: &EncodingKey, algorithm: Algorithm, kid: &str) -> Value {
    let jwk = Jwk::from_encoding_key(key, algorithm).unwrap();
    assert!(DecodingKey::from_jwk(&jwk).is_ok());
    let mut jwk = serde_json::to_value(jwk).unwrap();
    jwk["kid"] = kid.into();
    jwk.as_object_mut().unwrap().remove("alg");
    jwk
}

pub(crate) fn jwks(keys: &[Value]) -> String {
    json!({"keys": keys}).to_string()
}

/// A directory with one file in it.
pub(crate) struct TempFile {
    directory: tempfile::TempDir,
}

impl TempFile {
    pub(crate) fn new(content: impl AsRef<[u8]>) -> Self {
        let file = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        file.write(content);
        file
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("keys")
    }

    pub(crate) fn write(&self, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(), content).unwrap();
    }
}

pub(crate) fn pem_ring(pem: &str) -> Keyring {
    let file = TempFile::new(pem);
    Keyring::new(AuthConfig {
        public_key_file: Some(file.path()),
        ..AuthConfig::default()
    })
    .unwrap()
}

pub(crate) fn jwks_ring(keys: &[Value]) -> Keyring {
    let file = TempFile::new(jwks(keys));
    Keyring::new(AuthConfig {
        jwks_file: Some(file.path()),
        ..AuthConfig::default()
    })
    .unwrap()
}
