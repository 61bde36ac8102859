//! What a start refuses, and in which words.

use jsonwebtoken::Algorithm;
use parlance_auth::{Algorithm as Accepted, AuthConfig, HmacSecret, Keyring, WeakSecret};
use serde_json::{Value, json};

use crate::forge::{
    CERTIFICATE, ED25519, P256_PUBLIC, P384_PUBLIC, RSA_1, RSA_1_PUBLIC, RSA_2_PUBLIC,
    RSA_1024_PUBLIC, SECP256K1_PUBLIC, SECRET, TempFile, X25519_PUBLIC, ed25519, hmac_config, jwk,
    jwks, p256, rsa,
};

fn refusal(config: AuthConfig) -> String {
    match Keyring::new(config) {
        Ok(_) => panic!("a start that should have been refused"),
        Err(error) => error.to_string(),
    }
}

fn pem_refusal(content: &str) -> String {
    let file = TempFile::new(content);
    let words = refusal(AuthConfig {
        public_key_file: Some(file.path()),
        ..AuthConfig::default()
    });
    let path = file.path().display().to_string();
    assert!(words.contains(&path), "the file is named: {words}");
    words
}

fn jwks_refusal(content: &str) -> String {
    let file = TempFile::new(content);
    refusal(AuthConfig {
        jwks_file: Some(file.path()),
        ..AuthConfig::default()
    })
}

#[test]
fn a_start_without_a_key_is_refused_and_says_what_to_set() {
    let words = refusal(AuthConfig::default());
    assert!(words.contains("auth.hmac_secret"), "{words}");
    assert!(words.contains("openssl rand -base64 32"), "{words}");
}

#[test]
fn a_short_secret_is_refused_with_its_length() {
    assert_eq!(
        HmacSecret::new("x".repeat(31)),
        Err(WeakSecret::Short { bytes: 31 })
    );
    let words = HmacSecret::new("").unwrap_err().to_string();
    assert!(words.contains("0 bytes"), "{words}");
    assert!(words.contains("openssl rand -base64 32"), "{words}");
    assert!(HmacSecret::new("x".repeat(32)).is_ok());
}

#[test]
fn a_pem_file_is_no_secret() {
    for pem in [RSA_1_PUBLIC, P256_PUBLIC, RSA_1] {
        assert_eq!(HmacSecret::new(pem), Err(WeakSecret::Pem));
        assert_eq!(HmacSecret::new(format!("\n{pem}")), Err(WeakSecret::Pem));
    }
}

#[test]
fn a_secret_is_never_shown() {
    let secret = HmacSecret::new(SECRET).unwrap();
    assert!(!format!("{secret:?} {:?}", hmac_config()).contains("forty"));
}

#[test]
fn an_algorithm_that_fits_no_key_is_refused_with_both_named() {
    let words = refusal(AuthConfig {
        algorithms: vec![Accepted::Hs256, Accepted::Rs256],
        ..hmac_config()
    });
    assert!(words.contains("lists RS256"), "{words}");
    assert!(words.contains("HS256, HS384, HS512"), "{words}");
}

#[test]
fn algorithms_go_by_their_names() {
    for algorithm in Accepted::ALL {
        assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
    }
    for name in ["none", "hs256", "PS256", "ES384", ""] {
        assert!(name.parse::<Accepted>().is_err(), "{name}");
    }
}

#[test]
fn a_file_that_is_not_one_public_key_is_refused_with_the_way_out() {
    let two = format!("{RSA_1_PUBLIC}{RSA_2_PUBLIC}");
    let damaged = RSA_1_PUBLIC.replace("MIIB", "AAAA");
    let rows: [(&str, &str); 10] = [
        (RSA_1, "-pubout"),
        (ED25519, "-pubout"),
        (CERTIFICATE, "x509 -pubkey"),
        (&two, "2 PEM blocks"),
        ("", "0 PEM blocks"),
        (RSA_1024_PUBLIC, "1024 bits; 2048 to 4096"),
        (P384_PUBLIC, "no point on P-256"),
        (SECP256K1_PUBLIC, "no point on P-256"),
        (X25519_PUBLIC, "not of RSA, P-256 or Ed25519"),
        (&damaged, "not of RSA, P-256 or Ed25519"),
    ];
    for (content, expected) in rows {
        let words = pem_refusal(content);
        assert!(words.contains(expected), "{words:?} has {expected:?}");
    }
}

#[test]
fn a_file_that_is_missing_is_refused() {
    let file = TempFile::new("");
    let words = refusal(AuthConfig {
        jwks_file: Some(file.path().with_extension("missing")),
        ..AuthConfig::default()
    });
    assert!(words.contains("keys.missing"), "{words}");
    assert!(words.contains("not found"), "{words}");
}

#[test]
fn a_file_that_is_no_jwks_is_refused_without_quoting_it() {
    let rows = [
        "",
        "{}",
        "[]",
        r#"{"keys":"hush"}"#,
        r#"{"keys":{"hush":1}}"#,
        r#"{"keys":[],"#,
    ];
    for content in rows {
        let words = jwks_refusal(content);
        assert!(words.contains("no JWKS, see line 1"), "{words}");
        assert!(!words.contains("hush"), "{words}");
    }
}

#[test]
fn a_jwks_without_a_usable_key_is_refused_with_the_first_reason() {
    let good = jwk(&rsa(RSA_1), Algorithm::RS256, "r");
    let with = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        key
    };
    let mut nameless = good.clone();
    nameless.as_object_mut().unwrap().remove("kid");
    let mut short = jwk(&ed25519(), Algorithm::EdDSA, "d");
    short["x"] = "AAAA".into();
    let mut off_curve = jwk(&p256(), Algorithm::ES256, "e");
    off_curve["y"] = off_curve["x"].clone();
    let mut other_curve = jwk(&ed25519(), Algorithm::EdDSA, "d");
    other_curve["crv"] = "X25519".into();
    let rows = [
        (nameless, "no kid"),
        (with("use", json!("enc")), "not for signatures"),
        (with("key_ops", json!(["sign"])), "not for signatures"),
        (with("alg", json!("ES256")), "alg"),
        (with("alg", json!("HS256")), "alg"),
        (with("alg", json!("PS256")), "alg"),
        (with("alg", json!("RSA-OAEP")), "alg"),
        (with("kty", json!("EC")), "not of RSA"),
        (with("n", json!("AQAB")), "17 bits"),
        (with("n", json!("")), "0 bits"),
        (with("n", json!("!")), "not of RSA"),
        (
            json!({"kty": "oct", "kid": "o", "k": "A".repeat(43)}),
            "not of RSA",
        ),
        (json!({"kid": "x"}), "not of RSA"),
        (json!(7), "not of RSA"),
        (short, "no Ed25519 key"),
        (off_curve, "no point on P-256"),
        (other_curve, "not of RSA"),
    ];
    for (key, expected) in rows {
        let words = jwks_refusal(&jwks(std::slice::from_ref(&key)));
        assert!(
            words.contains(expected),
            "{key}: {words:?} has {expected:?}"
        );
    }
    assert!(jwks_refusal(&jwks(&[])).contains("none of its 0 keys"));
}

#[test]
fn a_jwks_with_a_usable_key_among_others_is_fine() {
    let set = TempFile::new(jwks(&[
        json!({"kty": "oct", "kid": "o", "k": "AAAA"}),
        json!("nonsense"),
        jwk(&p256(), Algorithm::ES256, "e"),
    ]));
    let ring = Keyring::new(AuthConfig {
        jwks_file: Some(set.path()),
        ..AuthConfig::default()
    });
    assert!(ring.is_ok());
}
