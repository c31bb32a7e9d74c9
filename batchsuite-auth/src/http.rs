//! The HTTP client that the wire to UPS runs on, as a trait, and its adapter for reqwest.

use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;

use crate::clock::Stopwatch;

pub(crate) mod fence;
mod received;
#[cfg(feature = "reqwest")]
mod reqwest;

pub use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};

pub use self::received::Received;
pub(crate) use self::received::{ANSWER_CAP, append};

#[cfg(feature = "reqwest")]
pub use self::reqwest::{ClientBuildError, ReqwestClient, ReqwestClientBuilder};

/// Sends one request to UPS and brings its answer home.
///
/// # Contract
/// - A request is sent **at most once**. UPS's refresh tokens are single-use: a client that retries on its own replays a
///   spent token, and UPS ends the opt-in.
/// - Redirects are not followed; a 3xx is an answer like any other.
/// - A failure is [`HttpError::not_sent`] only if not one byte of the request can have reached UPS. In doubt it is
///   [`HttpError::unanswered`].
/// - An answer that is too large to be one of UPS's is `unanswered`.
/// - The bytes of an answer should be written to the request's [`Received`] as they arrive: if the answer breaks off, or a
///   deadline cuts it, the library reads them there.
/// - The whole exchange ends within a deadline that is shorter than the lease of a refresh (60 s), and within
///   [`TimeLimits::answer_within`]. But an answer that has arrived beats every deadline, even an answer that is still in the
///   socket of a process that was stopped: a deadline first gives the runtime half a second to read, then decides.
/// - A request is handed to its connection only while [`TimeLimits::may_be_sent`]. A client that waits before that, e.g. for a
///   connection, asks once more after the wait. If the time is over, nothing is sent, and the failure is
///   [`HttpErrorKind::Late`].
///
/// The library puts [`TimeLimits`] and [`Received`] in the [extensions](http::Request::extensions) of each request.
///
/// # Cancellation
/// A dropped future may leave a request on its way. The library never drops one: it sends inside a spawned task.
#[async_trait]
pub trait HttpClient: Debug + Send + Sync + 'static {
    /// Sends `request` and returns the whole answer, whatever its status.
    ///
    /// # Errors
    /// See the contract above: what matters is whether the request can have arrived.
    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, HttpError>;
}

#[async_trait]
impl<C: HttpClient + ?Sized> HttpClient for std::sync::Arc<C> {
    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, HttpError> {
        (**self).send(request).await
    }
}

/// How long a request may take: in the [extensions](http::Request::extensions) of each request that the library sends.
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
    /// The answer is waited for `answer_within`; the request may be sent at any time.
    pub fn new(answer_within: Duration) -> Self {
        Self { answer_within, send_within: None }
    }

    /// The request may be handed to its connection for `limit` from now on, the time of a suspended machine included.
    #[must_use]
    pub fn with_send_within(self, limit: Duration) -> Self {
        self.with_send_within_since(Stopwatch::start(), limit)
    }

    pub(crate) fn with_send_within_since(self, since: Stopwatch, limit: Duration) -> Self {
        Self { send_within: Some((since, limit)), ..self }
    }

    /// How long an answer is waited for, from the hand-over to the [`HttpClient`] on.
    pub fn answer_within(&self) -> Duration {
        self.answer_within
    }

    /// Whether the request may be handed to its connection now. Later another process may send the same refresh token.
    pub fn may_be_sent(&self) -> bool {
        self.send_within.as_ref().is_none_or(|(since, limit)| since.elapsed() < *limit)
    }
}

/// Why there is no answer. `Display` prints neither the URL nor the source.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.kind.describe())]
pub struct HttpError {
    kind: HttpErrorKind,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What can be said about a request that brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpErrorKind {
    /// No connection: refused, unreachable, timed out while connecting, or no such name. Nothing was sent.
    Connect,
    /// The server's certificate or its TLS is not acceptable. Nothing was sent.
    Tls,
    /// The request itself is not allowed or not possible, e.g. plain `http` to another machine. Nothing was sent.
    Request,
    /// The time in which the request was allowed to be sent was over before a connection could take it. Nothing was sent.
    Late,
    /// The request may have arrived; whether it did is unknown.
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
    /// Nothing was sent, for the reason `kind`; [`HttpErrorKind::Unanswered`] makes no claim of that.
    pub fn new(kind: HttpErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// The request may have arrived.
    pub fn unanswered() -> Self {
        Self::new(HttpErrorKind::Unanswered)
    }

    /// Nothing was sent: there was no connection.
    pub fn not_sent() -> Self {
        Self::new(HttpErrorKind::Connect)
    }

    /// Keeps the cause for [`source`](std::error::Error::source). It must not show a URL, a body or a header.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What can be said about the request.
    pub fn kind(&self) -> HttpErrorKind {
        self.kind
    }

    /// Whether not one byte of the request can have reached UPS.
    pub fn is_not_sent(&self) -> bool {
        self.kind != HttpErrorKind::Unanswered
    }
}
