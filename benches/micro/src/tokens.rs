//! The verdict on a token, as every connection needs one.

use std::hint::black_box;

use parlance_auth::{AuthConfig, HmacSecret, Keyring, mint};
use parlance_core::ports::Verifier;
use parlance_protocol::UnixMicros;
use serde_json::json;

use crate::{NOW_SECS, Piece, warm};

struct Verify {
    keys: Keyring,
    token: String,
}

impl Piece for Verify {
    fn run(&mut self) {
        let now = UnixMicros(NOW_SECS * 1_000_000);
        let verdict = self.keys.verify(black_box(&self.token), now);
        black_box(verdict.expect("the token is good"));
    }
}

/// A good token, signed with a secret.
#[must_use]
pub fn verify_hs256() -> Box<dyn Piece> {
    let secret = HmacSecret::new("a secret of 44 bytes, to count instructions.")
        .expect("it is longer than it has to be");
    let claims = json!({
        "sub": "user-0001",
        "username": "Ann",
        "iat": NOW_SECS - 60,
        "exp": NOW_SECS + 3_600,
        "conversations": ["team-1", "team-2"],
    });
    let token = mint(&secret, &claims).expect("the claims are JSON");
    let keys = Keyring::new(AuthConfig {
        hmac_secrets: vec![secret],
        ..AuthConfig::default()
    })
    .expect("there is a key");
    warm(Verify { keys, token })
}
