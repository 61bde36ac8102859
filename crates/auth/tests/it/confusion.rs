//! Tokens that try to be checked with the wrong key or in the wrong way (RFC 8725).

use jsonwebtoken::{Algorithm, EncodingKey};
use parlance_auth::{AuthConfig, Keyring};
use parlance_core::ports::{Denied, Verifier};
use serde_json::json;

use crate::forge::{
    ED25519_PUBLIC, P256_PUBLIC, RSA_1, RSA_1_PKCS1_PUBLIC, RSA_1_PUBLIC, RSA_2, SECRET, TempFile,
    ed25519, encoded, good_claims, good_token, hmac_config, hmac_key, hmac_ring, jwk, jwks,
    jwks_ring, now, p256, pem_ring, rsa, secret, signed,
};

fn verdict(ring: &Keyring, token: &str) -> Result<(), Denied> {
    ring.verify(token, now()).map(drop)
}

#[test]
fn each_kind_of_key_accepts_its_own_algorithms() {
    let rsa_ring = pem_ring(RSA_1_PUBLIC);
    for algorithm in [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512] {
        let token = good_token(algorithm, &rsa(RSA_1), Some("any"));
        assert_eq!(verdict(&rsa_ring, &token), Ok(()), "{algorithm:?}");
    }
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let token = good_token(algorithm, &hmac_key(SECRET), None);
        assert_eq!(verdict(&hmac_ring(), &token), Ok(()), "{algorithm:?}");
    }
    let es256 = good_token(Algorithm::ES256, &p256(), None);
    assert_eq!(verdict(&pem_ring(P256_PUBLIC), &es256), Ok(()));
    let eddsa = good_token(Algorithm::EdDSA, &ed25519(), None);
    assert_eq!(verdict(&pem_ring(ED25519_PUBLIC), &eddsa), Ok(()));
    let pkcs1 = pem_ring(RSA_1_PKCS1_PUBLIC);
    let rs256 = good_token(Algorithm::RS256, &rsa(RSA_1), None);
    assert_eq!(verdict(&pkcs1, &rs256), Ok(()));
}

#[test]
fn a_public_key_is_no_hmac_secret() {
    for pem in [RSA_1_PUBLIC, P256_PUBLIC, ED25519_PUBLIC] {
        let ring = pem_ring(pem);
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            for bytes in [pem.as_bytes(), pem.trim_end().as_bytes(), &der(pem)] {
                let forged = good_token(algorithm, &EncodingKey::from_secret(bytes), None);
                assert_eq!(verdict(&ring, &forged), Err(Denied::UnknownKey));
            }
        }
    }
}

fn der(pem: &str) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(base64).unwrap()
}

#[test]
fn a_public_key_of_a_jwks_is_no_hmac_secret() {
    let key = jwk(&rsa(RSA_1), Algorithm::RS256, "r");
    let ring = jwks_ring(std::slice::from_ref(&key));
    let modulus = key["n"].as_str().unwrap().as_bytes();
    let forged = good_token(
        Algorithm::HS256,
        &EncodingKey::from_secret(modulus),
        Some("r"),
    );
    assert_eq!(verdict(&ring, &forged), Err(Denied::UnknownKey));
}

#[test]
fn a_token_without_a_signature_is_refused_however_none_is_written() {
    for name in ["none", "None", "NONE", "nOnE", ""] {
        let header = encoded(json!({ "alg": name }).to_string());
        let claims = encoded(good_claims().to_string());
        for signature in ["", "AAAA"] {
            let token = format!("{header}.{claims}.{signature}");
            assert_eq!(verdict(&hmac_ring(), &token), Err(Denied::Malformed));
            assert_eq!(
                verdict(&pem_ring(RSA_1_PUBLIC), &token),
                Err(Denied::Malformed)
            );
        }
    }
}

#[test]
fn a_key_never_checks_the_algorithm_of_another_kind() {
    let rs = good_token(Algorithm::RS256, &rsa(RSA_1), None);
    let es = good_token(Algorithm::ES256, &p256(), None);
    let ed = good_token(Algorithm::EdDSA, &ed25519(), None);
    let rows = [
        (RSA_1_PUBLIC, [&es, &ed]),
        (P256_PUBLIC, [&rs, &ed]),
        (ED25519_PUBLIC, [&rs, &es]),
    ];
    for (pem, tokens) in rows {
        for token in tokens {
            assert_eq!(verdict(&pem_ring(pem), token), Err(Denied::UnknownKey));
        }
    }
    for token in [rs, es, ed] {
        assert_eq!(verdict(&hmac_ring(), &token), Err(Denied::UnknownKey));
    }
}

#[test]
fn a_signature_of_all_zeros_is_wrong_on_every_curve() {
    let claims = encoded(good_claims().to_string());
    for (pem, name) in [(P256_PUBLIC, "ES256"), (ED25519_PUBLIC, "EdDSA")] {
        let header = encoded(json!({ "alg": name }).to_string());
        let token = format!("{header}.{claims}.{}", encoded([0; 64]));
        assert_eq!(verdict(&pem_ring(pem), &token), Err(Denied::BadSignature));
    }
}

