//! A client of `reqwest` whose requests carry a company's token, for the crate `reqwest-middleware` 0.5 (`reqwest` 0.13).
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
//! A request to one of the named hosts (by default the host of [`BatchSuiteAuth::base_url`]) carries the token of the company that
//! is in its extensions ([`with_extension`](RequestBuilder::with_extension)), else of the middleware's own company. An
//! `Authorization` that it has already is replaced: what was copied from another request does not reach UPS. A request to any other
//! host passes as it is.
//!
//! A host is named by scheme, host and port. `https://onlinetools.ups.com.`, with a dot, is another host, and so is one with a user
//! in front of it.
//!
//! # After a 401
//! The token is [reported](BatchSuiteAuth::report_rejected), and the request is sent once more with another one. A second 401 is the
//! API's answer. The requests that can be sent once more are those that [`Request::try_clone`] copies: all but those whose body is a
//! stream. The 401 of such a request is returned; its token is reported all the same.
//!
//! # Redirects
//! [`client`](AccessTokenMiddleware::client) makes the `reqwest::Client` as well, because that follows redirects behind every
//! middleware: `reqwest` 0.13 removes `Authorization` from a redirect to another origin, but sends it again if that origin redirects
//! once more to itself. So a request with a token follows redirects within its own origin alone; a 3xx that leads anywhere else is the
//! answer. Requests to other hosts follow redirects as `reqwest` does by default.

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

/// Lets the requests of a `reqwest` client carry companies' tokens; see the [module](self).
///
/// # Errors
/// A request fails with [`Error::Middleware`] that holds a [`RequestError`], which
/// [`token_error`](super::token_error) looks into; or with [`Error::Reqwest`] if the client failed.
///
/// # Cancellation
/// A dropped request is dropped in the client. A refresh that it caused goes on.
#[derive(Clone, Debug)]
#[must_use = "`client` makes the client"]
pub struct AccessTokenMiddleware {
    calls: Calls,
}

impl AccessTokenMiddleware {
    /// With the tokens of `auth`, for the host of its UPS.
    pub fn new(auth: BatchSuiteAuth) -> Self {
        Self { calls: Calls::new(auth) }
    }

    /// The company of the requests that have none in their extensions.
    pub fn with_company(self, company: CompanyId) -> Self {
        Self { calls: self.calls.with_company(company) }
    }

    /// The hosts that tokens go to, instead of the authenticator's own: scheme, host and port of each URL.
    ///
    /// # Errors
    /// [`InvalidHost`] if one is plain http to another machine.
    pub fn with_hosts(self, urls: impl IntoIterator<Item = Url>) -> Result<Self, InvalidHost> {
        Ok(Self { calls: self.calls.with_hosts(urls)? })
    }

    /// A client that is built from `builder`, whose redirect policy is replaced. Further middlewares are put behind this one. They see
    /// each attempt with its token, so none of them may send it to another host.
    ///
    /// # Errors
    /// Those of [`build`](reqwest::ClientBuilder::build).
    pub fn client(self, builder: reqwest::ClientBuilder) -> reqwest::Result<ClientBuilder> {
        let calls = Arc::new(self.calls);
        let client = builder.redirect(redirect_policy(Arc::clone(&calls))).build()?;
        Ok(ClientBuilder::new(client).with(Tokens { calls }))
    }
}

/// Private, so that it never meets a client with another redirect policy.
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
            // The client refuses it in its own words.
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
            // For the requests that follow.
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

/// What the client makes of a URL before it connects.
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
