//! Encrypted connections.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::options::Tls;

/// # Errors
/// What is wrong with the authorities, in words.
pub(crate) fn context(tls: &Tls) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match &tls.ca_file {
        Some(path) => {
            let failed = |error| format!("`{}` cannot be read: {error}", path.display());
            for certificate in CertificateDer::pem_file_iter(path).map_err(failed)? {
                let certificate = certificate.map_err(failed)?;
                let added = roots.add(certificate);
                added.map_err(|error| format!("`{}`: {error}", path.display()))?;
            }
        }
        None => {
            // One that cannot be read is no reason to do without the others.
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() {
        return Err("there is no authority to trust".to_owned());
    }
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        return Err("this process has no provider of cryptography".to_owned());
    }
    let config = ClientConfig::builder().with_root_certificates(roots);
    Ok(Arc::new(config.with_no_client_auth()))
}
