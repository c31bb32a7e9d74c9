//! Who UPS is, the certificate says; nothing is sent to anybody else.

use std::sync::Arc;

use batchsuite_auth::http::{HttpClient, HttpErrorKind, ReqwestClient};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::server::{Connection, Server, answer, assert_kind, refresh};

/// A certificate authority of the test's own.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server whose certificate is for `host`, changed by `change`, signed by this authority.
    pub(crate) async fn server(&self, host: &str, change: impl FnOnce(&mut CertificateParams)) -> Server {
        serve(self.server_config(host, change)).await
    }

    /// Such a server that runs `script` on each connection.
    pub(crate) async fn server_with<F>(
        &self,
        host: &str,
        script: impl Fn(Connection<TlsStream<TcpStream>>) -> F + Clone + Send + Sync + 'static,
    ) -> Server
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let acceptor = TlsAcceptor::from(self.server_config(host, |_| {}));
        Server::start(move |connection, _| {
            let (acceptor, script) = (acceptor.clone(), script.clone());
            async move {
                if let Ok(connection) = connection.upgrade(|stream| acceptor.accept(stream)).await {
                    script(connection).await;
                }
            }
        })
        .await
    }

    /// What such a server is set up with.
    pub(crate) fn server_config(&self, host: &str, change: impl FnOnce(&mut CertificateParams)) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        server_config(certificate.der().clone(), &key)
    }
}

async fn self_signed(host: &str) -> Server {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([host.to_owned()]).unwrap().self_signed(&key).unwrap();
    serve(server_config(certificate.der().clone(), &key)).await
}

fn server_config(certificate: CertificateDer<'static>, key: &KeyPair) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    // A client that offers HTTP/2 gets it, and then fails: the server speaks HTTP/1.1.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

async fn serve(config: Arc<ServerConfig>) -> Server {
    let acceptor = TlsAcceptor::from(config);
    Server::start(move |connection, _| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut connection) = connection.upgrade(|stream| acceptor.accept(stream)).await else { return };
            while connection.request().await.is_some() {
                connection.write(&answer("200 OK", "", b"{}")).await;
            }
        }
    })
    .await
}

fn https(server: &Server) -> http::Request<Vec<u8>> {
    refresh(format!("https://localhost:{}/", server.port()))
}

#[tokio::test]
async fn a_certificate_of_a_named_authority_is_accepted() {
    let authority = Authority::new();
    let server = authority.server("localhost", |_| {}).await;
    let client = ReqwestClient::builder().root_certificate(authority.pem()).build().unwrap();

    let outcome = client.send(https(&server)).await;

    assert_eq!(outcome.unwrap().status(), 200);
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_bad_certificate_is_told_as_tls_and_gets_nothing() {
    let authority = Authority::new();
    let expired = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 2, 1);
    };
    for (why, server) in [
        ("self-signed", self_signed("localhost").await),
        ("unknown authority", Authority::new().server("localhost", |_| {}).await),
        ("expired", authority.server("localhost", expired).await),
        ("wrong host", authority.server("onlinetools.ups.example", |_| {}).await),
    ] {
        let client = ReqwestClient::builder().root_certificate(authority.pem()).build().unwrap();

        let outcome = client.send(https(&server)).await;

        let error = assert_kind(outcome, HttpErrorKind::Tls);
        assert!(format!("{error:?}").contains("InvalidCertificate"), "{why}: {error:?}");
        assert_eq!((server.connections(), server.requests()), (1, 0), "{why}");
    }
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_told_as_tls() {
    let server = Server::start(|mut connection, _| async move {
        connection.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        connection.hold().await;
    })
    .await;
    let client = ReqwestClient::builder().build().unwrap();

    let outcome = client.send(https(&server)).await;

    assert_kind(outcome, HttpErrorKind::Tls);
}

#[test]
fn a_root_certificate_that_is_none_is_refused_at_build() {
    for pem in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(ReqwestClient::builder().root_certificate(pem).build().is_err(), "{pem}");
    }
}

#[test]
fn the_crypto_provider_is_not_the_processs() {
    let process_wide = rustls::crypto::CryptoProvider::get_default();
    assert!(process_wide.is_none(), "this test is about a process without one");

    ReqwestClient::builder().build().unwrap();

    assert!(rustls::crypto::CryptoProvider::get_default().is_none());
}

const CHILD: &str = "BATCHSUITE_TEST_WITHOUT_ROOTS";

#[test]
fn without_root_certificates_only_plain_loopback_works() {
    if std::env::var_os(CHILD).is_some() {
        assert!(ReqwestClient::builder().build().is_err(), "https alone needs roots");
        assert!(ReqwestClient::builder().allow_loopback_http().build().is_ok());
        return;
    }
    // Its environment cannot be changed while other tests run, so the test runs itself once more.
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tls::without_root_certificates_only_plain_loopback_works", "--nocapture"])
        .env(CHILD, "1")
        .env("SSL_CERT_FILE", "/nonexistent")
        .env("SSL_CERT_DIR", "/nonexistent")
        .output()
        .unwrap();

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the child ran no test");
}
