//! Connections that fail before, during or after the request.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use batchsuite_auth::{
    error::{CallbackError, Unavailable},
    events::EventKind,
    fake_ups::{Endpoint, FakeUps, Fault, Times},
    http::{HttpErrorKind, ReqwestClient},
};
use batchsuite_tests::eventually;
use futures_util::future::join_all;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{io::AsyncReadExt, net::TcpListener};
use tokio_rustls::TlsAcceptor;

use crate::{
    steps::{
        Ups, assert_failed_exchange, assert_retried, assert_unanswered, assert_unanswered_exchange,
        assert_unanswered_refresh,
    },
    world::{Setup, World, unavailable},
};

/// Asserts at both endpoints that nothing is sent to `elsewhere`, so that the same token works later.
async fn assert_not_sent(setup: impl Fn(&mut Setup), elsewhere: &str, evidence: &str) {
    let world = World::with(&setup).await.opted_in().await;
    world.advance(2 * 3600);
    world.http.send_to(elsewhere);

    let wait = assert_retried(&world, Unavailable::NotSent, elsewhere).await;

    assert!(wait <= Duration::from_secs(2), "{wait:?}");
    let told = world.last(EventKind::RefreshFailed).await.evidence.unwrap();
    assert!(told.message.unwrap().starts_with(evidence), "{elsewhere}");
    assert!(told.attempt.is_some());

    let world = World::with(&setup).await.opted_in().await;
    world.token().await.unwrap();
    world.http.send_to(elsewhere);
    let error = assert_failed_exchange(&world, elsewhere).await;
    assert!(matches!(error, CallbackError::Unavailable { .. }), "{error:?}");
    assert!(error.is_transient() && error.retry_after().is_some());
    assert!(world.last(EventKind::Failed).await.evidence.unwrap().message.unwrap().starts_with(evidence));
}

#[tokio::test]
async fn connection_refused_or_dns_failure_is_retried() {
    let port = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        listener.local_addr().unwrap().port()
    };
    for elsewhere in [format!("http://127.0.0.1:{port}"), "https://no-such-host.invalid".to_owned()] {
        assert_not_sent(|_| {}, &elsewhere, "no connection").await;
    }
}

#[tokio::test]
async fn a_connect_time_out_or_a_tls_handshake_that_never_ends_is_retried() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok(connection) = listener.accept().await {
            connections.push(connection);
        }
    });

    let http = ReqwestClient::builder().allow_loopback_http().connect_timeout(Duration::from_secs(1)).build().unwrap();
    let setup = |setup: &mut Setup| {
        setup.http = http.clone();
    };
    assert_not_sent(setup, &format!("https://localhost:{port}"), "no connection").await;

    silent.abort();
}

#[tokio::test]
async fn a_bad_certificate_is_retried_and_raises_a_security_event() {
    let authority = Authority::new();
    let expired = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 2, 1);
    };
    for server in [
        Authority::new().server("localhost", |_| {}).await,
        authority.server("localhost", expired).await,
        authority.server("onlinetools.ups.example", |_| {}).await,
    ] {
        let http = ReqwestClient::builder().allow_loopback_http().root_certificate(authority.0.pem()).build().unwrap();
        let trust = |setup: &mut Setup| {
            setup.http = http.clone();
        };

        assert_not_sent(trust, &server.url, "security:").await;

        assert_eq!(server.handshakes.load(SeqCst), 0);
        assert_eq!(server.connections.load(SeqCst), 2);
    }
}

#[tokio::test]
async fn a_request_that_the_http_client_does_not_allow_is_retried() {
    assert_not_sent(|_| {}, "http://onlinetools.ups.example", "the request is not allowed").await;
}

/// A deadline short enough for quick tests, and long enough for every request that succeeds.
fn impatient(setup: &mut Setup) {
    setup.policy.request_deadline = Duration::from_secs(1);
}

async fn impatient_world() -> World {
    let world = World::with(impatient).await.opted_in().await;
    world.token().await.unwrap();
    world
}

