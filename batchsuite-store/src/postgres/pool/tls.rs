//! TLS through rustls, as `sslmode` demands. The adapter provides channel binding.

use std::{io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme, WantsVerifier,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres_rustls::MakeRustlsConnect;

/// The ALPN protocol that a server expects with direct TLS, which starts without a Postgres negotiation message.
const ALPN: &[u8] = b"postgresql";

/// Checks no certificate. For `prefer`: an attacker who could present a wrong certificate could also claim that the
/// server has no TLS.
pub(super) fn opportunistic() -> io::Result<MakeRustlsConnect> {
    let verifier = Arc::new(Opportunistic(provider()));
    Ok(adapter(builder()?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
}

/// Checks the certificate and the name in it, against the roots in a PEM file or the platform's.
pub(super) fn checked(roots: Option<&Path>) -> io::Result<MakeRustlsConnect> {
    let builder = builder()?;
    let builder = match roots {
        None => builder.with_platform_verifier().map_err(io::Error::other)?,
        Some(file) => {
            let mut store = RootCertStore::empty();
            for root in CertificateDer::pem_file_iter(file).map_err(io::Error::other)? {
                store.add(root.map_err(io::Error::other)?).map_err(io::Error::other)?;
            }
            builder.with_root_certificates(store)
        }
    };
    Ok(adapter(builder.with_no_client_auth()))
}

fn adapter(mut config: ClientConfig) -> MakeRustlsConnect {
    config.alpn_protocols = vec![ALPN.to_vec()];
    MakeRustlsConnect::new(config)
}

fn builder() -> io::Result<ConfigBuilder<ClientConfig, WantsVerifier>> {
    let builder = ClientConfig::builder_with_provider(provider());
    builder.with_safe_default_protocol_versions().map_err(io::Error::other)
}

/// Named explicitly: another crate may have set the process default.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Encrypts without authenticating the server.
#[derive(Debug)]
struct Opportunistic(Arc<CryptoProvider>);

impl ServerCertVerifier for Opportunistic {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
