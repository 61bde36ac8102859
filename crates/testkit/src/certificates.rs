//! A certificate authority for one server, and the server's certificate.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// Makes an authority and a server of these names or addresses that it vouches for.
pub(crate) fn make(dir: &Path, names: &[String]) {
    let write = |path: PathBuf, text: String| std::fs::write(path, text).expect("ours to write");
    let new_key = || KeyPair::generate().expect("a key can be made");
    let (ca_key, key) = (new_key(), new_key());
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Of another name than the server's: a certificate whose issuer is its subject counts as
    // self-signed.
    authority
        .distinguished_name
        .push(DnType::CommonName, "test authority");
    let ca = authority.self_signed(&ca_key).expect("a key signs");
    let server = CertificateParams::new(names).expect("the names are valid");
    let issuer = Issuer::from_params(&authority, &ca_key);
    let certificate = server.signed_by(&key, &issuer).expect("a key signs");
    write(certificate_file(dir), certificate.pem());
    write(key_file(dir), key.serialize_pem());
    write(ca_file(dir), ca.pem());
}

/// The certificate of the authority.
pub(crate) fn ca_file(dir: &Path) -> PathBuf {
    dir.join("ca-cert.pem")
}

pub(crate) fn certificate_file(dir: &Path) -> PathBuf {
    dir.join("server-cert.pem")
}

/// The server's private key, as PKCS #8.
pub(crate) fn key_file(dir: &Path) -> PathBuf {
    dir.join("server-key.pem")
}
