//! Keys change on disk while tokens are judged.

use jsonwebtoken::Algorithm;
use parlance_auth::{AuthConfig, Keyring};
use parlance_core::ports::{Denied, Verifier};

use crate::forge::{
    P256_PUBLIC, RSA_1, RSA_1_PUBLIC, RSA_2, TempFile, good_token, jwk, jwks, now, p256, rsa,
};

struct Rotation {
    set: TempFile,
    pem: TempFile,
    ring: Keyring,
}

/// With the first RSA key in the JWKS, and the P-256 key in the PEM file.
fn rotation() -> Rotation {
    let set = TempFile::new(first_set());
    let pem = TempFile::new(P256_PUBLIC);
    let ring = Keyring::new(AuthConfig {
        jwks_file: Some(set.path()),
        public_key_file: Some(pem.path()),
        ..AuthConfig::default()
    })
    .unwrap();
    Rotation { set, pem, ring }
}

fn first_set() -> String {
    jwks(&[jwk(&rsa(RSA_1), Algorithm::RS256, "first")])
}

fn second_set() -> String {
    jwks(&[jwk(&rsa(RSA_2), Algorithm::RS256, "second")])
}

impl Rotation {
    fn first(&self) -> Result<(), Denied> {
        self.verdict(&good_token(Algorithm::RS256, &rsa(RSA_1), Some("first")))
    }

    fn second(&self) -> Result<(), Denied> {
        self.verdict(&good_token(Algorithm::RS256, &rsa(RSA_2), Some("second")))
    }

    fn verdict(&self, token: &str) -> Result<(), Denied> {
        self.ring.verify(token, now()).map(drop)
    }
}

#[test]
fn nothing_happens_while_the_files_stay_as_they_are() {
    let rotation = rotation();
    rotation.set.write(first_set());
    assert!(rotation.ring.reload_if_changed().is_empty());
    assert_eq!(rotation.first(), Ok(()));
}

#[test]
fn a_changed_file_replaces_its_keys_and_only_those() {
    let rotation = rotation();
    assert_eq!(rotation.second(), Err(Denied::UnknownKey));

    rotation.set.write(second_set());
    let reloads = rotation.ring.reload_if_changed();

    assert_eq!(reloads.len(), 1);
    assert_eq!(reloads[0].path, rotation.set.path());
    assert!(matches!(reloads[0].outcome, Ok(1)));
    assert_eq!(rotation.first(), Err(Denied::UnknownKey));
    assert_eq!(rotation.second(), Ok(()));
    let by_pem = good_token(Algorithm::ES256, &p256(), None);
    assert_eq!(rotation.verdict(&by_pem), Ok(()));
}

#[test]
fn a_pem_file_may_change_its_kind() {
    let rotation = rotation();
    rotation.pem.write(RSA_1_PUBLIC);
    assert_eq!(rotation.ring.reload_if_changed().len(), 1);
    let rs256 = good_token(Algorithm::RS256, &rsa(RSA_1), None);
    let es256 = good_token(Algorithm::ES256, &p256(), None);
    assert_eq!(rotation.verdict(&rs256), Ok(()));
    assert_eq!(rotation.verdict(&es256), Err(Denied::UnknownKey));
}

#[test]
fn a_bad_file_leaves_the_last_good_keys_and_is_told_once() {
    let rotation = rotation();
    for bad in ["", "{", r#"{"keys":[]}"#, RSA_1_PUBLIC] {
        rotation.set.write(bad);
        let reloads = rotation.ring.reload_if_changed();
        assert_eq!(reloads.len(), 1, "{bad}");
        assert!(reloads[0].outcome.is_err(), "{bad}");
        assert!(rotation.ring.reload_if_changed().is_empty(), "{bad}");
        assert_eq!(rotation.first(), Ok(()), "{bad}");
    }
}

#[test]
fn a_bad_file_does_not_hold_up_the_other() {
    let rotation = rotation();
    rotation.pem.write("nonsense");
    rotation.set.write(second_set());
    assert_eq!(rotation.ring.reload_if_changed().len(), 2);
    assert_eq!(rotation.second(), Ok(()));
}

#[test]
fn a_file_that_vanished_leaves_its_keys_until_it_is_back() {
    let rotation = rotation();
    std::fs::remove_file(rotation.set.path()).unwrap();
    let reloads = rotation.ring.reload_if_changed();
    assert!(reloads[0].outcome.is_err());
    assert_eq!(rotation.first(), Ok(()));

    rotation.set.write(second_set());
    assert_eq!(rotation.ring.reload_if_changed().len(), 1);
    assert_eq!(rotation.second(), Ok(()));
}

#[test]
fn a_file_that_grew_without_bound_is_not_read() {
    let rotation = rotation();
    rotation.set.write(vec![b' '; 2 * 1024 * 1024]);
    let reloads = rotation.ring.reload_if_changed();
    assert!(reloads[0].outcome.is_err());
    assert_eq!(rotation.first(), Ok(()));
}

#[test]
fn a_file_is_swapped_by_a_link_as_mounted_secrets_are() {
    let rotation = rotation();
    let path = rotation.set.path();
    let next = path.with_extension("next");
    std::fs::write(&next, second_set()).unwrap();
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    let file = std::fs::File::options().write(true).open(&next).unwrap();
    file.set_modified(modified).unwrap();
    std::fs::rename(&next, &path).unwrap();

    assert_eq!(rotation.ring.reload_if_changed().len(), 1);
    assert_eq!(rotation.second(), Ok(()));
}
