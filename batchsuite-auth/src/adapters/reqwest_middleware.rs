//! A `reqwest` client whose requests carry a company's token, for the crate `reqwest-middleware` 0.5 (`reqwest` 0.13).
//!
//! ```
//! use batchsuite_auth::{ActorId, CompanyId, adapters::reqwest_middleware::AccessTokenMiddleware, fake_ups::FakeUps};
//! # use batchsuite_store::MemoryStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (company, actor) = (CompanyId::new("acme")?, ActorId::new("ada")?);
//! # let ups = FakeUps::start().await;
//! # let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build()?;
//! # let trip = auth.authenticate(&company, &actor).await?;
//! # let query = ups.consent(&trip.url, FakeUps::USER).await;
//! # auth.callback(&actor, &query, &trip.browser_secret).await?;
//! let url = auth.base_url().join("api/track/v1/details/1Z999AA10123456784")?;
//! let client = AccessTokenMiddleware::new(auth).client(reqwest::Client::builder())?.build();
//!
//! let request = client.get(url).with_extension(company).header("transId", "1").header("transactionSrc", "docs");
//! assert_eq!(request.send().await?.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! # Which requests
//! A request to one of the configured hosts (by default the host of [`BatchSuiteAuth::base_url`]) carries the token of
//! the company in its extensions ([`with_extension`](RequestBuilder::with_extension)), or else of the middleware's own
//! company. An existing `Authorization` header is replaced, so that credentials copied from another request do not
//! reach UPS. Requests to other hosts are not changed.
//!
//! A host is identified by scheme, host and port. `https://onlinetools.ups.com.` (with a trailing dot) is a different
//! host, and so is a [`Request`] whose URL has a userinfo part. (`get(url)` and its like leave none: `reqwest` turns it
//! into an `Authorization` header, which the token then replaces.)
//!
//! # After a 401
//! The token is [reported](BatchSuiteAuth::report_rejected), and the request is sent once more with a new token. A
//! second 401 is returned as the API's response. A request can be repeated if [`Request::try_clone`] copies it, i.e.
//! unless its body is a stream. Otherwise the 401 is returned, and the token is still reported.
//!
//! # Redirects
//! [`client`](AccessTokenMiddleware::client) also builds the `reqwest::Client`, because that follows redirects outside
//! of every middleware: `reqwest` 0.13 removes `Authorization` on a redirect to another origin, but sends it again if
//! that origin redirects once more to itself. So a request with a token follows redirects only within its own origin;
//! any other 3xx is returned as the response. Requests to other hosts follow redirects by `reqwest`'s default policy.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Extensions, StatusCode, Uri};
#[cfg(doc)]
use reqwest_middleware::RequestBuilder;
use reqwest_middleware::{
    ClientBuilder, Error, Middleware, Next,
    reqwest::{self, Request, Response, redirect},
};
use url::Url;

use super::calls::{Calls, RequestError, authorize};
use super::hosts::InvalidHost;
use crate::{authenticator::BatchSuiteAuth, error::TokenError, ids::CompanyId};

/// Adds companies' tokens to the requests of a `reqwest` client; see the [module](self).
///
/// # Errors
/// A request fails with [`Error::Middleware`] that holds a [`RequestError`] (use [`token_error`](super::token_error)),
/// or with [`Error::Reqwest`] if the client failed.
///
/// # Cancellation
/// Dropping a request drops it in the client. A refresh that it caused continues.
#[derive(Clone, Debug)]
#[must_use = "`client` makes the client"]
pub struct AccessTokenMiddleware {
    calls: Calls,
}

impl AccessTokenMiddleware {
    /// Uses the tokens of `auth`, for the host of its base URL.
    pub fn new(auth: BatchSuiteAuth) -> Self {
        Self { calls: Calls::new(auth) }
    }

    /// The company for requests without one in their extensions.
    pub fn with_company(self, company: CompanyId) -> Self {
        Self { calls: self.calls.with_company(company) }
    }

    /// The hosts that receive tokens, in place of the authenticator's base URL: scheme, host and port of each URL.
    ///
    /// # Errors
    /// [`InvalidHost`] if a URL is plain http and not loopback.
    pub fn with_hosts(self, urls: impl IntoIterator<Item = Url>) -> Result<Self, InvalidHost> {
        Ok(Self { calls: self.calls.with_hosts(urls)? })
    }

    /// Builds a client from `builder`, whose redirect policy is replaced. Middlewares added later run after this one.
    /// They see each attempt with its token, so none of them may send it to another host.
    ///
    /// # Errors
    /// Those of [`build`](reqwest::ClientBuilder::build).
    pub fn client(self, builder: reqwest::ClientBuilder) -> reqwest::Result<ClientBuilder> {
        let calls = Arc::new(self.calls);
        let client = builder.redirect(redirect_policy(Arc::clone(&calls))).build()?;
        Ok(ClientBuilder::new(client).with(Tokens { calls }))
    }
}

/// Private, so that it cannot be combined with a client that has another redirect policy.
struct Tokens {
    calls: Arc<Calls>,
}

#[async_trait]
impl Middleware for Tokens {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let company = match uri(request.url()) {
            Some(uri) => self.calls.company(&uri, extensions).map_err(Error::middleware)?,
            // The client reports the invalid URL itself.
            None => None,
        };
        let Some(company) = company else {
            return next.run(request, extensions).await;
        };
        let token = self.calls.token(&company).await.map_err(no_token)?;
        let again = request.try_clone();
        authorize(request.headers_mut(), &token);
        let answer = next.clone().run(request, extensions).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let Some(mut again) = again else {
            // A new token for later requests.
            let _ = self.calls.other_token(&company, &token).await;
            return Ok(answer);
        };
        // Frees the connection.
        drop(answer);
        let token = self.calls.other_token(&company, &token).await.map_err(no_token)?;
        authorize(again.headers_mut(), &token);
        next.run(again, extensions).await
    }
}

fn no_token(error: TokenError) -> Error {
    Error::middleware(RequestError::from(error))
}

/// The URL as the client parses it before it connects.
fn uri(url: &Url) -> Option<Uri> {
    url.as_str().parse().ok()
}

fn redirect_policy(calls: Arc<Calls>) -> redirect::Policy {
    let default = redirect::Policy::default();
    redirect::Policy::custom(move |attempt| {
        let first = attempt.previous().first();
        let has_token = first.and_then(uri).is_none_or(|uri| calls.goes_to(&uri));
        let stays = first.is_some_and(|first| first.origin() == attempt.url().origin());
        if has_token && !stays { attempt.stop() } else { default.redirect(attempt) }
    })
}
