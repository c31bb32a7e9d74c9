//! The HTTP client behind every request to UPS: a trait, and an adapter for reqwest.

use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;

use crate::clock::Stopwatch;

pub(crate) mod fence;
mod received;
#[cfg(feature = "reqwest")]
mod reqwest;
mod retry_after;

pub use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};

pub use self::received::Received;
pub(crate) use self::{
    received::{ANSWER_CAP, append},
    retry_after::retry_after,
};

#[cfg(feature = "reqwest")]
pub use self::reqwest::{ClientBuildError, ReqwestClient, ReqwestClientBuilder};

/// Sends requests to UPS.
///
/// # Contract
/// - A request is sent **at most once**. UPS's refresh tokens are single-use: a client that retries by itself replays a
///   spent token, and UPS ends the opt-in.
/// - Redirects are not followed; a 3xx is an answer like any other.
/// - A failure is [`HttpError::not_sent`] only if no byte of the request can have reached UPS. In doubt it is
///   [`HttpError::unanswered`].
/// - An answer too large to be UPS's is `unanswered`.
/// - The bytes of an answer should be written to the request's [`Received`] as they arrive. If the answer breaks off,
///   or a deadline ends it, the library reads them there.
/// - The whole exchange ends before the lease of a refresh does (60 s), and within [`TimeLimits::answer_within`]. But
///   an answer that has arrived beats every deadline, even an answer still in the socket when a stopped process
///   resumes: after its deadline, a client first gives the runtime half a second to read.
/// - A request is handed to its connection only while [`TimeLimits::may_be_sent`] is true. A client that waits before
///   the hand-over, for a connection for example, checks again after the wait. If the time has passed, nothing is sent,
///   and the failure is [`HttpErrorKind::Late`].
///
/// The library puts [`TimeLimits`] and [`Received`] into the [extensions](http::Request::extensions) of each request.
///
/// # Cancellation
/// Not cancel-safe: a dropped future may leave a request on its way. The library sends only from spawned tasks and
/// never drops the future.
#[async_trait]
pub trait HttpClient: Debug + Send + Sync + 'static {
    /// Sends `request` and returns the complete answer, whatever its status.
    ///
    /// # Errors
    /// [`HttpError`]: whether the request can have arrived decides its kind, as the contract above says.
    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, HttpError>;
}

#[async_trait]
impl<C: HttpClient + ?Sized> HttpClient for std::sync::Arc<C> {
    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, HttpError> {
        (**self).send(request).await
    }
}

/// The time limits of a request. The library puts them into the [extensions](http::Request::extensions) of each
/// request.
///
/// ```
/// use std::time::Duration;
/// use batchsuite_auth::http::TimeLimits;
///
/// let request = http::Request::post("https://wwwcie.ups.com/")
///     .extension(TimeLimits::new(Duration::from_secs(30)).with_send_within(Duration::from_secs(5)))
///     .body(Vec::<u8>::new())?;
///
/// let limits = request.extensions().get::<TimeLimits>().unwrap();
/// assert!(limits.may_be_sent());
/// # Ok::<_, http::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TimeLimits {
    answer_within: Duration,
    send_within: Option<(Stopwatch, Duration)>,
}

impl TimeLimits {
    /// Waits up to `answer_within` for the answer; the request may be sent at any time.
    pub fn new(answer_within: Duration) -> Self {
        Self { answer_within, send_within: None }
    }

    /// Allows the request to be handed to its connection for `limit` from now on. Time during which the machine is
    /// suspended counts.
    #[must_use]
    pub fn with_send_within(self, limit: Duration) -> Self {
        self.with_send_within_since(Stopwatch::start(), limit)
    }

    pub(crate) fn with_send_within_since(self, since: Stopwatch, limit: Duration) -> Self {
        Self { send_within: Some((since, limit)), ..self }
    }

    /// How long to wait for the answer, starting when the [`HttpClient`] gets the request.
    pub fn answer_within(&self) -> Duration {
        self.answer_within
    }

    /// Whether the request may still be handed to its connection. Afterwards another process may send the same refresh
    /// token.
    pub fn may_be_sent(&self) -> bool {
        self.send_within.as_ref().is_none_or(|(since, limit)| since.elapsed() < *limit)
    }
}

/// Why a request got no answer. `Display` shows neither the URL nor the source.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.kind.describe())]
pub struct HttpError {
    kind: HttpErrorKind,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What is known about a request that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpErrorKind {
    /// No connection: refused, unreachable, timed out while connecting, or no such name. Nothing was sent.
    Connect,
    /// The server's certificate or TLS version was refused. Nothing was sent.
    Tls,
    /// The request is not allowed or not possible, such as plain `http` to another machine. Nothing was sent.
    Request,
    /// Its time to be sent was over before a connection could take it. Nothing was sent.
    Late,
    /// It is unknown whether the request arrived.
    Unanswered,
}

impl HttpErrorKind {
    fn describe(self) -> &'static str {
        match self {
            Self::Connect => "no connection to UPS; nothing was sent",
            Self::Tls => "UPS's certificate was refused; nothing was sent",
            Self::Request => "the request is not allowed; nothing was sent",
            Self::Late => "the request came too late to be sent; nothing was sent",
            Self::Unanswered => "no usable answer; the request may have arrived",
        }
    }
}

impl HttpError {
    /// An error of this kind. Every kind except [`HttpErrorKind::Unanswered`] states that nothing was sent.
    pub fn new(kind: HttpErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// An error of a request that may have arrived.
    pub fn unanswered() -> Self {
        Self::new(HttpErrorKind::Unanswered)
    }

    /// An error without a connection: nothing was sent.
    pub fn not_sent() -> Self {
        Self::new(HttpErrorKind::Connect)
    }

    /// Sets the [`source`](std::error::Error::source). It must not show a URL, a body or a header.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What is known about the request.
    pub fn kind(&self) -> HttpErrorKind {
        self.kind
    }

    /// Whether no byte of the request can have reached UPS.
    pub fn is_not_sent(&self) -> bool {
        self.kind != HttpErrorKind::Unanswered
    }
}
