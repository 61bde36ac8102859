//! All keys of a node, and the verdict on a token.
//!
//! Shards call [`Verifier::verify`] at the same time, from many threads: keys are read by snapshot.

use std::{path::PathBuf, sync::Arc};

use parlance_core::{
    identity::Identity,
    ports::{Denied, Verifier},
};
use parlance_protocol::UnixMicros;

use crate::{
    algorithm::Algorithm,
    claims::{self, Expected},
    key::Key,
    key_file::{Format, KeyFile, KeyFileError},
    secret::HmacSecret,
    token::Token,
};

/// What tokens are judged by. At least one key has to be given; all that are given count at once.
#[derive(Debug, Clone, Default)]
pub struct AuthConfig {
    /// For HS256, HS384 and HS512. Several, so that one can be replaced while tokens of the other
    /// are still about.
    pub hmac_secrets: Vec<HmacSecret>,
    /// A PEM file with one public key of RSA, P-256 or Ed25519. Used whatever a token's `kid` says.
    pub public_key_file: Option<PathBuf>,
    /// A JWKS file. A key of it is used only for tokens that name its `kid`.
    pub jwks_file: Option<PathBuf>,
    /// Narrows what the keys allow. Empty: all that fit a key.
    pub algorithms: Vec<Algorithm>,
    /// What `iss` has to be.
    pub issuer: Option<String>,
    /// What `aud` has to be or to list.
    pub audience: Option<String>,
}

/// Judges tokens by the keys of an [`AuthConfig`].
pub struct Keyring {
    secrets: Arc<Vec<Key>>,
    files: Vec<KeyFile>,
    algorithms: Vec<Algorithm>,
    expected: Expected,
}

/// Why there is nothing to judge tokens by.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// Nobody could ever come in.
    #[error(
        "no key to verify tokens with: set `auth.hmac_secret` (make one with `openssl rand -base64 32`), `auth.public_key_file` or `auth.jwks_file`"
    )]
    NoKey,
    /// A file is missing or wrong.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// A setting that cannot have been meant.
    #[error(
        "`auth.algorithms` lists {algorithm}, but the configured keys are for {fitting} only; take it from the list or add a key for it"
    )]
    AlgorithmWithoutKey {
        /// The one without a key.
        algorithm: Algorithm,
        /// What the keys are for, by comma.
        fitting: String,
    },
}

/// A file of keys that changed on disk.
#[derive(Debug)]
pub struct Reload {
    /// Which.
    pub path: PathBuf,
    /// How many keys it holds now; or why the keys from before stay in use.
    pub outcome: Result<usize, KeyFileError>,
}

impl Keyring {
    /// Reads the key files. Blocks on the disk.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub fn new(config: AuthConfig) -> Result<Self, KeyringError> {
        let files = [
            (config.public_key_file, Format::Pem),
            (config.jwks_file, Format::Jwks),
        ];
        let ring = Self {
            secrets: Arc::new(config.hmac_secrets.iter().map(Key::of_secret).collect()),
            files: files
                .into_iter()
                .filter_map(|(path, format)| Some(KeyFile::open(path?, format)))
                .collect::<Result<_, _>>()?,
            algorithms: config.algorithms,
            expected: Expected {
                issuer: config.issuer,
                audience: config.audience,
            },
        };
        ring.check_algorithms()?;
        Ok(ring)
    }

    /// Reads the key files again and takes over what changed. A file that cannot be used leaves its
    /// keys as they were and is told once. Empty when nothing changed.
    ///
    /// To be called every few seconds, where blocking on the disk does no harm.
    pub fn reload_if_changed(&self) -> Vec<Reload> {
        self.files
            .iter()
            .filter_map(|file| {
                Some(Reload {
                    outcome: file.reload_if_changed()?,
                    path: file.path().to_owned(),
                })
            })
            .collect()
    }

    fn check_algorithms(&self) -> Result<(), KeyringError> {
        let fitting = self.fitting_algorithms();
        if fitting.is_empty() {
            return Err(KeyringError::NoKey);
        }
        match self.algorithms.iter().find(|one| !fitting.contains(one)) {
            None => Ok(()),
            Some(algorithm) => Err(KeyringError::AlgorithmWithoutKey {
                algorithm: *algorithm,
                fitting: fitting
                    .iter()
                    .map(|one| one.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
        }
    }

    fn fitting_algorithms(&self) -> Vec<Algorithm> {
        let keys: Vec<_> = self.snapshot().collect();
        let fits = |algorithm: &Algorithm| {
            let mut keys = keys.iter().flat_map(|keys| keys.iter());
            keys.any(|key| key.algorithms().contains(algorithm))
        };
        Algorithm::ALL.into_iter().filter(fits).collect()
    }

    fn check_signature(&self, token: &Token<'_>) -> Result<(), Denied> {
        if !self.algorithms.is_empty() && !self.algorithms.contains(&token.algorithm) {
            return Err(Denied::UnknownKey);
        }
        let mut denied = Denied::UnknownKey;
        for keys in self.snapshot() {
            for key in keys.iter().filter(|key| key.fits(token)) {
                match key.signed(token) {
                    Some(true) => return Ok(()),
                    Some(false) => denied = Denied::BadSignature,
                    None => return Err(Denied::Malformed),
                }
            }
        }
        Err(denied)
    }

    /// The keys of all sources as they are at this moment.
    fn snapshot(&self) -> impl Iterator<Item = Arc<Vec<Key>>> {
        let files = self.files.iter().map(KeyFile::keys);
        std::iter::once(Arc::clone(&self.secrets)).chain(files)
    }
}

impl Verifier for Keyring {
    fn verify(&self, token: &str, now: UnixMicros) -> Result<Identity, Denied> {
        let token = Token::parse(token)?;
        self.check_signature(&token)?;
        claims::judge(&token.claims()?, &self.expected, now)
    }
}
