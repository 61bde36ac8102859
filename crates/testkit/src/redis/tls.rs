//! The second port of a server, which speaks TLS.

use std::path::{Path, PathBuf};

use crate::certificates;

/// Lines of `redis.conf` that open the second port; the certificates are made at the first start.
pub(super) fn config(dir: &Path, port: u16) -> Vec<String> {
    if !ca_file(dir).exists() {
        certificates::make(dir, &["127.0.0.1".to_owned(), "localhost".to_owned()]);
    }
    let (certificate, key) = (
        certificates::certificate_file(dir),
        certificates::key_file(dir),
    );
    vec![
        format!("tls-port {port}"),
        format!("tls-ca-cert-file {}", ca_file(dir).display()),
        format!("tls-cert-file {}", certificate.display()),
        format!("tls-key-file {}", key.display()),
        "tls-auth-clients no".to_owned(),
    ]
}

pub(super) fn ca_file(dir: &Path) -> PathBuf {
    certificates::ca_file(dir)
}