#[tokio::test]
async fn a_reset_or_time_out_after_the_request_is_probed() {
    let faults = [
        (Fault::Reset, Ups::DidNotRotate),
        (Fault::Close, Ups::DidNotRotate),
        (Fault::Hang, Ups::DidNotRotate),
        (Fault::DropAnswer, Ups::Rotated),
        (Fault::Truncate { keep_bytes: 7 }, Ups::Rotated),
        (Fault::Delay { milliseconds: 30_000 }, Ups::Rotated),
    ];
    join_all(faults.map(async |(fault, did)| {
        let world = impatient_world().await;
        world.advance(2 * 3600);
        assert_unanswered_refresh(&world, fault.clone(), did).await;
        assert_unanswered_exchange(&impatient_world().await, fault).await;
    }))
    .await;
}

#[tokio::test]
async fn one_byte_every_few_seconds_is_probed() {
    let world = impatient_world().await;
    world.advance(2 * 3600);
    assert_unanswered_refresh(&world, Fault::Trickle { milliseconds: 3000 }, Ups::Rotated).await;
    assert_unanswered_exchange(&impatient_world().await, Fault::Trickle { milliseconds: 3000 }).await;
}

#[tokio::test]
async fn a_connection_that_breaks_before_anything_is_read_costs_nothing() {
    for fault in [Fault::Reset, Fault::Close] {
        let world = World::refresh_due().await;
        // Another UPS, because the connections to this one are already open.
        let other = FakeUps::start().await;
        other.fault(Endpoint::Connection, fault.clone(), Times::UntilCleared);
        world.http.send_to(other.base_url().as_str());

        let (reason, _) = unavailable(world.token().await);

        // The client may notice the fault before or after it sends.
        assert!(matches!(reason, Unavailable::NotSent | Unavailable::Unanswered), "{fault:?}: {reason:?}");
        assert_eq!(other.requests().total(Endpoint::Refresh), 0);
        world.http.back_to_ups();
        world.advance(62);
        assert_eq!(world.token().await.unwrap().revision().version, 2, "{fault:?}");
        assert_eq!(world.rotations(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn an_http_client_of_the_hosts_own_is_judged_by_what_it_says_was_sent() {
    for kind in [HttpErrorKind::Connect, HttpErrorKind::Tls, HttpErrorKind::Request] {
        let world = World::refresh_due().await;
        world.http.answer_next(Err(kind));
        assert_retried(&world, Unavailable::NotSent, &format!("{kind:?}")).await;
    }
    let world = World::refresh_due().await;
    world.http.answer_next(Err(HttpErrorKind::Unanswered));
    assert_unanswered(&world, Ups::DidNotRotate, "unanswered").await;
}

#[tokio::test]
async fn ups_offline_is_ridden_out_on_the_token_that_still_works() {
    let world = World::authenticated().await;
    world.ups.go_offline().await;
    world.advance(3180);

    let token = world.token().await.unwrap();

    let failures =
        async || world.count(EventKind::RefreshFailed).await + world.count(EventKind::RefreshUnanswered).await;
    eventually("the failure", async || failures().await == 1).await;
    world.advance(400);
    assert_eq!(world.token().await.unwrap().revision(), token.revision());
    eventually("the next failure", async || failures().await == 2).await;
    world.ups.go_online().await;
    world.advance(3600);
    let token = eventually("UPS is back", async || match world.token().await {
        Ok(token) => Some(token),
        Err(error) => {
            world.clock.advance(error.retry_after().unwrap());
            None
        }
    })
    .await;
    assert_eq!(world.track(&token).await, 200);
    assert_eq!(world.rotations(), 1);
}

/// The test's own certificate authority.
struct Authority(CertifiedIssuer<'static, KeyPair>);

struct TlsServer {
    url: String,
    connections: Arc<AtomicUsize>,
    handshakes: Arc<AtomicUsize>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A server whose certificate is for `host`, changed by `change`. It counts successful handshakes, which every
    /// request needs.
    async fn server(&self, host: &str, change: impl FnOnce(&mut CertificateParams)) -> TlsServer {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let (connections, handshakes) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let server = TlsServer { url, connections: connections.clone(), handshakes: handshakes.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, SeqCst);
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                // In TLS 1.3 the server's handshake ends before the client has verified the certificate. So a handshake
                // counts only after the client's first byte.
                if matches!(stream.read(&mut [0; 1]).await, Ok(1)) {
                    handshakes.fetch_add(1, SeqCst);
                }
            }
        });
        server
    }
}
