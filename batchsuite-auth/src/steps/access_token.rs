//! Access token: a valid one, now; and what to do when an API rejects one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::Core;
use crate::{
    error::{TokenError, Unavailable},
    ids::{CompanyId, Revision},
    machine::Demand,
    secret::AccessToken,
};

impl Core {
    /// What is cached and good; no lock, no allocation.
    #[inline]
    pub(crate) fn cached(self: &Arc<Self>, company: &CompanyId) -> Option<AccessToken> {
        self.cache.get(company, || self.refresh_in_background(company, Demand::Token))
    }

    /// After a 401 of an API: refreshes if that very token is still the current one.
    #[tracing::instrument(name = "report_rejected", skip_all, fields(%company, revision = super::shown(rejected)))]
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
        if let Some(retry_after) = self.rejections.pause(company, rejected, self.policy.rejection_pause) {
            return Err(TokenError::Unavailable { reason: Unavailable::Unusable, retry_after });
        }
        let deadline = Instant::now() + self.policy.max_wait;
        loop {
            // A flight that began for another reason may bring the rejected token once more.
            let token = self.join_flight(company, Demand::Rejected(rejected), deadline).await?;
            if token.revision() != rejected {
                self.rejections.remember(company, token.revision(), self.policy.rejection_pause);
                return Ok(token);
            }
        }
    }
}

/// Which tokens were fetched because an API rejected the one before.
#[derive(Debug, Default)]
pub(super) struct Rejections(Mutex<HashMap<CompanyId, (Revision, Instant)>>);

/// Beyond this many, those that no longer matter are dropped.
const REMEMBERED: usize = 1024;

impl Rejections {
    /// How long `revision` must not be replaced because of a rejection.
    fn pause(&self, company: &CompanyId, revision: Revision, pause: Duration) -> Option<Duration> {
        let remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (fetched, at) = remembered.get(company)?;
        let rest = pause.saturating_sub(at.elapsed());
        (*fetched == revision && !rest.is_zero()).then_some(rest)
    }

    fn remember(&self, company: &CompanyId, revision: Revision, pause: Duration) {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.retain(|_, (_, at)| at.elapsed() < pause);
        }
        remembered.insert(company.clone(), (revision, Instant::now()));
    }
}
