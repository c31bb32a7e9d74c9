//! A layer for any `tower` HTTP client whose requests carry a company's token.
//!
//! ```
//! use batchsuite_auth::{ActorId, CompanyId, adapters::tower::AccessTokenLayer, fake_ups::FakeUps, http::ReqwestClient};
//! # use batchsuite_store::MemoryStore;
//! use http::{Request, StatusCode};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (company, actor) = (CompanyId::new("acme")?, ActorId::new("ada")?);
//! # let ups = FakeUps::start().await;
//! # let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build()?;
//! # let trip = auth.authenticate(&company, &actor).await?;
//! # let query = ups.consent(&trip.url, FakeUps::USER).await;
//! # auth.callback(&actor, &query, &trip.browser_secret).await?;
//! # let client = ReqwestClient::builder().allow_loopback_http().build()?;
//! let url = auth.base_url().join("api/track/v1/details/1Z999AA10123456784")?;
//! let client = ServiceBuilder::new().layer(AccessTokenLayer::new(auth)).service(client);
//!
//! let request = Request::get(url.as_str()).extension(company).header("transId", "1").header("transactionSrc", "docs");
//! let answer = client.oneshot(request.body(Vec::new())?).await?;
//! assert_eq!(answer.status(), StatusCode::OK);
//! # Ok(())
//! # }
//! ```
//!
//! # Which requests
//! A request to one of the configured hosts (by default the host of [`BatchSuiteAuth::base_url`]) carries the token of
//! the company in its [extensions](http::Request::extensions), or else of the layer's own company. An existing
//! `Authorization` header is replaced, so that credentials copied from another request do not reach UPS. Requests to
//! other hosts are not changed.
//!
//! A host is identified by scheme, host and port. `https://onlinetools.ups.com.` (with a trailing dot) is a different
//! host, and so is a URI with a userinfo part.
//!
//! # After a 401
//! The token is [reported](BatchSuiteAuth::report_rejected), and the request is sent once more with a new token. A
//! second 401 is returned as the API's response. A request can be repeated if its body can be copied:
//! [`new`](AccessTokenLayer::new) clones each body before sending it;
//! [`with_body_copy`](AccessTokenLayer::with_body_copy) takes a function that may return a copy. Otherwise (e.g. for a
//! streaming body) the 401 is returned, and the token is still reported.
//!
//! # Redirects
//! Put a layer that follows redirects *around* this one, as in `ServiceBuilder::new().layer(follow).layer(tokens)`;
//! each hop is then checked by its own host. (`FollowRedirect` of `tower-http` drops extensions, so give this layer a
//! company; otherwise a hop to a configured host fails with [`RequestError::NoCompany`].)
//!
//! Never put this layer around a client that follows redirects: `reqwest` 0.13 and `tower-http` 0.6 remove
//! `Authorization` on a redirect to another origin, but send it again if that origin redirects once more to itself.
//! Build a `reqwest::Client` with `redirect::Policy::none()`. [`ReqwestClient`](crate::http::ReqwestClient) and hyper's
//! clients follow no redirects.

use std::{
    fmt,
    future::poll_fn,
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;
use url::Url;

use super::calls::{Calls, RequestError, authorize};
use super::hosts::InvalidHost;
use crate::{authenticator::BatchSuiteAuth, ids::CompanyId};

/// Adds companies' tokens to a client's requests with bodies of type `B`; see the [module](self).
pub struct AccessTokenLayer<B> {
    calls: Arc<Calls>,
    copy: fn(&B) -> Option<B>,
}

impl<B: Clone> AccessTokenLayer<B> {
    /// For bodies that can be cloned, such as `Vec<u8>`, `Bytes`, `Full` and `Empty`: a request whose token is answered
    /// with 401 is sent once more. (Cloning `Bytes` copies a pointer, cloning `Vec<u8>` its content.)
    pub fn new(auth: BatchSuiteAuth) -> Self {
        Self::with_body_copy(auth, |body| Some(body.clone()))
    }
}

impl<B> AccessTokenLayer<B> {
    /// For any body type: after a 401, a request is sent once more if `copy` returned a copy of its body. Use `|_|
    /// None` for streaming bodies.
    pub fn with_body_copy(auth: BatchSuiteAuth, copy: fn(&B) -> Option<B>) -> Self {
        Self { calls: Arc::new(Calls::new(auth)), copy }
    }

    /// The company for requests without one in their extensions.
    #[must_use]
    pub fn with_company(self, company: CompanyId) -> Self {
        Self { calls: Arc::new(Arc::unwrap_or_clone(self.calls).with_company(company)), ..self }
    }

    /// The hosts that receive tokens, in place of the authenticator's base URL: scheme, host and port of each URL.
    ///
    /// # Errors
    /// [`InvalidHost`] if a URL is plain http and not loopback.
    pub fn with_hosts(self, urls: impl IntoIterator<Item = Url>) -> Result<Self, InvalidHost> {
        Ok(Self { calls: Arc::new(Arc::unwrap_or_clone(self.calls).with_hosts(urls)?), ..self })
    }
}

impl<S, B> Layer<S> for AccessTokenLayer<B> {
    type Service = AccessTokenService<S, B>;

    fn layer(&self, inner: S) -> Self::Service {
        AccessTokenService { inner, layer: self.clone() }
    }
}

impl<B> Clone for AccessTokenLayer<B> {
    fn clone(&self) -> Self {
        Self { calls: Arc::clone(&self.calls), copy: self.copy }
    }
}

impl<B> fmt::Debug for AccessTokenLayer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessTokenLayer").field("calls", &self.calls).finish_non_exhaustive()
    }
}

