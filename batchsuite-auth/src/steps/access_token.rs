//! Access token: returns a valid one, and replaces one that an API rejected.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    error::{TokenError, Unavailable},
    ids::CompanyId,
    machine::Demand,
    rotation::Engine,
    secret::AccessToken,
};

impl Engine {
    /// The cached token if it is valid; no lock, no allocation.
    #[inline]
    pub(crate) fn cached(self: &Arc<Self>, company: &CompanyId) -> Option<AccessToken> {
        self.tokens.cache.get(company, || self.refresh_in_background(company, Demand::Token))
    }

    /// After an API answered 401: refreshes if `rejected` is still the current token.
    #[tracing::instrument(name = "report_rejected", skip_all, fields(%company, revision = %rejected.revision()))]
    pub(crate) async fn report_rejected(
        self: &Arc<Self>,
        company: &CompanyId,
        rejected: &AccessToken,
    ) -> Result<AccessToken, TokenError> {
        // Of the same revision, but another token: the rejected one belongs to another company.
        let is_rejected = |token: &AccessToken| {
            token.revision() == rejected.revision() && token.expose_secret() == rejected.expose_secret()
        };
        let cached = self.cached(company);
        // The cached token may be older than the rejected one: this process may not know the newer one yet.
        let is_current = |token: &&AccessToken| token.revision() >= rejected.revision() && !is_rejected(token);
        if let Some(token) = cached.as_ref().filter(is_current) {
            return Ok(token.clone());
        }
        let (revision, pause) = (rejected.revision(), self.rotation.policy.rejection_pause);
        // The rejected token was itself fetched because of a recent rejection: another one would not help.
        if let Some(retry_after) = self.tokens.rejections.pause(company, revision, pause) {
            return Err(TokenError::Unavailable { reason: Unavailable::Unusable, retry_after });
        }
        let deadline = Instant::now() + self.rotation.policy.max_wait;
        // Without a cached token it is unknown whose the rejected one is.
        let mut demand = if cached.is_some() { Demand::Rejected(revision) } else { Demand::Token };
        loop {
            // A flight that began for another reason may return the rejected token again.
            let token = self.join_flight(company, demand, deadline).await?;
            if !is_rejected(&token) {
                self.tokens.rejections.remember(company, token.revision(), pause);
                return Ok(token);
            }
            demand = Demand::Rejected(revision);
        }
    }
}
