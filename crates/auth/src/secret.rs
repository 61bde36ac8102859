//! A secret that is long enough to sign with.

use std::{fmt, sync::Arc};

/// Fewer bytes than this can be guessed from a single token, away from any rate limit.
const MIN_SECRET_BYTES: usize = 32;

/// A secret for HS256, HS384 and HS512: at least 32 bytes, used as they are (a secret in base64 is
/// not decoded). Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct HmacSecret(Arc<[u8]>);

/// Why a text is no secret to sign with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakSecret {
    /// It can be guessed.
    #[error(
        "the HMAC secret has {bytes} bytes and needs at least {MIN_SECRET_BYTES}; make one with `openssl rand -base64 32`"
    )]
    Short {
        /// How many it has.
        bytes: usize,
    },
    /// Everybody may know a public key, so everybody could sign with it.
    #[error(
        "the HMAC secret is a PEM file; give a public key as `auth.public_key_file`, or make a secret with `openssl rand -base64 32`"
    )]
    Pem,
}

impl HmacSecret {
    /// Takes a copy of `secret`.
    ///
    /// # Errors
    /// [`WeakSecret`]: a short one is refused and not only warned of, because whoever holds one
    /// token can try secrets on it for as long as they like.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, WeakSecret> {
        let secret = secret.as_ref();
        if secret.trim_ascii_start().starts_with(b"-----BEGIN") {
            return Err(WeakSecret::Pem);
        }
        if secret.len() < MIN_SECRET_BYTES {
            return Err(WeakSecret::Short {
                bytes: secret.len(),
            });
        }
        Ok(Self(secret.into()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for HmacSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacSecret(..)")
    }
}
