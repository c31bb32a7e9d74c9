//! No secret in a log at TRACE, in an error with all its sources, or in a `Debug`.

use std::error::Error;
use std::time::Duration;

use batchsuite_auth::http::{HttpClient, HttpError, HttpErrorKind, ReqwestClient};
use tracing_subscriber::util::SubscriberInitExt;

use crate::log::Log;
use crate::server::{Server, answer, client};
use crate::tls::Authority;

/// In the URL, a header and the body of the request, and in the answer.
const CANARY: &str = "canary-7f3a91";

fn request(base: &str) -> http::Request<Vec<u8>> {
    http::Request::post(format!("{base}/{CANARY}?code={CANARY}"))
        .header("authorization", format!("Basic {CANARY}"))
        .body(format!("refresh_token={CANARY}").into_bytes())
        .unwrap()
}

#[test]
fn a_client_shows_its_settings_and_no_proxy() {
    let proxy = format!("http://user:{CANARY}@localhost:3128").parse().unwrap();
    let builder = client().proxy(proxy).deadline(Duration::from_secs(7));
    let shown = [format!("{builder:?}"), format!("{:?}", builder.build().unwrap())];
    for (shown, name) in shown.iter().zip(["ReqwestClientBuilder {", "ReqwestClient {"]) {
        assert!(shown.starts_with(name) && shown.contains("deadline: 7s") && !shown.contains(CANARY), "{shown}");
    }
}

#[test]
fn each_failure_has_its_words() {
    for (kind, words) in [
        (HttpErrorKind::Connect, "no connection to UPS; nothing was sent"),
        (HttpErrorKind::Tls, "UPS's certificate was refused; nothing was sent"),
        (HttpErrorKind::Request, "the request is not allowed; nothing was sent"),
        (HttpErrorKind::Late, "the request came too late to be sent; nothing was sent"),
        (HttpErrorKind::Unanswered, "no usable answer; the request may have arrived"),
    ] {
        assert_eq!(HttpError::new(kind).to_string(), words);
    }
}

#[tokio::test]
async fn no_secret_is_logged_at_trace_or_shown_by_an_error() {
    let log = Log::default();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish().init();
    let authority = Authority::new();
    let answered = Server::answering(answer("200 OK", &format!("x-token: {CANARY}\r\n"), CANARY.as_bytes())).await;
    let encrypted = authority.server("localhost", |_| {}).await;
    let wrong_host = authority.server("ups.example", |_| {}).await;
    let cut = Server::answering(format!("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{CANARY}")).await;
    let not_http = Server::answering(format!("{CANARY} is not HTTP\r\n\r\n")).await;
    let bad_header = Server::answering(format!("HTTP/1.1 200 OK\r\n{CANARY} {CANARY}\r\n\r\n")).await;
    let client = client()
        .root_certificate(authority.pem())
        .connect_timeout(Duration::from_millis(500))
        .deadline(Duration::from_secs(1))
        .build()
        .unwrap();
    let tls = |server: &Server| format!("https://localhost:{}", server.port());

    for (base, answers) in [
        (origin(&answered), true),
        (tls(&encrypted), true),
        (tls(&wrong_host), false),
        (origin(&cut), false),
        (origin(&not_http), false),
        (origin(&bad_header), false),
        ("http://127.0.0.1:1".to_owned(), false),
        ("http://ups.example".to_owned(), false),
        ("https://no-such-host.invalid".to_owned(), false),
        ("https://user:password@ups.example".to_owned(), false),
    ] {
        let outcome = client.send(request(&base)).await;

        assert_eq!(outcome.is_ok(), answers, "{base}");
        if let Err(error) = outcome {
            assert!(!shown(&error).contains(CANARY), "{}", shown(&error));
        }
    }
    let log = log.text();
    assert!(log.contains("hyper_util") && log.contains("rustls"), "the log is not hooked up: {log}");
    let line = log.lines().find(|line| line.contains(CANARY));
    assert_eq!(line, None);
}

#[tokio::test]
async fn a_proxys_password_is_not_shown() {
    let proxy: http::Uri = format!("http://user:{CANARY}@127.0.0.1:1").parse().unwrap();
    let builder = ReqwestClient::builder().proxy(proxy);
    assert!(!format!("{builder:?}").contains(CANARY));

    let client = builder.build().unwrap();
    let error = client.send(request("https://ups.example")).await.unwrap_err();

    assert!(!format!("{client:?}").contains(CANARY));
    assert!(!shown(&error).contains(CANARY), "{}", shown(&error));
}

fn origin(server: &Server) -> String {
    format!("http://127.0.0.1:{}", server.port())
}

/// All that an error can be made to say.
fn shown(error: &(dyn Error + 'static)) -> String {
    let mut shown = format!("{error:?} {error:#?}");
    let mut next = Some(error);
    while let Some(error) = next {
        shown.push_str(&format!("\n{error} {error:?}"));
        next = error.source();
    }
    shown
}
