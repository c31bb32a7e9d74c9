//! The adapter for reqwest.
//!
//! UPS's refresh tokens are single-use, so the default behaviour of HTTP clients loses opt-ins. Each of these guards
//! keeps one promise of the [`HttpClient`] contract, and each has a test that fails without it
//! (`tests/reqwest_client/`).
//!
//! | guard | why | test |
//! |---|---|---|
//! | `https` only; loopback by [`allow_loopback_http`](ReqwestClientBuilder::allow_loopback_http) | client secret and tokens never travel in the clear | `address.rs` |
//! | no credentials in a URL | URLs end up in logs | `address.rs` |
//! | no redirects | a 307 sends the refresh token to whatever host it names | `once.rs` |
//! | no retries | a replayed refresh token ends the opt-in | `once.rs` |
//! | only the proxy that the host configures | `HTTP_PROXY` is not under the host's control alone | `proxy.rs` |
//! | no decompression and no `Accept-Encoding` of its own | all crates of a build share reqwest's features; a bomb must stay small | `answer.rs` |
//! | body cap of 64 KiB, read in pieces | memory use is bounded | `answer.rs` |
//! | bytes are recorded as they arrive ([`Received`]) | a pair is complete when its object is, whatever breaks afterwards | `broken.rs` |
//! | lenient parsing of the head: folded lines, whitespace around names, many headers | a fault in the head must not cost the pair | `head.rs` |
//! | connect time-out: name, TCP and TLS | tells *not sent* from *unanswered* | `time.rs` |
//! | a connection that took too long is not used | after a stop of the process, another process may hold the lease | `time.rs` |
//! | a late request is not sent, not even on a kept connection | the same | `time.rs` |
//! | total deadline, which an answer that has arrived beats | the exchange ends before the lease; a stopped process keeps its pair | `time.rs` |
//! | failures are classified, in doubt as *unanswered* | only a request that was certainly not sent may be sent again | `failure.rs`, `tls.rs` |
//! | explicit crypto provider | the process default may be missing or ambiguous | `tls.rs` |
//! | `Authorization` marked sensitive; no URL in an error; no wire log | secrets are never shown | `secrecy.rs`, and the unit tests here |
//! | bodies are wiped after use | secrets do not stay in memory | unit tests |
//!
//! Only HTTP/1.1 is used: HTTP/2 has retries in the protocol, and two calls an hour gain nothing from it.
//!
//! This crate's own buffers are wiped. Those of hyper, rustls and the system, through which every byte also passes,
//! cannot be wiped from here; they are small and reused.

use std::error::Error as StdError;
use std::time::Duration;

use ::reqwest::Url;
use async_trait::async_trait;
use http::header::AUTHORIZATION;

use self::punctual::{Punctual, TooLate};
use super::{HttpClient, HttpError, HttpErrorKind, Received, TimeLimits, fence};
use crate::config::is_loopback;

mod body;
mod builder;
mod error;
mod punctual;
mod timely;
mod tls;

pub use self::{builder::ReqwestClientBuilder, error::ClientBuildError};

/// An [`HttpClient`] on reqwest. Clones are cheap and share the connections.
///
/// # Example
/// ```
/// use batchsuite_auth::http::ReqwestClient;
///
/// let client = ReqwestClient::builder().build()?;
/// # Ok::<_, batchsuite_auth::http::ClientBuildError>(())
/// ```
#[derive(Clone)]
pub struct ReqwestClient {
    client: ::reqwest::Client,
    deadline: Duration,
    loopback_http: bool,
}

impl ReqwestClient {
    /// Converts `request`, if it may be sent at all.
    ///
    /// The check uses the same [`Url`] that the request is sent to, so no second parser can disagree.
    fn admit(&self, request: http::Request<Vec<u8>>) -> Result<::reqwest::Request, HttpError> {
        let (parts, body) = request.into_parts();
        let url = Url::parse(&parts.uri.to_string()).map_err(|error| refused().with_source(error))?;
        match url.scheme() {
            "https" => {}
            "http" if self.loopback_http && is_loopback(&url) => {}
            _ => return Err(refused().with_source("only https is allowed, or http to this machine if enabled")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused().with_source("credentials do not belong in a URL"));
        }
        let mut headers = parts.headers;
        if let http::header::Entry::Occupied(mut authorization) = headers.entry(AUTHORIZATION) {
            authorization.iter_mut().for_each(|value| value.set_sensitive(true));
        }
        let mut admitted = ::reqwest::Request::new(parts.method, url);
        *admitted.headers_mut() = headers;
        *admitted.body_mut() = Some(match parts.extensions.get::<TimeLimits>() {
            // An empty body is never polled, so check here.
            Some(limits) if body.is_empty() && !limits.may_be_sent() => {
                return Err(HttpError::new(HttpErrorKind::Late));
            }
            Some(limits) => Punctual::body(body::to_send(body), limits.clone()),
            None => body::to_send(body),
        });
        Ok(admitted)
    }

