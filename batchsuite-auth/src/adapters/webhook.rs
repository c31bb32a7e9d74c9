//! Posts each event of a delivery to a webhook, signed by the scheme of <https://www.standardwebhooks.com>.
//!
//! ```
//! use batchsuite_auth::{
//!     BatchSuiteAuth,
//!     adapters::webhook::{Webhook, WebhookSecret},
//! };
//!
//! fn deliver_to_billing(auth: &BatchSuiteAuth) -> Result<(), Box<dyn std::error::Error>> {
//!     let secret = WebhookSecret::new(&std::env::var("WEBHOOK_SECRET")?)?;
//!     let webhook = Webhook::builder("https://billing.example/ups-events".parse()?, secret).build()?;
//!     auth.deliver("billing-webhook", webhook)?;
//!     Ok(())
//! }
//! ```
//!
//! # The request
//! | part | content |
//! |---|---|
//! | body | the event as JSON ([`Event`] serialized). It contains no token |
//! | `webhook-id` | [`Event::stable_id`]: the same in each repetition, so that the receiver can drop repetitions |
//! | `webhook-timestamp` | the time of this request, in seconds since 1970 |
//! | `webhook-signature` | `v1,` and the base64 of HMAC-SHA-256 over id, timestamp and body, for each secret |
//!
//! A [`Gap`] is posted as `{"kind": "missed", "environment": …, "after": …, "up_to": …}`: the receiver has not seen the
//! events after number `after` up to number `up_to`.
//!
//! # The answer
//! | status | what follows |
//! |---|---|
//! | 2xx | the next event |
//! | 410 | the delivery ends in this process, as after [`HandlerError::stop`] |
//! | 429, 502, 503, 504 | the same event again, after a pause; not before `Retry-After`, up to an hour |
//! | any other, redirects too | the same event again, after a pause |
//!
//! Events are posted in order, so a receiver answers 2xx to an event that it has no use for. Nothing of the answer but
//! its status and `Retry-After` is used or shown, and at most 64 KiB of it are read.
//!
//! # Security
//! Only https, or http to this machine if [allowed](WebhookBuilder::allow_loopback_http); no redirects; no proxy from
//! the environment. A request ends after 20 s, and its connect after 5 s. Neither the URL, which may hold a secret, nor
//! a [`WebhookSecret`] is logged or shown.
//!
//! A receiver checks the signature, with a library of <https://www.standardwebhooks.com> in its language, and refuses
//! timestamps that are more than a few minutes off.

use std::{error::Error as _, fmt, time::Duration};

use async_trait::async_trait;
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, Request, Response, StatusCode, header};
use serde_json::json;
use url::Url;

use crate::{
    clock::{Clock as _, SystemClock},
    config::{is_https_or_loopback, is_loopback},
    deliveries::{EventHandler, Gap, HandlerError},
    error::chain,
    events::{Event, EventKind},
    http::{
        ClientBuildError, HttpClient as _, HttpError, HttpErrorKind, Received, ReqwestClient, ReqwestClientBuilder,
        retry_after,
    },
};

/// The longest pause that a receiver can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// The secret that signs a webhook's requests, shared with its receiver.
///
/// ```
/// use batchsuite_auth::adapters::webhook::WebhookSecret;
///
/// assert!(WebhookSecret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").is_ok());
/// assert!(WebhookSecret::new("too-short").is_err());
/// ```
pub struct WebhookSecret(hmac::Key);

/// A webhook's secret is not the base64 of 24 to 64 bytes, with or without `whsec_` before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a webhook's secret must be the base64 of 24 to 64 random bytes, with or without `whsec_` before it")]
#[non_exhaustive]
pub struct InvalidSecret;

impl WebhookSecret {
    /// Reads a secret: the base64 of 24 to 64 random bytes, with or without `whsec_` before it. For example, the output
    /// of `openssl rand -base64 32`.
    ///
    /// # Errors
    /// [`InvalidSecret`]
    pub fn new(text: &str) -> Result<Self, InvalidSecret> {
        let text = text.trim();
        let bytes = STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text)).map_err(|_| InvalidSecret)?;
        let bytes = zeroize::Zeroizing::new(bytes);
        let is_long_enough = (24..=64).contains(&bytes.len());
        is_long_enough.then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes))).ok_or(InvalidSecret)
    }

    fn signature(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(..)")
    }
}

/// An [`EventHandler`] that posts each event; see the [module](self).
pub struct Webhook {
    url: String,
    secrets: Vec<WebhookSecret>,
    kinds: Option<Vec<EventKind>>,
    client: ReqwestClient,
}

/// Builds a [`Webhook`].
#[must_use = "nothing begins until build()"]
pub struct WebhookBuilder {
    url: Url,
    secrets: Vec<WebhookSecret>,
    kinds: Option<Vec<EventKind>>,
    loopback_http: bool,
    client: ReqwestClientBuilder,
}

