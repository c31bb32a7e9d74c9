//! Shared by the adapters for HTTP clients: which requests get which company's token, and how they fail.

use std::error::Error;

use http::{Extensions, HeaderMap, Uri, header::AUTHORIZATION};
use url::Url;

use super::hosts::{Hosts, InvalidHost};
use crate::{authenticator::BatchSuiteAuth, error::TokenError, ids::CompanyId, secret::AccessToken};

/// The request failed without a response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The request names no company. Nothing was sent.
    #[error("the request names no company; put its CompanyId into the request's extensions")]
    NoCompany,
    /// The URI names no host, so whether the host may get a token is unknown. Nothing was sent.
    #[error("the request's URI names no host; put the layer where the URI is complete")]
    NoHost,
    /// No token is available, or no replacement for one that was answered with 401. No request is sent without a token.
    #[error("there is no access token for the request")]
    Token(#[from] TokenError),
    /// The HTTP client failed.
    #[error("the HTTP client failed")]
    Client(#[source] Box<dyn Error + Send + Sync>),
}

impl RequestError {
    #[cfg(feature = "tower")]
    pub(super) fn client(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Client(error.into())
    }
}

/// Finds the [`TokenError`] among an error's causes, at any depth. It tells who must act and when to repeat the call.
///
/// ```
/// use batchsuite_auth::{adapters::{RequestError, token_error}, error::TokenError};
///
/// let error = RequestError::from(TokenError::NotAuthenticated);
/// assert!(token_error(&error).is_some_and(TokenError::needs_reauthorization));
/// ```
pub fn token_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TokenError> {
    std::iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
}

/// Which company's token goes to which host.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    auth: BatchSuiteAuth,
    company: Option<CompanyId>,
    hosts: Hosts,
}

impl Calls {
    pub(super) fn new(auth: BatchSuiteAuth) -> Self {
        // The builder validated this URL by the same rule.
        let hosts = Hosts::of([auth.base_url().clone()]).unwrap_or_default();
        Self { auth, company: None, hosts }
    }

    pub(super) fn with_company(self, company: CompanyId) -> Self {
        Self { company: Some(company), ..self }
    }

    pub(super) fn with_hosts(self, urls: impl IntoIterator<Item = Url>) -> Result<Self, InvalidHost> {
        Ok(Self { hosts: Hosts::of(urls)?, ..self })
    }

    /// The company whose token a request needs; `None`: the host gets no token.
    pub(super) fn company(&self, uri: &Uri, extensions: &Extensions) -> Result<Option<CompanyId>, RequestError> {
        if !self.hosts.include(uri).ok_or(RequestError::NoHost)? {
            return Ok(None);
        }
        let company = extensions.get().or(self.company.as_ref()).ok_or(RequestError::NoCompany)?;
        Ok(Some(company.clone()))
    }

    /// Whether a request to `uri` carries a token.
    #[cfg(feature = "reqwest-middleware")]
    pub(super) fn goes_to(&self, uri: &Uri) -> bool {
        self.hosts.include(uri) == Some(true)
    }

    pub(super) async fn token(&self, company: &CompanyId) -> Result<AccessToken, TokenError> {
        self.auth.access_token(company).await
    }

    /// The replacement for a token that was answered with 401.
    pub(super) async fn other_token(
        &self,
        company: &CompanyId,
        rejected: &AccessToken,
    ) -> Result<AccessToken, TokenError> {
        self.auth.report_rejected(company, rejected).await
    }
}

/// Sets `token` as the request's only credentials.
pub(super) fn authorize(headers: &mut HeaderMap, token: &AccessToken) {
    headers.insert(AUTHORIZATION, token.header().clone());
}
