//! Tokens, good and bad, signed with an HMAC secret.
//!
//! Header and claims are plain JSON, so that a test can sign what no library would issue.

use std::{
    sync::Once,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

/// Seconds since 1970.
#[must_use]
pub fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}

/// What a token says; good for an hour and for every conversation unless told otherwise.
#[derive(Debug, Clone)]
pub struct Claims {
    header: Value,
    body: Value,
}

impl Claims {
    /// The usual claims of user `sub`.
    #[must_use]
    pub fn of(sub: &str) -> Self {
        Self {
            header: json!({"alg": "HS256", "typ": "JWT"}),
            body: json!({"sub": sub, "exp": unix_now() + 3_600, "conversations": "*"}),
        }
    }

    /// The user; empty when a test has taken that away.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.body["sub"].as_str().unwrap_or_default()
    }

    /// Sets a claim; null takes it away.
    #[must_use]
    pub fn with(mut self, claim: &str, value: impl Into<Value>) -> Self {
        set(&mut self.body, claim, value.into());
        self
    }

    /// Sets a header field; null takes it away.
    #[must_use]
    pub fn with_header(mut self, field: &str, value: impl Into<Value>) -> Self {
        set(&mut self.header, field, value.into());
        self
    }

    /// Signs by the header's `alg`; HS256 when that is none of the HMAC algorithms.
    #[must_use]
    pub fn sign(&self, secret: &str) -> String {
        let algorithm = match self.header["alg"].as_str() {
            Some("HS384") => Algorithm::HS384,
            Some("HS512") => Algorithm::HS512,
            _ => Algorithm::HS256,
        };
        install_crypto();
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(&self.header), encode(&self.body));
        let key = EncodingKey::from_secret(secret.as_bytes());
        let signature = crypto::sign(signed.as_bytes(), &key, algorithm)
            .expect("an HMAC key signs with every HMAC algorithm");
        format!("{signed}.{signature}")
    }
}

/// Whom a token that [`Claims::sign`] made is of, its signature unseen; empty if it says nobody.
#[must_use]
pub fn subject(token: &str) -> String {
    let body = token.split('.').nth(1).unwrap_or_default();
    let body = URL_SAFE_NO_PAD.decode(body).unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    body["sub"].as_str().unwrap_or_default().to_owned()
}

fn set(object: &mut Value, key: &str, value: Value) {
    let fields = object.as_object_mut().expect("claims are an object");
    if value.is_null() {
        fields.remove(key);
    } else {
        fields.insert(key.to_owned(), value);
    }
}

/// The library wants its one backend to be installed before the first signature.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Somebody else in this process may have been first, with the only backend there is.
        let _ = crypto::rust_crypto::DEFAULT_PROVIDER.install_default();
    });
}