#[test]
fn a_key_inside_the_token_is_not_listened_to() {
    let ring = pem_ring(RSA_1_PUBLIC);
    let mine = jwk(&rsa(RSA_2), Algorithm::RS256, "mine");
    let header = json!({"alg": "RS256", "jwk": mine, "jku": "https://example.org/keys",
        "x5u": "https://example.org/chain", "x5c": ["AAAA"]});
    let token = signed(
        header.to_string(),
        good_claims().to_string(),
        Algorithm::RS256,
        &rsa(RSA_2),
    );
    assert_eq!(verdict(&ring, &token), Err(Denied::BadSignature));
}

#[test]
fn a_kid_is_only_a_name() {
    let ring = jwks_ring(&[jwk(&rsa(RSA_1), Algorithm::RS256, "r")]);
    for kid in ["../../dev/null", "' OR 1=1 --", "", "R", "r\0", "r "] {
        let token = good_token(Algorithm::RS256, &rsa(RSA_1), Some(kid));
        assert_eq!(verdict(&ring, &token), Err(Denied::UnknownKey), "{kid:?}");
    }
}

#[test]
fn a_jwks_key_wants_its_kid() {
    let ring = jwks_ring(&[
        jwk(&rsa(RSA_1), Algorithm::RS256, "r1"),
        jwk(&rsa(RSA_2), Algorithm::RS256, "r2"),
        jwk(&p256(), Algorithm::ES256, "e"),
        jwk(&ed25519(), Algorithm::EdDSA, "d"),
    ]);
    let by = |algorithm, key: &EncodingKey, kid| verdict(&ring, &good_token(algorithm, key, kid));
    let unknown = Err(Denied::UnknownKey);
    assert_eq!(by(Algorithm::RS256, &rsa(RSA_1), Some("r1")), Ok(()));
    assert_eq!(by(Algorithm::RS512, &rsa(RSA_2), Some("r2")), Ok(()));
    assert_eq!(by(Algorithm::ES256, &p256(), Some("e")), Ok(()));
    assert_eq!(by(Algorithm::EdDSA, &ed25519(), Some("d")), Ok(()));
    assert_eq!(by(Algorithm::RS256, &rsa(RSA_1), None), unknown);
    assert_eq!(by(Algorithm::RS256, &rsa(RSA_1), Some("r3")), unknown);
    assert_eq!(by(Algorithm::ES256, &p256(), Some("r1")), unknown);
    let foreign = by(Algorithm::RS256, &rsa(RSA_1), Some("r2"));
    assert_eq!(foreign, Err(Denied::BadSignature));
}

#[test]
fn the_alg_of_a_jwk_narrows_the_key() {
    let mut key = jwk(&rsa(RSA_1), Algorithm::RS256, "r");
    key["alg"] = "RS512".into();
    let ring = jwks_ring(&[key]);
    let rs256 = good_token(Algorithm::RS256, &rsa(RSA_1), Some("r"));
    let rs512 = good_token(Algorithm::RS512, &rsa(RSA_1), Some("r"));
    assert_eq!(verdict(&ring, &rs256), Err(Denied::UnknownKey));
    assert_eq!(verdict(&ring, &rs512), Ok(()));
}

#[test]
fn the_configured_list_narrows_all_keys() {
    let ring = Keyring::new(AuthConfig {
        algorithms: vec![parlance_auth::Algorithm::Hs512],
        ..hmac_config()
    })
    .unwrap();
    let hs256 = good_token(Algorithm::HS256, &hmac_key(SECRET), None);
    let hs512 = good_token(Algorithm::HS512, &hmac_key(SECRET), None);
    assert_eq!(verdict(&ring, &hs256), Err(Denied::UnknownKey));
    assert_eq!(verdict(&ring, &hs512), Ok(()));
}

#[test]
fn all_keys_count_at_once() {
    let pem = TempFile::new(RSA_1_PUBLIC);
    let set = TempFile::new(jwks(&[jwk(&rsa(RSA_2), Algorithm::RS256, "r2")]));
    let other = "another secret of 40 bytes, just a test.";
    let ring = Keyring::new(AuthConfig {
        hmac_secrets: vec![secret(SECRET), secret(other)],
        public_key_file: Some(pem.path()),
        jwks_file: Some(set.path()),
        ..AuthConfig::default()
    })
    .unwrap();
    let tokens = [
        good_token(Algorithm::HS256, &hmac_key(SECRET), None),
        good_token(Algorithm::HS256, &hmac_key(other), Some("any")),
        good_token(Algorithm::RS256, &rsa(RSA_1), None),
        good_token(Algorithm::RS256, &rsa(RSA_2), Some("r2")),
    ];
    for token in tokens {
        assert_eq!(verdict(&ring, &token), Ok(()));
    }
}
