//! A certificate authority for one server, and the server's certificate.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// Lines of `redis.conf` that open the second port; the certificates are made at the first start.
pub(super) fn config(dir: &Path, port: u16) -> Vec<String> {
    let (ca, certificate, key) = (
        ca_file(dir),
        dir.join("server-cert.pem"),
        dir.join("server-key.pem"),
    );
    if !ca.exists() {
        make(&ca, &certificate, &key);
    }
    vec![
        format!("tls-port {port}"),
        format!("tls-ca-cert-file {}", ca.display()),
        format!("tls-cert-file {}", certificate.display()),
        format!("tls-key-file {}", key.display()),
        "tls-auth-clients no".to_owned(),
    ]
}

pub(super) fn ca_file(dir: &Path) -> PathBuf {
    dir.join("ca-cert.pem")
}

fn make(ca_file: &Path, certificate_file: &Path, key_file: &Path) {
    let write = |path: &Path, text: String| std::fs::write(path, text).expect("ours to write");
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
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let server = CertificateParams::new(names).expect("the names are valid");
    let issuer = Issuer::from_params(&authority, &ca_key);
    let certificate = server.signed_by(&key, &issuer).expect("a key signs");
    write(certificate_file, certificate.pem());
    write(key_file, key.serialize_pem());
    write(ca_file, ca.pem());
}
