//! Access token: returns a valid one, and replaces one that an API rejected.

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
    /// The cached token if it is valid; no lock, no allocation.
    #[inline]
    pub(crate) fn cached(self: &Arc<Self>, company: &CompanyId) -> Option<AccessToken> {
        self.tokens.cache.get(company, || self.refresh_in_background(company, Demand::Token))
    }

    /// After an API answered 401: refreshes if `rejected` is still the current token.
    #[tracing::instrument(name = "report_rejected", skip_all, fields(%company, revision = %rejected))]
    pub(crate) async fn report_rejected(
        self: &Arc<Self>,
        company: &CompanyId,
        rejected: Revision,
    ) -> Result<AccessToken, TokenError> {
        // The cached token may be older than the rejected one: this process may not know the newer one yet.
        if let Some(token) = self.cached(company).filter(|token| token.revision() > rejected) {
            return Ok(token);
        }
        // The rejected token was itself fetched because of a recent rejection: another one would not help.
        if let Some(retry_after) = self.tokens.rejections.pause(company, rejected, self.rotation.policy.rejection_pause)
        {
            return Err(TokenError::Unavailable { reason: Unavailable::Unusable, retry_after });
        }
        let deadline = Instant::now() + self.rotation.policy.max_wait;
        loop {
            // A flight that began for another reason may return the rejected token again.
            let token = self.join_flight(company, Demand::Rejected(rejected), deadline).await?;
            if token.revision() != rejected {
                self.tokens.rejections.remember(company, token.revision(), self.rotation.policy.rejection_pause);
                return Ok(token);
            }
        }
    }
}