    async fn exchange(
        &self,
        request: ::reqwest::Request,
        received: &Received,
    ) -> Result<http::Response<Vec<u8>>, HttpError> {
        let response = self.client.execute(request).await.map_err(classify)?;
        body::read(response, received).await
    }
}

#[async_trait]
impl HttpClient for ReqwestClient {
    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, HttpError> {
        let limit = request.extensions().get::<TimeLimits>().map_or(Duration::MAX, TimeLimits::answer_within);
        let received = request.extensions().get::<Received>().cloned().unwrap_or_default();
        let exchange = self.exchange(self.admit(request)?, &received);
        // reqwest's own time-out would also end an exchange whose answer has arrived.
        let outcome = fence::within(self.deadline.min(limit), fence::TIME_TO_READ, exchange).await;
        outcome.unwrap_or_else(|| Err(HttpError::unanswered().with_source("the deadline passed")))
    }
}

impl std::fmt::Debug for ReqwestClient {
    // A derived `Debug` would show the proxy and its password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReqwestClient")
            .field("deadline", &self.deadline)
            .field("loopback_http", &self.loopback_http)
            .finish_non_exhaustive()
    }
}

fn refused() -> HttpError {
    HttpError::new(HttpErrorKind::Request)
}

/// Classifies a failure before the head of an answer. hyper reports every failure before the first byte of the request
/// (name, TCP, proxy tunnel, TLS) as a *connect* error; any other failure may have come later.
fn classify(error: ::reqwest::Error) -> HttpError {
    let kind = if error.is_builder() {
        HttpErrorKind::Request
    } else if is_caused_by::<TooLate>(&error) {
        HttpErrorKind::Late
    } else if !error.is_connect() {
        HttpErrorKind::Unanswered
    } else if is_caused_by::<rustls::Error>(&error) {
        HttpErrorKind::Tls
    } else {
        HttpErrorKind::Connect
    };
    HttpError::new(kind).with_source(error.without_url())
}

fn is_caused_by<E: StdError + 'static>(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<E>() {
            return true;
        }
        next = match error.downcast_ref::<std::io::Error>() {
            // An `io::Error`'s `source` skips the error that it wraps.
            Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> ReqwestClient {
        ReqwestClient::builder().allow_loopback_http().build().unwrap()
    }

    fn request(uri: &str) -> http::Request<Vec<u8>> {
        http::Request::post(uri).header("authorization", "Basic c2VjcmV0").body(Vec::new()).unwrap()
    }

    #[test]
    fn only_https_and_plain_loopback_are_admitted() {
        let client = client();
        for (uri, admitted) in [
            ("https://onlinetools.ups.com/security/v1/oauth/token", true),
            ("https://127.0.0.1:8443/", true),
            ("http://127.0.0.1:3000/", true),
            ("http://127.255.255.254/", true),
            ("http://localhost:3000/", true),
            ("http://LOCALHOST/", true),
            ("http://[::1]:3000/", true),
            ("http://onlinetools.ups.com/", false),
            ("http://localhost.evil.example/", false),
            ("http://localhost./", false),
            ("http://127.0.0.1.evil.example/", false),
            ("http://localhost@evil.example/", false),
            ("http://127.0.0.1:80@evil.example/", false),
            ("http://user@localhost/", false),
            ("https://user:password@onlinetools.ups.com/", false),
            ("http://[::ffff:127.0.0.1]/", false),
            ("http://[::]/", false),
            ("http://0.0.0.0/", false),
            ("http://10.0.0.1/", false),
            ("ftp://localhost/", false),
            ("/security/v1/oauth/token", false),
        ] {
            let outcome = client.admit(request(uri));

            assert_eq!(outcome.is_ok(), admitted, "{uri}");
            if let Err(error) = outcome {
                assert_eq!(error.kind(), HttpErrorKind::Request, "{uri}");
            }
        }
    }

    #[test]
    fn plain_http_to_this_machine_is_refused_unless_asked_for() {
        let client = ReqwestClient::builder().build().unwrap();

        let outcome = client.admit(request("http://127.0.0.1:3000/"));

        assert_eq!(outcome.unwrap_err().kind(), HttpErrorKind::Request);
    }

    #[test]
    fn authorization_is_marked_sensitive() {
        let admitted = client().admit(request("https://onlinetools.ups.com/")).unwrap();

        assert!(admitted.headers()[AUTHORIZATION].is_sensitive());
        assert!(!format!("{admitted:?}").contains("c2VjcmV0"));
    }
}