/// A webhook cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookBuildError {
    /// Its URL is not allowed.
    #[error("a webhook's URL must be https, or http to this machine if allowed, without user and fragment")]
    Url,
    /// Its HTTP client cannot be built.
    #[error("the webhook's HTTP client cannot be built")]
    Client(#[source] ClientBuildError),
}

impl Webhook {
    /// Starts the configuration of a webhook at `url`.
    pub fn builder(url: Url, secret: WebhookSecret) -> WebhookBuilder {
        let client = ReqwestClient::builder();
        WebhookBuilder { url, secrets: vec![secret], kinds: None, loopback_http: false, client }
    }

    async fn post(&self, id: &str, body: Vec<u8>) -> Result<(), HandlerError> {
        let received = Received::default();
        let mut request = self.request(id, body).map_err(HandlerError::new)?;
        request.extensions_mut().insert(received.clone());
        match self.client.send(request).await {
            Ok(answer) => verdict(&answer),
            // The head has arrived; the rest of the answer does not matter.
            Err(error) => received.take().map_or_else(|| Err(unanswered(&error)), |answer| verdict(&answer)),
        }
    }

    fn request(&self, id: &str, body: Vec<u8>) -> Result<Request<Vec<u8>>, http::Error> {
        let timestamp = SystemClock.now().timestamp();
        let signatures: Vec<_> = self.secrets.iter().map(|secret| secret.signature(id, timestamp, &body)).collect();
        Request::post(&self.url)
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signatures.join(" "))
            .body(body)
    }
}

#[async_trait]
impl EventHandler for Webhook {
    fn wants(&self, event: &Event) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&event.kind))
    }

    async fn handle(&self, event: &Event) -> Result<(), HandlerError> {
        self.post(&event.stable_id(), serde_json::to_vec(event)?).await
    }

    async fn missed(&self, gap: Gap) -> Result<(), HandlerError> {
        let Gap { environment, after, up_to, .. } = gap;
        let body = json!({"kind": "missed", "environment": environment, "after": after, "up_to": up_to});
        let id = format!("{environment}_missed_{}_{}", after.number(), up_to.number());
        self.post(&id, body.to_string().into_bytes()).await
    }
}

fn verdict(answer: &Response<Vec<u8>>) -> Result<(), HandlerError> {
    let status = answer.status();
    let error = || format!("the webhook answered {}", status.as_u16());
    match status {
        _ if status.is_success() => Ok(()),
        StatusCode::GONE => Err(HandlerError::stop(error())),
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => {
            let pause = retry_after(answer.headers(), SystemClock.now()).unwrap_or_default();
            Err(HandlerError::new(error()).with_retry_after(pause.min(LONGEST_PAUSE)))
        }
        _ => Err(HandlerError::new(error())),
    }
}

/// In words for a webhook: those of [`HttpError`] are about UPS.
fn unanswered(error: &HttpError) -> HandlerError {
    let words = match error.kind() {
        HttpErrorKind::Connect => "no connection to the webhook",
        HttpErrorKind::Tls => "the webhook's certificate was refused",
        HttpErrorKind::Request => "the webhook's URL is not allowed",
        _ => "no answer of the webhook",
    };
    match error.source() {
        Some(source) => HandlerError::new(format!("{words}: {}", chain(source))),
        None => HandlerError::new(words),
    }
}

impl WebhookBuilder {
    /// Posts only events of these kinds. By default, all are posted, each rotation of a token included.
    pub fn kinds(mut self, kinds: impl IntoIterator<Item = EventKind>) -> Self {
        self.kinds = Some(kinds.into_iter().collect());
        self
    }

    /// Signs with `secret` as well. While a secret is replaced, the receiver accepts either.
    pub fn also_signed_with(mut self, secret: WebhookSecret) -> Self {
        self.secrets.push(secret);
        self
    }

    /// Allows plain `http` to this machine, for tests.
    pub fn allow_loopback_http(mut self) -> Self {
        self.loopback_http = true;
        self.client = self.client.allow_loopback_http();
        self
    }

    /// Trusts the certificates in `pem` in addition to the system's.
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.client = self.client.root_certificate(pem);
        self
    }

    /// How long a request may take, including its connect; 20 s by default, at most 50 s, more than 5 s.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.client = self.client.deadline(deadline);
        self
    }

    /// Builds the handler for [`BatchSuiteAuth::deliver`](crate::BatchSuiteAuth::deliver).
    ///
    /// # Errors
    /// [`WebhookBuildError`]
    pub fn build(self) -> Result<Webhook, WebhookBuildError> {
        let Self { url, secrets, kinds, loopback_http, client } = self;
        let is_allowed = is_https_or_loopback(&url) && (url.scheme() == "https" || loopback_http && is_loopback(&url));
        let has_extras = !url.username().is_empty() || url.password().is_some() || url.fragment().is_some();
        if !is_allowed || has_extras {
            return Err(WebhookBuildError::Url);
        }
        let client = client.build().map_err(WebhookBuildError::Client)?;
        Ok(Webhook { url: url.into(), secrets, kinds, client })
    }
}

