//! What has to hold for any token, called by the target in `fuzz/` and, with its committed corpus, by the
//! test below. Not part of a build.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, crypto};
use parlance_core::ports::{Denied, Verifier};
use parlance_protocol::UnixMicros;

use crate::{AuthConfig, HmacSecret, Keyring, algorithm::Algorithm, key::install_cryptography};

/// In the corpus, tokens are signed by it.
const SECRET: &str = "a secret that is long enough for the corpus";
const NOW: UnixMicros = UnixMicros(1_800_000_000_000_000);
const LEEWAY_MICROS: u64 = 30_000_000;

static RING: LazyLock<Keyring> = LazyLock::new(|| {
    let secret = HmacSecret::new(SECRET).expect("it is long enough");
    Keyring::new(AuthConfig {
        hmac_secrets: vec![secret],
        ..AuthConfig::default()
    })
    .expect("there is a key")
});

/// A token that is let in says who it is of, and is not expired; whatever its parts are. Input with
/// a line break is the JSON of a header and of claims, which are signed by the right key; other
/// input is a token.
pub fn tokens(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    match text.split_once('\n') {
        Some((header, claims)) => signed(header, claims),
        None => judged(text),
    }
}

fn judged(token: &str) {
    let Ok(identity) = RING.verify(token, NOW) else {
        return;
    };
    assert!(identity.expires_at.0 + LEEWAY_MICROS >= NOW.0);
    assert!((1..=64).contains(&identity.username.chars().count()));
    let (signed, signature) = token.rsplit_once('.').expect("it has three parts");
    let signature = URL_SAFE_NO_PAD
        .decode(signature)
        .expect("it was found right");
    assert!(
        [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512]
            .into_iter()
            .any(|algorithm| sign(signed, algorithm) == URL_SAFE_NO_PAD.encode(&signature)),
        "nobody who knows the key signed {token}"
    );
}

fn signed(header: &str, claims: &str) {
    let encode = |part: &str| URL_SAFE_NO_PAD.encode(part);
    let parts = format!("{}.{}", encode(header), encode(claims));
    let signature = sign(&parts, Algorithm::Hs256);
    judged(&format!("{parts}.{signature}"));
    let mut wrong = signature.into_bytes();
    wrong[0] = if wrong[0] == b'A' { b'B' } else { b'A' };
    let wrong = String::from_utf8(wrong).expect("base64 is ASCII");
    let denied = RING.verify(&format!("{parts}.{wrong}"), NOW).err();
    assert!(denied.is_some_and(|why| !matches!(why, Denied::Expired | Denied::BadClaim)));
}

fn sign(parts: &str, algorithm: Algorithm) -> String {
    install_cryptography();
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    crypto::sign(parts.as_bytes(), &key, algorithm.in_library()).expect("the key fits")
}

#[cfg(test)]
mod tests {
    use parlance_testkit::corpus::replay;

    #[test]
    fn what_fuzzing_began_with_holds() {
        replay("tokens", super::tokens);
    }
}
