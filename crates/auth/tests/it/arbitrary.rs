//! Whatever comes: a verdict and no panic, and never a wrong yes.

use std::sync::LazyLock;

use parlance_auth::{AuthConfig, Keyring};
use parlance_core::ports::{Denied, Verifier};
use parlance_protocol::UnixMicros;
use proptest::prelude::*;

use crate::forge::{
    RSA_1_PUBLIC, TempFile, ed25519, encoded, good_claims, hmac_config, hs256, hs256_with_header,
    jwk, jwks, now, p256,
};

/// With a key of every kind, so that every path is open.
static RING: LazyLock<Keyring> = LazyLock::new(|| {
    let pem = TempFile::new(RSA_1_PUBLIC);
    let set = TempFile::new(jwks(&[
        jwk(&p256(), jsonwebtoken::Algorithm::ES256, "e"),
        jwk(&ed25519(), jsonwebtoken::Algorithm::EdDSA, "d"),
    ]));
    Keyring::new(AuthConfig {
        public_key_file: Some(pem.path()),
        jwks_file: Some(set.path()),
        ..hmac_config()
    })
    .unwrap()
});

static GOOD: LazyLock<String> = LazyLock::new(|| hs256(good_claims().to_string()));

fn header() -> impl Strategy<Value = String> {
    let algorithm = prop::sample::select(vec![
        "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "EdDSA", "none", "ES384",
    ]);
    let kid = prop::sample::select(vec!["e", "d", "x"]);
    (algorithm, kid).prop_map(|(alg, kid)| format!(r#"{{"alg":"{alg}","kid":"{kid}"}}"#))
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,80}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,3}", inner, 0..4)
                .prop_map(|map| Value::from(serde_json::Map::from_iter(map))),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_refused(text in ".*") {
        prop_assert!(RING.verify(&text, now()).is_err());
    }

    #[test]
    fn any_three_parts_are_refused(
        header in header(),
        claims in prop::collection::vec(any::<u8>(), 0..200),
        signature in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let token = format!("{}.{}.{}", encoded(header), encoded(claims), encoded(signature));
        prop_assert!(RING.verify(&token, now()).is_err());
    }

    #[test]
    fn a_good_token_with_one_byte_changed_is_refused(at in any::<prop::sample::Index>(), byte in 0_u8..128) {
        let mut bytes = GOOD.clone().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        let token = String::from_utf8(bytes).unwrap();
        prop_assert!(RING.verify(&token, now()).is_err());
    }

    #[test]
    fn any_signed_header_gets_a_verdict(header in json()) {
        let token = hs256_with_header(header.to_string(), good_claims().to_string());
        prop_assert_eq!(RING.verify(&token, now()), Err(Denied::Malformed));
    }

    #[test]
    fn any_signed_claims_of_the_known_names_get_a_verdict(
        claims in prop::collection::hash_map(
            prop::sample::select(vec!["sub", "exp", "nbf", "iat", "iss", "aud", "username",
                "preferred_username", "name", "conversations", "role"]),
            json(),
            0..11,
        ),
        now in any::<u64>(),
    ) {
        let claims = serde_json::to_string(&claims).unwrap();
        let verdict = RING.verify(&hs256(claims), UnixMicros(now));
        if let Ok(identity) = verdict {
            prop_assert!(identity.username.chars().count() <= 64);
            prop_assert!(!identity.username.is_empty());
        }
    }
}