// The URL may hold a secret.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("kinds", &self.kinds).finish_non_exhaustive()
    }
}

impl fmt::Debug for WebhookBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookBuilder").field("kinds", &self.kinds).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    /// The example of the scheme's own test suites.
    #[test]
    fn a_signature_is_that_of_the_scheme() {
        let secret = WebhookSecret::new(SECRET).unwrap();

        let signature = secret.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);

        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_the_base64_of_24_to_64_bytes() {
        for (bytes, is_valid) in [(23, false), (24, true), (64, true), (65, false)] {
            let text = STANDARD.encode(vec![7; bytes]);
            assert_eq!(WebhookSecret::new(&text).is_ok(), is_valid, "{bytes}");
            assert_eq!(WebhookSecret::new(&format!("whsec_{text}\n")).is_ok(), is_valid, "{bytes}");
        }
        for text in ["", "whsec_", "not base64 at all, but long enough to be one"] {
            assert_eq!(WebhookSecret::new(text).err(), Some(InvalidSecret), "{text}");
        }
    }

    #[test]
    fn only_https_is_allowed_and_this_machine_if_asked_for() {
        let build = |url: &str, loopback: bool| {
            let builder = Webhook::builder(url.parse().unwrap(), WebhookSecret::new(SECRET).unwrap());
            if loopback { builder.allow_loopback_http() } else { builder }.build()
        };
        for (url, alone, with_loopback) in [
            ("https://hooks.example/x?key=1", true, true),
            ("http://localhost:1/x", false, true),
            ("http://127.0.0.1:1/x", false, true),
            ("http://hooks.example/x", false, false),
            ("http://10.0.0.1/x", false, false),
            ("https://user@hooks.example/", false, false),
            ("https://:secret@hooks.example/", false, false),
            ("https://hooks.example/#x", false, false),
            ("file:///etc/passwd", false, false),
        ] {
            assert_eq!(build(url, false).is_ok(), alone, "{url}");
            assert_eq!(build(url, true).is_ok(), with_loopback, "{url}");
        }
    }

    #[test]
    fn what_went_wrong_is_said_in_a_webhook_s_words() {
        for (kind, words) in [
            (HttpErrorKind::Connect, "no connection to the webhook"),
            (HttpErrorKind::Tls, "the webhook's certificate was refused"),
            (HttpErrorKind::Request, "the webhook's URL is not allowed"),
            (HttpErrorKind::Unanswered, "no answer of the webhook"),
        ] {
            assert_eq!(unanswered(&HttpError::new(kind)).to_string(), words);
            let with_cause = HttpError::new(kind).with_source("connection refused");
            assert_eq!(unanswered(&with_cause).to_string(), format!("{words}: connection refused"));
        }
    }

    #[test]
    fn neither_the_url_nor_a_secret_is_shown() {
        let secret = WebhookSecret::new(SECRET).unwrap();
        let shown = format!("{secret:?}");
        let builder = Webhook::builder("https://hooks.example/canary".parse().unwrap(), secret);
        let shown = format!("{shown} {builder:?}");
        let shown = format!("{shown} {:?}", builder.build());

        assert!(!shown.contains("canary") && !shown.contains("MfKQ9r8G"), "{shown}");
        for name in ["WebhookSecret", "WebhookBuilder { kinds: None, .. }", "Ok(Webhook { kinds: None, .. })"] {
            assert!(shown.contains(name), "{shown}");
        }
    }

    #[test]
    fn a_receiver_can_slow_a_delivery_down_and_end_it() {
        let answer = |status: u16, after: &str| {
            verdict(&Response::builder().status(status).header("retry-after", after).body(Vec::new()).unwrap())
        };
        for status in [200, 201, 204] {
            assert!(answer(status, "60").is_ok());
        }
        for (status, after, then) in [
            (429, "60", HandlerError::new("").with_retry_after(Duration::from_secs(60))),
            (503, "86400", HandlerError::new("").with_retry_after(LONGEST_PAUSE)),
            (500, "60", HandlerError::new("")),
            (301, "60", HandlerError::new("")),
            (400, "60", HandlerError::new("")),
            (410, "60", HandlerError::stop("")),
        ] {
            let error = answer(status, after).unwrap_err();
            assert_eq!(error.then(), then.then(), "{status}");
            assert_eq!(error.to_string(), format!("the webhook answered {status}"));
        }
    }
}
