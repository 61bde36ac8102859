//! Tells who a token belongs to.
//!
//! The binary builds one [`Keyring`] from its settings, hands it to the gateway as the
//! [`parlance_core::ports::Verifier`], and calls [`Keyring::reload_if_changed`] every few seconds.
//!
//! A token is judged in one order: its form, the key, the signature, then what it claims. Nothing
//! that is not signed is acted on, apart from choosing the key. The library does the cryptography
//! only; form, claims and times are judged here, because the rules are the protocol's, duplicate
//! members have to be refused, and the time is an argument.
//!
//! Not here: fetching keys over the network, sessions, revocation, and who may join what
//! ([`parlance_core::identity::Identity::may_join`]).

mod algorithm;
mod claims;
#[cfg(any(fuzzing, test))]
pub mod fuzz;
mod jwks;
mod key;
mod key_file;
mod keyring;
mod mint;
mod object;
mod pem;
mod secret;
mod token;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use key_file::KeyFileError;
pub use keyring::{AuthConfig, Keyring, KeyringError, Reload};
pub use mint::{MintError, mint};
pub use secret::{HmacSecret, WeakSecret};
