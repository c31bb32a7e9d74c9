use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use super::error::ClientBuildError;

/// TLS 1.2 and 1.3 on aws-lc-rs, verified by the platform's rules and roots plus `roots` (PEM).
///
/// The provider is explicit, never the process's default: a process may have none installed, and if two are compiled
/// in, rustls panics.
pub(super) fn client_config(roots: &[Vec<u8>]) -> Result<ClientConfig, ClientBuildError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier::new_with_extra_roots(certificates(roots)?, provider.clone())
        .map_err(|error| ClientBuildError::new("the root certificates cannot be used").with_source(error))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientBuildError::new("TLS cannot be set up").with_source(error))?
        // Any custom verifier counts as dangerous; this one checks everything that rustls's own does.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// For a client that talks only to this machine, on a system without root certificates: trusts no server.
pub(super) fn trusting_nobody() -> Result<ClientConfig, ClientBuildError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientBuildError::new("TLS cannot be set up").with_source(error))?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(roots: &[Vec<u8>]) -> Result<Vec<CertificateDer<'static>>, ClientBuildError> {
    let mut certificates = Vec::new();
    for pem in roots {
        let before = certificates.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            certificates.push(certificate.map_err(|error| {
                ClientBuildError::new("a root certificate cannot be read as PEM").with_source(error)
            })?);
        }
        if certificates.len() == before {
            return Err(ClientBuildError::new("a root certificate's PEM contains no certificate"));
        }
    }
    Ok(certificates)
}
