//! Access token: a valid one, now; and what to do when an API rejects one.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    error::{TokenError, Unavailable},
    ids::{CompanyId, Revision},
    machine::Demand,
    rotation::Engine,
    secret::AccessToken,
};

impl Engine {
    /// What is cached and good; no lock, no allocation.
    #[inline]
    pub(crate) fn cached(self: &Arc<Self>, company: &CompanyId) -> Option<AccessToken> {
        self.tokens.cache.get(company, || self.refresh_in_background(company, Demand::Token))
    }

    /// After a 401 of an API: refreshes if that very token is still the current one.
    #[tracing::instrument(name = "report_rejected", skip_all, fields(%company, revision = %rejected))]
    pub(crate) async fn report_rejected(
        self: &Arc<Self>,
        company: &CompanyId,
        rejected: Revision,
    ) -> Result<AccessToken, TokenError> {
        // What is cached may be older than what was rejected: this process may not have heard of that yet.
        if let Some(token) = self.cached(company).filter(|token| token.revision() > rejected) {
            return Ok(token);
        }
        // A token that was itself fetched because of a rejection, a moment ago: another one will not please the API better.
        if let Some(retry_after) = self.tokens.rejections.pause(company, rejected, self.rotation.policy.rejection_pause)
        {
            return Err(TokenError::Unavailable { reason: Unavailable::Unusable, retry_after });
        }
        let deadline = Instant::now() + self.rotation.policy.max_wait;
        loop {
            // A flight that began for another reason may bring the rejected token once more.
            let token = self.join_flight(company, Demand::Rejected(rejected), deadline).await?;
            if token.revision() != rejected {
                self.tokens.rejections.remember(company, token.revision(), self.rotation.policy.rejection_pause);
                return Ok(token);
            }
        }
    }
}