/// A client whose requests carry companies' tokens, made by [`AccessTokenLayer`].
///
/// # Errors
/// [`RequestError`], with the client's own error as [`RequestError::Client`].
///
/// # Cancellation
/// Dropping a request drops it in the client. A refresh that it caused continues.
#[derive(Debug)]
pub struct AccessTokenService<S, B> {
    inner: S,
    layer: AccessTokenLayer<B>,
}

impl<S: Clone, B> Clone for AccessTokenService<S, B> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S, B, R> Service<Request<B>> for AccessTokenService<S, B>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send,
    B: Send + 'static,
    R: Send + 'static,
{
    type Response = Response<R>;
    type Error = RequestError;
    type Future = BoxFuture<'static, Result<Response<R>, RequestError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), RequestError>> {
        self.inner.poll_ready(context).map_err(RequestError::client)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // `poll_ready` was called on the original, not on the clone, so the original is used.
        let clone = self.inner.clone();
        let inner = mem::replace(&mut self.inner, clone);
        Box::pin(send(inner, self.layer.clone(), request))
    }
}

async fn send<S, B, R>(
    mut inner: S,
    AccessTokenLayer { calls, copy }: AccessTokenLayer<B>,
    mut request: Request<B>,
) -> Result<Response<R>, RequestError>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Some(company) = calls.company(request.uri(), request.extensions())? else {
        return inner.call(request).await.map_err(RequestError::client);
    };
    let token = calls.token(&company).await?;
    let again = copied(&request, copy);
    authorize(request.headers_mut(), &token);
    let answer = inner.call(request).await.map_err(RequestError::client)?;
    if answer.status() != StatusCode::UNAUTHORIZED {
        return Ok(answer);
    }
    let Some(mut again) = again else {
        // A new token for later requests.
        let _ = calls.other_token(&company, &token).await;
        return Ok(answer);
    };
    // Frees the connection.
    drop(answer);
    let token = calls.other_token(&company, &token).await?;
    authorize(again.headers_mut(), &token);
    poll_fn(|context| inner.poll_ready(context)).await.map_err(RequestError::client)?;
    inner.call(again).await.map_err(RequestError::client)
}

fn copied<B>(request: &Request<B>, copy: fn(&B) -> Option<B>) -> Option<Request<B>> {
    let mut copied = Request::new(copy(request.body())?);
    *copied.method_mut() = request.method().clone();
    *copied.uri_mut() = request.uri().clone();
    *copied.version_mut() = request.version();
    *copied.headers_mut() = request.headers().clone();
    *copied.extensions_mut() = request.extensions().clone();
    Some(copied)
}

#[cfg(feature = "reqwest")]
impl Service<Request<Vec<u8>>> for crate::http::ReqwestClient {
    type Response = Response<Vec<u8>>;
    type Error = crate::http::HttpError;
    type Future = BoxFuture<'static, Result<Response<Vec<u8>>, crate::http::HttpError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Vec<u8>>) -> Self::Future {
        let client = self.clone();
        Box::pin(async move { crate::http::HttpClient::send(&client, request).await })
    }
}
